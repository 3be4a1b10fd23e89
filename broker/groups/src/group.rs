//! A group as it lives: members, their roles, and the phase of its rebalance. Source: Kafka's `ClassicGroup`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::join_group::JoinGroupResponse;

use crate::ids::{GenerationId, GroupId, InstanceId, MemberId};
use crate::member::{Member, millis};
use crate::offered_protocol::Protocol;
use crate::records::{GroupMetadata, GroupRecord};
use crate::subscription;

/// Where a group stands. `Dead` of Kafka is a group that is not in the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No members; perhaps offsets.
    Empty,
    /// Waits for members to join.
    PreparingRebalance(Gathering),
    /// Waits for the leader's assignment to be durable.
    CompletingRebalance(Assigning),
    /// Everyone may know its assignment.
    Stable,
}

/// Whom a group waits for before the next generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gathering {
    /// The group was empty: for whoever comes within `group.initial.rebalance.delay.ms`, which newcomers prolong.
    Newcomers {
        /// Somebody came since the delay was last set.
        more_came: bool,
        /// The delay that is running.
        delay: Duration,
        /// How much longer it may be prolonged in all.
        remaining: Duration,
    },
    /// For all members to come back, at most the longest of their rebalance timeouts.
    Members,
}

/// How far the leader's assignment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assigning {
    /// The leader is computing it.
    ByLeader,
    /// It is being written. A leader that hands in another one, because its answer was lost, gets this one: a generation
    /// has one assignment.
    ToLog,
}

impl Phase {
    /// Kafka's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance(_) => "PreparingRebalance",
            Self::CompletingRebalance(_) => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// The protocol type of consumers: the only one whose subscriptions the coordinator can read.
pub(crate) const CONSUMER: &str = "consumer";

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) phase: Phase,
    /// When the phase began, ms since 1970; -1 if unknown.
    pub(crate) phase_since_ms: i64,
    pub(crate) generation: GenerationId,
    /// `None` until a member joins: a group that only commits offsets has none ("simple consumer").
    pub(crate) protocol_type: Option<String>,
    /// `None` while there are no members.
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<MemberId>,
    pub(crate) members: BTreeMap<MemberId, Member>,
    pub(crate) static_members: BTreeMap<InstanceId, MemberId>,
    /// Were given an id (MEMBER_ID_REQUIRED) and have not yet joined with it.
    pub(crate) pending_join: BTreeSet<MemberId>,
    /// Have not yet asked for their assignment in this generation.
    pub(crate) pending_sync: BTreeSet<MemberId>,
    /// Topics that the present generation subscribes to; `None` if that cannot be told.
    subscribed_topics: Option<BTreeSet<String>>,
}

impl Group {
    /// A group without members, or one that only commits offsets.
    pub(crate) fn new(id: GroupId, now_ms: i64) -> Self {
        Self {
            id,
            phase: Phase::Empty,
            phase_since_ms: now_ms,
            generation: GenerationId(0),
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            subscribed_topics: None,
        }
    }

    /// A group that the log remembers: what its last durable assignment made of it.
    pub(crate) fn restored(id: GroupId, metadata: &GroupMetadata) -> Self {
        let mut group = Self::new(id, metadata.state_timestamp_ms);
        group.generation = metadata.generation;
        group.protocol_type = Some(metadata.protocol_type.clone()).filter(|name| !name.is_empty());
        group.protocol.clone_from(&metadata.protocol);
        let protocol = metadata.protocol.as_deref().unwrap_or_default();
        for member in &metadata.members {
            group.insert(Member::restored(member, protocol));
        }
        group.leader.clone_from(&metadata.leader);
        if !group.members.is_empty() {
            group.phase = Phase::Stable;
        }
        group.subscribed_topics = group.read_subscriptions();
        group
    }

    /// The record of this generation, with assignments that may not yet be the members' own.
    pub(crate) fn to_record(&self, assignments: &HashMap<MemberId, Bytes>) -> GroupRecord {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self
            .members
            .values()
            .map(|member| member.to_metadata(protocol, assignments.get(&member.id).cloned().unwrap_or_default()))
            .collect();
        GroupRecord::Group {
            group: self.id.clone(),
            metadata: Some(GroupMetadata {
                protocol_type: self.protocol_type.clone().unwrap_or_default(),
                generation: self.generation,
                protocol: self.protocol.clone(),
                leader: self.leader.clone(),
                state_timestamp_ms: self.phase_since_ms,
                members,
            }),
        }
    }

    /// What every member is assigned now.
    pub(crate) fn assignments(&self) -> HashMap<MemberId, Bytes> {
        self.members
            .values()
            .map(|member| (member.id.clone(), member.assignment.clone()))
            .collect()
    }

    /// True if nothing is here that a request made: no member, nobody expected.
    pub(crate) fn is_forgettable(&self) -> bool {
        self.phase == Phase::Empty && self.members.is_empty() && self.pending_join.is_empty()
    }

    pub(crate) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.as_str() == member)
    }

    pub(crate) fn is_pending(&self, member: &str) -> bool {
        self.pending_join.contains(member)
    }

    pub(crate) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// The longest time that a member grants the others.
    pub(crate) fn rebalance_timeout(&self) -> Duration {
        millis(
            self.members
                .values()
                .map(|member| member.rebalance_timeout_ms)
                .max()
                .unwrap_or(0),
        )
    }

    pub(crate) fn enter(&mut self, phase: Phase, now_ms: i64) {
        self.phase = phase;
        self.phase_since_ms = now_ms;
    }

    /// Adds a member. The first of a group is its leader.
    pub(crate) fn insert(&mut self, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), member.id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.pending_join.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// Removes a member, or one that was only expected. The leadership passes to any other.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Member> {
        self.pending_join.remove(id);
        self.pending_sync.remove(id);
        let member = self.members.remove(id)?;
        if let Some(instance) = &member.instance_id {
            self.static_members.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Puts a static member under the id of its next life.
    pub(crate) fn rename(&mut self, old: &MemberId, new: &MemberId) {
        let Some(mut member) = self.members.remove(old) else {
            return;
        };
        member.id = new.clone();
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), new.clone());
        }
        if self.leader.as_ref() == Some(old) {
            self.leader = Some(new.clone());
        }
        // The new life has not asked for an assignment yet, and need not: the old one's stands.
        self.pending_sync.remove(old);
        self.members.insert(new.clone(), member);
    }

    /// Is this member who it says it is? Source: `ClassicGroup.validateMember`.
    pub(crate) fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current.as_str() != id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    /// May a member with these protocols be here? One that joins an empty group decides for it.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.phase == Phase::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|offered| self.members.values().all(|member| member.offers(&offered.name)))
    }

    /// The protocol of the next generation: of those that all members offer, the one that most prefer; the first by name of
    /// those that equally many prefer.
    pub(crate) fn preferred_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        let shared: BTreeSet<&str> = self
            .members
            .values()
            .next()?
            .protocols
            .iter()
            .map(|offered| offered.name.as_str())
            .filter(|name| self.members.values().all(|member| member.offers(name)))
            .collect();
        for member in self.members.values() {
            if let Some(vote) = member
                .protocols
                .iter()
                .find(|offered| shared.contains(offered.name.as_str()))
            {
                *votes.entry(vote.name.as_str()).or_default() += 1;
            }
        }
        let most = *votes.values().max()?;
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(name, _)| name.to_owned())
    }

    /// True if the join phase need not wait for anybody.
    pub(crate) fn all_have_joined(&self) -> bool {
        self.pending_join.is_empty() && self.members.values().all(|member| member.awaiting_join.is_some())
    }

    pub(crate) fn joining_count(&self) -> usize {
        self.members
            .values()
            .filter(|member| member.awaiting_join.is_some())
            .count()
    }

    /// Makes sure that the leader is one of those who joined. False if nobody did.
    pub(crate) fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |id: &MemberId| {
            self.members
                .get(id)
                .is_some_and(|member| member.awaiting_join.is_some())
        };
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let Some(joined) = self.members.values().find(|member| member.awaiting_join.is_some()) else {
            return false;
        };
        self.leader = Some(joined.id.clone());
        true
    }

    /// Moves on to the next generation: of those who are here, or of nobody.
    pub(crate) fn next_generation(&mut self, now_ms: i64) {
        self.generation = self.generation.next();
        self.pending_sync.clear();
        self.protocol = self.preferred_protocol();
        self.subscribed_topics = self.read_subscriptions();
        let phase = if self.members.is_empty() {
            Phase::Empty
        } else {
            Phase::CompletingRebalance(Assigning::ByLeader)
        };
        self.enter(phase, now_ms);
    }

    /// Does anybody in the present generation read this topic? Where that cannot be told, a group of consumers might.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed_topics
            .as_ref()
            .map_or(self.uses_consumer_protocol(), |topics| topics.contains(topic))
    }

    pub(crate) fn knows_its_topics(&self) -> bool {
        self.subscribed_topics.is_some()
    }

    /// The answer of the present generation to a member's JoinGroup.
    pub(crate) fn joined(&self, member: &MemberId) -> JoinGroupResponse {
        let is_leader = self.leader.as_ref() == Some(member);
        JoinGroupResponse {
            error_code: ErrorCode::None.code(),
            generation_id: self.generation.0,
            protocol_type: self.protocol_type.clone(),
            protocol_name: Some(self.protocol.clone().unwrap_or_default()),
            leader: self
                .leader
                .as_ref()
                .map(|leader| leader.as_str().to_owned())
                .unwrap_or_default(),
            member_id: member.as_str().to_owned(),
            members: if is_leader { self.for_leader() } else { Vec::new() },
            ..JoinGroupResponse::default()
        }
    }

    fn for_leader(&self) -> Vec<protocol::messages::join_group::JoinGroupResponseMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        self.members
            .values()
            .map(|member| member.for_leader(protocol))
            .collect()
    }

    /// The topics of all subscriptions; `None` if one cannot be read, or if members are not consumers.
    fn read_subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        if let Some(protocol) = &self.protocol {
            for member in self.members.values() {
                topics.extend(subscription::topics(&member.metadata_for(protocol)).ok()?);
            }
        } else if !self.members.is_empty() {
            return None;
        }
        Some(topics)
    }
}
