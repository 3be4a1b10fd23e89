use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::offset_commit::OffsetCommitRequest;
use protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic, OffsetDeleteResponse,
};
use protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use uuid::Uuid;

use super::world::*;
use crate::{GroupSettings, Request, Response, offset_fetch};

const DAY: Duration = Duration::from_hours(24);

fn delete_group(world: &mut World) -> ErrorCode {
    let ticket = world.ask(2, Request::DeleteGroup(GROUP.to_owned()));
    match &world.answers[&ticket] {
        Response::DeleteGroup(error) => *error,
        other => panic!("not an answer to a delete: {other:?}"),
    }
}

fn delete_offsets(world: &mut World, topic: &str) -> OffsetDeleteResponse {
    let request = OffsetDeleteRequest {
        group_id: GROUP.to_owned(),
        topics: vec![OffsetDeleteRequestTopic {
            name: topic.to_owned(),
            partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
        }],
    };
    let ticket = world.ask(0, Request::DeleteOffsets(request));
    match &world.answers[&ticket] {
        Response::DeleteOffsets(response) => response.clone(),
        other => panic!("not an answer to a delete: {other:?}"),
    }
}

#[test]
fn an_offset_comes_back_with_metadata_and_leader_epoch_after_a_restart_too() {
    let mut world = World::standalone();
    let a = world.stable_member();
    assert_eq!(world.commit(9, &a, 42), ErrorCode::None);
    for _ in 0..2 {
        let fetched = world.fetch(0);
        assert_eq!((fetched.committed_offset, fetched.committed_leader_epoch), (42, 4));
        assert_eq!(fetched.metadata.as_deref(), Some("a note"));
        world.restart();
    }
    let unknown = world.fetch(1);
    assert_eq!((unknown.committed_offset, unknown.error_code), (-1, 0));
    assert_eq!(unknown.metadata.as_deref(), Some(""));
}

#[test]
fn the_offset_of_a_topic_is_not_that_of_another_with_its_name() {
    let mut world = World::standalone();
    let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut request = commit_request(&nobody(), 0, 42);
    request.topics[0].topic_id = first;
    world.ask(10, Request::Commit(request));
    for _ in 0..2 {
        // Who asks by name alone means whatever is there.
        let asked = [Uuid::nil(), first, second].map(|topic_id| {
            let request = OffsetFetchRequestGroup {
                group_id: GROUP.to_owned(),
                topics: Some(vec![OffsetFetchRequestTopics {
                    name: "mail".to_owned(),
                    topic_id,
                    partition_indexes: vec![0],
                }]),
                ..OffsetFetchRequestGroup::default()
            };
            world.coordinator.fetch_offsets(&request).topics[0].partitions[0].committed_offset
        });
        assert_eq!(asked, [42, 42, -1]);
        world.restart();
    }
}

#[test]
fn a_commit_is_acknowledged_when_it_is_committed() {
    let mut world = World::standalone();
    let a = world.stable_member();
    world.commits = Commits::WhenTold;
    let ticket = world.ask(9, Request::Commit(commit_request(&a, 0, 1)));
    assert!(!world.is_answered(ticket));
    world.commit_next();
    assert_eq!(world.commit_error(ticket), ErrorCode::None);
    let late = world.ask(9, Request::Commit(commit_request(&a, 0, 2)));
    assert!(world.late_next());
    assert_eq!(world.commit_error(late), ErrorCode::CoordinatorNotAvailable);
    world.refuses = Some(ErrorCode::MessageTooLarge);
    let large = world.ask(9, Request::Commit(commit_request(&a, 0, 3)));
    assert_eq!(world.commit_error(large), ErrorCode::InvalidCommitOffsetSize);
}

#[test]
fn a_consumer_without_a_group_commits_only_where_nobody_is() {
    let mut world = World::standalone();
    assert_eq!(world.commit(9, &nobody(), 7), ErrorCode::None);
    assert_eq!(world.state(), "Empty");
    world.restart();
    assert_eq!(world.fetch(0).committed_offset, 7);
    let a = world.stable_member();
    assert_eq!(world.commit(9, &nobody(), 8), ErrorCode::UnknownMemberId);
    assert_eq!(world.commit(9, &a, 9), ErrorCode::None);
}

#[test]
fn commits_of_the_wrong_time_are_told_apart() {
    let mut world = World::standalone();
    let stranger = Speaker {
        member_id: "m".to_owned(),
        generation: 1,
        instance_id: None,
    };
    assert_eq!(world.commit(9, &stranger, 1), ErrorCode::GroupIdNotFound);
    assert_eq!(world.commit(8, &stranger, 1), ErrorCode::IllegalGeneration);
    let a = world.stable_member();
    assert_eq!(world.commit(9, &stranger, 1), ErrorCode::UnknownMemberId);
    let old = Speaker {
        generation: 0,
        ..a.clone()
    };
    assert_eq!(world.commit(9, &old, 1), ErrorCode::IllegalGeneration);

    // While others join, the present generation may still commit.
    let (_, _) = world.join_new();
    assert_eq!(world.state(), "PreparingRebalance");
    assert_eq!(world.commit(9, &a, 1), ErrorCode::None);
    world.join(9, &a);
    assert_eq!(world.state(), "CompletingRebalance");
    let next = Speaker {
        generation: a.generation + 1,
        ..a
    };
    assert_eq!(world.commit(9, &next, 2), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut world = World::standalone();
    let a = world.stable_member();
    for offset in 0..5 {
        world.pass(Duration::from_secs(6));
        assert_eq!(world.commit(9, &a, offset), ErrorCode::None);
    }
    assert_eq!(world.heartbeat(&a), ErrorCode::None);
}

#[test]
fn metadata_beyond_the_limit_is_refused_for_its_partition_alone() {
    let mut world = World::standalone();
    let mut request = commit_request(&nobody(), 0, 1);
    let mut long = request.topics[0].partitions[0].clone();
    long.partition_index = 1;
    long.committed_metadata = Some("ä".repeat(4097));
    request.topics[0].partitions.push(long);
    let ticket = world.ask(9, Request::Commit(request));
    let Response::Commit(response) = &world.answers[&ticket] else {
        panic!("not a commit")
    };
    let errors: Vec<_> = response.topics[0]
        .partitions
        .iter()
        .map(|partition| partition.error_code)
        .collect();
    assert_eq!(errors, [0, ErrorCode::OffsetMetadataTooLarge.code()]);
    assert_eq!(
        (world.fetch(0).committed_offset, world.fetch(1).committed_offset),
        (1, -1)
    );
}

#[test]
fn offsets_of_an_empty_group_expire_a_week_after_its_last_member_and_the_group_with_them() {
    let mut world = World::standalone();
    let a = world.stable_member();
    world.commit(9, &a, 1);
    for _ in 0..20 * 24 * 60 * 10 {
        world.pass(Duration::from_secs(6));
        world.heartbeat(&a);
    }
    assert_eq!(
        world.fetch(0).committed_offset,
        1,
        "a group that is used keeps its offsets"
    );
    world.leave(&[(&a.member_id, None)]);
    world.pass(DAY * 6);
    world.restart();
    assert_eq!(world.fetch(0).committed_offset, 1);
    world.pass(DAY + Duration::from_mins(20));
    assert_eq!(world.fetch(0).committed_offset, -1);
    assert_eq!(world.state(), "Dead");
    assert!(world.coordinator.groups.is_empty());
    world.restart();
    assert!(world.coordinator.groups.is_empty());
}

#[test]
fn offsets_of_a_topic_that_nobody_wants_any_more_expire_though_the_group_lives() {
    let mut world = World::new(GroupSettings {
        offsets_retention: Duration::from_mins(30),
        ..GroupSettings::standalone()
    });
    let a = world.stable_member();
    world.commit(9, &a, 1);
    let mut other = commit_request(&a, 0, 5);
    other.topics[0].name = "abandoned".to_owned();
    world.ask(9, Request::Commit(other));
    for _ in 0..500 {
        world.pass(Duration::from_secs(6));
        world.heartbeat(&a);
    }
    assert_eq!(world.fetch(0).committed_offset, 1);
    assert!(world.coordinator.durable().offset(GROUP, "abandoned", 0).is_none());
}

#[test]
fn an_offset_with_a_retention_of_its_own_expires_by_that() {
    let mut world = World::standalone();
    let request = OffsetCommitRequest {
        retention_time_ms: 1000,
        ..commit_request(&nobody(), 0, 1)
    };
    world.ask(2, Request::Commit(request));
    assert_eq!(world.fetch(0).committed_offset, 1);
    world.pass(Duration::from_mins(11));
    assert_eq!(world.fetch(0).committed_offset, -1);
    assert!(world.coordinator.groups.is_empty());
}

#[test]
fn a_group_is_deleted_when_it_is_empty_and_all_its_offsets_with_it() {
    let mut world = World::standalone();
    assert_eq!(delete_group(&mut world), ErrorCode::GroupIdNotFound);
    let a = world.stable_member();
    world.commit(9, &a, 1);
    assert_eq!(delete_group(&mut world), ErrorCode::NonEmptyGroup);
    world.leave(&[(&a.member_id, None)]);
    assert_eq!(delete_group(&mut world), ErrorCode::None);
    assert_eq!(world.fetch(0).committed_offset, -1);
    assert!(world.coordinator.groups.is_empty());
    world.restart();
    assert!(world.coordinator.groups.is_empty());
    assert_eq!(delete_group(&mut world), ErrorCode::GroupIdNotFound);
}

#[test]
fn offsets_of_topics_in_use_are_not_deleted() {
    let mut world = World::standalone();
    assert_eq!(
        delete_offsets(&mut world, "mail").error_code,
        ErrorCode::GroupIdNotFound.code()
    );
    let a = world.stable_member();
    world.commit(9, &a, 1);
    let refused = delete_offsets(&mut world, "mail");
    assert_eq!(
        refused.topics[0].partitions[0].error_code,
        ErrorCode::GroupSubscribedToTopic.code()
    );
    world.leave(&[(&a.member_id, None)]);
    let deleted = delete_offsets(&mut world, "mail");
    assert_eq!((deleted.error_code, deleted.topics[0].partitions[0].error_code), (0, 0));
    assert_eq!(world.fetch(0).committed_offset, -1);
}

#[test]
fn the_offsets_of_a_deleted_topic_go_with_it() {
    let mut world = World::standalone();
    world.commit(9, &nobody(), 1);
    let effects = world.coordinator.topic_deleted(world.now, "other");
    assert!(effects.writes.is_empty());
    let effects = world.coordinator.topic_deleted(world.now, "mail");
    world.carry_out(effects);
    assert_eq!(world.fetch(0).committed_offset, -1);
    assert_eq!(world.state(), "Empty");
    assert_eq!(delete_group(&mut world), ErrorCode::None);
    assert_eq!(world.state(), "Dead");
}

#[test]
fn a_group_outlives_its_last_offset_until_it_is_deleted_or_expires() {
    let mut world = World::standalone();
    for deletes in [true, false] {
        world.commit(9, &nobody(), 1);
        assert_eq!(delete_offsets(&mut world, "mail").error_code, 0);
        assert_eq!(world.fetch(0).committed_offset, -1);
        assert_eq!(world.state(), "Empty");
        assert_eq!(delete_offsets(&mut world, "mail").error_code, 0);
        if deletes {
            assert_eq!(delete_group(&mut world), ErrorCode::None);
        } else {
            world.pass(world.settings.offsets_retention_check_interval);
        }
        assert_eq!(world.state(), "Dead");
        assert_eq!(delete_group(&mut world), ErrorCode::GroupIdNotFound);
        assert!(world.coordinator.groups.is_empty());
    }
}

#[test]
fn a_group_is_deleted_when_the_deletion_of_its_offsets_is_committed() {
    let mut world = World::standalone();
    world.commit(9, &nobody(), 1);
    world.commits = Commits::WhenTold;
    let request = OffsetDeleteRequest {
        group_id: GROUP.to_owned(),
        topics: vec![OffsetDeleteRequestTopic {
            name: "mail".to_owned(),
            partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
        }],
    };
    world.ask(0, Request::DeleteOffsets(request));
    let deletion = world.ask(2, Request::DeleteGroup(GROUP.to_owned()));
    assert!(!world.is_answered(deletion));
    world.commit_next();
    let Response::DeleteGroup(error) = &world.answers[&deletion] else {
        panic!("not an answer to a delete")
    };
    assert_eq!(*error, ErrorCode::None);
}

#[test]
fn offsets_are_fetched_in_the_form_of_any_version() {
    let mut world = World::standalone();
    world.commit(9, &nobody(), 5);
    for version in 1..=9 {
        let mut request = OffsetFetchRequest::default();
        if version >= 8 {
            request.groups = vec![OffsetFetchRequestGroup {
                group_id: GROUP.to_owned(),
                topics: None,
                ..OffsetFetchRequestGroup::default()
            }];
        } else {
            request.group_id = GROUP.to_owned();
            request.topics = (version < 2).then(|| {
                vec![OffsetFetchRequestTopic {
                    name: "mail".to_owned(),
                    partition_indexes: vec![0],
                }]
            });
        }
        let groups = offset_fetch::groups_of(request, version);
        let refused: Vec<_> = groups
            .iter()
            .map(|group| offset_fetch::refused(group, version, ErrorCode::NotCoordinator))
            .collect();
        let answers = groups
            .iter()
            .map(|group| world.coordinator.fetch_offsets(group))
            .collect();
        let response = offset_fetch::response_of(answers, version);
        let refused = offset_fetch::response_of(refused, version);
        let not_coordinator = ErrorCode::NotCoordinator.code();
        if version >= 8 {
            assert_eq!(response.groups[0].topics[0].partitions[0].committed_offset, 5);
            assert_eq!(refused.groups[0].error_code, not_coordinator);
        } else {
            assert_eq!(response.topics[0].partitions[0].committed_offset, 5);
            assert_eq!(refused.error_code, not_coordinator);
        }
        if version == 1 {
            assert_eq!(refused.topics[0].partitions[0].error_code, not_coordinator);
        }
        let mut bytes = Vec::new();
        protocol::Message::encode(&response, &mut bytes, version).unwrap();
        bytes.clear();
        protocol::Message::encode(&refused, &mut bytes, version).unwrap();
    }
}
