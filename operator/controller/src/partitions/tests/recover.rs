//! METADATA 17: logs are compared where nobody is left who is known to have everything.

use super::*;

/// Three replicas, minimum 2, and all lost power: 0 first, then 1, then 2. All are back, with new boots.
fn all_lost_power() -> Bench {
    let mut bench = cluster(3, &[&[0, 1, 2], &[0, 1, 2]]);
    set_min_isr(&mut bench, 2);
    (0..3).for_each(|id| kill(&mut bench, id));
    (0..3).for_each(|id| revive(&mut bench, id, 2));
    assert!(partition(&bench, 0).awaits_log_ends());
    bench
}

fn leader_of(bench: &Bench, index: i32) -> Option<i32> {
    partition(bench, index).leader.map(|id| id.0)
}

#[test]
fn rule_17_when_every_last_member_has_spoken_the_longest_log_leads_by_one_append() {
    let mut bench = all_lost_power();
    let appends = bench.appends;
    report(&mut bench, 1, &[(0, ends(3, 7)), (1, ends(3, 7))]);
    report(&mut bench, 0, &[(0, ends(3, 5)), (1, ends(3, 5))]);
    assert_eq!([leader_of(&bench, 0), leader_of(&bench, 1)], [None, None]);
    assert_eq!(bench.appends, appends);
    // A later epoch counts before a greater offset.
    report(&mut bench, 2, &[(0, ends(4, 2)), (1, ends(3, 6))]);
    assert_eq!([leader_of(&bench, 0), leader_of(&bench, 1)], [Some(2), Some(1)]);
    assert_eq!(bench.appends, appends + 1, "one append for all of them");
    let led = partition(&bench, 0);
    assert_eq!(
        (numbers(&led.isr), led.elr.len(), led.last_known_elr.len()),
        (vec![2], 0, 0)
    );
    assert_eq!(
        led.unclean_epoch,
        Some(led.leader_epoch),
        "what others have beyond it is given up"
    );
}

#[test]
fn rule_17_who_was_no_last_member_and_is_up_may_have_what_they_lost() {
    let mut bench = all_lost_power();
    report(&mut bench, 1, &[(0, ends(3, 5))]);
    report(&mut bench, 2, &[(0, ends(3, 6))]);
    assert_eq!(leader_of(&bench, 0), None, "broker 0 is up and has not spoken");
    report(&mut bench, 0, &[(0, ends(3, 9))]);
    assert_eq!(leader_of(&bench, 0), Some(0));
}

#[test]
fn rule_17_nobody_waits_for_a_broker_that_is_down_and_was_no_last_member() {
    let mut bench = all_lost_power();
    kill(&mut bench, 0);
    report(&mut bench, 1, &[(0, ends(3, 5))]);
    report(&mut bench, 2, &[(0, ends(3, 6))]);
    assert_eq!(leader_of(&bench, 0), Some(2));
}

#[test]
fn rule_17_a_last_member_that_is_missing_is_waited_for() {
    let mut bench = all_lost_power();
    kill(&mut bench, 1);
    report(&mut bench, 0, &[(0, ends(3, 5))]);
    report(&mut bench, 2, &[(0, ends(3, 6))]);
    assert_eq!(leader_of(&bench, 0), None);
    // What the former process of it says, or said, counts for nothing.
    revive(&mut bench, 1, 3);
    assert_eq!(leader_of(&bench, 0), None);
    report(&mut bench, 1, &[(0, ends(3, 1))]);
    assert_eq!(leader_of(&bench, 0), Some(2));
}

#[test]
fn rule_17_what_was_said_by_an_earlier_process_or_in_an_earlier_epoch_counts_for_nothing() {
    let mut bench = all_lost_power();
    report(&mut bench, 1, &[(0, ends(3, 9))]);
    kill(&mut bench, 1);
    revive(&mut bench, 1, 3);
    report(&mut bench, 0, &[(0, ends(3, 5))]);
    report(&mut bench, 2, &[(0, ends(3, 6))]);
    assert_eq!(leader_of(&bench, 0), None, "the process that said 9 is gone");
    let session = bench.session(1);
    let topic = bench.image().topic_by_name("t").expect("the topic").id;
    let late = ReplicaReport {
        topic,
        partition: PartitionIndex(0),
        leader_epoch: LeaderEpoch(partition(&bench, 0).leader_epoch.0 - 1),
        log: ends(3, 9),
    };
    bench.ask(|request| Input::ReportReplicas {
        request,
        session,
        reports: vec![late],
    });
    assert_eq!(leader_of(&bench, 0), None);
    report(&mut bench, 1, &[(0, ends(3, 1))]);
    assert_eq!(leader_of(&bench, 0), Some(2));
}

#[test]
fn rule_17_a_last_member_whose_log_has_failed_is_missing_and_any_other_is_not() {
    let mut bench = all_lost_power();
    report(&mut bench, 0, &[(0, ReportedLog::Failed), (1, ends(3, 1))]);
    report(&mut bench, 1, &[(0, ends(3, 5)), (1, ReportedLog::Failed)]);
    report(&mut bench, 2, &[(0, ends(3, 4)), (1, ends(3, 4))]);
    assert_eq!([leader_of(&bench, 0), leader_of(&bench, 1)], [Some(1), None]);
}

#[test]
fn rule_17_a_lost_volume_is_not_waited_for() {
    let mut bench = all_lost_power();
    kill(&mut bench, 1);
    let mut wiped = registration(1, 3);
    wiped.directory_id = model::DirectoryId(uuid::Uuid::from_u128(99));
    assert!(matches!(bench.register(wiped), Reply::Registered(_)));
    assert_eq!(numbers(&partition(&bench, 0).last_known_elr), [2]);
    report(&mut bench, 0, &[(0, ends(3, 2))]);
    report(&mut bench, 2, &[(0, ends(3, 4))]);
    assert_eq!(leader_of(&bench, 0), Some(2));
}

#[test]
fn rule_17_the_longest_log_is_waited_for_while_its_broker_is_fenced() {
    let mut bench = all_lost_power();
    report(&mut bench, 2, &[(0, ends(3, 9))]);
    for _ in 0..10 {
        bench.pass(SECOND);
        for id in [0, 1] {
            bench.heartbeat(id);
        }
    }
    assert!(
        bench.image().broker(BrokerId(2)).expect("registered").fenced,
        "it was silent"
    );
    report(&mut bench, 0, &[(0, ends(3, 5))]);
    report(&mut bench, 1, &[(0, ends(3, 6))]);
    assert_eq!(leader_of(&bench, 0), None);
    // It was fenced although it lives, and comes back with its old epoch (METADATA 19).
    bench.heartbeat(2);
    bench.pass(SECOND);
    assert_eq!(leader_of(&bench, 0), Some(2));
}

#[test]
fn a_new_controller_hears_it_all_again() {
    let mut bench = all_lost_power();
    report(&mut bench, 1, &[(0, ends(3, 7))]);
    let mut next = bench.successor(2);
    next.give(Input::Start);
    report(&mut next, 0, &[(0, ends(3, 1))]);
    report(&mut next, 2, &[(0, ends(3, 2))]);
    assert_eq!(leader_of(&next, 0), None);
    report(&mut next, 1, &[(0, ends(3, 7))]);
    assert_eq!(leader_of(&next, 0), Some(1));
}

#[test]
fn rule_16_the_sole_member_of_an_isr_that_may_have_lost_records_is_compared_with_the_others() {
    let mut bench = cluster(3, &[&[0, 1, 2]]);
    propose(&mut bench, 0, &[0]);
    kill(&mut bench, 0);
    revive(&mut bench, 0, 2);
    assert_eq!(leader_of(&bench, 0), None, "brokers 1 and 2 may have what it lost");
    report(&mut bench, 0, &[(0, ends(0, 4))]);
    report(&mut bench, 1, &[(0, ends(0, 6))]);
    report(&mut bench, 2, &[(0, ends(0, 5))]);
    assert_eq!(leader_of(&bench, 0), Some(1));
}

#[test]
fn rule_17_a_record_from_before_a_lower_minimum_is_found_where_it_is() {
    let mut bench = cluster(3, &[&[0, 1, 2]]);
    set_min_isr(&mut bench, 2);
    kill(&mut bench, 2);
    kill(&mut bench, 0);
    assert_eq!(numbers(&partition(&bench, 0).elr), [0]);
    set_min_isr(&mut bench, 1);
    // Broker 1 led until here, and loses the end of its log.
    kill(&mut bench, 1);
    revive(&mut bench, 1, 2);
    report(&mut bench, 1, &[(0, ends(2, 0))]);
    assert_eq!(leader_of(&bench, 0), None, "broker 0 is not back");
    revive(&mut bench, 0, 2);
    report(&mut bench, 0, &[(0, ends(2, 1))]);
    assert_eq!(leader_of(&bench, 0), Some(0));
}

#[test]
fn a_leader_whose_log_has_failed_is_followed_by_another_by_one_record_for_all_its_partitions() {
    let mut bench = cluster(3, &[&[0, 1, 2], &[0, 2, 1], &[0, 1, 2]]);
    let offset = bench.image().offset();
    report(&mut bench, 0, &[(0, ReportedLog::Failed), (1, ReportedLog::Failed)]);
    assert_eq!(bench.leaders("t"), [Some(1), Some(2), Some(0)]);
    assert_eq!(numbers(&partition(&bench, 0).isr), [1, 2]);
    assert_eq!(bench.image().offset(), offset.next());
    // Said again, it changes nothing.
    report(&mut bench, 0, &[(0, ReportedLog::Failed), (1, ReportedLog::Failed)]);
    assert_eq!(bench.image().offset(), offset.next());
}

#[test]
fn the_only_log_that_has_failed_is_led_by_nobody_until_its_broker_restarts() {
    let mut bench = cluster(2, &[&[0], &[1]]);
    report(&mut bench, 0, &[(0, ReportedLog::Failed)]);
    assert_eq!(bench.leaders("t"), [None, Some(1)]);
    let offset = bench.image().offset();
    report(&mut bench, 0, &[(0, ReportedLog::Failed)]);
    assert_eq!(bench.image().offset(), offset);
    kill(&mut bench, 0);
    revive(&mut bench, 0, 2);
    assert_eq!(bench.leaders("t"), [Some(0), Some(1)]);
}

#[test]
fn a_person_who_does_not_wait_for_a_missing_member_gets_the_longest_log_there_is() {
    let mut bench = all_lost_power();
    kill(&mut bench, 1);
    report(&mut bench, 0, &[(0, ends(3, 9)), (1, ends(3, 1))]);
    report(&mut bench, 2, &[(0, ends(3, 6)), (1, ReportedLog::Failed)]);
    assert_eq!([leader_of(&bench, 0), leader_of(&bench, 1)], [None, None]);
    for index in [0, 1] {
        assert_eq!(elect(&mut bench, 1, index), ErrorCode::None);
        assert_eq!(leader_of(&bench, index), Some(0));
    }
}

#[test]
fn without_everybodys_word_a_person_gets_a_last_member() {
    let mut bench = all_lost_power();
    kill(&mut bench, 1);
    report(&mut bench, 0, &[(0, ends(3, 9))]);
    assert_eq!(elect(&mut bench, 1, 0), ErrorCode::None);
    assert_eq!(leader_of(&bench, 0), Some(2));
}

#[test]
fn a_failed_log_is_not_elected_where_the_topic_allows_unclean_leaders() {
    let mut bench = cluster(2, &[&[0, 1]]);
    let topic = DesiredTopic {
        partitions: None,
        config: [("unclean.leader.election.enable".to_owned(), "true".to_owned())].into(),
        ..desired("t", 1)
    };
    bench.ask(|request| Input::TopicDesired { request, topic });
    propose(&mut bench, 0, &[0]);
    report(&mut bench, 0, &[(0, ReportedLog::Failed)]);
    assert_eq!(leader_of(&bench, 0), Some(1));
}
