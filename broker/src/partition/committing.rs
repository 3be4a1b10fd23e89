//! Waiting for the watermark to pass what was written.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use broker_log::dir::fs::FsDir;
use broker_replication::{Acks, LeaderState, Replica, ReplicaError};
use model::LeaderEpoch;
use protocol::error::ErrorCode;

use super::{FetchWaiter, PartitionHandle, State};
use crate::refusal::Refusal;

/// Somebody who waits for records to be committed.
pub trait Wake: Debug + Send + Sync {
    /// The watermark has passed them, or never will under this leader. Called under the partition's lock, on any thread:
    /// it only tells somebody else.
    fn wake(&self);
}

/// How much of what was appended is committed, and in which leadership it was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committing {
    /// The leadership.
    pub leader_epoch: LeaderEpoch,
    /// Everything before it is committed.
    pub high_watermark: i64,
}

impl Committing {
    /// Nothing was appended.
    pub(super) const NOTHING: Self = Self {
        leader_epoch: LeaderEpoch(-1),
        high_watermark: i64::MAX,
    };

    pub(super) fn of(replica: &Replica<FsDir>) -> Self {
        replica.leader().map_or(Self::NOTHING, |leader| Self {
            leader_epoch: leader.leader_epoch(),
            high_watermark: leader.high_watermark(),
        })
    }

    /// The offset that the watermark must reach for the record at `last_offset`; `None` if it has.
    pub fn required(&self, last_offset: i64) -> Option<i64> {
        (last_offset >= self.high_watermark).then_some(last_offset + 1)
    }
}

/// Records that were appended and are not committed yet.
#[derive(Debug, Clone)]
pub struct Uncommitted {
    /// Where.
    pub partition: Arc<PartitionHandle>,
    /// In which leadership.
    pub leader_epoch: LeaderEpoch,
    /// The offset after the last of them.
    pub required: i64,
}

impl Uncommitted {
    /// Waits until they are committed.
    ///
    /// # Errors
    /// As of [`PartitionHandle::committed`], and REQUEST_TIMED_OUT after `patience`.
    pub async fn committed(&self, patience: Duration) -> Result<(), Refusal> {
        let waiter = Arc::new(FetchWaiter::default());
        let place: Arc<dyn Wake> = Arc::new(Place(Arc::clone(&waiter)));
        let committed = async {
            loop {
                if !self
                    .partition
                    .wait_committed(self.leader_epoch, self.required, Arc::clone(&place))
                    && self.partition.committed(self.leader_epoch, self.required)?
                {
                    return Ok(());
                }
                waiter.woken().await;
            }
        };
        let committed = tokio::time::timeout(patience, committed).await;
        committed.unwrap_or_else(|_| {
            self.partition.forget_write(&place);
            Err(Refusal::new(
                ErrorCode::RequestTimedOut,
                "written, but not to every in-sync replica in time",
            ))
        })
    }
}

/// The place of a task at a partition.
#[derive(Debug)]
pub struct Place(pub Arc<FetchWaiter>);

impl Wake for Place {
    fn wake(&self) {
        self.0.wake();
    }
}

impl PartitionHandle {
    /// Lets `waiter` be woken when this leader knows what was committed before it. False if it does, or leads no more.
    pub fn wait_visible(&self, waiter: Arc<dyn Wake>) -> bool {
        let mut inner = self.inner.lock();
        let start = inner
            .leader()
            .filter(|leader| leader.visible_high_watermark().is_none())
            .map(LeaderState::epoch_start_offset);
        if let Some(start) = start {
            inner.writes.wait_for(start, waiter);
        }
        start.is_some()
    }

    /// Lets `waiter` be woken when the watermark reaches `required`, or never will in `leader_epoch`. False if that is so
    /// already: see [`Self::committed`].
    pub fn wait_committed(&self, leader_epoch: LeaderEpoch, required: i64, waiter: Arc<dyn Wake>) -> bool {
        let mut inner = self.inner.lock();
        let State::Open(replica) = &inner.replica else {
            return false;
        };
        let waits = matches!(replica.acks(leader_epoch, required), Ok(Acks::Waiting));
        if waits {
            inner.writes.wait_for(required, waiter);
        }
        waits
    }

    /// Whether everything before `required`, written in `leader_epoch`, is committed.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER once that leadership has ended; NOT_ENOUGH_REPLICAS_AFTER_APPEND.
    pub fn committed(&self, leader_epoch: LeaderEpoch, required: i64) -> Result<bool, Refusal> {
        let inner = self.inner.lock();
        let State::Open(replica) = &inner.replica else {
            return Err(ReplicaError::NotLeader.into());
        };
        match replica.acks(leader_epoch, required)? {
            Acks::Done => Ok(true),
            Acks::Waiting => Ok(false),
            Acks::TooFewAfterAppend => Err(too_few_after_append()),
        }
    }

    /// Forgets one who waits no more.
    pub fn forget_write(&self, waiter: &Arc<dyn Wake>) {
        self.inner.lock().writes.retain(|parked| !Arc::ptr_eq(parked, waiter));
    }
}

impl PartitionHandle {
    /// Waits until no live replica's log starts before `offset`; returns where the first of them starts (Kafka's
    /// `DelayedDeleteRecords`).
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER when the leadership ends, REQUEST_TIMED_OUT after `patience`.
    pub async fn deleted_everywhere(&self, offset: i64, patience: Duration) -> Result<i64, Refusal> {
        let waiter = Arc::new(FetchWaiter::default());
        let place: Arc<dyn Wake> = Arc::new(Place(Arc::clone(&waiter)));
        let deleted = async {
            loop {
                {
                    let mut inner = self.inner.lock();
                    let low_watermark = inner.replica()?.low_watermark()?;
                    if let Some(low_watermark) = low_watermark.filter(|low| *low >= offset) {
                        return Ok(low_watermark);
                    }
                    inner.deletions.wait_for(offset, Arc::clone(&place));
                }
                waiter.woken().await;
            }
        };
        let deleted = tokio::time::timeout(patience, deleted).await;
        deleted.unwrap_or_else(|_| {
            self.inner
                .lock()
                .deletions
                .retain(|parked| !Arc::ptr_eq(parked, &place));
            let message = "deleted here, but not at every replica in time";
            Err(Refusal::new(ErrorCode::RequestTimedOut, message))
        })
    }
}

pub(super) fn too_few_after_append() -> Refusal {
    let message = "written, but too few replicas are in sync now";
    Refusal::new(ErrorCode::NotEnoughReplicasAfterAppend, message)
}
