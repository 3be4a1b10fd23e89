//! How a group moves from one generation to the next. Source: Kafka's `GroupMetadataManager`: `prepareRebalance`,
//! `completeClassicGroupJoin`, the expirations.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::join_group::JoinGroupResponse;
use protocol::messages::sync_group::SyncGroupResponse;

use crate::agenda::{Agenda, Pending};
use crate::exchange::Response;
use crate::group::{Gathering, Group, Phase};
use crate::ids::{GenerationId, MemberId};
use crate::timers::Timer;

/// The least time between two looks for static members that are missing.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// Asks everybody to join again.
pub(crate) fn prepare(group: &mut Group, agenda: &mut Agenda) {
    if let Phase::CompletingRebalance(_) = group.phase {
        reset_assignments(group, agenda, ErrorCode::RebalanceInProgress);
    }
    group.pending_sync.clear();
    agenda.cancel(Timer::Sync(group.id.clone()));

    if group.phase == Phase::Empty {
        let delay = agenda.settings.initial_rebalance_delay;
        let remaining = group.rebalance_timeout().saturating_sub(delay);
        let gathering = Gathering::Newcomers {
            more_came: false,
            delay,
            remaining,
        };
        group.enter(Phase::PreparingRebalance(gathering), agenda.now.wall_ms);
        if delay.is_zero() {
            complete_join(group, agenda);
        } else {
            agenda.schedule(Timer::Join(group.id.clone()), delay);
        }
        return;
    }

    group.enter(Phase::PreparingRebalance(Gathering::Members), agenda.now.wall_ms);
    if group.all_have_joined() {
        complete_join(group, agenda);
    } else {
        agenda.schedule(Timer::Join(group.id.clone()), group.rebalance_timeout());
    }
}

/// After a change to the members: starts a rebalance, or ends the gathering that runs if it was the last one missing.
pub(crate) fn prepare_or_complete(group: &mut Group, agenda: &mut Agenda) {
    if let Phase::PreparingRebalance(_) = group.phase {
        complete_if_all_joined(group, agenda);
    } else {
        prepare(group, agenda);
    }
}

/// Ends the gathering if nobody is missing. The first gathering of a group ends by its delay alone.
pub(crate) fn complete_if_all_joined(group: &mut Group, agenda: &mut Agenda) {
    if group.phase == Phase::PreparingRebalance(Gathering::Members) && group.all_have_joined() {
        complete_join(group, agenda);
    }
}

/// Ends the gathering: who is missing is out, unless static; the others learn the generation.
fn complete_join(group: &mut Group, agenda: &mut Agenda) {
    agenda.cancel(Timer::Join(group.id.clone()));
    let missing: Vec<MemberId> = group
        .members
        .values()
        .filter(|member| member.awaiting_join.is_none() && member.instance_id.is_none())
        .map(|member| member.id.clone())
        .collect();
    for id in missing {
        dismiss(group, agenda, &id);
    }
    if !group.members.is_empty() && !group.elect_joined_leader() {
        // Only static members are left and none is here: their session timeouts decide how long to wait.
        // A client may say 0, which must not make the timer due again in the same tick, for ever.
        let patience = group.rebalance_timeout().max(LEAST_PATIENCE);
        agenda.schedule(Timer::Join(group.id.clone()), patience);
        return;
    }

    group.next_generation(agenda.now.wall_ms);
    agenda.stats.classic_rebalances += 1;
    if group.phase == Phase::Empty {
        // If this append fails, the generation before becomes active again at the next load and times out.
        agenda.write(vec![group.to_record(&HashMap::new())], Pending::Nothing);
        return;
    }
    let ids: Vec<MemberId> = group.members.keys().cloned().collect();
    for id in ids {
        let response = group.joined(&id);
        if let Some(member) = group.members.get_mut(&id) {
            member.is_new = false;
            agenda.schedule(Timer::Session(group.id.clone(), id.clone()), member.session_timeout());
            if let Some(ticket) = member.awaiting_join.take() {
                agenda.reply(ticket, Response::Join(response));
            }
        }
        group.pending_sync.insert(id);
    }
    agenda.schedule(Timer::Sync(group.id.clone()), group.rebalance_timeout());
}

/// The join timer has run out.
pub(crate) fn join_expired(group: &mut Group, agenda: &mut Agenda) {
    let Phase::PreparingRebalance(gathering) = group.phase else {
        return;
    };
    if let Gathering::Newcomers {
        more_came: true,
        delay,
        remaining,
    } = gathering
        && !remaining.is_zero()
    {
        let next = agenda.settings.initial_rebalance_delay.min(remaining);
        group.phase = Phase::PreparingRebalance(Gathering::Newcomers {
            more_came: false,
            delay: next,
            remaining: remaining.saturating_sub(delay),
        });
        agenda.schedule(Timer::Join(group.id.clone()), next);
        return;
    }
    complete_join(group, agenda);
}

/// The sync timer has run out: who never asked for its assignment is out.
pub(crate) fn sync_expired(group: &mut Group, agenda: &mut Agenda) {
    if !matches!(group.phase, Phase::CompletingRebalance(_) | Phase::Stable) || group.pending_sync.is_empty() {
        return;
    }
    for id in std::mem::take(&mut group.pending_sync) {
        dismiss(group, agenda, &id);
    }
    prepare(group, agenda);
}

/// A member has been silent too long, or never came back for its id.
pub(crate) fn session_expired(group: &mut Group, agenda: &mut Agenda, id: &MemberId) {
    if group.pending_join.remove(id) {
        complete_now_if_all_joined(group, agenda);
        return;
    }
    let Some(member) = group.members.get(id) else { return };
    if member.is_excused_from_heartbeats() {
        // The answer that it waits for sets the timer again.
        return;
    }
    dismiss(group, agenda, id);
    match group.phase {
        Phase::Stable | Phase::CompletingRebalance(_) => prepare(group, agenda),
        Phase::PreparingRebalance(_) => complete_now_if_all_joined(group, agenda),
        Phase::Empty => {}
    }
}

/// As [`complete_if_all_joined`], for the first gathering too: nobody is left who could be waited for.
fn complete_now_if_all_joined(group: &mut Group, agenda: &mut Agenda) {
    if matches!(group.phase, Phase::PreparingRebalance(_)) && group.all_have_joined() {
        complete_join(group, agenda);
    }
}

/// Removes a member. What it still waits for is answered with UNKNOWN_MEMBER_ID, so that it joins anew if it is alive.
pub(crate) fn dismiss(group: &mut Group, agenda: &mut Agenda, id: &MemberId) {
    agenda.cancel(Timer::Session(group.id.clone(), id.clone()));
    if let Some(mut member) = group.remove(id.as_str()) {
        if let Some(ticket) = member.awaiting_join.take() {
            agenda.reply(ticket, Response::Join(join_error("", ErrorCode::UnknownMemberId)));
        }
        if let Some(ticket) = member.awaiting_sync.take() {
            agenda.reply(ticket, Response::Sync(sync_error(ErrorCode::UnknownMemberId)));
        }
    }
}

/// The leader's assignment is durable: everyone may know it.
pub(crate) fn assignment_committed(
    group: &mut Group,
    agenda: &mut Agenda,
    generation: GenerationId,
    assignments: &HashMap<MemberId, Bytes>,
) {
    // Meanwhile somebody may have joined, left or died; then a later generation will be assigned.
    if !matches!(group.phase, Phase::CompletingRebalance(_)) || group.generation != generation {
        return;
    }
    let (protocol_type, protocol_name) = (group.protocol_type.clone(), group.protocol.clone());
    for member in group.members.values_mut() {
        member.assignment = assignments.get(&member.id).cloned().unwrap_or_default();
        if let Some(ticket) = member.awaiting_sync.take() {
            let response = SyncGroupResponse {
                error_code: ErrorCode::None.code(),
                protocol_type: protocol_type.clone(),
                protocol_name: protocol_name.clone(),
                assignment: member.assignment.clone(),
                ..SyncGroupResponse::default()
            };
            agenda.reply(ticket, Response::Sync(response));
            agenda.schedule(
                Timer::Session(group.id.clone(), member.id.clone()),
                member.session_timeout(),
            );
        }
    }
    group.enter(Phase::Stable, agenda.now.wall_ms);
}

/// The leader's assignment could not be written: everyone joins again.
pub(crate) fn assignment_failed(group: &mut Group, agenda: &mut Agenda, generation: GenerationId, error: ErrorCode) {
    if matches!(group.phase, Phase::CompletingRebalance(_)) && group.generation == generation {
        reset_assignments(group, agenda, error);
        prepare(group, agenda);
    }
}

/// Takes back what was assigned, and tells those who wait for it why.
fn reset_assignments(group: &mut Group, agenda: &mut Agenda, error: ErrorCode) {
    for member in group.members.values_mut() {
        member.assignment = Bytes::new();
        if let Some(ticket) = member.awaiting_sync.take() {
            agenda.reply(ticket, Response::Sync(sync_error(error)));
            agenda.schedule(
                Timer::Session(group.id.clone(), member.id.clone()),
                member.session_timeout(),
            );
        }
    }
}

/// Sets a member's session anew: it has given a sign of life.
pub(crate) fn heard_from(group: &Group, agenda: &mut Agenda, id: &str) {
    if let Some(member) = group.members.get(id) {
        agenda.schedule(
            Timer::Session(group.id.clone(), member.id.clone()),
            member.session_timeout(),
        );
    }
}

/// Bounds the wait of a new member, which cannot send heartbeats.
pub(crate) fn expect_new_member(group: &Group, agenda: &mut Agenda, id: &MemberId, within: Duration) {
    agenda.schedule(Timer::Session(group.id.clone(), id.clone()), within);
}

pub(crate) fn join_error(member_id: &str, error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.code(),
        member_id: member_id.to_owned(),
        protocol_name: None,
        ..JoinGroupResponse::default()
    }
}

pub(crate) fn sync_error(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: error.code(),
        ..SyncGroupResponse::default()
    }
}
