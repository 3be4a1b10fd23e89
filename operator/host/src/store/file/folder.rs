//! A locked folder in which every file is replaced as a whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

const LOCK: &str = "lock";
const DRAFT: &str = ".draft";

/// One folder, held by one process.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Holds the lock for as long as this lives; the kernel frees it however the process ends.
    _lock: File,
    #[cfg(test)]
    pub(crate) crash: std::sync::Mutex<Option<Step>>,
}

/// What replacing a file or appending to it consists of, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The draft has its name and no bytes.
    Drafted,
    /// Its bytes are in the page cache.
    Written,
    /// Its bytes are on the disk.
    Synced,
    /// It bears the name of the file.
    Renamed,
    /// That name is on the disk.
    Named,
    /// Bytes appended to a file are in the page cache.
    Appended,
    /// They are on the disk.
    AppendSynced,
}

/// How far a replacement came that did not succeed.
#[derive(Debug)]
pub(crate) enum Replaced {
    /// The old file is there, and will be.
    Not(io::Error),
    /// The old file or the new one will be there after a crash.
    Perhaps(io::Error),
}

impl Folder {
    /// Makes the folder if need be and locks it. `WouldBlock` if another process holds it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let created = match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        if created && let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let folder = Self {
            path: path.to_owned(),
            _lock: lock,
            #[cfg(test)]
            crash: std::sync::Mutex::new(None),
        };
        folder.remove_drafts()?;
        Ok(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The bytes of a file, or `None`.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file. When this returns `Ok` the new bytes survive a power loss.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Replaced> {
        let draft = self.path(&format!("{name}{DRAFT}"));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            self.reached(Step::Drafted)?;
            file.write_all(bytes)?;
            self.reached(Step::Written)?;
            // Before the rename: else a power loss can leave the new name with none of its bytes.
            file.sync_all()?;
            self.reached(Step::Synced)
        };
        write().map_err(Replaced::Not)?;
        let name_it = || {
            fs::rename(&draft, self.path(name))?;
            self.reached(Step::Renamed)?;
            File::open(&self.path)?.sync_all()?;
            self.reached(Step::Named)
        };
        name_it().map_err(Replaced::Perhaps)
    }

    /// Appends to a file. When this returns `Ok` the bytes survive a power loss; when not, some of them may.
    pub(crate) fn append(&self, name: &str, bytes: &[u8]) -> Result<(), Replaced> {
        let mut file = OpenOptions::new()
            .append(true)
            .open(self.path(name))
            .map_err(Replaced::Not)?;
        let mut append = || {
            file.write_all(bytes)?;
            self.reached(Step::Appended)?;
            file.sync_data()?;
            self.reached(Step::AppendSynced)
        };
        append().map_err(Replaced::Perhaps)
    }

    /// Removes a file if it is there. A crash may bring it back, which does no harm to what is garbage.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The names of the files here.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn remove_drafts(&self) -> io::Result<()> {
        for name in self.names()?.iter().filter(|name| name.ends_with(DRAFT)) {
            self.remove(name)?;
        }
        Ok(())
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests crash here")]
    fn reached(&self, _: Step) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn reached(&self, step: Step) -> io::Result<()> {
        if *self.crash.lock().unwrap() == Some(step) {
            return Err(io::Error::other(format!("crashed when {step:?}")));
        }
        Ok(())
    }
}
