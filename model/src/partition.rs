//! A partition in the image, and its transitions.
//!
//! Every transition ends in `settle`, which alone moves epochs (METADATA 14): the leader epoch rises by 1 when the
//! leader changes or a replica leaves the set, the partition epoch by 1 when anything changed.

use crate::digest::{Digest, Entity};
use crate::election::{Candidates, Elected};
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
    /// Former members of ISR and ELR that may have lost the end of their logs, or fell behind when `min.insync.replicas`
    /// was lowered. If nobody else is left, their logs are compared (METADATA 17).
    pub last_known_elr: Vec<BrokerId>,
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// The epoch of the last leader that was elected although it may lack committed records. What others have of earlier
    /// epochs beyond its log is given up: only because of it may a replica truncate below its watermark (METADATA 11).
    pub unclean_epoch: Option<LeaderEpoch>,
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
            unclean_epoch: None,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
        }
    }

    /// Whether nobody is left who is known to have everything, so that logs must be compared (METADATA 17).
    pub fn awaits_log_ends(&self) -> bool {
        self.leader.is_none() && self.isr.is_empty() && self.elr.is_empty() && !self.last_known_elr.is_empty()
    }

    /// Whether its leader was elected although it may lack acknowledged records, and leads since then.
    pub fn may_have_lost_records(&self) -> bool {
        self.leader.is_some() && self.unclean_epoch == Some(self.leader_epoch)
    }

    /// Whether anything rests on the log of this broker that rests on it no longer once the log has failed.
    pub fn relies_on(&self, broker: BrokerId) -> bool {
        let others = self.replicas.iter().any(|id| *id != broker);
        self.leader == Some(broker) || (others && (self.isr.contains(&broker) || self.elr.contains(&broker)))
    }

    /// Whether its replicas are being changed.
    pub fn is_reassigning(&self) -> bool {
        !(self.adding.is_empty() && self.removing.is_empty())
    }

    /// The replicas once its reassignment is done, in order of preference.
    pub fn target_replicas(&self) -> impl Iterator<Item = BrokerId> {
        self.replicas.iter().copied().filter(|id| !self.removing.contains(id))
    }

    /// `min.insync.replicas` as it counts for this partition: never more than it has replicas (METADATA 10).
    pub fn effective_min_insync_replicas(&self, configured: usize) -> usize {
        effective_min_insync_replicas(configured, &self.replicas, &self.adding)
    }

    /// Takes a broker out: of the ISR where another member remains, of the leadership always (METADATA 15).
    ///
    /// `eligible` must already say no for the broker.
    pub(crate) fn leave(&mut self, broker: BrokerId, min_isr: usize, eligible: impl Fn(BrokerId) -> bool) {
        let before = self.clone();
        self.leave_isr(broker);
        self.keep_eligible(&before);
        if self.leader == Some(broker) || self.leader.is_none() {
            self.elect(eligible);
        }
        self.settle(&before, min_isr);
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
    /// acknowledged may be lost, and others may have it. One whose directory is another has nothing left to compare.
    pub(crate) fn reincarnate(
        &mut self,
        broker: BrokerId,
        restart: Restart,
        min_isr: usize,
        eligible: impl Fn(BrokerId) -> bool,
    ) {
        let before = self.clone();
        self.leave_isr(broker);
        self.keep_eligible(&before);
        let stays = match restart {
            Restart::Clean => true,
            // Nobody else could have more.
            Restart::Unclean => self.replicas == [broker],
            Restart::VolumeLost => false,
        };
        if !stays {
            let was_member = self.isr.contains(&broker) || self.elr.contains(&broker);
            self.isr.retain(|id| *id != broker);
            self.elr.retain(|id| *id != broker);
            if restart == Restart::VolumeLost {
                self.last_known_elr.retain(|id| *id != broker);
                if before.isr == [broker] && before.isr.len() >= min_isr && self.elr.is_empty() {
                    // It has committed records alone that are gone now. No other log can stand for it by itself.
                    self.last_known_elr.clear();
                }
            } else if was_member && !self.last_known_elr.contains(&broker) {
                self.last_known_elr.push(broker);
            }
        }
        if self.leader == Some(broker) || self.leader.is_none() {
            self.elect(eligible);
        }
        self.settle(&before, min_isr);
        let same_epoch = self.leader_epoch == before.leader_epoch;
        if restart == Restart::VolumeLost && self.replicas == [broker] && same_epoch {
            // It is led without a word from here (METADATA 18). On another directory that is another leadership.
            self.leader_epoch = before.leader_epoch.next();
            self.partition_epoch = before.partition_epoch.next();
        }
    }

    /// The log of a replica has failed on a broker that lives: as after an unclean restart, and it leads nothing.
    pub(crate) fn fail(&mut self, broker: BrokerId, min_isr: usize, eligible: impl Fn(BrokerId) -> bool) {
        self.reincarnate(broker, Restart::Unclean, min_isr, |id| id != broker && eligible(id));
    }

    /// Elects where nobody leads: a broker has become eligible.
    pub(crate) fn elect_if_leaderless(&mut self, min_isr: usize, eligible: impl Fn(BrokerId) -> bool) {
        if self.leader.is_some() {
            return;
        }
        let before = self.clone();
        self.elect(eligible);
        self.settle(&before, min_isr);
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
        let proposed = change.isr.is_some();
        if let Some(isr) = change.isr {
            self.isr = isr;
        }
        self.keep_eligible(&before);
        if change.unclean {
            // Nobody else is known to have what this leader has, so nobody else may follow it by election.
            self.elr.clear();
            self.last_known_elr.clear();
        }
        match change.leader {
            Some(leader) => self.leader = Some(leader),
            None if self.leader.is_none_or(|leader| !self.isr.contains(&leader)) => self.elect(eligible),
            None => {}
        }
        if proposed && self.commits_alone(min_isr) {
            self.last_known_elr.clear();
            self.elr.clear();
        }
        self.settle(&before, min_isr);
        if change.unclean {
            self.unclean_epoch = Some(self.leader_epoch);
        }
        // METADATA 12: even if nothing differs.
        self.partition_epoch = before.partition_epoch.next();
    }

    /// The first replica leads again, if it is in sync.
    pub(crate) fn prefer(&mut self, broker: BrokerId, min_isr: usize) {
        if self.replicas.first() == Some(&broker) && self.isr.contains(&broker) && self.leader != Some(broker) {
            let before = self.clone();
            self.leader = Some(broker);
            self.settle(&before, min_isr);
        }
    }

    /// `min.insync.replicas` changed: an ISR that is large enough now, and led, needs no ELR from here on.
    pub(crate) fn recount(&mut self, min_isr: usize) {
        let before = self.clone();
        self.settle(&before, min_isr);
    }

    /// A broker is forgotten: it is out, and nobody waits for it any more.
    pub(crate) fn forget(&mut self, broker: BrokerId, min_isr: usize, eligible: impl Fn(BrokerId) -> bool) {
        let before = self.clone();
        self.leave(broker, min_isr, eligible);
        self.elr.retain(|id| *id != broker);
        self.last_known_elr.retain(|id| *id != broker);
        // One record, one step of the epochs.
        self.settle(&before, min_isr);
    }

    pub(crate) fn digest(&self, topic: TopicId, index: PartitionIndex) -> Digest {
        let entity = Entity::new("partition")
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
            .number(i64::from(self.partition_epoch.0));
        match self.unclean_epoch {
            Some(epoch) => entity.number(i64::from(epoch.0)).digest(),
            None => entity.digest(),
        }
    }

    /// Out of the ISR, where another member remains.
    fn leave_isr(&mut self, broker: BrokerId) {
        if self.isr.len() > 1 {
            self.isr.retain(|id| *id != broker);
        }
    }

    /// Who left the ISR has all committed records until now, so it is eligible until more are committed (see `settle`).
    fn keep_eligible(&mut self, before: &Self) {
        for id in &before.isr {
            if self.replicas.contains(id) && !self.elr.contains(id) {
                self.elr.push(*id);
            }
        }
        self.elr.retain(|id| !self.isr.contains(id));
        self.last_known_elr.retain(|id| !self.isr.contains(id));
    }

    fn elect(&mut self, eligible: impl Fn(BrokerId) -> bool) {
        let candidates = Candidates {
            replicas: &self.replicas,
            isr: &self.isr,
            elr: &self.elr,
        };
        match candidates.elect(eligible) {
            Elected::FromIsr(id) => self.leader = Some(id),
            Elected::FromElr(id) => {
                let before = self.clone();
                self.isr = vec![id];
                self.keep_eligible(&before);
                self.leader = Some(id);
            }
            Elected::Nobody => self.leader = None,
        }
    }

    /// Whether records are committed without anybody outside the ISR: below min ISR the watermark is frozen, and without a
    /// leader there is none that moves.
    fn commits_alone(&self, min_isr: usize) -> bool {
        self.leader.is_some() && self.isr.len() >= min_isr
    }

    /// The end of every transition: nobody is eligible who may miss what is committed from now on (KIP-966), and the epochs
    /// move.
    fn settle(&mut self, before: &Self, min_isr: usize) {
        if self.commits_alone(min_isr) {
            if self.leader == before.leader {
                // The minimum fell below a leader that goes on, and may be dying at this moment: if it comes back without
                // the end of its log, the others must be asked, for they have everything until here.
                self.last_known_elr.retain(|id| before.last_known_elr.contains(id));
                let was_eligible = |id: &&BrokerId| before.elr.contains(id) && !self.last_known_elr.contains(id);
                let until_here: Vec<_> = self.elr.iter().filter(was_eligible).copied().collect();
                self.last_known_elr.extend(until_here);
            } else {
                self.last_known_elr.clear();
            }
            self.elr.clear();
        }
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
    pub(crate) unclean: bool,
}

/// Replicas that are only being added do not count: a topic that gets more of them takes writes as it did before.
pub(crate) fn effective_min_insync_replicas(configured: usize, replicas: &[BrokerId], adding: &[BrokerId]) -> usize {
    let settled = replicas.iter().filter(|id| !adding.contains(id)).count();
    configured.min(settled).max(1)
}

#[cfg(test)]
mod tests;
