//! What a broker has to do for a partition, as the metadata image says: the same answer in the broker and in the simulator.

use model::{
    BrokerEpoch, BrokerId, BrokerRegistration, DirectoryId, LeaderEpoch, LogEnd, MetadataImage, PartitionImage,
    ReportedLog, TopicImage,
};

use crate::leader::{ReplicaPeer, ReplicaView};

/// How a process stands to what the image says of its broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// It may hold another log than the registered process did.
    #[default]
    Stranger,
    /// It has everything that the process of this registration had, and is not registered itself yet.
    Heir(BrokerEpoch),
    /// It is the process of this registration.
    Registered(BrokerEpoch),
}

impl Standing {
    /// At the start of a process, before it has spoken to a controller.
    pub fn at_start(
        image: &MetadataImage,
        local: BrokerId,
        directory_id: DirectoryId,
        boot_id: Option<&str>,
        clean_shutdown_epoch: Option<BrokerEpoch>,
    ) -> Self {
        let former = image.broker(local);
        let whole = former.filter(|former| former.lost_nothing(directory_id, boot_id, clean_shutdown_epoch));
        whole.map_or(Self::Stranger, |former| Self::Heir(former.epoch))
    }

    /// The registration in whose name it acts.
    pub fn epoch(self) -> Option<BrokerEpoch> {
        match self {
            Self::Stranger => None,
            Self::Heir(epoch) | Self::Registered(epoch) => Some(epoch),
        }
    }

    /// The registration that is its own.
    pub fn registered(self) -> Option<BrokerEpoch> {
        match self {
            Self::Stranger | Self::Heir(_) => None,
            Self::Registered(epoch) => Some(epoch),
        }
    }

    /// Whether the registration that the image knows is this process's own.
    pub fn is_registered_in(self, image: &MetadataImage, local: BrokerId) -> bool {
        is_meant(image, local, self.registered())
    }
}

/// What a broker has to do for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Duty {
    /// Take writes, and decide what is committed.
    Lead(ReplicaView),
    /// Fetch from the leader.
    Follow {
        /// Who leads.
        leader: BrokerId,
        /// In which epoch.
        leader_epoch: LeaderEpoch,
    },
    /// Keep the log, and do nothing with it: nobody leads, or it is not certain that this process is still the broker.
    Stand,
}

impl Duty {
    /// The duty of a process on `directory` that stands so to the registration of `local`.
    ///
    /// What the image says of a broker is meant for the process of that registration. Any other one, which came before or
    /// was restarted since, may hold another log (METADATA 16, 18); only a sole replica needs nobody's word: see
    /// [`leads_alone`]. An heir follows: its leader counts on a log, and it has that log. It leads nothing, since
    /// followers may have been promised what it does not know of.
    pub fn of(
        local: BrokerId,
        directory: DirectoryId,
        standing: Standing,
        image: &MetadataImage,
        topic: &TopicImage,
        partition: &PartitionImage,
    ) -> Self {
        let meant = is_meant(image, local, standing.epoch());
        match partition.leader {
            _ if leads_alone(local, directory, image, partition) => Self::Lead(view(image, topic, partition)),
            _ if !meant => Self::Stand,
            Some(leader) if leader == local && standing.registered().is_none() => Self::Stand,
            Some(leader) if leader == local => Self::Lead(view(image, topic, partition)),
            Some(leader) => Self::Follow {
                leader,
                leader_epoch: partition.leader_epoch,
            },
            None => Self::Stand,
        }
    }
}

/// Whether `local` leads a partition whatever the controller thinks of it: the only replica is on its directory, which is
/// locked. On another directory the records are not; and the process on the former one, if it still runs, is deposed by the
/// registration that says so. That registration also ends the ISR, and the empty log on the new directory is led by nobody
/// until a person elects it.
pub fn leads_alone(local: BrokerId, directory: DirectoryId, image: &MetadataImage, partition: &PartitionImage) -> bool {
    let registered_here = || image.broker(local).map(|broker| broker.directory_id) == Some(directory);
    partition.replicas == [local] && partition.isr == [local] && registered_here()
}

/// What the controller has to be told of the replica on broker `local`, whose log ends at `end`, or has failed; `None` if it
/// knows all that it needs (METADATA 17). To be said again until the image does not ask for it any more.
pub fn report(
    local: BrokerId,
    session: Option<BrokerEpoch>,
    image: &MetadataImage,
    partition: &PartitionImage,
    end: Option<LogEnd>,
) -> Option<ReportedLog> {
    let meant = is_meant(image, local, session);
    let awaited = partition.awaits_log_ends() && partition.replicas.contains(&local);
    match end {
        _ if !meant => None,
        Some(end) => awaited.then_some(ReportedLog::Ends(end)),
        None => (awaited || partition.relies_on(local)).then_some(ReportedLog::Failed),
    }
}

/// Whether what the image says of a broker is meant for who acts in the name of a registration.
fn is_meant(image: &MetadataImage, local: BrokerId, epoch: Option<BrokerEpoch>) -> bool {
    epoch.is_some() && image.broker(local).map(|broker| broker.epoch) == epoch
}

fn view(image: &MetadataImage, topic: &TopicImage, partition: &PartitionImage) -> ReplicaView {
    ReplicaView {
        replicas: partition
            .replicas
            .iter()
            .map(|id| {
                let broker = image.broker(*id);
                ReplicaPeer {
                    id: *id,
                    broker_epoch: broker.map(|broker| broker.epoch),
                    eligible: broker.is_some_and(BrokerRegistration::is_eligible),
                }
            })
            .collect(),
        isr: partition.isr.clone(),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        min_insync_replicas: image.min_insync_replicas(topic, partition),
        next_producer_id: image.next_producer_id(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::record::{BrokerRegistered, BrokerUnfenced, ClusterFormatted, TopicCreated};
    use model::{Assignment, IncarnationId, Lineage, Record, TopicId, TopicName};

    use super::*;

    const FIRST: BrokerId = BrokerId(0);
    const SECOND: BrokerId = BrokerId(1);

    /// Two unfenced brokers, a topic on both, led by the first, and one on the second alone.
    fn cluster() -> MetadataImage {
        let mut image = MetadataImage::empty();
        let mut add = |record: Record| drop(image.append(record).expect("applies"));
        add(ClusterFormatted {
            cluster_id: "AAAAAAAAAAAAAAAAAAAAAQ".parse().expect("22 characters"),
            lineage: Lineage::from_random([1; 16]),
            features: [("barnabas.version".to_owned(), 2)].into(),
        }
        .into());
        for (at, id) in [FIRST, SECOND].into_iter().enumerate() {
            add(BrokerRegistered {
                id,
                incarnation: IncarnationId::default(),
                directory_id: DirectoryId::default(),
                pod_uid: None,
                boot_id: Some("boot".to_owned()),
                endpoints: Vec::new(),
                rack: None,
                features: BTreeMap::new(),
                clean: false,
            }
            .into());
            let epoch = BrokerEpoch(1 + 2 * at as i64);
            add(BrokerUnfenced { id, epoch }.into());
        }
        for (name, replicas) in [("both", vec![FIRST, SECOND]), ("one", vec![SECOND])] {
            add(TopicCreated {
                id: TopicId::from_random([name.len() as u8; 16]),
                name: TopicName::new(name).expect("a legal name"),
                assignment: Assignment::from_lists(&[replicas]).expect("even lists"),
                config: BTreeMap::new(),
            }
            .into());
        }
        image
    }

    fn duty(local: BrokerId, standing: Standing, name: &str) -> Duty {
        let image = cluster();
        let topic = image.topic_by_name(name).expect("created");
        let directory = image.broker(local).expect("registered").directory_id;
        Duty::of(local, directory, standing, &image, topic, &topic.partitions[0])
    }

    fn registered(epoch: i64) -> Standing {
        Standing::Registered(BrokerEpoch(epoch))
    }

    #[test]
    fn the_registered_process_leads_and_follows_as_the_image_says() {
        assert!(matches!(duty(FIRST, registered(1), "both"), Duty::Lead(_)));
        let Duty::Follow { leader, .. } = duty(SECOND, registered(3), "both") else {
            panic!("the second follows");
        };
        assert_eq!(leader, FIRST);
    }

    #[test]
    fn rule_18_a_process_that_is_not_the_registered_one_only_serves_what_nobody_else_has() {
        let former = Standing::Heir(BrokerEpoch(0));
        for standing in [Standing::Stranger, registered(0), registered(9), former] {
            assert_eq!(duty(FIRST, standing, "both"), Duty::Stand);
            assert_eq!(duty(SECOND, standing, "both"), Duty::Stand);
            assert!(matches!(duty(SECOND, standing, "one"), Duty::Lead(_)));
        }
    }

    #[test]
    fn rule_18_a_process_on_another_directory_does_not_have_what_nobody_else_has() {
        let image = cluster();
        let topic = image.topic_by_name("one").expect("created");
        let other = DirectoryId::from_random([7; 16]);
        for standing in [Standing::Stranger, registered(0)] {
            let duty = Duty::of(SECOND, other, standing, &image, topic, &topic.partitions[0]);
            assert_eq!(duty, Duty::Stand, "{standing:?}");
        }
    }

    #[test]
    fn rule_18_a_sole_replica_whose_volume_is_lost_leads_when_it_is_elected() {
        let mut image = cluster();
        let registered = image.broker(SECOND).expect("registered").clone();
        let directory = DirectoryId::from_random([7; 16]);
        let record = BrokerRegistered {
            id: SECOND,
            incarnation: IncarnationId::from_random([7; 16]),
            directory_id: directory,
            pod_uid: None,
            boot_id: registered.boot_id,
            endpoints: Vec::new(),
            rack: None,
            features: BTreeMap::new(),
            clean: false,
        };
        image.append(record.into()).expect("applies");
        let epoch = image.broker(SECOND).expect("registered").epoch;
        image
            .append(BrokerUnfenced { id: SECOND, epoch }.into())
            .expect("applies");
        let topic = image.topic_by_name("one").expect("created");
        let standing = Standing::Registered(epoch);
        let mut partition = topic.partitions[0].clone();
        assert_eq!(
            Duty::of(SECOND, directory, standing, &image, topic, &partition),
            Duty::Stand
        );
        partition.isr = vec![SECOND];
        partition.leader = Some(SECOND);
        let elected = Duty::of(SECOND, directory, standing, &image, topic, &partition);
        assert!(matches!(elected, Duty::Lead(_)));
    }

    #[test]
    fn rule_18_an_heir_follows_and_does_not_lead() {
        assert_eq!(duty(FIRST, Standing::Heir(BrokerEpoch(1)), "both"), Duty::Stand);
        let heir = Standing::Heir(BrokerEpoch(3));
        assert!(matches!(duty(SECOND, heir, "both"), Duty::Follow { leader: FIRST, .. }));
        assert!(matches!(duty(SECOND, heir, "one"), Duty::Lead(_)));
    }

    #[test]
    fn rule_18_only_who_has_lost_nothing_is_an_heir() {
        let image = cluster();
        let known = image.broker(SECOND).expect("registered");
        let start = |directory, boot, mark| Standing::at_start(&image, SECOND, directory, boot, mark);
        let other = DirectoryId::from_random([7; 16]);
        let heir = Standing::Heir(known.epoch);
        assert_eq!(start(known.directory_id, Some("boot"), None), heir);
        assert_eq!(start(known.directory_id, Some("another"), Some(known.epoch)), heir);
        for (directory, boot, mark) in [
            (known.directory_id, Some("another"), None),
            (known.directory_id, None, None),
            (known.directory_id, Some("another"), Some(BrokerEpoch(0))),
            (other, Some("boot"), Some(known.epoch)),
        ] {
            assert_eq!(
                start(directory, boot, mark),
                Standing::Stranger,
                "{directory:?} {boot:?} {mark:?}"
            );
        }
        let stranger = Standing::at_start(&image, BrokerId(9), other, Some("boot"), None);
        assert_eq!(stranger, Standing::Stranger);
    }
}
