//! Before the service: a connection has a place, and a call has proved who makes it before its message is read.
//!
//! A message may be as long as the longest admin request. Whoever can only reach the port costs a connection's buffers,
//! and no more connections than its address may have.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{Extensions, Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;
use tonic::transport::server::{Connected, TcpConnectInfo, TlsConnectInfo};

use crate::auth::{Authenticator, Caller};

/// Connections from one address: a broker has two or three, and some brokers may share a machine.
pub(crate) const CONNECTIONS_PER_ADDRESS: usize = 64;
/// Connections altogether.
const CONNECTIONS: usize = 4096;
/// A client speaks first: one that says nothing for so long has no business here.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// Counts connections by address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection's place in the count, given up on drop.
#[derive(Debug)]
struct Place {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

/// A connection that has a place.
#[derive(Debug)]
pub(crate) struct Admitted {
    socket: TcpStream,
    /// Until the first byte comes.
    silence: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Gate {
    /// A place for the connection; `None` closes it.
    pub(crate) fn admit(&self, socket: TcpStream) -> Option<Admitted> {
        let address = socket.peer_addr().ok()?.ip().to_canonical();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let count = open.get(&address).copied().unwrap_or(0);
        if all >= CONNECTIONS || count >= CONNECTIONS_PER_ADDRESS {
            tracing::debug!(%address, open = count, all, "refused a connection to the control port");
            return None;
        }
        open.insert(address, count + 1);
        Some(Admitted {
            socket,
            silence: Some(Box::pin(sleep(FIRST_WORD))),
            _place: Place {
                open: Arc::clone(&self.open),
                address,
            },
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

impl Connected for Admitted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.socket.connect_info()
    }
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.socket).poll_read(context, buffer) {
            self.silence = None;
            return Poll::Ready(read);
        }
        match &mut self.silence {
            Some(silence) => {
                ready!(silence.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

/// Who a call's maker has proved to be, on its way to the service.
#[derive(Debug, Clone)]
pub(crate) struct Proved<I>(pub(crate) I);

/// A service behind authentication.
#[derive(Debug)]
pub(crate) struct Guarded<A, S> {
    authenticator: Arc<A>,
    inner: S,
}

impl<A, S> Guarded<A, S> {
    pub(crate) fn new(authenticator: Arc<A>, inner: S) -> Self {
        Self { authenticator, inner }
    }
}

impl<A, S: Clone> Clone for Guarded<A, S> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.authenticator), self.inner.clone())
    }
}

impl<A, S: NamedService> NamedService for Guarded<A, S> {
    const NAME: &'static str = S::NAME;
}

impl<A, S> Service<Request<Body>> for Guarded<A, S>
where
    A: Authenticator,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The one that was ready is the one to call.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let authenticator = Arc::clone(&self.authenticator);
        Box::pin(async move {
            let token = request.headers().get(AUTHORIZATION);
            let caller = Caller {
                peer: peer(request.extensions()),
                token: token
                    .and_then(|value| value.to_str().ok())
                    .and_then(|value| value.strip_prefix("Bearer ")),
            };
            match authenticator.authenticate(&caller).await {
                Ok(identity) => {
                    request.extensions_mut().insert(Proved(identity));
                    inner.call(request).await
                }
                Err(refusal) => Ok(Status::from(refusal).into_http()),
            }
        })
    }
}

fn peer(extensions: &Extensions) -> Option<std::net::SocketAddr> {
    let plain = extensions.get::<TcpConnectInfo>();
    let tls = || {
        extensions
            .get::<TlsConnectInfo<TcpConnectInfo>>()
            .map(TlsConnectInfo::get_ref)
    };
    plain.or_else(tls)?.remote_addr()
}
