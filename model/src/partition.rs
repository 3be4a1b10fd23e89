//! A partition in the image, and its transitions.
//!
//! Every transition ends in `settle`, which alone moves epochs (METADATA 14): the leader epoch rises by 1 when the
//! leader changes or a replica leaves the set, the partition epoch by 1 when anything changed.

use crate::digest::{Digest, Entity};
use crate::election::{Elected, elect};
use crate::ids::{BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId};

/// A partition's assignment and leadership.
///
/// Always: `isr` and `elr` are parts of `replicas` and have no member in common, and the leader is in the ISR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionImage {
    /// Brokers that hold it, in order of preference.
    pub replicas: Vec<BrokerId>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<BrokerId>,
    /// Replicas that a reassignment removes.
    pub removing: Vec<BrokerId>,
    /// The committed in-sync replicas.
    pub isr: Vec<BrokerId>,
    /// Replicas outside the ISR that have all committed records (KIP-966).
    pub elr: Vec<BrokerId>,
    /// Members of ISR and ELR that restarted without proof that they lost nothing, while nobody better was left.
    pub last_known_elr: Vec<BrokerId>,
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// Rises with each change of the leader.
    pub leader_epoch: LeaderEpoch,
    /// Rises with each change.
    pub partition_epoch: PartitionEpoch,
}

impl PartitionImage {
    /// A new partition: eligible replicas are in the ISR, the first of them leads. If none is eligible, all are in
    /// the ISR: nothing was ever committed that one could lack.
    pub(crate) fn created(replicas: Vec<BrokerId>, eligible: impl Fn(BrokerId) -> bool) -> Self {
        let mut isr: Vec<_> = replicas.iter().copied().filter(|id| eligible(*id)).collect();
        let leader = isr.first().copied();
        if isr.is_empty() {
            isr.clone_from(&replicas);
        }
        Self {
            replicas,
            adding: Vec::new(),
            removing: Vec::new(),
            isr,
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            leader,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
        }
    }

    /// `min.insync.replicas` as it counts for this partition: never more than it has replicas (METADATA 10).
    pub fn effective_min_insync_replicas(&self, configured: usize) -> usize {
        configured.min(self.replicas.len()).max(1)
    }

    /// Takes a broker out: of the ISR where another member remains, of the leadership always (METADATA 15).
    ///
    /// `eligible` must already say no for the broker.
    pub(crate) fn leave(&mut self, broker: BrokerId, min_isr: usize, eligible: impl Fn(BrokerId) -> bool) {
        let before = self.clone();
        if self.isr.len() > 1 && self.isr.contains(&broker) {
            self.isr.retain(|id| *id != broker);
        }
        self.keep_eligible(&before, min_isr);
        if self.leader == Some(broker) || self.leader.is_none() {
            self.elect(min_isr, eligible);
        }
        self.settle(&before);
    }

    /// A broker asked to leave: it goes where somebody else can lead, and stays where nobody can.
    pub(crate) fn hand_over(&mut self, broker: BrokerId, min_isr: usize, eligible: impl Fn(BrokerId) -> bool) {
        if self.isr.iter().any(|id| *id != broker && eligible(*id)) {
            self.leave(broker, min_isr, eligible);
        }
    }

    /// A new incarnation of a replica replaces the former one (METADATA 16).
    ///
    /// A `clean` one may have left the ISR and still be in the ELR. One that is not clean is in neither: what it had
    /// acknowledged may be lost. `volume_lost` says that its directory is another one, so that nothing is left.
    /// The sole member of ISR and ELR stays if its volume is there: waiting could find no better log (METADATA 17).
    pub(crate) fn reincarnate(
        &mut self,
        broker: BrokerId,
        restart: Restart,
        min_isr: usize,
        eligible: impl Fn(BrokerId) -> bool,
    ) {
        let before = self.clone();
        if self.isr.len() > 1 && self.isr.contains(&broker) {
            self.isr.retain(|id| *id != broker);
        }
        self.keep_eligible(&before, min_isr);
        let alone = self.isr == [broker] && self.elr.is_empty() && self.last_known_elr.is_empty();
        let stays = match restart {
            Restart::Clean => true,
            Restart::Unclean => alone,
            Restart::VolumeLost => false,
        };
        if !stays {
            let was_member = self.isr.contains(&broker) || self.elr.contains(&broker);
            self.isr.retain(|id| *id != broker);
            self.elr.retain(|id| *id != broker);
            if was_member && !self.last_known_elr.contains(&broker) {
                self.last_known_elr.push(broker);
            }
            if self.isr.len() >= min_isr {
                self.last_known_elr.clear();
            }
        }
        if self.leader == Some(broker) || self.leader.is_none() {
            self.elect(min_isr, eligible);
        }
        self.settle(&before);
    }

    /// Elects where nobody leads: a broker has become eligible.
    pub(crate) fn elect_if_leaderless(&mut self, min_isr: usize, eligible: impl Fn(BrokerId) -> bool) {
        if self.leader.is_some() {
            return;
        }
        let before = self.clone();
        self.elect(min_isr, eligible);
        self.settle(&before);
    }

    /// Applies a `PartitionChanged`. The partition epoch rises even if nothing differs (METADATA 12).
    pub(crate) fn change(&mut self, change: Change, min_isr: usize, eligible: impl Fn(BrokerId) -> bool) {
        let before = self.clone();
        if let Some(replicas) = change.replicas {
            self.replicas = replicas;
            let keeps = |id: &BrokerId| self.replicas.contains(id);
            self.isr.retain(keeps);
            self.elr.retain(keeps);
            self.last_known_elr.retain(keeps);
        }
        if let Some(adding) = change.adding {
            self.adding = adding;
        }
        if let Some(removing) = change.removing {
            self.removing = removing;
        }
        if let Some(isr) = change.isr {
            self.isr = isr;
        }
        self.keep_eligible(&before, min_isr);
        match change.leader {
            Some(leader) => self.leader = Some(leader),
            None if self.leader.is_none_or(|leader| !self.isr.contains(&leader)) => self.elect(min_isr, eligible),
            None => {}
        }
        self.settle(&before);
        if self.partition_epoch == before.partition_epoch {
            self.partition_epoch = before.partition_epoch.next();
        }
    }

    /// `min.insync.replicas` changed: an ISR that is large enough again needs no ELR.
    pub(crate) fn recount(&mut self, min_isr: usize) {
        if self.isr.len() >= min_isr && !(self.elr.is_empty() && self.last_known_elr.is_empty()) {
            let before = self.clone();
            self.elr.clear();
            self.last_known_elr.clear();
            self.settle(&before);
        }
    }

    /// A broker is forgotten: it is out, and nobody waits for it any more.
    pub(crate) fn forget(&mut self, broker: BrokerId, min_isr: usize, eligible: impl Fn(BrokerId) -> bool) {
        let before = self.clone();
        self.leave(broker, min_isr, eligible);
        self.elr.retain(|id| *id != broker);
        self.last_known_elr.retain(|id| *id != broker);
        // One record, one step of the epochs.
        self.settle(&before);
    }

    pub(crate) fn digest(&self, topic: TopicId, index: PartitionIndex) -> Digest {
        Entity::new("partition")
            .bytes(topic.0.as_bytes())
            .number(i64::from(index.0))
            .brokers(&self.replicas)
            .brokers(&self.adding)
            .brokers(&self.removing)
            .brokers(&self.isr)
            .brokers(&self.elr)
            .brokers(&self.last_known_elr)
            .number(self.leader.map_or(-1, |leader| i64::from(leader.0)))
            .number(i64::from(self.leader_epoch.0))
            .number(i64::from(self.partition_epoch.0))
            .digest()
    }

    /// Who left the ISR while it fell below min ISR has all committed records, because the watermark was frozen there:
    /// it goes to the ELR. An ISR that is large enough needs none (KIP-966).
    fn keep_eligible(&mut self, before: &Self, min_isr: usize) {
        if self.isr.len() >= min_isr {
            self.elr.clear();
            self.last_known_elr.clear();
            return;
        }
        for id in &before.isr {
            if self.replicas.contains(id) && !self.elr.contains(id) {
                self.elr.push(*id);
            }
        }
        self.elr.retain(|id| !self.isr.contains(id));
        self.last_known_elr.retain(|id| !self.isr.contains(id));
    }

    fn elect(&mut self, min_isr: usize, eligible: impl Fn(BrokerId) -> bool) {
        match elect(self, eligible) {
            Elected::FromIsr(id) => self.leader = Some(id),
            Elected::FromElr(id) => {
                let before = self.clone();
                self.isr = vec![id];
                self.keep_eligible(&before, min_isr);
                self.leader = Some(id);
            }
            Elected::Nobody => self.leader = None,
        }
    }

    fn settle(&mut self, before: &Self) {
        let replica_left = before.replicas.iter().any(|id| !self.replicas.contains(id));
        if self.leader != before.leader || replica_left {
            self.leader_epoch = before.leader_epoch.next();
        }
        if self != before {
            self.partition_epoch = before.partition_epoch.next();
        }
        debug_assert!(
            self.isr.iter().chain(&self.elr).all(|id| self.replicas.contains(id)),
            "{self:?}"
        );
        debug_assert!(self.isr.iter().all(|id| !self.elr.contains(id)), "{self:?}");
        debug_assert!(self.leader.is_none_or(|leader| self.isr.contains(&leader)), "{self:?}");
    }
}

/// What is known of a broker's data after a restart (METADATA 16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    /// Nothing it had acknowledged is lost.
    Clean,
    /// The end of its logs may be lost.
    Unclean,
    /// Another directory: everything is lost.
    VolumeLost,
}

/// The checked contents of a `PartitionChanged`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) isr: Option<Vec<BrokerId>>,
    pub(crate) leader: Option<BrokerId>,
    pub(crate) replicas: Option<Vec<BrokerId>>,
    pub(crate) adding: Option<Vec<BrokerId>>,
    pub(crate) removing: Option<Vec<BrokerId>>,
}

#[cfg(test)]
mod tests;
