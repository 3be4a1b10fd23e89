//! The disk as the log sees it: directories and files, and nothing that hides an fsync.
//!
//! Two implementations: [`fs::FsDir`] is the operating system's, [`sim::SimDir`] a simulated disk that
//! loses unsynced bytes and tears writes. The log never assumes more than this file promises:
//!
//! - a written byte survives a power loss only after [`DirFile::sync`] of its file returned;
//! - a created, renamed or removed name survives only after [`Dir::sync`] of its directory returned;
//! - until then any part of what was done may survive, in any order between files.

pub mod fs;
pub mod sim;

use std::io::{self, IoSlice};

/// A directory. Cloning it clones a path, not its content.
pub trait Dir: Clone + Send + Sync + 'static {
    /// The files in it.
    type File: DirFile;

    /// The directory `name` inside this one; touches no disk.
    fn subdir(&self, name: &str) -> Self;

    /// Names of the entries, unordered. `NotFound` if the directory does not exist.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates the directory `name`. `AlreadyExists` if there is one.
    fn make_dir(&self, name: &str) -> io::Result<()>;

    /// Opens the file `name` to read and write.
    fn open(&self, name: &str, how: Open) -> io::Result<Self::File>;

    /// Renames an entry, replacing a file of the new name in one step.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; open handles keep its bytes.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, name: &str) -> io::Result<()>;

    /// Makes the entries durable (fsync of the directory). An error is fatal: it is never retried.
    fn sync(&self) -> io::Result<()>;
}

/// An open file. Positions are explicit, so that readers and the one writer share a handle.
pub trait DirFile: Send + Sync + 'static {
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Reads at `position`; fewer bytes than asked only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// The same from memory only: `WouldBlock` where the disk would have to be waited for. An implementation that cannot
    /// tell waits.
    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_at(buffer, position)
    }

    /// Writes the slices one after another from `position` in one call (`pwritev`); may write fewer bytes.
    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// Cuts or extends to `size` bytes.
    fn truncate(&self, size: u64) -> io::Result<()>;

    /// Makes bytes and length durable (fdatasync). An error is fatal: it is never retried, since the
    /// kernel may have dropped the dirty pages.
    fn sync(&self) -> io::Result<()>;
}

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as it takes.
    Endless,
    /// Not at all: `WouldBlock` if the bytes are not in memory.
    None,
}

/// What [`Dir::open`] does when the file is there or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// The file must exist.
    Existing,
    /// The file is created, or emptied if it exists.
    Create,
}

/// Writes all of `bytes` at `position`, however many calls that takes.
pub(crate) fn write_all_at<F: DirFile>(file: &F, bytes: &[u8], position: u64) -> io::Result<()> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write_at(&[IoSlice::new(rest)], position + written as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `buffer` from `position` as far as the file goes; returns how many bytes were there.
pub(crate) fn read_full_at<F: DirFile>(file: &F, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    read_full(file, buffer, position, Patience::Endless)
}

/// The same with this much patience.
pub(crate) fn read_full<F: DirFile>(
    file: &F,
    buffer: &mut [u8],
    position: u64,
    patience: Patience,
) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = position + filled as u64;
        let read = match patience {
            Patience::Endless => file.read_at(rest, at),
            Patience::None => file.read_cached_at(rest, at),
        };
        match read {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The whole content of the file `name`, or `None` if there is no such file.
pub(crate) fn read_file<D: Dir>(dir: &D, name: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match dir.open(name, Open::Existing) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = usize::try_from(file.size()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut content = vec![0; size];
    let filled = read_full_at(&file, &mut content, 0)?;
    content.truncate(filled);
    Ok(Some(content))
}
