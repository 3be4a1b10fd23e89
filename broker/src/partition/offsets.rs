//! Offsets of a partition by time and by special name, and its background duties.

use broker_log::LogError;
use protocol::error::ErrorCode;

use super::{CheckpointOffsets, LogState, PartitionHandle, Refusal};

/// The special timestamps of ListOffsets.
mod timestamp {
    pub(super) const LATEST: i64 = -1;
    pub(super) const EARLIEST: i64 = -2;
    pub(super) const MAX_TIMESTAMP: i64 = -3;
    pub(super) const EARLIEST_LOCAL: i64 = -4;
    pub(super) const LATEST_TIERED: i64 = -5;
}

/// What ListOffsets answers for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// Timestamp of the record in milliseconds; -1 if none is meant.
    pub timestamp: i64,
    /// Its offset; -1 if there is none.
    pub offset: i64,
    /// Epoch of the leader who wrote it; -1 if not known.
    pub leader_epoch: i32,
}

impl FoundOffset {
    /// There is no such record.
    pub const NONE: Self = Self {
        timestamp: -1,
        offset: -1,
        leader_epoch: -1,
    };
}

impl PartitionHandle {
    /// The offset for a timestamp in milliseconds, or for one of Kafka's special ones (-1 to -5).
    pub fn find_offset(&self, timestamp: i64, current_leader_epoch: i32) -> Result<FoundOffset, Refusal> {
        let mut inner = self.inner.lock();
        let leader = inner.leader(current_leader_epoch)?;
        let epoch = leader.leader_epoch().0;
        let Some(high_watermark) = leader.visible_high_watermark() else {
            return Err(Refusal::new(
                ErrorCode::OffsetNotAvailable,
                "the new leader does not know yet what was committed before it",
            ));
        };
        let log = inner.log()?;
        let at = |offset: i64, timestamp: i64, leader_epoch: Option<i32>| FoundOffset {
            timestamp,
            offset,
            leader_epoch: leader_epoch.unwrap_or(-1),
        };
        let committed = |found: Option<(i64, i64)>| found.filter(|(_, offset)| *offset < high_watermark);
        let found = match timestamp {
            timestamp::LATEST => return Ok(at(high_watermark, -1, Some(epoch))),
            // Nothing is tiered, so the local log is the whole log.
            timestamp::EARLIEST | timestamp::EARLIEST_LOCAL => {
                let start = log.log_start_offset();
                let start_epoch = log.epoch_for_offset(start).map_or(epoch, |epoch| epoch.0);
                return Ok(at(start, -1, Some(start_epoch)));
            }
            timestamp::LATEST_TIERED => return Ok(FoundOffset::NONE),
            timestamp::MAX_TIMESTAMP => committed(log.max_timestamp_offset()?.map(|t| (t.timestamp, t.offset))),
            wanted if wanted >= 0 => committed(log.offset_for_timestamp(wanted)?.map(|t| (t.timestamp, t.offset))),
            unknown => {
                return Err(Refusal::new(
                    ErrorCode::UnsupportedVersion,
                    format!("timestamp {unknown} has no meaning to this version of Barnabas"),
                ));
            }
        };
        Ok(found.map_or(FoundOffset::NONE, |(timestamp, offset)| {
            at(offset, timestamp, log.epoch_for_offset(offset).map(|epoch| epoch.0))
        }))
    }

    /// What the checkpoints of a running broker say of this partition; `None` if its log is not open.
    pub fn checkpoint(&self) -> Option<CheckpointOffsets> {
        self.inner.lock().checkpoint()
    }

    /// Flushes what `flush.ms` asks for, and segments that were closed since. The lock is not held during the flush.
    pub fn flush_if_due(&self, now_ms: i64) -> Result<(), LogError> {
        let due = match &mut self.inner.lock().log {
            LogState::Open(log) => log.begin_due_flush(now_ms)?,
            LogState::Offline(_) | LogState::Closed => None,
        };
        let Some(work) = due else {
            return Ok(());
        };
        let done = work.run();
        match &mut self.inner.lock().log {
            LogState::Open(log) => log.end_flush(done),
            LogState::Offline(_) | LogState::Closed => Ok(()),
        }
    }

    /// Forgets producers that have been silent for `producer.id.expiration.ms`.
    pub fn expire_producers(&self, now_ms: i64) {
        if let LogState::Open(log) = &mut self.inner.lock().log {
            log.expire_producers(now_ms);
        }
    }

    /// Bytes on disk; 0 if the log is not open.
    pub fn size_bytes(&self) -> u64 {
        match &self.inner.lock().log {
            LogState::Open(log) => log.size_bytes(),
            LogState::Offline(_) | LogState::Closed => 0,
        }
    }
}
