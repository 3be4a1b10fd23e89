//! A member of a group.

use std::time::Duration;

use bytes::Bytes;
use protocol::messages::describe_groups::DescribedGroupMember;
use protocol::messages::join_group::{JoinGroupRequestProtocol, JoinGroupResponseMember};

use crate::exchange::Ticket;
use crate::ids::{InstanceId, MemberId};
use crate::offered_protocol::Protocol;
use crate::records::MemberMetadata;

/// A member, with what it waits for.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) instance_id: Option<InstanceId>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    /// In the member's order of preference, each name once, never empty.
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    /// The JoinGroup that is answered when the join phase ends.
    pub(crate) awaiting_join: Option<Ticket>,
    /// The SyncGroup that is answered when the leader's assignment is durable.
    pub(crate) awaiting_sync: Option<Ticket>,
    /// True until its first join is answered: it does not know its id, so it cannot send heartbeats.
    pub(crate) is_new: bool,
}

impl Member {
    /// A member that the log remembers.
    pub(crate) fn restored(metadata: &MemberMetadata, protocol: &str) -> Self {
        Self {
            id: metadata.member_id.clone(),
            instance_id: metadata.instance_id.clone(),
            client_id: metadata.client_id.clone(),
            client_host: metadata.client_host.clone(),
            rebalance_timeout_ms: metadata.rebalance_timeout_ms,
            session_timeout_ms: metadata.session_timeout_ms,
            protocols: vec![Protocol {
                name: protocol.to_owned(),
                metadata: metadata.subscription.clone(),
            }],
            assignment: metadata.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        }
    }

    pub(crate) fn session_timeout(&self) -> Duration {
        millis(self.session_timeout_ms)
    }

    /// A member that waits for the coordinator cannot be expected to send heartbeats, unless it is new: then its wait is
    /// bounded.
    pub(crate) fn is_excused_from_heartbeats(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// Its metadata for a protocol; empty if it does not offer it.
    pub(crate) fn metadata_for(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|offered| offered.name == protocol)
            .map(|offered| offered.metadata.clone())
            .unwrap_or_default()
    }

    pub(crate) fn offers(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|offered| offered.name == protocol)
    }

    /// As it is written, with the assignment that it will have.
    pub(crate) fn to_metadata(&self, protocol: &str, assignment: Bytes) -> MemberMetadata {
        MemberMetadata {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata_for(protocol),
            assignment,
        }
    }

    /// As the leader of its group sees it.
    pub(crate) fn for_leader(&self, protocol: &str) -> JoinGroupResponseMember {
        JoinGroupResponseMember {
            member_id: self.id.as_str().to_owned(),
            group_instance_id: self.instance_id.as_ref().map(|id| id.as_str().to_owned()),
            metadata: self.metadata_for(protocol),
        }
    }

    /// As an operator sees it; metadata only while it is settled.
    pub(crate) fn described(&self, protocol: Option<&str>) -> DescribedGroupMember {
        DescribedGroupMember {
            member_id: self.id.as_str().to_owned(),
            group_instance_id: self.instance_id.as_ref().map(|id| id.as_str().to_owned()),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            member_metadata: protocol.map(|protocol| self.metadata_for(protocol)).unwrap_or_default(),
            member_assignment: self.assignment.clone(),
        }
    }
}

/// What a JoinGroup offers; a name that comes twice counts once, as in Kafka's keyed collection.
pub(crate) fn offered_protocols(protocols: Vec<JoinGroupRequestProtocol>) -> Vec<Protocol> {
    let mut offered: Vec<Protocol> = Vec::with_capacity(protocols.len());
    for JoinGroupRequestProtocol { name, metadata } in protocols {
        if offered.iter().all(|earlier| earlier.name != name) {
            offered.push(Protocol { name, metadata });
        }
    }
    offered
}

/// A timeout of the wire; a negative one is none at all.
pub(crate) fn millis(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0))
}
