//! Reading from a replica.

use std::fmt;

use broker_log::dir::Dir;
use broker_log::{LogError, LogSlice, PartitionLog};
use model::{BrokerEpoch, BrokerId, LeaderEpoch};

use super::{Replica, Role};
use crate::error::ReplicaError;
use crate::seeded::seeded_bug;

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A client: it sees what is committed.
    Consumer {
        /// It may be served by a follower, which may know of less (KIP-392).
        anywhere: bool,
    },
    /// Another replica: it sees everything.
    Follower(FollowerReader),
}

/// Another replica of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerReader {
    /// Its broker.
    pub replica: BrokerId,
    /// The broker's registration.
    pub broker_epoch: BrokerEpoch,
    /// Where its log starts.
    pub log_start_offset: i64,
}

/// How to read.
#[derive(Debug, Clone, Copy)]
pub struct ReadSpec {
    /// Who reads.
    pub reader: Reader,
    /// First offset wanted.
    pub offset: i64,
    /// Bytes wanted at most.
    pub max_bytes: usize,
    /// The first batch comes even if it is larger than `max_bytes`.
    pub min_one_message: bool,
    /// The leader epoch that the client believes in; -1 does not say.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that the client has; -1 does not say.
    pub last_fetched_epoch: i32,
}

/// What a read found. `log_start_offset <= last_stable_offset <= high_watermark`.
pub struct ReadSlice<D: Dir> {
    /// Whole batches, the first of which contains the offset; empty at the end of the log.
    pub slice: LogSlice<D>,
    /// Everything before it may be read: the high watermark, or for a follower the log end.
    pub max_offset: i64,
    /// Everything before it is committed.
    pub high_watermark: i64,
    /// Everything before it is committed and of no open transaction.
    pub last_stable_offset: i64,
    /// The first offset.
    pub log_start_offset: i64,
    /// The reader's log departs from ours: the epoch and end offset from where on it must be given up. Then the slice is
    /// empty (KIP-595).
    pub diverging: Option<(LeaderEpoch, i64)>,
}

impl<D: Dir> Replica<D> {
    /// Reads batches that the reader may see. May wait for the disk.
    pub fn read(&self, spec: ReadSpec) -> Result<ReadSlice<D>, ReplicaError> {
        let read =
            |log: &PartitionLog<D>, max_offset| log.read(spec.offset, spec.max_bytes, max_offset, spec.min_one_message);
        Ok(self.read_by(spec, read)??)
    }

    /// The same from memory; `None` if the disk must be waited for.
    pub fn read_cached(&self, spec: ReadSpec) -> Result<Option<ReadSlice<D>>, ReplicaError> {
        let read = |log: &PartitionLog<D>, max_offset| {
            log.read_cached(spec.offset, spec.max_bytes, max_offset, spec.min_one_message)
        };
        match self.read_by(spec, read)? {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.would_block() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn read_by(
        &self,
        spec: ReadSpec,
        read: impl FnOnce(&PartitionLog<D>, i64) -> Result<LogSlice<D>, LogError>,
    ) -> Result<Result<ReadSlice<D>, LogError>, ReplicaError> {
        let log = &self.log;
        let (high_watermark, max_offset) = match spec.reader {
            // METADATA 13: a client is shown no watermark before this leader knows what an earlier one may have shown.
            Reader::Consumer { anywhere } => {
                let high_watermark = match &self.role {
                    Role::Follower(follower) if anywhere => {
                        let (_, leader_epoch) = follower.leader().ok_or(ReplicaError::NotLeader)?;
                        check_epoch(leader_epoch, spec.current_leader_epoch)?;
                        follower.high_watermark()
                    }
                    _ => {
                        let leader = self.leader_in(spec.current_leader_epoch)?;
                        let visible = leader.visible_high_watermark();
                        visible.ok_or(ReplicaError::OffsetNotAvailable)?
                    }
                };
                (high_watermark, high_watermark)
            }
            Reader::Follower(follower) => {
                let leader = self.leader_of(follower, spec.current_leader_epoch)?;
                (leader.high_watermark(), log.log_end_offset())
            }
        };
        let diverging = departs(log, &spec)?;
        let slice = match diverging {
            Some(_) => Ok(LogSlice::empty(spec.offset)),
            None => read(log, max_offset),
        };
        let log_start_offset = log.log_start_offset();
        Ok(slice.map(|slice| ReadSlice {
            slice,
            diverging,
            max_offset,
            high_watermark,
            // Without transactions nothing is undecided.
            last_stable_offset: high_watermark,
            log_start_offset,
        }))
    }
}

/// Whether a request that believes in `theirs` may be answered in the epoch `ours`; -1 does not say.
pub(super) fn check_epoch(ours: LeaderEpoch, theirs: i32) -> Result<(), ReplicaError> {
    let ours = ours.0;
    match theirs {
        -1 => Ok(()),
        theirs if theirs < ours => Err(ReplicaError::FencedLeaderEpoch { ours, theirs }),
        theirs if theirs > ours => Err(ReplicaError::UnknownLeaderEpoch { ours, theirs }),
        _ => Ok(()),
    }
}

/// Whether a reader whose last record is of `last_fetched_epoch` has records that this log has not (Kafka's
/// `Partition.readRecords`).
pub(super) fn departs<D: Dir>(
    log: &PartitionLog<D>,
    spec: &ReadSpec,
) -> Result<Option<(LeaderEpoch, i64)>, ReplicaError> {
    if spec.last_fetched_epoch < 0 || seeded_bug!(DivergenceNotSeen) {
        return Ok(None);
    }
    let out_of_range = |message: String| ReplicaError::OffsetOutOfRange(message);
    let fetched = LeaderEpoch(spec.last_fetched_epoch);
    let Some((epoch, end_offset)) = log.end_offset_for_epoch(fetched) else {
        return Err(out_of_range(format!("the log knows no end of leader epoch {fetched}")));
    };
    if spec.offset < log.log_start_offset() {
        return Err(out_of_range(format!("the log starts at {}", log.log_start_offset())));
    }
    Ok((epoch < fetched || end_offset < spec.offset).then_some((epoch, end_offset)))
}

impl<D: Dir> fmt::Debug for ReadSlice<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadSlice")
            .field("slice", &self.slice)
            .field("high_watermark", &self.high_watermark)
            .field("diverging", &self.diverging)
            .finish_non_exhaustive()
    }
}
