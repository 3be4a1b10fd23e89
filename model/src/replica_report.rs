//! What a broker says of replicas of its own where the controller cannot know (METADATA 17).

use crate::ids::{LeaderEpoch, PartitionIndex, TopicId};

/// Where a log ends. Of two logs the greater holds everything that was committed in the other: the epoch of the last batch
/// counts before the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEnd {
    /// Of the last batch; -1 of an empty log.
    pub epoch: LeaderEpoch,
    /// After the last record.
    pub offset: i64,
}

/// What there is of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportedLog {
    /// It ends here.
    Ends(LogEnd),
    /// It cannot be used.
    Failed,
}

/// What a broker says of its replica of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaReport {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// As in the image by which the broker looked: while it holds, nothing is appended to a log without a leader.
    pub leader_epoch: LeaderEpoch,
    /// What there is.
    pub log: ReportedLog,
}
