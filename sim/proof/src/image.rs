//! The metadata image and the one fold, in a few bytes.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::partition::{Around, Partition, Restart};
use crate::rule::Rules;
use crate::set::Set;

/// Brokers of the cluster.
pub const BROKERS: u8 = 3;

/// How far a rebuilt log jumps: 2^20 in real life.
const JUMP: u8 = 16;

/// A record of the metadata log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Record {
    /// `ControllerElected`.
    Elected(u8),
    /// `Noop`.
    Noop,
    /// `BrokerRegistered`.
    Registered {
        /// Who.
        broker: u8,
        /// Which process.
        incarnation: u8,
        /// The boot of its node.
        boot: u8,
        /// Its directory.
        directory: u8,
        /// What it has kept.
        restart: Restart,
    },
    /// `BrokerUnfenced`.
    Unfenced(u8),
    /// `BrokerFenced`.
    Fenced(u8),
    /// `BrokerShutdownRequested`.
    ShutdownRequested(u8),
    /// `PartitionChanged`.
    Changed {
        /// Which.
        partition: u8,
        /// The new ISR.
        isr: Option<Set>,
        /// The new leader.
        leader: Option<u8>,
        /// The new replicas.
        replicas: Option<Set>,
    },
    /// `ConfigSet` of `min.insync.replicas`.
    MinIsr(u8),
    /// The first record of a rebuilt log.
    Rebuilt {
        /// Epochs are raised.
        raised: bool,
    },
}

/// A broker's registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registration {
    /// The offset of the registration.
    pub epoch: u8,
    /// Which process.
    pub incarnation: u8,
    /// The boot of its node.
    pub boot: u8,
    /// Its directory.
    pub directory: u8,
    /// Leads nothing.
    pub fenced: bool,
    /// Asked to leave.
    pub leaving: bool,
}

/// The cluster after some prefix of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Image {
    /// The history.
    pub lineage: u8,
    /// The last record.
    pub offset: u8,
    /// A digest of all records: two images with one chain are one image.
    pub chain: u32,
    /// Of the last `Elected`.
    pub controller_epoch: u8,
    /// `min.insync.replicas` as configured.
    pub min_isr: u8,
    /// Registrations by id.
    pub brokers: [Registration; BROKERS as usize],
    /// All partitions.
    pub partitions: Vec<Partition>,
}

impl Image {
    /// Three brokers, unfenced, in sync everywhere.
    pub fn new(partitions: u8, replicas: Set, min_isr: u8) -> Self {
        let registration = |id| Registration {
            epoch: id + 1,
            incarnation: id + 1,
            boot: id,
            directory: id,
            fenced: false,
            leaving: false,
        };
        Self {
            lineage: 0,
            offset: 10,
            chain: 0,
            controller_epoch: 1,
            min_isr,
            brokers: [registration(0), registration(1), registration(2)],
            partitions: (0..partitions)
                .map(|at| Partition::new(at % BROKERS, replicas))
                .collect(),
        }
    }

    /// Who may lead.
    pub fn eligible(&self) -> Set {
        let brokers = (0..BROKERS).zip(&self.brokers);
        brokers
            .filter(|(_, broker)| !broker.fenced && !broker.leaving)
            .map(|(id, _)| id)
            .collect()
    }

    /// Effective `min.insync.replicas` (METADATA 10).
    pub fn effective_min_isr(&self, partition: usize) -> u8 {
        self.min_isr.min(self.partitions[partition].replicas.len()).max(1)
    }

    /// The fold.
    pub fn apply(&mut self, record: Record, rules: Rules, backwards: bool) {
        self.offset += 1;
        self.chain = chained(self.chain, record);
        match record {
            Record::Elected(epoch) => self.controller_epoch = epoch,
            Record::Noop => {}
            Record::Registered {
                broker,
                incarnation,
                boot,
                directory,
                restart,
            } => {
                self.brokers[usize::from(broker)] = Registration {
                    epoch: self.offset,
                    incarnation,
                    boot,
                    directory,
                    fenced: true,
                    leaving: false,
                };
                self.each(rules, backwards, |partition, around| {
                    if partition.replicas.contains(broker) {
                        partition.reincarnate(broker, restart, around);
                    }
                });
            }
            Record::Unfenced(broker) => {
                self.brokers[usize::from(broker)].fenced = false;
                self.each(rules, backwards, |partition, around| {
                    if partition.replicas.contains(broker) {
                        partition.elect_if_leaderless(around);
                    }
                });
            }
            Record::Fenced(broker) => {
                self.brokers[usize::from(broker)].fenced = true;
                self.each(rules, backwards, |partition, around| {
                    if partition.replicas.contains(broker) {
                        partition.leave(broker, around);
                    }
                });
            }
            Record::ShutdownRequested(broker) => {
                self.brokers[usize::from(broker)].leaving = true;
                self.each(rules, backwards, |partition, around| {
                    if partition.replicas.contains(broker) {
                        partition.hand_over(broker, around);
                    }
                });
            }
            Record::Changed {
                partition,
                isr,
                leader,
                replicas,
            } => {
                let at = usize::from(partition);
                // The effective minimum follows the replicas, new ones too.
                let count = replicas.unwrap_or(self.partitions[at].replicas).len();
                let around = Around {
                    min_isr: self.min_isr.min(count).max(1),
                    eligible: self.eligible(),
                    rules,
                    backwards,
                };
                self.partitions[at].change(isr, leader, replicas, around);
            }
            Record::MinIsr(min_isr) => {
                self.min_isr = min_isr;
                self.each(rules, backwards, Partition::recount);
            }
            Record::Rebuilt { raised } => {
                self.lineage += 1;
                if raised {
                    self.offset += JUMP;
                    self.controller_epoch += JUMP;
                    for partition in &mut self.partitions {
                        partition.leader_epoch += JUMP;
                        partition.partition_epoch += JUMP;
                    }
                }
            }
        }
    }

    fn each(&mut self, rules: Rules, backwards: bool, transition: impl Fn(&mut Partition, Around)) {
        let eligible = self.eligible();
        for at in 0..self.partitions.len() {
            let min_isr = self.effective_min_isr(at);
            transition(
                &mut self.partitions[at],
                Around {
                    min_isr,
                    eligible,
                    rules,
                    backwards,
                },
            );
        }
    }
}

/// The chain digest after one more record.
pub fn chained(chain: u32, record: Record) -> u32 {
    let mut hasher = DefaultHasher::new();
    (chain, record).hash(&mut hasher);
    hasher.finish() as u32
}
