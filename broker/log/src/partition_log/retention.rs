//! Removing the oldest segments: by age, then by size (Kafka's `UnifiedLog.deleteOldSegments`).
//!
//! In steps, so that slow ones need no lock and one checkpoint serves many logs:
//! 1. [`PartitionLog::begin_retention`] rolls the active segment if all of it may go, and says what to flush first.
//! 2. [`PartitionLog::advance_log_start`] moves the log start. The caller makes it durable.
//! 3. [`PartitionLog::remove_before`] renames the files, and only those below a log start that is durable: otherwise
//!    a crash would bring back a log that begins with a hole.
//! 4. [`RemovedSegments::remove`] frees the space after `file.delete.delay.ms`.

use std::fmt;
use std::io::ErrorKind;

use super::PartitionLog;
use super::flush::FlushWork;
use crate::dir::{Dir, Open, read_file, write_all_at};
use crate::error::LogError;
use crate::producer_state::snapshot;
use crate::recovery::{created_error, rebuild_producers, remove_snapshots, snapshot_file_name};
use crate::seeded::seeded_bug;
use crate::segment::Segment;

/// Extension of a file that waits for its removal. An open removes what a former life left.
const DELETED: &str = "deleted";

/// Files taken out of a log, which still hold their space. Dropping it leaves them to the next open.
#[must_use = "the space is free after `remove`"]
pub struct RemovedSegments<D: Dir> {
    dir: D,
    names: Vec<String>,
    segments: usize,
    bytes: u64,
    delay_ms: i64,
}

impl<D: Dir> RemovedSegments<D> {
    /// How many segments they were.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Bytes of their batches.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How long their files should stay, in milliseconds (`file.delete.delay.ms`).
    pub fn delay_ms(&self) -> i64 {
        self.delay_ms
    }

    /// Frees the space. Readers that hold a file go on with it.
    pub fn remove(self) -> Result<(), LogError> {
        for name in &self.names {
            match self.dir.remove(name) {
                // The whole partition may be gone meanwhile.
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(LogError::offline("removing an old segment", error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl<D: Dir> fmt::Debug for RemovedSegments<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemovedSegments")
            .field("segments", &self.segments)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl<D: Dir> PartitionLog<D> {
    /// Prepares what `retention.ms` and `retention.bytes` ask for: what has to be synced first. Run it, hand it to
    /// [`Self::end_flush`], and go on with [`Self::advance_log_start`]. `None`: nothing is old.
    pub fn begin_retention(&mut self, now_ms: i64, high_watermark: i64) -> Result<Option<FlushWork<D>>, LogError> {
        self.check_online()?;
        let count = self.old_segments(now_ms, high_watermark)?;
        if count > 0 && count == self.segments.len() {
            match self.roll() {
                // A full disk is when the other segments must go.
                Ok(()) | Err(LogError::StorageFull { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let count = count.min(self.segments.len().saturating_sub(1));
        let Some(begin) = self.segments.get(count).filter(|_| count > 0).map(Segment::base_offset) else {
            return Ok(None);
        };
        if !seeded_bug!(ProducersNotKept) {
            self.keep_producers(count, begin).map_err(|error| self.fail(error))?;
        }
        self.retained_from = Some(begin);
        let active_base = self.segments.last().map_or(0, Segment::base_offset);
        self.work(active_base).map(Some)
    }

    /// Moves the log start to where [`Self::begin_retention`] wants it, if all that must be durable for that is, and
    /// returns it if there are files below it: once it is durable, [`Self::remove_before`] takes them. Reads below it
    /// are refused from now on.
    pub fn advance_log_start(&mut self) -> Result<Option<i64>, LogError> {
        self.check_online()?;
        if let Some(begin) = self.retained_from.take().filter(|begin| self.may_begin_at(*begin)) {
            self.log_start_offset = self.log_start_offset.max(begin);
        }
        if seeded_bug!(RemovedBeforeLogStart) {
            drop(self.remove_before(self.log_start_offset)?);
        }
        Ok((self.unreadable_segments(self.log_start_offset) > 0).then_some(self.log_start_offset))
    }

    /// Takes the segments wholly below `durable_log_start` out of the log: their files get the extension `.deleted`.
    /// Run the returned work and hand it to [`Self::end_flush`].
    ///
    /// `durable_log_start` is what the checkpoint of log start offsets on the disk says.
    pub fn remove_before(&mut self, durable_log_start: i64) -> Result<(RemovedSegments<D>, FlushWork<D>), LogError> {
        self.check_online()?;
        let start = durable_log_start.min(self.log_start_offset);
        let count = self.unreadable_segments(start);
        let mut removed = RemovedSegments {
            dir: self.dir.clone(),
            names: Vec::new(),
            segments: count,
            bytes: self.segments.iter().take(count).map(Segment::size).sum(),
            delay_ms: self.config.file_delete_delay_ms,
        };
        if count > 0 {
            self.unsaved.names_changed();
            if self.epochs.truncate_from_start(start) {
                self.unsaved.epochs_changed();
            }
            let result = self.set_aside(count, &mut removed.names);
            result.map_err(|error| self.fail(error))?;
        }
        let active_base = self.segments.last().map_or(0, Segment::base_offset);
        let work = self.work(active_base)?;
        Ok((removed, work))
    }

    fn set_aside(&mut self, count: usize, names: &mut Vec<String>) -> Result<(), LogError> {
        for segment in self.segments.drain(..count) {
            for name in segment.file_names() {
                let deleted = format!("{name}.{DELETED}");
                match self.dir.rename(&name, &deleted) {
                    Ok(()) => names.push(deleted),
                    // A small segment has no index files.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(LogError::offline("removing an old segment", error)),
                }
            }
        }
        // The log may start in the middle of a segment: what was known of producers where that begins is still needed.
        let first = self.segments.first().map_or(0, Segment::base_offset);
        remove_snapshots(
            &self.dir,
            self.snapshots.iter().copied().filter(|offset| *offset < first),
        )?;
        self.snapshots.retain(|offset| *offset >= first);
        Ok(())
    }

    /// How many of the first segments may go: below the high watermark and too old, or too much. All of them, if the
    /// active one is not empty and may go too.
    fn old_segments(&mut self, now_ms: i64, high_watermark: i64) -> Result<usize, LogError> {
        let mut count = self.unreadable_segments(self.log_start_offset);
        while self.may_go(count, high_watermark) && self.is_expired(count, now_ms)? {
            count += 1;
        }
        if let Ok(limit) = u64::try_from(self.config.retention_bytes) {
            let rest = self.segments.get(count..).unwrap_or_default();
            let mut excess = rest.iter().map(Segment::size).sum::<u64>().saturating_sub(limit);
            while self.may_go(count, high_watermark)
                && let Some(left) = self.segments.get(count).and_then(|old| excess.checked_sub(old.size()))
            {
                excess = left;
                count += 1;
            }
        }
        Ok(count)
    }

    fn may_go(&self, index: usize, high_watermark: i64) -> bool {
        self.end_of(index) <= high_watermark && self.segments.get(index).is_some_and(|segment| segment.size() > 0)
    }

    /// Whether the newest record of the segment is older than `retention.ms`. A segment whose records have no
    /// timestamps has no age.
    fn is_expired(&mut self, index: usize, now_ms: i64) -> Result<bool, LogError> {
        let limit = self.config.retention_ms;
        let sealed = index + 1 < self.segments.len();
        let Some(segment) = self.segments.get_mut(index).filter(|_| limit >= 0) else {
            return Ok(false);
        };
        let was_open = segment.is_open();
        let newest = segment.max_timestamp()?;
        // One descriptor per log, whatever was looked up.
        if sealed && !was_open {
            segment.close_file();
        }
        Ok(newest.is_some_and(|newest| now_ms.saturating_sub(newest.timestamp) > limit))
    }

    /// Makes sure that the producers at `begin` are in a snapshot there, which the next flush syncs: the batches that
    /// tell of them go, and a life before this one may have left none, or one that never reached the disk.
    pub(super) fn keep_producers(&mut self, count: usize, begin: i64) -> Result<(), LogError> {
        const DOING: &str = "writing a producer snapshot";
        let name = snapshot_file_name(begin);
        let content =
            read_file(&self.dir, &name).map_err(|error| LogError::read("reading a producer snapshot", error))?;
        let intact = content
            .map_or(Ok(None), |content| snapshot::decode(&name, &content))?
            .is_some();
        let file = if intact {
            let opened = self.dir.open(&name, Open::Existing);
            opened.map_err(|error| LogError::read("opening a producer snapshot", error))?
        } else {
            let old = self.segments.get(..count).unwrap_or_default();
            let log_begin = old.first().map_or(begin, Segment::base_offset);
            let producers = rebuild_producers(&self.dir, log_begin, old, &self.snapshots, begin)?;
            self.unsaved.names_changed();
            let file = self
                .dir
                .open(&name, Open::Create)
                .map_err(|error| created_error(DOING, error))?;
            write_all_at(&file, &snapshot::encode(&producers), 0).map_err(|error| created_error(DOING, error))?;
            if let Err(place) = self.snapshots.binary_search(&begin) {
                self.snapshots.insert(place, begin);
            }
            file
        };
        self.unsaved.file_written(file.into());
        Ok(())
    }

    /// Whether the log loses nothing if everything below `begin` goes: the segment that begins there has its name on
    /// the disk and the producers beside it, and nothing below is waiting for a sync.
    pub(super) fn may_begin_at(&self, begin: i64) -> bool {
        let there = self
            .segments
            .binary_search_by_key(&begin, Segment::base_offset)
            .is_ok_and(|count| !self.segments.iter().take(count).any(|segment| segment.unsynced));
        let saved = self.unsaved.names.is_none() && self.unsaved.files.is_empty();
        there && saved && begin <= self.recovery_point
    }

    /// How many segments lie wholly below `start`; the active one never does.
    pub(super) fn unreadable_segments(&self, start: i64) -> usize {
        self.segments
            .iter()
            .skip(1)
            .take_while(|next| next.base_offset() <= start)
            .count()
    }
}
