//! What one broker does for its clients, over real sockets.

mod support;

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use protocol::api::TABLE;
use protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::delete_topics::DeleteTopicsRequest;
use protocol::messages::describe_acls::DescribeAclsRequest;
use protocol::messages::describe_cluster::DescribeClusterRequest;
use protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use protocol::messages::fetch::FetchRequest;
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::init_producer_id::InitProducerIdRequest;
use protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use protocol::messages::produce::ProduceRequest;
use protocol::{ApiKey, ErrorCode, Message, Reader, Request};
use support::{Broker, Client, fetch, frame, numbered, produce, produced, read_all, records, value};

fn named(topic: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic {
        name: Some(topic.to_owned()),
        ..MetadataRequestTopic::default()
    };
    MetadataRequest {
        topics: Some(vec![topic]),
        ..MetadataRequest::default()
    }
}

fn started() -> (tempfile::TempDir, Broker, Client) {
    let temp = tempfile::tempdir().expect("temp");
    let broker = Broker::standalone(&temp.path().join("data"));
    let client = Client::connect(broker.address);
    (temp, broker, client)
}

#[test]
fn what_was_produced_is_fetched_with_its_offset() {
    let (_temp, _broker, mut client) = started();
    client.create("mail", 2, &[]);
    assert_eq!(client.produce("mail", 1, value("one")), Ok(0));
    assert_eq!(client.produce("mail", 1, value("two")), Ok(1));
    let all = records(&client.fetch("mail", 1, 0));
    assert_eq!(all, [(0, "one".to_owned()), (1, "two".to_owned())]);
    assert!(records(&client.fetch("mail", 0, 0)).is_empty());
    let beyond = client.fetch("mail", 1, 3);
    assert_eq!(
        beyond.responses[0].partitions[0].error_code,
        ErrorCode::OffsetOutOfRange.code()
    );
}

#[test]
fn pipelined_requests_are_answered_in_order_and_keep_their_order_in_the_log() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 3, &[]);
    let mut wire = Vec::new();
    for number in 0..60 {
        let batch = value(&number.to_string());
        wire.extend_from_slice(&frame(
            &produce("t", number % 3, [1, -1][(number % 2) as usize], batch),
            9,
            number,
        ));
    }
    client.stream.write_all(&wire).expect("sends");
    for number in 0..60 {
        let response = client.receive::<ProduceRequest>(number, 9);
        assert_eq!(produced(&response), Ok(i64::from(number / 3)));
    }
    let values: Vec<String> = read_all(&mut client, "t", 1)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    let expected: Vec<String> = (0..20).map(|number| (number * 3 + 1).to_string()).collect();
    assert_eq!(values, expected);
}

#[test]
fn a_repeated_batch_of_an_idempotent_producer_is_stored_once() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    let id = client.call(
        &InitProducerIdRequest {
            transactional_id: None,
            ..Default::default()
        },
        4,
    );
    assert_eq!((id.error_code, id.producer_epoch), (0, 0));
    let other = client.call(
        &InitProducerIdRequest {
            transactional_id: None,
            ..Default::default()
        },
        4,
    );
    assert_ne!(other.producer_id, id.producer_id);
    assert_eq!(client.produce("t", 0, numbered(id.producer_id, 0, "a")), Ok(0));
    assert_eq!(client.produce("t", 0, numbered(id.producer_id, 1, "b")), Ok(1));
    assert_eq!(
        client.produce("t", 0, numbered(id.producer_id, 0, "a")),
        Ok(0),
        "the first offset again"
    );
    let gap = client.produce("t", 0, numbered(id.producer_id, 7, "c"));
    assert_eq!(gap, Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(read_all(&mut client, "t", 0).len(), 2);
}

#[test]
fn transactions_are_refused_and_not_pretended() {
    let (_temp, _broker, mut client) = started();
    for version in 0..=5 {
        let refused = client.call(
            &InitProducerIdRequest {
                transactional_id: Some("t".to_owned()),
                ..Default::default()
            },
            version,
        );
        assert_eq!(
            refused.error_code,
            ErrorCode::InvalidRequest.code(),
            "version {version}"
        );
        assert_eq!(
            (refused.producer_id, refused.producer_epoch),
            (-1, -1),
            "version {version}"
        );
    }
    let group = FindCoordinatorRequest {
        coordinator_keys: vec!["g".to_owned()],
        ..Default::default()
    };
    let answer = client.call(&group, 4);
    assert_eq!(answer.coordinators.len(), 1);
    assert_eq!(
        client.call(&DescribeAclsRequest::default(), 3).error_code,
        ErrorCode::SecurityDisabled.code()
    );
}

#[test]
fn a_long_poll_ends_with_the_append_of_another_connection() {
    let (_temp, broker, mut client) = started();
    client.create("t", 1, &[]);
    let waiting = client.send(&fetch("t", 0, 0, 20_000), 12);
    let mut producer = Client::connect(broker.address);
    assert_eq!(producer.produce("t", 0, value("news")), Ok(0));
    let began = Instant::now();
    let answer = client.receive::<FetchRequest>(waiting, 12);
    assert!(began.elapsed() < Duration::from_secs(10), "woken, not timed out");
    assert_eq!(records(&answer), [(0, "news".to_owned())]);
}

#[test]
fn a_fetch_that_leaves_records_behind_does_not_wait_for_more_bytes() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    for text in ["one", "two"] {
        client.produce("t", 0, value(text)).expect("produced");
    }
    let mut request = fetch("t", 0, 0, 20_000);
    request.min_bytes = 1 << 20;
    request.topics[0].partitions[0].partition_max_bytes = 1;
    let began = Instant::now();
    let answer = client.call(&request, 12);
    assert_eq!(records(&answer), [(0, "one".to_owned())]);
    assert!(began.elapsed() < Duration::from_secs(10), "answered, not timed out");
}

#[test]
fn a_long_poll_without_news_ends_with_the_patience_of_its_client() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    let began = Instant::now();
    let answer = client.call(&fetch("t", 0, 0, 300), 12);
    assert!(records(&answer).is_empty());
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_request_behind_a_long_poll_waits_for_its_turn_only() {
    let (_temp, broker, mut client) = started();
    client.create("t", 1, &[]);
    let poll = client.send(&fetch("t", 0, 0, 20_000), 12);
    let versions = client.send(&ApiVersionsRequest::default(), 0);
    let mut other = Client::connect(broker.address);
    assert_eq!(
        other.call(&ApiVersionsRequest::default(), 0).error_code,
        0,
        "others do not wait"
    );
    assert_eq!(other.produce("t", 0, value("go")), Ok(0));
    client.receive::<FetchRequest>(poll, 12);
    client.receive::<ApiVersionsRequest>(versions, 0);
}

#[test]
fn the_first_batch_comes_even_if_it_is_larger_than_asked_for() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    let large = "x".repeat(100_000);
    assert_eq!(client.produce("t", 0, value(&large)), Ok(0));
    let mut request = fetch("t", 0, 0, 0);
    request.max_bytes = 1;
    request.topics[0].partitions[0].partition_max_bytes = 1;
    assert_eq!(records(&client.call(&request, 12)), [(0, large)]);
}

#[test]
fn large_ranges_leave_the_file_as_they_came() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    let values: Vec<String> = (0..40).map(|n| format!("{n}:{}", "y".repeat(30_000 + n))).collect();
    for value in &values {
        client.produce("t", 0, support::value(value)).expect("appends");
    }
    let read: Vec<String> = read_all(&mut client, "t", 0)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(read, values);
}

#[test]
fn a_topic_that_is_mentioned_is_made_and_served_at_once() {
    let (_temp, _broker, mut client) = started();
    let answer = client.call(&named("fresh"), 12);
    let topic = &answer.topics[0];
    assert_eq!((topic.error_code, topic.partitions.len()), (0, 1));
    assert_eq!(topic.partitions[0].leader_id, 0);
    assert_eq!(client.produce("fresh", 0, value("v")), Ok(0));
    let mut request = named("never");
    request.allow_auto_topic_creation = false;
    let answer = client.call(&request, 12);
    assert_eq!(answer.topics[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
    let answer = client.call(&named("no/slash"), 12);
    assert_eq!(answer.topics[0].error_code, ErrorCode::InvalidTopicException.code());
}

#[test]
fn a_deleted_topic_is_gone_and_its_name_is_free() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    client.produce("t", 0, value("old")).expect("appends");
    let delete = DeleteTopicsRequest {
        topic_names: vec!["t".to_owned()],
        timeout_ms: 5000,
        ..Default::default()
    };
    assert_eq!(client.call(&delete, 5).responses[0].error_code, 0);
    assert_eq!(
        client.produce("t", 0, value("late")),
        Err(ErrorCode::UnknownTopicOrPartition)
    );
    client.create("t", 1, &[]);
    assert_eq!(client.produce("t", 0, value("new")), Ok(0));
    assert_eq!(read_all(&mut client, "t", 0), [(0, "new".to_owned())]);
}

#[test]
fn more_replicas_than_brokers_are_refused() {
    let (_temp, _broker, mut client) = started();
    let wanted = CreatableTopic {
        name: "t".to_owned(),
        num_partitions: 1,
        replication_factor: 3,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![wanted],
        ..CreateTopicsRequest::default()
    };
    let answer = client.call(&request, 7);
    assert_eq!(answer.topics[0].error_code, ErrorCode::InvalidReplicationFactor.code());
}

#[test]
fn settings_are_described_with_their_source() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[("retention.ms", "1000")]);
    let resource = |kind, name: &str| DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource(2, "t"), resource(4, "0"), resource(2, "nothing")],
        include_synonyms: true,
        include_documentation: true,
    };
    let answer = client.call(&request, 4);
    let retention = answer.results[0]
        .configs
        .iter()
        .find(|config| config.name == "retention.ms")
        .expect("listed");
    assert_eq!((retention.value.as_deref(), retention.config_source), (Some("1000"), 1));
    assert_eq!(retention.synonyms.len(), 2);
    assert!(retention.documentation.is_some());
    assert!(
        answer.results[1]
            .configs
            .iter()
            .any(|config| config.name == "num.partitions")
    );
    assert_eq!(answer.results[2].error_code, ErrorCode::UnknownTopicOrPartition.code());
}

#[test]
fn offsets_are_listed_in_every_version() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    client.produce("t", 0, value("v")).expect("appends");
    for version in ApiKey::ListOffsets.api().accepted.iter() {
        let part = ListOffsetsPartition {
            timestamp: -1,
            ..ListOffsetsPartition::default()
        };
        let topic = ListOffsetsTopic {
            name: "t".to_owned(),
            partitions: vec![part],
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![topic],
            ..ListOffsetsRequest::default()
        };
        let answer = client.call(&request, version);
        assert_eq!(
            (
                answer.topics[0].partitions[0].error_code,
                answer.topics[0].partitions[0].offset
            ),
            (0, 1)
        );
    }
}

#[test]
fn acks_0_is_not_answered_and_an_error_ends_the_connection() {
    let (_temp, broker, mut client) = started();
    client.create("t", 1, &[]);
    client.send(&produce("t", 0, 0, value("quiet")), 9);
    assert_eq!(client.produce("t", 0, value("loud")), Ok(1));
    let mut other = Client::connect(broker.address);
    other.send(&produce("unknown", 0, 0, value("lost")), 9);
    assert!(other.is_closed());
    assert_eq!(client.produce("t", 0, value("on")), Ok(2));
}

/// Sends a default request in every accepted version; the answer must decode to its last byte.
fn in_every_version<R: Request + Default>(client: &mut Client) {
    for version in R::KEY.api().accepted.iter() {
        client.call(&R::default(), version);
    }
}

#[test]
fn every_served_api_answers_in_every_version() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    in_every_version::<ApiVersionsRequest>(&mut client);
    in_every_version::<MetadataRequest>(&mut client);
    in_every_version::<ListOffsetsRequest>(&mut client);
    in_every_version::<FindCoordinatorRequest>(&mut client);
    in_every_version::<CreateTopicsRequest>(&mut client);
    in_every_version::<DeleteTopicsRequest>(&mut client);
    in_every_version::<DescribeClusterRequest>(&mut client);
    in_every_version::<DescribeConfigsRequest>(&mut client);
    in_every_version::<InitProducerIdRequest>(&mut client);
    in_every_version::<DescribeAclsRequest>(&mut client);
    in_every_version::<FetchRequest>(&mut client);
    for version in ApiKey::Produce.api().accepted.iter().filter(|version| *version < 13) {
        let request = produce("t", 0, 1, value("v"));
        assert!(produced(&client.call(&request, version)).is_ok(), "version {version}");
    }
    for version in ApiKey::Fetch.api().accepted.iter().filter(|version| *version < 13) {
        assert!(
            !records(&client.call(&fetch("t", 0, 0, 0), version)).is_empty(),
            "version {version}"
        );
    }
    let answered = client.call(&ApiVersionsRequest::default(), 0);
    assert_eq!(
        answered.api_keys.len(),
        TABLE.iter().filter(|api| api.advertised.is_some()).count()
    );
}

#[test]
fn topics_are_produced_to_and_fetched_by_their_id() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    let id = client.call(&named("t"), 12).topics[0].topic_id;
    let mut write = produce("", 0, 1, value("by id"));
    write.topic_data[0].topic_id = id;
    assert_eq!(produced(&client.call(&write, 13)), Ok(0));
    let mut read = fetch("", 0, 0, 0);
    read.topics[0].topic_id = id;
    assert_eq!(records(&client.call(&read, 18)), [(0, "by id".to_owned())]);
    read.topics[0].topic_id = uuid::Uuid::from_u128(99);
    let answer = client.call(&read, 18);
    assert_eq!(
        answer.responses[0].partitions[0].error_code,
        ErrorCode::UnknownTopicId.code()
    );
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let (_temp, _broker, mut client) = started();
    let mut bytes = frame(&ApiVersionsRequest::default(), 0, 7);
    bytes[6..8].copy_from_slice(&99_i16.to_be_bytes());
    client.stream.write_all(&bytes).expect("sends");
    let answer = client.read_frame().expect("answered");
    let mut reader = Reader::new(&answer[4..]);
    let answer = ApiVersionsResponse::decode(&mut reader, 0).expect("decodes");
    assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.code());
    assert_eq!(answer.api_keys[0].api_key, 18);
    assert_eq!(
        client.call(&ApiVersionsRequest::default(), 0).error_code,
        0,
        "the connection lives"
    );
}

#[test]
fn garbage_costs_its_own_connection_and_nobody_else_notices() {
    let (_temp, broker, mut witness) = started();
    witness.create("t", 1, &[]);
    let resident = broker.resident_kib();
    let metadata_for_2_to_the_31_topics: &[u8] = &[0, 0, 0, 12, 0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff];
    let garbage: Vec<Vec<u8>> = vec![
        metadata_for_2_to_the_31_topics.to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0, 0, 0, 2, 0, 0],
        vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 9],
        vec![0xff; 64],
        [&[0, 0, 0, 10, 0x12, 0x34, 0, 0, 0, 0, 0, 1, 0xff, 0xff][..], &[]].concat(),
    ];
    for bytes in &garbage {
        for _ in 0..20 {
            let mut client = Client::connect(broker.address);
            let _ = client.stream.write_all(bytes);
            assert!(client.is_closed(), "{bytes:x?}");
        }
    }
    let mut torn = value("torn");
    let middle = torn.len() - 3;
    torn[middle] ^= 1;
    assert_eq!(witness.produce("t", 0, torn), Err(ErrorCode::CorruptMessage));
    assert!(witness.produce("t", 0, value("good")[..30].to_vec()).is_err());
    assert_eq!(witness.produce("t", 0, value("good")), Ok(0));
    let grown = broker.resident_kib().saturating_sub(resident);
    assert!(grown < 4096, "resident memory grew by {grown} KiB");
}

#[test]
fn many_clients_at_once_each_find_their_records() {
    let (_temp, broker, mut client) = started();
    client.create("t", 4, &[]);
    let address = broker.address;
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            thread::spawn(move || {
                let mut client = Client::connect(address);
                for number in 0..50 {
                    client
                        .produce("t", worker % 4, value(&format!("{worker}-{number}")))
                        .expect("appends");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("ends well");
    }
    let all: Vec<String> = (0..4)
        .flat_map(|partition| read_all(&mut client, "t", partition))
        .map(|(_, value)| value)
        .collect();
    assert_eq!(all.len(), 400);
    let of_one: Vec<&String> = all.iter().filter(|value| value.starts_with("5-")).collect();
    let expected: Vec<String> = (0..50).map(|number| format!("5-{number}")).collect();
    assert_eq!(
        of_one,
        expected.iter().collect::<Vec<_>>(),
        "in the order in which they were sent"
    );
}
