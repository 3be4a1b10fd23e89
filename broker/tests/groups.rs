//! Consumer groups over real sockets.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use protocol::messages::delete_groups::DeleteGroupsRequest;
use protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use protocol::messages::describe_groups::DescribeGroupsRequest;
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::heartbeat::HeartbeatRequest;
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use protocol::messages::leave_group::LeaveGroupRequest;
use protocol::messages::list_groups::ListGroupsRequest;
use protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use protocol::messages::offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_delete::OffsetDeleteRequest;
use protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use protocol::{ErrorCode, Request};
use support::{Broker, Client, PATIENCE};
use uuid::Uuid;

const GROUP: &str = "readers";

/// Asks for the coordinator until there is one that has loaded the group, as every client does.
fn connect(broker: &Broker) -> Client {
    let mut client = Client::connect(broker.address);
    let until = Instant::now() + PATIENCE;
    loop {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec![GROUP.to_owned()],
            ..FindCoordinatorRequest::default()
        };
        let found = client.call(&request, 6).coordinators.remove(0);
        let describe = DescribeGroupsRequest {
            groups: vec![GROUP.to_owned()],
            ..DescribeGroupsRequest::default()
        };
        let described = client.call(&describe, 5).groups.remove(0);
        if (found.error_code, described.error_code) == (0, 0) {
            assert_eq!((found.node_id, found.port), (0, i32::from(broker.address.port())));
            return client;
        }
        assert!(Instant::now() < until, "no coordinator: {found:?} {described:?}");
        thread::yield_now();
    }
}

fn started(data: &Path) -> (Broker, Client) {
    let broker = Broker::standalone(data);
    let client = connect(&broker);
    (broker, client)
}

fn join_request(member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: GROUP.to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 30_000,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: vec![0, 1, 0, 0, 0, 0].into(),
        }],
        ..JoinGroupRequest::default()
    }
}

/// The id that a new member joins with.
fn member_id(client: &mut Client) -> String {
    let told = client.call(&join_request(""), 9);
    assert_eq!(told.error_code, ErrorCode::MemberIdRequired.code());
    told.member_id
}

/// Asks again while the coordinator is loading, as clients do: it loads at the start, and once more when the broker has
/// registered, since that begins a new leader epoch.
fn loaded<T>(mut ask: impl FnMut() -> T, error_of: impl Fn(&T) -> i16) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if error_of(&answer) != ErrorCode::CoordinatorLoadInProgress.code() {
            return answer;
        }
        assert!(Instant::now() < until, "the coordinator is not loaded");
    }
}

fn assign(client: &mut Client, joined: &JoinGroupResponse, assignment: &'static str) -> String {
    let members = joined.members.iter().map(|member| SyncGroupRequestAssignment {
        member_id: member.member_id.clone(),
        assignment: assignment.into(),
    });
    let request = SyncGroupRequest {
        group_id: GROUP.to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments: members.collect(),
        // Mandatory since version 5 (KIP-559).
        protocol_type: Some("consumer".to_owned()),
        protocol_name: joined.protocol_name.clone(),
        ..SyncGroupRequest::default()
    };
    let synced = loaded(|| client.call(&request, 5), |answer| answer.error_code);
    assert_eq!(synced.error_code, 0);
    String::from_utf8(synced.assignment.to_vec()).expect("text")
}

fn heartbeat(client: &mut Client, joined: &JoinGroupResponse) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: GROUP.to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        group_instance_id: None,
    };
    let answer = loaded(|| client.call(&request, 4), |answer| answer.error_code);
    ErrorCode::from_code(answer.error_code).expect("known")
}

fn commit(client: &mut Client, joined: &JoinGroupResponse, topic: &str, offset: i64) -> ErrorCode {
    let request = OffsetCommitRequest {
        group_id: GROUP.to_owned(),
        generation_id_or_member_epoch: joined.generation_id,
        member_id: joined.member_id.clone(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            topic_id: Uuid::nil(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: offset,
                committed_metadata: Some("so far".to_owned()),
                ..OffsetCommitRequestPartition::default()
            }],
        }],
        ..OffsetCommitRequest::default()
    };
    let answer = client.call(&request, 9);
    ErrorCode::from_code(answer.topics[0].partitions[0].error_code).expect("known")
}

/// Everything that the group has committed.
fn committed(client: &mut Client) -> Vec<(String, i64, String)> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: GROUP.to_owned(),
            topics: None,
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    let group = loaded(|| client.call(&request, 9).groups.remove(0), |group| group.error_code);
    assert_eq!(group.error_code, 0);
    let each = group.topics.into_iter().map(|topic| {
        let partition = &topic.partitions[0];
        let note = partition.metadata.clone().unwrap_or_default();
        (topic.name, partition.committed_offset, note)
    });
    each.collect()
}

#[test]
fn a_group_goes_on_after_kill_9_where_it_stood() {
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    let (broker, mut client) = started(&data);
    client.create("mail", 1, &[]);
    let id = member_id(&mut client);
    let joined = client.call(&join_request(&id), 9);
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    assert_eq!(assign(&mut client, &joined, "all"), "all");
    assert_eq!(commit(&mut client, &joined, "mail", 42), ErrorCode::None);
    assert_eq!(
        commit(&mut client, &joined, "unknown", 1),
        ErrorCode::UnknownTopicOrPartition
    );
    let expected = [("mail".to_owned(), 42, "so far".to_owned())];
    assert_eq!(committed(&mut client), expected);

    broker.kill();
    let (broker, mut client) = started(&data);
    assert_eq!(committed(&mut client), expected);
    assert_eq!(heartbeat(&mut client, &joined), ErrorCode::None);
    assert_eq!(assign(&mut client, &joined, "ignored in a stable group"), "all");
    drop(broker);
}

#[test]
fn members_on_several_connections_wait_for_each_other() {
    let temp = tempfile::tempdir().expect("temp");
    let (broker, mut first) = started(&temp.path().join("data"));
    let id = member_id(&mut first);
    let alone = first.call(&join_request(&id), 9);
    assign(&mut first, &alone, "all");

    let mut second = Client::connect(broker.address);
    let second_id = member_id(&mut second);
    let waiting = second.send(&join_request(&second_id), 9);
    // The join is handled on another thread than the heartbeat.
    let until = Instant::now() + PATIENCE;
    while heartbeat(&mut first, &alone) != ErrorCode::RebalanceInProgress {
        assert!(Instant::now() < until, "no rebalance");
    }
    let joined = first.call(&join_request(&id), 9);
    let other = second.receive::<JoinGroupRequest>(waiting, 9);
    assert_eq!((joined.members.len(), other.members.len()), (2, 0));
    assert_eq!((joined.generation_id, other.generation_id), (2, 2));
    assert_eq!(assign(&mut first, &joined, "half"), "half");
    assert_eq!(assign(&mut second, &other, ""), "half");

    // Leaving makes the other join again.
    let leave = LeaveGroupRequest {
        group_id: GROUP.to_owned(),
        member_id: second_id,
        ..LeaveGroupRequest::default()
    };
    assert_eq!(second.call(&leave, 2).error_code, 0);
    assert_eq!(heartbeat(&mut first, &joined), ErrorCode::RebalanceInProgress);
}

#[test]
fn who_waits_in_a_group_when_the_broker_stops_is_sent_elsewhere() {
    let temp = tempfile::tempdir().expect("temp");
    let (broker, mut first) = started(&temp.path().join("data"));
    let id = member_id(&mut first);
    let alone = first.call(&join_request(&id), 9);
    assign(&mut first, &alone, "all");
    let mut second = Client::connect(broker.address);
    let second_id = member_id(&mut second);
    let waiting = second.send(&join_request(&second_id), 9);
    let until = Instant::now() + PATIENCE;
    while heartbeat(&mut first, &alone) != ErrorCode::RebalanceInProgress {
        assert!(Instant::now() < until, "no rebalance");
    }
    let stopped = thread::spawn(move || broker.stop());
    let answer = second.receive::<JoinGroupRequest>(waiting, 9);
    assert_eq!(answer.error_code, ErrorCode::NotCoordinator.code());
    assert!(stopped.join().expect("stops") < Duration::from_secs(5));
}

#[test]
fn a_silent_member_is_missed() {
    let temp = tempfile::tempdir().expect("temp");
    let (_broker, mut client) = started(&temp.path().join("data"));
    // Six seconds are the shortest session that a broker allows.
    let mut request = join_request("");
    request.session_timeout_ms = 6_000;
    let joined = client.call(&request, 3);
    assert_eq!(joined.error_code, 0);
    assign(&mut client, &joined, "all");
    let began = Instant::now();
    let describe = DescribeGroupsRequest {
        groups: vec![GROUP.to_owned()],
        ..DescribeGroupsRequest::default()
    };
    while client.call(&describe, 6).groups[0].group_state != "Empty" {
        assert!(began.elapsed() < PATIENCE, "still a member");
        thread::park_timeout(Duration::from_millis(50));
    }
    assert!(began.elapsed() > Duration::from_secs(5));
    assert_eq!(heartbeat(&mut client, &joined), ErrorCode::UnknownMemberId);
}

#[test]
fn offsets_of_a_deleted_topic_and_of_a_deleted_group_are_gone() {
    let temp = tempfile::tempdir().expect("temp");
    let (_broker, mut client) = started(&temp.path().join("data"));
    client.create("mail", 1, &[]);
    client.create("post", 1, &[]);
    // Nobody in particular: a consumer that assigns partitions to itself.
    let nobody = JoinGroupResponse::default();
    assert_eq!(commit(&mut client, &nobody, "mail", 1), ErrorCode::None);
    assert_eq!(commit(&mut client, &nobody, "post", 2), ErrorCode::None);
    let delete = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some("mail".to_owned()),
            ..DeleteTopicState::default()
        }],
        timeout_ms: 10_000,
        ..DeleteTopicsRequest::default()
    };
    assert_eq!(client.call(&delete, 6).responses[0].error_code, 0);
    let until = Instant::now() + PATIENCE;
    while committed(&mut client).len() != 1 {
        assert!(Instant::now() < until, "the offsets of a deleted topic are still there");
    }
    let listed = client.call(&ListGroupsRequest::default(), 5);
    assert_eq!(listed.groups[0].group_id, GROUP);
    let delete = DeleteGroupsRequest {
        groups_names: vec![GROUP.to_owned(), "nobody".to_owned()],
    };
    let mut results = client.call(&delete, 2).results;
    results.sort_by(|a, b| b.group_id.cmp(&a.group_id));
    assert_eq!((results[0].group_id.as_str(), results[0].error_code), (GROUP, 0));
    assert_eq!(results[1].error_code, ErrorCode::GroupIdNotFound.code());
    assert!(committed(&mut client).is_empty());
    assert!(client.call(&ListGroupsRequest::default(), 5).groups.is_empty());
}

/// Sends a default request in every accepted version; the answer must decode to its last byte.
fn in_every_version<R: Request + Default>(client: &mut Client) {
    for version in R::KEY.api().accepted.iter() {
        client.call(&R::default(), version);
    }
}

#[test]
fn offsets_are_committed_and_found_by_the_id_of_a_topic_and_not_by_that_of_another() {
    let temp = tempfile::tempdir().expect("temp");
    let (broker, mut client) = started(&temp.path().join("data"));
    let by_id = |ids: &[Uuid]| OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: GROUP.to_owned(),
            topics: Some(
                ids.iter()
                    .map(|id| OffsetFetchRequestTopics {
                        topic_id: *id,
                        partition_indexes: vec![0],
                        ..OffsetFetchRequestTopics::default()
                    })
                    .collect(),
            ),
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    let commit = |ids: &[Uuid]| OffsetCommitRequest {
        group_id: GROUP.to_owned(),
        topics: ids
            .iter()
            .map(|id| OffsetCommitRequestTopic {
                topic_id: *id,
                partitions: vec![OffsetCommitRequestPartition {
                    committed_offset: 7,
                    ..OffsetCommitRequestPartition::default()
                }],
                ..OffsetCommitRequestTopic::default()
            })
            .collect(),
        ..OffsetCommitRequest::default()
    };
    client.create("letters", 1, &[]);
    let asked = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some("letters".to_owned()),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    let (topic, nobodys) = (client.call(&asked, 12).topics[0].topic_id, Uuid::from_u128(77));

    let answer = client.call(&commit(&[nobodys, topic]), 10);
    let errors: BTreeMap<_, _> = answer
        .topics
        .iter()
        .map(|topic| (topic.topic_id, topic.partitions[0].error_code))
        .collect();
    assert_eq!(errors, [(nobodys, ErrorCode::UnknownTopicId.code()), (topic, 0)].into());

    let group = client.call(&by_id(&[nobodys, topic]), 10).groups.remove(0);
    let found: BTreeMap<_, _> = group
        .topics
        .iter()
        .map(|topic| {
            let partition = &topic.partitions[0];
            (topic.topic_id, (partition.error_code, partition.committed_offset))
        })
        .collect();
    assert_eq!(
        found,
        [(nobodys, (ErrorCode::UnknownTopicId.code(), -1)), (topic, (0, 7))].into()
    );
    // By name it is the same offset, and where all are asked for each has its id.
    assert_eq!(committed(&mut client), [("letters".to_owned(), 7, String::new())]);
    let everything = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            topics: None,
            ..by_id(&[]).groups.remove(0)
        }],
        ..OffsetFetchRequest::default()
    };
    let all = client.call(&everything, 10).groups.remove(0).topics;
    assert_eq!(all.iter().map(|topic| topic.topic_id).collect::<Vec<_>>(), [topic]);

    drop(client);
    broker.kill();
    let (_broker, mut client) = started(&temp.path().join("data"));
    let found = client.call(&by_id(&[topic]), 10).groups.remove(0);
    assert_eq!(found.topics[0].partitions[0].committed_offset, 7);
}

#[test]
fn every_group_api_answers_in_every_version() {
    let temp = tempfile::tempdir().expect("temp");
    let (_broker, mut client) = started(&temp.path().join("data"));
    in_every_version::<JoinGroupRequest>(&mut client);
    in_every_version::<SyncGroupRequest>(&mut client);
    in_every_version::<HeartbeatRequest>(&mut client);
    in_every_version::<LeaveGroupRequest>(&mut client);
    in_every_version::<OffsetCommitRequest>(&mut client);
    in_every_version::<OffsetFetchRequest>(&mut client);
    in_every_version::<OffsetDeleteRequest>(&mut client);
    in_every_version::<DescribeGroupsRequest>(&mut client);
    in_every_version::<ListGroupsRequest>(&mut client);
    in_every_version::<DeleteGroupsRequest>(&mut client);
}
