//! Random histories for the tests of this crate: a list of numbers becomes a list of records, most of them legal.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use crate::record::*;
use crate::*;

/// What [`history`] is made from.
pub(crate) fn choices() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    prop::collection::vec(any::<(u8, u8, u8)>(), 0..120)
}

/// The frames of a random history, and the image after them. Illegal records are left out, as a controller would.
pub(crate) fn history(choices: &[(u8, u8, u8)]) -> (Vec<Frame>, MetadataImage) {
    let mut image = MetadataImage::empty();
    let mut frames = vec![image.append(formatted().into()).expect("first record")];
    for (number, choice) in choices.iter().enumerate() {
        let before = image.clone();
        match image.append(record(&image, *choice, number as u128)) {
            Ok(frame) => frames.push(frame),
            Err(_) => assert_eq!(image, before, "a refused record changes nothing"),
        }
    }
    (frames, image)
}

pub(crate) fn formatted() -> ClusterFormatted {
    ClusterFormatted {
        cluster_id: ClusterId::from_random([1; 16]),
        lineage: Lineage::from_random([2; 16]),
        features: BTreeMap::from([(level::BARNABAS_VERSION.to_owned(), 2)]),
    }
}

pub(crate) fn registered(id: i32, incarnation: u128, directory: u128, clean: bool) -> BrokerRegistered {
    BrokerRegistered {
        id: BrokerId(id),
        incarnation: IncarnationId(Uuid::from_u128(incarnation)),
        directory_id: DirectoryId(Uuid::from_u128(directory)),
        pod_uid: None,
        boot_id: Some("boot".to_owned()),
        endpoints: vec![Endpoint {
            listener: "PLAIN".to_owned(),
            host: format!("broker-{id}"),
            port: 9092,
        }],
        rack: (id % 2 == 0).then(|| "a".to_owned()),
        features: BTreeMap::from([(level::BARNABAS_VERSION.to_owned(), FeatureRange { min: 2, max: 2 })]),
        clean,
    }
}

pub(crate) fn ids(list: &[i32]) -> Vec<BrokerId> {
    list.iter().copied().map(BrokerId).collect()
}

pub(crate) fn topic_id(number: u128) -> TopicId {
    TopicId(Uuid::from_u128(number))
}

pub(crate) fn created(id: u128, name: &str, lists: &[&[i32]], config: &[(&str, &str)]) -> TopicCreated {
    let lists: Vec<_> = lists.iter().map(|list| ids(list)).collect();
    TopicCreated {
        id: topic_id(id),
        name: TopicName::new(name).expect("a legal name"),
        assignment: Assignment::from_lists(&lists).expect("even lists"),
        config: config
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

fn record(image: &MetadataImage, (kind, a, b): (u8, u8, u8), number: u128) -> Record {
    let id = BrokerId(i32::from(a % 4));
    let epoch = image.broker(id).map_or(BrokerEpoch(-1), |broker| broker.epoch);
    let nth = |n: u8| {
        image
            .topics()
            .keys()
            .nth(usize::from(n) % image.topics().len().max(1))
            .copied()
    };
    let topic = nth(a).unwrap_or_default();
    match kind % 19 {
        0 | 1 => registered(id.0, number, u128::from(b % 5 == 0) * number, b % 2 == 0).into(),
        2..=4 => BrokerUnfenced { id, epoch }.into(),
        5 | 6 => BrokerFenced { id, epoch }.into(),
        7 => BrokerShutdownRequested { id, epoch }.into(),
        8 | 9 => {
            let factor = i32::from(b % 3) + 1;
            let start = i32::from(a % 4);
            let list: Vec<_> = (0..factor).map(|n| (start + n) % 4).collect();
            let lists: Vec<_> = (0..=a % 3).map(|_| list.as_slice()).collect();
            let min = (b % 4).to_string();
            let flush = (b / 4 % 3).to_string();
            let config = [("min.insync.replicas", min.as_str()), ("flush.messages", &flush)];
            created(number, &format!("t{}", a % 8), &lists, &config).into()
        }
        10 => match b % 3 {
            0 => BrokerUnregistered { id, epoch }.into(),
            1 => ControllerElected {
                epoch: image.controller_epoch().next(),
                nonce: Nonce(Uuid::from_u128(number)),
                holder: "somebody".to_owned(),
            }
            .into(),
            _ => ProducerIdsAllocated {
                broker: id,
                epoch,
                next: ProducerId(image.next_producer_id().0 + 1000),
            }
            .into(),
        },
        11 => TopicRemoved { id: topic }.into(),
        12 => {
            let key = match b % 4 {
                0 | 2 => "min.insync.replicas",
                1 => "flush.messages",
                _ => "retention.ms",
            };
            let scope = match b % 7 {
                0 => ConfigScope::Cluster,
                3 => ConfigScope::Static,
                4 => ConfigScope::Broker(id),
                5 => ConfigScope::Group(GroupName::new("readers").expect("a name")),
                _ => ConfigScope::Topic(topic),
            };
            let value = (b % 5 != 0).then(|| (b % 4).to_string());
            ConfigSet {
                scope,
                entries: BTreeMap::from([(key.to_owned(), value)]),
            }
            .into()
        }
        16 => PreferredLeadersElected { id, epoch }.into(),
        18 => ReplicasFailed {
            id,
            epoch,
            partitions: BTreeMap::from([(topic, [PartitionIndex(i32::from(b % 3))].into())]),
        }
        .into(),
        17 => {
            let partition = PartitionIndex(i32::from(b % 3));
            let replicas = image.partition(topic, partition).map(|p| p.replicas.clone());
            let leader = replicas.unwrap_or_default().get(usize::from(kind % 3)).copied();
            PartitionChanged {
                isr: leader.map(|leader| vec![leader]),
                leader,
                unclean: true,
                ..PartitionChanged::of(topic, partition)
            }
            .into()
        }
        13 => match image.tombstones().keys().next() {
            Some(id) if b % 2 == 0 => TopicPurged { id: *id }.into(),
            _ => Noop {}.into(),
        },
        _ => {
            let partition = PartitionIndex(i32::from(b % 3));
            let replicas = image
                .partition(topic, partition)
                .map(|p| p.replicas.clone())
                .unwrap_or_default();
            let isr: Vec<_> = replicas
                .iter()
                .enumerate()
                .filter(|(at, _)| kind >> at & 1 == 1)
                .map(|(_, id)| *id)
                .collect();
            let leader = isr.first().copied().filter(|_| a % 2 == 0);
            PartitionChanged {
                topic,
                partition,
                isr: Some(isr),
                leader,
                replicas: None,
                adding: None,
                removing: None,
                unclean: false,
            }
            .into()
        }
    }
}
