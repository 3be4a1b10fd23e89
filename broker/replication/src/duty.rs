//! What a broker has to do for a partition, as the metadata image says: the same answer in the broker and in the simulator.

use model::{
    BrokerEpoch, BrokerId, BrokerRegistration, LeaderEpoch, LogEnd, MetadataImage, PartitionImage, ReportedLog,
    TopicImage,
};

use crate::leader::{ReplicaPeer, ReplicaView};

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
    /// The duty of the process that registered `local` as `session`; `None` before it has registered.
    ///
    /// What the image says of a broker is meant for the process of that registration. Any other one, which came before or
    /// was restarted since, may hold another log (METADATA 16, 18); only a sole replica needs nobody's word, since the
    /// directory is locked.
    pub fn of(
        local: BrokerId,
        session: Option<BrokerEpoch>,
        image: &MetadataImage,
        topic: &TopicImage,
        partition: &PartitionImage,
    ) -> Self {
        let meant = session.is_some() && image.broker(local).map(|broker| broker.epoch) == session;
        let sole = partition.replicas == [local];
        match partition.leader {
            _ if sole => Self::Lead(view(image, topic, partition)),
            _ if !meant => Self::Stand,
            Some(leader) if leader == local => Self::Lead(view(image, topic, partition)),
            Some(leader) => Self::Follow {
                leader,
                leader_epoch: partition.leader_epoch,
            },
            None => Self::Stand,
        }
    }
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
    let meant = session.is_some() && image.broker(local).map(|broker| broker.epoch) == session;
    let awaited = partition.awaits_log_ends() && partition.replicas.contains(&local);
    match end {
        _ if !meant => None,
        Some(end) => awaited.then_some(ReportedLog::Ends(end)),
        None => (awaited || partition.relies_on(local)).then_some(ReportedLog::Failed),
    }
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
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::record::{BrokerRegistered, BrokerUnfenced, ClusterFormatted, TopicCreated};
    use model::{Assignment, DirectoryId, IncarnationId, Lineage, Record, TopicId, TopicName};

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
                boot_id: None,
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

    fn duty(local: BrokerId, session: Option<i64>, name: &str) -> Duty {
        let image = cluster();
        let topic = image.topic_by_name(name).expect("created");
        Duty::of(local, session.map(BrokerEpoch), &image, topic, &topic.partitions[0])
    }

    #[test]
    fn the_registered_process_leads_and_follows_as_the_image_says() {
        assert!(matches!(duty(FIRST, Some(1), "both"), Duty::Lead(_)));
        let Duty::Follow { leader, .. } = duty(SECOND, Some(3), "both") else {
            panic!("the second follows");
        };
        assert_eq!(leader, FIRST);
    }

    #[test]
    fn rule_18_a_process_that_is_not_the_registered_one_only_serves_what_nobody_else_has() {
        for session in [None, Some(0), Some(9)] {
            assert_eq!(duty(FIRST, session, "both"), Duty::Stand);
            assert_eq!(duty(SECOND, session, "both"), Duty::Stand);
            assert!(matches!(duty(SECOND, session, "one"), Duty::Lead(_)));
        }
    }
}
