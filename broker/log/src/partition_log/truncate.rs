//! Cutting the end off a log, when a new leader's log diverges from it, or all of it, when nothing of the leader's
//! connects to it any more.

use super::PartitionLog;
use crate::data_dir::Checkpoint;
use crate::dir::Dir;
use crate::error::LogError;
use crate::leader_epochs::LeaderEpochs;
use crate::producer_state::ProducerState;
use crate::recovery::{rebuild_producers, remove_from, remove_snapshots};
use crate::seeded::seeded_bug;
use crate::segment::Segment;

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
            // An epoch in which nothing was written, because its leadership began here and ended: it is no part of the
            // leader's history, and nothing would ever be found to agree on.
            if self.epochs.truncate_from_end(self.log_end_offset) {
                self.unsaved.epochs_changed();
            }
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
        let begin = self.segments.first().map_or(end, Segment::base_offset);
        self.producers = rebuild_producers(&self.dir, begin, &self.segments, &self.snapshots, end)?;
        Ok(())
    }

    /// Empties the log and lets it start and end at `offset`: what a follower does whose log ends before its leader's
    /// begins (Kafka's `UnifiedLog.truncateFullyAndStartAt`).
    ///
    /// `durably` writes one offset of the checkpoints to the disk. After a crash in between, the log is a part of what it
    /// was, from its beginning, or empty.
    pub fn truncate_fully_and_start_at(
        &mut self,
        offset: i64,
        mut durably: impl FnMut(Checkpoint, i64) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        self.check_online()?;
        let begin = self.segments.first().map_or(0, Segment::base_offset);
        // Whatever part of the log a crash leaves from here on, nothing says that there should be more: a recovery point or
        // a log start beyond its end would be taken for a loss.
        let lowest = begin.min(offset);
        if !seeded_bug!(RestartedAboveRecoveryPoint) {
            durably(Checkpoint::RecoveryPoint, lowest)?;
            if self.log_start_offset > begin {
                durably(Checkpoint::LogStartOffset, begin)?;
            }
        }
        // The epochs of records that are gone must not be taken for those of the first ones that come.
        let change = self.unsaved.change();
        if !seeded_bug!(RestartedWithEpochs) {
            let none = LeaderEpochs::default().format();
            self.epochs_written.write(&self.dir, &none, change)?;
        }
        // Up to here nothing has changed, and a full disk is no harm.
        let result = self.start_over(offset, durably).map_err(|error| match error {
            LogError::StorageFull { doing } => LogError::offline(doing, std::io::ErrorKind::StorageFull.into()),
            error => error,
        });
        result.map_err(|error| self.fail(error))
    }

    fn start_over(
        &mut self,
        offset: i64,
        mut durably: impl FnMut(Checkpoint, i64) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        const DOING: &str = "emptying a log";
        self.cuts += 1;
        self.retained_from = None;
        self.epochs = LeaderEpochs::default();
        self.unsaved.epochs_changed();
        self.unsaved.names_changed();
        self.producers = ProducerState::from(offset);
        remove_snapshots(&self.dir, self.snapshots.drain(..))?;
        // The first one goes alone: a log may lose its end, but not its beginning.
        remove_from(&self.dir, &mut self.segments, 1)?;
        remove_from(&self.dir, &mut self.segments, 0)?;
        if !seeded_bug!(RestartedBeforeLogStart) {
            durably(Checkpoint::LogStartOffset, offset)?;
        }
        let segment = Segment::create(&self.dir, offset).map_err(|error| LogError::offline(DOING, error))?;
        self.dir.sync().map_err(|error| LogError::offline(DOING, error))?;
        self.segments.push(segment);
        self.log_start_offset = offset;
        self.log_end_offset = offset;
        self.recovery_point = offset;
        self.unsaved.records = 0;
        self.unsaved.since_ms = None;
        Ok(())
    }
}
