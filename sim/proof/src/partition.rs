//! A partition in the image: `model::PartitionImage` in a few bytes. `tests/same_as_the_real_code.rs` holds both
//! against each other.

use crate::rule::{Rule, Rules};
use crate::set::Set;

/// Assignment and leadership. The order of preference is by rising id from `preferred` on, around the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The first replica in assignment order.
    pub preferred: u8,
    /// Who holds it.
    pub replicas: Set,
    /// In sync.
    pub isr: Set,
    /// Outside the ISR, with all committed records.
    pub elr: Set,
    /// Former members of both that restarted without proof.
    pub last_known_elr: Set,
    /// Who leads.
    pub leader: Option<u8>,
    /// Rises with each change of the leader.
    pub leader_epoch: u8,
    /// Rises with each change.
    pub partition_epoch: u8,
}

/// What a restarted broker still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Restart {
    /// All it had acknowledged.
    Clean,
    /// Perhaps not the end of its logs.
    Unclean,
    /// Nothing.
    VolumeLost,
}

/// What transitions read of the image.
#[derive(Debug, Clone, Copy)]
pub struct Around {
    /// Effective `min.insync.replicas`.
    pub min_isr: u8,
    /// Who may lead.
    pub eligible: Set,
    /// Which rules the fold obeys.
    pub rules: Rules,
    /// A fold that differs: it elects in the opposite order.
    pub backwards: bool,
}

impl Partition {
    /// All replicas are in sync, the preferred one leads.
    pub fn new(preferred: u8, replicas: Set) -> Self {
        Self {
            preferred,
            replicas,
            isr: replicas,
            elr: Set::EMPTY,
            last_known_elr: Set::EMPTY,
            leader: Some(preferred),
            leader_epoch: 1,
            partition_epoch: 1,
        }
    }

    /// Fencing: out of the ISR where another member remains, out of the leadership always.
    pub fn leave(&mut self, broker: u8, around: Around) {
        let before = *self;
        self.leave_isr(broker);
        self.keep_eligible(&before);
        if self.leader == Some(broker) || self.leader.is_none() {
            self.elect(around);
        }
        self.settle(&before, around);
    }

    /// Controlled shutdown: as fencing, where somebody else can lead.
    pub fn hand_over(&mut self, broker: u8, around: Around) {
        if !self.isr.without(broker).intersection(around.eligible).is_empty() {
            self.leave(broker, around);
        }
    }

    /// A registration replaces the former one.
    pub fn reincarnate(&mut self, broker: u8, restart: Restart, around: Around) {
        if !around.rules.obey(Rule::RegistrationLeavesIsr) {
            return;
        }
        let before = *self;
        self.leave_isr(broker);
        self.keep_eligible(&before);
        let alone = self.replicas == Set::one(broker);
        let stays = match restart {
            Restart::Clean => true,
            Restart::Unclean => alone || !around.rules.obey(Rule::UncleanLeavesElr),
            Restart::VolumeLost => !around.rules.obey(Rule::UncleanLeavesElr),
        };
        if !stays {
            let was_member = self.isr.union(self.elr).contains(broker);
            self.isr = self.isr.without(broker);
            self.elr = self.elr.without(broker);
            if restart == Restart::VolumeLost {
                self.last_known_elr = self.last_known_elr.without(broker);
                if before.isr == Set::one(broker) && around.min_isr <= 1 && self.elr.is_empty() {
                    self.last_known_elr = Set::EMPTY;
                }
            } else if was_member {
                self.last_known_elr = self.last_known_elr.with(broker);
            }
        }
        if self.leader == Some(broker) || self.leader.is_none() {
            self.elect(around);
        }
        self.settle(&before, around);
        // A sole replica leads unasked: on another directory in another epoch.
        if restart == Restart::VolumeLost && alone && self.leader_epoch == before.leader_epoch {
            self.leader_epoch = before.leader_epoch + 1;
            self.partition_epoch = before.partition_epoch + 1;
        }
    }

    /// Somebody became eligible.
    pub fn elect_if_leaderless(&mut self, around: Around) {
        if self.leader.is_none() {
            let before = *self;
            self.elect(around);
            self.settle(&before, around);
        }
    }

    /// `PartitionChanged`: the partition epoch rises even if nothing differs.
    pub fn change(&mut self, isr: Option<Set>, leader: Option<u8>, replicas: Option<Set>, around: Around) {
        let before = *self;
        if let Some(replicas) = replicas {
            self.replicas = replicas;
            self.isr = self.isr.intersection(replicas);
            self.elr = self.elr.intersection(replicas);
            self.last_known_elr = self.last_known_elr.intersection(replicas);
        }
        if let Some(isr) = isr {
            self.isr = isr;
        }
        self.keep_eligible(&before);
        match leader {
            Some(leader) => self.leader = Some(leader),
            None if self.leader.is_none_or(|leader| !self.isr.contains(leader)) => self.elect(around),
            None => {}
        }
        if isr.is_some() && self.commits_alone(around) {
            self.elr = Set::EMPTY;
            self.last_known_elr = Set::EMPTY;
        }
        self.settle(&before, around);
        if self.partition_epoch == before.partition_epoch {
            self.partition_epoch += 1;
        }
    }

    /// `min.insync.replicas` changed.
    pub fn recount(&mut self, around: Around) {
        let before = *self;
        self.settle(&before, around);
    }

    /// Every member of ISR and ELR.
    pub fn members(&self) -> Set {
        self.isr.union(self.elr)
    }

    fn leave_isr(&mut self, broker: u8) {
        if self.isr.len() > 1 {
            self.isr = self.isr.without(broker);
        }
    }

    fn keep_eligible(&mut self, before: &Self) {
        self.elr = self.elr.union(before.isr.intersection(self.replicas)).minus(self.isr);
        self.last_known_elr = self.last_known_elr.minus(self.isr);
    }

    /// Records are committed without anybody outside the ISR.
    fn commits_alone(&self, around: Around) -> bool {
        self.leader.is_some() && self.isr.len() >= around.min_isr
    }

    fn elect(&mut self, around: Around) {
        let first = |members: Set| {
            let candidates = members.intersection(self.replicas).intersection(around.eligible);
            let distance = |id: u8| {
                if around.backwards {
                    2 - id
                } else {
                    (id + 8 - self.preferred) % 8
                }
            };
            candidates.iter().min_by_key(|id| distance(*id))
        };
        let anybody = if around.rules.obey(Rule::ElectMembersOnly) {
            Set::EMPTY
        } else {
            self.replicas
        };
        if let Some(id) = first(self.isr) {
            self.leader = Some(id);
        } else if let Some(id) = first(self.elr).or_else(|| first(anybody)) {
            let before = *self;
            self.isr = Set::one(id);
            self.keep_eligible(&before);
            self.leader = Some(id);
        } else {
            self.leader = None;
        }
    }

    fn settle(&mut self, before: &Self, around: Around) {
        if self.commits_alone(around) {
            self.last_known_elr = if self.leader == before.leader {
                // The minimum fell: those who had everything until here are asked if the leader loses its log.
                let kept = self.last_known_elr.intersection(before.last_known_elr);
                kept.union(self.elr.intersection(before.elr))
            } else {
                Set::EMPTY
            };
            self.elr = Set::EMPTY;
        }
        let left = !before.replicas.minus(self.replicas).is_empty();
        if (self.leader != before.leader || left) && around.rules.obey(Rule::LeaderEpochRises) {
            self.leader_epoch = before.leader_epoch + 1;
        }
        if self != before {
            self.partition_epoch = before.partition_epoch + 1;
        }
    }
}
