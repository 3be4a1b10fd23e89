//! ConsumerGroupHeartbeat: a member joins, stays, moves on and leaves, all by the one request (KIP-848).
//! Source: Kafka's `GroupMetadataManager.consumerGroupHeartbeat`, `consumerGroupLeave`.

use model::TopicId;
use protocol::ErrorCode;
use protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};

use crate::agenda::Pending;
use crate::assignment_epochs::AssignmentEpochs;
use crate::assignor::Assignor;
use crate::consumer_group::{ConsumerGroup, ConsumerMember};
use crate::draft::Draft;
use crate::epoch::Epoch;
use crate::exchange::{Context, Response, Ticket, consumer_heartbeat_error};
use crate::group_coordinator::GroupCoordinator;
use crate::ids::{GroupId, InstanceId, MemberId};
use crate::member::millis;
use crate::partitions::Partitions;
use crate::pattern::Pattern;
use crate::records::{ConsumerMemberMetadata, ConsumerRecord, CurrentAssignment};
use crate::timers::Timer;

/// From here on a member makes its id itself (KIP-1082).
const OWN_MEMBER_ID_SINCE: i16 = 1;

/// Why a request of a consumer group is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) error: ErrorCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error,
            message: message.into(),
        }
    }
}

impl GroupCoordinator {
    pub(crate) fn consumer_heartbeat(
        &mut self,
        context: &Context<'_>,
        ticket: Ticket,
        request: &ConsumerGroupHeartbeatRequest,
    ) {
        if let Err(Refusal { error, message }) = self.try_consumer_heartbeat(context, ticket, request) {
            let response = ConsumerGroupHeartbeatResponse {
                error_message: Some(message),
                ..consumer_heartbeat_error(error)
            };
            self.agenda
                .reply_in_order(ticket, Response::ConsumerHeartbeat(response));
        }
    }

    fn try_consumer_heartbeat(
        &mut self,
        context: &Context<'_>,
        ticket: Ticket,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<(), Refusal> {
        check_form(context, request)?;
        let epoch = Epoch(request.member_epoch);
        if epoch < Epoch::JOIN {
            return self.consumer_leave(ticket, request);
        }
        let fresh = context.fresh.to_string();
        let member = MemberId::from(if request.member_id.is_empty() {
            fresh.as_str()
        } else {
            request.member_id.as_str()
        });
        let owned = request.topic_partitions.as_deref().map(partitions_of);
        if self.is_settled(context, &member, request, owned.as_ref())? {
            let group = GroupId::from(request.group_id.as_str());
            self.hear_consumer(&group, &member);
            return self.answer_heartbeat(ticket, &group, &member, is_full(request));
        }

        let mut draft = self.open_consumer_group(&GroupId::from(request.group_id.as_str()), member.as_str(), epoch)?;
        self.check_room(&draft.group, &member)?;
        admit(&mut draft, &member, request, owned.as_ref())?;

        let before = draft.group.member(member.as_str()).cloned();
        let known = before.as_ref().map(|member| member.metadata.clone());
        let metadata = updated(known.clone().unwrap_or_else(unknown_member), context, request);
        let subscribed_anew = known.as_ref().is_none_or(|known| {
            known.subscribed_topics != metadata.subscribed_topics || known.subscribed_regex != metadata.subscribed_regex
        });
        if known.as_ref() != Some(&metadata) {
            draft.push(ConsumerRecord::Member(member.clone(), Some(metadata)));
        }
        self.move_on(&mut draft, subscribed_anew);
        draft
            .reconcile(&member, owned.as_ref())
            .map_err(|_| Refusal::new(ErrorCode::FencedMemberEpoch, "The member must begin anew."))?;

        let after = draft.group.member(member.as_str());
        let (had, has) = (before.as_ref().map(|m| &m.current), after.map(|m| &m.current));
        if had != has {
            let timer = Timer::Revocation(draft.id.clone(), member.clone());
            if draft.must_revoke(&member) {
                let within = after.map_or(0, |member| member.metadata.rebalance_timeout_ms);
                self.agenda.schedule(timer, millis(within));
            } else {
                self.agenda.cancel(timer);
            }
        }
        let shows = is_full(request) || had.map(|had| &had.assigned) != has.map(|has| &has.assigned);
        let session = self.settings_of(&draft.id).session_timeout;
        self.agenda
            .schedule(Timer::Session(draft.id.clone(), member.clone()), session);
        let response = self.heartbeat_response(&draft.id, &draft.group, &member, shows);
        self.write_draft(draft, ticket, Response::ConsumerHeartbeat(response));
        Ok(())
    }

    /// True for the heartbeat that changes nothing: by far the most.
    fn is_settled(
        &self,
        context: &Context<'_>,
        id: &MemberId,
        request: &ConsumerGroupHeartbeatRequest,
        owned: Option<&Partitions>,
    ) -> Result<bool, Refusal> {
        let Some(group) = self.durable.consumer_group(&request.group_id) else {
            return Ok(false);
        };
        let Some(member) = group.member(id.as_str()) else {
            return Ok(false);
        };
        let settled = group.epoch() == group.assignment_epoch()
            && member.current.is_reconciled_to(group.assignment_epoch())
            && !self.topics_are_news_to(&request.group_id)
            && updated(member.metadata.clone(), context, request) == member.metadata;
        if settled {
            check_epoch(&member.current, request.member_epoch, owned)?;
        }
        Ok(settled)
    }

    /// The group as it stands, as a draft; a group that is classic becomes a consumer group if it may.
    fn open_consumer_group(&mut self, id: &GroupId, member: &str, epoch: Epoch) -> Result<Draft, Refusal> {
        if let Some(group) = self.durable.consumer_group(id.as_str()) {
            return Ok(Draft::of(id.clone(), group.clone()));
        }
        if epoch != Epoch::JOIN {
            // A member that was away while the group became classic may join again, and make it what it was; that there is no
            // such group at all is final for a client.
            return Err(match self.groups.get(id) {
                Some(group) if !group.members.is_empty() => unknown_member_id(id, member),
                _ => unknown_group(id),
            });
        }
        match self.groups.get(id) {
            None => Ok(Draft::of(id.clone(), ConsumerGroup::default())),
            Some(_) => self.upgrade(id),
        }
    }

    pub(crate) fn check_room(&self, group: &ConsumerGroup, member: &MemberId) -> Result<(), Refusal> {
        let max = self.agenda.settings.consumer_max_size;
        if group.members().len() >= max && group.member(member.as_str()).is_none() {
            let message = format!("The consumer group has reached its maximum capacity of {max} members.");
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message));
        }
        Ok(())
    }

    /// Looks at what changed, and assigns anew if that asks for it.
    pub(crate) fn move_on(&mut self, draft: &mut Draft, changed: bool) {
        let news = self.topics_are_news_to(draft.id.as_str());
        if (changed || news) && draft.refresh(&self.topics, news, changed, self.agenda.now) {
            self.agenda.stats.consumer_rebalances += 1;
        }
        self.topics_seen.insert(draft.id.clone(), self.topics_version);
        draft.assign(&self.topics);
    }

    /// Appends a draft, if there is anything in it; the answer waits for it.
    pub(crate) fn write_draft(&mut self, draft: Draft, ticket: Ticket, response: Response) {
        if draft.records.is_empty() {
            self.agenda.reply_in_order(ticket, response);
        } else {
            let then = Pending::Consumer {
                group: draft.id,
                ticket,
                response,
            };
            self.agenda.write(draft.records, then);
        }
    }

    fn hear_consumer(&mut self, group: &GroupId, member: &MemberId) {
        let session = self.settings_of(group).session_timeout;
        self.agenda
            .schedule(Timer::Session(group.clone(), member.clone()), session);
    }

    fn answer_heartbeat(
        &mut self,
        ticket: Ticket,
        id: &GroupId,
        member: &MemberId,
        shows: bool,
    ) -> Result<(), Refusal> {
        let group = self
            .durable
            .consumer_group(id.as_str())
            .ok_or_else(|| unknown_group(id))?;
        let response = self.heartbeat_response(id, group, member, shows);
        self.agenda
            .reply_in_order(ticket, Response::ConsumerHeartbeat(response));
        Ok(())
    }

    fn heartbeat_response(
        &self,
        id: &GroupId,
        group: &ConsumerGroup,
        member: &MemberId,
        shows: bool,
    ) -> ConsumerGroupHeartbeatResponse {
        let current = group.member(member.as_str()).map(|member| &member.current);
        let interval = self.settings_of(id).heartbeat_interval;
        ConsumerGroupHeartbeatResponse {
            error_code: ErrorCode::None.code(),
            member_id: Some(member.as_str().to_owned()),
            member_epoch: current.map_or(0, |current| current.epoch.0),
            heartbeat_interval_ms: i32::try_from(interval.as_millis()).unwrap_or(i32::MAX),
            assignment: current.filter(|_| shows).map(|current| Assignment {
                topic_partitions: listed(&current.assigned),
            }),
            ..ConsumerGroupHeartbeatResponse::default()
        }
    }

    fn consumer_leave(&mut self, ticket: Ticket, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
        let id = GroupId::from(request.group_id.as_str());
        let group = self
            .durable
            .consumer_group(id.as_str())
            .ok_or_else(|| unknown_group(&id))?;
        let member = match &request.instance_id {
            None => MemberId::from(request.member_id.as_str()),
            Some(instance) => bearer(group, instance, &request.member_id)?.clone(),
        };
        let Some(current) = group.member(member.as_str()).map(|member| member.current.clone()) else {
            return Err(unknown_member_id(&id, member.as_str()));
        };
        let response = Response::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse {
            member_id: Some(member.as_str().to_owned()),
            member_epoch: request.member_epoch,
            ..ConsumerGroupHeartbeatResponse::default()
        });
        if Epoch(request.member_epoch) == Epoch::LEAVE_FOR_NOW && request.instance_id.is_some() {
            let mut draft = Draft::of(id, group.clone());
            let away = CurrentAssignment {
                epoch: Epoch::LEAVE_FOR_NOW,
                revoking: Partitions::default(),
                // Nobody else has them until it is back: whatever its next life commits is its own.
                since: AssignmentEpochs::of(&current.assigned, Epoch::JOIN),
                ..current
            };
            draft.push(ConsumerRecord::Current(member.clone(), Some(away)));
            // Its session goes on: a member that does not come back within it has left for good.
            self.agenda.cancel(Timer::Revocation(draft.id.clone(), member));
            self.write_draft(draft, ticket, response);
        } else {
            let then = Pending::Consumer {
                group: id.clone(),
                ticket,
                response,
            };
            self.fence(&id, &[member], then);
        }
        Ok(())
    }

    /// Removes members for good.
    pub(crate) fn fence(&mut self, id: &GroupId, members: &[MemberId], then: Pending) {
        let Some(group) = self.durable.consumer_group(id.as_str()) else {
            return;
        };
        let gone: Vec<&MemberId> = members.iter().collect();
        if let Some(records) = self.downgrade(id, group, &gone) {
            for member in group.members().map(|(id, _)| id.clone()).collect::<Vec<_>>() {
                self.agenda.cancel_member(id, &member);
            }
            return self.agenda.write(records, then);
        }
        let mut draft = Draft::of(id.clone(), group.clone());
        for member in members {
            draft.remove(member);
            self.agenda.cancel_member(id, member);
        }
        draft.refresh(&self.topics, false, true, self.agenda.now);
        self.agenda.stats.consumer_rebalances += 1;
        self.agenda.write(draft.records, then);
    }

    /// A member of a consumer group has run out of time.
    pub(crate) fn member_expired(&mut self, group: &GroupId, member: &MemberId) {
        let known = self.durable.consumer_group(group.as_str());
        if known.is_some_and(|group| group.member(member.as_str()).is_some()) {
            let then = Pending::Fenced { group: group.clone() };
            self.fence(group, std::slice::from_ref(member), then);
        }
    }

    /// A member of a consumer group has not given back its partitions in time.
    pub(crate) fn revocation_expired(&mut self, id: &GroupId, member: &MemberId) {
        let group = self.durable.consumer_group(id.as_str());
        let known = group.and_then(|group| group.member(member.as_str()));
        if known.is_some_and(|member| !member.current.revoking.is_empty()) {
            self.member_expired(id, member);
        }
    }
}

/// Source: `throwIfConsumerGroupHeartbeatRequestIsInvalid`.
fn check_form(context: &Context<'_>, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    let is_blank = |text: &Option<String>| text.as_ref().is_some_and(|text| text.trim().is_empty());
    let (joins, leaves) = (
        request.member_epoch == Epoch::JOIN.0,
        request.member_epoch < Epoch::JOIN.0,
    );
    if request.group_id.trim().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if is_blank(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_blank(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    // In version 0, Kafka looks for a static member that leaves for now by its instance, and finds that its id is another.
    let may_be_nobody =
        context.version < OWN_MEMBER_ID_SINCE && (joins || request.member_epoch <= Epoch::LEAVE_FOR_NOW.0);
    if !may_be_nobody && request.member_id.trim().is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if request.member_epoch < Epoch::LEAVE_FOR_NOW.0 {
        return invalid("MemberEpoch is invalid.");
    }
    if request.member_epoch == Epoch::LEAVE_FOR_NOW.0 && request.instance_id.is_none() {
        return invalid("InstanceId can't be null.");
    }
    if joins && request.rebalance_timeout_ms == -1 {
        return invalid("RebalanceTimeoutMs must be provided in first request.");
    }
    if joins && request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
        return invalid("TopicPartitions must be empty when (re-)joining.");
    }
    if joins && request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
        return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
    }
    if let Some(name) = request.server_assignor.as_ref().filter(|_| !leaves)
        && Assignor::of_name(name).is_none()
    {
        let known = Assignor::ALL.map(Assignor::name).join(", ");
        let message = format!("ServerAssignor {name} is not supported. Supported assignors: {known}.");
        return Err(Refusal::new(ErrorCode::UnsupportedAssignor, message));
    }
    if let Some(regex) = request.subscribed_topic_regex.as_ref().filter(|_| !leaves) {
        Pattern::new(regex).map_err(|error| {
            let message = format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {error}.");
            Refusal::new(ErrorCode::InvalidRegularExpression, message)
        })?;
    }
    Ok(())
}

/// Is this member who it says it is, and where it says it stands? A static member may take the place of its former life.
fn admit(
    draft: &mut Draft,
    id: &MemberId,
    request: &ConsumerGroupHeartbeatRequest,
    owned: Option<&Partitions>,
) -> Result<(), Refusal> {
    let joins = request.member_epoch == Epoch::JOIN.0;
    if let Some(instance) = &request.instance_id {
        let former = draft.group.static_member(instance).cloned();
        match former {
            None if joins => return Ok(()),
            Some(former) if joins => {
                let Some(member) = draft.group.member(former.as_str()) else {
                    return Ok(());
                };
                let away = member.current.epoch == Epoch::LEAVE_FOR_NOW;
                if away || (member.is_classic() && former != *id) {
                    draft.replace(&former, id);
                } else if former != *id {
                    let message = format!(
                        "Static member {id} with instance id {instance} cannot join the group because the instance id is owned by {former} member."
                    );
                    return Err(Refusal::new(ErrorCode::UnreleasedInstanceId, message));
                }
                return Ok(());
            }
            _ => {
                bearer(&draft.group, instance, id.as_str())?;
            }
        }
    }
    match draft.group.member(id.as_str()) {
        Some(member) => check_epoch(&member.current, request.member_epoch, owned),
        None if joins => Ok(()),
        None => Err(unknown_member_id(&draft.id, id.as_str())),
    }
}

/// The member with this instance id, which must have this member id.
pub(crate) fn bearer<'a>(group: &'a ConsumerGroup, instance: &str, member: &str) -> Result<&'a MemberId, Refusal> {
    match group.static_member(instance) {
        None => {
            let message = format!("Instance id {instance} is unknown.");
            Err(Refusal::new(ErrorCode::UnknownMemberId, message))
        }
        Some(bearer) if bearer.as_str() != member => {
            let message = format!("Static member {member} with instance id {instance} was fenced by member {bearer}.");
            Err(Refusal::new(ErrorCode::FencedInstanceId, message))
        }
        Some(bearer) => Ok(bearer),
    }
}

/// A member may be one answer behind, which was lost, if it has nothing that it should not have. That includes one that joins
/// again under its id: it has nothing.
fn check_epoch(current: &CurrentAssignment, epoch: i32, owned: Option<&Partitions>) -> Result<(), Refusal> {
    let told = Epoch(epoch);
    let is_behind = told == current.previous_epoch || told == Epoch::JOIN;
    if told == current.epoch || (is_behind && owned.is_some_and(|owned| owned.is_within(&current.assigned))) {
        return Ok(());
    }
    let comparison = if told > current.epoch { "greater" } else { "smaller" };
    let message = format!(
        "The consumer group member has a {comparison} member epoch ({told}) than the one known by the group coordinator ({}). The member must abandon all its partitions and rejoin.",
        current.epoch
    );
    Err(Refusal::new(ErrorCode::FencedMemberEpoch, message))
}

fn unknown_member() -> ConsumerMemberMetadata {
    ConsumerMemberMetadata {
        rebalance_timeout_ms: -1,
        ..ConsumerMemberMetadata::default()
    }
}

/// What the member says now; what it leaves out is as before.
fn updated(
    mut member: ConsumerMemberMetadata,
    context: &Context<'_>,
    request: &ConsumerGroupHeartbeatRequest,
) -> ConsumerMemberMetadata {
    if let Some(instance) = &request.instance_id {
        member.instance_id = Some(InstanceId::from(instance.as_str()));
    }
    if let Some(rack) = &request.rack_id {
        member.rack_id = Some(rack.clone());
    }
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(assignor) = &request.server_assignor {
        member.server_assignor = Some(assignor.clone());
    }
    if let Some(topics) = &request.subscribed_topic_names {
        member.subscribed_topics = topics.iter().cloned().collect();
    }
    if let Some(regex) = &request.subscribed_topic_regex {
        member.subscribed_regex = Some(regex.clone()).filter(|regex| !regex.is_empty());
    }
    context.client_id.clone_into(&mut member.client_id);
    context.client_host.clone_into(&mut member.client_host);
    member.classic = None;
    member
}

/// A member says everything when it joins and when it is unsure what it was told; then it is told everything.
fn is_full(request: &ConsumerGroupHeartbeatRequest) -> bool {
    request.member_epoch == Epoch::JOIN.0
        || (request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some())
}

fn partitions_of(listed: &[TopicPartitions]) -> Partitions {
    listed
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|index| (TopicId(topic.topic_id), *index)))
        .collect()
}

fn listed(partitions: &Partitions) -> Vec<TopicPartitions> {
    partitions
        .topics()
        .map(|(topic, indexes)| TopicPartitions {
            topic_id: topic.as_uuid(),
            partitions: indexes.iter().copied().collect(),
        })
        .collect()
}

fn unknown_group(id: &GroupId) -> Refusal {
    Refusal::new(ErrorCode::GroupIdNotFound, format!("Consumer group {id} not found."))
}

pub(crate) fn unknown_member_id(group: &GroupId, member: &str) -> Refusal {
    let message = format!("Member {member} is not a member of group {group}.");
    Refusal::new(ErrorCode::UnknownMemberId, message)
}

impl ConsumerMember {
    /// How long it may take to give back partitions.
    pub(crate) fn rebalance_timeout(&self) -> std::time::Duration {
        millis(self.metadata.rebalance_timeout_ms)
    }
}
