//! The rules of the metadata log, one by one, on a controller with a store that can be held back.

use std::time::Duration;

use model::record::{ControllerElected, Noop};
use model::{BrokerId, Frame, Nonce, ProducerId, Record, TopicId};

use crate::append::TAIL_LIMIT_BYTES;
use crate::fixture::{Bench, applied_everything, desired, registration, settings};
use crate::snapshot::SNAPSHOT_AT_BYTES;
use crate::*;

const SECOND: Duration = Duration::from_secs(1);

fn state(reply: &Reply) -> TopicState {
    match reply {
        Reply::Topic(state) => *state,
        other => panic!("{other:?}"),
    }
}

fn refusal(reply: &Reply) -> &Refusal {
    match reply {
        Reply::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rule_01_nobody_is_told_before_the_append_succeeded() {
    let mut bench = Bench::cluster(1);
    bench.published.clear();
    bench.hold = true;
    let request = bench.request();
    bench.give(Input::TopicDesired {
        request,
        topic: desired("t", 1),
    });
    // Even an answer that needs no record of its own waits, if it rests on one that is not committed.
    let second = bench.request();
    bench.give(Input::TopicDesired {
        request: second,
        topic: desired("t", 1),
    });
    assert!(!bench.replies.contains_key(&request) && !bench.replies.contains_key(&second));
    assert!(bench.published.is_empty());
    assert!(bench.image().topic_by_name("t").is_none());
    bench.order.clear();
    bench.release();
    assert_eq!(state(&bench.replies[&request]).id, state(&bench.replies[&second]).id);
    assert_eq!(bench.published.len(), 1);
    let place = |what| bench.order.iter().position(|name| *name == what);
    assert!(
        place("append") < place("publish") && place("publish") < place("reply"),
        "{:?}",
        bench.order
    );
}

#[test]
fn rule_01_a_new_controller_acts_only_after_its_election_is_in_the_log() {
    let mut bench = Bench::idle();
    bench.hold = true;
    bench.give(Input::Start);
    bench.hold = false;
    let read = bench.held.remove(0);
    assert!(matches!(
        read,
        Effect::Read {
            with_snapshot: true,
            ..
        }
    ));
    bench.hold = true;
    bench.give(Input::ReadDone { id: 1, log: None });
    assert_eq!(*refusal(&bench.register(registration(0, 1))), Refusal::NotReady);
    assert!(!bench.controller.is_acting() && !bench.order.contains(&"elected"));
    bench.release();
    assert!(bench.controller.is_acting() && bench.order.contains(&"elected"));
    assert!(matches!(bench.register(registration(0, 1)), Reply::Registered(_)));
}

#[test]
fn rule_01_a_paused_controller_that_wakes_stops_at_its_next_append() {
    let mut old = Bench::cluster(1);
    let mut new = old.successor(2);
    new.give(Input::Start);
    assert_eq!(new.image().controller_epoch().0, old.image().controller_epoch().0 + 1);
    old.store.clone_from(&new.store);
    let request = old.request();
    old.give(Input::TopicDesired {
        request,
        topic: desired("t", 1),
    });
    assert_eq!(old.stepped_down, Some(StepDown::Deposed));
    assert!(!old.replies.contains_key(&request), "nobody was promised anything");
    assert_eq!(*refusal(&old.register(registration(1, 1))), Refusal::NotReady);
}

#[test]
fn rule_02_a_lost_answer_is_settled_by_a_later_append() {
    for first_lands in [false, true] {
        let mut bench = Bench::cluster(1);
        bench.hold = true;
        let request = bench.request();
        bench.give(Input::TopicDesired {
            request,
            topic: desired("t", 1),
        });
        let (id, expected, document) = bench.held_append();
        bench.give(Input::AppendUnknown { id });
        assert!(!bench.replies.contains_key(&request), "in doubt, nothing is answered");
        bench.pass(SECOND);
        // The same records go out again under another id, for the same version: at most one of the two can land.
        let (again, same_version, same_records) = bench.held_append();
        assert_ne!(again, id);
        assert_eq!((&same_version, &same_records.tail), (&expected, &document.tail));
        if first_lands {
            assert!(bench.land(expected.as_ref(), &document));
            assert!(!bench.land(same_version.as_ref(), &same_records));
            bench.hold = false;
            // METADATA 2: own epoch and own id on the log means success.
            bench.give(Input::AppendConflict { id: again });
        } else {
            assert!(bench.land(same_version.as_ref(), &same_records));
            assert!(
                !bench.land(expected.as_ref(), &document),
                "the delayed write can no longer land"
            );
            let version = StoreVersion(bench.store.as_ref().map_or(0, |(_, version)| *version).to_string());
            bench.give(Input::Appended { id: again, version });
        }
        assert!(matches!(bench.replies[&request], Reply::Topic(_)));
        let created = |line: &&String| line.contains("TopicCreated");
        assert_eq!(
            bench
                .store
                .as_ref()
                .map(|(log, _)| log.tail.iter().filter(created).count()),
            Some(1)
        );
    }
}

#[test]
fn rule_02_an_answer_that_comes_late_is_as_good_as_one_in_time() {
    let mut bench = Bench::cluster(1);
    bench.hold = true;
    let request = bench.request();
    bench.give(Input::TopicDesired {
        request,
        topic: desired("t", 1),
    });
    let (id, expected, document) = bench.held_append();
    bench.give(Input::AppendUnknown { id });
    assert!(bench.land(expected.as_ref(), &document));
    bench.give(Input::Appended {
        id,
        version: StoreVersion("9".to_owned()),
    });
    assert!(matches!(bench.replies[&request], Reply::Topic(_)));
}

#[test]
fn rule_02_an_edited_label_costs_a_second_append_and_a_foreign_record_the_office() {
    let mut bench = Bench::cluster(1);
    let (log, version) = bench.store.clone().expect("a log");
    bench.store = Some((log.clone(), version + 1));
    assert!(matches!(bench.topic("t", 1), Reply::Topic(_)));

    let (log, version) = bench.store.clone().expect("a log");
    let foreign = LogDocument {
        append_id: AppendId {
            nonce: Nonce::default(),
            number: 1,
        },
        ..log
    };
    bench.store = Some((foreign, version + 1));
    let request = bench.request();
    bench.give(Input::TopicDesired {
        request,
        topic: desired("u", 1),
    });
    assert_eq!(bench.stepped_down, Some(StepDown::Changed));
}

#[test]
fn rule_02_a_refused_append_is_tried_again_and_a_missing_log_stops() {
    let mut bench = Bench::cluster(1);
    bench.hold = true;
    let request = bench.request();
    bench.give(Input::TopicDesired {
        request,
        topic: desired("t", 1),
    });
    let (id, ..) = bench.held_append();
    bench.hold = false;
    bench.give(Input::AppendRefused {
        id,
        error: "quota".to_owned(),
    });
    assert!(!bench.replies.contains_key(&request));
    bench.pass(SECOND);
    assert!(matches!(bench.replies[&request], Reply::Topic(_)));
    bench.store = None;
    let request = bench.request();
    bench.give(Input::TopicDesired {
        request,
        topic: desired("u", 1),
    });
    assert_eq!(bench.stepped_down, Some(StepDown::Missing));
}

#[test]
fn rule_03_leave_to_go_is_given_only_from_the_committed_image() {
    let mut bench = Bench::cluster(2);
    let heartbeat = Heartbeat {
        session: bench.session(0),
        applied: applied_everything(),
        want_shutdown: true,
        ready: true,
    };
    bench.hold = true;
    let may = |reply: Reply| matches!(reply, Reply::Heartbeat(reply) if reply.may_shutdown);
    assert!(!may(bench.ask(|request| Input::Heartbeat { request, heartbeat })));
    assert!(
        !may(bench.ask(|request| Input::Heartbeat { request, heartbeat })),
        "decided, but not committed"
    );
    bench.release();
    assert!(may(bench.ask(|request| Input::Heartbeat { request, heartbeat })));
    // It leaves, and is fenced without waiting for silence.
    let incarnation = registration(0, 1).incarnation;
    bench.give(Input::SessionEnded {
        broker: BrokerId(0),
        incarnation,
    });
    assert!(bench.image().broker(BrokerId(0)).is_some_and(|broker| broker.fenced));
    assert!(!bench.order.contains(&"suspect"), "nobody doubts what it said itself");
}

#[test]
fn rule_20_a_stream_that_breaks_is_a_suspicion_and_no_fence() {
    let mut bench = Bench::cluster(2);
    bench.give(Input::SessionEnded {
        broker: BrokerId(1),
        incarnation: registration(1, 9).incarnation,
    });
    assert!(!bench.order.contains(&"suspect"), "a process of the past");
    bench.give(Input::SessionEnded {
        broker: BrokerId(1),
        incarnation: registration(1, 1).incarnation,
    });
    assert!(bench.order.contains(&"suspect"));
    assert!(bench.image().is_eligible(BrokerId(1)));
}

#[test]
fn rule_03_and_04_snapshots_are_deleted_only_below_what_was_read_back_from_the_log() {
    let mut bench = Bench::cluster(1);
    grow(&mut bench, SNAPSHOT_AT_BYTES * 4);
    let order: Vec<_> = bench
        .order
        .iter()
        .filter(|name| !matches!(**name, "wake" | "reply" | "publish"))
        .collect();
    let deleted = order
        .iter()
        .position(|name| **name == "delete snapshots")
        .expect("a whole round");
    let steps: Vec<_> = order[..deleted].iter().rev().take(3).rev().collect();
    assert_eq!(steps, [&&"write snapshot", &&"append", &&"read"], "{order:?}");
    assert_eq!(bench.snapshots.len(), 1, "older ones are gone");
    let (log, _) = bench.store.clone().expect("a log");
    assert!(log.tail_bytes() <= 2 * SNAPSHOT_AT_BYTES);
    // What is left is enough for a successor.
    let mut successor = bench.successor(2);
    successor.give(Input::Start);
    assert!(successor.controller.is_acting());
    assert_eq!(successor.image().topics(), bench.image().topics());
}

#[test]
fn rule_03_and_04_nothing_is_deleted_when_the_log_read_back_has_another_snapshot() {
    let mut bench = Bench::cluster(1);
    grow(&mut bench, SNAPSHOT_AT_BYTES - 4096);
    // Everything is carried out but the read that follows the cut.
    let mut inputs = std::collections::VecDeque::new();
    let read = (0..100).find_map(|n| {
        let request = bench.request();
        bench.now += SECOND;
        inputs.push_back(Input::TopicDesired {
            request,
            topic: desired(&format!("more-{n}"), 300),
        });
        while let Some(input) = inputs.pop_front() {
            for effect in bench.controller.step(bench.now, input) {
                match effect {
                    Effect::Read { id, .. } => return Some(id),
                    effect => inputs.extend(bench.carry_out(effect)),
                }
            }
        }
        None
    });
    let without = bench.read(false).map(|mut log| {
        log.document.snapshot = None;
        log
    });
    let effects = bench.controller.step(
        bench.now,
        Input::ReadDone {
            id: read.expect("a cut"),
            log: without,
        },
    );
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::DeleteSnapshotsBelow { .. })),
        "{effects:?}"
    );
}

#[test]
fn rule_24_a_log_whose_snapshot_is_missing_is_the_same_as_none() {
    let mut bench = Bench::cluster(1);
    grow(&mut bench, SNAPSHOT_AT_BYTES * 2);
    let mut successor = bench.successor(2);
    successor.snapshots.clear();
    successor.give(Input::Start);
    assert!(
        matches!(successor.stepped_down, Some(StepDown::SnapshotLost(_))),
        "{:?}",
        successor.stepped_down
    );
}

#[test]
fn rule_04_a_failed_snapshot_is_tried_again_and_appends_go_on() {
    let mut bench = Bench::cluster(1);
    grow(&mut bench, SNAPSHOT_AT_BYTES - 4096);
    bench.hold = true;
    while !bench
        .held
        .iter()
        .any(|effect| matches!(effect, Effect::WriteSnapshot { .. }))
    {
        make_topic(&mut bench);
        let at = bench
            .held
            .iter()
            .position(|effect| matches!(effect, Effect::Append { .. }));
        if at.is_some() {
            let (id, expected, document) = bench.held_append();
            assert!(bench.land(expected.as_ref(), &document));
            let version = StoreVersion(bench.store.as_ref().map_or(0, |(_, version)| *version).to_string());
            bench.give(Input::Appended { id, version });
        }
    }
    let Some(Effect::WriteSnapshot { name, .. }) = bench.held.pop() else {
        panic!("found above")
    };
    bench.hold = false;
    bench.give(Input::SnapshotFailed {
        name,
        error: "no answer".to_owned(),
    });
    assert!(matches!(bench.topic("meanwhile", 1), Reply::Topic(_)));
    assert!(bench.snapshots.is_empty());
    bench.pass(2 * SECOND);
    assert_eq!(bench.snapshots.len(), 1);
}

#[test]
fn rule_05_a_full_log_takes_only_what_fences_elects_or_changes_an_isr() {
    let mut bench = Bench::cluster(2);
    make_topic(&mut bench);
    bench.snapshots_fail = true;
    let refused = (0..200).find_map(|n| {
        bench.now += SECOND;
        bench.heartbeat(0);
        bench.heartbeat(1);
        match bench.topic(&format!("{n}-{}", "x".repeat(200)), 5000) {
            Reply::Refused(refusal) => Some(refusal),
            _ => None,
        }
    });
    assert_eq!(refused, Some(Refusal::LogFull));
    assert!(bench.controller.is_log_full());
    let tail = bench.store.as_ref().map_or(0, |(log, _)| log.tail_bytes());
    assert!(
        (TAIL_LIMIT_BYTES..TAIL_LIMIT_BYTES + 16 * 1024).contains(&tail),
        "{tail}"
    );
    assert_eq!(*refusal(&bench.register(registration(7, 7))), Refusal::LogFull);
    // A death is still written.
    bench.give(Input::BrokerGone {
        broker: BrokerId(0),
        incarnation: None,
        proof: Proof::Terminated,
    });
    assert!(bench.image().broker(BrokerId(0)).is_some_and(|broker| broker.fenced));
    // And once the snapshot could be stored, all is well again.
    bench.snapshots_fail = false;
    bench.pass(2 * SECOND);
    assert!(!bench.controller.is_log_full());
    assert!(matches!(bench.topic("again", 1), Reply::Topic(_)));
}

#[test]
fn rule_06_a_controller_checks_its_own_fold_at_takeover() {
    let bench = Bench::cluster(1);
    let mut successor = bench.successor(2);
    if let Some((log, _)) = &mut successor.store {
        log.tail[2] = log.tail[2].replace("broker-0", "broker-9");
    }
    successor.give(Input::Start);
    assert!(
        matches!(successor.stepped_down, Some(StepDown::Unusable(_))),
        "{:?}",
        successor.stepped_down
    );
    assert!(!successor.controller.is_acting());
}

#[test]
fn rule_07_each_controller_has_an_epoch_and_a_nonce_of_its_own() {
    let first = Bench::cluster(1);
    let mut second = first.successor(2);
    second.give(Input::Start);
    let (first, second) = (first.controller.identity(), second.controller.identity());
    let (first, second) = (first.expect("acting"), second.expect("acting"));
    assert!(first.accepts(&second) && !second.accepts(&first));
    assert_ne!(first.nonce, second.nonce);
    assert_eq!(first.lineage, second.lineage);
}

#[test]
fn rule_08_published_frames_follow_each_other_so_that_each_can_be_persisted() {
    let mut bench = Bench::cluster(2);
    make_topic(&mut bench);
    let mut offsets = bench.published.iter().map(|frame| frame.offset);
    let first = offsets.next().expect("some");
    assert!(offsets.zip(1..).all(|(offset, n)| offset.0 == first.0 + n));
}

#[test]
fn rule_09_an_operator_that_does_not_know_the_log_stops() {
    let bench = Bench::cluster(1);
    let mut successor = bench.successor(2);
    if let Some((log, _)) = &mut successor.store {
        log.tail.push(
            Frame {
                offset: log.end_offset.next(),
                record: Record::from(Noop {}),
                image_hash: bench.image().hash(),
                chain_hash: bench.image().chain_hash(),
            }
            .to_line()
            .replace("Noop", "MoonPhaseSet"),
        );
    }
    successor.give(Input::Start);
    let Some(StepDown::Unusable(reason)) = successor.stepped_down else {
        panic!("it must stop")
    };
    assert!(
        reason.contains("MoonPhaseSet") && reason.contains("upgrade"),
        "{reason}"
    );
}

#[test]
fn rule_09_a_broker_that_does_not_know_a_finalized_level_is_not_registered() {
    let mut bench = Bench::cluster(0);
    let old = Registration {
        features: std::collections::BTreeMap::new(),
        ..registration(0, 1)
    };
    assert!(matches!(
        refusal(&bench.register(old)),
        Refusal::UnsupportedFeature { level: 2, .. }
    ));
}

#[test]
fn rule_10_min_insync_replicas_comes_from_records_only() {
    let mut bench = Bench::cluster(1);
    let config = std::collections::BTreeMap::from([("min.insync.replicas".to_owned(), "2".to_owned())]);
    let done = bench.ask(|request| Input::ClusterDesired {
        request,
        config,
        brokers: 1,
    });
    assert_eq!(done, Reply::Done);
    make_topic(&mut bench);
    let mut successor = bench.successor(2);
    successor.give(Input::Start);
    let image = successor.image();
    let topic = image.topics().values().next().expect("a topic");
    assert_eq!(image.topic_config(topic).min_insync_replicas, 2);
    assert_eq!(
        image.min_insync_replicas(topic, &topic.partitions[0]),
        1,
        "never more than there are replicas"
    );
}

#[test]
fn rule_23_where_there_was_a_log_none_is_begun() {
    let mut bench = Bench::with(Settings {
        format: Format::Refuse,
        ..settings(1)
    });
    bench.give(Input::Start);
    assert_eq!(bench.stepped_down, Some(StepDown::Missing));
    assert!(bench.store.is_none());
}

#[test]
fn rule_25_a_tombstone_stays_until_every_registered_broker_has_purged() {
    let mut bench = Bench::cluster(2);
    let id = state(&bench.topic("t", 2)).id;
    assert_eq!(bench.ask(|request| Input::TopicDeleted { request, id }), Reply::Done);
    assert!(bench.image().tombstones().contains_key(&id));
    let report = |bench: &mut Bench, broker| {
        let session = bench.session(broker);
        bench.ask(|request| Input::ReportPurged {
            request,
            session,
            topics: vec![id],
        })
    };
    assert_eq!(report(&mut bench, 0), Reply::Done);
    assert_eq!(report(&mut bench, 0), Reply::Done);
    assert!(
        bench.image().tombstones().contains_key(&id),
        "broker 1 may still hold it"
    );
    // A fenced broker counts: it comes back with its volume.
    bench.give(Input::BrokerGone {
        broker: BrokerId(1),
        incarnation: None,
        proof: Proof::Terminated,
    });
    bench.pass(SECOND);
    assert!(bench.image().tombstones().contains_key(&id));
    assert_eq!(report(&mut bench, 1), Reply::Done);
    assert!(bench.image().tombstones().is_empty());
    // Deleting what is gone is done already.
    assert_eq!(bench.ask(|request| Input::TopicDeleted { request, id }), Reply::Done);
}

#[test]
fn decisions_made_while_an_append_is_in_flight_share_the_next_one() {
    let mut bench = Bench::cluster(1);
    bench.hold = true;
    let requests: Vec<_> = (0..50)
        .map(|n| {
            let request = bench.request();
            bench.give(Input::TopicDesired {
                request,
                topic: desired(&format!("t{n}"), 1),
            });
            request
        })
        .collect();
    bench.appends = 0;
    bench.release();
    assert!(
        requests
            .iter()
            .all(|request| matches!(bench.replies[request], Reply::Topic(_)))
    );
    assert!(bench.appends <= 2, "{} appends", bench.appends);
}

#[test]
fn a_log_that_another_began_first_is_not_overwritten() {
    let mut late = Bench::idle();
    late.hold = true;
    late.give(Input::Start);
    late.give(Input::ReadDone { id: 1, log: None });
    let other = Bench::cluster(1);
    late.store.clone_from(&other.store);
    late.release();
    assert!(late.stepped_down.is_some());
    assert_eq!(late.store, other.store);
}

#[test]
fn a_takeover_survives_failing_reads() {
    let mut bench = Bench::idle();
    bench.hold = true;
    bench.give(Input::Start);
    bench.give(Input::ReadFailed {
        id: 1,
        error: "no answer".to_owned(),
    });
    bench.hold = false;
    bench.held.clear();
    bench.pass(SECOND);
    assert!(bench.controller.is_acting());
    let elected = |line: &&String| {
        matches!(
            Frame::from_line(line),
            Ok(Frame {
                record: Record::ControllerElected(ControllerElected { .. }),
                ..
            })
        )
    };
    assert_eq!(
        bench.store.map(|(log, _)| log.tail.iter().filter(elected).count()),
        Some(1)
    );
}

#[test]
fn producer_ids_are_committed_before_they_are_handed_out_and_never_twice() {
    let mut bench = Bench::cluster(1);
    let session = bench.session(0);
    bench.hold = true;
    let request = bench.request();
    bench.give(Input::AllocateProducerIds { request, session });
    assert!(!bench.replies.contains_key(&request));
    bench.release();
    assert_eq!(
        bench.replies[&request],
        Reply::ProducerIds {
            first: ProducerId(0),
            count: 1_000_000
        }
    );
    let mut successor = bench.successor(2);
    successor.give(Input::Start);
    let reply = successor.ask(|request| Input::AllocateProducerIds { request, session });
    assert_eq!(
        reply,
        Reply::ProducerIds {
            first: ProducerId(1_000_000),
            count: 1_000_000
        }
    );
    let stale = SessionId {
        epoch: model::BrokerEpoch(0),
        ..session
    };
    let reply = successor.ask(|request| Input::AllocateProducerIds {
        request,
        session: stale,
    });
    assert!(matches!(refusal(&reply), Refusal::StaleBrokerEpoch { .. }));
}

#[test]
fn a_document_reads_back_from_its_file_and_notices_a_changed_byte() {
    let bench = Bench::cluster(2);
    let (log, _) = bench.store.expect("a log");
    let text = log.encode();
    assert_eq!(LogDocument::decode(&text), Ok(log));
    assert!(LogDocument::decode(&text.replace("broker-1", "broker-2")).is_err());
    let later = text.replacen("-log 1 ", "-log 2 ", 1);
    let error = LogDocument::decode(&later).expect_err("a later version");
    assert_eq!(
        error.to_string(),
        "metadata log has version 2, this version of Barnabas knows 1: upgrade it"
    );
}

fn make_topic(bench: &mut Bench) -> TopicId {
    let request = bench.request();
    bench.now += SECOND / 10;
    bench.give(Input::TopicDesired {
        request,
        topic: desired(&format!("topic-{request}"), 300),
    });
    bench.image().topics().keys().next().copied().unwrap_or_default()
}

/// Makes topics until so many bytes were appended.
fn grow(bench: &mut Bench, bytes: usize) {
    let mut written = 0;
    while written < bytes {
        let before = bench.published.len();
        make_topic(bench);
        bench.heartbeat(0);
        written += bench.published[before..]
            .iter()
            .map(|frame| frame.to_line().len() + 1)
            .sum::<usize>();
    }
}
