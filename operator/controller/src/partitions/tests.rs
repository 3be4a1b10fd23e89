//! Moves, elections and drains through the whole controller.

mod histories;
mod recover;
mod scale;

use std::time::Duration;

use model::{
    BrokerId, IsrMember, IsrProposal, LeaderEpoch, LogEnd, PartitionImage, PartitionIndex, Record, ReplicaReport,
    ReportedLog,
};
use protocol::ErrorCode;
use protocol::messages::alter_partition_reassignments::*;
use protocol::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use protocol::messages::list_partition_reassignments::*;

use crate::fixture::{Bench, desired, registration};
use crate::*;

const SECOND: Duration = Duration::from_secs(1);

fn ids(list: &[i32]) -> Vec<BrokerId> {
    list.iter().copied().map(BrokerId).collect()
}

fn numbers(list: &[BrokerId]) -> Vec<i32> {
    list.iter().map(|id| id.0).collect()
}

/// A cluster with one topic `t`, placed by hand.
fn cluster(brokers: i32, lists: &[&[i32]]) -> Bench {
    let mut bench = Bench::cluster(brokers);
    let topic = DesiredTopic {
        assignment: Some(lists.iter().map(|list| ids(list)).collect()),
        partitions: None,
        ..desired("t", 1)
    };
    let reply = bench.ask(|request| Input::TopicDesired { request, topic });
    assert!(matches!(reply, Reply::Topic(_)), "{reply:?}");
    bench
}

fn partition(bench: &Bench, index: i32) -> PartitionImage {
    let topic = bench.image().topic_by_name("t").expect("the topic");
    topic.partition(PartitionIndex(index)).expect("the partition").clone()
}

/// What the leader of a partition proposes, and Kafka's answer.
fn propose(bench: &mut Bench, index: i32, isr: &[i32]) -> ErrorCode {
    propose_all(bench, index..index + 1, isr)
}

/// The same for several partitions of one leader, in one request.
fn propose_all(bench: &mut Bench, indexes: std::ops::Range<i32>, isr: &[i32]) -> ErrorCode {
    let session = bench.session(partition(bench, indexes.start).leader.expect("a leader").0);
    let proposal = |index: i32| {
        let now = partition(bench, index);
        let member = |id: &i32| IsrMember {
            broker: BrokerId(*id),
            epoch: bench.session(*id).epoch,
        };
        IsrProposal {
            topic: bench.image().topic_by_name("t").expect("the topic").id,
            partition: PartitionIndex(index),
            leader_epoch: now.leader_epoch,
            partition_epoch: now.partition_epoch,
            isr: isr.iter().map(member).collect(),
        }
    };
    let proposals = indexes.map(proposal).collect();
    let reply = bench.ask(|request| Input::AlterPartition {
        request,
        session,
        proposals,
    });
    match reply {
        Reply::AlterPartition(outcomes) => ErrorCode::from_code(outcomes[0].error_code).expect("Kafka's"),
        other => panic!("{other:?}"),
    }
}

/// Time passes while all brokers but the dead live.
fn live(bench: &mut Bench, seconds: u64) {
    for _ in 0..seconds {
        bench.pass(SECOND);
        for (id, broker) in bench.image().brokers().clone() {
            if !broker.fenced {
                bench.heartbeat(id.0);
            }
        }
    }
}

fn reassign(bench: &mut Bench, index: i32, replicas: Option<&[i32]>) -> ErrorCode {
    let request = AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name: "t".to_owned(),
            partitions: vec![ReassignablePartition {
                partition_index: index,
                replicas: replicas.map(<[i32]>::to_vec),
            }],
        }],
        ..AlterPartitionReassignmentsRequest::default()
    };
    let response = bench.admin(1, &request);
    ErrorCode::from_code(response.responses[0].partitions[0].error_code).expect("Kafka's")
}

/// Partition, replicas, those added, those removed.
type Move = (i32, Vec<i32>, Vec<i32>, Vec<i32>);

fn ongoing(bench: &mut Bench) -> Vec<Move> {
    let response = bench.admin(0, &ListPartitionReassignmentsRequest::default());
    let partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
    let row = |one: OngoingPartitionReassignment| {
        (
            one.partition_index,
            one.replicas,
            one.adding_replicas,
            one.removing_replicas,
        )
    };
    partitions.map(row).collect()
}

fn kill(bench: &mut Bench, id: i32) {
    bench.give(Input::BrokerGone {
        broker: BrokerId(id),
        incarnation: None,
        proof: Proof::Terminated,
    });
    // After many appends the next one waits for its turn.
    bench.pause(Duration::from_millis(100));
}

fn set_min_isr(bench: &mut Bench, min: usize) {
    let config = [("min.insync.replicas".to_owned(), min.to_string())].into();
    bench.ask(|request| Input::ClusterDesired {
        request,
        config,
        brokers: 3,
    });
}

fn ends(epoch: i32, offset: i64) -> ReportedLog {
    let epoch = LeaderEpoch(epoch);
    ReportedLog::Ends(LogEnd { epoch, offset })
}

/// A broker says what there is of its logs.
fn report(bench: &mut Bench, id: i32, logs: &[(i32, ReportedLog)]) -> Reply {
    let session = bench.session(id);
    let topic = bench.image().topic_by_name("t").expect("the topic").id;
    let reports = logs.iter().map(|(index, log)| ReplicaReport {
        topic,
        partition: PartitionIndex(*index),
        leader_epoch: partition(bench, *index).leader_epoch,
        log: *log,
    });
    let reports = reports.collect();
    bench.ask(|request| Input::ReportReplicas {
        request,
        session,
        reports,
    })
}

/// The process comes back as another one on the same directory.
fn revive(bench: &mut Bench, id: i32, incarnation: u128) {
    let registration = registration(id, incarnation);
    assert!(matches!(bench.register(registration), Reply::Registered(_)));
    bench.heartbeat(id);
    assert!(!bench.heartbeat(id).fenced);
}

fn elect(bench: &mut Bench, election_type: i8, index: i32) -> ErrorCode {
    let request = ElectLeadersRequest {
        election_type,
        topic_partitions: Some(vec![TopicPartitions {
            topic: "t".to_owned(),
            partitions: vec![index],
        }]),
        ..ElectLeadersRequest::default()
    };
    let response = bench.admin(2, &request);
    let result = &response.replica_election_results[0].partition_result[0];
    ErrorCode::from_code(result.error_code).expect("Kafka's")
}

#[test]
fn a_move_waits_until_every_new_replica_is_in_sync_and_takes_the_leadership_along() {
    let mut bench = cluster(4, &[&[0, 1]]);
    assert_eq!(reassign(&mut bench, 0, Some(&[2, 3])), ErrorCode::None);
    let moving = partition(&bench, 0);
    assert_eq!(numbers(&moving.replicas), [2, 3, 0, 1]);
    assert_eq!((moving.leader, moving.leader_epoch.0), (Some(BrokerId(0)), 0));
    assert_eq!(ongoing(&mut bench), [(0, vec![2, 3, 0, 1], vec![2, 3], vec![0, 1])]);
    assert_eq!(propose(&mut bench, 0, &[0, 1, 2]), ErrorCode::None);
    assert!(partition(&bench, 0).is_reassigning());
    assert_eq!(propose(&mut bench, 0, &[0, 1, 2, 3]), ErrorCode::NewLeaderElected);
    let moved = partition(&bench, 0);
    assert_eq!(
        (numbers(&moved.replicas), numbers(&moved.isr)),
        (vec![2, 3], vec![2, 3])
    );
    assert_eq!((moved.leader, moved.leader_epoch.0), (Some(BrokerId(2)), 1));
    assert!(!moved.is_reassigning() && ongoing(&mut bench).is_empty());
}

#[test]
fn another_order_of_the_same_replicas_needs_no_wait_and_moves_no_leader() {
    let mut bench = cluster(3, &[&[0, 1, 2]]);
    assert_eq!(reassign(&mut bench, 0, Some(&[2, 0, 1])), ErrorCode::None);
    let moved = partition(&bench, 0);
    assert_eq!(numbers(&moved.replicas), [2, 0, 1]);
    assert_eq!((moved.leader, moved.leader_epoch.0), (Some(BrokerId(0)), 0));
    assert_eq!(reassign(&mut bench, 0, Some(&[2, 0])), ErrorCode::None);
    let fewer = partition(&bench, 0);
    assert_eq!(
        (numbers(&fewer.replicas), numbers(&fewer.isr)),
        (vec![2, 0], vec![2, 0])
    );
    assert_eq!(fewer.leader_epoch.0, 1, "METADATA 14: a replica left the set");
}

#[test]
fn a_move_that_is_taken_back_leaves_what_was_there() {
    let mut bench = cluster(4, &[&[0, 1]]);
    assert_eq!(reassign(&mut bench, 0, None), ErrorCode::NoReassignmentInProgress);
    reassign(&mut bench, 0, Some(&[1, 2, 3]));
    propose(&mut bench, 0, &[0, 1, 2]);
    assert_eq!(reassign(&mut bench, 0, None), ErrorCode::None);
    let back = partition(&bench, 0);
    assert_eq!((numbers(&back.replicas), numbers(&back.isr)), (vec![1, 0], vec![1, 0]));
    assert_eq!(back.leader, Some(BrokerId(0)), "the order is the new one, as in Kafka");
    assert!(!back.is_reassigning());
}

#[test]
fn a_move_may_get_another_aim_on_its_way() {
    let mut bench = cluster(4, &[&[0, 1]]);
    reassign(&mut bench, 0, Some(&[2, 1]));
    propose(&mut bench, 0, &[0, 1]);
    assert_eq!(reassign(&mut bench, 0, Some(&[3, 1])), ErrorCode::None);
    assert_eq!(ongoing(&mut bench), [(0, vec![3, 1, 0], vec![3], vec![0])]);
    assert_eq!(propose(&mut bench, 0, &[0, 1, 3]), ErrorCode::NewLeaderElected);
    assert_eq!(numbers(&partition(&bench, 0).replicas), [3, 1]);
}

#[test]
fn what_no_move_can_be_is_refused_in_kafkas_words() {
    let mut bench = cluster(3, &[&[0, 1]]);
    let cases: [(i32, &[i32], ErrorCode); 4] = [
        (7, &[1, 2], ErrorCode::UnknownTopicOrPartition),
        (0, &[], ErrorCode::InvalidReplicaAssignment),
        (0, &[1, 1], ErrorCode::InvalidReplicaAssignment),
        (0, &[1, 9], ErrorCode::InvalidReplicaAssignment),
    ];
    let offset = bench.image().offset();
    for (index, replicas, expected) in cases {
        assert_eq!(reassign(&mut bench, index, Some(replicas)), expected, "{replicas:?}");
    }
    let request = AlterPartitionReassignmentsRequest {
        allow_replication_factor_change: false,
        topics: vec![ReassignableTopic {
            name: "t".to_owned(),
            partitions: vec![ReassignablePartition {
                partition_index: 0,
                replicas: Some(vec![0, 1, 2]),
            }],
        }],
        ..AlterPartitionReassignmentsRequest::default()
    };
    let response = bench.admin(1, &request);
    let code = response.responses[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::InvalidReplicationFactor.code());
    assert_eq!(bench.image().offset(), offset);
}

#[test]
fn replicas_that_are_being_added_do_not_raise_what_an_acknowledgement_needs() {
    let mut bench = cluster(3, &[&[0]]);
    let config = [("min.insync.replicas".to_owned(), "2".to_owned())].into();
    bench.ask(|request| Input::ClusterDesired {
        request,
        config,
        brokers: 3,
    });
    let min = |bench: &Bench| {
        let topic = bench.image().topic_by_name("t").expect("the topic").clone();
        bench.image().min_insync_replicas(&topic, &topic.partitions[0])
    };
    assert_eq!(min(&bench), 1);
    reassign(&mut bench, 0, Some(&[0, 1, 2]));
    assert_eq!(min(&bench), 1, "writes go on while the followers copy");
    propose(&mut bench, 0, &[0, 1, 2]);
    assert_eq!(min(&bench), 2);
}

#[test]
fn a_topic_gets_more_replicas_and_fewer_by_its_replication_factor() {
    let mut bench = cluster(3, &[&[0], &[1], &[2]]);
    let want = |bench: &mut Bench, factor| {
        let topic = DesiredTopic {
            replication_factor: Some(factor),
            partitions: None,
            ..desired("t", 3)
        };
        bench.ask(|request| Input::TopicDesired { request, topic })
    };
    assert!(matches!(want(&mut bench, 3), Reply::Topic(_)));
    for index in 0..3 {
        assert_eq!(
            numbers(&partition(&bench, index).isr),
            [index],
            "nobody waits for the copies"
        );
        assert_eq!(propose(&mut bench, index, &[0, 1, 2]), ErrorCode::None);
        let raised = partition(&bench, index);
        assert_eq!((raised.replicas.len(), raised.leader), (3, Some(BrokerId(index))));
    }
    let offset = bench.image().offset();
    assert!(matches!(want(&mut bench, 3), Reply::Topic(_)));
    assert_eq!(bench.image().offset(), offset, "it is so already");
    // The one that is out of sync goes, whatever its place.
    propose(&mut bench, 0, &[0, 2]);
    assert!(matches!(want(&mut bench, 2), Reply::Topic(_)));
    assert_eq!(numbers(&partition(&bench, 0).replicas), [0, 2]);
    let leaders: Vec<_> = (0..3).map(|index| partition(&bench, index).leader).collect();
    assert_eq!(leaders, ids(&[0, 1, 2]).into_iter().map(Some).collect::<Vec<_>>());
    let reply = want(&mut bench, 4);
    assert!(matches!(reply, Reply::Refused(Refusal::Kafka { .. })), "{reply:?}");
}

#[test]
fn a_preferred_leader_is_elected_on_request_if_it_is_in_sync() {
    let mut bench = cluster(3, &[&[0, 1, 2]]);
    assert_eq!(elect(&mut bench, 0, 0), ErrorCode::ElectionNotNeeded);
    kill(&mut bench, 0);
    assert_eq!(partition(&bench, 0).leader, Some(BrokerId(1)));
    assert_eq!(elect(&mut bench, 0, 0), ErrorCode::PreferredLeaderNotAvailable);
    revive(&mut bench, 0, 2);
    assert_eq!(
        elect(&mut bench, 0, 0),
        ErrorCode::PreferredLeaderNotAvailable,
        "not in sync"
    );
    propose(&mut bench, 0, &[0, 1, 2]);
    let before = partition(&bench, 0);
    assert_eq!(elect(&mut bench, 0, 0), ErrorCode::None);
    let after = partition(&bench, 0);
    assert_eq!((after.leader, after.isr.len()), (Some(BrokerId(0)), 3));
    assert_eq!(after.leader_epoch, before.leader_epoch.next());
    assert_eq!(elect(&mut bench, 0, 7), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn a_broker_that_came_back_leads_again_when_it_is_in_sync_everywhere_by_one_record() {
    let mut bench = cluster(3, &[&[0, 1, 2], &[0, 2, 1], &[1, 0, 2]]);
    kill(&mut bench, 0);
    revive(&mut bench, 0, 2);
    propose(&mut bench, 0, &[0, 1, 2]);
    live(&mut bench, 15);
    assert_eq!(
        bench.leaders("t"),
        [Some(1), Some(2), Some(1)],
        "one is not in sync yet"
    );
    propose(&mut bench, 1, &[0, 1, 2]);
    assert_eq!(
        bench.leaders("t"),
        [Some(1), Some(2), Some(1)],
        "it may go again at once"
    );
    live(&mut bench, 11);
    assert_eq!(
        bench.leaders("t"),
        [Some(1), Some(2), Some(1)],
        "a client may not look for it before ten seconds are over"
    );
    let offset = bench.image().offset();
    live(&mut bench, 2);
    assert_eq!(bench.leaders("t"), [Some(0), Some(0), Some(1)]);
    assert_eq!(bench.image().offset(), offset.next(), "one record for all of them");
}

#[test]
fn a_broker_that_is_never_in_sync_everywhere_leads_again_at_the_interval_of_kafka() {
    let mut bench = cluster(3, &[&[0, 1, 2], &[0, 2, 1]]);
    kill(&mut bench, 0);
    revive(&mut bench, 0, 2);
    propose(&mut bench, 0, &[0, 1, 2]);
    live(&mut bench, 298);
    assert_eq!(bench.leaders("t"), [Some(1), Some(2)]);
    live(&mut bench, 4);
    assert_eq!(bench.leaders("t"), [Some(0), Some(2)]);
}

#[test]
fn leaders_stay_where_they_are_if_the_cluster_says_so() {
    let mut bench = cluster(3, &[&[0, 1, 2]]);
    let config = [("auto.leader.rebalance.enable".to_owned(), "false".to_owned())].into();
    bench.ask(|request| Input::ClusterDesired {
        request,
        config,
        brokers: 3,
    });
    kill(&mut bench, 0);
    revive(&mut bench, 0, 2);
    propose(&mut bench, 0, &[0, 1, 2]);
    live(&mut bench, 20);
    assert_eq!(bench.leaders("t"), [Some(1)]);
}

#[test]
fn an_unclean_election_happens_on_request_only_and_says_so_in_the_image() {
    let mut bench = cluster(2, &[&[0, 1]]);
    propose(&mut bench, 0, &[0]);
    assert_eq!(elect(&mut bench, 1, 0), ErrorCode::ElectionNotNeeded);
    kill(&mut bench, 0);
    assert_eq!(
        partition(&bench, 0).leader,
        None,
        "METADATA 15: broker 1 may lack records"
    );
    assert_eq!(elect(&mut bench, 1, 0), ErrorCode::None);
    let unclean = partition(&bench, 0);
    assert_eq!((unclean.leader, numbers(&unclean.isr)), (Some(BrokerId(1)), vec![1]));
    assert_eq!(unclean.unclean_epoch, Some(unclean.leader_epoch));
    assert!(unclean.elr.is_empty() && unclean.last_known_elr.is_empty());
}

#[test]
fn rule_17_a_person_may_elect_one_of_the_last_members_before_the_others_are_back() {
    let mut bench = cluster(3, &[&[0, 1, 2]]);
    set_min_isr(&mut bench, 2);
    (0..3).for_each(|id| kill(&mut bench, id));
    let down = partition(&bench, 0);
    assert_eq!((numbers(&down.isr), numbers(&down.elr)), (vec![2], vec![1]));
    (0..3).for_each(|id| revive(&mut bench, id, 2));
    let lost = partition(&bench, 0);
    assert!(lost.awaits_log_ends());
    let mut known = numbers(&lost.last_known_elr);
    known.sort_unstable();
    assert_eq!(known, [1, 2], "broker 0 left while both others had everything");
    assert_eq!(elect(&mut bench, 1, 0), ErrorCode::None);
    assert_eq!(
        partition(&bench, 0).leader,
        Some(BrokerId(1)),
        "not broker 0, though it is the first"
    );
}

#[test]
fn a_topic_that_allows_unclean_leaders_gets_one_by_itself() {
    let mut bench = cluster(2, &[&[0, 1]]);
    propose(&mut bench, 0, &[0]);
    kill(&mut bench, 0);
    assert_eq!(partition(&bench, 0).leader, None);
    let topic = DesiredTopic {
        partitions: None,
        config: [("unclean.leader.election.enable".to_owned(), "true".to_owned())].into(),
        ..desired("t", 1)
    };
    bench.ask(|request| Input::TopicDesired { request, topic });
    let unclean = partition(&bench, 0);
    assert_eq!(
        (unclean.leader, unclean.unclean_epoch),
        (Some(BrokerId(1)), Some(unclean.leader_epoch))
    );
}

#[test]
fn a_controlled_shutdown_moves_leaderships_before_it_is_granted() {
    let mut bench = cluster(3, &[&[0, 1, 2]]);
    let heartbeat = Heartbeat {
        session: bench.session(0),
        applied: bench.image().offset(),
        want_shutdown: true,
        ready: true,
    };
    bench.hold = true;
    let request = bench.request();
    bench.give(Input::Heartbeat { request, heartbeat });
    let Some(Reply::Heartbeat(first)) = bench.replies.get(&request) else {
        panic!("a heartbeat is answered at once")
    };
    assert!(!first.may_shutdown, "METADATA 3: nothing is committed yet");
    bench.release();
    let moved = partition(&bench, 0);
    assert_eq!((moved.leader, numbers(&moved.isr)), (Some(BrokerId(1)), vec![1, 2]));
    let reply = bench.ask(|request| Input::Heartbeat { request, heartbeat });
    assert!(matches!(
        reply,
        Reply::Heartbeat(HeartbeatReply { may_shutdown: true, .. })
    ));
    let records = bench.published.iter().rev().take(1).map(|frame| frame.record.kind());
    assert_eq!(records.collect::<Vec<_>>(), ["BrokerShutdownRequested"]);
}

#[test]
fn a_broker_is_drained_until_nothing_is_left_and_gets_nothing_new() {
    let mut bench = cluster(4, &[&[3, 0], &[1, 3], &[0, 1]]);
    let drain = |bench: &mut Bench, id: i32| {
        bench.ask(|request| Input::Drain {
            request,
            brokers: ids(&[id]),
        })
    };
    assert_eq!(drain(&mut bench, 3), Reply::Draining { left: 2 });
    assert_eq!(
        drain(&mut bench, 3),
        Reply::Draining { left: 2 },
        "the moves are under way"
    );
    for index in [0, 1] {
        let moving = partition(&bench, index);
        assert_eq!(numbers(&moving.removing), [3]);
        let isr: Vec<_> = numbers(&moving.replicas);
        propose(&mut bench, index, &isr);
    }
    assert_eq!(drain(&mut bench, 3), Reply::Draining { left: 0 });
    bench.topic("u", 12);
    let u = bench.image().topic_by_name("u").expect("the topic").clone();
    assert!(
        u.partitions
            .iter()
            .all(|partition| !partition.replicas.contains(&BrokerId(3)))
    );
    // Wanted again, it gets what is new.
    bench.ask(|request| Input::ClusterDesired {
        request,
        config: [("default.replication.factor".to_owned(), "1".to_owned())].into(),
        brokers: 4,
    });
    bench.topic("v", 12);
    let v = bench.image().topic_by_name("v").expect("the topic").clone();
    assert!(
        v.partitions
            .iter()
            .any(|partition| partition.replicas.contains(&BrokerId(3)))
    );
}

#[test]
fn of_brokers_that_go_together_none_gets_what_another_gives_up() {
    let mut bench = cluster(5, &[&[3, 0], &[4, 3], &[4, 1]]);
    let reply = bench.ask(|request| Input::Drain {
        request,
        brokers: ids(&[3, 4]),
    });
    assert_eq!(reply, Reply::Draining { left: 4 });
    for index in 0..3 {
        let target: Vec<_> = partition(&bench, index).target_replicas().collect();
        assert!(target.len() == 2 && target.iter().all(|id| id.0 < 3), "{target:?}");
    }
}

#[test]
fn a_drain_that_cannot_be_is_refused_with_one_sentence() {
    let mut bench = cluster(3, &[&[0, 1, 2]]);
    let reply = bench.ask(|request| Input::Drain {
        request,
        brokers: ids(&[2]),
    });
    let Reply::Refused(refusal) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(
        refusal.to_string(),
        "broker 2 cannot be emptied: topic t has 3 replicas of each partition and only 2 broker(s) would be left to hold them"
    );
    assert!(!partition(&bench, 0).is_reassigning());
}

#[test]
fn records_of_a_move_are_two() {
    let mut bench = cluster(3, &[&[0]]);
    let from = bench.published.len();
    reassign(&mut bench, 0, Some(&[1]));
    propose(&mut bench, 0, &[0, 1]);
    let kinds: Vec<_> = bench.published[from..].iter().map(|frame| &frame.record).collect();
    assert!(
        matches!(kinds[..], [Record::PartitionChanged(_), Record::PartitionChanged(_)]),
        "{kinds:?}"
    );
}
