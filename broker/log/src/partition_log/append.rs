//! Appending batches: check, assign offsets, one write for all of them, and only then note that they are there.

use std::io::{self, IoSlice};

use model::{LeaderEpoch, ProducerId};
use protocol::batch::{self, BatchHeader, Produced};

use super::PartitionLog;
use crate::config::LogConfig;
use crate::dir::{Dir, DirFile, Open, write_all_at};
use crate::error::{AppendError, LogError};
use crate::producer_state::{ProducerEntry, snapshot};
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

/// Buffers kept from call to call, so that the steady path allocates nothing.
#[derive(Default)]
pub(super) struct Scratch {
    /// Batches accepted but not written yet.
    accepted: Vec<Accepted>,
    /// Their bytes.
    bytes: u64,
    /// Producers as they were before those batches.
    before: Vec<(ProducerId, Option<ProducerEntry>)>,
}

struct Accepted {
    /// Place in the call's batches and outcomes.
    index: usize,
    /// The header as it is written.
    header: BatchHeader,
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
        let _ = self.write_accepted(batches, now_ms, outcomes);
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
        let produced = batch::validate_produced(bytes)?;
        check_timestamps(&produced, config, now_ms)?;
        let mut header = produced.header;
        let producer = producer_batch(&header);
        if let Some(producer) = &producer
            && let Some(original) = self.producers.check(producer)?
        {
            return Ok(AppendInfo {
                base_offset: original.last_offset - i64::from(original.offset_delta),
                last_offset: original.last_offset,
                log_append_time_ms: -1,
                log_start_offset: self.log_start_offset,
                duplicate: true,
            });
        }
        if let Some(walked) = produced.walked.filter(|_| produced.max_timestamp_is_wrong()) {
            batch::patch_max_timestamp(bytes, walked.max_timestamp)?;
            header.max_timestamp = walked.max_timestamp;
        }
        if self.must_roll(&header)? {
            // If this fails, so does this batch: its sequence was checked against those before it.
            self.write_accepted(batches, now_ms, outcomes)?;
            self.roll()?;
        }
        let base_offset = self.next_offset();
        header.base_offset = base_offset;
        header.partition_leader_epoch = leader_epoch.0;
        if let Some(bytes) = batches.get_mut(index) {
            batch::patch_offset_and_epoch(bytes, base_offset, leader_epoch.0)?;
        }
        if let Some(producer) = producer_batch(&header) {
            self.scratch
                .before
                .push((producer.producer_id, self.producers.get(producer.producer_id).copied()));
            self.producers.replay(&producer, header.last_offset());
        }
        self.scratch.accepted.push(Accepted { index, header });
        self.scratch.bytes += header.size_in_bytes() as u64;
        Ok(AppendInfo {
            base_offset,
            last_offset: header.last_offset(),
            log_append_time_ms: -1,
            log_start_offset: self.log_start_offset,
            duplicate: false,
        })
    }

    /// The offset after everything accepted so far.
    fn next_offset(&self) -> i64 {
        self.scratch
            .accepted
            .last()
            .map_or(self.log_end_offset, |last| last.header.next_offset())
    }

    /// Whether the batch belongs into a new segment (Kafka's `LogSegment.shouldRoll`).
    fn must_roll(&mut self, header: &BatchHeader) -> Result<bool, LogError> {
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
        Ok(first.is_some_and(|first| header.max_timestamp.saturating_sub(first) > config.segment_ms))
    }

    /// Writes the accepted batches. If that fails none of them is in the log, and their outcomes say so.
    fn write_accepted(
        &mut self,
        batches: &[&mut [u8]],
        now_ms: i64,
        outcomes: &mut [Result<AppendInfo, AppendError>],
    ) -> Result<(), LogError> {
        if self.scratch.accepted.is_empty() {
            return Ok(());
        }
        let written = self.write(batches, now_ms).map_err(|error| self.fail(error));
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
        self.scratch.accepted.clear();
        self.scratch.bytes = 0;
        self.scratch.before.clear();
        written
    }

    fn write(&mut self, batches: &[&mut [u8]], now_ms: i64) -> Result<(), LogError> {
        const DOING: &str = "appending";
        let interval = self.config.index_interval_bytes;
        let Some(active) = self.segments.last_mut() else {
            return Ok(());
        };
        let file = active.log()?;
        let mut position = active.size();
        if let Err(error) = write_batches(&**file, batches, &self.scratch.accepted, position) {
            // What a failed write left must not be found by a recovery, nor mix with the next append.
            if !seeded_bug!(PartialWriteKept) {
                let cut = file.truncate(position).and_then(|()| file.sync());
                cut.map_err(|error| LogError::offline("cutting off a failed append", error))?;
            }
            return Err(created_error(DOING, error));
        }
        for accepted in &self.scratch.accepted {
            active.note(&accepted.header, position, interval);
            position += accepted.header.size_in_bytes() as u64;
            self.log_end_offset = accepted.header.next_offset();
            self.unsaved.records += accepted.header.records_count as u64;
        }
        self.unsaved.since_ms.get_or_insert(now_ms);
        self.unsaved.anything = true;
        Ok(())
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

/// Refuses records from too far in the past or the future (Kafka's `LogValidator.validateTimestamp`): one from the
/// year 2100 would keep its segment for ever, and the lookup by time would find nothing else. Of compressed records
/// only the largest timestamp is known; a record without a timestamp passes.
fn check_timestamps(produced: &Produced, config: &LogConfig, now_ms: i64) -> Result<(), AppendError> {
    let newest = produced
        .walked
        .map_or(produced.header.max_timestamp, |walked| walked.max_timestamp);
    let oldest = produced.walked.map_or(newest, |walked| walked.min_timestamp);
    let refused = |timestamp| AppendError::TimestampOutOfRange {
        timestamp,
        now_ms,
        before_max_ms: config.timestamp_before_max_ms,
        after_max_ms: config.timestamp_after_max_ms,
    };
    if newest.saturating_sub(now_ms) > config.timestamp_after_max_ms {
        return Err(refused(newest));
    }
    if oldest >= 0 && now_ms.saturating_sub(oldest) > config.timestamp_before_max_ms {
        return Err(refused(oldest));
    }
    Ok(())
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
            *slice = IoSlice::new(batches.get(accepted.index).map_or(&[], |bytes| bytes));
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
