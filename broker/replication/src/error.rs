//! Why a replica does not do what a request wants.

use broker_log::{AppendError, LogError};
use protocol::ErrorCode;

use crate::leader::{FollowerRefusal, NotEnoughReplicas};

/// A request is refused as a whole; each variant has one remedy.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReplicaError {
    /// Somebody else leads, or nobody does: ask for the metadata.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// The request comes from an older leader epoch: ask for the metadata.
    #[error("the leader epoch is {ours}, the request believes in {theirs}")]
    FencedLeaderEpoch {
        /// Ours.
        ours: i32,
        /// The request's.
        theirs: i32,
    },
    /// The request knows a newer leader epoch than this broker: try again.
    #[error("the request believes in leader epoch {theirs}, this broker knows {ours}")]
    UnknownLeaderEpoch {
        /// Ours.
        ours: i32,
        /// The request's.
        theirs: i32,
    },
    /// Too few replicas are in sync for `acks=all`: try again.
    #[error(transparent)]
    NotEnoughReplicas(#[from] NotEnoughReplicas),
    /// A follower is not, or not yet, who it says: it tries again.
    #[error(transparent)]
    Follower(#[from] FollowerRefusal),
    /// What was committed before this leadership is not known yet: try again.
    #[error("the new leader does not know yet what was committed before it")]
    OffsetNotAvailable,
    /// The reader's position is none of this log: it begins anew.
    #[error("{0}")]
    OffsetOutOfRange(String),
    /// A special timestamp that is not known here.
    #[error("timestamp {0} has no meaning to this version of Barnabas")]
    UnknownTimestamp(i64),
    /// A leadership cannot begin.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log says no.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ReplicaError {
    /// The protocol's error for a client.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            // Kafka's answers to followers: one that is no replica may be one that this leader has not heard of yet.
            Self::NotLeader | Self::Follower(FollowerRefusal::OtherBrokerEpoch { .. }) => {
                ErrorCode::NotLeaderOrFollower
            }
            Self::UnknownLeaderEpoch { .. } | Self::Follower(FollowerRefusal::NoReplica(_)) => {
                ErrorCode::UnknownLeaderEpoch
            }
            Self::NotEnoughReplicas(_) => ErrorCode::NotEnoughReplicas,
            Self::OffsetNotAvailable => ErrorCode::OffsetNotAvailable,
            Self::OffsetOutOfRange(_) => ErrorCode::OffsetOutOfRange,
            Self::UnknownTimestamp(_) => ErrorCode::UnsupportedVersion,
            Self::Append(error) => error.code(),
            Self::Log(error) => error.code(),
        }
    }
}
