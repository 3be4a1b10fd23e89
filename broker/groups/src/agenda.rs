//! What the coordinator still has to do: timers, appends on their way, and the effects of the present turn.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::messages::join_group::JoinGroupRequest;
use protocol::messages::offset_commit::OffsetCommitResponse;
use protocol::messages::offset_delete::OffsetDeleteResponse;

use crate::applicant::StaticRejoin;
use crate::exchange::{Context, Effects, Now, Reply, Response, Ticket, Write, WriteId};
use crate::ids::{GenerationId, GroupId, MemberId};
use crate::records::GroupRecord;
use crate::settings::GroupSettings;
use crate::stats::GroupStats;
use crate::timers::{Timer, Timers};

/// An append on its way to being committed.
#[derive(Debug)]
struct Open {
    /// It was appended: until it is committed, nobody may be told what it says. It may be long after those who asked for it
    /// were told that it is late, and a crash may still take it back.
    in_log: bool,
    then: Pending,
}

/// What happens when an append is committed, or has failed.
#[derive(Debug)]
pub(crate) enum Pending {
    /// Nobody waits for it.
    Nothing,
    /// The answer to an OffsetCommit.
    Commit {
        ticket: Ticket,
        response: OffsetCommitResponse,
    },
    /// The answer to an OffsetDelete.
    DeleteOffsets {
        ticket: Ticket,
        response: OffsetDeleteResponse,
    },
    /// The answer to a DeleteGroups.
    DeleteGroup { ticket: Ticket },
    /// The leader's assignment, which the members learn only when it is durable.
    Assignment {
        group: GroupId,
        generation: GenerationId,
        assignments: HashMap<MemberId, Bytes>,
    },
    /// A static member that came back under a new id.
    StaticRejoin(Box<StaticRejoin>),
    /// The answer of a consumer group.
    Consumer {
        group: GroupId,
        ticket: Ticket,
        response: Response,
    },
    /// A consumer group loses members without being asked.
    Fenced { group: GroupId },
    /// A classic member takes the place of the last member that was not, or comes when nobody is left: it joins the group that
    /// is classic by then.
    Rejoin(Box<Rejoin>),
}

/// A JoinGroup with its circumstances, to be handled later.
#[derive(Debug)]
pub(crate) struct Rejoin {
    pub(crate) ticket: Ticket,
    pub(crate) version: i16,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) fresh: uuid::Uuid,
    pub(crate) request: JoinGroupRequest,
}

impl Rejoin {
    pub(crate) fn new(context: &Context<'_>, ticket: Ticket, request: JoinGroupRequest) -> Self {
        Self {
            ticket,
            version: context.version,
            client_id: context.client_id.into(),
            client_host: context.client_host.into(),
            fresh: context.fresh,
            request,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Agenda {
    pub(crate) settings: GroupSettings,
    /// Of the present turn.
    pub(crate) now: Now,
    timers: Timers,
    /// Ordered as they were appended, which is the order in which they are committed.
    open: BTreeMap<WriteId, Open>,
    /// Answers that show what an append on its way says: they wait for it.
    waiting: BTreeMap<WriteId, Vec<(Ticket, Response)>>,
    next_write: u64,
    effects: Effects,
    pub(crate) stats: GroupStats,
}

impl Agenda {
    pub(crate) fn new(settings: GroupSettings, now: Now) -> Self {
        Self {
            settings,
            now,
            timers: Timers::default(),
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_write: 0,
            effects: Effects::default(),
            stats: GroupStats::default(),
        }
    }

    pub(crate) fn schedule(&mut self, timer: Timer, after: Duration) {
        self.timers.schedule(timer, self.now.monotonic.saturating_add(after));
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        self.timers.cancel(timer);
    }

    pub(crate) fn pop_due(&mut self) -> Option<Timer> {
        self.timers.pop_due(self.now.monotonic)
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.timers.next_deadline()
    }

    pub(crate) fn reply(&mut self, ticket: Ticket, response: Response) {
        self.effects.replies.push(Reply { ticket, response });
    }

    /// Answers when everything that is appended by now is committed.
    pub(crate) fn reply_in_order(&mut self, ticket: Ticket, response: Response) {
        match self.open.last_key_value() {
            None => self.reply(ticket, response),
            Some((&last, _)) => {
                self.waiting.entry(last).or_default().push((ticket, response));
                self.schedule(Timer::Answer(last, ticket), self.settings.commit_timeout);
            }
        }
    }

    /// The answers that waited for this append.
    pub(crate) fn take_waiting(&mut self, id: WriteId) -> Vec<(Ticket, Response)> {
        let answers = self.waiting.remove(&id).unwrap_or_default();
        for (ticket, _) in &answers {
            self.timers.cancel(Timer::Answer(id, *ticket));
        }
        answers
    }

    /// One answer that waited for this append, and waits no longer.
    pub(crate) fn take_answer(&mut self, id: WriteId, ticket: Ticket) -> Option<Response> {
        let answers = self.waiting.get_mut(&id)?;
        let at = answers.iter().position(|(waiting, _)| *waiting == ticket)?;
        Some(answers.remove(at).1)
    }

    /// All answers that wait for an append.
    pub(crate) fn take_all_waiting(&mut self) -> impl Iterator<Item = (Ticket, Response)> + use<> {
        std::mem::take(&mut self.waiting).into_values().flatten()
    }

    /// Forgets what time would do to a member of a consumer group.
    pub(crate) fn cancel_member(&mut self, group: &GroupId, member: &MemberId) {
        for timer in [
            Timer::Session,
            Timer::Revocation,
            Timer::ClassicJoin,
            Timer::ClassicSync,
        ] {
            self.cancel(timer(group.clone(), member.clone()));
        }
    }

    /// As [`schedule`](Self::schedule), unless it is scheduled.
    pub(crate) fn schedule_if_absent(&mut self, timer: Timer, after: Duration) {
        if !self.timers.is_scheduled(&timer) {
            self.schedule(timer, after);
        }
    }

    pub(crate) fn write(&mut self, records: Vec<GroupRecord>, then: Pending) {
        debug_assert!(!records.is_empty(), "an append has records");
        let id = WriteId(self.next_write);
        self.next_write += 1;
        self.open.insert(id, Open { in_log: false, then });
        self.schedule(Timer::Commit(id), self.settings.commit_timeout);
        self.effects.writes.push(Write { id, records });
    }

    /// The append is in the log.
    pub(crate) fn appended(&mut self, id: WriteId) {
        if let Some(open) = self.open.get_mut(&id) {
            open.in_log = true;
        }
    }

    /// The appends that are committed when this one is, in their order: the high watermark passes no other way.
    pub(crate) fn committed_with(&self, id: WriteId) -> Vec<WriteId> {
        let in_log = self.open.range(..=id).filter(|(_, open)| open.in_log);
        in_log.map(|(id, _)| *id).collect()
    }

    /// The append is committed.
    pub(crate) fn settle(&mut self, id: WriteId) -> Option<Pending> {
        self.timers.cancel(Timer::Commit(id));
        self.open.remove(&id).map(|open| open.then)
    }

    /// The append has failed, or is late. One that is in the log stays on its way.
    pub(crate) fn give_up(&mut self, id: WriteId) -> Option<Pending> {
        self.timers.cancel(Timer::Commit(id));
        match self.open.get_mut(&id) {
            Some(open) if open.in_log => Some(std::mem::replace(&mut open.then, Pending::Nothing)),
            _ => self.open.remove(&id).map(|open| open.then),
        }
    }

    pub(crate) fn settle_all(&mut self) -> impl Iterator<Item = Pending> + use<> {
        std::mem::take(&mut self.open).into_values().map(|open| open.then)
    }

    pub(crate) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }
}
