//! Accepts connections and spreads them over the threads.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::io::Errno;

use crate::accepted::{Accepted, Inbox, Place};
use crate::complaints::Complaints;
use crate::metrics::ListenerMetrics;
use crate::{ConnectionInfo, ConnectionLimit, Listener, ListenerName, NetworkError, NetworkMetrics};

/// Pause after the system failed to accept for want of something.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts on one listener.
///
/// One thread accepts for all: with a few connections, which is the common case, the kernel's own
/// spreading (`SO_REUSEPORT`) leaves threads without work.
#[derive(Debug)]
pub(crate) struct Acceptor {
    name: ListenerName,
    socket: TcpListener,
    /// Held so that a connection can still be accepted and closed when no descriptor is left; else it
    /// would wake the acceptor for ever.
    reserve: Option<TcpListener>,
    max_connections: ConnectionLimit,
    inboxes: Arc<[Inbox]>,
    metrics: Arc<NetworkMetrics>,
    ids: Arc<AtomicU64>,
    refused: Complaints,
}

impl Acceptor {
    pub(crate) fn new(
        listener: Listener,
        max_connections: ConnectionLimit,
        inboxes: Arc<[Inbox]>,
        metrics: Arc<NetworkMetrics>,
        ids: Arc<AtomicU64>,
    ) -> Result<Self, NetworkError> {
        let (name, socket) = listener.into_parts();
        let reserve = socket.try_clone().map_err(|source| NetworkError::Accept {
            listener: name.clone(),
            source,
        })?;
        Ok(Self {
            name,
            socket,
            reserve: Some(reserve),
            max_connections,
            inboxes,
            metrics,
            ids,
            refused: Complaints::default(),
        })
    }

    /// Accepts until dropped.
    pub(crate) async fn run(mut self) {
        let socket = loop {
            match self.socket.try_clone().and_then(tokio::net::TcpListener::from_std) {
                Ok(socket) => break socket,
                Err(error) => {
                    tracing::error!(listener = %self.name, %error, "cannot watch for connections; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        loop {
            // The socket leaves this thread's runtime at once; its own thread takes it in.
            let accepted = match socket.accept().await {
                Ok((socket, peer)) => socket.into_std().map(|socket| (socket, peer)),
                Err(error) => Err(error),
            };
            match accepted {
                Ok((socket, peer)) => self.admit(socket, peer),
                Err(error) => self.failed(&error).await,
            }
        }
    }

    fn admit(&mut self, socket: TcpStream, peer: std::net::SocketAddr) {
        let Some((listener, counts)) = self.listener() else {
            return;
        };
        let open = self.metrics.connections();
        if open >= self.max_connections.get() {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            drop(socket);
            self.refuse("as many connections are open as are allowed", open);
            return;
        }
        // A socket without an address of its own is gone already.
        let Ok(local) = socket.local_addr() else {
            return;
        };
        let loads = (0..self.inboxes.len()).map(|thread| (self.load(thread), thread));
        let Some((_, thread)) = loads.min() else {
            return;
        };
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        let place = Place::take(Arc::clone(&self.metrics), listener, thread);
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let info = ConnectionInfo {
            id,
            listener: self.name.clone(),
            peer,
            local,
        };
        if let Some(inbox) = self.inboxes.get(thread) {
            inbox.hand_over(Accepted { socket, info, place });
        }
    }

    async fn failed(&mut self, error: &io::Error) {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        if errno == Some(Errno::MFILE) || errno == Some(Errno::NFILE) {
            if let Some((_, counts)) = self.listener() {
                counts.refused.fetch_add(1, Ordering::Relaxed);
            }
            let open = self.metrics.connections();
            self.refuse("no file descriptor is left; raise the limit (ulimit -n)", open);
            // Give up the reserve for a moment, to close the connection in its client's face.
            self.reserve = None;
            let _ = self.socket.accept();
            self.reserve = self.socket.try_clone().ok();
            if self.reserve.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
            return;
        }
        match error.kind() {
            // The client has left between its arrival and now.
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {}
            _ => {
                tracing::warn!(listener = %self.name, %error, "cannot accept a connection; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn refuse(&self, reason: &'static str, open: usize) {
        if let Some(refused) = self.refused.due() {
            tracing::warn!(listener = %self.name, refused, open, reason, "refused connections");
        }
    }

    fn listener(&self) -> Option<(usize, &ListenerMetrics)> {
        self.metrics
            .listeners()
            .iter()
            .enumerate()
            .find(|(_, metrics)| *metrics.name() == self.name)
    }

    fn load(&self, thread: usize) -> usize {
        self.metrics.thread(thread).connections.load(Ordering::Relaxed)
    }
}
