//! The log as its callers use it.

use super::PartitionLog;
use crate::dir::Dir;

impl<D: Dir> PartitionLog<D> {
    /// Compares every index entry with a walk over the batches.
    pub(crate) fn check_indexes(&self) -> Result<(), String> {
        for segment in &self.segments {
            segment.check_indexes(self.config.index_interval_bytes)?;
        }
        Ok(())
    }
}
