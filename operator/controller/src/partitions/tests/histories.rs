//! What holds after every record of arbitrary histories of decisions.

use model::record::PartitionChanged;
use model::{DirectoryId, MetadataImage, ReportedLog};
use proptest::prelude::*;

use super::*;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Event {
    Kill(i32),
    Revive { id: i32, clean: bool, wiped: bool },
    Leave(i32),
    Isr { index: i32, members: u8 },
    Move { index: i32, from: i32, count: usize },
    Cancel(i32),
    Prefer(i32),
    Fail { id: i32, index: i32 },
    Report { id: i32, index: i32, offset: i64 },
    Unclean(i32),
    MinIsr(u8),
    Factor(i16),
    Drain(i32),
    Pass(u64),
}

const BROKERS: i32 = 4;
const PARTITIONS: i32 = 3;

fn events() -> impl Strategy<Value = Vec<Event>> {
    let broker = 0..BROKERS;
    let index = 0..PARTITIONS;
    let one = prop_oneof![
        3 => broker.clone().prop_map(Event::Kill),
        5 => (broker.clone(), any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(id, clean, wiped)| Event::Revive { id, clean, wiped }),
        1 => broker.clone().prop_map(Event::Leave),
        8 => (index.clone(), any::<u8>()).prop_map(|(index, members)| Event::Isr { index, members }),
        2 => (index.clone(), broker.clone(), 1usize..4)
            .prop_map(|(index, from, count)| Event::Move { index, from, count }),
        1 => index.clone().prop_map(Event::Cancel),
        1 => index.clone().prop_map(Event::Prefer),
        1 => (broker.clone(), index.clone()).prop_map(|(id, index)| Event::Fail { id, index }),
        4 => (broker.clone(), index.clone(), 0i64..4)
            .prop_map(|(id, index, offset)| Event::Report { id, index, offset }),
        1 => index.prop_map(Event::Unclean),
        1 => (1u8..4).prop_map(Event::MinIsr),
        1 => (1i16..4).prop_map(Event::Factor),
        1 => broker.prop_map(Event::Drain),
        2 => (1u64..12).prop_map(Event::Pass),
    ];
    prop::collection::vec(one, 0..60)
}

fn happen(bench: &mut Bench, event: &Event, number: u128) {
    match event {
        Event::Kill(id) => kill(bench, *id),
        Event::Revive { id, clean, wiped } => {
            let mut registration = registration(*id, number);
            if *clean {
                registration.clean_shutdown_epoch = bench.image().broker(BrokerId(*id)).map(|broker| broker.epoch);
            }
            if *wiped {
                registration.directory_id = DirectoryId(uuid::Uuid::from_u128(number));
            }
            // Refused while the former process lives.
            if matches!(bench.register(registration), Reply::Registered(_)) {
                bench.heartbeat(*id);
            }
        }
        Event::Leave(id) => {
            let heartbeat = Heartbeat {
                session: bench.session(*id),
                applied: bench.image().offset(),
                want_shutdown: true,
                ready: true,
            };
            bench.ask(|request| Input::Heartbeat { request, heartbeat });
        }
        Event::Isr { index, members } => {
            let now = partition(bench, *index);
            if now.leader.is_some() {
                let chosen = |id: &&BrokerId| now.leader == Some(**id) || members >> id.0 & 1 == 1;
                let isr: Vec<_> = now.replicas.iter().filter(chosen).map(|id| id.0).collect();
                propose(bench, *index, &isr);
            }
        }
        Event::Move { index, from, count } => {
            let target: Vec<_> = (0..*count as i32).map(|step| (from + step) % BROKERS).collect();
            reassign(bench, *index, Some(&target));
        }
        Event::Cancel(index) => drop(reassign(bench, *index, None)),
        Event::Prefer(index) => drop(elect(bench, 0, *index)),
        Event::Fail { id, index } => drop(report(bench, *id, &[(*index, ReportedLog::Failed)])),
        Event::Report { id, index, offset } => drop(report(bench, *id, &[(*index, ends(0, *offset))])),
        Event::Unclean(index) => drop(elect(bench, 1, *index)),
        Event::MinIsr(min) => {
            let config = [("min.insync.replicas".to_owned(), min.to_string())].into();
            bench.ask(|request| Input::ClusterDesired {
                request,
                config,
                brokers: BROKERS as usize,
            });
        }
        Event::Factor(factor) => {
            let topic = DesiredTopic {
                replication_factor: Some(*factor),
                partitions: None,
                ..desired("t", PARTITIONS)
            };
            bench.ask(|request| Input::TopicDesired { request, topic });
        }
        Event::Drain(id) => {
            bench.ask(|request| Input::Drain {
                request,
                brokers: ids(&[*id]),
            });
        }
        Event::Pass(seconds) => live(bench, *seconds),
    }
}

/// The record, if it is of this partition alone.
fn own(record: &Record, index: i32) -> Option<&PartitionChanged> {
    match record {
        Record::PartitionChanged(changed) if changed.partition.0 == index => Some(changed),
        _ => None,
    }
}

/// Which volume each broker had.
fn directories(image: &MetadataImage) -> Vec<(BrokerId, DirectoryId)> {
    let brokers = image.brokers().iter();
    brokers.map(|(id, broker)| (*id, broker.directory_id)).collect()
}

/// What must hold between one record and the next.
fn check(
    before: &PartitionImage,
    after: &PartitionImage,
    image: &MetadataImage,
    own: Option<&PartitionChanged>,
    wiped: bool,
) -> Result<(), TestCaseError> {
    let unclean = own.is_some_and(|changed| changed.unclean);
    let distinct = |list: &[BrokerId]| list.iter().enumerate().all(|(at, id)| !list[..at].contains(id));
    prop_assert!(!after.replicas.is_empty() && distinct(&after.replicas) && distinct(&after.isr));
    prop_assert!(after.isr.iter().all(|id| after.replicas.contains(id)), "{after:?}");
    prop_assert!(
        after
            .elr
            .iter()
            .all(|id| after.replicas.contains(id) && !after.isr.contains(id)),
        "{after:?}"
    );
    prop_assert!(
        after.leader.is_none_or(|leader| after.isr.contains(&leader)),
        "{after:?}"
    );
    prop_assert!(
        after
            .leader
            .is_none_or(|leader| image.is_eligible(leader) || before.leader == Some(leader)),
        "nobody who is fenced or leaving is elected: {after:?}"
    );
    prop_assert!(
        wiped
            || !after.isr.is_empty()
            || !after.last_known_elr.is_empty()
            || !after.elr.is_empty()
            || before.isr.is_empty(),
        "an ISR ends only where it is known who was the last, or its volume is lost: {before:?} {after:?}"
    );
    // METADATA 14.
    prop_assert!(after.leader_epoch >= before.leader_epoch && after.partition_epoch >= before.partition_epoch);
    if after != before {
        prop_assert_eq!(after.partition_epoch, before.partition_epoch.next());
    }
    let left = before.replicas.iter().any(|id| !after.replicas.contains(id));
    if after.leader != before.leader || left {
        prop_assert_eq!(after.leader_epoch, before.leader_epoch.next());
    } else if after.leader_epoch != before.leader_epoch {
        // METADATA 18: a sole replica leads unasked, on another directory in another epoch.
        prop_assert!(wiped && after.replicas.len() == 1, "{before:?} {after:?}");
    }
    // Whoever leads next had every committed record: it was in the ISR or the ELR.
    if let Some(leader) = after.leader.filter(|leader| before.leader != Some(*leader)) {
        // Or the leader before it has just said that it is in sync, and went with that.
        let joined = own
            .and_then(|changed| changed.isr.as_ref())
            .is_some_and(|isr| isr.contains(&leader));
        let known = before.isr.contains(&leader) || before.elr.contains(&leader) || joined;
        prop_assert!(unclean || known, "{before:?} {after:?}");
    }
    prop_assert_eq!(unclean, after.unclean_epoch != before.unclean_epoch);
    let topic = image.topic_by_name("t").expect("the topic");
    if after.leader.is_some() && after.isr.len() >= image.min_insync_replicas(topic, after) {
        prop_assert!(after.elr.is_empty(), "KIP-966: {after:?}");
        let news = after.leader != before.leader || own.is_some_and(|changed| changed.isr.is_some());
        prop_assert!(!news || after.last_known_elr.is_empty(), "{before:?} {after:?}");
    }
    // Who was eligible and is not any more, although nothing is known against its log, is asked where nobody is left.
    let lost = before
        .elr
        .iter()
        .filter(|id| !after.elr.contains(id) && !after.isr.contains(id));
    let goes_on = after.leader.is_some() && after.leader == before.leader && after.replicas == before.replicas;
    for id in lost.filter(|_| goes_on && own.is_none()) {
        let registered = image.broker(*id).map(|broker| broker.epoch.0) == Some(image.offset().0);
        prop_assert!(registered || after.last_known_elr.contains(id), "{before:?} {after:?}");
    }
    prop_assert!(
        after
            .adding
            .iter()
            .chain(&after.removing)
            .all(|id| after.replicas.contains(id)),
        "{after:?}"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn rule_14_and_15_hold_after_every_decision(events in events()) {
        let mut bench = cluster(BROKERS, &[&[0, 1, 2], &[1, 2, 3], &[2, 3, 0]]);
        for (number, event) in events.iter().enumerate() {
            let before: Vec<_> = (0..PARTITIONS).map(|index| partition(&bench, index)).collect();
            let mut image = bench.image().clone();
            let published = bench.published.len();
            happen(&mut bench, event, number as u128 + 10);
            prop_assert!(bench.stepped_down.is_none(), "{:?}", bench.stepped_down);
            let directories = directories(&image);
            let mut former = before;
            for frame in &bench.published[published..] {
                image.apply_frame(frame).expect("the fold of the controller's own records");
                // Also where an older volume came back.
                let other = |(id, directory): &(BrokerId, DirectoryId)| {
                    image.broker(*id).is_some_and(|broker| broker.directory_id != *directory)
                };
                let wiped = directories.iter().any(other);
                for index in 0..PARTITIONS {
                    let topic = image.topic_by_name("t").expect("the topic");
                    let after = topic.partitions[index as usize].clone();
                    check(&former[index as usize], &after, &image, own(&frame.record, index), wiped)?;
                    former[index as usize] = after;
                }
            }
            prop_assert_eq!(image.hash(), bench.image().hash());
        }
    }
}
