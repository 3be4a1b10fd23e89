//! Groups that change their kind while their members go on.

use std::time::Duration;

use protocol::ErrorCode;
use protocol::codec::Put;
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};

use super::consumer::Consumer;
use super::world::*;
use crate::subscription::decode_assignment;
use crate::{GroupSettings, MigrationPolicy, Request, Response, Ticket};

/// A consumer with the classic, cooperative protocol.
#[derive(Debug, Clone, Default)]
struct Classic {
    speaker: Speaker,
    owned: Vec<i32>,
}

impl Classic {
    fn with_instance(instance: &str) -> Self {
        Self {
            speaker: Speaker {
                instance_id: Some(instance.to_owned()),
                ..Speaker::default()
            },
            owned: Vec::new(),
        }
    }

    fn request(&self) -> JoinGroupRequest {
        let mut metadata = Vec::new();
        metadata.put_i16(1);
        metadata
            .put_array(false, Some(&["mail"]), |w, topic| w.put_string(false, Some(topic)))
            .unwrap();
        metadata.put_i32(-1);
        metadata
            .put_array(false, Some(&[&self.owned]), |w, owned| {
                w.put_string(false, Some("mail"))?;
                w.put_array(false, Some(owned), |w, index| {
                    w.put_i32(*index);
                    Ok(())
                })
            })
            .unwrap();
        JoinGroupRequest {
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".to_owned(),
                metadata: metadata.into(),
            }],
            ..join_request(&self.speaker, &[])
        }
    }

    fn ask_to_join(&self, world: &mut World) -> Ticket {
        world.ask(9, Request::Join(self.request()))
    }

    /// Joins, by way of MEMBER_ID_REQUIRED if it must.
    fn join(&mut self, world: &mut World) -> ErrorCode {
        loop {
            let ticket = self.ask_to_join(world);
            let joined = world.joined(ticket);
            match ErrorCode::from_code(joined.error_code).unwrap() {
                ErrorCode::None => {
                    self.speaker.member_id = joined.member_id;
                    self.speaker.generation = joined.generation_id;
                    return ErrorCode::None;
                }
                ErrorCode::MemberIdRequired => self.speaker.member_id = joined.member_id,
                error => return error,
            }
        }
    }

    fn sync(&mut self, world: &mut World) -> ErrorCode {
        let ticket = world.sync(&self.speaker, &[]);
        let synced = world.synced(ticket);
        if synced.error_code == 0 {
            let assigned = decode_assignment(&synced.assignment).unwrap();
            self.owned = assigned.into_iter().flat_map(|(_, indexes)| indexes).collect();
        }
        ErrorCode::from_code(synced.error_code).unwrap()
    }

    /// What its client does between two polls.
    fn live(&mut self, world: &mut World) {
        let error = world.heartbeat(&self.speaker);
        match error {
            ErrorCode::None => {}
            ErrorCode::RebalanceInProgress => {
                assert_eq!(self.join(world), ErrorCode::None);
                assert_eq!(self.sync(world), ErrorCode::None);
            }
            error => panic!("{error:?} for {self:?}"),
        }
    }
}

fn world() -> World {
    let mut world = World::standalone();
    world.set_topics(&[("mail", 6)]);
    world
}

/// A classic group of one with all partitions, led by itself.
fn classic_group(world: &mut World) -> Classic {
    let mut classic = Classic::default();
    assert_eq!(classic.join(world), ErrorCode::None);
    let partitions: Vec<i32> = (0..6).collect();
    let mut assignment = Vec::new();
    assignment.put_i16(1);
    assignment
        .put_array(false, Some(&[&partitions]), |w, indexes| {
            w.put_string(false, Some("mail"))?;
            w.put_array(false, Some(indexes), |w, index| {
                w.put_i32(*index);
                Ok(())
            })
        })
        .unwrap();
    assignment.put_i32(-1);
    let mut request = sync_request(&classic.speaker, &[(&classic.speaker.member_id, "")]);
    request.assignments[0].assignment = assignment.into();
    let ticket = world.ask(5, Request::Sync(request));
    assert_eq!(world.synced(ticket).error_code, 0);
    classic.owned = partitions;
    classic
}

fn settle(world: &mut World, classic: &mut [&mut Classic], consumers: &mut [&mut Consumer]) {
    for _ in 0..10 {
        for member in classic.iter_mut() {
            member.live(world);
        }
        for member in consumers.iter_mut() {
            assert_eq!(member.beat(world), ErrorCode::None);
        }
    }
    let mut all: Vec<i32> = classic.iter().flat_map(|member| member.owned.clone()).collect();
    all.extend(consumers.iter().flat_map(|member| member.indexes("mail")));
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4, 5], "every partition has one member");
}

#[test]
fn a_classic_group_becomes_a_consumer_group_and_is_classic_again_when_the_last_of_the_new_kind_leaves() {
    let mut world = world();
    let mut classic = classic_group(&mut world);
    assert_eq!(world.group_type(), "classic");
    let mut consumer = Consumer::new("c", &["mail"]);
    assert_eq!(consumer.beat(&mut world), ErrorCode::None);
    assert_eq!(world.group_type(), "consumer");
    assert!(
        consumer.owned.is_empty(),
        "the classic member has not given anything back"
    );
    settle(&mut world, &mut [&mut classic], &mut [&mut consumer]);
    assert_eq!((classic.owned.len(), consumer.owned.len()), (3, 3));
    let described = world.coordinator.describe_consumer_group(GROUP);
    let mut types: Vec<i8> = described.members.iter().map(|member| member.member_type).collect();
    types.sort_unstable();
    assert_eq!(types, [0, 1]);

    world.restart();
    settle(&mut world, &mut [&mut classic], &mut [&mut consumer]);
    let speaker = classic.speaker.clone();
    assert_eq!(world.commit(9, &speaker, 5), ErrorCode::None);

    assert_eq!(consumer.leave(&mut world), ErrorCode::None);
    assert_eq!(world.group_type(), "classic");
    assert_eq!(world.state(), "PreparingRebalance");
    assert_eq!(world.fetch(0).committed_offset, 5);
    // The member goes on under its id, as the leader.
    assert_eq!(classic.join(&mut world), ErrorCode::None);
    assert_eq!(world.state(), "CompletingRebalance");
    let mut replayed = crate::DurableState::default();
    world.log.iter().for_each(|record| replayed.replay(record));
    assert!(replayed.consumer_group(GROUP).is_none());
}

#[test]
fn a_group_that_was_made_classic_just_before_a_crash_rebalances_all_the_same() {
    let mut world = world();
    let mut classic = classic_group(&mut world);
    let mut consumer = Consumer::new("c", &["mail"]);
    settle_first(&mut world, &mut classic, &mut consumer);
    consumer.leave(&mut world);
    world.restart();
    assert_eq!(world.group_type(), "classic");
    // What the other had must not stay nobody's.
    assert_eq!(world.state(), "PreparingRebalance");
}

fn settle_first(world: &mut World, classic: &mut Classic, consumer: &mut Consumer) {
    assert_eq!(consumer.beat(world), ErrorCode::None);
    settle(world, &mut [classic], &mut [consumer]);
}

#[test]
fn a_consumer_that_dies_leaves_a_classic_group() {
    let mut world = world();
    let mut classic = classic_group(&mut world);
    let mut consumer = Consumer::new("c", &["mail"]);
    settle_first(&mut world, &mut classic, &mut consumer);
    for _ in 0..9 {
        world.pass(Duration::from_secs(5));
        let _ = world.heartbeat(&classic.speaker);
    }
    assert_eq!(world.group_type(), "classic");
    assert_eq!(consumer.beat(&mut world), ErrorCode::UnknownMemberId);
    assert_eq!(
        consumer.beat(&mut world),
        ErrorCode::None,
        "it makes a consumer group again"
    );
    assert_eq!(world.group_type(), "consumer");
}

#[test]
fn classic_members_join_and_leave_a_consumer_group() {
    let mut world = world();
    let mut consumer = Consumer::new("c", &["mail"]);
    consumer.beat(&mut world);
    let mut classic = Classic::default();
    assert_eq!(classic.join(&mut world), ErrorCode::None);
    assert_eq!(classic.sync(&mut world), ErrorCode::None);
    assert!(classic.owned.is_empty());
    settle(&mut world, &mut [&mut classic], &mut [&mut consumer]);
    assert_eq!(classic.owned.len(), 3);
    let left = world.leave(&[(&classic.speaker.member_id, None), ("nobody", None)]);
    let errors: Vec<i16> = left.members.iter().map(|member| member.error_code).collect();
    assert_eq!(errors, [0, ErrorCode::UnknownMemberId.code()]);
    settle(&mut world, &mut [], &mut [&mut consumer]);
}

#[test]
fn an_operator_removes_members_of_a_consumer_group_by_their_ids_and_by_their_names() {
    let mut world = world();
    let mut dynamic = Consumer::new("d", &["mail"]);
    let mut named = Consumer::with_instance("s", "name", &["mail"]);
    world.settle(&mut [&mut dynamic, &mut named]);
    // Only members of the classic kind are heard by a Heartbeat.
    let speaker = Speaker {
        member_id: "d".to_owned(),
        instance_id: None,
        generation: dynamic.epoch,
    };
    assert_eq!(world.heartbeat(&speaker), ErrorCode::UnknownMemberId);

    let left = world.leave(&[("d", Some("name")), ("", Some("name")), ("", None), ("d", None)]);
    let errors: Vec<i16> = left.members.iter().map(|member| member.error_code).collect();
    let (fenced, unknown) = (ErrorCode::FencedInstanceId.code(), ErrorCode::UnknownMemberId.code());
    assert_eq!(errors, [fenced, 0, unknown, 0]);
    assert_eq!(dynamic.beat(&mut world), ErrorCode::UnknownMemberId);
    assert_eq!(named.beat(&mut world), ErrorCode::UnknownMemberId);
    let described = world.coordinator.describe_consumer_group(GROUP);
    assert_eq!((described.group_state.as_str(), described.members.len()), ("Empty", 0));
}

#[test]
fn a_classic_member_commits_in_an_older_generation_what_it_had_then() {
    let mut world = world();
    let mut classic = classic_group(&mut world);
    let older = classic.speaker.clone();
    let mut consumer = Consumer::new("c", &["mail"]);
    settle_first(&mut world, &mut classic, &mut consumer);
    assert!(classic.speaker.generation > older.generation);
    let commit = |world: &mut World, partition, generation| {
        let speaker = Speaker {
            generation,
            ..older.clone()
        };
        let ticket = world.ask(9, Request::Commit(commit_request(&speaker, partition, 5)));
        world.commit_error(ticket)
    };
    let (kept, given) = (classic.owned[0], consumer.indexes("mail")[0]);
    assert_eq!(commit(&mut world, kept, older.generation), ErrorCode::None);
    let illegal = ErrorCode::IllegalGeneration;
    assert_eq!(commit(&mut world, given, older.generation), illegal);
    assert_eq!(commit(&mut world, kept, older.generation - 1), illegal);
    assert_eq!(commit(&mut world, kept, classic.speaker.generation + 1), illegal);
}

#[test]
fn a_classic_member_that_is_told_to_join_and_does_not_is_fenced() {
    let mut world = world();
    let mut classic = classic_group(&mut world);
    let mut consumer = Consumer::new("c", &["mail"]);
    consumer.beat(&mut world);
    for _ in 0..8 {
        let _ = world.heartbeat(&classic.speaker);
        assert_eq!(consumer.beat(&mut world), ErrorCode::None);
        world.pass(Duration::from_secs(4));
    }
    consumer.beat(&mut world);
    assert_eq!(consumer.indexes("mail").len(), 6);
    assert_eq!(world.heartbeat(&classic.speaker), ErrorCode::UnknownMemberId);
    classic.speaker = Speaker::default();
    classic.owned.clear();
    assert_eq!(classic.join(&mut world), ErrorCode::None);
}

#[test]
fn a_static_member_changes_its_protocol_and_keeps_its_partitions() {
    let mut world = world();
    let mut classic = Classic::with_instance("s");
    let mut consumer = Consumer::new("c", &["mail"]);
    assert_eq!(consumer.beat(&mut world), ErrorCode::None);
    assert_eq!(classic.join(&mut world), ErrorCode::None);
    assert_eq!(classic.sync(&mut world), ErrorCode::None);
    settle(&mut world, &mut [&mut classic], &mut [&mut consumer]);
    let had = classic.owned.clone();
    // It comes back with the new protocol, without having left.
    let mut upgraded = Consumer::with_instance("s-2", "s", &["mail"]);
    assert_eq!(upgraded.beat(&mut world), ErrorCode::None);
    assert_eq!(upgraded.indexes("mail"), had);
    assert_eq!(world.heartbeat(&classic.speaker), ErrorCode::FencedInstanceId);
    // And again with the classic one: it takes the new one's place.
    let mut back = Classic::with_instance("s");
    assert_eq!(back.join(&mut world), ErrorCode::None);
    assert_eq!(back.sync(&mut world), ErrorCode::None);
    assert_eq!(back.owned, had);
    settle(&mut world, &mut [&mut back], &mut [&mut consumer]);
}

#[test]
fn the_last_static_consumer_that_comes_back_as_a_classic_one_makes_the_group_classic() {
    let mut world = world();
    let mut classic = classic_group(&mut world);
    let mut consumer = Consumer::with_instance("s-1", "s", &["mail"]);
    settle_first(&mut world, &mut classic, &mut consumer);
    let back = Classic::with_instance("s");
    let joins = back.ask_to_join(&mut world);
    assert_eq!(world.group_type(), "classic");
    assert!(!world.is_answered(joins), "it waits for the other");
    assert_eq!(classic.join(&mut world), ErrorCode::None);
    assert_eq!(world.joined(joins).error_code, 0);
}

#[test]
fn a_group_stays_what_it_is_where_the_policy_says_so() {
    let mut world = World::new(GroupSettings {
        migration_policy: MigrationPolicy::Disabled,
        ..GroupSettings::standalone()
    });
    world.set_topics(&[("mail", 6)]);
    let _classic = classic_group(&mut world);
    let mut consumer = Consumer::new("c", &["mail"]);
    assert_eq!(consumer.beat(&mut world), ErrorCode::GroupIdNotFound);
    assert_eq!(world.group_type(), "classic");
}

#[test]
fn members_that_wait_in_a_classic_group_are_sent_to_join_the_consumer_group() {
    let mut world = world();
    let mut classic = classic_group(&mut world);
    // A second one joins; the first has not come back yet.
    let mut second = Classic::default();
    let required = second.ask_to_join(&mut world);
    second.speaker.member_id = world.joined(required).member_id;
    let waits = second.ask_to_join(&mut world);
    assert!(!world.is_answered(waits));
    let mut consumer = Consumer::new("c", &["mail"]);
    assert_eq!(consumer.beat(&mut world), ErrorCode::None);
    assert_eq!(world.joined(waits).error_code, ErrorCode::RebalanceInProgress.code());
    assert_eq!(second.join(&mut world), ErrorCode::None);
    assert_eq!(second.sync(&mut world), ErrorCode::None);
    settle(&mut world, &mut [&mut classic, &mut second], &mut [&mut consumer]);
}

#[test]
fn an_empty_classic_group_is_replaced_and_its_offsets_stay() {
    let mut world = world();
    let classic = classic_group(&mut world);
    assert_eq!(world.commit(9, &classic.speaker, 4), ErrorCode::None);
    let _ = world.leave(&[(&classic.speaker.member_id, None)]);
    assert_eq!(world.state(), "Empty");
    let mut consumer = Consumer::new("c", &["mail"]);
    assert_eq!(consumer.beat(&mut world), ErrorCode::None);
    assert_eq!(consumer.indexes("mail").len(), 6);
    assert_eq!(world.fetch(0).committed_offset, 4);
    let mut replayed = crate::DurableState::default();
    world.log.iter().for_each(|record| replayed.replay(record));
    assert!(replayed.group(GROUP).is_none());
}

#[test]
fn a_group_that_is_no_consumers_stays_classic() {
    let mut world = world();
    let request = JoinGroupRequest {
        protocol_type: "connect".to_owned(),
        ..join_request(&Speaker::default(), &["range"])
    };
    let ticket = world.ask(3, Request::Join(request));
    assert!(matches!(world.answers[&ticket], Response::Join(_)));
    let mut consumer = Consumer::new("c", &["mail"]);
    assert_eq!(consumer.beat(&mut world), ErrorCode::GroupIdNotFound);
}

/// A consumer group that its last member has left, with a committed offset.
fn empty_consumer_group(world: &mut World) {
    let mut consumer = Consumer::new("c", &["mail"]);
    assert_eq!(consumer.beat(world), ErrorCode::None);
    let speaker = Speaker {
        member_id: "c".to_owned(),
        instance_id: None,
        generation: consumer.epoch,
    };
    assert_eq!(world.commit(9, &speaker, 4), ErrorCode::None);
    assert_eq!(consumer.leave(world), ErrorCode::None);
    assert_eq!(world.group_type(), "consumer");
}

#[test]
fn an_empty_consumer_group_is_replaced_and_its_offsets_stay() {
    let mut world = world();
    empty_consumer_group(&mut world);
    let classic = classic_group(&mut world);
    assert_eq!(world.group_type(), "classic");
    assert_eq!(world.state(), "Stable");
    world.restart();
    assert_eq!(world.group_type(), "classic");
    assert_eq!(world.state(), "Stable");
    assert_eq!(world.fetch(0).committed_offset, 4);
    assert_eq!(world.commit(9, &classic.speaker, 5), ErrorCode::None);
    assert!(world.coordinator.durable().consumer_group(GROUP).is_none());
}

#[test]
fn members_that_are_no_consumers_may_join_where_consumers_were() {
    let mut world = world();
    empty_consumer_group(&mut world);
    let connector = JoinGroupRequest {
        protocol_type: "connect".to_owned(),
        ..join_request(&Speaker::default(), &["default"])
    };
    let ticket = world.ask(3, Request::Join(connector));
    assert_eq!(world.joined(ticket).error_code, 0);
    assert_eq!(world.group_type(), "classic");
}

#[test]
fn an_empty_consumer_group_stays_where_nobody_can_join() {
    let mut world = world();
    empty_consumer_group(&mut world);
    let stranger = Speaker {
        member_id: "nobody".to_owned(),
        ..Speaker::default()
    };
    let ticket = world.join(9, &stranger);
    assert_eq!(world.joined(ticket).error_code, ErrorCode::UnknownMemberId.code());
    let ticket = world.ask(9, Request::Join(join_request(&Speaker::default(), &[])));
    let refused = ErrorCode::InconsistentGroupProtocol.code();
    assert_eq!(world.joined(ticket).error_code, refused);
    assert_eq!(world.group_type(), "consumer");
}

#[test]
fn a_member_learns_that_its_group_could_not_become_classic() {
    let mut world = world();
    empty_consumer_group(&mut world);
    world.refuses = Some(ErrorCode::NotEnoughReplicas);
    let ticket = Classic::default().ask_to_join(&mut world);
    let refused = ErrorCode::CoordinatorNotAvailable.code();
    assert_eq!(world.joined(ticket).error_code, refused);
    assert_eq!(world.group_type(), "consumer");
}
