//! Members that speak the classic protocol in a consumer group: JoinGroup, SyncGroup, Heartbeat and LeaveGroup stand for the
//! one heartbeat of the others. Source: Kafka's `classicGroupJoinToConsumerGroup` and its neighbours (KIP-848).
//!
//! The server assigns, so nobody leads: a member joins with what it has, is answered at once with its epoch as the generation,
//! and syncs for what it may use. When it must give something back, or may have more, a heartbeat sends it to join again.

use std::collections::BTreeSet;

use protocol::ErrorCode;
use protocol::messages::heartbeat::HeartbeatRequest;
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use protocol::messages::leave_group::{MemberIdentity, MemberResponse};
use protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use crate::agenda::{Pending, Rejoin};
use crate::applicant::Applicant;
use crate::consumer_group::{ConsumerGroup, ConsumerMember};
use crate::consumer_heartbeat::bearer;
use crate::draft::Draft;
use crate::exchange::{Context, Response, Ticket};
use crate::group::CONSUMER;
use crate::group_coordinator::GroupCoordinator;
use crate::ids::{GroupId, MemberId};
use crate::join::MEMBER_ID_REQUIRED_SINCE;
use crate::leave::left;
use crate::member::millis;
use crate::rebalance::{join_error, sync_error};
use crate::records::{ClassicMemberMetadata, ConsumerMemberMetadata, ConsumerRecord, MemberState};
use crate::subscription::{self, Subscription};
use crate::timers::Timer;

impl GroupCoordinator {
    /// JoinGroup. `request` is kept for a member that must wait for the group to become classic.
    pub(crate) fn join_consumer_group(
        &mut self,
        context: &Context<'_>,
        id: &GroupId,
        applicant: Applicant,
        request: JoinGroupRequest,
    ) {
        let ticket = applicant.ticket;
        let asked = applicant.member_id.clone();
        if let Err(error) = self.try_join_consumer_group(context, id, applicant, request) {
            self.agenda
                .reply_in_order(ticket, Response::Join(join_error(&asked, error)));
        }
    }

    fn try_join_consumer_group(
        &mut self,
        context: &Context<'_>,
        id: &GroupId,
        applicant: Applicant,
        request: JoinGroupRequest,
    ) -> Result<(), ErrorCode> {
        let group = self
            .durable
            .consumer_group(id.as_str())
            .ok_or(ErrorCode::UnknownMemberId)?;
        let ticket = applicant.ticket;
        let names_itself = !applicant.member_id.is_empty();
        let member = if names_itself {
            MemberId::from(applicant.member_id.as_str())
        } else {
            applicant.fresh_id.clone()
        };
        self.check_room(group, &member).map_err(|refusal| refusal.error)?;
        let offered: BTreeSet<&str> = applicant
            .protocols
            .iter()
            .map(|offered| offered.name.as_str())
            .collect();
        if applicant.protocol_type != CONSUMER || !group.supports(&offered, member.as_str()) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if !names_itself && applicant.instance_id.is_none() && applicant.version >= MEMBER_ID_REQUIRED_SINCE {
            let response = join_error(member.as_str(), ErrorCode::MemberIdRequired);
            self.agenda.reply_in_order(ticket, Response::Join(response));
            return Ok(());
        }
        let first = applicant
            .protocols
            .first()
            .ok_or(ErrorCode::InconsistentGroupProtocol)?;
        let subscription = Subscription::decode(&first.metadata).map_err(|_| ErrorCode::InconsistentGroupProtocol)?;
        let owned = subscription::by_id(&subscription.owned, &self.topics);

        let mut draft = Draft::of(id.clone(), group.clone());
        if let Some(instance) = &applicant.instance_id {
            let former = group.static_member(instance.as_str()).cloned();
            match former {
                Some(former) if !names_itself => {
                    let replaced = group.member(former.as_str());
                    if replaced.is_some_and(|replaced| !replaced.is_classic())
                        && let Some(records) = self.downgrade(id, group, &[&former])
                    {
                        // The last of the other kind is gone by this: what it was is for the classic group to say.
                        self.agenda.cancel_member(id, &former);
                        let rejoin = Rejoin::new(context, ticket, request);
                        self.agenda.write(records, Pending::Rejoin(Box::new(rejoin)));
                        return Ok(());
                    }
                    draft.replace(&former, &member);
                }
                None if !names_itself => {}
                _ => {
                    bearer(group, instance.as_str(), member.as_str()).map_err(|refusal| refusal.error)?;
                }
            }
        }

        let known = draft
            .group
            .member(member.as_str())
            .map(|member| member.metadata.clone());
        let metadata = ConsumerMemberMetadata {
            instance_id: applicant.instance_id,
            rack_id: subscription.rack_id,
            client_id: applicant.client_id,
            client_host: applicant.client_host,
            subscribed_topics: subscription.topics.into_iter().collect(),
            subscribed_regex: None,
            rebalance_timeout_ms: applicant.rebalance_timeout_ms,
            server_assignor: None,
            classic: Some(ClassicMemberMetadata {
                session_timeout_ms: applicant.session_timeout_ms,
                protocols: applicant.protocols,
            }),
        };
        let subscribed_anew = known.as_ref().is_none_or(|known| {
            known.subscribed_topics != metadata.subscribed_topics || known.subscribed_regex.is_some()
        });
        let protocol = metadata.classic.as_ref().and_then(|classic| classic.protocols.first());
        let protocol_name = protocol.map(|protocol| protocol.name.clone());
        if known.as_ref() != Some(&metadata) {
            draft.push(ConsumerRecord::Member(member.clone(), Some(metadata)));
        }
        self.move_on(&mut draft, subscribed_anew);
        draft
            .reconcile(&member, Some(&owned))
            .map_err(|_| ErrorCode::UnknownMemberId)?;

        self.agenda.cancel(Timer::Revocation(id.clone(), member.clone()));
        self.agenda.cancel(Timer::ClassicJoin(id.clone(), member.clone()));
        self.agenda.schedule(
            Timer::Session(id.clone(), member.clone()),
            millis(applicant.session_timeout_ms),
        );
        self.agenda.schedule(
            Timer::ClassicSync(id.clone(), member.clone()),
            millis(applicant.rebalance_timeout_ms),
        );
        let epoch = draft
            .group
            .member(member.as_str())
            .map_or(0, |member| member.current.epoch.0);
        let response = JoinGroupResponse {
            error_code: ErrorCode::None.code(),
            member_id: member.as_str().to_owned(),
            generation_id: epoch,
            protocol_type: Some(CONSUMER.to_owned()),
            protocol_name,
            ..JoinGroupResponse::default()
        };
        self.write_draft(draft, ticket, Response::Join(response));
        Ok(())
    }

    /// SyncGroup.
    pub(crate) fn sync_with_consumer_group(&mut self, ticket: Ticket, request: &SyncGroupRequest) {
        let response = self.synced(request).unwrap_or_else(sync_error);
        self.agenda.reply_in_order(ticket, Response::Sync(response));
    }

    fn synced(&mut self, request: &SyncGroupRequest) -> Result<SyncGroupResponse, ErrorCode> {
        let id = GroupId::from(request.group_id.as_str());
        let group = self
            .durable
            .consumer_group(id.as_str())
            .ok_or(ErrorCode::UnknownMemberId)?;
        let instance = request.group_instance_id.as_deref();
        let (member_id, member, classic) = classic_member(group, &request.member_id, instance)?;
        if member.current.epoch.0 != request.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        let protocol = classic.protocols.first().ok_or(ErrorCode::InconsistentGroupProtocol)?;
        let differs = |asked: &Option<String>, ours: &str| asked.as_ref().is_some_and(|asked| asked != ours);
        if differs(&request.protocol_type, CONSUMER) || differs(&request.protocol_name, &protocol.name) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if group.epoch() > member.current.epoch && member.current.state != MemberState::UnrevokedPartitions {
            let timer = Timer::ClassicJoin(id.clone(), member_id.clone());
            self.agenda.schedule_if_absent(timer, member.rebalance_timeout());
            return Err(ErrorCode::RebalanceInProgress);
        }
        let version = subscription::version(&protocol.metadata);
        let assignment = subscription::encode_assignment(version, &member.current.assigned, &self.topics)
            .map_err(|_| ErrorCode::UnknownServerError)?;
        self.agenda.cancel(Timer::ClassicSync(id.clone(), member_id.clone()));
        let session = millis(classic.session_timeout_ms);
        self.agenda
            .schedule(Timer::Session(id.clone(), member_id.clone()), session);
        Ok(SyncGroupResponse {
            error_code: ErrorCode::None.code(),
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..SyncGroupResponse::default()
        })
    }

    /// Heartbeat.
    pub(crate) fn heard_in_consumer_group(&mut self, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        let id = GroupId::from(request.group_id.as_str());
        let group = self
            .durable
            .consumer_group(id.as_str())
            .ok_or(ErrorCode::UnknownMemberId)?;
        let instance = request.group_instance_id.as_deref();
        let (member_id, member, classic) = classic_member(group, &request.member_id, instance)?;
        if member.current.epoch.0 != request.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        let session = millis(classic.session_timeout_ms);
        self.agenda
            .schedule(Timer::Session(id.clone(), member_id.clone()), session);
        // It joins again for the next epoch, to give back, or because what it waited for is free.
        let joins = member.current.epoch < group.epoch()
            || match member.current.state {
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !waits_for_others(group, member_id, member),
                MemberState::Stable | MemberState::Unknown => false,
            };
        if joins {
            let timer = Timer::ClassicJoin(id.clone(), member_id.clone());
            self.agenda.schedule_if_absent(timer, member.rebalance_timeout());
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// LeaveGroup; `None` if it is answered when the members are gone.
    pub(crate) fn leave_consumer_group(
        &mut self,
        id: &GroupId,
        leaving: Vec<MemberIdentity>,
        answer: impl FnOnce(Vec<MemberResponse>) -> Response,
        ticket: Ticket,
    ) {
        let mut gone: Vec<MemberId> = Vec::new();
        let mut responses = Vec::new();
        let group = self.durable.consumer_group(id.as_str());
        for identity in leaving {
            let outcome = group.ok_or(ErrorCode::UnknownMemberId).and_then(|group| {
                let instance = identity.group_instance_id.as_deref();
                // An operator knows instance ids, not member ids.
                let by_instance = instance.filter(|_| identity.member_id.is_empty());
                let named = match by_instance {
                    Some(instance) => group
                        .static_member(instance)
                        .ok_or(ErrorCode::UnknownMemberId)?
                        .as_str(),
                    None => &identity.member_id,
                };
                // Of either kind: an operator removes members without asking what they speak.
                member(group, named, instance).map(|(id, _)| id.clone())
            });
            if let Ok(member) = &outcome
                && !gone.contains(member)
            {
                gone.push(member.clone());
            }
            responses.push(left(identity, outcome.map(drop)));
        }
        let response = answer(responses);
        if gone.is_empty() {
            return self.agenda.reply_in_order(ticket, response);
        }
        let then = Pending::Consumer {
            group: id.clone(),
            ticket,
            response,
        };
        self.fence(id, &gone, then);
    }
}

/// A member that is who it says it is.
fn member<'a>(
    group: &'a ConsumerGroup,
    id: &str,
    instance: Option<&str>,
) -> Result<(&'a MemberId, &'a ConsumerMember), ErrorCode> {
    if let Some(instance) = instance {
        bearer(group, instance, id).map_err(|refusal| refusal.error)?;
    }
    group
        .members()
        .find(|(known, _)| known.as_str() == id)
        .ok_or(ErrorCode::UnknownMemberId)
}

/// One that speaks the classic protocol.
fn classic_member<'a>(
    group: &'a ConsumerGroup,
    id: &str,
    instance: Option<&str>,
) -> Result<(&'a MemberId, &'a ConsumerMember, &'a ClassicMemberMetadata), ErrorCode> {
    let (id, member) = member(group, id, instance)?;
    let classic = member.metadata.classic.as_ref().ok_or(ErrorCode::UnknownMemberId)?;
    Ok((id, member, classic))
}

/// Whether something of a member's target is still another's.
fn waits_for_others(group: &ConsumerGroup, id: &MemberId, member: &ConsumerMember) -> bool {
    let (_, missing) = group.target(id.as_str()).split(&member.current.assigned);
    missing.iter().any(|(topic, index)| !group.is_free(topic, index))
}
