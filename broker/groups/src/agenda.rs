//! What the coordinator still has to do: timers, appends on their way, and the effects of the present turn.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use protocol::messages::offset_commit::OffsetCommitResponse;
use protocol::messages::offset_delete::OffsetDeleteResponse;

use crate::exchange::{Effects, Now, Reply, Response, Ticket, Write, WriteId};
use crate::ids::{GenerationId, GroupId, MemberId};
use crate::join::StaticRejoin;
use crate::records::GroupRecord;
use crate::settings::GroupSettings;
use crate::timers::{Timer, Timers};

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
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Agenda {
    pub(crate) settings: GroupSettings,
    /// Of the present turn.
    pub(crate) now: Now,
    timers: Timers,
    /// Ordered as they were appended, which is the order in which they are committed.
    pending: BTreeMap<WriteId, Pending>,
    next_write: u64,
    effects: Effects,
}

impl Agenda {
    pub(crate) fn new(settings: GroupSettings, now: Now) -> Self {
        Self {
            settings,
            now,
            timers: Timers::default(),
            pending: BTreeMap::new(),
            next_write: 0,
            effects: Effects::default(),
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

    pub(crate) fn write(&mut self, records: Vec<GroupRecord>, then: Pending) {
        debug_assert!(!records.is_empty(), "an append has records");
        let id = WriteId(self.next_write);
        self.next_write += 1;
        self.pending.insert(id, then);
        self.effects.writes.push(Write { id, records });
    }

    pub(crate) fn settle(&mut self, id: WriteId) -> Option<Pending> {
        self.pending.remove(&id)
    }

    pub(crate) fn settle_all(&mut self) -> impl Iterator<Item = Pending> + use<> {
        std::mem::take(&mut self.pending).into_values()
    }

    pub(crate) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }
}
