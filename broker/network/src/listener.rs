//! Listeners: a name and a bound socket.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;

use socket2::{Domain, Socket, Type};

use crate::NetworkError;

/// Connections that the kernel keeps for us until we accept them. The kernel cuts it to its own limit.
const BACKLOG: i32 = 4096;

/// The name of a listener, such as `PLAINTEXT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerName(Arc<str>);

impl ListenerName {
    /// A listener of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A bound socket that does not accept yet: clients may already connect, and wait.
///
/// Several may carry the same name, as when one listener has an address of each family.
#[derive(Debug)]
pub struct Listener {
    name: ListenerName,
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; port 0 takes a free one. `[::]` also serves IPv4 where the system allows it.
    pub fn bind(name: ListenerName, address: SocketAddr) -> Result<Self, NetworkError> {
        match listen(address) {
            Ok((socket, address)) => Ok(Self { name, socket, address }),
            Err(source) => Err(NetworkError::Bind {
                listener: name,
                address,
                source,
            }),
        }
    }

    /// The addresses of `host`, a `HOST:PORT` such as `localhost:9092`; at least one.
    pub fn resolve(name: &ListenerName, host: &str) -> Result<Vec<SocketAddr>, NetworkError> {
        let failed = |source| NetworkError::Resolve {
            listener: name.clone(),
            host: host.to_owned(),
            source,
        };
        let addresses: Vec<SocketAddr> = host.to_socket_addrs().map_err(failed)?.collect();
        if addresses.is_empty() {
            return Err(failed(io::Error::new(io::ErrorKind::NotFound, "no address")));
        }
        Ok(addresses)
    }

    /// The listener's name.
    pub fn name(&self) -> &ListenerName {
        &self.name
    }

    /// The address really bound, with the port that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn into_parts(self) -> (ListenerName, TcpListener) {
        (self.name, self.socket)
    }
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restarted broker must have its port back although old connections linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from(socket);
    let address = socket.local_addr()?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_listener_and_what_to_do() {
        let name = ListenerName::new("PLAINTEXT");
        let first = Listener::bind(name.clone(), "127.0.0.1:0".parse().unwrap()).unwrap();
        let error = Listener::bind(name, first.address()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "listener PLAINTEXT: cannot bind {}: address already in use; stop the other process or choose another port with --listen",
                first.address()
            )
        );
        assert!(!error.is_address_unavailable());
    }

    #[test]
    fn an_address_of_another_machine_is_told_apart() {
        let name = ListenerName::new("PLAINTEXT");
        let error = Listener::bind(name, "192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(error.is_address_unavailable(), "{error}");
    }

    #[test]
    fn a_host_name_has_addresses_and_nonsense_has_none() {
        let name = ListenerName::new("PLAINTEXT");
        let addresses = Listener::resolve(&name, "localhost:9092").unwrap();
        assert!(
            addresses
                .iter()
                .all(|address| address.port() == 9092 && address.ip().is_loopback())
        );
        let error = Listener::resolve(&name, "localhost").unwrap_err();
        assert!(error.to_string().contains("listener PLAINTEXT") && error.to_string().contains("localhost"));
    }
}
