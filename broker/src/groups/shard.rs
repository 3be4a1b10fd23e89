//! One group coordinator with its partition and the clients that wait for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use broker_groups::{Context, Effects, GroupCoordinator, GroupSettings, Now, Request, Response, Ticket};
use model::LeaderEpoch;
use parking_lot::Mutex;
use protocol::ErrorCode;
use uuid::Uuid;

use super::Answer;
use super::offsets_log::{self, LoadError};
use crate::partition::{PartitionHandle, Refusal};

/// Who asks, beyond what the request says.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Version of the request.
    pub version: i16,
    /// What the client calls itself.
    pub client_id: &'a str,
    /// Where it connected from.
    pub host: &'a str,
    /// Chance, for a new member's id.
    pub fresh: Uuid,
}

/// The groups of one partition, for as long as this broker leads it in one epoch.
pub struct Shard {
    partition: Arc<PartitionHandle>,
    epoch: LeaderEpoch,
    state: Mutex<State>,
}

enum State {
    /// The partition has not been read yet.
    Loading,
    Active(Box<Active>),
    /// Another broker, or another epoch, goes on from here.
    Resigned,
}

struct Active {
    coordinator: GroupCoordinator,
    waiting: HashMap<Ticket, Answer>,
    next_ticket: u64,
}

/// Answers to be given once no lock is held.
type Answers = Vec<(Answer, Result<Response, ErrorCode>)>;

impl Shard {
    pub(super) fn new(partition: Arc<PartitionHandle>, epoch: LeaderEpoch) -> Self {
        Self {
            partition,
            epoch,
            state: Mutex::new(State::Loading),
        }
    }

    /// Whether it belongs to this life of the partition.
    pub(super) fn is_of(&self, led: &(Arc<PartitionHandle>, LeaderEpoch)) -> bool {
        Arc::ptr_eq(&self.partition, &led.0) && self.epoch == led.1
    }

    /// Whether it may be asked.
    pub fn is_loaded(&self) -> bool {
        matches!(*self.state.lock(), State::Active(_))
    }

    /// Reads the partition, unless that is done.
    pub(super) fn load(&self, settings: &GroupSettings, now: Now) -> Result<(), LoadError> {
        if !matches!(*self.state.lock(), State::Loading) {
            return Ok(());
        }
        let mut coordinator = GroupCoordinator::new(settings.clone(), now);
        offsets_log::replay(&self.partition, self.epoch, |record| coordinator.replay(&record))?;
        coordinator.loaded(now);
        let mut state = self.state.lock();
        if matches!(*state, State::Loading) {
            *state = State::Active(Box::new(Active {
                coordinator,
                waiting: HashMap::new(),
                next_ticket: 0,
            }));
        }
        Ok(())
    }

    /// Handles one request; returns when the coordinator wants to be ticked.
    pub(super) fn submit(&self, now: Now, caller: &Caller<'_>, request: Request, answer: Answer) -> Option<Duration> {
        let (answers, deadline) = match &mut *self.state.lock() {
            State::Active(active) => {
                let ticket = Ticket(active.next_ticket);
                active.next_ticket += 1;
                active.waiting.insert(ticket, answer);
                let context = Context {
                    now,
                    version: caller.version,
                    client_id: caller.client_id,
                    client_host: caller.host,
                    fresh: caller.fresh,
                };
                let effects = active.coordinator.handle(&context, ticket, request);
                let answers = active.carry_out(&self.partition, self.epoch, now, effects);
                (answers, active.coordinator.next_deadline())
            }
            State::Loading => (vec![(answer, Err(ErrorCode::CoordinatorLoadInProgress))], None),
            State::Resigned => (vec![(answer, Err(ErrorCode::NotCoordinator))], None),
        };
        give(answers);
        deadline
    }

    /// Reads what the coordinator knows. All that it knows is committed: appends here return when they are.
    pub fn read<T>(&self, read: impl FnOnce(&GroupCoordinator) -> T) -> Result<T, ErrorCode> {
        match &*self.state.lock() {
            State::Active(active) => Ok(read(&active.coordinator)),
            State::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
            State::Resigned => Err(ErrorCode::NotCoordinator),
        }
    }

    /// Does what is due; returns the next deadline.
    pub(super) fn tick(&self, now: Now) -> Option<Duration> {
        self.change(now, |coordinator| {
            let due = coordinator.next_deadline().is_some_and(|at| at <= now.monotonic);
            if due { coordinator.tick(now) } else { Effects::default() }
        })
    }

    pub(super) fn topic_deleted(&self, now: Now, topic: &str) {
        self.change(now, |coordinator| coordinator.topic_deleted(now, topic));
    }

    /// Ends it; whoever waits is sent to the next coordinator.
    pub(super) fn resign(&self) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Resigned);
        if let State::Active(active) = state {
            let Active {
                coordinator,
                mut waiting,
                ..
            } = *active;
            let Effects { replies, .. } = coordinator.resign();
            for reply in replies {
                if let Some(answer) = waiting.remove(&reply.ticket) {
                    answer(Ok(reply.response));
                }
            }
            for answer in waiting.into_values() {
                answer(Err(ErrorCode::NotCoordinator));
            }
        }
    }

    fn change(&self, now: Now, change: impl FnOnce(&mut GroupCoordinator) -> Effects) -> Option<Duration> {
        let (answers, deadline) = match &mut *self.state.lock() {
            State::Active(active) => {
                let effects = change(&mut active.coordinator);
                let answers = active.carry_out(&self.partition, self.epoch, now, effects);
                (answers, active.coordinator.next_deadline())
            }
            State::Loading | State::Resigned => return None,
        };
        give(answers);
        deadline
    }
}

impl Active {
    /// Appends, reports, and collects the answers, until the coordinator wants nothing more.
    fn carry_out(&mut self, partition: &PartitionHandle, epoch: LeaderEpoch, now: Now, effects: Effects) -> Answers {
        let mut answers = Vec::new();
        let mut rounds = vec![effects];
        while let Some(Effects { writes, replies }) = rounds.pop() {
            for write in writes {
                let appended = offsets_log::append(partition, epoch, &write.records, now.wall_ms);
                let in_log = match &appended {
                    Ok(()) => true,
                    Err(Refusal { code, .. }) => *code == ErrorCode::NotEnoughReplicasAfterAppend,
                };
                if in_log {
                    self.coordinator.appended(&write);
                }
                rounds.push(match appended {
                    // An append with all replicas returns when the high watermark has passed it.
                    Ok(()) => self.coordinator.committed(now, write.id),
                    Err(Refusal { code, message }) => {
                        tracing::warn!(?partition, %code, message, "a group's record was not committed");
                        self.coordinator.failed(now, write.id, code)
                    }
                });
            }
            for reply in replies {
                if let Some(answer) = self.waiting.remove(&reply.ticket) {
                    answers.push((answer, Ok(reply.response)));
                }
            }
        }
        answers
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({:?} in epoch {})", self.partition, self.epoch)
    }
}

fn give(answers: Answers) {
    for (answer, response) in answers {
        answer(response);
    }
}
