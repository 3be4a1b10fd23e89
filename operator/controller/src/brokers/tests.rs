//! Registration, heartbeats and fencing through the whole controller.

use std::time::Duration;

use model::record::BrokerFenced;
use model::{BrokerEpoch, BrokerId, ClusterId, DirectoryId, MetadataOffset, Record};
use uuid::Uuid;

use crate::fixture::{Bench, desired, registration};
use crate::*;

const SECOND: Duration = Duration::from_secs(1);

fn fenced(bench: &Bench, id: i32) -> bool {
    bench.image().broker(BrokerId(id)).expect("registered").fenced
}

fn registered(reply: &Reply) -> Registered {
    match reply {
        Reply::Registered(registered) => registered.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broker_is_fenced_until_it_is_ready_and_has_applied_its_registration() {
    let mut bench = Bench::cluster(0);
    let answer = registered(&bench.register(registration(0, 1)));
    assert_eq!(answer.metadata_offset.0, answer.epoch.0);
    assert_eq!(Some(&answer.cluster_id), bench.image().cluster_id());
    let beat = |bench: &mut Bench, applied: i64, ready| {
        let session = SessionId {
            broker: BrokerId(0),
            epoch: answer.epoch,
        };
        let heartbeat = Heartbeat {
            session,
            applied: MetadataOffset(applied),
            want_shutdown: false,
            ready,
        };
        bench.ask(|request| Input::Heartbeat { request, heartbeat });
        fenced(bench, 0)
    };
    assert!(beat(&mut bench, answer.epoch.0 - 1, true), "not caught up");
    assert!(beat(&mut bench, answer.epoch.0, false), "not ready");
    assert!(!beat(&mut bench, answer.epoch.0, true));
}

#[test]
fn the_same_incarnation_again_gets_the_same_epoch_and_costs_no_record() {
    let mut bench = Bench::cluster(1);
    let offset = bench.image().offset();
    let again = registered(&bench.register(registration(0, 1)));
    assert_eq!((again.epoch, bench.image().offset()), (bench.session(0).epoch, offset));
}

#[test]
fn rule_21_a_duplicate_waits_until_the_former_process_is_out_of_the_way() {
    let mut bench = Bench::cluster(1);
    let duplicate = || registration(0, 2);
    assert_eq!(
        bench.register(duplicate()),
        Reply::Refused(Refusal::DuplicateBroker(BrokerId(0)))
    );
    bench.pass(8 * SECOND);
    assert_eq!(
        bench.register(duplicate()),
        Reply::Refused(Refusal::DuplicateBroker(BrokerId(0)))
    );
    bench.pass(2 * SECOND);
    assert!(fenced(&bench, 0));
    assert!(registered(&bench.register(duplicate())).epoch > BrokerEpoch(1));
}

#[test]
fn rule_22_time_in_which_the_controller_did_not_run_is_nobodys_silence() {
    for brokers in 1..=4 {
        let mut bench = Bench::cluster(brokers);
        // Heartbeats of this time wait unread: the first things seen are the clock and one of them.
        bench.pause(60 * SECOND);
        for id in 0..brokers - 1 {
            bench.heartbeat(id);
        }
        assert!((0..brokers).all(|id| !fenced(&bench, id)), "{brokers}");
        // The one that really is silent is found, after the full time.
        for _ in 0..10 {
            bench.pass(SECOND);
            for id in 0..brokers - 1 {
                bench.heartbeat(id);
            }
        }
        assert!(fenced(&bench, brokers - 1), "{brokers}");
    }
}

#[test]
fn rule_21_a_pause_of_the_controller_admits_no_duplicate() {
    let mut bench = Bench::cluster(1);
    bench.now += 60 * SECOND;
    assert_eq!(
        bench.register(registration(0, 2)),
        Reply::Refused(Refusal::DuplicateBroker(BrokerId(0)))
    );
}

#[test]
fn rule_21_a_successor_in_the_same_pod_or_under_the_same_directory_lock_is_accepted_at_once() {
    let pod = |incarnation| Registration {
        pod_uid: Some("pod".to_owned()),
        ..registration(0, incarnation)
    };
    let lock = |incarnation| Registration {
        boot_id: Some("boot".to_owned()),
        ..registration(0, incarnation)
    };
    for (first, second) in [(pod(1), pod(2)), (lock(1), lock(2))] {
        let mut bench = Bench::cluster(0);
        let epoch = registered(&bench.register(first)).epoch;
        assert!(registered(&bench.register(second)).epoch > epoch);
    }
    let mut bench = Bench::cluster(1);
    bench.give(Input::BrokerGone {
        broker: BrokerId(0),
        incarnation: None,
        proof: Proof::Refused,
    });
    assert!(fenced(&bench, 0));
    registered(&bench.register(registration(0, 2)));
}

#[test]
fn a_broker_of_another_cluster_or_without_a_listener_is_refused() {
    let mut bench = Bench::cluster(0);
    let foreign = Registration {
        cluster_id: Some(ClusterId::from_random([9; 16])),
        ..registration(0, 1)
    };
    assert!(matches!(
        bench.register(foreign),
        Reply::Refused(Refusal::OtherCluster { .. })
    ));
    let own = bench.image().cluster_id().cloned();
    registered(&bench.register(Registration {
        cluster_id: own,
        ..registration(0, 1)
    }));
    let mute = Registration {
        endpoints: Vec::new(),
        ..registration(1, 1)
    };
    assert!(matches!(
        bench.register(mute),
        Reply::Refused(Refusal::InvalidRegistration(_))
    ));
    let mut double = registration(1, 1);
    double.endpoints.extend(double.endpoints.clone());
    assert!(matches!(
        bench.register(double),
        Reply::Refused(Refusal::InvalidRegistration(_))
    ));
}

#[test]
fn rule_15_a_silent_broker_is_fenced_by_one_small_record_and_its_topics_move() {
    let mut bench = Bench::cluster(3);
    bench.topic("t", 12);
    bench.published.clear();
    for _ in 0..12 {
        bench.pass(SECOND);
        bench.heartbeat(1);
        bench.heartbeat(2);
    }
    let records: Vec<_> = bench.published.iter().map(|frame| frame.record.clone()).collect();
    assert!(
        matches!(
            records.as_slice(),
            [Record::BrokerFenced(BrokerFenced { id: BrokerId(0), .. })]
        ),
        "{records:?}"
    );
    assert_eq!(bench.leaders("t").iter().filter(|leader| leader.is_none()).count(), 4);
    // METADATA 19: if it lives after all, a heartbeat brings it back.
    bench.heartbeat(0);
    bench.heartbeat(0);
    assert!(!fenced(&bench, 0));
    assert!(bench.leaders("t").iter().all(Option::is_some));
}

#[test]
fn rule_22_after_a_takeover_the_full_time_begins_anew() {
    let mut bench = Bench::cluster(3);
    bench.pass(8 * SECOND);
    let mut successor = bench.successor(2);
    successor.give(Input::Start);
    successor.pass(8 * SECOND);
    assert!(!fenced(&successor, 0));
    for id in [1, 2] {
        successor.heartbeat(id);
    }
    successor.pass(SECOND);
    assert!(fenced(&successor, 0) && !fenced(&successor, 1));
}

#[test]
fn rule_19_a_process_that_was_fenced_although_it_lives_comes_back_with_its_old_epoch() {
    let mut bench = Bench::cluster(3);
    let epoch = bench.session(2).epoch;
    for _ in 0..12 {
        bench.pass(SECOND);
        bench.heartbeat(0);
        bench.heartbeat(1);
    }
    assert!(fenced(&bench, 2));
    bench.heartbeat(2);
    assert!(!fenced(&bench, 2));
    assert_eq!(bench.session(2).epoch, epoch);
}

#[test]
fn rule_20_when_all_fall_silent_they_are_probed_and_held() {
    let mut bench = Bench::cluster(3);
    bench.pass(10 * SECOND);
    assert!((0..3).all(|id| !fenced(&bench, id)));
    assert_eq!(bench.probes, [BrokerId(0), BrokerId(1), BrokerId(2)]);
}

#[test]
fn a_lease_keeps_a_broker_alive_whose_stream_is_broken() {
    let mut bench = Bench::with(Settings {
        witnesses: Witnesses::HeartbeatsAndLeases,
        ..crate::fixture::settings(1)
    });
    bench.give(Input::Start);
    bench.join(0);
    bench.join(1);
    for _ in 0..5 {
        bench.pass(3 * SECOND);
        bench.give(Input::LeaseSeen {
            broker: BrokerId(0),
            incarnation: None,
        });
        // A Lease that another process holds is no sign of life of this one.
        let other = Some(registration(1, 2).incarnation);
        bench.give(Input::LeaseSeen {
            broker: BrokerId(1),
            incarnation: other,
        });
    }
    assert!(!fenced(&bench, 0) && fenced(&bench, 1));
}

#[test]
fn rule_16_a_clean_restart_is_told_from_one_that_may_have_lost_something() {
    let clean = |change: fn(&mut Registration, BrokerEpoch)| {
        let mut bench = Bench::cluster(0);
        let first = Registration {
            boot_id: Some("boot".to_owned()),
            ..registration(0, 1)
        };
        let epoch = registered(&bench.register(first.clone())).epoch;
        let mut second = Registration {
            incarnation: registration(0, 2).incarnation,
            ..first
        };
        change(&mut second, epoch);
        bench.give(Input::BrokerGone {
            broker: BrokerId(0),
            incarnation: None,
            proof: Proof::Terminated,
        });
        registered(&bench.register(second));
        match bench.published.last().map(|frame| frame.record.clone()) {
            Some(Record::BrokerRegistered(record)) => record.clean,
            other => panic!("{other:?}"),
        }
    };
    assert!(clean(|_, _| {}), "same boot, same directory: the page cache survived");
    assert!(!clean(|second, _| second.boot_id = Some("another".to_owned())));
    assert!(clean(|second, epoch| {
        second.boot_id = None;
        second.clean_shutdown_epoch = Some(epoch);
    }));
    assert!(!clean(|second, _| {
        second.boot_id = None;
        second.clean_shutdown_epoch = Some(BrokerEpoch(0));
    }));
    assert!(!clean(|second, epoch| {
        second.directory_id = DirectoryId(Uuid::from_u128(99));
        second.clean_shutdown_epoch = Some(epoch);
    }));
}

#[test]
fn a_broker_is_forgotten_only_when_it_is_stopped_and_empty() {
    let mut bench = Bench::cluster(2);
    bench.topic("t", 2);
    let forget = |bench: &mut Bench| {
        bench.ask(|request| Input::Unregister {
            request,
            broker: BrokerId(1),
        })
    };
    assert!(matches!(forget(&mut bench), Reply::Refused(Refusal::Pending(_))));
    let id = bench.image().topic_by_name("t").expect("a topic").id;
    bench.ask(|request| Input::TopicDeleted { request, id });
    assert!(matches!(forget(&mut bench), Reply::Refused(Refusal::Pending(_))));
    bench.give(Input::BrokerGone {
        broker: BrokerId(1),
        incarnation: None,
        proof: Proof::Terminated,
    });
    assert_eq!(forget(&mut bench), Reply::Done);
    assert!(bench.image().broker(BrokerId(1)).is_none());
    // METADATA 25: nobody waits for its purge any more.
    let session = bench.session(0);
    bench.ask(|request| Input::ReportPurged {
        request,
        session,
        topics: vec![id],
    });
    bench.pass(SECOND);
    assert!(bench.image().tombstones().is_empty());
}

#[test]
fn new_topics_wait_for_the_expected_brokers_but_not_for_ever() {
    let settings = Settings {
        expected_brokers: 3,
        ..crate::fixture::settings(1)
    };
    let mut bench = Bench::with(settings.clone());
    bench.give(Input::Start);
    bench.join(0);
    let pending = bench.topic("t", 12);
    let Reply::Refused(Refusal::Pending(sentence)) = &pending else {
        panic!("{pending:?}")
    };
    assert_eq!(sentence, "1 of 3 brokers are up, the topic is placed when all are");
    bench.join(1);
    bench.join(2);
    assert!(matches!(bench.topic("t", 12), Reply::Topic(_)));
    for broker in 0..3 {
        assert_eq!(
            bench
                .leaders("t")
                .iter()
                .filter(|leader| **leader == Some(broker))
                .count(),
            4
        );
    }

    let mut bench = Bench::with(settings);
    bench.give(Input::Start);
    bench.join(0);
    assert!(matches!(bench.topic("t", 3), Reply::Refused(Refusal::Pending(_))));
    for _ in 0..30 {
        bench.pass(2 * SECOND);
        bench.heartbeat(0);
    }
    assert!(matches!(bench.topic("t", 3), Reply::Topic(_)));
    let impossible = DesiredTopic {
        replication_factor: Some(4),
        ..desired("u", 1)
    };
    let reply = bench.ask(|request| Input::TopicDesired {
        request,
        topic: impossible,
    });
    assert!(matches!(reply, Reply::Refused(Refusal::Kafka { .. })), "said at once");
}
