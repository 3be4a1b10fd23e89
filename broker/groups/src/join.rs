//! JoinGroup. Source: Kafka's `GroupMetadataManager.classicGroupJoin*`; KIP-394 (MEMBER_ID_REQUIRED), KIP-345 (static
//! members), KIP-814 (skip_assignment).

use protocol::ErrorCode;
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};

use crate::agenda::{Agenda, Pending};
use crate::applicant::{Applicant, StaticRejoin};
use crate::exchange::{Context, Response, Ticket, coordinator_error};
use crate::group::{Gathering, Group, Phase};
use crate::group_coordinator::GroupCoordinator;
use crate::ids::{GroupId, InstanceId, MemberId};
use crate::member::{Member, millis, offered_protocols};
use crate::rebalance::{self, join_error, sync_error};
use crate::records::GroupRecord;
use crate::timers::Timer;

/// From here on a new dynamic member is first told its id, so that a retry does not make a second member.
pub(crate) const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// From here on a static leader that comes back may be told not to assign anew.
const SKIP_ASSIGNMENT_SINCE: i16 = 9;
/// Characters of a client id that go into a member id; with the UUID, a member id always fits its field.
const MEMBER_ID_PREFIX_MAX: usize = 255;
/// Kafka holds instance ids to the rules of topic names.
const INSTANCE_ID_MAX: usize = 249;

impl GroupCoordinator {
    pub(crate) fn join(&mut self, context: &Context<'_>, ticket: Ticket, request: JoinGroupRequest) {
        let group_id = GroupId::from(request.group_id.as_str());
        let members = self
            .durable
            .consumer_group(group_id.as_str())
            .map(|group| group.members().len());
        // Kept for a member that has to join once more.
        let kept = members.is_some().then(|| request.clone());
        let applicant = match self.check_applicant(context, ticket, request) {
            Ok(applicant) => applicant,
            Err((member_id, error)) => {
                return self.agenda.reply(ticket, Response::Join(join_error(&member_id, error)));
            }
        };
        let kept = match kept {
            Some(request) if members > Some(0) => {
                return self.join_consumer_group(context, &group_id, applicant, request);
            }
            kept => kept,
        };
        if !self.groups.contains_key(&group_id) {
            // Only a member that was never here may found a group, and only one that brings what a group needs.
            let error = if !applicant.member_id.is_empty() {
                ErrorCode::UnknownMemberId
            } else if applicant.protocol_type.is_empty() || applicant.protocols.is_empty() {
                ErrorCode::InconsistentGroupProtocol
            } else if let Some(request) = kept {
                return self.join_when_classic(context, &group_id, applicant.ticket, request);
            } else {
                self.groups
                    .insert(group_id.clone(), Group::new(group_id.clone(), context.now.wall_ms));
                ErrorCode::None
            };
            if error != ErrorCode::None {
                return self
                    .agenda
                    .reply(ticket, Response::Join(join_error(&applicant.member_id, error)));
            }
        }
        if let Some(group) = self.groups.get_mut(&group_id) {
            admit(group, &mut self.agenda, applicant);
        }
    }

    fn check_applicant(
        &self,
        context: &Context<'_>,
        ticket: Ticket,
        request: JoinGroupRequest,
    ) -> Result<Applicant, (String, ErrorCode)> {
        let session_timeout = millis(request.session_timeout_ms);
        let settings = &self.agenda.settings;
        let error = if request.group_id.is_empty() {
            ErrorCode::InvalidGroupId
        } else if request.session_timeout_ms < 0
            || session_timeout < settings.min_session_timeout
            || session_timeout > settings.max_session_timeout
        {
            ErrorCode::InvalidSessionTimeout
        } else if request
            .group_instance_id
            .as_ref()
            .is_some_and(|id| id.is_empty() || id.chars().count() > INSTANCE_ID_MAX)
        {
            ErrorCode::InvalidRequest
        } else {
            ErrorCode::None
        };
        if error != ErrorCode::None {
            return Err((request.member_id, error));
        }
        let prefix: String = match &request.group_instance_id {
            Some(instance) => instance.clone(),
            None => context.client_id.chars().take(MEMBER_ID_PREFIX_MAX).collect(),
        };
        Ok(Applicant {
            ticket,
            version: context.version,
            member_id: request.member_id,
            instance_id: request.group_instance_id.as_deref().map(InstanceId::from),
            client_id: context.client_id.to_owned(),
            client_host: context.client_host.to_owned(),
            session_timeout_ms: request.session_timeout_ms,
            // Version 0 knows one timeout for both.
            rebalance_timeout_ms: if context.version == 0 {
                request.session_timeout_ms
            } else {
                request.rebalance_timeout_ms
            },
            protocol_type: request.protocol_type,
            protocols: offered_protocols(request.protocols),
            fresh_id: MemberId::from(format!("{prefix}-{}", context.fresh).as_str()),
        })
    }

    pub(crate) fn static_rejoin_committed(&mut self, rejoin: StaticRejoin) {
        let StaticRejoin {
            group: group_id,
            generation,
            former,
            applicant,
        } = rejoin;
        let Some(group) = self.groups.get_mut(&group_id) else {
            let error = join_error("", ErrorCode::UnknownMemberId);
            return self.agenda.reply(applicant.ticket, Response::Join(error));
        };
        let unchanged = group.phase == Phase::Stable
            && group.generation == generation
            && applicant
                .instance_id
                .as_ref()
                .and_then(|instance| group.static_members.get(instance))
                == Some(&former);
        if !unchanged {
            // While the record was on its way, a rebalance began or another life of the same member came in between.
            return admit(group, &mut self.agenda, applicant);
        }
        let old_leader = group.leader.clone();
        let new_id = applicant.fresh_id.clone();
        replace(group, &mut self.agenda, &former, &applicant);
        let mut response = group.joined(&new_id);
        if applicant.version >= SKIP_ASSIGNMENT_SINCE {
            response.skip_assignment = group.is_leader(new_id.as_str());
        } else {
            // It must not believe itself the leader, or it would assign anew while nobody else asks.
            response.leader = old_leader.map(|leader| leader.as_str().to_owned()).unwrap_or_default();
            response.members.clear();
        }
        self.agenda.reply(applicant.ticket, Response::Join(response));
        rebalance::heard_from(group, &mut self.agenda, new_id.as_str());
    }

    pub(crate) fn static_rejoin_failed(&mut self, rejoin: &StaticRejoin, error: ErrorCode) {
        let StaticRejoin {
            group: id, applicant, ..
        } = rejoin;
        let response = JoinGroupResponse {
            generation_id: rejoin.generation.0,
            ..join_error("", coordinator_error(error))
        };
        self.agenda.reply(applicant.ticket, Response::Join(response));
        // The former life was never replaced. But a record that was appended and only not committed in time may be
        // what a successor reads; it would fence the former life, which is fatal for a client. So it is taken back.
        let written = self.durable.group(id.as_str());
        let named = written.is_some_and(|group| group.members.iter().any(|m| m.member_id == applicant.fresh_id));
        if let Some(group) = self.groups.get(id)
            && named
            && group.phase == Phase::Stable
        {
            let record = group.to_record(&group.assignments());
            self.agenda.write(vec![record], Pending::Nothing);
        }
    }
}

fn refuse(agenda: &mut Agenda, applicant: &Applicant, error: ErrorCode) {
    agenda.reply(
        applicant.ticket,
        Response::Join(join_error(&applicant.member_id, error)),
    );
}

/// Lets a member in, or says why not.
fn admit(group: &mut Group, agenda: &mut Agenda, applicant: Applicant) {
    if !has_room(group, &applicant.member_id, agenda.settings.max_size) {
        if let Some(member) = group.members.get(applicant.member_id.as_str()) {
            let id = member.id.clone();
            rebalance::dismiss(group, agenda, &id);
        }
        group.pending_join.remove(applicant.member_id.as_str());
        agenda.reply(
            applicant.ticket,
            Response::Join(join_error("", ErrorCode::GroupMaxSizeReached)),
        );
    } else if !group.supports(&applicant.protocol_type, &applicant.protocols) {
        refuse(agenda, &applicant, ErrorCode::InconsistentGroupProtocol);
    } else if !applicant.member_id.is_empty() {
        admit_known(group, agenda, applicant);
    } else if let Some(instance) = &applicant.instance_id {
        if let Some(former) = group.static_members.get(instance).cloned() {
            admit_next_life(group, agenda, &former, applicant);
        } else {
            let id = applicant.fresh_id.clone();
            add(group, agenda, &id, applicant);
        }
    } else if applicant.version >= MEMBER_ID_REQUIRED_SINCE {
        let id = applicant.fresh_id.clone();
        let within = millis(applicant.session_timeout_ms);
        agenda.reply(
            applicant.ticket,
            Response::Join(join_error(id.as_str(), ErrorCode::MemberIdRequired)),
        );
        rebalance::expect_new_member(group, agenda, &id, within);
        group.pending_join.insert(id);
    } else {
        let id = applicant.fresh_id.clone();
        add(group, agenda, &id, applicant);
    }
}

/// Source: `acceptJoiningMember`. While a group gathers, those who are there already count, so that a group that is over
/// its size loses the last to come back.
fn has_room(group: &Group, member_id: &str, max_size: usize) -> bool {
    match group.phase {
        Phase::Empty => true,
        Phase::PreparingRebalance(_) => {
            group
                .members
                .get(member_id)
                .is_some_and(|member| member.awaiting_join.is_some())
                || group.joining_count() < max_size
        }
        Phase::CompletingRebalance(_) | Phase::Stable => {
            group.members.contains_key(member_id) || group.members.len() < max_size
        }
    }
}

/// A member that names its id.
fn admit_known(group: &mut Group, agenda: &mut Agenda, applicant: Applicant) {
    if group.is_pending(&applicant.member_id) && applicant.instance_id.is_none() {
        let id = MemberId::from(applicant.member_id.as_str());
        return add(group, agenda, &id, applicant);
    }
    let instance = applicant.instance_id.as_ref().map(InstanceId::as_str);
    if let Err(error) = group.check_member(&applicant.member_id, instance) {
        return refuse(agenda, &applicant, error);
    }
    let same_protocols = group
        .members
        .get(applicant.member_id.as_str())
        .is_some_and(|member| member.protocols == applicant.protocols);
    let id = MemberId::from(applicant.member_id.as_str());
    match group.phase {
        // Its answer was lost, or it asks out of habit: nothing has changed, so it may go on to sync.
        Phase::CompletingRebalance(_) if same_protocols => {
            agenda.reply(applicant.ticket, Response::Join(group.joined(&id)));
        }
        Phase::Stable if same_protocols && !group.is_leader(id.as_str()) => {
            agenda.reply(applicant.ticket, Response::Join(group.joined(&id)));
        }
        // A leader that joins again has a reason that its metadata does not show: perhaps new partitions.
        Phase::PreparingRebalance(_) | Phase::CompletingRebalance(_) | Phase::Stable => {
            update(group, agenda, &id, &applicant);
            await_join(group, &id, applicant.ticket);
            rebalance::prepare_or_complete(group, agenda);
        }
        Phase::Empty => refuse(agenda, &applicant, ErrorCode::UnknownMemberId),
    }
}

/// A static member that has no member id, while its instance id belongs to a former life.
fn admit_next_life(group: &mut Group, agenda: &mut Agenda, former: &MemberId, applicant: Applicant) {
    if group.phase == Phase::Stable && protocol_stays(group, former, &applicant) {
        let record = record_of_next_life(group, former, &applicant);
        let rejoin = StaticRejoin {
            group: group.id.clone(),
            generation: group.generation,
            former: former.clone(),
            applicant,
        };
        return agenda.write(vec![record], Pending::StaticRejoin(Box::new(rejoin)));
    }
    replace(group, agenda, former, &applicant);
    let id = applicant.fresh_id.clone();
    await_join(group, &id, applicant.ticket);
    rebalance::heard_from(group, agenda, id.as_str());
    match group.phase {
        // The leader may be assigning to the former life at this moment: its assignment would miss the new one.
        Phase::CompletingRebalance(_) | Phase::Stable => rebalance::prepare(group, agenda),
        Phase::PreparingRebalance(_) | Phase::Empty => rebalance::complete_if_all_joined(group, agenda),
    }
}

/// Would the next generation choose the same protocol, with what the new life offers?
fn protocol_stays(group: &mut Group, former: &MemberId, applicant: &Applicant) -> bool {
    let Some(member) = group.members.get_mut(former) else {
        return false;
    };
    let offered = std::mem::replace(&mut member.protocols, applicant.protocols.clone());
    let preferred = group.preferred_protocol();
    if let Some(member) = group.members.get_mut(former) {
        member.protocols = offered;
    }
    preferred.is_some() && preferred == group.protocol
}

/// The group as it will be when the new life has taken its place.
fn record_of_next_life(group: &Group, former: &MemberId, applicant: &Applicant) -> GroupRecord {
    let mut record = group.to_record(&group.assignments());
    if let GroupRecord::Group {
        metadata: Some(metadata),
        ..
    } = &mut record
    {
        if metadata.leader.as_ref() == Some(former) {
            metadata.leader = Some(applicant.fresh_id.clone());
        }
        for member in metadata.members.iter_mut().filter(|member| member.member_id == *former) {
            member.member_id = applicant.fresh_id.clone();
            member.session_timeout_ms = applicant.session_timeout_ms;
            member.rebalance_timeout_ms = applicant.rebalance_timeout_ms;
            let chosen = applicant
                .protocols
                .iter()
                .find(|offered| Some(&offered.name) == metadata.protocol.as_ref());
            member.subscription = chosen.map(|offered| offered.metadata.clone()).unwrap_or_default();
        }
        metadata.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    }
    record
}

/// Puts the new life of a static member in the place of its former one, which is fenced at once if it waits.
fn replace(group: &mut Group, agenda: &mut Agenda, former: &MemberId, applicant: &Applicant) {
    if let Some(member) = group.members.get_mut(former) {
        let (join, sync) = (member.awaiting_join.take(), member.awaiting_sync.take());
        if let Some(ticket) = join {
            agenda.reply(
                ticket,
                Response::Join(join_error(former.as_str(), ErrorCode::FencedInstanceId)),
            );
        }
        if let Some(ticket) = sync {
            agenda.reply(ticket, Response::Sync(sync_error(ErrorCode::FencedInstanceId)));
        }
    }
    agenda.cancel(Timer::Session(group.id.clone(), former.clone()));
    group.rename(former, &applicant.fresh_id);
    update(group, agenda, &applicant.fresh_id, applicant);
}

/// Takes over what a member says about itself.
fn update(group: &mut Group, agenda: &mut Agenda, id: &MemberId, applicant: &Applicant) {
    let Some(member) = group.members.get_mut(id) else {
        return;
    };
    member.protocols.clone_from(&applicant.protocols);
    member.session_timeout_ms = applicant.session_timeout_ms;
    member.rebalance_timeout_ms = applicant.rebalance_timeout_ms;
    // An earlier JoinGroup that still waits came over a connection that its client has given up, or is about to.
    if let Some(earlier) = member.awaiting_join.take() {
        agenda.reply(
            earlier,
            Response::Join(join_error(id.as_str(), ErrorCode::RebalanceInProgress)),
        );
    }
}

fn await_join(group: &mut Group, id: &MemberId, ticket: Ticket) {
    if let Some(member) = group.members.get_mut(id) {
        member.awaiting_join = Some(ticket);
    }
}

/// Adds a member that was never here.
fn add(group: &mut Group, agenda: &mut Agenda, id: &MemberId, applicant: Applicant) {
    if let Phase::PreparingRebalance(Gathering::Newcomers { more_came, .. }) = &mut group.phase {
        *more_came = true;
    }
    if group.members.is_empty() {
        group.protocol_type = Some(applicant.protocol_type);
    }
    group.insert(Member {
        id: id.clone(),
        instance_id: applicant.instance_id,
        client_id: applicant.client_id,
        client_host: applicant.client_host,
        rebalance_timeout_ms: applicant.rebalance_timeout_ms,
        session_timeout_ms: applicant.session_timeout_ms,
        protocols: applicant.protocols,
        assignment: bytes::Bytes::new(),
        awaiting_join: Some(applicant.ticket),
        awaiting_sync: None,
        is_new: true,
    });
    let within = agenda.settings.new_member_join_timeout;
    rebalance::expect_new_member(group, agenda, id, within);
    rebalance::prepare_or_complete(group, agenda);
}
