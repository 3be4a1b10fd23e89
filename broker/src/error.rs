//! Why a broker does not start: what was tried, with which value, and what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Each variant is one thing an operator can mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener, its name or its threads.
    #[error(transparent)]
    Network(#[from] broker_network::NetworkError),
    /// Clients cannot connect to a wildcard.
    #[error(
        "--listen {listen} is a wildcard address, which clients cannot connect to: say under which address they reach this broker, for example --advertise HOSTNAME:{port}"
    )]
    WildcardWithoutAdvertise {
        /// As given.
        listen: String,
        /// As given.
        port: u16,
    },
    /// An advertised address without a listener.
    #[error(
        "--advertise names listener {name}, but no --listen has that name: add --listen {name}=HOST:PORT or correct the name"
    )]
    AdvertiseWithoutListener {
        /// As given.
        name: String,
    },
    /// The file of an advertised port did not come.
    #[error("listener {listener}: no advertised port in {} ({reason}): give the number with --advertise, or write the file", .path.display())]
    PortFile {
        /// The listener.
        listener: String,
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The metrics address is taken.
    #[error("cannot serve metrics on {address}: {}", metrics_advice(.source))]
    Metrics {
        /// As given.
        address: String,
        /// From the system.
        source: io::Error,
    },
    /// The control address cannot be used.
    #[error("cannot listen for brokers on {address} (--control): {source}; choose another address with --control")]
    Control {
        /// As given.
        address: SocketAddr,
        /// From the system.
        source: io::Error,
    },
    /// An open control port without a secret.
    #[error(
        "--control {address} is reachable from other machines: give --control-token-file as well, on both sides, or use a loopback address"
    )]
    ControlWithoutToken {
        /// As given.
        address: SocketAddr,
    },
    /// Something in the data directory could not be read or written.
    #[error("data directory {}: cannot {action}: {}", .path.display(), disk_advice(.source))]
    DataDir {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// From the system.
        source: io::Error,
    },
    /// Another process has it.
    #[error("data directory {} is in use by another broker{}: stop that one or give another --data-dir", .path.display(), holder(*.pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who wrote the lock file, if it says.
        pid: Option<u32>,
    },
    /// Somebody else's files.
    #[error(
        "directory {} is not empty and has no meta.json, so it does not belong to a broker (found {found:?}): give an empty or a new directory with --data-dir",
        .path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// One of the files.
        found: String,
    },
    /// `meta.json` cannot be understood.
    #[error("{} is no identity of a broker ({reason}): restore it from a backup, or move the directory away to begin with an empty one", .path.display())]
    BadMeta {
        /// The file.
        path: PathBuf,
        /// From the parser.
        reason: String,
    },
    /// Written by another version.
    #[error("data directory {} has format version {found}, this broker reads version {supported}: run the version of Barnabas that wrote it", .path.display())]
    FormatVersion {
        /// The directory.
        path: PathBuf,
        /// In the file.
        found: u32,
        /// In the program.
        supported: u32,
    },
    /// Data of another broker.
    #[error("data directory {} belongs to broker {found}, this is broker {expected}: give the directory of broker {expected}, or --id {found}", .path.display())]
    OtherBroker {
        /// The directory.
        path: PathBuf,
        /// In the file.
        found: i32,
        /// As started.
        expected: i32,
    },
    /// Data of another cluster.
    #[error(
        "data directory {} belongs to cluster {found}, the controller's cluster is {expected}: give the directory of this cluster or an empty one, or the controller of cluster {found}",
        .path.display()
    )]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// In the file.
        found: String,
        /// From the controller.
        expected: String,
    },
    /// A `--config` that is no KEY=VALUE, an unknown key or a bad value.
    #[error("--config {given}: {reason}")]
    Config {
        /// As given.
        given: String,
        /// What to do.
        reason: String,
    },
    /// The image on disk is damaged or foreign.
    #[error("{}: {reason}", .path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The controller refused or failed.
    #[error("controller: {0}")]
    Controller(String),
    /// A secret or certificate file.
    #[error("cannot read {} ({option}): {source}", .path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// The option that names it.
        option: &'static str,
        /// From the system.
        source: io::Error,
    },
    /// Threads, runtimes, descriptors.
    #[error("the system refused {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// From the system.
        source: io::Error,
    },
}

fn metrics_advice(error: &io::Error) -> String {
    let reason = if error.kind() == io::ErrorKind::AddrInUse {
        "the port is taken by another process".to_owned()
    } else {
        error.to_string()
    };
    format!("{reason}; choose another address with --metrics HOST:PORT, or --metrics off")
}

/// What to do about an error of the file system.
pub(crate) fn disk_advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{error}; give this user the right to write there, or another --data-dir")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("{error}; free space on that volume or enlarge it, nothing was lost")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("{error}; mount the volume writable, or give another --data-dir")
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            format!("{error}; a file is in the way, give another --data-dir")
        }
        _ => error.to_string(),
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}
