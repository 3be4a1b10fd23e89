//! Why the network could not start.

use std::io;
use std::net::SocketAddr;

use crate::ListenerName;

/// Why the network could not start. Each message says what was tried and what to do.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A listener's address could not be bound.
    #[error("listener {listener}: cannot bind {address}: {}", remedy(.source))]
    Bind {
        /// The listener.
        listener: ListenerName,
        /// The address tried.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A listener's host name has no address.
    #[error(
        "listener {listener}: cannot find the address of {host}: {source}; give an address of this machine with --listen"
    )]
    Resolve {
        /// The listener.
        listener: ListenerName,
        /// The `host:port` tried.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// A network thread could not be started.
    #[error(
        "cannot start network thread {index} of {threads}: {source}; start fewer (--threads), or allow more threads and open files (ulimit -u, ulimit -n)"
    )]
    Thread {
        /// Which one, from 0.
        index: usize,
        /// How many were wanted.
        threads: usize,
        /// What the system said.
        source: io::Error,
    },
    /// A bound listener could not be watched for connections.
    #[error("listener {listener}: cannot accept connections: {source}; allow more open files (ulimit -n)")]
    Accept {
        /// The listener.
        listener: ListenerName,
        /// What the system said.
        source: io::Error,
    },
}

impl NetworkError {
    /// Whether this machine simply has no such address, as with `[::1]` where IPv6 is off.
    pub fn is_address_unavailable(&self) -> bool {
        match self {
            Self::Bind { source, .. } => {
                source.kind() == io::ErrorKind::AddrNotAvailable
                    || source.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
            }
            _ => false,
        }
    }
}

fn remedy(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "address already in use; stop the other process or choose another port with --listen".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "no such address on this machine; choose one of its addresses with --listen".to_owned()
        }
        io::ErrorKind::PermissionDenied => "permission denied; choose a port above 1023 with --listen".to_owned(),
        _ => source.to_string(),
    }
}
