//! The coordinator of the groups of one partition of `__consumer_offsets`.
//!
//! Nothing is acknowledged before its record is committed, and what a record says becomes durable state by
//! [`replay`](GroupCoordinator::replay) alone. Everything else here (phases, waiting members, timers) is lost with the
//! coordinator, and clients rebuild it by joining again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use protocol::ErrorCode;

use crate::agenda::{Agenda, Pending, Rejoin};
use crate::durable::DurableState;
use crate::exchange::{
    Context, Effects, Now, Request, Response, Ticket, Write, WriteId, consumer_heartbeat_error, coordinator_error,
};
use crate::group::{Group, Phase};
use crate::ids::{GenerationId, GroupId};
use crate::member::millis;
use crate::rebalance::{self, join_error, sync_error};
use crate::records::GroupRecord;
use crate::settings::{ConsumerSettings, GroupSettings, OwnSettings};
use crate::stats::GroupStats;
use crate::timers::Timer;
use crate::topics::Topics;

/// See the module. Life: [`new`](Self::new), [`replay`](Self::replay) of the whole log, [`loaded`](Self::loaded), then
/// requests and ticks, at last [`resign`](Self::resign).
#[derive(Debug)]
pub struct GroupCoordinator {
    pub(crate) durable: DurableState,
    /// Every group that has members, expects some, or of which something durable is known.
    pub(crate) groups: HashMap<GroupId, Group>,
    pub(crate) agenda: Agenda,
    pub(crate) topics: Arc<Topics>,
    /// What single groups have set for themselves.
    own_settings: Arc<OwnSettings>,
    /// Grows with each change of the topics.
    pub(crate) topics_version: u64,
    /// The topics that each consumer group has looked at, by their version.
    pub(crate) topics_seen: HashMap<GroupId, u64>,
}

impl GroupCoordinator {
    /// A coordinator that knows nothing yet.
    pub fn new(settings: GroupSettings, now: Now) -> Self {
        Self {
            durable: DurableState::default(),
            groups: HashMap::new(),
            agenda: Agenda::new(settings, now),
            topics: Arc::default(),
            own_settings: Arc::default(),
            topics_version: 0,
            topics_seen: HashMap::new(),
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
            let group = revive(group, &mut self.agenda);
            self.groups.insert(id.clone(), group);
        }
        let consumer_groups: Vec<GroupId> = self.durable.consumer_groups().map(|(id, _)| id.clone()).collect();
        for id in consumer_groups {
            self.watch(&id);
        }
        for (id, _) in self.durable.groups_with_offsets() {
            if !self.groups.contains_key(id) && self.durable.consumer_group(id.as_str()).is_none() {
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
            Request::Sync(request) => self.sync(context, ticket, request),
            Request::Heartbeat(request) => self.heartbeat(ticket, &request),
            Request::Leave(request) => self.leave(context, ticket, request),
            Request::Commit(request) => self.commit(context, ticket, request),
            Request::DeleteOffsets(request) => self.delete_offsets(ticket, &request),
            Request::DeleteGroup(group) => self.delete_group(ticket, &group),
            Request::ConsumerHeartbeat(request) => self.consumer_heartbeat(context, ticket, &request),
        }
        self.agenda.take_effects()
    }

    /// The records are in the log of this broker: they are what a successor would read, so they are what is true.
    pub fn appended(&mut self, write: &Write) {
        self.agenda.appended(write.id);
        let mut written: BTreeMap<&GroupId, bool> = BTreeMap::new();
        for record in &write.records {
            self.durable.replay(record);
            let is_over = written.entry(record.group()).or_default();
            *is_over |= matches!(record, GroupRecord::Group { metadata: None, .. });
        }
        for (id, is_over) in written {
            if is_over {
                self.forget_if_over(id);
            }
            self.follow(id);
        }
    }

    /// Makes the living group be what its records say, where that is not so already. A group of which nothing is written any
    /// more stays until it is deleted or the next expiry finds it: who deletes its last offset may delete the group next.
    fn follow(&mut self, id: &GroupId) {
        if self.durable.consumer_group(id.as_str()).is_some() {
            self.groups.remove(id);
            return;
        }
        self.topics_seen.remove(id);
        if !self.groups.contains_key(id) && !self.durable.knows_nothing_of(id.as_str()) {
            let group = match self.durable.group(id.as_str()) {
                Some(metadata) => revive(Group::restored(id.clone(), metadata), &mut self.agenda),
                // Offsets came from a consumer that uses no group management.
                None => Group::new(id.clone(), self.agenda.now.wall_ms),
            };
            self.groups.insert(id.clone(), group);
        }
    }

    /// The topics of the cluster have changed.
    pub fn topics_changed(&mut self, topics: Arc<Topics>) {
        if !Arc::ptr_eq(&topics, &self.topics) && *topics != *self.topics {
            self.topics_version += 1;
        }
        self.topics = topics;
    }

    /// Groups have other settings of their own. A member learns of them with its next heartbeat, which is when they begin to
    /// count for it (as in Kafka).
    pub fn own_settings_changed(&mut self, own: Arc<OwnSettings>) {
        self.own_settings = own;
    }

    /// What has been counted since this coordinator began.
    pub fn stats(&self) -> GroupStats {
        self.agenda.stats
    }

    pub(crate) fn topics_are_news_to(&self, group: &str) -> bool {
        self.topics_seen.get(group) != Some(&self.topics_version)
    }

    /// Gives every member of a consumer group its time to be heard from, if it has none running.
    fn watch(&mut self, id: &GroupId) {
        let session = self.settings_of(id).session_timeout;
        let Some(group) = self.durable.consumer_group(id.as_str()) else {
            return;
        };
        for (member_id, member) in group.members() {
            let classic = member.metadata.classic.as_ref();
            let session = classic.map_or(session, |classic| millis(classic.session_timeout_ms));
            let timer = Timer::Session(id.clone(), member_id.clone());
            self.agenda.schedule_if_absent(timer, session);
            if classic.is_none() && !member.current.revoking.is_empty() {
                let timer = Timer::Revocation(id.clone(), member_id.clone());
                self.agenda.schedule_if_absent(timer, member.rebalance_timeout());
            }
        }
    }

    /// The high watermark has passed the records, and so all that were appended before them.
    pub fn committed(&mut self, now: Now, id: WriteId) -> Effects {
        self.agenda.now = now;
        for id in self.agenda.committed_with(id) {
            if let Some(pending) = self.agenda.settle(id) {
                self.complete(pending);
            }
            for (ticket, response) in self.agenda.take_waiting(id) {
                self.agenda.reply(ticket, response);
            }
        }
        self.agenda.take_effects()
    }

    /// The records could not be appended, or could not be committed in time. `error` is what a producer would be told.
    ///
    /// What was [`appended`](Self::appended) all the same stays on its way to being committed: answers that show it go on
    /// waiting for [`committed`](Self::committed), for a crash may yet take it back.
    pub fn failed(&mut self, now: Now, id: WriteId, error: ErrorCode) -> Effects {
        self.agenda.now = now;
        self.give_up(id, error);
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
                Timer::Session(group, member)
                | Timer::ClassicJoin(group, member)
                | Timer::ClassicSync(group, member)
                    if self.durable.consumer_group(group.as_str()).is_some() =>
                {
                    self.member_expired(&group, &member);
                }
                Timer::ClassicJoin(..) | Timer::ClassicSync(..) => {}
                Timer::Revocation(group, member) => self.revocation_expired(&group, &member),
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
                Timer::Commit(id) => self.give_up(id, ErrorCode::RequestTimedOut),
                Timer::Answer(id, ticket) => {
                    if let Some(response) = self.agenda.take_answer(id, ticket) {
                        let error = coordinator_error(ErrorCode::RequestTimedOut);
                        self.agenda.reply(ticket, with_error(response, error));
                    }
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
        for (ticket, response) in self.agenda.take_all_waiting() {
            self.agenda.reply(ticket, with_error(response, error));
        }
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

    /// Drops a group that was taken back, unless somebody has come since.
    fn forget_if_over(&mut self, id: &GroupId) {
        let is_over = self.groups.get(id).is_some_and(Group::is_forgettable);
        if is_over && self.durable.knows_nothing_of(id.as_str()) {
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

    /// What was drafted for a consumer group is perhaps not so: it looks again, and its members are watched again.
    fn undone(&mut self, group: &GroupId) {
        self.topics_seen.remove(group);
        self.watch(group);
    }

    /// What applies to one consumer group.
    pub(crate) fn settings_of(&self, group: &GroupId) -> ConsumerSettings {
        let own = self.own_settings.get(group.as_str()).copied().unwrap_or_default();
        let of_all = &self.agenda.settings;
        ConsumerSettings {
            session_timeout: own.session_timeout.unwrap_or(of_all.consumer_session_timeout),
            heartbeat_interval: own.heartbeat_interval.unwrap_or(of_all.consumer_heartbeat_interval),
        }
    }

    /// What was asked for is done.
    fn complete(&mut self, pending: Pending) {
        match pending {
            Pending::Nothing | Pending::Fenced { .. } => {}
            Pending::Consumer { ticket, response, .. } => self.agenda.reply(ticket, response),
            Pending::Rejoin(rejoin) => {
                let Rejoin {
                    ticket,
                    version,
                    client_id,
                    client_host,
                    fresh,
                    request,
                } = *rejoin;
                let context = Context {
                    now: self.agenda.now,
                    version,
                    client_id: &client_id,
                    client_host: &client_host,
                    fresh,
                };
                self.join(&context, ticket, request);
            }
            Pending::Commit { ticket, response } => self.agenda.reply(ticket, Response::Commit(response)),
            Pending::DeleteOffsets { ticket, response } => {
                self.agenda.reply(ticket, Response::DeleteOffsets(response));
            }
            Pending::DeleteGroup { ticket } => {
                self.agenda.reply(ticket, Response::DeleteGroup(ErrorCode::None));
            }
            Pending::Assignment {
                group,
                generation,
                assignments,
            } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    rebalance::assignment_committed(group, &mut self.agenda, generation, &assignments);
                }
            }
            Pending::StaticRejoin(rejoin) => self.static_rejoin_committed(*rejoin),
        }
    }

    /// Whoever waits for an append waits no longer.
    fn give_up(&mut self, id: WriteId, error: ErrorCode) {
        if let Some(pending) = self.agenda.give_up(id) {
            self.fail(pending, error);
        }
        for (ticket, response) in self.agenda.take_waiting(id) {
            self.agenda
                .reply(ticket, with_error(response, coordinator_error(error)));
        }
    }

    fn fail(&mut self, pending: Pending, error: ErrorCode) {
        let told = coordinator_error(error);
        match pending {
            Pending::Nothing => {}
            Pending::Fenced { group } => self.undone(&group),
            Pending::Consumer {
                group,
                ticket,
                response,
            } => {
                self.undone(&group);
                self.agenda.reply(ticket, with_error(response, told));
            }
            Pending::Rejoin(rejoin) => {
                self.undone(&GroupId::from(rejoin.request.group_id.as_str()));
                let response = join_error(&rejoin.request.member_id, told);
                self.agenda.reply(rejoin.ticket, Response::Join(response));
            }
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

/// A group that the log remembers: its members have a session timeout to be heard from. One that was left unsettled, because
/// it was a consumer group until then, asks them to join again.
fn revive(mut group: Group, agenda: &mut Agenda) -> Group {
    for member in group.members.keys() {
        rebalance::heard_from(&group, agenda, member.as_str());
    }
    if group.phase == Phase::Stable && group.phase_since_ms < 0 {
        rebalance::prepare(&mut group, agenda);
    }
    group
}

/// The answer that was to be, as the error that it is instead.
fn with_error(response: Response, error: ErrorCode) -> Response {
    match response {
        Response::ConsumerHeartbeat(_) => Response::ConsumerHeartbeat(consumer_heartbeat_error(error)),
        Response::Join(response) => Response::Join(join_error(&response.member_id, error)),
        Response::Sync(_) => Response::Sync(sync_error(error)),
        Response::Heartbeat(mut response) => {
            response.error_code = error.code();
            Response::Heartbeat(response)
        }
        Response::Leave(mut response) => {
            response.error_code = error.code();
            response.members.clear();
            Response::Leave(response)
        }
        Response::DeleteGroup(_) => Response::DeleteGroup(error),
        other => other,
    }
}

#[cfg(test)]
mod tests;
