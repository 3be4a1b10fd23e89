//! The log as its callers use it.

use super::PartitionLog;
use crate::dir::Dir;

impl<D: Dir> PartitionLog<D> {
    pub(crate) fn describe(&self) -> String {
        format!(
            "rp {} leo {} {:?}",
            self.recovery_point,
            self.log_end_offset,
            self.segments
                .iter()
                .map(|s| (s.base_offset(), s.size(), s.unsynced, s.offsets.len().unwrap()))
                .collect::<Vec<_>>()
        )
    }
    /// Compares every index entry with a walk over the batches.
    pub(crate) fn check_indexes(&self) -> Result<(), String> {
        for segment in &self.segments {
            segment.check_indexes(self.config.index_interval_bytes)?;
        }
        Ok(())
    }
}
