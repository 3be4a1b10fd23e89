//! DeleteRecords: the log starts later because somebody said so (Kafka's `Partition.deleteRecordsOnLeader`).
//!
//! In steps, as retention is: [`PartitionLog::begin_delete_records`] says what to sync, [`PartitionLog::end_delete_records`]
//! moves the log start, the caller makes that durable and may answer then; [`PartitionLog::remove_before`] frees the space.

use super::PartitionLog;
use super::flush::FlushWork;
use crate::dir::Dir;
use crate::error::LogError;
use crate::seeded::seeded_bug;
use crate::segment::Segment;

impl<D: Dir> PartitionLog<D> {
    /// Prepares that the log starts at `offset`, which must be committed: what has to be synced first. A log must not
    /// start, after a crash, beyond where it ends. `None`: it starts there or later.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] beyond the log end.
    pub fn begin_delete_records(&mut self, offset: i64) -> Result<Option<FlushWork<D>>, LogError> {
        self.check_online()?;
        if offset > self.log_end_offset {
            return Err(LogError::OffsetOutOfRange {
                requested: offset,
                log_start_offset: self.log_start_offset,
                log_end_offset: self.log_end_offset,
            });
        }
        if offset <= self.log_start_offset {
            return Ok(None);
        }
        let active_is_empty = self.segments.last().is_none_or(|active| active.size() == 0);
        if offset == self.log_end_offset && !active_is_empty {
            match self.roll() {
                // Its space is freed later then: a full disk is when the other segments must go.
                Ok(()) | Err(LogError::StorageFull { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let count = self.unreadable_segments(offset);
        if let Some(begin) = self.segments.get(count).map(Segment::base_offset).filter(|_| count > 0) {
            self.keep_producers(count, begin).map_err(|error| self.fail(error))?;
        }
        let active_base = self.segments.last().map_or(0, Segment::base_offset);
        if offset > active_base && !seeded_bug!(DeletedBeforeSync) {
            return self.begin_flush().map(Some);
        }
        self.work(active_base).map(Some)
    }

    /// Moves the log start to `offset`, after what [`Self::begin_delete_records`] gave was synced. False if the log has
    /// changed meanwhile so that it must begin again. Once the log start is durable it may be answered, and
    /// [`Self::remove_before`] takes what lies below.
    pub fn end_delete_records(&mut self, offset: i64) -> Result<bool, LogError> {
        self.check_online()?;
        if offset <= self.log_start_offset {
            return Ok(true);
        }
        let count = self.unreadable_segments(offset);
        let begin = self.segments.get(count).map_or(0, Segment::base_offset);
        if !seeded_bug!(DeletedBeforeSync) && (!self.may_begin_at(begin) || offset > self.recovery_point) {
            return Ok(false);
        }
        self.log_start_offset = offset.min(self.log_end_offset);
        if self.epochs.truncate_from_start(self.log_start_offset) {
            self.unsaved.epochs_changed();
        }
        Ok(true)
    }
}
