use uuid::Uuid;

use super::*;
use crate::record::{BrokerRegistered, BrokerUnfenced, ClusterFormatted, ControllerElected, Noop, TopicCreated};
use crate::{Assignment, DirectoryId, IncarnationId, Record, TopicName, snapshot};

const TOPIC: TopicId = TopicId(Uuid::from_u128(9));

fn image() -> MetadataImage {
    let mut image = MetadataImage::empty();
    let mut say = |record: Record| image.append(record).map(drop).expect("a legal record");
    say(ClusterFormatted {
        cluster_id: "abcdefghijklmnopqrstuv".parse().expect("an id"),
        lineage: Lineage(Uuid::from_u128(1)),
        features: BTreeMap::from([(crate::level::BARNABAS_VERSION.to_owned(), 2)]),
    }
    .into());
    say(ControllerElected {
        epoch: ControllerEpoch(3),
        nonce: Nonce::from_random([7; 16]),
        holder: "operator-0".to_owned(),
    }
    .into());
    for id in 0..3 {
        let registered = BrokerRegistered {
            id: BrokerId(id),
            incarnation: IncarnationId(Uuid::from_u128(100 + id as u128)),
            directory_id: DirectoryId(Uuid::from_u128(200 + id as u128)),
            pod_uid: None,
            boot_id: None,
            endpoints: Vec::new(),
            rack: None,
            features: BTreeMap::new(),
            clean: true,
        };
        image.append(registered.into()).expect("registered");
        let epoch = image.broker(BrokerId(id)).expect("there").epoch;
        let id = BrokerId(id);
        image.append(BrokerUnfenced { id, epoch }.into()).expect("unfenced");
    }
    let lists: Vec<Vec<BrokerId>> = [[0, 1, 2], [1, 2, 0]].map(|list| list.map(BrokerId).to_vec()).to_vec();
    let created = TopicCreated {
        id: TOPIC,
        name: TopicName::new("letters").expect("a name"),
        assignment: Assignment::from_lists(&lists).expect("an assignment"),
        config: BTreeMap::new(),
    };
    image.append(created.into()).expect("created");
    image
}

fn later(mut image: MetadataImage, records: usize) -> MetadataImage {
    for _ in 0..records {
        image.append(Noop {}.into()).expect("nothing");
    }
    image
}

fn shown(images: [Option<MetadataImage>; 3]) -> BTreeMap<BrokerId, ImageDocument> {
    let images = (0..).zip(images);
    images
        .filter_map(|(id, image)| {
            let image = image?;
            let seen = image.identity();
            Some((BrokerId(id), ImageDocument { seen, image }))
        })
        .collect()
}

fn circumstances() -> Circumstances {
    Circumstances {
        lineage: Lineage(Uuid::from_u128(2)),
        nonce: Nonce::from_random([8; 16]),
        waived: BTreeSet::new(),
        stored: None,
        cluster_id: None,
    }
}

#[test]
fn rule_24_a_rebuilt_log_is_above_all_that_was_seen_and_unfences_nobody() {
    let (old, new) = (image(), later(image(), 5));
    let mut shown = shown([Some(old.clone()), Some(new.clone()), Some(old)]);
    // One has obeyed a controller none of whose records it got.
    let ahead = shown.get_mut(&BrokerId(2)).expect("shown");
    ahead.seen.controller_epoch = ControllerEpoch(90);
    let rebuilt = rebuild(&shown, &circumstances()).expect("all are there");
    let rise = i64::from(RISE);
    assert_eq!(rebuilt.lineage(), Lineage(Uuid::from_u128(2)));
    assert_eq!(rebuilt.controller_epoch(), ControllerEpoch(90 + rise));
    assert_eq!(rebuilt.offset(), MetadataOffset(new.offset().0 + rise));
    assert_eq!(rebuilt.cluster_id(), new.cluster_id());
    assert!(rebuilt.brokers().values().all(|broker| broker.fenced));
    let before = new.topic(TOPIC).expect("the topic");
    let topic = rebuilt.topic(TOPIC).expect("the topic");
    for (was, is) in before.partitions.iter().zip(&topic.partitions) {
        assert_eq!(is.leader, None);
        assert_eq!(is.leader_epoch, LeaderEpoch(was.leader_epoch.0 + RISE));
        assert_eq!(is.partition_epoch, PartitionEpoch(was.partition_epoch.0 + RISE));
        assert_eq!((&is.replicas, &is.isr), (&was.replicas, &was.isr));
    }
    // It is an image like any other: it can be stored, and read back by its hash.
    let read = snapshot::decode(&snapshot::encode(&rebuilt)).expect("whole");
    assert_eq!(read.hash(), rebuilt.hash());
}

#[test]
fn rule_24_an_image_that_is_missing_needs_a_waiver_by_name() {
    let shown = shown([Some(image()), Some(image()), None]);
    let error = rebuild(&shown, &circumstances()).expect_err("broker 2 is missing");
    assert_eq!(error, RebuildError::Missing(vec![BrokerId(2)]));
    let waived = Circumstances {
        waived: BTreeSet::from([BrokerId(2)]),
        ..circumstances()
    };
    let rebuilt = rebuild(&shown, &waived).expect("waived");
    for partition in &rebuilt.topic(TOPIC).expect("the topic").partitions {
        assert!(!partition.isr.contains(&BrokerId(2)));
        assert!(partition.replicas.contains(&BrokerId(2)));
    }
    // To waive another one does not help.
    let other = Circumstances {
        waived: BTreeSet::from([BrokerId(1)]),
        ..circumstances()
    };
    assert!(rebuild(&shown, &other).is_err());
}

#[test]
fn a_broker_that_is_registered_in_one_image_only_is_waited_for_too() {
    let mut known_to_one = image();
    let fourth = BrokerRegistered {
        id: BrokerId(3),
        incarnation: IncarnationId(Uuid::from_u128(103)),
        directory_id: DirectoryId(Uuid::from_u128(203)),
        pod_uid: None,
        boot_id: None,
        endpoints: Vec::new(),
        rack: None,
        features: BTreeMap::new(),
        clean: true,
    };
    known_to_one.append(fourth.into()).expect("registered");
    let shown = shown([Some(image()), Some(known_to_one), Some(image())]);
    let error = rebuild(&shown, &circumstances()).expect_err("broker 3 is missing");
    assert_eq!(error, RebuildError::Missing(vec![BrokerId(3)]));
}

#[test]
fn a_fresh_volume_knows_nothing_and_is_no_obstacle() {
    let shown = shown([Some(image()), Some(image()), Some(MetadataImage::empty())]);
    assert!(rebuild(&shown, &circumstances()).is_ok());
    let nothing = self::shown([None, None, Some(MetadataImage::empty())]);
    assert_eq!(rebuild(&nothing, &circumstances()), Err(RebuildError::Nothing));
}

#[test]
fn a_volume_of_another_cluster_is_refused() {
    let shown = shown([Some(image()), Some(image()), Some(image())]);
    let elsewhere = Circumstances {
        cluster_id: Some("ABCDEFGHIJKLMNOPQRSTUV".parse().expect("an id")),
        ..circumstances()
    };
    assert!(matches!(rebuild(&shown, &elsewhere), Err(RebuildError::Foreign(_))));
}

#[test]
fn what_the_store_still_holds_counts_as_seen() {
    let shown = shown([Some(image()), Some(image()), Some(image())]);
    let stored = Circumstances {
        stored: Some((ControllerEpoch(500), MetadataOffset(70_000))),
        ..circumstances()
    };
    let rebuilt = rebuild(&shown, &stored).expect("all are there");
    let rise = i64::from(RISE);
    assert_eq!(rebuilt.controller_epoch(), ControllerEpoch(500 + rise));
    assert_eq!(rebuilt.offset(), MetadataOffset(70_000 + rise));
}
