//! Appending what a leader wrote, byte for byte (Kafka's `UnifiedLog.appendAsFollower`).

use model::LeaderEpoch;
use protocol::batch::{self, BatchError, BatchHeader};

use super::PartitionLog;
use super::append::Source;
use crate::dir::Dir;
use crate::error::AppendError;

/// What an append of fetched batches did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FollowerAppend {
    /// Batches that are in the log now.
    pub batches: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl<D: Dir> PartitionLog<D> {
    /// Appends the batches in `records`, which a leader of `leader_epoch` sent for the log end. Offsets and epochs stay
    /// as they are; leader epochs and producers follow what the batches say.
    ///
    /// A batch that was received in part ends them and is no error, nor is one of a later epoch than this follower knows:
    /// both are fetched again. If `flush.messages` is reached, this returns after the fdatasync.
    ///
    /// # Errors
    /// [`AppendError::BeginsWithin`]: let an empty log start there, and append the same again; give up the end of another.
    /// [`AppendError::Batch`] for damage, [`AppendError::OffsetOutOfOrder`] and [`AppendError::FencedLeaderEpoch`] for
    /// batches that do not follow what is there; what came before the batch at fault is in the log.
    /// [`AppendError::Storage`]: nothing may be concluded from the log end but what it says.
    pub fn append_as_follower(
        &mut self,
        records: &[u8],
        leader_epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<FollowerAppend, AppendError> {
        self.check_online()?;
        self.check_beginning(records)?;
        let mut appended = FollowerAppend::default();
        let taken = self.take_fetched(records, leader_epoch, now_ms, &mut appended);
        let written = self.write_accepted(Source::Fetched(records), now_ms, &mut []);
        // What is fetched next tells the leader that this is durable, whatever was wrong with what came behind it.
        let due = self.offline.is_none() && self.unsaved.records >= self.config.flush_messages.max(1);
        let flushed = if due { self.flush() } else { Ok(()) };
        written?;
        taken?;
        flushed?;
        Ok(appended)
    }

    fn take_fetched(
        &mut self,
        records: &[u8],
        leader_epoch: LeaderEpoch,
        now_ms: i64,
        appended: &mut FollowerAppend,
    ) -> Result<(), AppendError> {
        let mut from = 0;
        while let Some(rest) = records.get(from..).filter(|rest| !rest.is_empty()) {
            let Some((header, bytes)) = first_batch(rest)? else {
                break;
            };
            if header.partition_leader_epoch > leader_epoch.0 {
                break;
            }
            batch::check_whole(bytes)?;
            self.check_follows(&header)?;
            if self.must_roll(&header)? {
                self.write_accepted(Source::Fetched(records), now_ms, &mut [])?;
                self.roll()?;
            }
            self.take(from, header, None);
            from += bytes.len();
            appended.batches += 1;
            appended.bytes += bytes.len();
        }
        Ok(())
    }

    /// Offsets without a hole, epochs that never go back: neither is covered by the checksum.
    fn check_follows(&self, header: &BatchHeader) -> Result<(), AppendError> {
        let expected = self.next_offset();
        if header.base_offset != expected || header.last_offset_delta < 0 || header.last_offset() == i64::MAX {
            return Err(AppendError::OffsetOutOfOrder {
                found: header.base_offset,
                last_offset_delta: header.last_offset_delta,
                expected,
            });
        }
        let latest = match self.last_taken() {
            Some(last) => last.partition_leader_epoch,
            None => self.epochs.latest().map_or(0, |latest| latest.0),
        };
        if header.partition_leader_epoch < latest {
            return Err(AppendError::FencedLeaderEpoch {
                found: header.partition_leader_epoch,
                current: latest,
            });
        }
        Ok(())
    }

    /// The leader sends the batch that contains the log end; all others of its batches are here whole or not at all. So
    /// either its log starts within this one, after DeleteRecords, and ours is empty, or our last records are not its own.
    fn check_beginning(&self, records: &[u8]) -> Result<(), AppendError> {
        let end = self.log_end_offset;
        match first_batch(records)? {
            Some((header, bytes)) if (0..end).contains(&header.base_offset) && header.next_offset() > end => {
                let base_offset = header.base_offset;
                batch::check_whole(bytes)?;
                Err(AppendError::BeginsWithin { base_offset })
            }
            _ => Ok(()),
        }
    }
}

/// The first batch, if all of it is there.
fn first_batch(records: &[u8]) -> Result<Option<(BatchHeader, &[u8])>, BatchError> {
    match batch::batches(records).next() {
        Some(Ok(found)) => Ok(Some(found)),
        None | Some(Err(BatchError::Truncated { .. })) => Ok(None),
        Some(Err(error)) => Err(error),
    }
}
