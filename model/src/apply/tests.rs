//! The fold, against the rules that it obeys.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::random::{choices, created, formatted, history, ids, registered, topic_id};
use crate::record::*;
use crate::*;

/// A formatted cluster with unfenced brokers.
fn cluster(brokers: i32) -> MetadataImage {
    let mut image = MetadataImage::empty();
    image.append(formatted().into()).expect("formatted");
    for id in 0..brokers {
        image
            .append(registered(id, id as u128, id as u128, false).into())
            .expect("registered");
        unfence(&mut image, id);
    }
    image
}

fn epoch(image: &MetadataImage, id: i32) -> BrokerEpoch {
    image.broker(BrokerId(id)).expect("registered").epoch
}

fn unfence(image: &mut MetadataImage, id: i32) {
    image
        .append(
            BrokerUnfenced {
                id: BrokerId(id),
                epoch: epoch(image, id),
            }
            .into(),
        )
        .expect("unfenced");
}

fn fence(image: &mut MetadataImage, id: i32) {
    image
        .append(
            BrokerFenced {
                id: BrokerId(id),
                epoch: epoch(image, id),
            }
            .into(),
        )
        .expect("fenced");
}

fn only(image: &MetadataImage) -> PartitionImage {
    image.topics().values().next().expect("a topic").partitions[0].clone()
}

fn leader(image: &MetadataImage) -> Option<i32> {
    only(image).leader.map(|id| id.0)
}

#[test]
fn rule_06_a_follower_checks_the_record_before_and_the_image_after() {
    let mut controller = cluster(2);
    let mut follower = controller.clone();
    let frame = controller
        .append(created(1, "t", &[&[0, 1]], &[]).into())
        .expect("created");

    let other_history = Frame {
        chain_hash: Digest::of(b"another record"),
        ..frame.clone()
    };
    assert!(matches!(
        follower.clone().apply_frame(&other_history),
        Err(ApplyError::ChainDiffers { .. })
    ));
    let other_fold = Frame {
        image_hash: Digest::of(b"another image"),
        ..frame.clone()
    };
    assert!(matches!(
        follower.clone().apply_frame(&other_fold),
        Err(ApplyError::FoldDiffers { .. })
    ));
    let later = Frame {
        offset: frame.offset.next(),
        ..frame.clone()
    };
    assert!(matches!(
        follower.clone().apply_frame(&later),
        Err(ApplyError::Gap { .. })
    ));

    follower.apply_frame(&frame).expect("the controller's own frame");
    assert_eq!(follower, controller);
    assert!(follower.apply_frame(&frame).is_err(), "the same record twice");
}

#[test]
fn rule_06_a_difference_anywhere_in_the_image_is_noticed_at_the_next_record() {
    let mut controller = cluster(3);
    controller
        .append(created(1, "t", &[&[0, 1], &[1, 2]], &[]).into())
        .expect("created");
    let mut follower = controller.clone();
    let topics = std::sync::Arc::make_mut(&mut follower.topics);
    let topic = std::sync::Arc::make_mut(topics.values_mut().next().expect("a topic"));
    topic.partitions[1].isr.reverse();
    // The incremental digest of this node does not know of the damage, but counting anew does ...
    assert_ne!(follower.recount_hash(), follower.hash());
    // ... and so does the next record that touches it.
    let frame = controller
        .append(
            BrokerFenced {
                id: BrokerId(1),
                epoch: epoch(&controller, 1),
            }
            .into(),
        )
        .expect("fenced");
    assert!(matches!(
        follower.apply_frame(&frame),
        Err(ApplyError::FoldDiffers { .. })
    ));
}

#[test]
fn rule_09_an_unknown_level_stops_the_node() {
    let mut image = cluster(1);
    let level = FeatureLevelSet {
        name: level::BARNABAS_VERSION.to_owned(),
        level: 3,
    };
    assert_eq!(image.append(level.into()), Err(ApplyError::UnknownLevel { level: 3 }));
    let mut features = formatted();
    features.features = BTreeMap::from([(level::BARNABAS_VERSION.to_owned(), 7)]);
    assert_eq!(
        MetadataImage::empty().append(features.into()),
        Err(ApplyError::UnknownLevel { level: 7 })
    );
}

#[test]
fn rule_10_min_insync_replicas_is_read_from_the_image_and_never_exceeds_the_replicas() {
    let mut image = cluster(3);
    image
        .append(created(1, "t", &[&[0, 1, 2]], &[("min.insync.replicas", "2")]).into())
        .expect("created");
    image
        .append(created(2, "u", &[&[0]], &[("min.insync.replicas", "2")]).into())
        .expect("created");
    let effective = |image: &MetadataImage, id| {
        let topic = image.topic(topic_id(id)).expect("a topic");
        image.min_insync_replicas(topic, &topic.partitions[0])
    };
    assert_eq!((effective(&image, 1), effective(&image, 2)), (2, 1));

    // Below it, who leaves is remembered as eligible ...
    fence(&mut image, 0);
    fence(&mut image, 1);
    assert_eq!(
        image.partition(topic_id(1), PartitionIndex(0)).map(|p| p.elr.clone()),
        Some(ids(&[1]))
    );
    // ... and the record that lowers it ends that, on every node alike.
    let entries = BTreeMap::from([("min.insync.replicas".to_owned(), Some("1".to_owned()))]);
    image
        .append(
            ConfigSet {
                scope: ConfigScope::Topic(topic_id(1)),
                entries,
            }
            .into(),
        )
        .expect("set");
    assert_eq!(effective(&image, 1), 1);
    assert_eq!(
        image.partition(topic_id(1), PartitionIndex(0)).map(|p| p.elr.clone()),
        Some(vec![])
    );
    // The cluster's default counts where the topic says nothing.
    let entries = BTreeMap::from([("min.insync.replicas".to_owned(), Some("3".to_owned()))]);
    image
        .append(
            ConfigSet {
                scope: ConfigScope::Cluster,
                entries,
            }
            .into(),
        )
        .expect("set");
    image
        .append(created(3, "v", &[&[0, 1, 2]], &[]).into())
        .expect("created");
    assert_eq!(effective(&image, 3), 3);
}

#[test]
fn rule_14_epochs_rise_by_one_with_each_change_and_the_leader_epoch_only_with_the_leader() {
    let mut image = cluster(3);
    image
        .append(created(1, "t", &[&[0, 1, 2]], &[]).into())
        .expect("created");
    let epochs = |image: &MetadataImage| (only(image).leader_epoch.0, only(image).partition_epoch.0);
    assert_eq!((leader(&image), epochs(&image)), (Some(0), (0, 0)));
    fence(&mut image, 2);
    assert_eq!((leader(&image), epochs(&image)), (Some(0), (0, 1)), "a follower left");
    fence(&mut image, 0);
    assert_eq!((leader(&image), epochs(&image)), (Some(1), (1, 2)), "the leader left");
    let change = PartitionChanged {
        topic: topic_id(1),
        partition: PartitionIndex(0),
        isr: Some(ids(&[1])),
        leader: None,
        replicas: None,
        adding: None,
        removing: None,
        unclean: false,
    };
    image.append(change.clone().into()).expect("changed");
    assert_eq!(
        epochs(&image),
        (1, 3),
        "METADATA 12: an unchanged ISR ends earlier proposals too"
    );
    image
        .append(
            PartitionChanged {
                replicas: Some(ids(&[1, 2])),
                isr: None,
                ..change
            }
            .into(),
        )
        .expect("changed");
    assert_eq!(epochs(&image), (2, 4), "a replica left the set");
}

#[test]
fn rule_15_fencing_leaves_every_isr_with_another_member_and_elects_in_assignment_order() {
    let mut image = cluster(3);
    image
        .append(created(1, "t", &[&[2, 0, 1]], &[("min.insync.replicas", "2")]).into())
        .expect("created");
    fence(&mut image, 2);
    assert_eq!((leader(&image), only(&image).isr), (Some(0), ids(&[0, 1])));
    fence(&mut image, 0);
    assert_eq!(
        (leader(&image), only(&image).isr, only(&image).elr),
        (Some(1), ids(&[1]), ids(&[0]))
    );
    fence(&mut image, 1);
    assert_eq!(
        (leader(&image), only(&image).isr, only(&image).elr),
        (None, ids(&[1]), ids(&[0]))
    );
    // Who is eligible and comes back first leads, and what it lacks nothing of stays eligible.
    unfence(&mut image, 0);
    assert_eq!(
        (leader(&image), only(&image).isr, only(&image).elr),
        (Some(0), ids(&[0]), ids(&[1]))
    );
    unfence(&mut image, 2);
    assert_eq!(leader(&image), Some(0), "outside ISR and ELR nobody is elected");
}

#[test]
fn rule_16_a_new_incarnation_leaves_the_isr_and_unless_clean_the_elr() {
    for clean in [true, false] {
        let mut image = cluster(3);
        image
            .append(created(1, "t", &[&[0, 1]], &[("min.insync.replicas", "2")]).into())
            .expect("created");
        image.append(registered(0, 77, 0, clean).into()).expect("registered");
        assert_eq!((leader(&image), only(&image).isr), (Some(1), ids(&[1])));
        assert_eq!(only(&image).elr, if clean { ids(&[0]) } else { vec![] });
        assert_eq!(only(&image).last_known_elr, if clean { vec![] } else { ids(&[0]) });
    }
}

#[test]
fn rule_16_a_loss_of_power_takes_nothing_where_each_record_was_always_flushed_first() {
    let elr_after = |at_first: &[(&str, &str)], later: &[&str], directory| {
        let mut image = cluster(3);
        let config = [at_first, &[("min.insync.replicas", "2")]].concat();
        image
            .append(created(1, "t", &[&[0, 1]], &config).into())
            .expect("created");
        for value in later {
            let entries = [("flush.messages".to_owned(), Some((*value).to_owned()))].into();
            let scope = ConfigScope::Topic(topic_id(1));
            image.append(ConfigSet { scope, entries }.into()).expect("set");
        }
        image
            .append(registered(0, 77, directory, false).into())
            .expect("registered");
        assert_eq!(only(&image).isr, ids(&[1]));
        only(&image).elr
    };
    let each = [("flush.messages", "1")];
    assert_eq!(elr_after(&each, &[], 0), ids(&[0]));
    assert_eq!(elr_after(&each, &["1"], 0), ids(&[0]));
    // Some were not, whatever holds now; or the volume is another one.
    assert_eq!(elr_after(&[("flush.messages", "2")], &[], 0), vec![]);
    assert_eq!(elr_after(&[], &["1"], 0), vec![]);
    assert_eq!(elr_after(&each, &["2", "1"], 0), vec![]);
    assert_eq!(elr_after(&each, &[], 99), vec![]);
}

#[test]
fn rule_16_nobody_is_kept_in_mind_who_leaves_an_isr_that_is_large_enough_without_it() {
    let mut image = cluster(3);
    image
        .append(created(1, "t", &[&[0, 1, 2]], &[("min.insync.replicas", "2")]).into())
        .expect("created");
    image.append(registered(2, 77, 2, false).into()).expect("registered");
    let left = only(&image);
    assert_eq!(
        (left.isr, left.elr, left.last_known_elr),
        (ids(&[0, 1]), vec![], vec![])
    );
}

#[test]
fn rule_16_a_sole_replica_stays_in_its_isr_unless_its_volume_is_lost() {
    let mut image = cluster(1);
    image.append(created(1, "t", &[&[0]], &[]).into()).expect("created");
    image.append(registered(0, 77, 0, false).into()).expect("registered");
    assert_eq!((leader(&image), only(&image).isr), (None, ids(&[0])));
    unfence(&mut image, 0);
    assert_eq!((leader(&image), only(&image).leader_epoch), (Some(0), LeaderEpoch(2)));
    image.append(registered(0, 78, 99, false).into()).expect("registered");
    unfence(&mut image, 0);
    assert_eq!(
        (leader(&image), only(&image).isr, only(&image).last_known_elr),
        (None, vec![], vec![])
    );
    assert!(
        !only(&image).awaits_log_ends(),
        "nothing is left to compare: a person decides"
    );
}

#[test]
fn rule_16_the_last_member_of_several_replicas_stays_in_no_isr_when_it_may_have_lost_records_that_others_have() {
    let mut image = cluster(2);
    image.append(created(1, "t", &[&[0, 1]], &[]).into()).expect("created");
    fence(&mut image, 1);
    image.append(registered(0, 77, 0, false).into()).expect("registered");
    unfence(&mut image, 0);
    unfence(&mut image, 1);
    let waiting = only(&image);
    assert_eq!(
        (waiting.leader, waiting.isr.clone(), waiting.elr.clone()),
        (None, vec![], vec![])
    );
    assert_eq!(waiting.last_known_elr, ids(&[0]));
    assert!(waiting.awaits_log_ends());
}

/// Three replicas, minimum 2: broker 2 is fenced, then 0. The ISR is {1}, and 0 is eligible: it has everything.
fn one_in_sync_and_one_eligible() -> MetadataImage {
    let mut image = cluster(3);
    image
        .append(created(1, "t", &[&[0, 1, 2]], &[("min.insync.replicas", "2")]).into())
        .expect("created");
    fence(&mut image, 2);
    fence(&mut image, 0);
    assert_eq!((only(&image).isr, only(&image).elr), (ids(&[1]), ids(&[0])));
    image
}

fn lower_min_isr(image: &mut MetadataImage) {
    let lower = ConfigSet {
        scope: ConfigScope::Topic(topic_id(1)),
        entries: BTreeMap::from([("min.insync.replicas".to_owned(), Some("1".to_owned()))]),
    };
    image.append(lower.into()).expect("lowered");
}

#[test]
fn rule_15_a_lower_minimum_takes_nobody_from_the_eligible_while_nothing_is_committed() {
    let mut image = one_in_sync_and_one_eligible();
    fence(&mut image, 1);
    lower_min_isr(&mut image);
    assert_eq!((leader(&image), only(&image).elr), (None, ids(&[0])));
    // Broker 1 comes back without the end of its log.
    image.append(registered(1, 77, 1, false).into()).expect("registered");
    unfence(&mut image, 1);
    assert_eq!(leader(&image), None);
    unfence(&mut image, 0);
    let led = only(&image);
    assert_eq!((led.leader, led.isr), (Some(BrokerId(0)), ids(&[0])));
    assert_eq!(
        (led.elr, led.last_known_elr),
        (vec![], vec![]),
        "from now on it commits alone"
    );
}

#[test]
fn rule_17_a_lower_minimum_under_a_leader_that_loses_its_log_leaves_those_to_ask_who_had_everything() {
    let mut image = one_in_sync_and_one_eligible();
    lower_min_isr(&mut image);
    let lowered = only(&image);
    assert_eq!((lowered.elr, lowered.last_known_elr), (vec![], ids(&[0])));
    // Broker 1 was dying already, and comes back without the end of its log.
    image.append(registered(1, 77, 1, false).into()).expect("registered");
    unfence(&mut image, 0);
    unfence(&mut image, 1);
    let waiting = only(&image);
    assert!(waiting.awaits_log_ends(), "{waiting:?}");
    assert_eq!(waiting.last_known_elr, ids(&[0, 1]));
}

#[test]
fn rule_17_nobody_stands_for_a_lost_volume_that_committed_alone() {
    let mut image = one_in_sync_and_one_eligible();
    lower_min_isr(&mut image);
    image.append(registered(1, 77, 99, false).into()).expect("registered");
    (0..3).for_each(|id| unfence(&mut image, id));
    let lost = only(&image);
    assert_eq!(
        (lost.leader, lost.isr.clone(), lost.last_known_elr.clone()),
        (None, vec![], vec![])
    );
    assert!(!lost.awaits_log_ends(), "a person decides");
}

#[test]
fn rule_17_nobody_is_asked_any_more_when_the_leader_of_a_lowered_minimum_has_changed_its_isr() {
    let mut image = one_in_sync_and_one_eligible();
    lower_min_isr(&mut image);
    unfence(&mut image, 2);
    assert_eq!(only(&image).last_known_elr, ids(&[0]));
    let grown = PartitionChanged {
        isr: Some(ids(&[1, 2])),
        ..PartitionChanged::of(topic_id(1), PartitionIndex(0))
    };
    image.append(grown.into()).expect("changed");
    assert_eq!((only(&image).isr, only(&image).last_known_elr), (ids(&[1, 2]), vec![]));
}

#[test]
fn a_replica_whose_log_has_failed_leads_nothing_and_counts_for_nothing_by_one_record() {
    let mut image = cluster(3);
    let min = [("min.insync.replicas", "2")];
    image
        .append(created(1, "t", &[&[0, 1, 2], &[0, 1, 2], &[1, 0, 2]], &min).into())
        .expect("created");
    image.append(created(2, "u", &[&[0]], &[]).into()).expect("created");
    let failed = |image: &MetadataImage, id: i32, topic: u128, partitions: &[i32]| ReplicasFailed {
        id: BrokerId(id),
        epoch: epoch(image, id),
        partitions: BTreeMap::from([(
            topic_id(topic),
            partitions.iter().copied().map(PartitionIndex).collect(),
        )]),
    };
    let at = |image: &MetadataImage, topic: u128, index: i32| {
        let partition = image.partition(topic_id(topic), PartitionIndex(index));
        partition.expect("a partition").clone()
    };
    image.append(failed(&image, 0, 1, &[0, 2]).into()).expect("failed");
    assert_eq!(
        (at(&image, 1, 0).leader, at(&image, 1, 0).isr),
        (Some(BrokerId(1)), ids(&[1, 2]))
    );
    assert_eq!(at(&image, 1, 1).leader, Some(BrokerId(0)), "its log is whole");
    assert_eq!(
        (at(&image, 1, 2).leader, at(&image, 1, 2).isr),
        (Some(BrokerId(1)), ids(&[1, 2]))
    );
    image.append(failed(&image, 2, 1, &[0]).into()).expect("failed");
    let one = at(&image, 1, 0);
    assert_eq!(
        (one.isr.clone(), one.elr.clone(), one.last_known_elr.clone()),
        (ids(&[1]), vec![], ids(&[2]))
    );
    image.append(failed(&image, 1, 1, &[0]).into()).expect("failed");
    let none = at(&image, 1, 0);
    assert!(none.awaits_log_ends(), "{none:?}");
    assert_eq!(none.last_known_elr, ids(&[2, 1]));
    // Whoever has the only replica keeps it, and does not lead until it comes back.
    image.append(failed(&image, 0, 2, &[0]).into()).expect("failed");
    assert_eq!((at(&image, 2, 0).leader, at(&image, 2, 0).isr), (None, ids(&[0])));
    image.append(registered(0, 88, 0, false).into()).expect("registered");
    unfence(&mut image, 0);
    assert_eq!(at(&image, 2, 0).leader, Some(BrokerId(0)));
    let stale = ReplicasFailed {
        epoch: BrokerEpoch(1),
        ..failed(&image, 0, 1, &[0])
    };
    assert!(matches!(
        image.append(stale.into()),
        Err(ApplyError::UnknownBroker { .. })
    ));
}

#[test]
fn a_shutdown_hands_over_what_somebody_else_can_lead_and_keeps_the_rest() {
    let mut image = cluster(2);
    image.append(created(1, "t", &[&[0, 1]], &[]).into()).expect("created");
    image.append(created(2, "u", &[&[0]], &[]).into()).expect("created");
    let epoch = epoch(&image, 0);
    image
        .append(BrokerShutdownRequested { id: BrokerId(0), epoch }.into())
        .expect("requested");
    let leader = |id| image.partition(topic_id(id), PartitionIndex(0)).and_then(|p| p.leader);
    assert_eq!((leader(1), leader(2)), (Some(BrokerId(1)), Some(BrokerId(0))));
}

#[test]
fn rule_25_a_removed_topic_leaves_a_tombstone_until_it_is_purged() {
    let mut image = cluster(1);
    image.append(created(1, "t", &[&[0]], &[]).into()).expect("created");
    let removed = image.append(TopicRemoved { id: topic_id(1) }.into()).expect("removed");
    assert!(image.topic_by_name("t").is_none());
    let tombstone = image.tombstones().get(&topic_id(1)).expect("a tombstone");
    assert_eq!((tombstone.offset, tombstone.name.as_str()), (removed.offset, "t"));
    // The name is free at once, the id never again.
    assert!(image.append(created(1, "t", &[&[0]], &[]).into()).is_err());
    image
        .append(created(2, "t", &[&[0]], &[]).into())
        .expect("created again");
    image.append(TopicPurged { id: topic_id(1) }.into()).expect("purged");
    assert!(image.tombstones().is_empty());
    assert!(image.append(TopicPurged { id: topic_id(1) }.into()).is_err());
}

#[test]
fn a_log_begins_with_its_format_and_controller_epochs_rise() {
    let mut image = MetadataImage::empty();
    assert!(matches!(
        image.append(Noop {}.into()),
        Err(ApplyError::NotFormatted { .. })
    ));
    image.append(formatted().into()).expect("formatted");
    assert!(matches!(
        image.append(formatted().into()),
        Err(ApplyError::NotFormatted { .. })
    ));
    let elected = |epoch| ControllerElected {
        epoch: ControllerEpoch(epoch),
        nonce: Nonce::default(),
        holder: String::new(),
    };
    image.append(elected(1).into()).expect("elected");
    assert!(matches!(
        image.append(elected(1).into()),
        Err(ApplyError::ControllerEpoch { .. })
    ));
}

#[test]
fn a_broker_with_ten_thousand_partitions_fails_over_with_one_small_record() {
    let mut image = cluster(3);
    let lists = vec![[0, 1]; 10_000];
    let lists: Vec<&[i32]> = lists.iter().map(<[i32; 2]>::as_slice).collect();
    image.append(created(1, "t", &lists, &[]).into()).expect("created");
    let epoch = epoch(&image, 0);
    let frame = image
        .append(BrokerFenced { id: BrokerId(0), epoch }.into())
        .expect("fenced");
    assert!(frame.to_line().len() < 200, "{}", frame.to_line());
    let topic = image.topic_by_name("t").expect("the topic");
    assert!(
        topic
            .partitions
            .iter()
            .all(|partition| partition.leader == Some(BrokerId(1)))
    );
}

proptest! {
    #[test]
    fn two_nodes_that_apply_the_same_records_have_the_same_image(choices in choices()) {
        let (frames, image) = history(&choices);
        let mut follower = MetadataImage::empty();
        for frame in &frames {
            let line = frame.to_line();
            follower.apply_frame(&Frame::from_line(&line).expect("own line")).expect("own frame");
        }
        prop_assert_eq!(&follower, &image);
        // The incremental digest is the one that counting anew gives.
        prop_assert_eq!(image.recount_hash(), image.hash());
    }

    #[test]
    fn leaders_are_eligible_members_of_the_isr_and_epochs_never_fall(choices in choices()) {
        let (frames, _) = history(&choices);
        let mut image = MetadataImage::empty();
        for frame in &frames {
            let before = image.clone();
            image.apply_frame(frame).expect("own frame");
            for topic in image.topics().values() {
                for (index, partition) in topic.indexed() {
                    if let Some(leader) = partition.leader {
                        prop_assert!(partition.isr.contains(&leader));
                        let changed = matches!(frame.record, Record::PartitionChanged(_));
                        prop_assert!(changed || before.partition(topic.id, index).is_some_and(|p| p.leader == Some(leader)) || image.is_eligible(leader));
                    }
                    prop_assert!(partition.isr.iter().all(|id| partition.replicas.contains(id) && !partition.elr.contains(id)));
                    prop_assert!(partition.elr.iter().all(|id| partition.replicas.contains(id)));
                    let Some(former) = before.partition(topic.id, index) else { continue };
                    prop_assert!(partition.leader_epoch >= former.leader_epoch);
                    if partition != former {
                        prop_assert_eq!(partition.partition_epoch, former.partition_epoch.next());
                    }
                    // What a broker leads alone it leads anew on another directory.
                    let elsewhere = matches!(&frame.record, Record::BrokerRegistered(data) if partition.replicas == [data.id]
                        && before.broker(data.id).is_some_and(|known| known.directory_id != data.directory_id));
                    let begins = partition.leader != former.leader || elsewhere;
                    prop_assert_eq!(partition.leader_epoch > former.leader_epoch, begins);
                }
            }
        }
    }
}
