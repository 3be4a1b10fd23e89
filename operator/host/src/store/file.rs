//! A folder as metadata store: what a standalone broker uses.
//!
//! `log` is the document ([`entries`]); `snapshot-<name>` holds a snapshot, a chunk a line. What is in them are the
//! controller's and the model's own formats, with magic, version and digest. One process at a time holds the folder.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use controller::{LogDocument, SnapshotName, StoreVersion, StoredLog};
use rustix::io::Errno;
use tokio::sync::Mutex;

use self::folder::{Folder, Replaced};
use super::{AppendFailure, MetadataStore, StoreError};

mod entries;
mod folder;

const LOG: &str = "log";
const SNAPSHOT: &str = "snapshot-";

/// The file is written anew when it has grown to this, in bytes; usually a snapshot comes first.
const LARGEST_FILE: usize = 1024 * 1024;

/// A folder as metadata store.
#[derive(Debug, Clone)]
pub struct FileStore {
    folder: Arc<Folder>,
    /// What `log` holds, as far as this process knows for certain. Held over an append, so that they come one by one.
    current: Arc<Mutex<Current>>,
}

#[derive(Debug)]
enum Current {
    /// An append failed half way: read before comparing.
    Uncertain,
    Absent,
    At(At),
}

#[derive(Debug)]
struct At {
    document: LogDocument,
    version: StoreVersion,
    /// Bytes of the file; `None` if it must be written anew.
    appendable: Option<usize>,
}

impl FileStore {
    /// Opens the folder, making it if need be (its parent must exist), and takes its lock.
    ///
    /// What is in it is read once, so that a log that cannot be used is told now and not while the broker runs.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let folder = Folder::open(&path).map_err(|source| match Errno::from_io_error(&source) {
            Some(Errno::WOULDBLOCK) => StoreError::Locked { path: path.clone() },
            _ => StoreError::Disk {
                path: path.clone(),
                source,
            },
        })?;
        let current = find(&folder)?;
        Ok(Self {
            folder: Arc::new(folder),
            current: Arc::new(Mutex::new(current)),
        })
    }

    /// Whether there is a log; without opening or locking anything.
    pub fn exists(path: &Path) -> bool {
        path.join(LOG).exists()
    }
}

// Everything below runs on the blocking pool: a slow disk must not hold up the heartbeats of other brokers.
impl MetadataStore for FileStore {
    async fn read(&self, with_snapshot: bool) -> Result<Option<StoredLog>, StoreError> {
        let folder = Arc::clone(&self.folder);
        let found = blocking(move || read(&folder, with_snapshot))
            .await
            .map_err(StoreError::Unreachable)?;
        let log = found?;
        Ok(log)
    }

    async fn replace(
        &self,
        document: LogDocument,
        expected: Option<StoreVersion>,
    ) -> Result<StoreVersion, AppendFailure> {
        let mut current = Arc::clone(&self.current).lock_owned().await;
        let folder = Arc::clone(&self.folder);
        // The blocking part owns the lock: an append whose caller has gone away still ends before the next begins.
        let append = blocking(move || {
            if let Current::Uncertain = *current {
                *current = find(&folder).map_err(|error| AppendFailure::Refused(error.to_string()))?;
            }
            append(&folder, &mut current, document, expected.as_ref())
        });
        append.await.map_err(AppendFailure::Unknown)?
    }

    async fn write_snapshot(&self, name: SnapshotName, chunks: Vec<String>) -> Result<(), StoreError> {
        let folder = Arc::clone(&self.folder);
        let write = move || {
            let name = format!("{SNAPSHOT}{name}");
            let text: String = chunks.iter().flat_map(|chunk| [chunk.as_str(), "\n"]).collect();
            folder.replace(&name, text.as_bytes()).map_err(|error| match error {
                Replaced::Not(source) | Replaced::Perhaps(source) => StoreError::Disk {
                    path: folder.path(&name),
                    source,
                },
            })
        };
        blocking(write).await.map_err(StoreError::Unreachable)?
    }

    async fn delete_snapshots_below(&self, name: SnapshotName) -> Result<(), StoreError> {
        let folder = Arc::clone(&self.folder);
        let delete = move || {
            let disk = |name: &str| {
                let path = folder.path(name);
                move |source| StoreError::Disk { path, source }
            };
            for file in folder.names().map_err(disk(""))? {
                let lower = file
                    .strip_prefix(SNAPSHOT)
                    .and_then(|text| text.parse::<SnapshotName>().ok())
                    .is_some_and(|found| found.offset < name.offset);
                if lower {
                    folder.remove(&file).map_err(disk(&file))?;
                }
            }
            Ok(())
        };
        blocking(delete).await.map_err(StoreError::Unreachable)?
    }
}

fn append(
    folder: &Folder,
    current: &mut Current,
    document: LogDocument,
    expected: Option<&StoreVersion>,
) -> Result<StoreVersion, AppendFailure> {
    let old = match (&*current, expected) {
        (Current::Absent, None) => None,
        (Current::At(at), Some(expected)) if at.version == *expected => Some(at),
        _ => return Err(AppendFailure::Conflict),
    };
    let continued = old.and_then(|old| {
        let size = old.appendable.filter(|size| *size < LARGEST_FILE)?;
        Some((size, entries::continuation(&old.document, &document)?))
    });
    let (written, size) = if let Some((size, text)) = continued {
        (folder.append(LOG, text.as_bytes()), size + text.len())
    } else {
        let text = entries::file(&document);
        (folder.replace(LOG, text.as_bytes()), text.len())
    };
    let told = |error: io::Error| format!("{}: {error}", folder.path(LOG).display());
    match written {
        Ok(()) => {
            let version = version_of(&document);
            *current = Current::At(At {
                document,
                version: version.clone(),
                appendable: Some(size),
            });
            Ok(version)
        }
        Err(Replaced::Not(error)) => Err(AppendFailure::Refused(told(error))),
        Err(Replaced::Perhaps(error)) => {
            *current = Current::Uncertain;
            Err(AppendFailure::Unknown(told(error)))
        }
    }
}

/// Each append has an id of its own, so it can be the version too.
fn version_of(document: &LogDocument) -> StoreVersion {
    StoreVersion(document.append_id.to_string())
}

fn find(folder: &Folder) -> Result<Current, StoreError> {
    Ok(match read_document(folder)? {
        // The next append writes the file anew: what is torn, or was never synced, goes with the old one.
        Some(document) => Current::At(At {
            version: version_of(&document),
            document,
            appendable: None,
        }),
        None => Current::Absent,
    })
}

fn read(folder: &Folder, with_snapshot: bool) -> Result<Option<StoredLog>, StoreError> {
    let Some(document) = read_document(folder)? else {
        return Ok(None);
    };
    let mut chunks = Vec::new();
    if with_snapshot && let Some(snapshot) = &document.snapshot {
        let name = format!("{SNAPSHOT}{}", snapshot.name);
        // The lock keeps others out, so reading again could find nothing else; the fold tells what is missing.
        if let Some(text) = read_text(folder, &name)? {
            chunks = text.lines().map(str::to_owned).collect();
        }
    }
    Ok(Some(StoredLog {
        version: version_of(&document),
        document,
        chunks,
    }))
}

fn read_document(folder: &Folder) -> Result<Option<LogDocument>, StoreError> {
    let disk = |source| StoreError::Disk {
        path: folder.path(LOG),
        source,
    };
    let Some(bytes) = folder.read(LOG).map_err(disk)? else {
        return Ok(None);
    };
    let contents = entries::decode(&bytes).map_err(|reason| StoreError::Unusable {
        path: folder.path(LOG),
        reason,
    })?;
    if contents.torn {
        let path = folder.path(LOG);
        tracing::info!(path = %path.display(), "the last append was torn by a crash; it was never answered");
    }
    Ok(Some(contents.document))
}

fn read_text(folder: &Folder, name: &str) -> Result<Option<String>, StoreError> {
    match folder.read(name) {
        Ok(Some(bytes)) => String::from_utf8(bytes).map(Some).map_err(|_| StoreError::Unusable {
            path: folder.path(name),
            reason: "it is not text".to_owned(),
        }),
        Ok(None) => Ok(None),
        Err(source) => Err(StoreError::Disk {
            path: folder.path(name),
            source,
        }),
    }
}

/// Runs `work` where it may wait for the disk. The error says that it did not come to an end.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| format!("the disk work was abandoned: {error}"))
}

#[cfg(test)]
mod tests;
