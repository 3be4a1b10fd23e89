//! Commits of a member that has been moved on meanwhile (KIP-1251).

use protocol::ErrorCode;
use protocol::messages::offset_commit::OffsetCommitRequestPartition;

use super::consumer::Consumer;
use super::world::*;
use crate::Request;

fn world() -> World {
    let mut world = World::standalone();
    world.set_topics(&[("mail", 6)]);
    world
}

/// The error of a commit of one partition.
fn commit(world: &mut World, member: &str, epoch: i32, partition: i32) -> ErrorCode {
    let speaker = Speaker {
        member_id: member.to_owned(),
        instance_id: None,
        generation: epoch,
    };
    let ticket = world.ask(9, Request::Commit(commit_request(&speaker, partition, 5)));
    world.commit_error(ticket)
}

/// A member that had all at epoch 1, and another that has a half since.
fn pair(world: &mut World) -> (Consumer, Consumer) {
    let (mut a, mut b) = (Consumer::new("a", &["mail"]), Consumer::new("b", &["mail"]));
    world.settle(&mut [&mut a]);
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!((a.epoch, b.epoch), (2, 2));
    (a, b)
}

#[test]
fn an_older_epoch_counts_for_what_the_member_has_had_since() {
    let mut world = world();
    let (a, b) = pair(&mut world);
    let (kept, given) = (a.indexes("mail")[0], b.indexes("mail")[0]);
    for _ in 0..2 {
        assert_eq!(commit(&mut world, "a", 1, kept), ErrorCode::None);
        let stale = ErrorCode::StaleMemberEpoch;
        assert_eq!(commit(&mut world, "a", 1, given), stale, "it is another's");
        assert_eq!(commit(&mut world, "a", 0, kept), stale, "of a former life");
        assert_eq!(commit(&mut world, "a", -1, kept), stale);
        assert_eq!(commit(&mut world, "a", 3, kept), stale, "of the future");
        assert_eq!(commit(&mut world, "b", 1, given), stale, "before it had it");
        assert_eq!(commit(&mut world, "b", 2, given), ErrorCode::None);
        // The present epoch is not asked for what.
        assert_eq!(commit(&mut world, "a", 2, given), ErrorCode::None);
        world.restart();
    }
}

#[test]
fn what_a_member_must_give_back_it_may_still_commit() {
    let mut world = world();
    let (mut a, mut b) = pair(&mut world);
    let mut c = Consumer::new("c", &["mail"]);
    let had = a.indexes("mail");
    assert_eq!(c.beat(&mut world), ErrorCode::None);
    assert_eq!(a.beat(&mut world), ErrorCode::None);
    let revoked = had
        .into_iter()
        .find(|index| !a.indexes("mail").contains(index))
        .unwrap();
    assert_eq!(commit(&mut world, "a", 1, revoked), ErrorCode::None);
    world.settle(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(commit(&mut world, "a", 1, revoked), ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(&mut world, "a", 1, a.indexes("mail")[0]), ErrorCode::None);
}

#[test]
fn what_comes_back_to_a_member_is_its_own_from_then_on() {
    let mut world = world();
    let (mut a, mut b) = pair(&mut world);
    let given = b.indexes("mail")[0];
    assert_eq!(b.leave(&mut world), ErrorCode::None);
    world.settle(&mut [&mut a]);
    assert_eq!(a.indexes("mail").len(), 6);
    let epoch = a.epoch;
    assert_eq!(commit(&mut world, "a", 1, given), ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(&mut world, "a", epoch, given), ErrorCode::None);
}

#[test]
fn one_partition_that_is_too_old_refuses_the_request() {
    let mut world = world();
    let (a, b) = pair(&mut world);
    let speaker = Speaker {
        member_id: "a".to_owned(),
        instance_id: None,
        generation: 1,
    };
    let request = commit_request(&speaker, a.indexes("mail")[0], 5);
    let mut ask = |partition: OffsetCommitRequestPartition| {
        let mut request = request.clone();
        request.topics[0].partitions.push(partition);
        let ticket = world.ask(9, Request::Commit(request));
        let crate::Response::Commit(response) = world.answers[&ticket].clone() else {
            panic!("not a commit")
        };
        let partitions = &response.topics[0].partitions;
        partitions
            .iter()
            .map(|partition| partition.error_code)
            .collect::<Vec<_>>()
    };
    let mut others = request.topics[0].partitions[0].clone();
    others.partition_index = b.indexes("mail")[0];
    let stale = ErrorCode::StaleMemberEpoch.code();
    assert_eq!(ask(others.clone()), [stale, stale]);
    // As in Kafka: what is refused for itself is not looked at.
    others.committed_metadata = Some("x".repeat(5000));
    assert_eq!(ask(others), [0, ErrorCode::OffsetMetadataTooLarge.code()]);
}

#[test]
fn the_next_life_of_a_static_member_has_had_all_since_ever() {
    let mut world = world();
    let mut first = Consumer::with_instance("a-1", "a", &["mail"]);
    world.settle(&mut [&mut first]);
    assert_eq!(first.leave_with(&mut world, -2), ErrorCode::None);
    assert_eq!(
        commit(&mut world, "a-1", 1, 0),
        ErrorCode::StaleMemberEpoch,
        "it is away"
    );
    let mut next = Consumer::with_instance("a-2", "a", &["mail"]);
    assert_eq!(next.beat(&mut world), ErrorCode::None);
    assert_eq!(commit(&mut world, "a-2", 0, 0), ErrorCode::None);
    assert_eq!(commit(&mut world, "a-1", 1, 0), ErrorCode::UnknownMemberId);
}
