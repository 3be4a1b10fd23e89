//! Where the metadata log is kept: one document that is compared and swapped, and snapshots beside it.

use std::future::Future;
use std::path::PathBuf;

use controller::{LogDocument, SnapshotName, StoreVersion, StoredLog};

mod beginning;
mod file;
mod memory;

pub use beginning::begin_with;
pub use file::FileStore;
pub use memory::{Fault, MemoryStore};

/// The single commit point of a cluster.
///
/// Implemented by [`FileStore`], [`MemoryStore`] and, in the operator, by a Kubernetes object.
pub trait MetadataStore: Send + Sync + 'static {
    /// Reads the log as it is now, never from a cache; `None` if there is none. `with_snapshot` wants the chunks of
    /// its snapshot as well. A reader that misses a chunk reads the log again before it gives up (METADATA 4).
    fn read(&self, with_snapshot: bool) -> impl Future<Output = Result<Option<StoredLog>, StoreError>> + Send;

    /// Replaces the document if it still has the expected version; `None` creates it and fails if there is one.
    fn replace(
        &self,
        document: LogDocument,
        expected: Option<StoreVersion>,
    ) -> impl Future<Output = Result<StoreVersion, AppendFailure>> + Send;

    /// Stores all chunks of a snapshot. When this returns `Ok` they survive whatever the log survives.
    fn write_snapshot(
        &self,
        name: SnapshotName,
        chunks: Vec<String>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes every snapshot with a lower offset than `name`, which was read back from the log (METADATA 3, 4).
    fn delete_snapshots_below(&self, name: SnapshotName) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// How an append ended that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendFailure {
    /// The log had another version, or existed already: read it.
    #[error("the metadata log had another version than expected")]
    Conflict,
    /// It may be written, may be written yet, or may be lost (METADATA 2).
    #[error("no answer from the metadata store: {0}")]
    Unknown(String),
    /// It is certainly not written, and will not be.
    #[error("the metadata store refused: {0}")]
    Refused(String),
}

/// Why the store did not do what it was asked, or why it cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process works on it: stop that one first.
    #[error("{path} is in use by another process", path = path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The disk said no.
    #[error("{path}: {source}", path = path.display())]
    Disk {
        /// File or folder.
        path: PathBuf,
        /// The disk's words.
        source: std::io::Error,
    },
    /// What is there is not a metadata log of this version: a human decides.
    #[error("{path}: {reason}", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be reached now: try again.
    #[error("the metadata store is not reachable: {0}")]
    Unreachable(String),
}
