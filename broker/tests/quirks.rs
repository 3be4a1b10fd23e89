//! What real clients stumble over: one test for each habit that has broken a client of some other broker.
//!
//! Habits that are tested where their subject is: answers in the order of their requests, and long polls that hold up
//! nobody else (`serve.rs`); ApiVersions of an unknown version (`serve.rs`); coordinators that move answer
//! NOT_COORDINATOR, and unknown groups commit nothing (`groups.rs` and `broker/groups`); offsets by time are exact to the
//! record (`broker/log`); acknowledgements and their errors (`produce.rs`); sessions, epochs and bounds (`fetch.rs`).
//! Authentication, and with it a second handshake on one connection, comes later.

mod support;

use protocol::batch::BatchBuilder;
use protocol::messages::api_versions::ApiVersionsRequest;
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::delete_topics::DeleteTopicsRequest;
use protocol::messages::describe_cluster::DescribeClusterRequest;
use protocol::messages::fetch::FetchRequest;
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use protocol::messages::offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
};
use protocol::{ApiKey, ErrorCode};
use std::io::Write;
use std::time::{Duration, Instant};
use support::cluster::{Cluster, TOPIC, wait_for};
use support::{Broker, Client, fetch, frame, produce, produced, records, value};
use uuid::Uuid;

fn started() -> (tempfile::TempDir, Broker, Client) {
    let temp = tempfile::tempdir().expect("temp");
    let broker = Broker::standalone(&temp.path().join("data"));
    let client = Client::connect(broker.address);
    (temp, broker, client)
}

fn range(client: &mut Client, key: ApiKey) -> (i16, i16) {
    let answer = client.call(&ApiVersionsRequest::default(), 0);
    let found = answer.api_keys.iter().find(|api| api.api_key == key.code());
    let found = found.expect("is advertised");
    (found.min_version, found.max_version)
}

fn metadata(client: &mut Client, topic: &str, create: bool) -> MetadataResponse {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(topic.to_owned()),
            ..MetadataRequestTopic::default()
        }]),
        allow_auto_topic_creation: create,
        ..MetadataRequest::default()
    };
    client.call(&request, 12)
}

fn find_coordinator(client: &mut Client, group: &str) -> (i32, String, i32) {
    let request = FindCoordinatorRequest {
        coordinator_keys: vec![group.to_owned()],
        ..FindCoordinatorRequest::default()
    };
    loop {
        let answer = client.call(&request, 4).coordinators.remove(0);
        if answer.error_code == 0 {
            return (answer.node_id, answer.host, answer.port);
        }
        assert_eq!(answer.error_code, ErrorCode::CoordinatorNotAvailable.code());
    }
}

/// librdkafka up to 2.11.0 sends uncompressed, without a word, to a broker that does not advertise Produce 0.
#[test]
fn produce_is_advertised_from_version_0_and_served_from_version_3() {
    let (_temp, broker, mut client) = started();
    assert_eq!(range(&mut client, ApiKey::Produce), (0, 13));
    for version in 0..3_i16 {
        let mut old = Client::connect(broker.address);
        let mut bytes = frame(&produce("t", 0, 1, value("v")), 3, 1);
        bytes[6..8].copy_from_slice(&version.to_be_bytes());
        old.stream.write_all(&bytes).expect("sends");
        assert!(old.is_closed(), "version {version}");
    }
}

/// librdkafka up to 2.11.0 takes the absence of JoinGroup 0 for a broker without consumer groups; kafka-go sends old
/// versions of several requests.
#[test]
fn old_versions_of_group_requests_are_served() {
    let (_temp, _broker, mut client) = started();
    for key in [
        ApiKey::JoinGroup,
        ApiKey::SyncGroup,
        ApiKey::Heartbeat,
        ApiKey::LeaveGroup,
        ApiKey::FindCoordinator,
    ] {
        assert_eq!(range(&mut client, key).0, 0, "{key}");
    }
    assert!(range(&mut client, ApiKey::Metadata).0 <= 1);
    assert_eq!(range(&mut client, ApiKey::Metadata).1, 13, "pinned clients need it");
    assert!(
        range(&mut client, ApiKey::ListOffsets).1 >= 7,
        "the largest timestamp is asked for in version 7"
    );
}

/// A request whose version is not served has no answer: clients take anything else for a broken response.
#[test]
fn an_unserved_version_closes_the_connection() {
    let (_temp, broker, _client) = started();
    let mut client = Client::connect(broker.address);
    let mut bytes = frame(&MetadataRequest::default(), 12, 1);
    bytes[6..8].copy_from_slice(&99_i16.to_be_bytes());
    client.stream.write_all(&bytes).expect("sends");
    assert!(client.is_closed());
}

/// The header of an ApiVersions response never has tagged fields: clients read it before they know what the broker speaks.
#[test]
fn the_header_of_api_versions_is_the_oldest_in_every_version() {
    let (_temp, _broker, mut client) = started();
    for version in 0..=4 {
        let request = ApiVersionsRequest {
            client_software_name: "test".to_owned(),
            client_software_version: "1.0".to_owned(),
        };
        client.stream.write_all(&frame(&request, version, 77)).expect("sends");
        let answer = client.read_frame().expect("answered");
        // Correlation id, then at once the error code and, before version 3, a count of four bytes.
        assert_eq!(answer[..6], [0, 0, 0, 77, 0, 0], "version {version}");
        let tagged_header = version >= 3 && answer[6] == 0;
        assert!(!tagged_header, "version {version}");
    }
}

/// Clients before version 4 fail on features whose lowest level is 0.
#[test]
fn features_from_level_0_are_shown_to_those_who_know_them_only() {
    let (_temp, _broker, mut client) = started();
    let request = ApiVersionsRequest {
        client_software_name: "test".to_owned(),
        client_software_version: "1.0".to_owned(),
    };
    let answer = client.call(&request, 3);
    assert!(answer.supported_features.iter().all(|feature| feature.min_version > 0));
}

/// Zero ids send franz-go and librdkafka into a loop.
#[test]
fn every_topic_has_an_id_and_is_fetched_by_it_or_by_its_name() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    client.produce("t", 0, value("v")).expect("appends");
    let id = metadata(&mut client, "t", false).topics[0].topic_id;
    assert_ne!(id, Uuid::nil());
    let mut request = fetch("t", 0, 0, 0);
    assert_eq!(records(&client.call(&request, 12)).len(), 1);
    request.topics[0].topic_id = id;
    assert_eq!(records(&client.call(&request, 13)).len(), 1);
}

/// A consumer of a topic that was deleted and made again asks for the old id: it must look the topic up, not begin anew.
#[test]
fn a_topic_made_again_is_not_found_by_its_old_id() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    let old = metadata(&mut client, "t", false).topics[0].topic_id;
    let delete = DeleteTopicsRequest {
        topic_names: vec!["t".to_owned()],
        timeout_ms: 5000,
        ..DeleteTopicsRequest::default()
    };
    assert_eq!(client.call(&delete, 5).responses[0].error_code, 0);
    client.create("t", 1, &[]);
    let new = metadata(&mut client, "t", false).topics[0].clone();
    assert_ne!(new.topic_id, old);
    assert_eq!(new.partitions[0].leader_epoch, 0);
    let mut request = fetch("t", 0, 0, 0);
    request.topics[0].topic_id = old;
    let answer = client.call(&request, 13);
    assert_eq!(
        answer.responses[0].partitions[0].error_code,
        ErrorCode::UnknownTopicId.code()
    );
}

/// librdkafka takes null for a broken response.
#[test]
fn no_records_are_empty_bytes_and_not_null() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    let mut out_of_range = fetch("t", 0, 9, 0);
    out_of_range.topics[0].partitions[0].partition_max_bytes = 1000;
    for request in [fetch("t", 0, 0, 0), out_of_range] {
        for version in 4..=12 {
            let answer = client.call(&request, version);
            let part = &answer.responses[0].partitions[0];
            assert_eq!(part.records.as_deref().map(<[u8]>::len), Some(0), "version {version}");
            assert!(
                part.aborted_transactions.is_none(),
                "null for those who read everything"
            );
        }
    }
}

/// A consumer that stands in the middle of a batch, or asks for less than a batch, hangs if it gets nothing.
#[test]
fn an_offset_in_the_middle_of_a_batch_brings_the_whole_batch() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    let batch = ["a", "b", "c"].iter().fold(BatchBuilder::new(), |batch, text| {
        batch.record(1_000, None, Some(text.as_bytes()))
    });
    client.produce("t", 0, batch.build()).expect("appends");
    let mut request = fetch("t", 0, 1, 0);
    (request.max_bytes, request.topics[0].partitions[0].partition_max_bytes) = (1, 1);
    let offsets: Vec<i64> = records(&client.call(&request, 12))
        .into_iter()
        .map(|(offset, _)| offset)
        .collect();
    assert_eq!(offsets, [0, 1, 2]);
}

/// Clients that are sent to an address they have not heard of before begin again, and again.
#[test]
fn every_answer_names_the_same_address_and_every_leader_is_listed() {
    let (_temp, broker, mut client) = started();
    client.create("t", 3, &[]);
    let here = (0, broker.address.ip().to_string(), i32::from(broker.address.port()));
    let answer = metadata(&mut client, "t", false);
    let listed: Vec<(i32, String, i32)> = answer
        .brokers
        .iter()
        .map(|broker| (broker.node_id, broker.host.clone(), broker.port))
        .collect();
    assert_eq!(listed, std::slice::from_ref(&here));
    for part in &answer.topics[0].partitions {
        for node in part
            .replica_nodes
            .iter()
            .chain(&part.isr_nodes)
            .chain([&part.leader_id])
        {
            assert!(listed.iter().any(|(id, ..)| id == node));
        }
    }
    let cluster = client.call(
        &DescribeClusterRequest {
            endpoint_type: 1,
            ..Default::default()
        },
        1,
    );
    let described = &cluster.brokers[0];
    assert_eq!((described.broker_id, described.host.clone(), described.port), here);
    assert_eq!(find_coordinator(&mut client, "g"), here);
}

/// Admin clients wait for a controller for ever, and some print the cluster id without looking.
#[test]
fn the_cluster_has_an_id_that_stays_and_a_controller() {
    let (_temp, _broker, mut client) = started();
    let answer = metadata(&mut client, "t", false);
    let id = answer.cluster_id.expect("has an id");
    assert_eq!(id.len(), 22, "{id}");
    assert!(
        answer
            .brokers
            .iter()
            .any(|broker| broker.node_id == answer.controller_id)
    );
    let described = client.call(
        &DescribeClusterRequest {
            endpoint_type: 1,
            ..Default::default()
        },
        1,
    );
    assert_eq!(
        (described.cluster_id, described.controller_id),
        (id, answer.controller_id)
    );
}

/// Test suites of clients count on topics that come with their first mention, admin clients on the opposite.
#[test]
fn topics_are_made_by_metadata_only_if_the_client_wants_that() {
    let (_temp, _broker, mut client) = started();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(metadata(&mut client, "fresh", false).topics[0].error_code, unknown);
    assert_eq!(metadata(&mut client, "fresh", true).topics[0].error_code, 0);
    assert_eq!(metadata(&mut client, "fresh", false).topics[0].error_code, 0);
}

/// "No epoch" is never an old epoch, and answers carry the real one.
#[test]
fn minus_one_as_an_epoch_checks_nothing() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    client.produce("t", 0, value("v")).expect("appends");
    let epoch = metadata(&mut client, "t", false).topics[0].partitions[0].leader_epoch;
    assert!(epoch >= 0);
    let mut list = |timestamp, current_leader_epoch| {
        let part = ListOffsetsPartition {
            partition_index: 0,
            current_leader_epoch,
            timestamp,
        };
        let topics = vec![ListOffsetsTopic {
            name: "t".to_owned(),
            partitions: vec![part],
        }];
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics,
            ..ListOffsetsRequest::default()
        };
        client.call(&request, 7).topics.remove(0).partitions.remove(0)
    };
    let latest = list(-1, -1);
    assert_eq!((latest.error_code, latest.offset, latest.leader_epoch), (0, 1, epoch));
    assert_eq!(list(-1, epoch + 1).error_code, ErrorCode::UnknownLeaderEpoch.code());
    let largest = list(-3, -1);
    assert_eq!((largest.error_code, largest.offset, largest.timestamp), (0, 0, 1_000));
    assert_eq!(
        list(-4, -1).error_code,
        ErrorCode::UnsupportedVersion.code(),
        "known from version 8 on"
    );
    assert_eq!(list(5_000, -1).offset, -1, "no record is that new");
}

/// Kafka answers no place of a partition that is named twice.
#[test]
fn a_partition_named_twice_is_an_invalid_request() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 2, &[]);
    let part = |partition_index| ListOffsetsPartition {
        partition_index,
        current_leader_epoch: -1,
        timestamp: -1,
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: "t".to_owned(),
            partitions: vec![part(0), part(1), part(0)],
        }],
        ..ListOffsetsRequest::default()
    };
    let answer = client.call(&request, 7);
    let codes: Vec<i16> = answer.topics[0].partitions.iter().map(|part| part.error_code).collect();
    let invalid = ErrorCode::InvalidRequest.code();
    assert_eq!(codes, [invalid, 0, invalid]);
}

fn committed(client: &mut Client, group: &str) -> OffsetFetchResponse {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: "t".to_owned(),
                topic_id: Uuid::nil(),
                partition_indexes: vec![0],
            }]),
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    loop {
        let answer = client.call(&request, 8);
        // Its partition of `__consumer_offsets` may still be read.
        if answer.groups[0].error_code != ErrorCode::CoordinatorLoadInProgress.code() {
            return answer;
        }
    }
}

/// A group that nobody knows has committed nothing: that is no error. What is committed comes back to the letter.
#[test]
fn offsets_come_back_with_their_metadata_and_unknown_groups_have_none() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    for group in ["g", "nobody"] {
        find_coordinator(&mut client, group);
    }
    let empty = committed(&mut client, "nobody").groups.remove(0);
    assert_eq!(empty.error_code, 0);
    assert_eq!(empty.topics[0].partitions[0].committed_offset, -1);
    let commit = OffsetCommitRequest {
        group_id: "g".to_owned(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".to_owned(),
            topic_id: Uuid::nil(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 7,
                committed_metadata: Some("Grüße".to_owned()),
                ..OffsetCommitRequestPartition::default()
            }],
        }],
        ..OffsetCommitRequest::default()
    };
    let answer = client.call(&commit, 8);
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    let found = committed(&mut client, "g")
        .groups
        .remove(0)
        .topics
        .remove(0)
        .partitions
        .remove(0);
    assert_eq!((found.committed_offset, found.metadata.as_deref()), (7, Some("Grüße")));
}

/// Admin clients match results to what they asked for: none may be missing.
#[test]
fn every_topic_of_a_creation_has_its_result() {
    let (_temp, _broker, mut client) = started();
    let topic = |name: &str| CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic("a"), topic("twice"), topic("no/slash"), topic("twice")],
        ..CreateTopicsRequest::default()
    };
    let answer = client.call(&request, 7);
    let of = |name: &str| {
        let mut found = answer.topics.iter().filter(|topic| topic.name == name);
        found.next().map(|topic| topic.error_code)
    };
    assert_eq!(of("a"), Some(0));
    assert_eq!(of("twice"), Some(ErrorCode::InvalidRequest.code()));
    assert_eq!(of("no/slash"), Some(ErrorCode::InvalidTopicException.code()));
}

/// sarama stamps leader epoch 0, KafkaJS leaves the header's timestamps at 0 and -1: both lie outside of what matters.
#[test]
fn headers_of_lenient_clients_are_taken() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    let mut stamped = value("a");
    stamped[12..16].copy_from_slice(&7_i32.to_be_bytes());
    assert_eq!(client.produce("t", 0, stamped), Ok(0));
    let answer = client.fetch("t", 0, 0);
    let records = answer.responses[0].partitions[0].records.clone().expect("records");
    assert_eq!(
        records[12..16],
        [0, 0, 0, 0],
        "the leader's epoch is the leader's to say"
    );
}

/// Producers retry or give up by the code alone.
#[test]
fn what_may_pass_is_refused_with_an_error_that_clients_retry() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    let gone = produced(&client.call(&produce("t", 9, 1, value("v")), 9)).expect_err("no such partition");
    assert!(gone.is_retriable());
    let unknown = produced(&client.call(&produce("x", 0, 1, value("v")), 9)).expect_err("no such topic");
    assert!(unknown.is_retriable());
    let mut torn = value("torn");
    *torn.last_mut().expect("bytes") ^= 1;
    let corrupt = produced(&client.call(&produce("t", 0, 1, torn), 9)).expect_err("torn");
    assert!(corrupt.is_retriable(), "the wire may have done it");
    let answer = client.call::<FetchRequest>(&fetch("t", 9, 0, 0), 12);
    let code = ErrorCode::from_code(answer.responses[0].partitions[0].error_code).expect("known");
    assert!(code.is_retriable());
}

/// librdkafka asks again within a millisecond when a leader dies, sooner than anybody knows of the death, and then not for a
/// second: the second answer waits a moment for news (`broker/src/departures.rs`).
#[test]
fn a_question_that_is_repeated_at_once_about_others_is_answered_a_moment_later() {
    let cluster = Cluster::start();
    cluster.create();
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(TOPIC.to_owned()),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    // How long the second of two equal questions takes that are sent together.
    let repeated = |broker: i32| {
        let mut client = Client::connect(cluster.broker(broker).address);
        let began = Instant::now();
        let first = client.send(&request, 12);
        let second = client.send(&request, 12);
        let leaders = [first, second].map(|question| {
            let answer = client.receive::<MetadataRequest>(question, 12);
            answer.topics[0].partitions[0].leader_id
        });
        assert_eq!(leaders, [1, 1]);
        began.elapsed()
    };
    let moment = Duration::from_millis(100);
    wait_for("the leader answers for itself at once", || {
        (repeated(1) < moment).then_some(())
    });
    let held = wait_for("the second question is held", || {
        Some(repeated(2)).filter(|took| *took >= moment)
    });
    assert!(held < moment * 20, "{held:?}");
}
