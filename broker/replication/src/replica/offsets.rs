//! Offsets of a partition by time and by special name.

use broker_log::dir::Dir;
use model::LeaderEpoch;

use super::Replica;
use crate::error::ReplicaError;

/// The special timestamps of ListOffsets.
mod timestamp {
    pub(super) const LATEST: i64 = -1;
    pub(super) const EARLIEST: i64 = -2;
    pub(super) const MAX_TIMESTAMP: i64 = -3;
    pub(super) const EARLIEST_LOCAL: i64 = -4;
    pub(super) const LATEST_TIERED: i64 = -5;
    pub(super) const EARLIEST_PENDING_UPLOAD: i64 = -6;
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

impl<D: Dir> Replica<D> {
    /// The offset for a timestamp in milliseconds, or for one of Kafka's special ones (-1 to -5).
    pub fn find_offset(&self, timestamp: i64, current_leader_epoch: i32) -> Result<FoundOffset, ReplicaError> {
        let leader = self.leader_in(current_leader_epoch)?;
        let epoch = leader.leader_epoch().0;
        // METADATA 13. Where the log begins does not depend on it.
        let high_watermark = leader.visible_high_watermark();
        let visible = || high_watermark.ok_or(ReplicaError::OffsetNotAvailable);
        let log = &self.log;
        let at = |offset: i64, timestamp: i64, leader_epoch: Option<i32>| FoundOffset {
            timestamp,
            offset,
            leader_epoch: leader_epoch.unwrap_or(-1),
        };
        // What is committed for certain is told; that there is nothing more, only by a leader that knows (as Kafka's
        // `Partition.fetchOffsetForTimestamp`).
        let certain = leader.high_watermark();
        let committed = |found: Option<(i64, i64)>| match found.filter(|(_, offset)| *offset < certain) {
            None => visible().map(|_| None),
            found => Ok(found),
        };
        let found = match timestamp {
            timestamp::LATEST => return Ok(at(visible()?, -1, Some(epoch))),
            // Nothing is tiered, so the local log is the whole log.
            timestamp::EARLIEST | timestamp::EARLIEST_LOCAL => {
                let start = log.log_start_offset();
                let start_epoch = log.epoch_for_offset(start).map_or(epoch, |epoch| epoch.0);
                return Ok(at(start, -1, Some(start_epoch)));
            }
            timestamp::LATEST_TIERED | timestamp::EARLIEST_PENDING_UPLOAD => return Ok(FoundOffset::NONE),
            timestamp::MAX_TIMESTAMP => committed(log.max_timestamp_offset()?.map(|t| (t.timestamp, t.offset)))?,
            wanted if wanted >= 0 => committed(log.offset_for_timestamp(wanted)?.map(|t| (t.timestamp, t.offset)))?,
            unknown => return Err(ReplicaError::UnknownTimestamp(unknown)),
        };
        Ok(found.map_or(FoundOffset::NONE, |(timestamp, offset)| {
            at(offset, timestamp, log.epoch_for_offset(offset).map(|epoch| epoch.0))
        }))
    }

    /// The largest leader epoch not above `epoch` and the offset at which it ends; `None` for one that is not known here.
    pub fn end_offset_for_epoch(
        &self,
        epoch: LeaderEpoch,
        current_leader_epoch: i32,
    ) -> Result<Option<(LeaderEpoch, i64)>, ReplicaError> {
        self.leader_in(current_leader_epoch)?;
        Ok(self.log.end_offset_for_epoch(epoch))
    }
}
