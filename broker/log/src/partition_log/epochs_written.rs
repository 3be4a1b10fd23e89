//! The file of leader epochs, which flushes write without holding the log.

use std::sync::{Arc, Mutex, PoisonError};

use crate::dir::Dir;
use crate::error::LogError;
use crate::leader_epochs;
use crate::text_file;

/// Which of the log's changes the leader epochs' file knows. Held while the file is written, which happens without the log.
#[derive(Debug, Clone, Default)]
pub(super) struct EpochsWritten(Arc<Mutex<u64>>);

impl EpochsWritten {
    /// Writes the file, unless it knows as much, or the log is gone.
    pub(super) fn write<D: Dir>(&self, dir: &D, content: &[u8], changes: u64) -> Result<(), LogError> {
        // Flushes may overlap; what an older one knows must not replace what a newer one wrote.
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *written < changes {
            text_file::replace(dir, leader_epochs::FILE_NAME, content)?;
            *written = changes;
        }
        Ok(())
    }

    /// The log is gone: a flush that still runs must not write into a directory that is another partition's by then.
    pub(super) fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = u64::MAX;
    }
}
