//! Images for the tests of what a Cluster needs.

use std::collections::BTreeMap;

use model::record::{BrokerFenced, BrokerRegistered, BrokerUnfenced, ClusterFormatted, TopicCreated};
use model::{Assignment, BrokerId, MetadataImage, TopicId, TopicName};
use uuid::Uuid;

/// An image with so many unfenced brokers.
pub(super) fn image(brokers: i32) -> MetadataImage {
    let mut image = MetadataImage::empty();
    let formatted = ClusterFormatted {
        cluster_id: "abcdefghijklmnopqrstuv".parse().unwrap(),
        lineage: model::Lineage(Uuid::from_u128(1)),
        features: BTreeMap::from([(model::level::BARNABAS_VERSION.to_owned(), 2)]),
    };
    image.append(formatted.into()).unwrap();
    for id in 0..brokers {
        let registered = BrokerRegistered {
            id: BrokerId(id),
            incarnation: model::IncarnationId(Uuid::from_u128(100 + id as u128)),
            directory_id: model::DirectoryId(Uuid::from_u128(200 + id as u128)),
            pod_uid: None,
            boot_id: None,
            endpoints: Vec::new(),
            rack: None,
            features: BTreeMap::new(),
            clean: true,
        };
        image.append(registered.into()).unwrap();
        let epoch = image.broker(BrokerId(id)).unwrap().epoch;
        let unfenced = BrokerUnfenced {
            id: BrokerId(id),
            epoch,
        };
        image.append(unfenced.into()).unwrap();
    }
    image
}

/// ... and a topic whose partitions have these replicas.
pub(super) fn with_topic(mut image: MetadataImage, name: &str, min_isr: usize, replicas: &[&[i32]]) -> MetadataImage {
    let lists: Vec<Vec<BrokerId>> = replicas
        .iter()
        .map(|list| list.iter().map(|id| BrokerId(*id)).collect())
        .collect();
    let created = TopicCreated {
        id: TopicId(Uuid::from_u128(1000 + image.topics().len() as u128)),
        name: TopicName::new(name).unwrap(),
        assignment: Assignment::from_lists(&lists).unwrap(),
        config: BTreeMap::from([("min.insync.replicas".to_owned(), min_isr.to_string())]),
    };
    image.append(created.into()).unwrap();
    image
}

/// ... and that broker fenced.
pub(super) fn fenced(mut image: MetadataImage, id: i32) -> MetadataImage {
    let epoch = image.broker(BrokerId(id)).unwrap().epoch;
    let fenced = BrokerFenced {
        id: BrokerId(id),
        epoch,
    };
    image.append(fenced.into()).unwrap();
    image
}
