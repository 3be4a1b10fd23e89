//! Making a log durable, in pieces so that the slow one needs no lock.

use std::fmt;
use std::sync::Arc;

use super::PartitionLog;
use super::epochs_written::EpochsWritten;
use crate::dir::{Dir, DirFile};
use crate::error::LogError;
use crate::recovery::remove_snapshots;
use crate::seeded::seeded_bug;
use crate::segment::Segment;

/// The syncs of one flush. Run it on a thread that may wait, without holding the log.
#[must_use = "nothing is durable before `run`"]
pub struct FlushWork<D: Dir> {
    files: Vec<Arc<D::File>>,
    dir: D,
    sync_names: bool,
    epochs: Option<Vec<u8>>,
    epochs_written: EpochsWritten,
    covers: Covers,
}

impl<D: Dir> Drop for PartitionLog<D> {
    fn drop(&mut self) {
        self.epochs_written.end();
    }
}

/// What is durable when the syncs are done.
#[derive(Debug, Clone, Copy)]
struct Covers {
    /// Batches below this offset.
    target: i64,
    /// Indexes of segments below this base.
    active_base: i64,
    /// Changes up to this number.
    changes: u64,
    /// Said of the log as it was cut so often.
    cuts: u64,
}

/// What became of a [`FlushWork`]; hand it to [`PartitionLog::end_flush`].
#[must_use = "the recovery point moves in `end_flush`"]
#[derive(Debug)]
pub struct FlushDone {
    covers: Covers,
    result: Result<(), LogError>,
}

impl<D: Dir> fmt::Debug for FlushWork<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlushWork")
            .field("files", &self.files.len())
            .field("covers", &self.covers)
            .finish_non_exhaustive()
    }
}

impl<D: Dir> FlushWork<D> {
    /// Syncs everything below the log end at the time of [`PartitionLog::begin_flush`].
    pub fn run(self) -> FlushDone {
        let result = self.sync();
        FlushDone {
            covers: self.covers,
            result,
        }
    }

    fn sync(&self) -> Result<(), LogError> {
        if !seeded_bug!(RecoveryPointBeforeSync) {
            for file in &self.files {
                file.sync()
                    .map_err(|error| LogError::offline("syncing a segment", error))?;
            }
        }
        if self.sync_names && !seeded_bug!(DirectoryNotSynced) {
            self.dir
                .sync()
                .map_err(|error| LogError::offline("syncing a partition directory", error))?;
        }
        match &self.epochs {
            Some(content) => self.epochs_written.write(&self.dir, content, self.covers.changes),
            None => Ok(()),
        }
    }
}

impl<D: Dir> PartitionLog<D> {
    /// Whether `flush.ms` or `flush.messages` asks for a flush, or a sealed segment waits for one: then the recovery
    /// point stands still, and a restart after a crash reads more and more.
    pub fn flush_due(&self, now_ms: i64) -> bool {
        self.offline.is_none() && (self.records_due(now_ms) || self.segments.iter().any(|segment| segment.unsynced))
    }

    fn records_due(&self, now_ms: i64) -> bool {
        self.unsaved.since_ms.is_some_and(|since| {
            self.unsaved.records >= self.config.flush_messages || now_ms.saturating_sub(since) >= self.config.flush_ms
        })
    }

    /// As [`Self::begin_flush`], for what is due only: if no record is, the active segment is left to the operating
    /// system (as Kafka does when a segment is rolled).
    pub fn begin_due_flush(&mut self, now_ms: i64) -> Result<Option<FlushWork<D>>, LogError> {
        if !self.flush_due(now_ms) {
            return Ok(None);
        }
        if self.records_due(now_ms) {
            return self.begin_flush().map(Some);
        }
        let active_base = self.segments.last().map_or(0, Segment::base_offset);
        self.work(active_base).map(Some)
    }

    /// Records that no flush has covered.
    pub fn unflushed_records(&self) -> u64 {
        self.unsaved.records
    }

    /// Makes everything appended so far durable and moves the recovery point to the log end.
    ///
    /// # Errors
    /// The log is offline afterwards, since a sync is never tried again; but for [`LogError::StorageFull`].
    pub fn flush(&mut self) -> Result<(), LogError> {
        let done = self.begin_flush()?.run();
        self.end_flush(done)
    }

    /// What has to be synced now. Appends may go on while it runs.
    pub fn begin_flush(&mut self) -> Result<FlushWork<D>, LogError> {
        let work = self.work(self.log_end_offset)?;
        self.unsaved.records = 0;
        self.unsaved.since_ms = None;
        Ok(work)
    }

    /// The syncs that make everything below `target` durable: the log end, or the base of the active segment.
    pub(super) fn work(&self, target: i64) -> Result<FlushWork<D>, LogError> {
        self.check_online()?;
        let mut files: Vec<_> = self.unsaved.files.iter().map(|(_, file)| Arc::clone(file)).collect();
        if !seeded_bug!(OnlyActiveSynced) {
            for segment in self.segments.iter().filter(|segment| segment.unsynced) {
                files.extend(segment.files()?);
            }
        }
        let mut active_base = 0;
        if let Some(active) = self.segments.last() {
            active_base = active.base_offset();
            if self.recovery_point.max(active_base) < target {
                files.push(Arc::clone(active.log()?));
            }
        }
        Ok(FlushWork {
            files,
            dir: self.dir.clone(),
            sync_names: self.unsaved.names.is_some(),
            epochs: self.unsaved.epochs.map(|_| self.epochs.format()),
            epochs_written: self.epochs_written.clone(),
            covers: Covers {
                target,
                active_base,
                changes: self.unsaved.changes,
                cuts: self.cuts,
            },
        })
    }

    /// Moves the recovery point to where the flush came.
    pub fn end_flush(&mut self, done: FlushDone) -> Result<(), LogError> {
        if let Err(error) = done.result {
            // No room for a checkpoint file is no doubt about what the disk holds: it is tried again.
            self.unsaved.records = (self.log_end_offset - self.recovery_point) as u64;
            self.unsaved.since_ms = Some(i64::MIN);
            return Err(self.fail(error));
        }
        let covers = done.covers;
        if covers.cuts != self.cuts {
            return Ok(());
        }
        self.unsaved.saved(covers.changes);
        self.recovery_point = self.recovery_point.max(covers.target);
        for segment in self
            .segments
            .iter_mut()
            .filter(|segment| segment.base_offset() < covers.active_base)
        {
            if std::mem::take(&mut segment.unsynced) {
                segment.close_file();
            }
        }
        Ok(())
    }

    /// Closes the log so that the next open needs no scan, and returns its recovery point, which is its end.
    pub fn close(mut self) -> Result<i64, LogError> {
        self.check_online()?;
        if self.unsaved.anything || self.recovery_point < self.log_end_offset {
            self.prepare_close()
                .map_err(|error| LogError::offline("closing a log", error))?;
            self.flush()?;
            let end = self.log_end_offset;
            let bases: Vec<i64> = self.segments.iter().map(Segment::base_offset).collect();
            let stale = |offset: &i64| *offset != end && bases.binary_search(offset).is_err();
            remove_snapshots(&self.dir, self.snapshots.iter().copied().filter(stale))?;
        }
        Ok(self.recovery_point)
    }

    fn prepare_close(&mut self) -> std::io::Result<()> {
        if let Some(active) = self.segments.last_mut() {
            active.store_indexes_at_close()?;
            for file in active.offsets.file().into_iter().chain(active.times.file()) {
                self.unsaved.file_written(file);
            }
        }
        self.unsaved.names_changed();
        self.write_snapshot()
    }
}
