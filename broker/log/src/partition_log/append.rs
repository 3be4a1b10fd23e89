//! Appending batches: check, assign offsets, one write for all of them, and only then note that they are there.

use std::io::{self, IoSlice};

use model::LeaderEpoch;
use protocol::batch::{self, BatchHeader, TimestampType};

use super::PartitionLog;
use super::intake::{self, Taken};
use super::scratch::Accepted;
use crate::dir::{Dir, DirFile, Open, write_all_at};
use crate::error::{AppendError, LogError};
use crate::producer_state::snapshot;
use crate::recovery::{created_error, producer_batch, snapshot_file_name};
use crate::seeded::seeded_bug;
use crate::segment::Segment;

/// Batches in one `pwritev`.
const SLICES: usize = 64;

/// A batch that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// When the broker appended it, if the topic takes its timestamps from there; -1 otherwise.
    pub log_append_time_ms: i64,
    /// The first offset of the log.
    pub log_start_offset: i64,
    /// It was there before: a retry, answered with its original offsets.
    pub duplicate: bool,
}

/// Where the bytes of accepted batches are.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// Each a batch of its own.
    Produced(&'a [&'a mut [u8]]),
    /// One after the other, as a leader sent them.
    Fetched(&'a [u8]),
}

impl<D: Dir> PartitionLog<D> {
    /// Appends what producers sent, each element one batch, in order; outcome `i` is that of batch `i`.
    ///
    /// Every batch is checked here (Kafka's rules for clients, CRC32C, records, size, sequence), so the caller need
    /// not. Accepted ones get their offsets and the leader epoch stamped in place and are written with one `pwritev`.
    /// A batch that fails does not touch the others, but for a failed write, which fails them all: nothing of it will
    /// be read. If `flush.messages` is reached, this returns after the fdatasync, and an outcome is `Ok` only if that
    /// succeeded.
    pub fn append_as_leader(
        &mut self,
        batches: &mut [&mut [u8]],
        leader_epoch: LeaderEpoch,
        now_ms: i64,
        outcomes: &mut Vec<Result<AppendInfo, AppendError>>,
    ) {
        outcomes.clear();
        if let Err(error) = self.check_leader(leader_epoch) {
            outcomes.extend(batches.iter().map(|_| Err(error.clone())));
            return;
        }
        for index in 0..batches.len() {
            let outcome = self.accept(batches, index, leader_epoch, now_ms, outcomes);
            outcomes.push(outcome);
            if self.offline.is_some() {
                break;
            }
        }
        // Its error is in the outcomes already.
        let _ = self.write_accepted(Source::Produced(batches), now_ms, outcomes);
        if let Some(error) = self.offline.clone() {
            outcomes.resize_with(batches.len(), || Err(error.clone().into()));
        }
        if self.unsaved.records >= self.config.flush_messages.max(1)
            && let Err(error) = self.flush()
        {
            // Whether they are on the disk is unknown, so they are not acknowledged.
            outcomes
                .iter_mut()
                .filter(|outcome| outcome.is_ok())
                .for_each(|outcome| *outcome = Err(error.clone().into()));
        }
    }

    /// Begins a leader epoch at the log end. Call it when leadership begins, before the first append.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) -> Result<(), AppendError> {
        self.check_leader(epoch)
    }

    fn check_leader(&mut self, epoch: LeaderEpoch) -> Result<(), AppendError> {
        self.check_online()?;
        if let Some(latest) = self.epochs.latest().filter(|latest| *latest > epoch) {
            return Err(AppendError::FencedLeaderEpoch {
                found: epoch.0,
                current: latest.0,
            });
        }
        if self.epochs.assign(epoch, self.log_end_offset) {
            self.unsaved.epochs_changed();
        }
        Ok(())
    }

    fn accept(
        &mut self,
        batches: &mut [&mut [u8]],
        index: usize,
        leader_epoch: LeaderEpoch,
        now_ms: i64,
        outcomes: &mut [Result<AppendInfo, AppendError>],
    ) -> Result<AppendInfo, AppendError> {
        let Some(bytes) = batches.get_mut(index) else {
            return Err(AppendError::Batch(batch::BatchError::NotOneBatch));
        };
        let (size, config) = (bytes.len(), &self.config);
        if size > config.max_message_bytes as usize {
            return Err(AppendError::TooLarge {
                size,
                limit: config.max_message_bytes,
            });
        }
        if size > config.segment_bytes as usize {
            return Err(AppendError::LargerThanSegment {
                size,
                limit: config.segment_bytes,
            });
        }
        let Taken { mut header, walked } = intake::check(bytes, config, now_ms)?;
        let append_time = match config.timestamp_type {
            TimestampType::CreateTime => -1,
            TimestampType::LogAppendTime => now_ms,
        };
        if let Some(producer) = producer_batch(&header)
            && let Some(original) = self.producers.check(&producer)?
        {
            return Ok(AppendInfo {
                base_offset: original.last_offset - i64::from(original.offset_delta),
                last_offset: original.last_offset,
                log_append_time_ms: append_time.min(original.timestamp),
                log_start_offset: self.log_start_offset,
                duplicate: true,
            });
        }
        let mut rewritten = intake::rewrite(bytes, &mut header, &walked, config, now_ms)?;
        if self.must_roll(&header)? {
            // If this fails, so does this batch: its sequence was checked against those before it.
            self.write_accepted(Source::Produced(batches), now_ms, outcomes)?;
            self.roll()?;
        }
        let base_offset = self.next_offset();
        header.base_offset = base_offset;
        header.partition_leader_epoch = leader_epoch.0;
        if let Some(bytes) = rewritten
            .as_deref_mut()
            .or(batches.get_mut(index).map(|bytes| &mut **bytes))
        {
            batch::patch_offset_and_epoch(bytes, base_offset, leader_epoch.0)?;
        }
        self.take(index, header, rewritten);
        Ok(AppendInfo {
            base_offset,
            last_offset: header.last_offset(),
            log_append_time_ms: append_time,
            log_start_offset: self.log_start_offset,
            duplicate: false,
        })
    }

    /// Notes a batch that is to be written, and what it says of its producer.
    pub(super) fn take(&mut self, index: usize, header: BatchHeader, rewritten: Option<Vec<u8>>) {
        if let Some(producer) = producer_batch(&header) {
            self.scratch
                .before
                .push((producer.producer_id, self.producers.get(producer.producer_id).copied()));
            self.producers.replay(&producer, header.last_offset());
        }
        self.scratch.bytes += header.size_in_bytes() as u64;
        self.scratch.accepted.push(Accepted {
            index,
            header,
            rewritten,
        });
    }

    /// The header of the last batch that is to be written.
    pub(super) fn last_taken(&self) -> Option<&BatchHeader> {
        self.scratch.accepted.last().map(|accepted| &accepted.header)
    }

    /// The offset after everything accepted so far.
    pub(super) fn next_offset(&self) -> i64 {
        self.scratch
            .accepted
            .last()
            .map_or(self.log_end_offset, |last| last.header.next_offset())
    }

    /// Whether the batch belongs into a new segment (Kafka's `LogSegment.shouldRoll`).
    pub(super) fn must_roll(&mut self, header: &BatchHeader) -> Result<bool, LogError> {
        let pending = self.scratch.bytes;
        let last_offset = self.next_offset() + i64::from(header.last_offset_delta);
        let config = &self.config;
        let Some(active) = self.segments.last_mut() else {
            return Ok(false);
        };
        let size = active.size() + pending;
        if size == 0 {
            return Ok(false);
        }
        let index_bytes = active
            .offsets
            .bytes()
            .and_then(|offsets| Ok(offsets.max(active.times.bytes()?)));
        let index_bytes = index_bytes.map_err(|error| LogError::read("reading an index", error))?;
        if size + header.size_in_bytes() as u64 > u64::from(config.segment_bytes)
            || last_offset - active.base_offset() > i64::from(i32::MAX)
            || index_bytes + 12 > config.segment_index_bytes as usize
        {
            return Ok(true);
        }
        let first = active.first_timestamp()?.filter(|first| *first >= 0);
        let age = first.map(|first| header.max_timestamp.saturating_sub(first));
        Ok(age.is_some_and(|age| age > config.segment_ms - self.jitter_ms()))
    }

    /// By how much the active segment's `segment.ms` is shortened. Chance would be no better than a checksum of where the
    /// segment is: all that matters is that segments which began together do not end together.
    fn jitter_ms(&self) -> i64 {
        let config = &self.config;
        let range = config.segment_jitter_ms.min(config.segment_ms);
        if range <= 0 {
            return 0;
        }
        let base = self.segments.last().map_or(0, Segment::base_offset);
        let seed = crc32c::crc32c(self.topic_id.as_uuid().as_bytes());
        let seed = crc32c::crc32c_append(seed, &self.topic_partition.partition.0.to_be_bytes());
        i64::from(crc32c::crc32c_append(seed, &base.to_be_bytes())) % range
    }

    /// Writes the accepted batches. If that fails none of them is in the log, and their outcomes say so.
    pub(super) fn write_accepted(
        &mut self,
        source: Source<'_>,
        now_ms: i64,
        outcomes: &mut [Result<AppendInfo, AppendError>],
    ) -> Result<(), LogError> {
        if self.scratch.accepted.is_empty() {
            return Ok(());
        }
        let written = self.write(source, now_ms).map_err(|error| self.fail(error));
        if let Err(error) = &written {
            for accepted in &self.scratch.accepted {
                if let Some(outcome) = outcomes.get_mut(accepted.index) {
                    *outcome = Err(error.clone().into());
                }
            }
            // In reverse: the first entry of a producer is what it was before all of them.
            while let Some((producer_id, before)) = self.scratch.before.pop() {
                if !seeded_bug!(ProducerNotRolledBack) {
                    self.producers.restore(producer_id, before);
                }
            }
        }
        self.scratch.clear();
        written
    }

    fn write(&mut self, source: Source<'_>, now_ms: i64) -> Result<(), LogError> {
        const DOING: &str = "appending";
        let interval = self.config.index_interval_bytes;
        let Some(active) = self.segments.last_mut() else {
            return Ok(());
        };
        let file = active.log()?;
        let mut position = active.size();
        if let Err(error) = source.write(&**file, &self.scratch.accepted, position) {
            // What a failed write left must not be found by a recovery, nor mix with the next append.
            if !seeded_bug!(PartialWriteKept) {
                let cut = file.truncate(position).and_then(|()| file.sync());
                cut.map_err(|error| LogError::offline("cutting off a failed append", error))?;
            }
            return Err(created_error(DOING, error));
        }
        for Accepted { header, .. } in &self.scratch.accepted {
            active.note(header, position, interval);
            position += header.size_in_bytes() as u64;
            // Only now: an epoch without a record would hide from the next leader where this log departs from its own.
            if !seeded_bug!(FollowersEpochNotNoted)
                && self
                    .epochs
                    .assign(LeaderEpoch(header.partition_leader_epoch), header.base_offset)
            {
                self.unsaved.epochs_changed();
            }
            self.log_end_offset = header.next_offset();
            self.unsaved.records += u64::try_from(header.records_count).unwrap_or(0);
        }
        self.unsaved.since_ms.get_or_insert(now_ms);
        self.unsaved.anything = true;
        Ok(())
    }

    /// Begins a new segment at the log end, unless the active one is empty: what is there now can go as a whole later. On a
    /// full disk it stays as it is.
    pub fn roll_active(&mut self) -> Result<(), LogError> {
        self.check_online()?;
        if self.segments.last().is_none_or(|active| active.size() == 0) {
            return Ok(());
        }
        match self.roll() {
            Err(LogError::StorageFull { .. }) => Ok(()),
            other => other,
        }
    }

    /// Seals the active segment and begins a new one at the log end. The old one is synced by the next flush; until
    /// then the recovery point stays below it.
    pub(super) fn roll(&mut self) -> Result<(), LogError> {
        let result = self.try_roll();
        result.map_err(|error| self.fail(error))
    }

    fn try_roll(&mut self) -> Result<(), LogError> {
        const DOING: &str = "beginning a new segment";
        let base_offset = self.log_end_offset;
        if let Some(active) = self.segments.last_mut() {
            active.store_indexes().map_err(|error| created_error(DOING, error))?;
        }
        self.unsaved.names_changed();
        self.write_snapshot().map_err(|error| created_error(DOING, error))?;
        let segment = Segment::create(&self.dir, base_offset).map_err(|error| created_error(DOING, error))?;
        if let Some(sealed) = self.segments.last_mut() {
            sealed.unsynced = true;
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Writes the producers as of the log end; the next flush syncs the file.
    pub(super) fn write_snapshot(&mut self) -> io::Result<()> {
        let offset = self.log_end_offset;
        let file = self.dir.open(&snapshot_file_name(offset), Open::Create)?;
        write_all_at(&file, &snapshot::encode(&self.producers), 0)?;
        self.unsaved.file_written(file.into());
        if self.snapshots.last() != Some(&offset) {
            self.snapshots.push(offset);
        }
        Ok(())
    }
}

impl Source<'_> {
    fn write<F: DirFile>(self, file: &F, accepted: &[Accepted], position: u64) -> io::Result<()> {
        match self {
            Self::Produced(batches) => write_batches(file, batches, accepted, position),
            Self::Fetched(records) => {
                let from = accepted.first().map_or(0, |first| first.index);
                let size: usize = accepted.iter().map(|batch| batch.header.size_in_bytes()).sum();
                write_all_at(file, records.get(from..from + size).unwrap_or_default(), position)
            }
        }
    }
}

fn write_batches<F: DirFile>(
    file: &F,
    batches: &[&mut [u8]],
    accepted: &[Accepted],
    mut position: u64,
) -> io::Result<()> {
    for chunk in accepted.chunks(SLICES) {
        let mut slices = [IoSlice::new(&[]); SLICES];
        for (slice, accepted) in slices.iter_mut().zip(chunk) {
            let sent = batches.get(accepted.index).map(|bytes| &**bytes);
            *slice = IoSlice::new(accepted.rewritten.as_deref().or(sent).unwrap_or_default());
        }
        let mut left = slices.get_mut(..chunk.len()).unwrap_or_default();
        while !left.is_empty() {
            match file.write_at(left, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    position += count as u64;
                    IoSlice::advance_slices(&mut left, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
