//! What goes in and out of the coordinator: a request with its circumstances, answers now or later, and records to append.

use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use protocol::messages::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
use protocol::messages::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
use protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use uuid::Uuid;

use crate::records::GroupRecord;

/// The time, by both clocks of the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since an arbitrary start; never goes back. Sessions and rebalances are timed by it.
    pub monotonic: Duration,
    /// Milliseconds since 1970. What is written into records, because it must mean something after a restart.
    pub wall_ms: i64,
}

/// The circumstances of a request.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// When it is handled.
    pub now: Now,
    /// The version of its API.
    pub version: i16,
    /// `client_id` of its header; empty if null.
    pub client_id: &'a str,
    /// The peer, as Java prints it: `/10.0.0.7`.
    pub client_host: &'a str,
    /// Chance: drawn anew for each request, becomes part of a new member's id.
    pub fresh: Uuid,
}

/// Names the request that an answer belongs to. The shell chooses it; the coordinator answers each exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names an append on its way to being committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// A request to one group. Those that only read are methods of [`GroupCoordinator`](crate::GroupCoordinator).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// JoinGroup.
    Join(JoinGroupRequest),
    /// SyncGroup.
    Sync(SyncGroupRequest),
    /// Heartbeat.
    Heartbeat(HeartbeatRequest),
    /// LeaveGroup.
    Leave(LeaveGroupRequest),
    /// OffsetCommit. Topics that do not exist are left out by the shell, which knows them.
    Commit(OffsetCommitRequest),
    /// OffsetDelete.
    DeleteOffsets(OffsetDeleteRequest),
    /// One group of a DeleteGroups.
    DeleteGroup(String),
    /// ConsumerGroupHeartbeat.
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
}

/// The answer to the [`Request`] of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// JoinGroup.
    Join(JoinGroupResponse),
    /// SyncGroup.
    Sync(SyncGroupResponse),
    /// Heartbeat.
    Heartbeat(HeartbeatResponse),
    /// LeaveGroup.
    Leave(LeaveGroupResponse),
    /// OffsetCommit.
    Commit(OffsetCommitResponse),
    /// OffsetDelete.
    DeleteOffsets(OffsetDeleteResponse),
    /// One group of a DeleteGroups.
    DeleteGroup(ErrorCode),
    /// ConsumerGroupHeartbeat.
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
}

/// An answer that may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// To which request.
    pub ticket: Ticket,
    /// The answer.
    pub response: Response,
}

/// Records that belong together: one batch, one append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// By which the shell reports what became of it.
    pub id: WriteId,
    /// Never empty.
    pub records: Vec<GroupRecord>,
}

/// What the shell does next, in this order: each write, then the replies.
///
/// For each write: append the records as one batch, then call [`appended`](crate::GroupCoordinator::appended) before
/// anything else is asked of the coordinator; when the high watermark has passed the batch, call
/// [`committed`](crate::GroupCoordinator::committed). If it cannot be appended, call
/// [`failed`](crate::GroupCoordinator::failed); how long to wait for the high watermark is the coordinator's own affair.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "an append or an answer that is dropped leaves a client waiting"]
pub struct Effects {
    /// To be appended.
    pub writes: Vec<Write>,
    /// To be sent.
    pub replies: Vec<Reply>,
}

/// The answer to a ConsumerGroupHeartbeat that says this and nothing else.
pub(crate) fn consumer_heartbeat_error(error: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: error.code(),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}

/// The error a client is told when an append failed. Source: `appendGroupMetadataErrorToResponseError` of Kafka: errors of
/// the offsets partition become errors of the coordinator, which clients know how to follow.
pub(crate) fn coordinator_error(append: ErrorCode) -> ErrorCode {
    match append {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower
        | ErrorCode::LeaderNotAvailable
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}
