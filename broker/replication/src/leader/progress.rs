//! How far the followers are, as their fetches say.

use model::{BrokerEpoch, BrokerId};

use super::{LeaderState, ReplicaPeer};
use crate::seeded::seeded_bug;

/// A fetch of a follower: it has everything below `log_end_offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerFetch {
    /// Who fetches.
    pub replica: BrokerId,
    /// In which registration.
    pub broker_epoch: BrokerEpoch,
    /// Where it fetches.
    pub log_end_offset: i64,
    /// Where its log starts.
    pub log_start_offset: i64,
}

/// A follower from which clients may read. The greater, the better: Kafka's order of replicas to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadReplica {
    /// Its broker.
    pub id: BrokerId,
    /// Where its log ends.
    pub log_end_offset: i64,
    /// When it last had everything.
    pub caught_up_ms: Option<i64>,
}

/// Why a fetch of a follower is not served; it tries again when it or this leader knows more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FollowerRefusal {
    /// The image that this leader acts on names it not among the replicas.
    #[error("broker {0} is none of the partition's replicas")]
    NoReplica(BrokerId),
    /// It is of another registration than the image's.
    #[error("broker {replica} fetches in broker epoch {theirs}, the metadata has {ours:?}")]
    OtherBrokerEpoch {
        /// Who fetches.
        replica: BrokerId,
        /// Its epoch.
        theirs: BrokerEpoch,
        /// What the image says; `None` if it is not registered.
        ours: Option<BrokerEpoch>,
    },
}

/// A replica elsewhere.
#[derive(Debug, Clone)]
pub(super) struct Follower {
    id: BrokerId,
    broker_epoch: Option<BrokerEpoch>,
    eligible: bool,
    /// `None` until it fetched in this leader epoch, in its present registration.
    progress: Option<Progress>,
    /// When it last had everything; `None` if it never had in this leader epoch.
    caught_up_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    log_end_offset: i64,
    log_start_offset: i64,
    fetched_ms: i64,
    /// Where the leader's log ended then.
    leader_end_offset: i64,
}

impl Follower {
    pub(super) fn new(id: BrokerId) -> Self {
        Self {
            id,
            broker_epoch: None,
            eligible: false,
            progress: None,
            caught_up_ms: None,
        }
    }

    pub(super) fn id(&self) -> BrokerId {
        self.id
    }

    /// One past the last offset that it has, as far as that is known in this epoch.
    pub(super) fn log_end_offset(&self) -> Option<i64> {
        self.progress.map(|progress| progress.log_end_offset)
    }

    pub(super) fn log_start_offset(&self) -> Option<i64> {
        self.progress.map(|progress| progress.log_start_offset)
    }

    pub(super) fn broker_epoch(&self) -> Option<BrokerEpoch> {
        self.broker_epoch
    }

    pub(super) fn is_eligible(&self) -> bool {
        self.eligible
    }

    /// What the image says of its broker.
    // METADATA 13: what a former registration fetched says nothing about this one.
    pub(super) fn registered(&mut self, peer: &ReplicaPeer) {
        if self.broker_epoch != peer.broker_epoch && !seeded_bug!(OldRegistrationCounts) {
            self.progress = None;
        }
        self.broker_epoch = peer.broker_epoch;
        self.eligible = peer.eligible;
    }

    pub(super) fn in_sync_at(&mut self, now_ms: i64) {
        self.caught_up_ms = Some(now_ms);
    }

    /// Kafka's rule (`Replica.updateFetchStateOrThrow`): a follower is caught up when it fetches at the end, and was at the
    /// time of its last fetch if it now fetches where the end was then. A busy partition's follower never fetches at the
    /// very end.
    fn fetched(&mut self, fetch: &FollowerFetch, leader_end_offset: i64, now_ms: i64) {
        let caught_up_ms = if fetch.log_end_offset >= leader_end_offset {
            Some(now_ms)
        } else {
            self.progress
                .filter(|last| fetch.log_end_offset >= last.leader_end_offset)
                .map(|last| last.fetched_ms)
        };
        self.caught_up_ms = self.caught_up_ms.max(caught_up_ms);
        self.progress = Some(Progress {
            log_end_offset: fetch.log_end_offset,
            log_start_offset: fetch.log_start_offset,
            fetched_ms: now_ms,
            leader_end_offset,
        });
    }

    /// It had everything not more than `max_lag_ms` ago.
    pub(super) fn keeps_up(&self, leader_end_offset: i64, now_ms: i64, max_lag_ms: i64) -> bool {
        self.log_end_offset() == Some(leader_end_offset)
            || self
                .caught_up_ms
                .is_some_and(|caught_up| now_ms.saturating_sub(caught_up) <= max_lag_ms)
    }
}

impl LeaderState {
    /// Whether the fetch comes from a replica that counts, before anything is read for it.
    ///
    /// # Errors
    /// [`FollowerRefusal`], and nothing of it is noted.
    // METADATA 13, 14: by (id, broker epoch) of the image, without wildcard.
    pub fn check_follower(&self, replica: BrokerId, broker_epoch: BrokerEpoch) -> Result<(), FollowerRefusal> {
        let follower = self.follower(replica).ok_or(FollowerRefusal::NoReplica(replica))?;
        if follower.broker_epoch != Some(broker_epoch) && !seeded_bug!(OldRegistrationCounts) {
            return Err(FollowerRefusal::OtherBrokerEpoch {
                replica,
                theirs: broker_epoch,
                ours: follower.broker_epoch,
            });
        }
        Ok(())
    }

    /// A follower fetched, and its log does not depart from this one below. Returns true if the watermark moved.
    ///
    /// # Errors
    /// [`FollowerRefusal`], and nothing of it is noted.
    pub fn follower_fetched(&mut self, fetch: &FollowerFetch, now_ms: i64) -> Result<bool, FollowerRefusal> {
        self.check_follower(fetch.replica, fetch.broker_epoch)?;
        let leader_end_offset = self.log_end_offset;
        let bounded = FollowerFetch {
            log_end_offset: fetch.log_end_offset.min(leader_end_offset),
            ..*fetch
        };
        if let Some(follower) = self.followers.iter_mut().find(|f| f.id == fetch.replica) {
            follower.fetched(&bounded, leader_end_offset, now_ms);
        }
        Ok(self.advance_high_watermark())
    }

    /// Where the logs of all live replicas start, at most: what DeleteRecords waits for (Kafka's
    /// `Partition.lowWatermarkIfLeader`). `log_start_offset` is the leader's. `None` while one has not been heard of.
    pub fn low_watermark(&self, log_start_offset: i64) -> Option<i64> {
        self.followers
            .iter()
            .filter(|follower| follower.eligible)
            .try_fold(log_start_offset, |low, follower| {
                Some(low.min(follower.log_start_offset()?))
            })
    }

    /// Followers from which a client that stands at `offset` may read: in sync, and in possession of the offset (Kafka's
    /// `ReplicaManager.findPreferredReadReplica`).
    pub fn read_replicas(&self, offset: i64) -> impl Iterator<Item = ReadReplica> {
        self.followers.iter().filter_map(move |follower| {
            let progress = follower.progress?;
            let has = (progress.log_start_offset..=progress.log_end_offset).contains(&offset);
            (has && self.isr.isr().contains(&follower.id)).then_some(ReadReplica {
                id: follower.id,
                log_end_offset: progress.log_end_offset,
                caught_up_ms: follower.caught_up_ms,
            })
        })
    }

    /// A follower's log: where it starts and ends, as its last fetch in this epoch says.
    pub fn follower_offsets(&self, replica: BrokerId) -> Option<(i64, i64)> {
        let progress = self.follower(replica)?.progress?;
        Some((progress.log_start_offset, progress.log_end_offset))
    }

    /// When the follower last had everything, in milliseconds of the caller's clock.
    pub fn follower_caught_up_ms(&self, replica: BrokerId) -> Option<i64> {
        self.follower(replica)?.caught_up_ms
    }
}
