//! One group coordinator with its partition and the clients that wait for it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker_groups::{
    Context, Effects, GroupCoordinator, GroupSettings, GroupStats, Now, Request, Response, Ticket, WriteId,
};
use model::LeaderEpoch;
use parking_lot::Mutex;
use protocol::ErrorCode;
use uuid::Uuid;

use super::offsets_log::{self, LoadError};
use super::{Answer, Bell, Cluster};
use crate::partition::{PartitionHandle, Uncommitted, Wake};
use crate::refusal::Refusal;

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
    /// Rung when more is committed.
    bell: Arc<Bell>,
    state: Mutex<State>,
    /// Its log is much longer than what is alive in it.
    oversized: AtomicBool,
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
    /// Bytes of the log.
    log_bytes: u64,
    /// Bytes of what was alive in it when that was last written; 0 if it never was.
    live_bytes: u64,
    /// Every record of the log was. Others, of a kind that comes later or damaged, are not to be deleted.
    understood: bool,
    waiting: HashMap<Ticket, Answer>,
    next_ticket: u64,
    /// What was appended and is not committed yet, in the order of the log: the offset that the watermark must reach.
    uncommitted: VecDeque<(WriteId, i64)>,
    /// A snapshot of what is alive that is not committed yet.
    snapshot: Option<Snapshot>,
}

/// See [`Shard::condense`].
#[derive(Debug, Clone, Copy)]
struct Snapshot {
    first_offset: i64,
    required: i64,
}

/// The special timestamp of ListOffsets: the end.
const LATEST: i64 = -1;
/// A log is condensed when it is this long, in bytes, and so many times as long as what is alive in it.
const MIN_CONDENSED: u64 = 16 << 20;
const CONDENSED_FACTOR: u64 = 4;

/// What is so of the cluster now.
fn tell(coordinator: &mut GroupCoordinator, cluster: &Cluster) {
    coordinator.topics_changed(Arc::clone(&cluster.topics));
    coordinator.own_settings_changed(Arc::clone(&cluster.own_settings));
}

/// Answers to be given once no lock is held.
type Answers = Vec<(Answer, Result<Response, ErrorCode>)>;

impl Shard {
    pub(super) fn new(partition: Arc<PartitionHandle>, epoch: LeaderEpoch, bell: Arc<Bell>) -> Self {
        Self {
            partition,
            epoch,
            bell,
            state: Mutex::new(State::Loading),
            oversized: AtomicBool::new(false),
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
    pub(super) fn load(&self, settings: &GroupSettings, cluster: &Cluster, now: Now) -> Result<(), LoadError> {
        if !matches!(*self.state.lock(), State::Loading) {
            return Ok(());
        }
        let mut coordinator = GroupCoordinator::new(settings.clone(), now);
        // All that the leaders before had acknowledged is below the watermark as soon as it is visible, and nothing else.
        let replayed = offsets_log::replay(&self.partition, self.epoch, |record| coordinator.replay(&record));
        if replayed.as_ref().is_err_and(LoadError::is_early) && !self.partition.wait_visible(self.wake()) {
            self.bell.wake();
        }
        let (log_bytes, understood) = replayed?;
        tell(&mut coordinator, cluster);
        coordinator.loaded(now);
        let mut state = self.state.lock();
        if matches!(*state, State::Loading) {
            *state = State::Active(Box::new(Active {
                coordinator,
                log_bytes,
                live_bytes: 0,
                understood,
                waiting: HashMap::new(),
                next_ticket: 0,
                uncommitted: VecDeque::new(),
                snapshot: None,
            }));
            self.oversized.store(log_bytes > MIN_CONDENSED, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Handles one request; returns when the coordinator wants to be ticked.
    pub(super) fn submit(
        &self,
        now: Now,
        cluster: &Cluster,
        caller: &Caller<'_>,
        request: Request,
        answer: Answer,
    ) -> Option<Duration> {
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
                tell(&mut active.coordinator, cluster);
                let effects = active.coordinator.handle(&context, ticket, request);
                let answers = active.carry_out(self, now, effects);
                if active.is_oversized() {
                    self.oversized.store(true, Ordering::Relaxed);
                }
                (answers, active.coordinator.next_deadline())
            }
            State::Loading => (vec![(answer, Err(ErrorCode::CoordinatorLoadInProgress))], None),
            State::Resigned => (vec![(answer, Err(ErrorCode::NotCoordinator))], None),
        };
        give(answers);
        deadline
    }

    /// Reads what the coordinator knows. The end of it may not be committed yet: see [`Self::read_committed`].
    pub fn read<T>(&self, read: impl FnOnce(&GroupCoordinator) -> T) -> Result<T, ErrorCode> {
        match &*self.state.lock() {
            State::Active(active) => Ok(read(&active.coordinator)),
            State::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
            State::Resigned => Err(ErrorCode::NotCoordinator),
        }
    }

    /// Reads what the coordinator knows, and what must be committed before that may be told.
    pub fn read_committed<T>(
        &self,
        read: impl FnOnce(&GroupCoordinator) -> T,
    ) -> Result<(T, Option<Uncommitted>), ErrorCode> {
        match &*self.state.lock() {
            State::Active(active) => {
                let uncommitted = active.uncommitted.back().map(|(_, required)| Uncommitted {
                    partition: Arc::clone(&self.partition),
                    leader_epoch: self.epoch,
                    required: *required,
                });
                Ok((read(&active.coordinator), uncommitted))
            }
            State::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
            State::Resigned => Err(ErrorCode::NotCoordinator),
        }
    }

    /// Answers what has been committed since.
    pub(super) fn settle(&self, now: Now) -> Option<Duration> {
        let (answers, deadline) = match &mut *self.state.lock() {
            State::Active(active) if !active.uncommitted.is_empty() => {
                (active.settle(self, now), active.coordinator.next_deadline())
            }
            _ => return None,
        };
        give(answers);
        deadline
    }

    fn wake(&self) -> Arc<dyn Wake> {
        Arc::<Bell>::clone(&self.bell)
    }

    /// Does what is due; returns the next deadline.
    pub(super) fn tick(&self, now: Now) -> Option<Duration> {
        self.change(now, |coordinator| {
            let due = coordinator.next_deadline().is_some_and(|at| at <= now.monotonic);
            if due { coordinator.tick(now) } else { Effects::default() }
        })
    }

    pub(super) fn cluster_changed(&self, cluster: &Cluster) {
        if let State::Active(active) = &mut *self.state.lock() {
            tell(&mut active.coordinator, cluster);
        }
    }

    pub(super) fn topic_deleted(&self, now: Now, topic: &str) {
        self.change(now, |coordinator| coordinator.topic_deleted(now, topic));
    }

    /// Whether [`condense`](Self::condense) is due.
    pub(super) fn is_oversized(&self) -> bool {
        self.oversized.load(Ordering::Relaxed)
    }

    /// Writes what is alive anew, if the log is much longer than that. Returns the offset before which nothing is needed any
    /// more: all of it is said again behind it, committed. A crash at any moment leaves a log that says the same.
    ///
    /// Until the log is compacted record by record, this is what bounds it. The records are Kafka's, and so is the log.
    pub(super) fn condense(&self, now: Now) -> Option<(Arc<PartitionHandle>, i64)> {
        let mut state = self.state.lock();
        let State::Active(active) = &mut *state else {
            return None;
        };
        if let Some(snapshot) = active.snapshot {
            return match self.partition.committed(self.epoch, snapshot.required) {
                Ok(true) => {
                    active.snapshot = None;
                    Some((Arc::clone(&self.partition), snapshot.first_offset))
                }
                // Its committing rings the bell. A leadership that ends takes the shard with it.
                Ok(false) | Err(_) => None,
            };
        }
        self.oversized.store(false, Ordering::Relaxed);
        if !active.is_oversized() {
            return None;
        }
        let records = active.coordinator.durable().records();
        // Under the lock: nothing may be appended between a record and the end of the snapshot. It begins a segment, so that
        // those before it can go.
        let rolled = self.partition.roll();
        let appended =
            rolled.and_then(|()| offsets_log::append_snapshot(&self.partition, self.epoch, records, now.wall_ms));
        match appended {
            Ok(Some(snapshot)) => {
                active.log_bytes = snapshot.bytes;
                active.live_bytes = snapshot.bytes;
                if let Some(required) = snapshot.required {
                    active.snapshot = Some(Snapshot {
                        first_offset: snapshot.first_offset,
                        required,
                    });
                    self.oversized.store(true, Ordering::Relaxed);
                    if !self.partition.wait_committed(self.epoch, required, self.wake()) {
                        self.bell.wake();
                    }
                    return None;
                }
                Some((Arc::clone(&self.partition), snapshot.first_offset))
            }
            // Nothing is alive: everything may go.
            Ok(None) => {
                active.log_bytes = 0;
                let end = self.partition.find_offset(LATEST, self.epoch.0).ok()?;
                Some((Arc::clone(&self.partition), end.offset))
            }
            Err(Refusal { code, message, .. }) => {
                tracing::warn!(shard = ?self, %code, message, "the log of the groups is not condensed");
                // It is tried again when the log has doubled.
                active.live_bytes = active.log_bytes / 2;
                None
            }
        }
    }

    /// Ends it; whoever waits is sent to the next coordinator. Returns what it had counted.
    pub(super) fn resign(&self) -> GroupStats {
        let state = std::mem::replace(&mut *self.state.lock(), State::Resigned);
        if let State::Active(active) = state {
            let Active {
                coordinator,
                mut waiting,
                ..
            } = *active;
            let stats = coordinator.stats();
            let Effects { replies, .. } = coordinator.resign();
            for reply in replies {
                if let Some(answer) = waiting.remove(&reply.ticket) {
                    answer(Ok(reply.response));
                }
            }
            for answer in waiting.into_values() {
                answer(Err(ErrorCode::NotCoordinator));
            }
            return stats;
        }
        GroupStats::default()
    }

    fn change(&self, now: Now, change: impl FnOnce(&mut GroupCoordinator) -> Effects) -> Option<Duration> {
        let (answers, deadline) = match &mut *self.state.lock() {
            State::Active(active) => {
                let effects = change(&mut active.coordinator);
                let answers = active.carry_out(self, now, effects);
                (answers, active.coordinator.next_deadline())
            }
            State::Loading | State::Resigned => return None,
        };
        give(answers);
        deadline
    }
}

impl Active {
    fn is_oversized(&self) -> bool {
        self.understood && self.log_bytes > MIN_CONDENSED && self.log_bytes / CONDENSED_FACTOR >= self.live_bytes
    }

    /// Appends, reports, and collects the answers, until the coordinator wants nothing more.
    fn carry_out(&mut self, shard: &Shard, now: Now, effects: Effects) -> Answers {
        let mut answers = Vec::new();
        let mut rounds = vec![effects];
        while let Some(Effects { writes, replies }) = rounds.pop() {
            for write in writes {
                match offsets_log::append(&shard.partition, shard.epoch, &write.records, now.wall_ms) {
                    Ok(appended) => {
                        self.log_bytes += appended.bytes;
                        self.coordinator.appended(&write);
                        match appended.required {
                            // What was appended before it is committed with it.
                            None => rounds.push(self.coordinator.committed(now, write.id)),
                            Some(required) => {
                                self.uncommitted.push_back((write.id, required));
                                if !shard.partition.wait_committed(shard.epoch, required, shard.wake()) {
                                    shard.bell.wake();
                                }
                            }
                        }
                    }
                    Err(Refusal { code, message, .. }) => {
                        tracing::warn!(partition = ?shard.partition, %code, message, "a group's record was not written");
                        rounds.push(self.coordinator.failed(now, write.id, code));
                    }
                }
            }
            for reply in replies {
                if let Some(answer) = self.waiting.remove(&reply.ticket) {
                    answers.push((answer, Ok(reply.response)));
                }
            }
        }
        answers
    }

    /// Reports what has been committed since, in the order of the log.
    fn settle(&mut self, shard: &Shard, now: Now) -> Answers {
        let mut answers = Vec::new();
        while let Some((id, required)) = self.uncommitted.front().copied() {
            let effects = match shard.partition.committed(shard.epoch, required) {
                Ok(false) => break,
                Ok(true) => self.coordinator.committed(now, id),
                Err(Refusal { code, .. }) => self.coordinator.failed(now, id, code),
            };
            self.uncommitted.pop_front();
            answers.extend(self.carry_out(shard, now, effects));
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
