//! The leader's view of a partition.
//!
//! Ordering that always holds: `high_watermark <= log_end_offset`, and the watermark never goes back.

use model::{BrokerEpoch, BrokerId, IsrMember, LeaderEpoch, PartitionEpoch, ProducerId};

use crate::isr::IsrState;
use crate::seeded::seeded_bug;

mod membership;
mod progress;

pub use progress::{FollowerFetch, FollowerRefusal, ReadReplica};

use progress::Follower;

/// A replica of the partition, as the metadata image says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaPeer {
    /// Its broker.
    pub id: BrokerId,
    /// The broker's registration; `None` if it is not registered.
    pub broker_epoch: Option<BrokerEpoch>,
    /// The broker may be in sync: it is neither fenced nor on its way out.
    pub eligible: bool,
}

/// What the metadata image says about a partition, as far as its leader needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaView {
    /// All replicas in assignment order.
    pub replicas: Vec<ReplicaPeer>,
    /// The committed in-sync replicas.
    pub isr: Vec<BrokerId>,
    /// Epoch of the leadership.
    pub leader_epoch: LeaderEpoch,
    /// Version of this partition's state.
    pub partition_epoch: PartitionEpoch,
    /// `min.insync.replicas` of the topic, before it is bounded by the replica count.
    pub min_insync_replicas: usize,
    /// Producers from here on do not exist yet.
    pub next_producer_id: ProducerId,
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

/// Leader of one partition in one epoch.
#[derive(Debug, Clone)]
pub struct LeaderState {
    local: BrokerId,
    leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    /// Registration of the local broker.
    broker_epoch: Option<BrokerEpoch>,
    /// Replicas elsewhere, in assignment order.
    followers: Vec<Follower>,
    replica_count: usize,
    isr: IsrState,
    /// The earliest time to propose: a proposal is under way, or the last one was refused. Milliseconds.
    propose_after_ms: i64,
    min_insync_replicas: usize,
    /// Where this epoch begins in the log.
    epoch_start_offset: i64,
    log_end_offset: i64,
    high_watermark: i64,
}

impl LeaderState {
    /// Becomes leader with a log that ends at `log_end_offset`; `high_watermark` is the highest that was known.
    ///
    /// Times are milliseconds of any clock that does not go back.
    pub fn new(local: BrokerId, view: &ReplicaView, log_end_offset: i64, high_watermark: i64, now_ms: i64) -> Self {
        let mut leader = Self {
            local,
            leader_epoch: view.leader_epoch,
            partition_epoch: view.partition_epoch,
            broker_epoch: None,
            followers: Vec::new(),
            replica_count: 0,
            isr: IsrState::committed(view.isr.clone()),
            propose_after_ms: 0,
            min_insync_replicas: 0,
            epoch_start_offset: log_end_offset,
            log_end_offset,
            high_watermark: high_watermark.clamp(0, log_end_offset),
        };
        leader.take_replicas(view, now_ms);
        leader.advance_high_watermark();
        leader
    }

    /// The image may say something new in the same leader epoch. Returns true if the watermark moved.
    pub fn update(&mut self, view: &ReplicaView, now_ms: i64) -> bool {
        if view.partition_epoch < self.partition_epoch {
            return false;
        }
        if view.partition_epoch > self.partition_epoch {
            // The answer is here, whatever it is. What is still wanted is proposed at the new epoch.
            self.propose_after_ms = 0;
        }
        let isr = std::mem::replace(&mut self.isr, IsrState::committed(Vec::new()));
        self.isr = isr.recorded(self.partition_epoch, view.partition_epoch, &view.isr);
        self.partition_epoch = view.partition_epoch;
        self.take_replicas(view, now_ms);
        self.advance_high_watermark()
    }

    /// The local log grew. Returns true if the watermark moved.
    pub fn appended(&mut self, log_end_offset: i64) -> bool {
        debug_assert!(log_end_offset >= self.log_end_offset, "a leader never truncates");
        self.log_end_offset = log_end_offset;
        self.advance_high_watermark()
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
        if self.high_watermark < required && !seeded_bug!(AcknowledgedByLeader) {
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

    /// Where this epoch begins in the log.
    pub fn epoch_start_offset(&self) -> i64 {
        self.epoch_start_offset
    }

    /// The watermark that may be shown to clients.
    // METADATA 13: none before this epoch's start is committed; an earlier leader may have shown more than we know.
    pub fn visible_high_watermark(&self) -> Option<i64> {
        let known = self.high_watermark >= self.epoch_start_offset || seeded_bug!(ShownBeforeEpochStart);
        known.then_some(self.high_watermark)
    }

    /// The committed in-sync replicas.
    pub fn isr(&self) -> &[BrokerId] {
        self.isr.isr()
    }

    /// Whether a write may have to wait for the replica: it is in sync, or proposed to be.
    pub fn waits_for(&self, replica: BrokerId) -> bool {
        self.isr.maximal_isr().any(|member| member == replica)
    }

    /// A proposal is in doubt: no record has ended it yet.
    pub fn isr_is_in_doubt(&self) -> bool {
        !matches!(self.isr, IsrState::Committed { .. })
    }

    /// The in-sync set is smaller than the replica set.
    pub fn is_under_replicated(&self) -> bool {
        self.isr.isr().len() < self.replica_count
    }

    /// In-sync replicas minus the effective minimum: negative below it.
    pub fn min_isr_margin(&self) -> i64 {
        self.isr.isr().len() as i64 - self.min_insync_replicas as i64
    }

    fn take_replicas(&mut self, view: &ReplicaView, now_ms: i64) {
        let mut known = std::mem::take(&mut self.followers);
        self.broker_epoch = view
            .replicas
            .iter()
            .find(|peer| peer.id == self.local)
            .and_then(|peer| peer.broker_epoch);
        for peer in view.replicas.iter().filter(|peer| peer.id != self.local) {
            let before = known.iter().position(|follower| follower.id() == peer.id);
            let mut follower = match before {
                Some(at) => known.swap_remove(at),
                None => Follower::new(peer.id),
            };
            follower.registered(peer);
            if view.isr.contains(&peer.id) && before.is_none() {
                // It was in sync when this leadership began, so it has the full time to be heard from.
                follower.in_sync_at(now_ms);
            }
            self.followers.push(follower);
        }
        self.replica_count = view.replicas.len();
        // A topic with fewer replicas than the setting asks for would never accept a write.
        self.min_insync_replicas = view.min_insync_replicas.min(view.replicas.len()).max(1);
    }

    fn follower(&self, id: BrokerId) -> Option<&Follower> {
        self.followers.iter().find(|follower| follower.id() == id)
    }

    // METADATA 11: the minimum over the maximal ISR, frozen below min ISR, never assigned lower.
    fn advance_high_watermark(&mut self) -> bool {
        if self.isr.isr().len() < self.min_insync_replicas && !seeded_bug!(WatermarkMovesBelowMinIsr) {
            return false;
        }
        let counts = |member: &BrokerId| !seeded_bug!(WatermarkOfCommittedIsr) || self.isr.isr().contains(member);
        let members = self.isr.maximal_isr().filter(counts);
        let lowest = members.map(|member| self.end_offset_of(member)).min();
        if seeded_bug!(WatermarkAssigned) {
            let before = std::mem::replace(&mut self.high_watermark, lowest.unwrap_or(0));
            return self.high_watermark != before;
        }
        let Some(candidate) = lowest.filter(|offset| *offset > self.high_watermark) else {
            return false;
        };
        debug_assert!(candidate <= self.log_end_offset);
        self.high_watermark = candidate;
        true
    }

    /// An unknown or silent member holds the watermark where it is.
    // METADATA 11: 0 is no offset that a member has, it is the one that moves nothing.
    fn end_offset_of(&self, member: BrokerId) -> i64 {
        if member == self.local {
            return self.log_end_offset;
        }
        self.follower(member).and_then(Follower::log_end_offset).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
