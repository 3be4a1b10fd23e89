//! Who wants to join a group.

use crate::exchange::Ticket;
use crate::ids::{GenerationId, GroupId, InstanceId, MemberId};
use crate::offered_protocol::Protocol;

/// What a member asks for, checked.
#[derive(Debug)]
pub(crate) struct Applicant {
    pub(crate) ticket: Ticket,
    pub(crate) version: i16,
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<InstanceId>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<Protocol>,
    /// The id that it gets if it has none.
    pub(crate) fresh_id: MemberId,
}

/// A static member that came back while its group was stable: it takes the place of its former life when the record that
/// says so is committed. Until then the former life counts.
#[derive(Debug)]
pub(crate) struct StaticRejoin {
    pub(crate) group: GroupId,
    pub(crate) generation: GenerationId,
    pub(crate) former: MemberId,
    pub(crate) applicant: Applicant,
}
