//! The leader's view of a partition.
//!
//! Ordering that always holds: `high_watermark <= log_end_offset`, and the watermark never goes back.

use model::{BrokerId, LeaderEpoch, PartitionEpoch};

use crate::isr::IsrState;

/// What the metadata image says about a partition, as far as its leader needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaView {
    /// All replicas in assignment order.
    pub replicas: Vec<BrokerId>,
    /// The committed in-sync replicas.
    pub isr: Vec<BrokerId>,
    /// Epoch of the leadership.
    pub leader_epoch: LeaderEpoch,
    /// Version of this partition's state.
    pub partition_epoch: PartitionEpoch,
    /// `min.insync.replicas` of the topic, before it is bounded by the replica count.
    pub min_insync_replicas: usize,
}

/// A refusal of `acks=all` before the append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{in_sync} replicas are in sync, min.insync.replicas asks for {needed}")]
pub struct NotEnoughReplicas {
    /// Size of the in-sync set.
    pub in_sync: usize,
    /// Effective `min.insync.replicas`.
    pub needed: usize,
}

/// How far an `acks=all` request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// On every in-sync replica.
    Done,
    /// Not yet.
    Waiting,
    /// Written, but the in-sync set fell below the minimum meanwhile: NOT_ENOUGH_REPLICAS_AFTER_APPEND.
    TooFewAfterAppend,
}

#[derive(Debug, Clone)]
struct Replica {
    id: BrokerId,
    /// One past the last offset that the replica has; `None` until it fetched in this epoch.
    log_end_offset: Option<i64>,
}

/// Leader of one partition in one epoch.
#[derive(Debug, Clone)]
pub struct LeaderState {
    local: BrokerId,
    leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    /// In assignment order, the local one included.
    replicas: Vec<Replica>,
    isr: IsrState,
    min_insync_replicas: usize,
    /// Where this epoch begins in the log.
    epoch_start_offset: i64,
    log_end_offset: i64,
    high_watermark: i64,
}

impl LeaderState {
    /// Becomes leader with a log that ends at `log_end_offset`; `high_watermark` is the checkpointed one.
    pub fn new(local: BrokerId, view: &ReplicaView, log_end_offset: i64, high_watermark: i64) -> Self {
        let mut leader = Self {
            local,
            leader_epoch: view.leader_epoch,
            partition_epoch: view.partition_epoch,
            replicas: Vec::new(),
            isr: IsrState::committed(view.isr.clone()),
            min_insync_replicas: 0,
            epoch_start_offset: log_end_offset,
            log_end_offset,
            high_watermark: high_watermark.clamp(0, log_end_offset),
        };
        leader.take_replicas(view);
        leader.advance_high_watermark();
        leader
    }

    /// A record about the partition in the same leader epoch. Returns true if the watermark moved.
    pub fn update(&mut self, view: &ReplicaView) -> bool {
        let isr = std::mem::replace(&mut self.isr, IsrState::committed(Vec::new()));
        self.isr = isr.recorded(self.partition_epoch, view.partition_epoch, &view.isr);
        self.partition_epoch = self.partition_epoch.max(view.partition_epoch);
        self.take_replicas(view);
        self.advance_high_watermark()
    }

    /// The local log grew. Returns true if the watermark moved.
    pub fn appended(&mut self, log_end_offset: i64) -> bool {
        debug_assert!(log_end_offset >= self.log_end_offset, "a leader never truncates");
        self.log_end_offset = log_end_offset;
        self.advance_high_watermark()
    }

    /// A follower fetched from `log_end_offset`, so it has everything before. Returns true if the watermark moved.
    pub fn follower_fetched(&mut self, follower: BrokerId, log_end_offset: i64) -> bool {
        let bounded = log_end_offset.min(self.log_end_offset);
        if let Some(replica) = self.replicas.iter_mut().find(|r| r.id == follower) {
            replica.log_end_offset = Some(bounded);
        }
        self.advance_high_watermark()
    }

    /// Another in-sync set goes to the controller.
    pub fn proposed(&mut self, isr: &[BrokerId]) {
        let state = std::mem::replace(&mut self.isr, IsrState::committed(Vec::new()));
        self.isr = state.proposed(isr);
    }

    /// May an `acks=all` request append at all?
    pub fn check_min_isr(&self) -> Result<(), NotEnoughReplicas> {
        let in_sync = self.isr.isr().len();
        if in_sync < self.min_insync_replicas {
            return Err(NotEnoughReplicas {
                in_sync,
                needed: self.min_insync_replicas,
            });
        }
        Ok(())
    }

    /// How far a request is whose last record lies just before `required` (an end offset).
    pub fn acks(&self, required: i64) -> Acks {
        if self.high_watermark < required {
            Acks::Waiting
        } else if self.isr.isr().len() < self.min_insync_replicas {
            Acks::TooFewAfterAppend
        } else {
            Acks::Done
        }
    }

    /// Epoch of this leadership.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Version of the partition's state that this leader acts on.
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    /// Everything before it is on every in-sync replica.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The watermark that may be shown to clients.
    // METADATA 13: none before this epoch's start is committed; an earlier leader may have shown more than we know.
    pub fn visible_high_watermark(&self) -> Option<i64> {
        (self.high_watermark >= self.epoch_start_offset).then_some(self.high_watermark)
    }

    /// The in-sync set is smaller than the replica set.
    pub fn is_under_replicated(&self) -> bool {
        self.isr.isr().len() < self.replicas.len()
    }

    /// In-sync replicas minus the effective minimum: negative below it.
    pub fn min_isr_margin(&self) -> i64 {
        self.isr.isr().len() as i64 - self.min_insync_replicas as i64
    }

    fn take_replicas(&mut self, view: &ReplicaView) {
        let known = std::mem::take(&mut self.replicas);
        self.replicas = view
            .replicas
            .iter()
            .map(|id| Replica {
                id: *id,
                log_end_offset: known
                    .iter()
                    .find(|replica| replica.id == *id)
                    .and_then(|replica| replica.log_end_offset),
            })
            .collect();
        // A topic with fewer replicas than the setting asks for would never accept a write.
        self.min_insync_replicas = view.min_insync_replicas.min(view.replicas.len()).max(1);
    }

    // METADATA 11: the minimum over the maximal ISR, frozen below min ISR, never assigned lower.
    fn advance_high_watermark(&mut self) -> bool {
        if self.isr.isr().len() < self.min_insync_replicas {
            return false;
        }
        let lowest = self.isr.maximal_isr().map(|member| self.end_offset_of(member)).min();
        let Some(candidate) = lowest.filter(|offset| *offset > self.high_watermark) else {
            return false;
        };
        debug_assert!(candidate <= self.log_end_offset);
        self.high_watermark = candidate;
        true
    }

    /// An unknown or silent member holds the watermark where it is.
    fn end_offset_of(&self, member: BrokerId) -> i64 {
        if member == self.local {
            return self.log_end_offset;
        }
        self.replicas
            .iter()
            .find(|replica| replica.id == member)
            .and_then(|replica| replica.log_end_offset)
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
