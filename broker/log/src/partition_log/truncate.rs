//! Cutting the end off a log, when a new leader's log diverges from it.

use super::PartitionLog;
use crate::dir::Dir;
use crate::error::LogError;
use crate::recovery::{rebuild_producers, remove_from, remove_snapshots};
use crate::seeded::seeded_bug;

impl<D: Dir> PartitionLog<D> {
    /// Cuts the log so that it ends at `offset`, or at the start of the batch that contains it.
    ///
    /// If that is below the recovery point, `lower_recovery_point` is called first with the new one and must write it
    /// to the disk: otherwise a crash after the next appends would take their torn tail for damage of durable bytes.
    pub fn truncate_to(
        &mut self,
        offset: i64,
        lower_recovery_point: impl FnOnce(i64) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        self.check_online()?;
        let offset = offset.max(self.log_start_offset);
        if offset >= self.log_end_offset {
            return Ok(());
        }
        let index = self
            .segments
            .partition_point(|segment| segment.base_offset() <= offset)
            .saturating_sub(1);
        let Some(placed) = (match self.segments.get(index) {
            Some(segment) => segment.find(offset)?,
            None => None,
        }) else {
            return Ok(());
        };
        let end = placed.header.base_offset.min(offset);
        if end < self.recovery_point {
            if !seeded_bug!(RecoveryPointNotLowered) {
                lower_recovery_point(end)?;
            }
            self.recovery_point = end;
        }
        let result = self.cut(index, placed.position, end);
        result.map_err(|error| self.fail(error))
    }

    fn cut(&mut self, index: usize, position: u64, end: i64) -> Result<(), LogError> {
        self.cuts += 1;
        self.unsaved.names_changed();
        self.unsaved.epochs_changed();
        remove_snapshots(&self.dir, self.snapshots.iter().copied().filter(|offset| *offset > end))?;
        self.snapshots.retain(|offset| *offset <= end);
        // The last first, and synced before anything is appended: no part of the old end may come back beside the new.
        remove_from(&self.dir, &mut self.segments, index + 1)?;
        if let Some(segment) = self.segments.get_mut(index) {
            segment.truncate(position, end, self.config.index_interval_bytes)?;
        }
        self.log_end_offset = end;
        self.epochs.truncate_from_end(end);
        self.producers = rebuild_producers(&self.dir, &self.segments, &self.snapshots, end)?;
        Ok(())
    }
}
