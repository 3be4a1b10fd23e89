//! The fold that is restated here and the one that runs (`model::MetadataImage`) come to the same partitions after any
//! records that a controller may append.

use std::collections::BTreeMap;

use model::record::{
    BrokerFenced, BrokerRegistered, BrokerShutdownRequested, BrokerUnfenced, ClusterFormatted, ConfigSet,
    PartitionChanged, TopicCreated,
};
use model::{
    Assignment, BrokerEpoch, BrokerId, ConfigScope, DirectoryId, IncarnationId, Lineage, MetadataImage, PartitionIndex,
    TopicId, TopicName,
};
use proof::Rules;
use proof::image::{BROKERS, Image, Record};
use proof::partition::{Partition, Restart};
use proof::set::Set;
use proptest::prelude::*;

/// Partitions, each with another preferred leader.
const PARTITIONS: u8 = 3;

/// Both folds, fed with the same records.
struct Both {
    restated: Image,
    real: MetadataImage,
    topic: TopicId,
    directories: [u8; BROKERS as usize],
    drawn: u8,
}

impl Both {
    fn new(min_isr: u8) -> Self {
        let mut both = Self {
            restated: Image::new(PARTITIONS, Set::first(BROKERS), min_isr),
            real: MetadataImage::empty(),
            topic: TopicId::from_random([9; 16]),
            directories: [0, 1, 2],
            drawn: BROKERS,
        };
        both.append(ClusterFormatted {
            cluster_id: "AAAAAAAAAAAAAAAAAAAAAQ".parse().expect("a cluster id"),
            lineage: Lineage::from_random([1; 16]),
            features: [("barnabas.version".to_owned(), 2)].into(),
        });
        for broker in 0..BROKERS {
            both.register(broker, false);
            both.real_of(Record::Unfenced(broker));
        }
        let lists: Vec<_> = both
            .restated
            .partitions
            .iter()
            .map(|said| in_order(said.preferred, said.replicas))
            .collect();
        both.append(TopicCreated {
            id: both.topic,
            name: TopicName::new("t").expect("a name"),
            assignment: Assignment::from_lists(&lists).expect("lists"),
            config: min_isr_is(min_isr),
        });
        both
    }

    fn append(&mut self, record: impl Into<model::record::Record>) {
        self.real.append(record.into()).expect("the record applies");
    }

    fn epoch(&self, broker: u8) -> BrokerEpoch {
        self.real.broker(id(broker)).expect("it is registered").epoch
    }

    fn register(&mut self, broker: u8, clean: bool) {
        self.drawn += 1;
        let directory = self.directories[usize::from(broker)];
        self.append(BrokerRegistered {
            id: id(broker),
            incarnation: IncarnationId(uuid::Uuid::from_bytes([self.drawn; 16])),
            directory_id: DirectoryId(uuid::Uuid::from_bytes([directory; 16])),
            pod_uid: None,
            boot_id: None,
            endpoints: Vec::new(),
            rack: None,
            features: BTreeMap::new(),
            clean,
        });
    }

    /// The record of the model, as the real one.
    fn real_of(&mut self, record: Record) {
        match record {
            Record::Registered {
                broker,
                directory,
                restart,
                ..
            } => {
                self.directories[usize::from(broker)] = directory;
                self.register(broker, restart == Restart::Clean);
            }
            Record::Unfenced(broker) => self.append(BrokerUnfenced {
                id: id(broker),
                epoch: self.epoch(broker),
            }),
            Record::Fenced(broker) => self.append(BrokerFenced {
                id: id(broker),
                epoch: self.epoch(broker),
            }),
            Record::ShutdownRequested(broker) => self.append(BrokerShutdownRequested {
                id: id(broker),
                epoch: self.epoch(broker),
            }),
            Record::MinIsr(min_isr) => self.append(ConfigSet {
                scope: ConfigScope::Topic(self.topic),
                entries: min_isr_is(min_isr)
                    .into_iter()
                    .map(|(key, value)| (key, Some(value)))
                    .collect(),
            }),
            Record::Changed {
                partition,
                isr,
                leader,
                replicas,
            } => {
                let preferred = self.restated.partitions[usize::from(partition)].preferred;
                self.append(PartitionChanged {
                    topic: self.topic,
                    partition: PartitionIndex(i32::from(partition)),
                    isr: isr.map(|isr| in_order(preferred, isr)),
                    leader: leader.map(id),
                    replicas: replicas.map(|replicas| in_order(preferred, replicas)),
                    adding: None,
                    removing: None,
                    unclean: false,
                });
            }
            Record::Elected(_) | Record::Noop | Record::Rebuilt { .. } => {}
        }
    }

    fn step(&mut self, record: Record) -> Result<(), TestCaseError> {
        self.real_of(record);
        self.restated.apply(record, Rules::ALL, false);
        let eligible: Set = (0..BROKERS).filter(|at| self.real.is_eligible(id(*at))).collect();
        prop_assert_eq!(self.restated.eligible(), eligible, "{:?}", record);
        for (at, said) in self.restated.partitions.iter().enumerate() {
            let topic = self.real.topic(self.topic).expect("the topic");
            let real = &topic.partitions[at];
            let set = |ids: &[BrokerId]| ids.iter().map(|id| id.0 as u8).collect::<Set>();
            let seen = Partition {
                preferred: said.preferred,
                replicas: set(&real.replicas),
                isr: set(&real.isr),
                elr: set(&real.elr),
                last_known_elr: set(&real.last_known_elr),
                leader: real.leader.map(|id| id.0 as u8),
                // The model begins at 1.
                leader_epoch: real.leader_epoch.0 as u8 + 1,
                partition_epoch: real.partition_epoch.0 as u8 + 1,
            };
            prop_assert_eq!(*said, seen, "partition {} after {:?}", at, record);
            let min_isr = self.real.min_insync_replicas(topic, real);
            prop_assert_eq!(usize::from(self.restated.effective_min_isr(at)), min_isr);
        }
        Ok(())
    }

    /// One of the records that a controller may append here; `None` where the choice is none.
    fn record(&mut self, choice: Choice) -> Option<Record> {
        let Choice {
            kind,
            broker,
            partition,
            set,
            number,
        } = choice;
        let said = self.restated.partitions[usize::from(partition)];
        let set: Set = (0..BROKERS).filter(|at| set >> at & 1 == 1).collect();
        Some(match kind {
            0 | 1 => {
                let restart = [Restart::Clean, Restart::Unclean, Restart::VolumeLost][usize::from(number)];
                self.drawn += 1;
                let kept = self.directories[usize::from(broker)];
                Record::Registered {
                    broker,
                    incarnation: self.drawn,
                    boot: 0,
                    directory: if restart == Restart::VolumeLost {
                        self.drawn
                    } else {
                        kept
                    },
                    restart,
                }
            }
            2..=4 => Record::Unfenced(broker),
            5 => Record::Fenced(broker),
            6 => Record::ShutdownRequested(broker),
            7 => Record::MinIsr(number + 1),
            8 => Record::Changed {
                partition,
                isr: None,
                leader: None,
                replicas: (!set.is_empty()).then_some(set),
            },
            _ => {
                let isr = set.intersection(said.replicas);
                if isr.is_empty() {
                    return None;
                }
                Record::Changed {
                    partition,
                    isr: Some(isr),
                    leader: (number == 0 && isr.contains(broker)).then_some(broker),
                    replicas: None,
                }
            }
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Choice {
    kind: u8,
    broker: u8,
    partition: u8,
    set: u8,
    number: u8,
}

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    let choice = (0..12_u8, 0..BROKERS, 0..PARTITIONS, 0..8_u8, 0..3_u8);
    let choice = choice.prop_map(|(kind, broker, partition, set, number)| Choice {
        kind,
        broker,
        partition,
        set,
        number,
    });
    prop::collection::vec(choice, 1..50)
}

fn id(broker: u8) -> BrokerId {
    BrokerId(i32::from(broker))
}

fn in_order(preferred: u8, ids: Set) -> Vec<BrokerId> {
    let after = (preferred..BROKERS).chain(0..preferred);
    after.filter(|at| ids.contains(*at)).map(id).collect()
}

fn min_isr_is(min_isr: u8) -> BTreeMap<String, String> {
    [("min.insync.replicas".to_owned(), min_isr.to_string())].into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_folds_come_to_the_same_partitions(min_isr in 1..=3_u8, choices in choices()) {
        let mut both = Both::new(min_isr);
        for choice in choices {
            if let Some(record) = both.record(choice) {
                both.step(record)?;
            }
        }
    }
}
