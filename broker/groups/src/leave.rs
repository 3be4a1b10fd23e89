//! LeaveGroup: members go, or an operator removes them by their instance ids.
//! Source: Kafka's `GroupMetadataManager.classicGroupLeaveToClassicGroup`.

use protocol::ErrorCode;
use protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};

use crate::agenda::Agenda;
use crate::exchange::{Context, Response, Ticket};
use crate::group::{Group, Phase};
use crate::group_coordinator::GroupCoordinator;
use crate::ids::{GroupId, MemberId};
use crate::rebalance;
use crate::timers::Timer;

/// From here on a request names several members, each with an error of its own.
const BATCH_SINCE: i16 = 3;

impl GroupCoordinator {
    pub(crate) fn leave(&mut self, context: &Context<'_>, ticket: Ticket, request: LeaveGroupRequest) {
        let group_id = GroupId::from(request.group_id.as_str());
        let leaving = if context.version >= BATCH_SINCE {
            request.members
        } else {
            vec![MemberIdentity {
                member_id: request.member_id,
                ..MemberIdentity::default()
            }]
        };
        let batched = context.version >= BATCH_SINCE;
        if self.durable.consumer_group(group_id.as_str()).is_some() {
            let answer = |members| Response::Leave(answer(batched, members));
            return self.leave_consumer_group(&group_id, leaving, answer, ticket);
        }
        let mut response = LeaveGroupResponse::default();
        if request.group_id.is_empty() {
            response.error_code = ErrorCode::InvalidGroupId.code();
        } else if let Some(group) = self.groups.get_mut(&group_id) {
            response.members = leave_all(group, &mut self.agenda, leaving);
        } else {
            response.members = leaving
                .into_iter()
                .map(|member| left(member, Err(ErrorCode::UnknownMemberId)))
                .collect();
        }
        if response.error_code == ErrorCode::None.code() {
            response = answer(batched, response.members);
        }
        self.agenda.reply(ticket, Response::Leave(response));
        self.forget_if_unused(&group_id);
    }
}

fn leave_all(group: &mut Group, agenda: &mut Agenda, leaving: Vec<MemberIdentity>) -> Vec<MemberResponse> {
    let responses: Vec<MemberResponse> = leaving
        .into_iter()
        .map(|member| {
            let outcome = leave_one(group, agenda, &member);
            left(member, outcome)
        })
        .collect();
    if responses
        .iter()
        .any(|response| response.error_code == ErrorCode::None.code())
    {
        match group.phase {
            Phase::Stable | Phase::CompletingRebalance(_) => rebalance::prepare(group, agenda),
            Phase::PreparingRebalance(_) => rebalance::complete_if_all_joined(group, agenda),
            Phase::Empty => {}
        }
    }
    responses
}

fn leave_one(group: &mut Group, agenda: &mut Agenda, leaving: &MemberIdentity) -> Result<(), ErrorCode> {
    let instance = leaving.group_instance_id.as_deref();
    let id = if leaving.member_id.is_empty() {
        // An operator knows instance ids, not member ids.
        instance
            .and_then(|instance| group.static_members.get(instance))
            .cloned()
            .ok_or(ErrorCode::UnknownMemberId)?
    } else {
        MemberId::from(leaving.member_id.as_str())
    };
    if group.is_pending(id.as_str()) {
        group.pending_join.remove(&id);
        agenda.cancel(Timer::Session(group.id.clone(), id));
        return Ok(());
    }
    group.check_member(id.as_str(), instance)?;
    rebalance::dismiss(group, agenda, &id);
    Ok(())
}

/// Before requests named several members, the one's error is the answer's.
fn answer(batched: bool, mut members: Vec<MemberResponse>) -> LeaveGroupResponse {
    let only = if batched { None } else { members.pop() };
    LeaveGroupResponse {
        error_code: only.map_or(ErrorCode::None.code(), |only| only.error_code),
        members,
        ..LeaveGroupResponse::default()
    }
}

pub(crate) fn left(member: MemberIdentity, outcome: Result<(), ErrorCode>) -> MemberResponse {
    MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: outcome.err().unwrap_or(ErrorCode::None).code(),
    }
}
