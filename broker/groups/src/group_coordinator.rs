//! The coordinator of the groups of one partition of `__consumer_offsets`.
//!
//! Nothing is acknowledged before its record is committed, and what a record says becomes durable state by
//! [`replay`](GroupCoordinator::replay) alone. Everything else here (phases, waiting members, timers) is lost with the
//! coordinator, and clients rebuild it by joining again.

use std::collections::HashMap;
use std::time::Duration;

use protocol::ErrorCode;

use crate::agenda::{Agenda, Pending};
use crate::durable::DurableState;
use crate::exchange::{Context, Effects, Now, Request, Response, Ticket, Write, WriteId, coordinator_error};
use crate::group::Group;
use crate::ids::{GenerationId, GroupId};
use crate::rebalance::{self, join_error, sync_error};
use crate::records::GroupRecord;
use crate::settings::GroupSettings;
use crate::timers::Timer;

/// See the module. Life: [`new`](Self::new), [`replay`](Self::replay) of the whole log, [`loaded`](Self::loaded), then
/// requests and ticks, at last [`resign`](Self::resign).
#[derive(Debug)]
pub struct GroupCoordinator {
    pub(crate) durable: DurableState,
    /// Every group that has members, expects some, or of which something durable is known.
    pub(crate) groups: HashMap<GroupId, Group>,
    pub(crate) agenda: Agenda,
}

impl GroupCoordinator {
    /// A coordinator that knows nothing yet.
    pub fn new(settings: GroupSettings, now: Now) -> Self {
        Self {
            durable: DurableState::default(),
            groups: HashMap::new(),
            agenda: Agenda::new(settings, now),
        }
    }

    /// Applies a record of the log, in order. Only before [`loaded`](Self::loaded); afterwards
    /// [`appended`](Self::appended) does it for the coordinator's own records.
    pub fn replay(&mut self, record: &GroupRecord) {
        self.durable.replay(record);
    }

    /// The log has been read to its end: groups live as their last durable assignment left them, and their members have a
    /// session timeout to be heard from.
    pub fn loaded(&mut self, now: Now) {
        self.agenda.now = now;
        for (id, metadata) in self.durable.groups() {
            let group = Group::restored(id.clone(), metadata);
            for member in group.members.keys() {
                rebalance::heard_from(&group, &mut self.agenda, member.as_str());
            }
            self.groups.insert(id.clone(), group);
        }
        for (id, _) in self.durable.groups_with_offsets() {
            if !self.groups.contains_key(id) {
                self.groups.insert(id.clone(), Group::new(id.clone(), now.wall_ms));
            }
        }
        self.schedule_expiry();
    }

    /// Handles one request. It is answered in these effects or in later ones, exactly once.
    pub fn handle(&mut self, context: &Context<'_>, ticket: Ticket, request: Request) -> Effects {
        self.agenda.now = context.now;
        match request {
            Request::Join(request) => self.join(context, ticket, request),
            Request::Sync(request) => self.sync(ticket, request),
            Request::Heartbeat(request) => self.heartbeat(ticket, &request),
            Request::Leave(request) => self.leave(context, ticket, request),
            Request::Commit(request) => self.commit(context, ticket, request),
            Request::DeleteOffsets(request) => self.delete_offsets(ticket, &request),
            Request::DeleteGroup(group) => self.delete_group(ticket, &group),
        }
        self.agenda.take_effects()
    }

    /// The records are in the log of this broker: they are what a successor would read, so they are what is true.
    pub fn appended(&mut self, write: &Write) {
        for record in &write.records {
            self.durable.replay(record);
            let (GroupRecord::Offset { group: id, .. } | GroupRecord::Group { group: id, .. }) = record;
            if self.durable.knows_nothing_of(id.as_str()) {
                if self.groups.get(id).is_some_and(Group::is_forgettable) {
                    self.groups.remove(id);
                }
            } else if !self.groups.contains_key(id) {
                let group = match self.durable.group(id.as_str()) {
                    Some(metadata) => Group::restored(id.clone(), metadata),
                    // Offsets came from a consumer that uses no group management.
                    None => Group::new(id.clone(), self.agenda.now.wall_ms),
                };
                self.groups.insert(id.clone(), group);
            }
        }
    }

    /// The high watermark has passed the records.
    pub fn committed(&mut self, now: Now, id: WriteId) -> Effects {
        self.agenda.now = now;
        match self.agenda.settle(id) {
            None | Some(Pending::Nothing) => {}
            Some(Pending::Commit { ticket, response }) => self.agenda.reply(ticket, Response::Commit(response)),
            Some(Pending::DeleteOffsets { ticket, response }) => {
                self.agenda.reply(ticket, Response::DeleteOffsets(response));
            }
            Some(Pending::DeleteGroup { ticket }) => {
                self.agenda.reply(ticket, Response::DeleteGroup(ErrorCode::None));
            }
            Some(Pending::Assignment {
                group,
                generation,
                assignments,
            }) => {
                if let Some(group) = self.groups.get_mut(&group) {
                    rebalance::assignment_committed(group, &mut self.agenda, generation, &assignments);
                }
            }
            Some(Pending::StaticRejoin(rejoin)) => self.static_rejoin_committed(*rejoin),
        }
        self.agenda.take_effects()
    }

    /// The records could not be appended, or could not be committed in time. `error` is what a producer would be told.
    pub fn failed(&mut self, now: Now, id: WriteId, error: ErrorCode) -> Effects {
        self.agenda.now = now;
        if let Some(pending) = self.agenda.settle(id) {
            self.fail(pending, error);
        }
        self.agenda.take_effects()
    }

    /// When [`tick`](Self::tick) has something to do, by the monotonic clock.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.agenda.next_deadline()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Now) -> Effects {
        self.agenda.now = now;
        while let Some(timer) = self.agenda.pop_due() {
            match timer {
                Timer::Session(group, member) => {
                    self.in_group(&group, |group, agenda| {
                        rebalance::session_expired(group, agenda, &member);
                    });
                }
                Timer::Join(group) => self.in_group(&group, rebalance::join_expired),
                Timer::Sync(group) => self.in_group(&group, rebalance::sync_expired),
                Timer::Expiry => {
                    self.expire_offsets();
                    self.schedule_expiry();
                }
            }
        }
        self.agenda.take_effects()
    }

    /// This broker no longer leads the partition: everyone who waits is sent to the next coordinator.
    pub fn resign(mut self) -> Effects {
        for pending in self.agenda.settle_all() {
            self.fail(pending, ErrorCode::NotLeaderOrFollower);
        }
        let error = ErrorCode::NotCoordinator;
        for group in self.groups.values_mut() {
            for member in group.members.values_mut() {
                if let Some(ticket) = member.awaiting_join.take() {
                    self.agenda
                        .reply(ticket, Response::Join(join_error(member.id.as_str(), error)));
                }
                if let Some(ticket) = member.awaiting_sync.take() {
                    self.agenda.reply(ticket, Response::Sync(sync_error(error)));
                }
            }
        }
        // What a failed assignment would have written belongs to the successor.
        let Effects { replies, .. } = self.agenda.take_effects();
        Effects {
            writes: Vec::new(),
            replies,
        }
    }

    /// What would survive.
    pub fn durable(&self) -> &DurableState {
        &self.durable
    }

    /// Drops a group that nobody ever joined and of which nothing is written: somebody only asked for an id, and left.
    /// A group that had members has written that it is empty, or is about to.
    pub(crate) fn forget_if_unused(&mut self, id: &GroupId) {
        let is_unused = |group: &Group| group.generation == GenerationId(0) && group.is_forgettable();
        if self.durable.knows_nothing_of(id.as_str()) && self.groups.get(id).is_some_and(is_unused) {
            self.groups.remove(id);
        }
    }

    /// Lets something happen to a group.
    fn in_group(&mut self, id: &GroupId, happen: impl FnOnce(&mut Group, &mut Agenda)) {
        if let Some(group) = self.groups.get_mut(id) {
            happen(group, &mut self.agenda);
            self.forget_if_unused(id);
        }
    }

    fn fail(&mut self, pending: Pending, error: ErrorCode) {
        let told = coordinator_error(error);
        match pending {
            Pending::Nothing => {}
            Pending::Commit { ticket, mut response } => {
                let told = if told == ErrorCode::UnknownServerError {
                    ErrorCode::InvalidCommitOffsetSize
                } else {
                    told
                };
                for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    if partition.error_code == ErrorCode::None.code() {
                        partition.error_code = told.code();
                    }
                }
                self.agenda.reply(ticket, Response::Commit(response));
            }
            Pending::DeleteOffsets { ticket, mut response } => {
                response.error_code = told.code();
                response.topics.clear();
                self.agenda.reply(ticket, Response::DeleteOffsets(response));
            }
            Pending::DeleteGroup { ticket } => self.agenda.reply(ticket, Response::DeleteGroup(told)),
            Pending::Assignment { group, generation, .. } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    rebalance::assignment_failed(group, &mut self.agenda, generation, told);
                }
            }
            Pending::StaticRejoin(rejoin) => self.static_rejoin_failed(&rejoin, error),
        }
    }
}

#[cfg(test)]
mod tests;
