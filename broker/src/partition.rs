//! One partition as the rest of the broker sees it. [`PartitionHandle`] is the only road to a log.
//!
//! What a replica does is decided in [`Replica`]; here are its lock, those who wait for it, and what is counted.
//!
//! A short mutex guards log and replica state together: an append, the watermark it moves and the waiters it releases
//! are one step. The lock is held for a page-cache write (microseconds) and never across a send or an await. Bytes are
//! read outside of it, through the file handle of the slice.

use std::fmt;
use std::sync::Arc;

use broker_log::dir::fs::FsDir;
use broker_log::{AppendError, AppendInfo, LogConfig, LogError, PartitionLog};
use broker_replication::{Acks, IsrProposed, LeaderState, Purgatory, Replica, ReplicaError, ReplicaView};
use model::{BrokerId, LeaderEpoch, LogEnd, PartitionIndex, TopicId, TopicName};
use parking_lot::Mutex;
use protocol::error::ErrorCode;

use crate::clock::monotonic_ms;
use crate::metrics::TopicMetrics;
use crate::refusal::Refusal;
use crate::throttle::Throttled;

mod committing;
mod fetching;
mod figures;
mod following;
mod isr_wanted;
mod offsets;
mod refused;
mod retention;
#[cfg(test)]
mod tests;

pub use broker_replication::{CheckpointOffsets, FollowerReader, FoundOffset, ReadSpec, Reader};
pub use committing::{Committing, Place, Uncommitted, Wake};
pub use fetching::FetchWaiter;
pub use figures::{IsrChange, PartitionLook, PartitionStatus};
pub use isr_wanted::IsrWanted;
use refused::RefusedBatches;

/// What a read of this broker's disk found.
pub type ReadSlice = broker_replication::ReadSlice<FsDir>;

/// Outcomes of one append whose memory a partition keeps for the next.
const KEPT_OUTCOMES: usize = 16;

/// A partition with a replica on this broker.
pub struct PartitionHandle {
    /// Its topic.
    pub topic: TopicName,
    /// Its topic's id.
    pub topic_id: TopicId,
    /// Its number.
    pub index: PartitionIndex,
    /// The topic's counters.
    pub metrics: Arc<TopicMetrics>,
    /// Where it is said that other in-sync replicas may be wanted.
    isr_wanted: Arc<IsrWanted>,
    /// How fast replicas that are not in sync may copy it.
    pub throttled: Throttled,
    inner: Mutex<Inner>,
}

struct Inner {
    replica: State,
    /// Fetches of consumers: they wait for the watermark.
    fetches: Purgatory<Arc<FetchWaiter>>,
    /// Fetches of followers: they wait for the log end.
    follower_fetches: Purgatory<Arc<FetchWaiter>>,
    /// Writes that wait for the watermark.
    writes: Purgatory<Arc<dyn Wake>>,
    /// Deletions that wait for the low watermark.
    deletions: Purgatory<Arc<dyn Wake>>,
    refused: RefusedBatches,
    /// Where the log may start, since the leader's does. It is let to from time to time.
    leaders_log_start: i64,
}

enum State {
    Open(Box<Replica<FsDir>>),
    /// It could not be opened, or failed.
    Offline(LogError),
    /// The partition left this broker.
    Closed,
}

impl PartitionHandle {
    /// A partition whose log was opened, or could not be. It leads nothing until it is told so. `high_watermark` is what
    /// the checkpoint of the last life says.
    pub fn new(
        topic: TopicName,
        topic_id: TopicId,
        index: PartitionIndex,
        metrics: Arc<TopicMetrics>,
        isr_wanted: Arc<IsrWanted>,
        high_watermark: i64,
        log: Result<PartitionLog<FsDir>, LogError>,
    ) -> Self {
        let replica = match log {
            Ok(log) => State::Open(Box::new(Replica::new(log, high_watermark))),
            Err(error) => State::Offline(error),
        };
        let inner = Inner {
            replica,
            fetches: Purgatory::default(),
            follower_fetches: Purgatory::default(),
            writes: Purgatory::default(),
            deletions: Purgatory::default(),
            refused: RefusedBatches::default(),
            leaders_log_start: 0,
        };
        Self {
            topic,
            topic_id,
            index,
            metrics,
            isr_wanted,
            throttled: Throttled::default(),
            inner: Mutex::new(inner),
        }
    }

    /// Leads from now on, or goes on leading with a new state.
    pub fn lead(&self, local: BrokerId, view: &ReplicaView) -> Result<IsrChange, ReplicaError> {
        let mut inner = self.inner.lock();
        let State::Open(replica) = &mut inner.replica else {
            return Ok(IsrChange::default());
        };
        let change = replica
            .leader()
            .map(|leader| IsrChange::between(leader.isr(), &view.isr));
        let led = replica.leader().map(LeaderState::leader_epoch);
        let moved = replica.lead(local, view, monotonic_ms())?;
        if led.is_some_and(|led| led != view.leader_epoch) {
            // What was written in the epoch before is no longer ours to acknowledge.
            inner.drain();
        } else if moved {
            inner.wake_committed();
        }
        // A replica that does not live any more is waited for no longer.
        inner.wake_deletions();
        Ok(change.unwrap_or_default())
    }

    /// The in-sync replicas to propose now, if there are any to propose.
    pub fn propose_isr(&self, max_lag_ms: i64) -> Option<IsrProposed> {
        let mut inner = self.inner.lock();
        let State::Open(replica) = &mut inner.replica else {
            return None;
        };
        let proposed = replica.propose(monotonic_ms(), max_lag_ms)?;
        // Writes may wait for whoever is proposed: no throttle holds them back from now on.
        for waiter in inner.follower_fetches.drain() {
            waiter.wake();
        }
        Some(proposed)
    }

    /// A proposal failed, or nobody answered; it stays in doubt, and another may follow after `wait_ms`.
    pub fn isr_proposal_failed(&self, proposed: &IsrProposed, wait_ms: i64) {
        if let State::Open(replica) = &mut self.inner.lock().replica {
            replica.proposal_failed(proposed, monotonic_ms(), wait_ms);
        }
    }

    /// Whether a proposal is in doubt: no record has ended it yet.
    pub fn isr_is_in_doubt(&self) -> bool {
        self.inner.lock().leader().is_some_and(LeaderState::isr_is_in_doubt)
    }

    /// Whether a follower's fetch counts against the throttle of leaders: a replica that a write waits for is never slowed down.
    pub fn throttles(&self, follower: BrokerId) -> bool {
        let is_behind = |leader: &LeaderState| !leader.waits_for(follower);
        self.throttled.as_leader() && self.inner.lock().leader().is_some_and(is_behind)
    }

    /// Wakes every fetch that waits here.
    pub fn wake_fetches(&self) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        for waiter in inner.fetches.drain().into_iter().chain(inner.follower_fetches.drain()) {
            waiter.wake();
        }
    }

    /// Leads no longer. Waiting requests are told at once.
    pub fn resign(&self) {
        let mut inner = self.inner.lock();
        if let State::Open(replica) = &mut inner.replica {
            replica.resign();
        }
        inner.drain();
    }

    /// Appends batches of producers, in order, with one write. `outcomes` gets one entry per batch.
    ///
    /// With `flush.messages=1` the bytes are on the disk when this returns. What is returned says which of it is committed.
    pub fn append_as_leader(
        &self,
        batches: &mut [&mut [u8]],
        all_replicas: bool,
        now_ms: i64,
        outcomes: &mut Vec<Result<AppendInfo, Refusal>>,
    ) -> Committing {
        self.append_in_epoch(batches, all_replicas, -1, now_ms, outcomes)
    }

    /// The same, only if this broker leads in that epoch: a coordinator must not write into what its successor began.
    pub fn append_in_epoch(
        &self,
        batches: &mut [&mut [u8]],
        all_replicas: bool,
        current_leader_epoch: i32,
        now_ms: i64,
        outcomes: &mut Vec<Result<AppendInfo, Refusal>>,
    ) -> Committing {
        outcomes.clear();
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let appended = inner.replica.replica().and_then(|replica| {
            let moved = replica.append_as_leader(batches, all_replicas, current_leader_epoch, now_ms)?;
            Ok((replica, moved))
        });
        let (replica, moved) = match appended {
            Ok(appended) => appended,
            Err(refusal) => {
                inner.refused.note(batches, refusal.code, now_ms);
                outcomes.extend(batches.iter().map(|_| Err(refusal.clone())));
                return Committing::NOTHING;
            }
        };
        let refused = &inner.refused;
        let high_watermark = replica.high_watermark();
        let appended = replica.outcomes();
        outcomes.extend(appended.drain(..).map(|outcome| {
            outcome.map_err(|error| match error {
                // It stands for an acknowledgement.
                AppendError::DuplicateSequence { before_offset, .. }
                    if all_replicas && high_watermark < before_offset =>
                {
                    Refusal::new(ErrorCode::RequestTimedOut, "written before, and not committed yet")
                }
                AppendError::OutOfOrderSequence {
                    producer_id,
                    found,
                    expected,
                } => match refused.reason(producer_id, expected, found, now_ms) {
                    Some(code) => Refusal::new(code, "it comes after a batch that was refused"),
                    None => Refusal::from(&error),
                },
                error => Refusal::from(&error),
            })
        }));
        appended.shrink_to(KEPT_OUTCOMES);
        let committing = Committing::of(replica);
        if all_replicas && let Some(leader) = replica.leader() {
            for outcome in outcomes.iter_mut() {
                // Only a batch that was here before can be committed in front of an in-sync set that is too small.
                let acks = outcome.as_ref().map(|info| leader.acks(info.last_offset + 1));
                if matches!(acks, Ok(Acks::TooFewAfterAppend)) {
                    *outcome = Err(committing::too_few_after_append());
                }
            }
        }
        if moved {
            inner.wake_committed();
        }
        inner.wake_followers();
        committing
    }

    /// The first offset of the log.
    pub fn log_start_offset(&self) -> Result<i64, Refusal> {
        Ok(self.inner.lock().replica()?.log().log_start_offset())
    }

    /// The leader epoch, if this broker leads.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        Some(self.inner.lock().leader()?.leader_epoch())
    }

    /// New settings from the metadata.
    pub fn set_config(&self, config: LogConfig) {
        if let State::Open(replica) = &mut self.inner.lock().replica {
            replica.log_mut().set_config(config);
        }
    }

    /// Begins a new segment at the end: what is there now can go as a whole later.
    pub fn roll(&self) -> Result<(), Refusal> {
        Ok(self.inner.lock().replica()?.log_mut().roll_active()?)
    }

    /// Where its log ends; `None` if it cannot be used.
    pub fn log_end(&self) -> Option<LogEnd> {
        match &self.inner.lock().replica {
            State::Open(replica) => replica.log_end(),
            State::Offline(_) | State::Closed => None,
        }
    }

    /// Closes the log; later requests are refused. Returns what the checkpoints of a clean stop need.
    pub fn close(&self) -> Result<Option<CheckpointOffsets>, LogError> {
        let mut inner = self.inner.lock();
        inner.drain();
        match std::mem::replace(&mut inner.replica, State::Closed) {
            State::Open(replica) => {
                let checkpoint = replica.checkpoint();
                let recovery_point = replica.into_log().close()?;
                Ok(Some(CheckpointOffsets {
                    recovery_point,
                    ..checkpoint
                }))
            }
            // Whatever it was that failed, the next start must look at the log again.
            State::Offline(error) => Err(error),
            State::Closed => Ok(None),
        }
    }
}

impl State {
    fn replica(&mut self) -> Result<&mut Replica<FsDir>, Refusal> {
        match self {
            Self::Open(replica) => Ok(replica),
            Self::Offline(error) => Err(Refusal::new(ErrorCode::KafkaStorageError, error.to_string())),
            Self::Closed => Err(ReplicaError::NotLeader.into()),
        }
    }
}

impl Inner {
    fn replica(&mut self) -> Result<&mut Replica<FsDir>, Refusal> {
        self.replica.replica()
    }

    fn leader(&self) -> Option<&LeaderState> {
        match &self.replica {
            State::Open(replica) => replica.leader(),
            State::Offline(_) | State::Closed => None,
        }
    }

    /// Wakes those whose offset is committed now.
    fn wake_committed(&mut self) {
        if self.fetches.is_empty() && self.writes.is_empty() {
            return;
        }
        let State::Open(replica) = &self.replica else {
            return;
        };
        let high_watermark = replica.high_watermark();
        for waiter in self.fetches.reached(high_watermark) {
            waiter.wake();
        }
        for waiter in self.writes.reached(high_watermark) {
            waiter.wake();
        }
    }

    /// Wakes those whose records are gone everywhere.
    fn wake_deletions(&mut self) {
        if self.deletions.is_empty() {
            return;
        }
        if let State::Open(replica) = &self.replica
            && let Ok(Some(low_watermark)) = replica.low_watermark()
        {
            for waiter in self.deletions.reached(low_watermark) {
                waiter.wake();
            }
        }
    }

    /// Wakes the followers that wait for what was appended.
    fn wake_followers(&mut self) {
        if self.follower_fetches.is_empty() {
            return;
        }
        if let State::Open(replica) = &self.replica {
            for waiter in self.follower_fetches.reached(replica.log().log_end_offset()) {
                waiter.wake();
            }
        }
    }

    /// Wakes everybody: what they wait for does not come here.
    fn drain(&mut self) {
        for waiter in self.fetches.drain().into_iter().chain(self.follower_fetches.drain()) {
            waiter.wake();
        }
        for waiter in self.writes.drain().into_iter().chain(self.deletions.drain()) {
            waiter.wake();
        }
    }
}

impl fmt::Debug for PartitionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionHandle({}-{})", self.topic, self.index)
    }
}
