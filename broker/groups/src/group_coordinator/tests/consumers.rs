//! Members of a consumer group: how they come, share, and go.

use std::sync::Arc;
use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest as Heartbeat;

use super::consumer::Consumer;
use super::world::*;
use crate::{GroupSettings, OwnConsumerSettings, OwnSettings, Request};

fn world() -> World {
    let mut world = World::standalone();
    world.set_topics(&[("mail", 6), ("post", 3)]);
    world
}

fn pair(world: &mut World) -> (Consumer, Consumer) {
    let (mut a, mut b) = (Consumer::new("a", &["mail"]), Consumer::new("b", &["mail"]));
    world.settle(&mut [&mut a, &mut b]);
    (a, b)
}

fn state(world: &World) -> String {
    world.coordinator.describe_consumer_group(GROUP).group_state
}

#[test]
fn the_first_member_gets_everything_with_its_first_heartbeat() {
    let mut world = world();
    let mut a = Consumer::new("a", &["mail"]);
    assert_eq!(a.beat(&mut world), ErrorCode::None);
    assert_eq!((a.epoch, a.indexes("mail")), (1, vec![0, 1, 2, 3, 4, 5]));
    assert_eq!(state(&world), "Stable");
}

#[test]
fn a_heartbeat_that_changes_nothing_writes_nothing_and_repeats_no_assignment() {
    let mut world = world();
    let mut a = Consumer::new("a", &["mail"]);
    a.beat(&mut world);
    let written = world.log.len();
    let response = world.consumer_heartbeat(a.request());
    assert_eq!((response.error_code, response.assignment), (0, None));
    assert_eq!(response.heartbeat_interval_ms, 5000);
    assert_eq!(world.log.len(), written);
    // One that is unsure says all, and is told all.
    a.says_all = true;
    assert!(world.consumer_heartbeat(a.request()).assignment.is_some());
    assert_eq!(world.log.len(), written);
}

#[test]
fn a_newcomer_waits_until_the_partitions_are_given_back() {
    let mut world = world();
    let (mut a, mut b) = (Consumer::new("a", &["mail"]), Consumer::new("b", &["mail"]));
    a.beat(&mut world);
    b.beat(&mut world);
    assert_eq!(b.indexes("mail"), Vec::<i32>::new());
    assert_eq!(state(&world), "Reconciling");
    // Told to give back, it stays in its epoch until it says that it has.
    let told = world.consumer_heartbeat(a.request());
    assert_eq!(told.member_epoch, 1);
    b.beat(&mut world);
    assert_eq!(
        b.indexes("mail"),
        Vec::<i32>::new(),
        "nobody has said that they are free"
    );
    a.hear(&told);
    assert_eq!(a.indexes("mail").len(), 3);
    a.beat(&mut world);
    assert_eq!(a.epoch, 2);
    b.beat(&mut world);
    assert_eq!(b.indexes("mail").len(), 3);
    assert_eq!(state(&world), "Stable");
}

#[test]
fn who_does_not_give_back_in_time_is_fenced() {
    let mut world = world();
    let (mut a, mut b) = (Consumer::new("a", &["mail"]), Consumer::new("b", &["mail"]));
    a.beat(&mut world);
    b.beat(&mut world);
    let mut stubborn = a.clone();
    for _ in 0..6 {
        world.pass(Duration::from_secs(8));
        let mut keeps_all = stubborn.clone();
        keeps_all.beat(&mut world);
        b.beat(&mut world);
    }
    assert_eq!(stubborn.beat(&mut world), ErrorCode::UnknownMemberId);
    b.beat(&mut world);
    assert_eq!(b.indexes("mail").len(), 6);
}

#[test]
fn a_silent_member_is_gone_after_its_session() {
    let mut world = world();
    let (mut a, mut b) = pair(&mut world);
    for _ in 0..5 {
        world.pass(Duration::from_secs(10));
        assert_eq!(a.beat(&mut world), ErrorCode::None);
    }
    world.settle(&mut [&mut a]);
    assert_eq!(a.indexes("mail").len(), 6);
    assert_eq!(b.beat(&mut world), ErrorCode::UnknownMemberId);
}

#[test]
fn what_a_group_has_set_for_itself_counts_from_the_next_heartbeat_on() {
    let mut world = world();
    let mut a = Consumer::new("a", &["mail"]);
    a.beat(&mut world);
    let own = OwnConsumerSettings {
        session_timeout: Some(Duration::from_mins(1)),
        heartbeat_interval: Some(Duration::from_secs(7)),
    };
    let others = OwnSettings::from([("another".to_owned(), own)]);
    world.coordinator.own_settings_changed(Arc::new(others));
    assert_eq!(world.consumer_heartbeat(a.request()).heartbeat_interval_ms, 5000);
    world
        .coordinator
        .own_settings_changed(Arc::new(OwnSettings::from([(GROUP.to_owned(), own)])));
    assert_eq!(world.consumer_heartbeat(a.request()).heartbeat_interval_ms, 7000);
    world.pass(Duration::from_secs(59));
    assert_eq!(a.beat(&mut world), ErrorCode::None);
    world.coordinator.own_settings_changed(Arc::default());
    assert_eq!(a.beat(&mut world), ErrorCode::None);
    world.pass(Duration::from_secs(46));
    assert_eq!(a.beat(&mut world), ErrorCode::UnknownMemberId);
}

#[test]
fn who_leaves_leaves_its_partitions_to_the_others() {
    let mut world = world();
    let (mut a, mut b) = pair(&mut world);
    assert_eq!(b.leave(&mut world), ErrorCode::None);
    world.settle(&mut [&mut a]);
    assert_eq!(a.indexes("mail").len(), 6);
    assert_eq!(a.leave(&mut world), ErrorCode::None);
    assert_eq!(state(&world), "Empty");
}

#[test]
fn an_epoch_that_is_not_the_members_fences_it_but_for_a_lost_answer() {
    let mut world = world();
    let (mut a, mut b) = pair(&mut world);
    let (mut ahead, mut behind) = (a.clone(), a.clone());
    ahead.epoch += 1;
    assert_eq!(ahead.beat(&mut world), ErrorCode::FencedMemberEpoch);
    // One answer behind, but with something that is not its own.
    behind.epoch -= 1;
    behind.owned.extend(b.owned.iter());
    assert_eq!(behind.beat(&mut world), ErrorCode::FencedMemberEpoch);
    // The answer with the new epoch is lost: it asks again from where it was.
    b.leave(&mut world);
    let lost = world.consumer_heartbeat(a.request());
    assert!(lost.member_epoch > a.epoch);
    a.says_all = true;
    assert_eq!(a.beat(&mut world), ErrorCode::None);
    assert_eq!((a.epoch, a.indexes("mail").len()), (lost.member_epoch, 6));
}

#[test]
fn a_member_that_begins_anew_under_its_id_gets_back_what_it_had() {
    let mut world = world();
    let (a, _) = pair(&mut world);
    let mut again = Consumer::new("a", &["mail"]);
    assert_eq!(again.beat(&mut world), ErrorCode::None);
    assert_eq!(again.owned, a.owned);
}

#[test]
fn requests_that_make_no_sense_are_refused_with_kafkas_errors() {
    let mut world = world();
    let fine = Consumer::new("a", &["mail"]).request();
    let mut refused = |change: &dyn Fn(&mut _), version: i16| {
        let mut request = fine.clone();
        change(&mut request);
        let ticket = world.ask(version, Request::ConsumerHeartbeat(request));
        ErrorCode::from_code(world.consumer_answer(ticket).expect("answered").error_code).unwrap()
    };
    let invalid: [&dyn Fn(&mut Heartbeat); 9] = [
        &|r| r.group_id = " ".to_owned(),
        &|r| r.member_id.clear(),
        &|r| r.instance_id = Some(String::new()),
        &|r| r.rack_id = Some(String::new()),
        &|r| r.member_epoch = -3,
        &|r| r.member_epoch = -2,
        &|r| r.rebalance_timeout_ms = -1,
        &|r| r.topic_partitions = None,
        &|r| r.subscribed_topic_names = None,
    ];
    for change in invalid {
        assert_eq!(refused(change, 1), ErrorCode::InvalidRequest);
    }
    assert_eq!(
        refused(&|r: &mut Heartbeat| r.server_assignor = Some("magic".to_owned()), 1),
        ErrorCode::UnsupportedAssignor
    );
    assert_eq!(
        refused(&|r: &mut Heartbeat| r.subscribed_topic_regex = Some("[".to_owned()), 1),
        ErrorCode::InvalidRegularExpression
    );
    assert_eq!(
        refused(&|r: &mut Heartbeat| r.member_epoch = 3, 1),
        ErrorCode::GroupIdNotFound
    );
    assert_eq!(
        refused(&|r: &mut Heartbeat| r.member_epoch = -1, 1),
        ErrorCode::GroupIdNotFound
    );
    // Before version 1 the coordinator makes the id.
    assert_eq!(refused(&|r: &mut Heartbeat| r.member_id.clear(), 0), ErrorCode::None);
}

#[test]
fn a_static_member_that_leaves_for_now_says_who_it_is() {
    let mut world = world();
    let mut a = Consumer::with_instance("a-1", "a", &["mail"]);
    a.beat(&mut world);
    let mut leave = |version, member: &str, instance: &str| {
        let request = Heartbeat {
            member_id: member.to_owned(),
            member_epoch: -2,
            instance_id: Some(instance.to_owned()),
            ..a.request()
        };
        let ticket = world.ask(version, Request::ConsumerHeartbeat(request));
        ErrorCode::from_code(world.consumer_answer(ticket).expect("answered").error_code).unwrap()
    };
    assert_eq!(leave(0, "", "a"), ErrorCode::FencedInstanceId);
    assert_eq!(leave(0, "", "b"), ErrorCode::UnknownMemberId);
    assert_eq!(leave(1, "", "a"), ErrorCode::InvalidRequest);
    assert_eq!(leave(0, "a-1", "a"), ErrorCode::None);
}

#[test]
fn a_full_group_takes_nobody_more() {
    let mut world = World::new(GroupSettings {
        consumer_max_size: 1,
        ..GroupSettings::standalone()
    });
    world.set_topics(&[("mail", 2)]);
    let mut a = Consumer::new("a", &["mail"]);
    assert_eq!(a.beat(&mut world), ErrorCode::None);
    assert_eq!(
        Consumer::new("b", &["mail"]).beat(&mut world),
        ErrorCode::GroupMaxSizeReached
    );
    assert_eq!(a.beat(&mut world), ErrorCode::None);
}

#[test]
fn a_static_member_that_leaves_for_now_finds_its_partitions_again() {
    let mut world = world();
    let mut a = Consumer::with_instance("a-1", "a", &["mail"]);
    let mut b = Consumer::with_instance("b-1", "b", &["mail"]);
    world.settle(&mut [&mut a, &mut b]);
    let (had, epoch) = (a.owned.clone(), a.epoch);
    let mut too_early = Consumer::with_instance("a-2", "a", &["mail"]);
    assert_eq!(too_early.beat(&mut world), ErrorCode::UnreleasedInstanceId);
    assert_eq!(a.leave_with(&mut world, -2), ErrorCode::None);
    assert_eq!(b.beat(&mut world), ErrorCode::None);
    assert_eq!(b.indexes("mail").len(), 3, "nothing is given away meanwhile");
    let mut next = Consumer::with_instance("a-2", "a", &["mail"]);
    assert_eq!(next.beat(&mut world), ErrorCode::None);
    assert_eq!((next.owned.clone(), next.epoch), (had, epoch));
    // Its former life is fenced.
    a.epoch = epoch;
    assert_eq!(a.beat(&mut world), ErrorCode::FencedInstanceId);
    // Who stays away longer than a session has left.
    assert_eq!(next.leave_with(&mut world, -2), ErrorCode::None);
    for _ in 0..5 {
        world.pass(Duration::from_secs(10));
        b.beat(&mut world);
    }
    world.settle(&mut [&mut b]);
    assert_eq!(b.indexes("mail").len(), 6);
}

#[test]
fn topics_that_come_grow_and_go_make_a_new_assignment() {
    let mut world = world();
    let mut a = Consumer::new("a", &["mail", "news"]);
    world.settle(&mut [&mut a]);
    let first = a.epoch;
    world.set_topics(&[("mail", 8), ("post", 3)]);
    world.settle(&mut [&mut a]);
    assert_eq!((a.epoch, a.indexes("mail").len()), (first + 1, 8));
    world.set_topics(&[("mail", 8), ("post", 3), ("news", 1)]);
    world.settle(&mut [&mut a]);
    assert_eq!(a.indexes("news"), [0]);
    world.set_topics(&[("news", 1)]);
    world.settle(&mut [&mut a]);
    assert_eq!(a.owned.len(), 1);
    // What nobody subscribes to is nobody's business.
    let before = a.epoch;
    world.set_topics(&[("news", 1), ("other", 5)]);
    world.settle(&mut [&mut a]);
    assert_eq!(a.epoch, before);
}

#[test]
fn a_regular_expression_follows_the_topics() {
    let mut world = world();
    let mut a = Consumer {
        regex: Some("p.*".to_owned()),
        ..Consumer::new("a", &[])
    };
    world.settle(&mut [&mut a]);
    assert_eq!((a.indexes("post").len(), a.owned.len()), (3, 3));
    world.set_topics(&[("mail", 6), ("post", 3), ("papers", 2)]);
    world.settle(&mut [&mut a]);
    assert_eq!(a.owned.len(), 5);
    world.restart();
    world.settle(&mut [&mut a]);
    let described = world.coordinator.describe_consumer_group(GROUP);
    assert_eq!(described.members[0].subscribed_topic_regex.as_deref(), Some("p.*"));
    // An empty one takes it back.
    a.regex = Some(String::new());
    a.says_all = true;
    world.settle(&mut [&mut a]);
    assert!(a.owned.is_empty());
}

#[test]
fn most_members_choose_the_assignor() {
    let mut world = World::standalone();
    world.set_topics(&[("mail", 3), ("post", 3)]);
    let mut consumers = ["a", "b"].map(|id| Consumer {
        assignor: Some("range".to_owned()),
        ..Consumer::new(id, &["mail", "post"])
    });
    let [a, b] = &mut consumers;
    world.settle(&mut [a, b]);
    assert_eq!((a.indexes("mail"), a.indexes("post")), (vec![0, 1], vec![0, 1]));
    assert_eq!((b.indexes("mail"), b.indexes("post")), (vec![2], vec![2]));
    assert_eq!(world.coordinator.describe_consumer_group(GROUP).assignor_name, "range");
}

#[test]
fn commits_and_fetches_go_by_the_members_epoch() {
    let mut world = world();
    let (a, _) = pair(&mut world);
    let speaker = |epoch| Speaker {
        member_id: "a".to_owned(),
        instance_id: None,
        generation: epoch,
    };
    assert_eq!(world.commit(9, &speaker(a.epoch), 7), ErrorCode::None);
    assert_eq!(world.fetch(0).committed_offset, 7);
    assert_eq!(world.commit(9, &speaker(a.epoch + 1), 8), ErrorCode::StaleMemberEpoch);
    assert_eq!(world.commit(8, &speaker(a.epoch), 8), ErrorCode::UnsupportedVersion);
    assert_eq!(world.commit(9, &nobody(), 8), ErrorCode::UnknownMemberId);
    let fetch = |world: &World, member: Option<&str>, epoch| {
        let request = protocol::messages::offset_fetch::OffsetFetchRequestGroup {
            group_id: GROUP.to_owned(),
            member_id: member.map(str::to_owned),
            member_epoch: epoch,
            topics: None,
        };
        ErrorCode::from_code(world.coordinator.fetch_offsets(&request).error_code).unwrap()
    };
    assert_eq!(fetch(&world, Some("a"), a.epoch), ErrorCode::None);
    assert_eq!(fetch(&world, Some("a"), a.epoch + 1), ErrorCode::StaleMemberEpoch);
    assert_eq!(fetch(&world, Some("a"), a.epoch - 1), ErrorCode::StaleMemberEpoch);
    assert_eq!(fetch(&world, Some("x"), a.epoch), ErrorCode::UnknownMemberId);
    assert_eq!(fetch(&world, Some(""), -1), ErrorCode::UnknownMemberId);
    assert_eq!(fetch(&world, None, -1), ErrorCode::None);
    world.restart();
    assert_eq!(world.fetch(0).committed_offset, 7);
}

#[test]
fn a_successor_goes_on_where_the_coordinator_stopped() {
    let mut world = world();
    let (mut a, mut b) = pair(&mut world);
    let before = world.coordinator.durable().clone();
    world.restart();
    assert_eq!(*world.coordinator.durable(), before);
    let (epochs, owned) = ((a.epoch, b.epoch), a.owned.clone());
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(((a.epoch, b.epoch), a.owned.clone()), (epochs, owned));
    // Sessions run anew: who is not heard from is gone.
    world.restart();
    world.pass(Duration::from_secs(44));
    assert_eq!(a.beat(&mut world), ErrorCode::None);
    world.pass(Duration::from_secs(2));
    assert_eq!(b.beat(&mut world), ErrorCode::UnknownMemberId);
}

#[test]
fn nothing_is_told_that_is_not_committed() {
    let mut world = world();
    world.commits = Commits::WhenTold;
    let a = Consumer::new("a", &["mail"]);
    let first = world.ask(1, Request::ConsumerHeartbeat(a.request()));
    assert!(!world.is_answered(first));
    // Its second heartbeat changes nothing, and waits all the same for what it shows.
    let second = world.ask(1, Request::ConsumerHeartbeat(a.request()));
    assert!(!world.is_answered(second));
    while world.commit_next() {}
    assert_eq!(world.consumer_answer(first).expect("answered").member_epoch, 1);
    assert_eq!(world.consumer_answer(second).expect("answered").member_epoch, 1);
}

#[test]
fn a_group_is_listed_described_and_deleted_by_its_kind() {
    let mut world = world();
    let (mut a, mut b) = pair(&mut world);
    let listed = world.coordinator.list(&["STABLE".to_owned()], &["consumer".to_owned()]);
    assert_eq!((listed.len(), listed[0].group_type.as_str()), (1, "consumer"));
    assert!(world.coordinator.list(&[], &["classic".to_owned()]).is_empty());
    assert_eq!(
        world.coordinator.describe(GROUP, 6).error_code,
        ErrorCode::GroupIdNotFound.code()
    );
    assert_eq!(world.coordinator.describe(GROUP, 5).group_state, "Dead");
    let described = world.coordinator.describe_consumer_group(GROUP);
    assert_eq!((described.group_epoch, described.assignment_epoch), (2, 2));
    assert_eq!(described.members[0].assignment, described.members[0].target_assignment);
    assert_eq!(described.members[0].assignment.topic_partitions[0].topic_name, "mail");
    let delete = |world: &mut World| {
        let ticket = world.ask(2, Request::DeleteGroup(GROUP.to_owned()));
        world.answers[&ticket].clone()
    };
    assert_eq!(
        delete(&mut world),
        crate::Response::DeleteGroup(ErrorCode::NonEmptyGroup)
    );
    a.leave(&mut world);
    b.leave(&mut world);
    assert_eq!(delete(&mut world), crate::Response::DeleteGroup(ErrorCode::None));
    assert!(world.coordinator.list(&[], &[]).is_empty());
    let mut replayed = crate::DurableState::default();
    world.log.iter().for_each(|record| replayed.replay(record));
    assert_eq!(
        replayed,
        crate::DurableState::default(),
        "nothing is left of it in the log"
    );
}

#[test]
fn a_snapshot_of_a_group_is_the_group() {
    let mut world = world();
    let _ = pair(&mut world);
    let group = world.coordinator.durable().consumer_group(GROUP).expect("is there");
    let mut replayed = crate::DurableState::default();
    for record in group.records(&crate::GroupId::from(GROUP)) {
        let (key, value) = record.encode().unwrap();
        replayed.replay(&crate::GroupRecord::decode(&key, value.as_deref()).unwrap().unwrap());
    }
    assert_eq!(replayed.consumer_group(GROUP), Some(group));
}

#[test]
fn what_a_late_append_says_is_shown_when_it_is_committed_and_not_before() {
    let mut world = World::standalone();
    world.set_topics(&[("mail", 2)]);
    world.commits = Commits::WhenTold;
    let mut a = Consumer::new("a", &["mail"]);
    let late = world.ask(1, Request::ConsumerHeartbeat(a.request()));
    assert!(world.late_next());
    let told = world.consumer_answer(late).expect("is told that it is late");
    assert_eq!(a.hear(&told), ErrorCode::CoordinatorNotAvailable);
    // It is a member by what is in the log, and there is nothing to be written. But a crash would take that back.
    let again = world.ask(1, Request::ConsumerHeartbeat(a.request()));
    assert_eq!(world.consumer_answer(again), None);
    assert!(world.commit_next());
    let told = world.consumer_answer(again).expect("is answered");
    assert_eq!(a.hear(&told), ErrorCode::None);
    assert_eq!(a.indexes("mail"), [0, 1]);
    world.restart_with(world.high_watermark);
    assert_eq!(a.beat(&mut world), ErrorCode::None);
}

#[test]
fn an_append_that_comes_after_a_late_one_brings_it_home() {
    let mut world = World::standalone();
    world.set_topics(&[("mail", 2)]);
    world.commits = Commits::WhenTold;
    let a = Consumer::new("a", &["mail"]);
    world.ask(1, Request::ConsumerHeartbeat(a.request()));
    assert!(world.late_next());
    let again = world.ask(1, Request::ConsumerHeartbeat(a.request()));
    let other = world.ask(1, Request::ConsumerHeartbeat(Consumer::new("b", &["mail"]).request()));
    let (last, end) = *world.uncommitted.back().expect("two are on their way");
    world.high_watermark = end;
    let effects = world.coordinator.committed(world.now, last);
    world.carry_out(effects);
    assert!(world.consumer_answer(again).is_some());
    assert!(world.is_answered(other));
}

#[test]
fn nobody_waits_for_a_late_append_longer_than_the_commit_timeout() {
    let mut world = World::standalone();
    world.set_topics(&[("mail", 2)]);
    world.commits = Commits::WhenTold;
    let a = Consumer::new("a", &["mail"]);
    let first = world.ask(1, Request::ConsumerHeartbeat(a.request()));
    world.pass(Duration::from_secs(3));
    let second = world.ask(1, Request::ConsumerHeartbeat(a.request()));
    world.pass(Duration::from_millis(1_999));
    assert_eq!(world.consumer_answer(first), None);
    world.pass(Duration::from_millis(1));
    let late = Some(ErrorCode::CoordinatorNotAvailable.code());
    assert_eq!(world.consumer_answer(first).map(|told| told.error_code), late);
    assert_eq!(world.consumer_answer(second).map(|told| told.error_code), late);
    let third = world.ask(1, Request::ConsumerHeartbeat(a.request()));
    world.pass(Duration::from_millis(4_999));
    assert_eq!(world.consumer_answer(third), None);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.consumer_answer(third).map(|told| told.error_code), late);
}
