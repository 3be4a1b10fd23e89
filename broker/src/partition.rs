//! One partition as the rest of the broker sees it. [`PartitionHandle`] is the only road to a log.
//!
//! A short mutex guards log and replica state together: an append, the watermark it moves and the waiters it releases
//! are one step. The lock is held for a page-cache write (microseconds) and never across a send or an await. Bytes are
//! read outside of it, through the file handle of the slice.

use std::fmt;
use std::sync::Arc;

use broker_log::dir::fs::FsDir;
use broker_log::{AppendError, AppendInfo, LogConfig, LogError, LogSlice, PartitionLog};
use broker_replication::{Acks, LeaderState, Purgatory, ReplicaView};
use model::{BrokerId, LeaderEpoch, PartitionIndex, TopicId, TopicName};
use parking_lot::Mutex;
use protocol::error::ErrorCode;

use crate::metrics::TopicMetrics;

mod offsets;
mod retention;
#[cfg(test)]
mod tests;

pub use offsets::FoundOffset;

/// A fetch that waits for records. One value is parked at every partition of its request.
#[derive(Debug, Default)]
pub struct FetchWaiter {
    notify: tokio::sync::Notify,
}

impl FetchWaiter {
    /// Wakes the fetch, from any thread; a wake-up before the wait is not lost.
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    /// Waits for [`Self::wake`].
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

/// Why a request does not get what it wants from a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For the client's program.
    pub code: ErrorCode,
    /// For the client's people; only newer versions carry it.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<&AppendError> for Refusal {
    fn from(error: &AppendError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// What a read found. `log_start_offset <= last_stable_offset <= high_watermark`.
pub struct ReadSlice {
    /// Whole batches, the first of which contains the offset; empty at the end of the log.
    pub slice: LogSlice<FsDir>,
    /// Everything before it is committed.
    pub high_watermark: i64,
    /// Everything before it is committed and of no open transaction.
    pub last_stable_offset: i64,
    /// The first offset.
    pub log_start_offset: i64,
}

/// How to read.
#[derive(Debug, Clone, Copy)]
pub struct ReadSpec {
    /// First offset wanted.
    pub offset: i64,
    /// Bytes wanted at most.
    pub max_bytes: usize,
    /// The first batch comes even if it is larger than `max_bytes`.
    pub min_one_message: bool,
    /// The leader epoch that the client believes in; -1 does not say.
    pub current_leader_epoch: i32,
}

/// What the metrics count.
#[derive(Debug, Clone, Copy, Default)]
pub struct PartitionStatus {
    /// Led here.
    pub leader: bool,
    /// Its log cannot be used.
    pub offline: bool,
    /// Led here, with an incomplete ISR.
    pub under_replicated: bool,
    /// In-sync replicas above the minimum; `None` if not led here.
    pub min_isr_margin: Option<i64>,
}

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
    inner: Mutex<Inner>,
}

struct Inner {
    log: LogState,
    role: Role,
    /// Fetches that wait for the watermark.
    fetches: Purgatory<Arc<FetchWaiter>>,
    /// What an append says, kept for its memory.
    outcomes: Vec<Result<AppendInfo, AppendError>>,
}

enum LogState {
    Open(Box<PartitionLog<FsDir>>),
    /// It could not be opened, or failed.
    Offline(LogError),
    /// The partition left this broker.
    Closed,
}

#[derive(Debug)]
enum Role {
    Leader(Box<LeaderState>),
    /// Somebody else leads, or nobody does yet.
    NotLeader,
}

impl PartitionHandle {
    /// A partition whose log was opened, or could not be. It leads nothing until it is told so.
    pub fn new(
        topic: TopicName,
        topic_id: TopicId,
        index: PartitionIndex,
        metrics: Arc<TopicMetrics>,
        log: Result<PartitionLog<FsDir>, LogError>,
    ) -> Self {
        let log = match log {
            Ok(log) => LogState::Open(Box::new(log)),
            Err(error) => LogState::Offline(error),
        };
        let inner = Inner {
            log,
            role: Role::NotLeader,
            fetches: Purgatory::default(),
            outcomes: Vec::new(),
        };
        Self {
            topic,
            topic_id,
            index,
            metrics,
            inner: Mutex::new(inner),
        }
    }

    /// Leads from now on, or goes on leading with a new state; `high_watermark` counts only at the first.
    pub fn lead(&self, local: BrokerId, view: &ReplicaView, high_watermark: i64) -> Result<(), AppendError> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let LogState::Open(log) = &mut inner.log else {
            return Ok(());
        };
        let moved = match &mut inner.role {
            Role::Leader(leader) if leader.leader_epoch() == view.leader_epoch => leader.update(view),
            role => {
                log.begin_epoch(view.leader_epoch)?;
                let start = high_watermark.max(log.log_start_offset());
                *role = Role::Leader(Box::new(LeaderState::new(local, view, log.log_end_offset(), start)));
                true
            }
        };
        if moved {
            inner.wake_fetches();
        }
        Ok(())
    }

    /// Wakes every fetch that waits here.
    pub fn wake_fetches(&self) {
        for waiter in self.inner.lock().fetches.drain() {
            waiter.wake();
        }
    }

    /// Leads no longer. Waiting requests are told at once.
    pub fn resign(&self) {
        let mut inner = self.inner.lock();
        inner.role = Role::NotLeader;
        for waiter in inner.fetches.drain() {
            waiter.wake();
        }
    }

    /// Appends batches of producers, in order, with one write. `outcomes` gets one entry per batch.
    ///
    /// With `flush.messages=1` the bytes are on the disk when this returns.
    pub fn append_as_leader(
        &self,
        batches: &mut [&mut [u8]],
        all_replicas: bool,
        now_ms: i64,
        outcomes: &mut Vec<Result<AppendInfo, Refusal>>,
    ) {
        self.append_in_epoch(batches, all_replicas, -1, now_ms, outcomes);
    }

    /// The same, only if this broker leads in that epoch: a coordinator must not write into what its successor began.
    pub fn append_in_epoch(
        &self,
        batches: &mut [&mut [u8]],
        all_replicas: bool,
        current_leader_epoch: i32,
        now_ms: i64,
        outcomes: &mut Vec<Result<AppendInfo, Refusal>>,
    ) {
        outcomes.clear();
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let leader = match inner.leader(current_leader_epoch) {
            Ok(leader) => leader,
            Err(refusal) => {
                outcomes.extend(batches.iter().map(|_| Err(refusal.clone())));
                return;
            }
        };
        if all_replicas && let Err(too_few) = leader.check_min_isr() {
            let refusal = Refusal::new(ErrorCode::NotEnoughReplicas, too_few.to_string());
            outcomes.extend(batches.iter().map(|_| Err(refusal.clone())));
            return;
        }
        let epoch = leader.leader_epoch();
        let LogState::Open(log) = &mut inner.log else {
            return;
        };
        log.append_as_leader(batches, epoch, now_ms, &mut inner.outcomes);
        let log_end_offset = log.log_end_offset();
        outcomes.extend(
            inner
                .outcomes
                .drain(..)
                .map(|outcome| outcome.map_err(|error| Refusal::from(&error))),
        );
        let Role::Leader(leader) = &mut inner.role else {
            return;
        };
        let moved = leader.appended(log_end_offset);
        if all_replicas {
            for outcome in outcomes.iter_mut() {
                // A sole replica has committed what it appended. Waiting for others comes with replication; until then
                // an acknowledgement that is not true yet is not given.
                let committed = |info: &AppendInfo| leader.acks(info.last_offset + 1) == Acks::Done;
                if outcome.as_ref().is_ok_and(|info| !committed(info)) {
                    let message = "appended here, but not by every in-sync replica";
                    *outcome = Err(Refusal::new(ErrorCode::NotEnoughReplicasAfterAppend, message));
                }
            }
        }
        if moved {
            inner.wake_fetches();
        }
    }

    /// Reads committed batches.
    pub fn read(&self, spec: ReadSpec) -> Result<ReadSlice, Refusal> {
        let mut inner = self.inner.lock();
        let leader = inner.leader(spec.current_leader_epoch)?;
        let high_watermark = leader.high_watermark();
        let log = inner.log()?;
        let slice = log.read(spec.offset, spec.max_bytes, high_watermark, spec.min_one_message)?;
        Ok(ReadSlice {
            slice,
            high_watermark,
            // Without transactions nothing is undecided.
            last_stable_offset: high_watermark,
            log_start_offset: log.log_start_offset(),
        })
    }

    /// Parks a fetch that stands at `offset` until there is more. False if there is more already, or no leader.
    pub fn wait_beyond(&self, offset: i64, waiter: &Arc<FetchWaiter>) -> bool {
        let mut inner = self.inner.lock();
        match &inner.role {
            Role::Leader(leader) if leader.high_watermark() <= offset => {
                inner.fetches.wait_for(offset.saturating_add(1), Arc::clone(waiter));
                true
            }
            Role::Leader(_) | Role::NotLeader => false,
        }
    }

    /// Forgets a fetch that was answered.
    pub fn forget(&self, waiter: &Arc<FetchWaiter>) {
        self.inner.lock().fetches.retain(|parked| !Arc::ptr_eq(parked, waiter));
    }

    /// The first offset of the log.
    pub fn log_start_offset(&self) -> Result<i64, Refusal> {
        Ok(self.inner.lock().log()?.log_start_offset())
    }

    /// The leader epoch, if this broker leads.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        match &self.inner.lock().role {
            Role::Leader(leader) => Some(leader.leader_epoch()),
            Role::NotLeader => None,
        }
    }

    /// New settings from the metadata.
    pub fn set_config(&self, config: LogConfig) {
        if let LogState::Open(log) = &mut self.inner.lock().log {
            log.set_config(config);
        }
    }

    /// For the gauges.
    pub fn status(&self) -> PartitionStatus {
        let inner = self.inner.lock();
        let leader = match &inner.role {
            Role::Leader(leader) => Some(leader),
            Role::NotLeader => None,
        };
        PartitionStatus {
            leader: leader.is_some(),
            offline: match &inner.log {
                LogState::Open(log) => log.offline().is_some(),
                LogState::Offline(_) => true,
                LogState::Closed => false,
            },
            under_replicated: leader.is_some_and(|leader| leader.is_under_replicated()),
            min_isr_margin: leader.map(|leader| leader.min_isr_margin()),
        }
    }

    /// Closes the log; later requests are refused. Returns what the checkpoints of a clean stop need.
    pub fn close(&self) -> Result<Option<CheckpointOffsets>, LogError> {
        let mut inner = self.inner.lock();
        let checkpoint = inner.checkpoint();
        inner.role = Role::NotLeader;
        for waiter in inner.fetches.drain() {
            waiter.wake();
        }
        match std::mem::replace(&mut inner.log, LogState::Closed) {
            LogState::Open(log) => {
                let recovery_point = log.close()?;
                Ok(checkpoint.map(|checkpoint| CheckpointOffsets {
                    recovery_point,
                    ..checkpoint
                }))
            }
            // Whatever it was that failed, the next start must look at the log again.
            LogState::Offline(error) => Err(error),
            LogState::Closed => Ok(None),
        }
    }
}

/// What the data directory's checkpoints say of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointOffsets {
    /// Everything before it was flushed.
    pub recovery_point: i64,
    /// The first offset.
    pub log_start_offset: i64,
    /// Known to be committed.
    pub high_watermark: Option<i64>,
}

impl Inner {
    fn log(&mut self) -> Result<&mut PartitionLog<FsDir>, Refusal> {
        match &mut self.log {
            LogState::Open(log) => Ok(log),
            LogState::Offline(error) => Err(Refusal::new(ErrorCode::KafkaStorageError, error.to_string())),
            LogState::Closed => Err(not_leader()),
        }
    }

    /// The leader state, after the checks that every client request undergoes (Kafka's `checkCurrentLeaderEpoch`).
    fn leader(&self, current_leader_epoch: i32) -> Result<&LeaderState, Refusal> {
        if let LogState::Offline(error) = &self.log {
            return Err(Refusal::new(ErrorCode::KafkaStorageError, error.to_string()));
        }
        let Role::Leader(leader) = &self.role else {
            return Err(not_leader());
        };
        let ours = leader.leader_epoch().0;
        match current_leader_epoch {
            -1 => Ok(leader),
            theirs if theirs < ours => Err(Refusal::new(
                ErrorCode::FencedLeaderEpoch,
                format!("the leader epoch is {ours}, the request believes in {theirs}"),
            )),
            theirs if theirs > ours => Err(Refusal::new(
                ErrorCode::UnknownLeaderEpoch,
                format!("the request believes in leader epoch {theirs}, this broker knows {ours}"),
            )),
            _ => Ok(leader),
        }
    }

    fn wake_fetches(&mut self) {
        if self.fetches.is_empty() {
            return;
        }
        let Role::Leader(leader) = &self.role else {
            return;
        };
        for waiter in self.fetches.reached(leader.high_watermark()) {
            waiter.wake();
        }
    }

    fn checkpoint(&self) -> Option<CheckpointOffsets> {
        let LogState::Open(log) = &self.log else {
            return None;
        };
        Some(CheckpointOffsets {
            recovery_point: log.recovery_point(),
            log_start_offset: log.log_start_offset(),
            high_watermark: match &self.role {
                Role::Leader(leader) => Some(leader.high_watermark()),
                Role::NotLeader => None,
            },
        })
    }
}

impl fmt::Debug for PartitionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionHandle({}-{})", self.topic, self.index)
    }
}

fn not_leader() -> Refusal {
    Refusal::new(
        ErrorCode::NotLeaderOrFollower,
        "this broker does not lead the partition",
    )
}
