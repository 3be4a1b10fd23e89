use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::join_group::JoinGroupRequest;

use super::world::*;
use crate::{GenerationId, GroupMetadata, GroupRecord, GroupSettings, MemberMetadata, Request, Response, Ticket};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn speaker(world: &mut World, ticket: Ticket) -> Speaker {
    let joined = world.joined(ticket);
    Speaker {
        member_id: joined.member_id,
        generation: joined.generation_id,
        instance_id: None,
    }
}

#[test]
fn a_new_member_is_told_its_id_before_it_joins() {
    let mut world = World::standalone();
    let (member_id, ticket) = world.join_new();
    assert!(member_id.starts_with("client-"), "{member_id}");
    let joined = world.joined(ticket);
    assert_eq!(
        (joined.error_code, joined.generation_id, joined.leader.as_str()),
        (0, 1, member_id.as_str())
    );
    assert_eq!(joined.members.len(), 1);
    assert_eq!(
        (joined.protocol_type.as_deref(), joined.protocol_name.as_deref()),
        (Some("consumer"), Some("range"))
    );
}

#[test]
fn an_old_client_joins_at_once() {
    for version in 0..4 {
        let mut world = World::standalone();
        let ticket = world.join(version, &Speaker::default());
        assert_eq!(world.joined(ticket).error_code, 0, "{version}");
    }
}

#[test]
fn only_the_leader_sees_the_members_and_all_get_what_it_hands_in() {
    let mut world = World::standalone();
    let a = world.stable_member();
    let (b_id, b_join) = world.join_new();
    assert!(!world.is_answered(b_join), "it waits for the other member");
    assert_eq!(world.heartbeat(&a), ErrorCode::RebalanceInProgress);
    let a_join = world.join(9, &a);
    let (a_joined, b_joined) = (world.joined(a_join), world.joined(b_join));
    assert_eq!(a_joined.members.len(), 2);
    assert!(b_joined.members.is_empty());
    assert_eq!((a_joined.generation_id, b_joined.generation_id), (2, 2));

    let a = Speaker { generation: 2, ..a };
    let b = Speaker {
        member_id: b_id,
        generation: 2,
        instance_id: None,
    };
    let b_sync = world.sync(&b, &[]);
    assert!(!world.is_answered(b_sync), "it waits for the leader");
    let a_sync = world.sync(
        &a,
        &[(&a.member_id, "left"), (&b.member_id, "right"), ("stranger", "x")],
    );
    assert_eq!(world.synced(a_sync).assignment, "left");
    assert_eq!(world.synced(b_sync).assignment, "right");
    assert_eq!(world.heartbeat(&a), ErrorCode::None);
    assert_eq!(world.state(), "Stable");
}

#[test]
fn no_member_learns_an_assignment_before_it_is_committed() {
    let mut world = World::standalone();
    world.commits = Commits::WhenTold;
    let (_, ticket) = world.join_new();
    let a = speaker(&mut world, ticket);
    let first = world.sync(&a, &[(&a.member_id, "first")]);
    assert!(!world.is_answered(first));
    assert_eq!(world.state(), "CompletingRebalance");
    // Its client gave up waiting and hands in another one: a generation has one assignment.
    let again = world.sync(&a, &[(&a.member_id, "second")]);
    assert_eq!(world.synced(first).error_code, ErrorCode::RebalanceInProgress.code());
    assert!(world.commit_next());
    assert_eq!(world.synced(again).assignment, "first");
    assert!(!world.commit_next());
    world.restart();
    let after = world.sync(&a, &[]);
    assert_eq!(world.synced(after).assignment, "first");
}

#[test]
fn an_assignment_that_cannot_be_written_is_computed_again() {
    let mut world = World::standalone();
    world.commits = Commits::WhenTold;
    let (_, ticket) = world.join_new();
    let a = speaker(&mut world, ticket);
    world.refuses = Some(ErrorCode::NotEnoughReplicas);
    let sync = world.sync(&a, &[(&a.member_id, "x")]);
    assert_eq!(world.synced(sync).error_code, ErrorCode::CoordinatorNotAvailable.code());
    assert_eq!(world.state(), "PreparingRebalance");
}

#[test]
fn a_silent_member_is_out_after_its_session_and_the_others_go_on() {
    let mut world = World::standalone();
    let (a, b) = world.stable_static_pair();
    for _ in 0..3 {
        world.pass(secs(4));
        world.heartbeat(&a);
    }
    assert_eq!(world.heartbeat(&a), ErrorCode::RebalanceInProgress);
    assert_eq!(world.heartbeat(&b), ErrorCode::UnknownMemberId);
    let join = world.join(9, &a);
    assert_eq!(world.joined(join).members.len(), 1);
}

#[test]
fn who_does_not_come_back_within_the_rebalance_timeout_is_out() {
    let mut world = World::standalone();
    let a = world.stable_member();
    let (_, b_join) = world.join_new();
    // The old member lives, but does not join again.
    for _ in 0..9 {
        world.pass(secs(3));
        assert_eq!(world.heartbeat(&a), ErrorCode::RebalanceInProgress);
    }
    assert!(!world.is_answered(b_join));
    world.pass(secs(4));
    let joined = world.joined(b_join);
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    assert_eq!(joined.leader, joined.member_id, "the leadership passed on");
    assert_eq!(world.heartbeat(&a), ErrorCode::UnknownMemberId);
}

#[test]
fn who_never_asks_for_its_assignment_is_out() {
    let mut world = World::standalone();
    let (_, ticket) = world.join_new();
    let a = speaker(&mut world, ticket);
    for _ in 0..11 {
        world.pass(secs(3));
        world.heartbeat(&a);
    }
    assert_eq!(world.heartbeat(&a), ErrorCode::UnknownMemberId);
    assert_eq!(world.state(), "Empty");
}

#[test]
fn an_id_that_nobody_joins_with_leaves_nothing_behind() {
    let mut world = World::standalone();
    let first = world.join(9, &Speaker::default());
    assert_eq!(world.joined(first).error_code, ErrorCode::MemberIdRequired.code());
    assert_eq!(world.coordinator.groups.len(), 1);
    world.pass(secs(11));
    assert!(world.coordinator.groups.is_empty());
    assert!(world.log.is_empty());
}

#[test]
fn an_empty_group_gathers_its_first_members() {
    let mut world = World::new(GroupSettings::default());
    let (_, a) = world.join_new();
    world.pass(secs(2));
    let (_, b) = world.join_new();
    world.pass(secs(2));
    assert!(!world.is_answered(a), "a newcomer prolongs the delay");
    world.pass(secs(2));
    assert_eq!(world.joined(a).generation_id, 1);
    assert_eq!(world.joined(b).generation_id, 1);
}

#[test]
fn newcomers_prolong_the_first_gathering_at_most_to_the_rebalance_timeout() {
    let mut world = World::new(GroupSettings::default());
    let (_, first) = world.join_new();
    let mut waited = 0;
    while !world.is_answered(first) {
        world.join_new();
        world.pass(secs(1));
        waited += 1;
        assert!(waited <= 31, "it never ends");
    }
    assert!(waited >= 29, "{waited}");
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_its_former_life_is_fenced() {
    let mut world = World::standalone();
    let (a, b) = world.stable_static_pair();
    let back = world.join_static("b");
    let joined = world.joined(back);
    assert_eq!(
        (joined.error_code, joined.generation_id, joined.skip_assignment),
        (0, a.generation, false)
    );
    assert_ne!(joined.member_id, b.member_id);
    assert_eq!(world.heartbeat(&a), ErrorCode::None, "nobody else noticed");
    assert_eq!(world.heartbeat(&b), ErrorCode::FencedInstanceId);
    let next = Speaker {
        member_id: joined.member_id,
        ..b
    };
    let sync = world.sync(&next, &[]);
    assert_eq!(world.synced(sync).assignment, "two");
    world.restart();
    assert_eq!(world.heartbeat(&next), ErrorCode::None);
    let sync = world.sync(&next, &[]);
    assert_eq!(world.synced(sync).assignment, "two");
}

#[test]
fn a_static_leader_that_comes_back_need_not_assign_anew() {
    let mut world = World::standalone();
    let (a, b) = world.stable_static_pair();
    let back = world.join_static("a");
    let joined = world.joined(back);
    assert!(joined.skip_assignment);
    assert_eq!((joined.members.len(), &joined.leader), (2, &joined.member_id));
    // A client that does not know skip_assignment is not told that it leads.
    let old = world.join(
        8,
        &Speaker {
            instance_id: Some("a".to_owned()),
            ..Speaker::default()
        },
    );
    let old = world.joined(old);
    assert_eq!((old.error_code, old.leader), (0, joined.member_id));
    assert!(old.members.is_empty());
    assert_eq!(world.heartbeat(&b), ErrorCode::None);
    assert_eq!(world.heartbeat(&a), ErrorCode::FencedInstanceId);
}

#[test]
fn a_static_member_counts_in_its_former_life_until_the_next_one_is_committed() {
    let mut world = World::standalone();
    let (_, b) = world.stable_static_pair();
    world.commits = Commits::WhenTold;
    let back = world.join_static("b");
    assert!(!world.is_answered(back));
    assert_eq!(world.heartbeat(&b), ErrorCode::None);
    assert!(world.late_next());
    assert_eq!(world.joined(back).error_code, ErrorCode::CoordinatorNotAvailable.code());
    assert_eq!(world.heartbeat(&b), ErrorCode::None);
    // What was appended and given up must not come true after all.
    world.restart();
    assert_eq!(world.heartbeat(&b), ErrorCode::None);
    // Two lives race: the last one counts.
    let (second, third) = (world.join_static("b"), world.join_static("b"));
    while world.commit_next() {}
    assert_eq!(world.heartbeat(&b), ErrorCode::FencedInstanceId);
    let (second, third) = (world.joined(second), world.joined(third));
    let as_life = |member_id: String| Speaker { member_id, ..b.clone() };
    assert_eq!(world.heartbeat(&as_life(second.member_id)), ErrorCode::FencedInstanceId);
    assert_eq!(world.heartbeat(&as_life(third.member_id)), ErrorCode::None);
}

#[test]
fn a_static_member_that_offers_another_protocol_makes_everyone_join_again() {
    let mut world = World::standalone();
    let (a, _) = world.stable_static_pair();
    let b = Speaker {
        instance_id: Some("b".to_owned()),
        ..Speaker::default()
    };
    let mismatched = world.ask(9, Request::Join(join_request(&b, &["sticky"])));
    assert_eq!(
        world.joined(mismatched).error_code,
        ErrorCode::InconsistentGroupProtocol.code()
    );
    let both = world.ask(9, Request::Join(join_request(&b, &["sticky", "range"])));
    assert_eq!(world.joined(both).protocol_name.as_deref(), Some("range"));
    assert_eq!(world.heartbeat(&a), ErrorCode::None);
}

#[test]
fn the_protocol_is_one_that_all_offer_and_most_prefer() {
    let mut world = World::standalone();
    let mut ask = |protocols: &[&str]| world.ask(3, Request::Join(join_request(&Speaker::default(), protocols)));
    let first = ask(&["range"]);
    let odd = ask(&["sticky"]);
    let second = ask(&["sticky", "range"]);
    assert_eq!(
        world.joined(odd).error_code,
        ErrorCode::InconsistentGroupProtocol.code()
    );
    let a = speaker(&mut world, first);
    let rejoin = world.ask(9, Request::Join(join_request(&a, &["range", "sticky"])));
    let third = world.ask(
        3,
        Request::Join(join_request(&Speaker::default(), &["sticky", "range"])),
    );
    assert_eq!(
        world.joined(rejoin).protocol_name.as_deref(),
        Some("range"),
        "a tie goes by name"
    );
    let b = speaker(&mut world, second);
    let _ = world.ask(9, Request::Join(join_request(&a, &["range", "sticky"])));
    let _ = world.ask(9, Request::Join(join_request(&b, &["sticky", "range"])));
    assert_eq!(
        world.joined(third).protocol_name.as_deref(),
        Some("sticky"),
        "two of three prefer it"
    );
}

#[test]
fn the_last_member_that_leaves_empties_the_group_durably() {
    let mut world = World::standalone();
    let a = world.stable_member();
    let left = world.leave(&[(&a.member_id, None)]);
    assert_eq!((left.error_code, left.members[0].error_code), (0, 0));
    assert_eq!(world.state(), "Empty");
    world.restart();
    assert_eq!(world.state(), "Empty");
    assert_eq!(world.heartbeat(&a), ErrorCode::UnknownMemberId);
    let next = world.stable_member();
    assert_eq!(next.generation, 3, "the empty generation was the second");
}

#[test]
fn an_operator_removes_static_members_and_strangers_are_named() {
    let mut world = World::standalone();
    let (a, b) = world.stable_static_pair();
    let left = world.leave(&[
        ("", Some("b")),
        ("", Some("nobody")),
        (&b.member_id, Some("a")),
        ("stranger", None),
    ]);
    let errors: Vec<_> = left
        .members
        .iter()
        .map(|member| ErrorCode::from_code(member.error_code).unwrap())
        .collect();
    assert_eq!(
        errors,
        [
            ErrorCode::None,
            ErrorCode::UnknownMemberId,
            ErrorCode::FencedInstanceId,
            ErrorCode::UnknownMemberId
        ]
    );
    assert_eq!(world.heartbeat(&b), ErrorCode::UnknownMemberId);
    assert_eq!(world.heartbeat(&a), ErrorCode::RebalanceInProgress);
}

#[test]
fn an_old_client_leaves_with_one_error_for_all() {
    use protocol::messages::leave_group::LeaveGroupRequest;
    let mut world = World::standalone();
    let a = world.stable_member();
    let mut leave = |member: &str| {
        let request = LeaveGroupRequest {
            group_id: GROUP.to_owned(),
            member_id: member.to_owned(),
            ..LeaveGroupRequest::default()
        };
        let ticket = world.ask(1, Request::Leave(request));
        let Response::Leave(response) = &world.answers[&ticket] else {
            panic!("not a leave")
        };
        assert!(response.members.is_empty());
        ErrorCode::from_code(response.error_code).unwrap()
    };
    assert_eq!(leave("stranger"), ErrorCode::UnknownMemberId);
    assert_eq!(leave(&a.member_id), ErrorCode::None);
}

#[test]
fn a_restart_keeps_the_generation_and_gives_members_time_to_be_heard_from() {
    let mut world = World::standalone();
    let (a, b) = world.stable_static_pair();
    world.pass(secs(9));
    world.restart();
    world.pass(secs(9));
    assert_eq!(world.heartbeat(&a), ErrorCode::None);
    world.pass(secs(2));
    assert_eq!(world.heartbeat(&a), ErrorCode::RebalanceInProgress);
    assert_eq!(world.heartbeat(&b), ErrorCode::UnknownMemberId);
}

#[test]
fn who_waits_for_a_coordinator_that_resigns_is_sent_to_the_next() {
    let mut world = World::standalone();
    let a = world.stable_member();
    world.commits = Commits::WhenTold;
    let commit = world.ask(9, Request::Commit(commit_request(&a, 0, 1)));
    let (_, join) = world.join_new();
    world.restart();
    assert_eq!(world.joined(join).error_code, ErrorCode::NotCoordinator.code());
    assert_eq!(world.commit_error(commit), ErrorCode::NotCoordinator);
}

#[test]
fn a_full_group_takes_nobody_more() {
    let mut world = World::new(GroupSettings {
        max_size: 1,
        ..GroupSettings::standalone()
    });
    let a = world.stable_member();
    let refused = world.join(9, &Speaker::default());
    assert_eq!(world.joined(refused).error_code, ErrorCode::GroupMaxSizeReached.code());
    assert_eq!(world.heartbeat(&a), ErrorCode::None);
}

#[test]
fn joins_that_make_no_sense_are_refused_by_name() {
    let mut world = World::standalone();
    let cases: [(ErrorCode, JoinGroupRequest); 7] = [
        (
            ErrorCode::InvalidGroupId,
            JoinGroupRequest {
                group_id: String::new(),
                ..join_request(&nobody(), &["r"])
            },
        ),
        (
            ErrorCode::InvalidSessionTimeout,
            JoinGroupRequest {
                session_timeout_ms: 5_999,
                ..join_request(&nobody(), &["r"])
            },
        ),
        (
            ErrorCode::InvalidSessionTimeout,
            JoinGroupRequest {
                session_timeout_ms: 1_800_001,
                ..join_request(&nobody(), &["r"])
            },
        ),
        (
            ErrorCode::InvalidSessionTimeout,
            JoinGroupRequest {
                session_timeout_ms: -1,
                ..join_request(&nobody(), &["r"])
            },
        ),
        (ErrorCode::InconsistentGroupProtocol, join_request(&nobody(), &[])),
        (
            ErrorCode::InvalidRequest,
            JoinGroupRequest {
                group_instance_id: Some("x".repeat(250)),
                ..join_request(&nobody(), &["r"])
            },
        ),
        (
            ErrorCode::UnknownMemberId,
            JoinGroupRequest {
                member_id: "m".to_owned(),
                ..join_request(&nobody(), &["r"])
            },
        ),
    ];
    for (error, request) in cases {
        let ticket = world.ask(9, Request::Join(request));
        assert_eq!(world.joined(ticket).error_code, error.code(), "{error}");
    }
    assert!(world.coordinator.groups.is_empty());
}

#[test]
fn a_join_that_is_repeated_answers_the_earlier_one_too() {
    let mut world = World::standalone();
    let a = world.stable_member();
    let (b_id, earlier) = world.join_new();
    let later = world.join(
        9,
        &Speaker {
            member_id: b_id,
            ..Speaker::default()
        },
    );
    assert_eq!(world.joined(earlier).error_code, ErrorCode::RebalanceInProgress.code());
    world.join(9, &a);
    assert_eq!(world.joined(later).error_code, 0);
}

#[test]
fn groups_are_described_and_listed_with_their_state() {
    let mut world = World::standalone();
    let a = world.stable_member();
    let described = world.coordinator.describe(GROUP, 6);
    assert_eq!(
        (described.group_state.as_str(), described.protocol_data.as_str()),
        ("Stable", "range")
    );
    let member = &described.members[0];
    assert_eq!(
        (member.member_id.as_str(), member.client_id.as_str()),
        (a.member_id.as_str(), "client")
    );
    assert_eq!(
        (member.client_host.as_str(), &member.member_assignment[..]),
        ("/10.0.0.7", &b"all"[..])
    );
    assert_eq!(member.member_metadata, subscription(&["mail"]));

    let listed = |states: &[&str], types: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        world.coordinator.list(&owned(states), &owned(types)).len()
    };
    assert_eq!(
        (
            listed(&[], &[]),
            listed(&["stable"], &["classic"]),
            listed(&["Empty"], &[])
        ),
        (1, 1, 0)
    );
    assert_eq!(listed(&[], &["consumer"]), 0);

    let unknown = world.coordinator.describe("nope", 6);
    assert_eq!(unknown.error_code, ErrorCode::GroupIdNotFound.code());
    let unknown = world.coordinator.describe("nope", 5);
    assert_eq!((unknown.error_code, unknown.group_state.as_str()), (0, "Dead"));
}

#[test]
fn waiting_for_a_static_member_without_a_rebalance_timeout_comes_to_an_end_in_every_tick() {
    let mut world = World::standalone();
    let member = |id: &str, instance_id: Option<&str>, session_timeout_ms| MemberMetadata {
        member_id: id.into(),
        instance_id: instance_id.map(Into::into),
        client_id: "client".to_owned(),
        client_host: "/10.0.0.7".to_owned(),
        rebalance_timeout_ms: 0,
        session_timeout_ms,
        subscription: subscription(&["t"]),
        assignment: subscription(&["t"]),
    };
    world.log.push(GroupRecord::Group {
        group: GROUP.into(),
        metadata: Some(GroupMetadata {
            protocol_type: "consumer".to_owned(),
            generation: GenerationId(1),
            protocol: Some("range".to_owned()),
            leader: Some("a".into()),
            state_timestamp_ms: 0,
            members: vec![member("a", None, 1000), member("b", Some("static"), 3_600_000)],
        }),
    });
    world.restart_with(1);
    // The dynamic member is silent; of the static one nothing is heard yet.
    world.pass(Duration::from_secs(5));
    assert_eq!(world.state(), "PreparingRebalance");
    assert!(
        world
            .coordinator
            .next_deadline()
            .is_some_and(|next| next > world.now.monotonic)
    );
}
