//! Proposals through the whole controller, case by case.

use model::{BrokerEpoch, PartitionIndex, Record, TopicId};

use super::*;
use crate::fixture::{Bench, desired, registration};
use crate::*;

/// Three brokers, and a topic of one partition that broker 0 leads with all in sync.
fn replicated() -> Bench {
    let mut bench = Bench::cluster(3);
    let topic = DesiredTopic {
        assignment: Some(vec![vec![BrokerId(0), BrokerId(1), BrokerId(2)]]),
        partitions: None,
        ..desired("t", 1)
    };
    let reply = bench.ask(|request| Input::TopicDesired { request, topic });
    assert!(matches!(reply, Reply::Topic(_)), "{reply:?}");
    bench
}

fn partition(bench: &Bench) -> &PartitionImage {
    let topic = bench.image().topic_by_name("t").expect("the topic");
    topic.partition(PartitionIndex(0)).expect("the partition")
}

fn isr(bench: &Bench) -> Vec<i32> {
    partition(bench).isr.iter().map(|id| id.0).collect()
}

/// What the leader would say now.
fn proposal(bench: &Bench, isr: &[i32]) -> IsrProposal {
    let partition = partition(bench);
    IsrProposal {
        topic: bench.image().topic_by_name("t").expect("the topic").id,
        partition: PartitionIndex(0),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        isr: isr
            .iter()
            .map(|id| IsrMember {
                broker: BrokerId(*id),
                epoch: bench
                    .image()
                    .broker(BrokerId(*id))
                    .map_or(BrokerEpoch(0), |broker| broker.epoch),
            })
            .collect(),
    }
}

fn propose(bench: &mut Bench, proposer: i32, proposals: Vec<IsrProposal>) -> Vec<IsrOutcome> {
    let session = bench.session(proposer);
    match bench.ask(|request| Input::AlterPartition {
        request,
        session,
        proposals,
    }) {
        Reply::AlterPartition(outcomes) => outcomes,
        other => panic!("{other:?}"),
    }
}

fn code(bench: &mut Bench, proposer: i32, proposal: IsrProposal) -> ErrorCode {
    let outcomes = propose(bench, proposer, vec![proposal]);
    ErrorCode::from_code(outcomes[0].error_code).expect("an error of Kafka's")
}

#[test]
fn a_proposal_is_committed_and_answered_with_what_holds_now() {
    let mut bench = replicated();
    let before = partition(&bench).clone();
    let wanted = proposal(&bench, &[2, 0]);
    let outcome = propose(&mut bench, 0, vec![wanted]).remove(0);
    assert_eq!(outcome.error_code, 0);
    assert_eq!(outcome.leader, Some(BrokerId(0)));
    assert_eq!(outcome.leader_epoch, before.leader_epoch);
    assert_eq!(outcome.partition_epoch, before.partition_epoch.next());
    assert_eq!(outcome.isr, [BrokerId(0), BrokerId(2)], "in assignment order");
    assert_eq!(isr(&bench), [0, 2]);
    let back = proposal(&bench, &[0, 1, 2]);
    assert_eq!(code(&mut bench, 0, back), ErrorCode::None);
    assert_eq!(isr(&bench), [0, 1, 2]);
}

#[test]
fn the_checks_are_kafkas_in_kafkas_order() {
    type Spoil = fn(&mut IsrProposal);
    let older: Spoil = |proposal| proposal.partition_epoch.0 -= 1;
    let unknown: Spoil = |proposal| proposal.isr[1].broker = BrokerId(9);
    // Each case is wrong in its own way and in the ways of the later ones too, so that the order shows.
    let cases: [(&str, i32, Spoil, ErrorCode); 10] = [
        (
            "a topic id that is not known",
            1,
            |proposal| {
                proposal.topic = TopicId::from_random([9; 16]);
                proposal.partition = PartitionIndex(7);
            },
            ErrorCode::UnknownTopicId,
        ),
        (
            "a partition that is not there",
            1,
            |proposal| {
                proposal.partition = PartitionIndex(7);
                proposal.leader_epoch.0 += 1;
            },
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            "a newer leader epoch",
            1,
            |proposal| {
                proposal.leader_epoch.0 += 1;
                proposal.partition_epoch.0 -= 1;
            },
            ErrorCode::NotController,
        ),
        (
            "a newer partition epoch",
            1,
            |proposal| {
                proposal.leader_epoch.0 -= 1;
                proposal.partition_epoch.0 += 1;
            },
            ErrorCode::NotController,
        ),
        (
            "an older leader epoch",
            1,
            |proposal| {
                proposal.leader_epoch.0 -= 1;
                proposal.partition_epoch.0 -= 1;
            },
            ErrorCode::FencedLeaderEpoch,
        ),
        ("not the leader", 1, older, ErrorCode::InvalidRequest),
        (
            "an older partition epoch",
            0,
            |proposal| {
                proposal.partition_epoch.0 -= 1;
                proposal.isr.clear();
            },
            ErrorCode::InvalidUpdateVersion,
        ),
        ("a member that is no replica", 0, unknown, ErrorCode::InvalidRequest),
        (
            "a member twice",
            0,
            |proposal| proposal.isr[2] = proposal.isr[1],
            ErrorCode::InvalidRequest,
        ),
        (
            "without the leader",
            0,
            |proposal| {
                proposal.isr.remove(0);
                proposal.isr[0].epoch.0 -= 1;
            },
            ErrorCode::InvalidRequest,
        ),
    ];
    for (what, proposer, spoil, expected) in cases {
        let mut bench = replicated();
        let mut wrong = proposal(&bench, &[0, 1, 2]);
        spoil(&mut wrong);
        let offset = bench.image().offset();
        assert_eq!(code(&mut bench, proposer, wrong), expected, "{what}");
        assert_eq!(bench.image().offset(), offset, "{what}: nothing is decided");
    }
}

#[test]
fn rule_13_a_member_must_be_unfenced_and_named_by_its_very_registration() {
    let mut bench = replicated();
    for wrong in [-1, 0, i64::MAX] {
        let mut other = proposal(&bench, &[0, 1, 2]);
        other.isr[1].epoch = BrokerEpoch(wrong);
        assert_eq!(
            code(&mut bench, 0, other),
            ErrorCode::IneligibleReplica,
            "epoch {wrong}"
        );
    }
    let former = proposal(&bench, &[0, 1, 2]).isr[1];
    bench.give(Input::BrokerGone {
        broker: BrokerId(1),
        incarnation: None,
        proof: Proof::Terminated,
    });
    let fenced = proposal(&bench, &[0, 1, 2]);
    assert_eq!(code(&mut bench, 0, fenced), ErrorCode::IneligibleReplica, "fenced");
    bench.register(registration(1, 2));
    bench.heartbeat(1);
    bench.heartbeat(1);
    let mut stale = proposal(&bench, &[0, 1, 2]);
    stale.isr[1] = former;
    assert_eq!(
        code(&mut bench, 0, stale),
        ErrorCode::IneligibleReplica,
        "the former one"
    );
    let current = proposal(&bench, &[0, 1, 2]);
    assert_eq!(code(&mut bench, 0, current), ErrorCode::None);
}

#[test]
fn a_broker_that_is_about_to_leave_joins_no_isr() {
    let mut bench = replicated();
    let session = bench.session(2);
    let heartbeat = Heartbeat {
        session,
        applied: bench.image().offset(),
        want_shutdown: true,
        ready: true,
    };
    bench.ask(|request| Input::Heartbeat { request, heartbeat });
    assert_eq!(isr(&bench), [0, 1]);
    let wanted = proposal(&bench, &[0, 1, 2]);
    assert_eq!(code(&mut bench, 0, wanted), ErrorCode::IneligibleReplica);
}

#[test]
fn rule_12_an_unchanged_set_is_committed_so_that_the_proposal_before_it_dies() {
    let mut bench = replicated();
    let in_doubt = proposal(&bench, &[0, 1]);
    let unchanged = proposal(&bench, &[0, 1, 2]);
    assert_eq!(code(&mut bench, 0, unchanged), ErrorCode::None);
    let last = bench.published.last().map(|frame| frame.record.clone());
    assert!(matches!(last, Some(Record::PartitionChanged(_))), "{last:?}");
    assert_eq!(code(&mut bench, 0, in_doubt), ErrorCode::InvalidUpdateVersion);
    assert_eq!(isr(&bench), [0, 1, 2]);
}

#[test]
fn two_proposals_of_one_request_are_decided_one_after_the_other() {
    let mut bench = replicated();
    let first = proposal(&bench, &[0, 1]);
    let second = proposal(&bench, &[0, 2]);
    let outcomes = propose(&mut bench, 0, vec![first, second]);
    let codes: Vec<_> = outcomes.iter().map(|outcome| outcome.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::InvalidUpdateVersion as i16]);
    assert_eq!(isr(&bench), [0, 1]);
}

#[test]
fn a_proposer_without_a_current_registration_is_refused_as_a_whole() {
    let mut bench = replicated();
    let proposals = vec![proposal(&bench, &[0, 1])];
    let session = SessionId {
        broker: BrokerId(0),
        epoch: BrokerEpoch(bench.session(0).epoch.0 - 1),
    };
    let reply = bench.ask(|request| Input::AlterPartition {
        request,
        session,
        proposals,
    });
    assert!(
        matches!(reply, Reply::Refused(Refusal::StaleBrokerEpoch { .. })),
        "{reply:?}"
    );
    assert_eq!(isr(&bench), [0, 1, 2]);
}

#[test]
fn the_answer_comes_after_the_commit() {
    let mut bench = replicated();
    let (session, proposals) = (bench.session(0), vec![proposal(&bench, &[0, 1])]);
    bench.hold = true;
    let request = bench.request();
    bench.give(Input::AlterPartition {
        request,
        session,
        proposals,
    });
    assert!(!bench.replies.contains_key(&request));
    assert_eq!(isr(&bench), [0, 1, 2]);
    bench.release();
    assert!(bench.replies.contains_key(&request));
    assert_eq!(isr(&bench), [0, 1]);
}
