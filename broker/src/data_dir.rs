//! The data directory: whose it is, and that nobody else has it.
//!
//! `meta.json` is written once, when the broker first knows its cluster, and read at every start. After a crash it is
//! either absent (then the directory holds no partition either) or whole: it is written beside, synced and renamed.
//! The lock is the kernel's (`flock`), so that a killed process leaves none behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use model::{BrokerId, ClusterId, DirectoryId};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::error::StartError;

/// Version of the directory's layout that this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: &str = "barnabas-data-directory";
const META_FILE: &str = "meta.json";
const LOCK_FILE: &str = ".lock";

/// Folder of the metadata log, where the controller lives in the same process.
pub(crate) const METADATA_LOG: &str = "metadata";

/// Names that say nothing about the owner of a directory. The metadata store is made before the identity is written.
const HARMLESS: [&str; 3] = [LOCK_FILE, "lost+found", METADATA_LOG];

/// Whose data this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Cluster that the partitions belong to.
    pub cluster_id: ClusterId,
    /// Broker that wrote them.
    pub broker_id: BrokerId,
    /// Tells a lost volume from a restart: another id is another disk.
    pub directory_id: DirectoryId,
}

/// The file, field by field. After a crash: all of it or no file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MetaFile {
    magic: String,
    version: u32,
    cluster_id: ClusterId,
    broker_id: BrokerId,
    directory_id: DirectoryId,
}

/// What is read before the rest may be trusted.
#[derive(Debug, Deserialize)]
struct MetaPrefix {
    magic: String,
    version: u32,
}

/// A directory under our lock. The lock ends with this value, or with the process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    broker_id: BrokerId,
    identity: Option<Identity>,
    _lock: File,
}

impl DataDir {
    /// Creates the directory if needed, locks it, and reads whose it is.
    pub fn open(path: &Path, broker_id: BrokerId) -> Result<Self, StartError> {
        let fail = |action| {
            move |source| StartError::DataDir {
                path: path.to_path_buf(),
                action,
                source,
            }
        };
        fs::create_dir_all(path).map_err(fail("create it"))?;
        // Before the lock file is made: a foreign directory is left as it was found.
        let stranger = first_stranger(path).map_err(fail("list it"))?;
        let identity = read_identity(path)?;
        if let (None, Some(found)) = (&identity, stranger) {
            return Err(StartError::Foreign {
                path: path.to_path_buf(),
                found,
            });
        }
        let lock = lock(path)?;
        if let Some(identity) = &identity
            && identity.broker_id != broker_id
        {
            return Err(StartError::OtherBroker {
                path: path.to_path_buf(),
                found: identity.broker_id.0,
                expected: broker_id.0,
            });
        }
        Ok(Self {
            path: path.to_path_buf(),
            broker_id,
            identity,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is; `None` until [`DataDir::claim`] on a fresh directory.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Makes a fresh directory ours, or checks that it belongs to this cluster.
    pub fn claim(&mut self, cluster_id: &ClusterId, directory_id: DirectoryId) -> Result<&Identity, StartError> {
        if let Some(identity) = &self.identity
            && identity.cluster_id != *cluster_id
        {
            return Err(StartError::OtherCluster {
                path: self.path.clone(),
                found: identity.cluster_id.to_string(),
                expected: cluster_id.to_string(),
            });
        }
        if self.identity.is_none() {
            let meta = MetaFile {
                magic: MAGIC.to_owned(),
                version: FORMAT_VERSION,
                cluster_id: cluster_id.clone(),
                broker_id: self.broker_id,
                directory_id,
            };
            let fail = |source| StartError::DataDir {
                path: self.path.join(META_FILE),
                action: "write it",
                source,
            };
            let mut text = serde_json::to_vec_pretty(&meta).map_err(|e| fail(e.into()))?;
            text.push(b'\n');
            write_atomically(&self.path, META_FILE, &text).map_err(fail)?;
        }
        Ok(self.identity.get_or_insert(Identity {
            cluster_id: cluster_id.clone(),
            broker_id: self.broker_id,
            directory_id,
        }))
    }
}

/// Replaces `directory/name` so that a crash leaves the old or the new bytes, never a mixture.
pub fn write_atomically(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = directory.join(format!("{name}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, directory.join(name))?;
    // The rename itself is durable only with its directory.
    File::open(directory)?.sync_all()
}

fn first_stranger(path: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        // A crash between creating and renaming meta.json leaves this one.
        let ours = HARMLESS.contains(&name.as_ref()) || name == format!("{META_FILE}.tmp");
        if !ours {
            return Ok(Some(name.into_owned()));
        }
    }
    Ok(None)
}

fn read_identity(path: &Path) -> Result<Option<Identity>, StartError> {
    let file = path.join(META_FILE);
    let bytes = match fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(StartError::DataDir {
                path: file,
                action: "read it",
                source,
            });
        }
    };
    let bad = |reason: String| StartError::BadMeta {
        path: file.clone(),
        reason,
    };
    let prefix: MetaPrefix = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    if prefix.magic != MAGIC {
        return Err(bad(format!("its magic is {:?}", prefix.magic)));
    }
    if prefix.version != FORMAT_VERSION {
        return Err(StartError::FormatVersion {
            path: path.to_path_buf(),
            found: prefix.version,
            supported: FORMAT_VERSION,
        });
    }
    let meta: MetaFile = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    Ok(Some(Identity {
        cluster_id: meta.cluster_id,
        broker_id: meta.broker_id,
        directory_id: meta.directory_id,
    }))
}

fn lock(path: &Path) -> Result<File, StartError> {
    let file = path.join(LOCK_FILE);
    let fail = |action| {
        let file = file.clone();
        move |source| StartError::DataDir {
            path: file,
            action,
            source,
        }
    };
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file)
        .map_err(fail("create it"))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // Only for the sentence: a lock file without a readable pid is as locked.
            let _ = lock.read_to_string(&mut text);
            return Err(StartError::Locked {
                path: path.to_path_buf(),
                pid: text.trim().parse().ok(),
            });
        }
        Err(errno) => return Err(fail("lock it")(errno.into())),
    }
    lock.set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()))
        .map_err(fail("write it"))?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKER: BrokerId = BrokerId(3);

    fn cluster() -> ClusterId {
        "AAAAAAAAAAAAAAAAAAAAAQ".parse().expect("22 characters")
    }

    fn claimed(path: &Path) -> DirectoryId {
        let directory_id = DirectoryId(uuid::Uuid::from_u128(7));
        let mut dir = DataDir::open(path, BROKER).expect("fresh");
        dir.claim(&cluster(), directory_id).expect("fresh");
        directory_id
    }

    #[test]
    fn the_identity_survives_a_restart() {
        let temp = tempfile::tempdir().expect("temp");
        let path = temp.path().join("a/b");
        let directory_id = claimed(&path);
        let mut again = DataDir::open(&path, BROKER).expect("ours");
        assert_eq!(again.identity().expect("claimed").directory_id, directory_id);
        let other = DirectoryId(uuid::Uuid::from_u128(8));
        let identity = again.claim(&cluster(), other).expect("same cluster");
        assert_eq!(identity.directory_id, directory_id);
    }

    #[test]
    fn a_second_process_is_told_who_holds_the_directory() {
        let temp = tempfile::tempdir().expect("temp");
        let _held = DataDir::open(temp.path(), BROKER).expect("fresh");
        let error = DataDir::open(temp.path(), BROKER).expect_err("locked");
        let sentence = error.to_string();
        assert!(sentence.contains(&std::process::id().to_string()), "{sentence}");
    }

    #[test]
    fn a_foreign_directory_is_refused_and_left_alone() {
        let temp = tempfile::tempdir().expect("temp");
        fs::write(temp.path().join("thesis.tex"), "x").expect("write");
        let error = DataDir::open(temp.path(), BROKER).expect_err("foreign");
        assert!(error.to_string().contains("thesis.tex"), "{error}");
        assert_eq!(fs::read_dir(temp.path()).expect("list").count(), 1);
    }

    #[test]
    fn another_broker_another_cluster_and_another_version_are_refused() {
        let temp = tempfile::tempdir().expect("temp");
        claimed(temp.path());
        let error = DataDir::open(temp.path(), BrokerId(4)).expect_err("other broker");
        assert!(error.to_string().contains("belongs to broker 3"), "{error}");

        let mut dir = DataDir::open(temp.path(), BROKER).expect("ours");
        let foreign: ClusterId = "BBBBBBBBBBBBBBBBBBBBBB".parse().expect("22 characters");
        let error = dir
            .claim(&foreign, DirectoryId(uuid::Uuid::nil()))
            .expect_err("other cluster");
        assert!(error.to_string().contains(&cluster().to_string()), "{error}");
        drop(dir);

        let meta = temp.path().join(META_FILE);
        let text = fs::read_to_string(&meta).expect("read");
        fs::write(&meta, text.replace("\"version\": 1", "\"version\": 9")).expect("write");
        let error = DataDir::open(temp.path(), BROKER).expect_err("version");
        let sentence = error.to_string();
        assert!(
            sentence.contains("version 9") && sentence.contains("version 1"),
            "{sentence}"
        );
    }

    #[test]
    fn a_torn_identity_is_refused_with_a_remedy() {
        let temp = tempfile::tempdir().expect("temp");
        fs::write(temp.path().join(META_FILE), "{\"magic\": ").expect("write");
        let error = DataDir::open(temp.path(), BROKER).expect_err("torn");
        assert!(error.to_string().contains("backup"), "{error}");
    }

    #[test]
    fn the_format_is_as_documented() {
        let temp = tempfile::tempdir().expect("temp");
        claimed(temp.path());
        let text = fs::read_to_string(temp.path().join(META_FILE)).expect("read");
        assert_eq!(
            text,
            "{\n  \"magic\": \"barnabas-data-directory\",\n  \"version\": 1,\n  \"clusterId\": \"AAAAAAAAAAAAAAAAAAAAAQ\",\n  \"brokerId\": 3,\n  \"directoryId\": \"AAAAAAAAAAAAAAAAAAAABw\"\n}\n"
        );
    }
}
