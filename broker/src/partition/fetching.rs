//! Fetches of consumers and followers: what they read, and how they wait for more.

use std::sync::Arc;

use broker_log::LogError;
use broker_replication::{ReadSpec, Reader, ReplicaError};
use model::BrokerId;

use super::{Inner, PartitionHandle, ReadSlice, State};
use crate::clock::monotonic_ms;
use crate::refusal::Refusal;

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

impl PartitionHandle {
    /// Reads what the reader may see. May wait for the disk, and everybody who wants the partition with it.
    pub fn read(&self, spec: ReadSpec) -> Result<ReadSlice, Refusal> {
        let mut inner = self.inner.lock();
        self.note_follower(&mut inner, &spec)?;
        Ok(inner.replica()?.read(spec)?)
    }

    /// The same from memory; `None` if the disk must be waited for. See [`Self::cold_read`].
    pub fn read_cached(&self, spec: ReadSpec) -> Result<Option<ReadSlice>, Refusal> {
        let mut inner = self.inner.lock();
        self.note_follower(&mut inner, &spec)?;
        Ok(inner.replica()?.read_cached(spec)?)
    }

    /// What a follower's fetch says of it, before it is answered: the answer has the watermark that comes of it.
    fn note_follower(&self, inner: &mut Inner, spec: &ReadSpec) -> Result<(), Refusal> {
        if matches!(spec.reader, Reader::Consumer { .. }) {
            return Ok(());
        }
        let fetched = inner.replica()?.follower_fetched(spec, monotonic_ms())?;
        if fetched.watermark_moved {
            inner.wake_committed();
        }
        inner.wake_deletions();
        if fetched.may_join {
            self.isr_wanted.note(self.topic_id, self.index);
        }
        Ok(())
    }

    /// Brings what [`Self::read_cached`] missed into memory. Waits for the disk, but makes nobody else wait.
    pub fn cold_read(&self, spec: ReadSpec) -> Result<(), LogError> {
        let cold = match &self.inner.lock().replica {
            State::Open(replica) => replica.log().cold_read(spec.offset, spec.max_bytes)?,
            State::Offline(_) | State::Closed => None,
        };
        cold.map_or(Ok(()), |cold| cold.warm())
    }

    /// Parks a fetch that has seen everything below `max_offset` until there is more. False if there is more already, or
    /// no leader.
    ///
    /// A follower that was `told` a watermark waits for that to move, too: clients read there (Kafka's `DelayedFetch`).
    pub fn wait_beyond(&self, reader: Reader, max_offset: i64, told: Option<i64>, waiter: &Arc<FetchWaiter>) -> bool {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let State::Open(replica) = &inner.replica else {
            return false;
        };
        let (end, fetches) = match reader {
            Reader::Consumer { .. } => (replica.high_watermark(), &mut inner.fetches),
            Reader::Follower(_) => (replica.log().log_end_offset(), &mut inner.follower_fetches),
        };
        let served = replica.leader().is_some() || reader == Reader::Consumer { anywhere: true };
        let high_watermark = replica.high_watermark();
        if end > max_offset || !served || told.is_some_and(|told| high_watermark > told) {
            return false;
        }
        fetches.wait_for(max_offset.saturating_add(1), Arc::clone(waiter));
        if let Some(told) = told {
            inner.fetches.wait_for(told.saturating_add(1), Arc::clone(waiter));
        }
        true
    }

    /// Where the client should rather read, of the in-sync followers that `suits`: the one that has most. Kafka's
    /// `RackAwareReplicaSelector`.
    pub fn preferred_read_replica(
        &self,
        current_leader_epoch: i32,
        offset: i64,
        suits: impl Fn(BrokerId) -> bool,
    ) -> Option<BrokerId> {
        let inner = self.inner.lock();
        let State::Open(replica) = &inner.replica else {
            return None;
        };
        let replicas = replica.read_replicas(current_leader_epoch, offset).ok()?;
        replicas
            .filter(|replica| suits(replica.id))
            .max_by_key(|replica| (replica.log_end_offset, replica.caught_up_ms, replica.id))
            .map(|replica| replica.id)
    }

    /// What a client of this leader may see, if it believes in that leader epoch.
    pub fn leader_high_watermark(&self, current_leader_epoch: i32) -> Result<i64, Refusal> {
        let mut inner = self.inner.lock();
        let leader = inner.replica()?.leader_in(current_leader_epoch)?;
        Ok(leader
            .visible_high_watermark()
            .ok_or(ReplicaError::OffsetNotAvailable)?)
    }

    /// Where the leadership begins whose start is not committed yet: consumers wait for it (METADATA 13).
    pub fn awaited_epoch_start(&self) -> Option<i64> {
        let inner = self.inner.lock();
        let leader = inner.leader()?;
        let hidden = leader.visible_high_watermark().is_none();
        hidden.then(|| leader.epoch_start_offset())
    }

    /// Forgets a fetch that was answered.
    pub fn forget(&self, reader: Reader, waiter: &Arc<FetchWaiter>) {
        let mut inner = self.inner.lock();
        if matches!(reader, Reader::Follower(_)) {
            inner.follower_fetches.retain(|parked| !Arc::ptr_eq(parked, waiter));
        }
        inner.fetches.retain(|parked| !Arc::ptr_eq(parked, waiter));
    }
}
