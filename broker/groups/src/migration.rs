//! How a group changes its kind while its members go on: from classic when the first member of KIP-848 joins, and back when
//! the last one leaves. A group without members becomes what its next member is. Source: Kafka's `convertToConsumerGroup`,
//! `convertToClassicGroup`, `maybeDeleteEmptyConsumerGroup`; KIP-848, KIP-1099.
//!
//! Each is one batch of records: a coordinator that loads the log finds the group of the one kind or of the other.

use std::collections::HashMap;

use protocol::ErrorCode;
use protocol::messages::join_group::JoinGroupRequest;

use crate::agenda::{Pending, Rejoin};
use crate::assignment_epochs::AssignmentEpochs;
use crate::consumer_group::ConsumerGroup;
use crate::consumer_heartbeat::Refusal;
use crate::draft::Draft;
use crate::epoch::Epoch;
use crate::exchange::{Context, Response, Ticket};
use crate::group::{CONSUMER, Group, Phase};
use crate::group_coordinator::GroupCoordinator;
use crate::ids::{GenerationId, GroupId, MemberId};
use crate::partitions::Partitions;
use crate::rebalance::{join_error, sync_error};
use crate::records::{
    ClassicMemberMetadata, ConsumerGroupEpoch, ConsumerMemberMetadata, ConsumerRecord, CurrentAssignment,
    GroupMetadata, GroupRecord, MemberMetadata, MemberState,
};
use crate::subscription::{self, Subscription};
use crate::timers::Timer;

impl GroupCoordinator {
    /// The classic group as a consumer group, with the records that make it one.
    pub(crate) fn upgrade(&mut self, id: &GroupId) -> Result<Draft, Refusal> {
        let mut draft = Draft::of(id.clone(), ConsumerGroup::default());
        let Some(classic) = self.groups.get(id) else {
            return Ok(draft);
        };
        if self.durable.group(id.as_str()).is_some() {
            draft.records.push(GroupRecord::tombstone_of(id));
        }
        if classic.phase == Phase::Empty {
            return Ok(draft);
        }
        let refused = |why: &str| {
            let message = format!("Group {id} is not a consumer group: {why}.");
            Err(Refusal::new(ErrorCode::GroupIdNotFound, message))
        };
        if !self.agenda.settings.migration_policy.may_upgrade() {
            return refused("group.consumer.migration.policy keeps it classic");
        }
        if !classic.uses_consumer_protocol() {
            return refused("its members are no consumers");
        }
        if classic.members.len() > self.agenda.settings.consumer_max_size {
            return refused("it has more members than a consumer group may have");
        }
        let Some(members) = self.as_consumers(classic) else {
            return refused("what one of its members subscribes to cannot be read");
        };
        let epoch = Epoch(classic.generation.0);
        draft.push(ConsumerRecord::Group(Some(ConsumerGroupEpoch {
            epoch,
            metadata_hash: 0,
        })));
        draft.push(ConsumerRecord::TargetEpoch(Some(epoch)));
        let mut sessions = Vec::new();
        for (member, metadata, assigned) in members {
            sessions.push((member.clone(), session_timeout_ms(&metadata)));
            draft.push(ConsumerRecord::Member(member.clone(), Some(metadata)));
            draft.push(ConsumerRecord::Target(member.clone(), Some(assigned.clone())));
            let current = CurrentAssignment {
                epoch,
                previous_epoch: epoch,
                state: MemberState::Stable,
                since: AssignmentEpochs::of(&assigned, epoch),
                assigned,
                revoking: Partitions::default(),
            };
            draft.push(ConsumerRecord::Current(member, Some(current)));
        }
        self.dissolve(id);
        for (member, session_ms) in sessions {
            let session = crate::member::millis(session_ms);
            self.agenda.schedule(Timer::Session(id.clone(), member), session);
        }
        Ok(draft)
    }

    /// The records that make a consumer group classic, if only classic members stay when some are `gone`, and if it may.
    pub(crate) fn downgrade(
        &self,
        id: &GroupId,
        group: &ConsumerGroup,
        gone: &[&MemberId],
    ) -> Option<Vec<GroupRecord>> {
        let settings = &self.agenda.settings;
        let stay = group.members().len().saturating_sub(gone.len());
        let may = settings.migration_policy.may_downgrade()
            && group.would_be_classic_without(gone)
            && stay <= settings.max_size;
        if !may {
            return None;
        }
        let mut records = group.tombstones(id);
        records.push(GroupRecord::Group {
            group: id.clone(),
            metadata: Some(self.as_classic(group, gone)?),
        });
        Some(records)
    }

    /// Makes a consumer group without members classic, and lets the member join when it is. What was committed stays.
    pub(crate) fn join_when_classic(
        &mut self,
        context: &Context<'_>,
        id: &GroupId,
        ticket: Ticket,
        request: JoinGroupRequest,
    ) {
        let group = self.durable.consumer_group(id.as_str());
        let mut records = group.map(|group| group.tombstones(id)).unwrap_or_default();
        records.push(Group::new(id.clone(), context.now.wall_ms).to_record(&HashMap::new()));
        let rejoin = Rejoin::new(context, ticket, request);
        self.agenda.write(records, Pending::Rejoin(Box::new(rejoin)));
    }

    /// The members of a classic group as members of a consumer group, with what they have. `None` if one speaks nonsense.
    fn as_consumers(&self, classic: &Group) -> Option<Vec<(MemberId, ConsumerMemberMetadata, Partitions)>> {
        let mut taken = Partitions::default();
        let mut members = Vec::new();
        for member in classic.members.values() {
            let subscription = Subscription::decode(&member.protocols.first()?.metadata).ok()?;
            let named = if member.assignment.is_empty() {
                subscription.owned
            } else {
                subscription::decode_assignment(&member.assignment).ok()?
            };
            // A leader may assign what it likes; here a partition is one member's.
            let (_, assigned) = subscription::by_id(&named, &self.topics).split(&taken);
            taken.extend(assigned.iter());
            let metadata = ConsumerMemberMetadata {
                instance_id: member.instance_id.clone(),
                rack_id: subscription.rack_id,
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                subscribed_topics: subscription.topics.into_iter().collect(),
                subscribed_regex: None,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                server_assignor: None,
                classic: Some(ClassicMemberMetadata {
                    session_timeout_ms: member.session_timeout_ms,
                    protocols: member.protocols.clone(),
                }),
            };
            members.push((member.id.clone(), metadata, assigned));
        }
        Some(members)
    }

    /// Everybody who waits in the classic group joins again.
    fn dissolve(&mut self, id: &GroupId) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let error = ErrorCode::RebalanceInProgress;
        for member in group.members.values_mut() {
            if let Some(ticket) = member.awaiting_join.take() {
                let response = join_error(member.id.as_str(), error);
                self.agenda.reply(ticket, Response::Join(response));
            }
            if let Some(ticket) = member.awaiting_sync.take() {
                self.agenda.reply(ticket, Response::Sync(sync_error(error)));
            }
        }
        self.agenda.cancel(Timer::Join(id.clone()));
        self.agenda.cancel(Timer::Sync(id.clone()));
    }

    /// A generation of those who stay, in which everybody has what it has. Its time is not known, which tells whoever reads it
    /// that it is not settled: what the others had is nobody's.
    fn as_classic(&self, group: &ConsumerGroup, gone: &[&MemberId]) -> Option<GroupMetadata> {
        let stay: Vec<_> = group.members().filter(|(id, _)| !gone.contains(id)).collect();
        let first = stay.first().and_then(|(_, member)| member.metadata.classic.as_ref())?;
        // One that all of them offer: no member is let in without.
        let protocol = first.protocols.iter().find(|offered| {
            stay.iter().all(|(_, member)| {
                let classic = member.metadata.classic.as_ref();
                classic.is_some_and(|classic| classic.protocols.iter().any(|other| other.name == offered.name))
            })
        })?;
        let members = stay
            .iter()
            .filter_map(|(id, member)| {
                let classic = member.metadata.classic.as_ref()?;
                let offered = classic.protocols.iter().find(|offered| offered.name == protocol.name)?;
                let version = subscription::version(&offered.metadata);
                let assigned = &member.current.assigned;
                Some(MemberMetadata {
                    member_id: (*id).clone(),
                    instance_id: member.metadata.instance_id.clone(),
                    client_id: member.metadata.client_id.clone(),
                    client_host: member.metadata.client_host.clone(),
                    rebalance_timeout_ms: member.metadata.rebalance_timeout_ms,
                    session_timeout_ms: classic.session_timeout_ms,
                    subscription: offered.metadata.clone(),
                    assignment: subscription::encode_assignment(version, assigned, &self.topics).ok()?,
                })
            })
            .collect();
        Some(GroupMetadata {
            protocol_type: CONSUMER.to_owned(),
            generation: GenerationId(group.epoch().0),
            protocol: Some(protocol.name.clone()),
            leader: stay.first().map(|(id, _)| (*id).clone()),
            state_timestamp_ms: -1,
            members,
        })
    }
}

fn session_timeout_ms(metadata: &ConsumerMemberMetadata) -> i32 {
    metadata
        .classic
        .as_ref()
        .map_or(0, |classic| classic.session_timeout_ms)
}
