//! What admin clients change counts at once, stays, and is shown; over real sockets.

mod support;

use std::thread;
use std::time::Instant;

use protocol::ErrorCode;
use protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use support::{Broker, Client, PATIENCE, value};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

fn started() -> (tempfile::TempDir, Broker, Client) {
    let temp = tempfile::tempdir().expect("temp");
    let broker = Broker::standalone(&temp.path().join("data"));
    let client = Client::connect(broker.address);
    (temp, broker, client)
}

/// Sets a key, or takes it back to its default.
fn alter(client: &mut Client, kind: i8, name: &str, key: &str, value: Option<&str>) -> ErrorCode {
    let config = AlterableConfig {
        name: key.to_owned(),
        config_operation: i8::from(value.is_none()),
        value: value.map(str::to_owned),
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned(),
            configs: vec![config],
        }],
        ..IncrementalAlterConfigsRequest::default()
    };
    let answer = client.call(&request, 1);
    ErrorCode::from_code(answer.responses[0].error_code).expect("a code of Kafka's")
}

fn describe(client: &mut Client, kind: i8, name: &str, key: &str) -> Option<DescribeConfigsResourceResult> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned(),
            configuration_keys: Some(vec![key.to_owned()]),
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    let mut answer = client.call(&request, 4);
    assert_eq!(answer.results[0].error_code, 0, "{:?}", answer.results[0].error_message);
    answer.results[0].configs.pop()
}

fn shown(client: &mut Client, kind: i8, name: &str, key: &str) -> (Option<String>, i8, bool) {
    let config = describe(client, kind, name, key).expect("listed");
    assert!(config.documentation.is_some_and(|text| text.ends_with('.')));
    (config.value, config.config_source, config.read_only)
}

fn letter(length: usize) -> Vec<u8> {
    value(&"x".repeat(length))
}

#[test]
fn a_topics_change_counts_for_the_next_record() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    assert_eq!(client.produce("t", 0, letter(5000)), Ok(0));
    assert_eq!(
        alter(&mut client, TOPIC, "t", "max.message.bytes", Some("1000")),
        ErrorCode::None
    );
    assert_eq!(client.produce("t", 0, letter(5000)), Err(ErrorCode::MessageTooLarge));
    assert_eq!(
        alter(&mut client, TOPIC, "t", "max.message.bytes", None),
        ErrorCode::None
    );
    assert_eq!(client.produce("t", 0, letter(5000)), Ok(1));
}

#[test]
fn a_change_of_the_brokers_counts_where_the_topic_says_nothing_and_survives_a_kill() {
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    let broker = Broker::standalone_with(&data, &["--config", "message.max.bytes=9000"]);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    client.create("own", 1, &[("max.message.bytes", "8000")]);
    assert_eq!(
        shown(&mut client, BROKER, "0", "message.max.bytes"),
        (Some("9000".to_owned()), 4, false)
    );
    assert_eq!(
        alter(&mut client, BROKER, "", "message.max.bytes", Some("1000")),
        ErrorCode::None
    );
    assert_eq!(client.produce("t", 0, letter(5000)), Err(ErrorCode::MessageTooLarge));
    assert_eq!(client.produce("own", 0, letter(5000)), Ok(0));
    // One broker's own value is stronger than that of all.
    assert_eq!(
        alter(&mut client, BROKER, "0", "message.max.bytes", Some("7000")),
        ErrorCode::None
    );
    assert_eq!(client.produce("t", 0, letter(5000)), Ok(0));
    assert_eq!(
        alter(&mut client, BROKER, "0", "message.max.bytes", None),
        ErrorCode::None
    );
    broker.kill();

    // Not on the command line any more; what was changed since is still there.
    let broker = Broker::standalone(&data);
    let mut client = Client::connect(broker.address);
    assert_eq!(client.produce("t", 0, letter(5000)), Err(ErrorCode::MessageTooLarge));
    assert_eq!(
        shown(&mut client, BROKER, "", "message.max.bytes"),
        (Some("1000".to_owned()), 3, false)
    );
    assert_eq!(
        alter(&mut client, BROKER, "", "message.max.bytes", None),
        ErrorCode::None
    );
    assert_eq!(
        shown(&mut client, TOPIC, "t", "max.message.bytes"),
        (Some("1048588".to_owned()), 5, false)
    );
    assert!(describe(&mut client, BROKER, "", "message.max.bytes").is_none());
    assert_eq!(client.produce("t", 0, letter(5000)), Ok(1));
}

#[test]
fn what_only_a_restart_changes_is_shown_read_only() {
    let (_temp, _broker, mut client) = started();
    let quick_start = [
        ("auto.create.topics.enable", "true", 5),
        ("num.partitions", "1", 5),
        ("default.replication.factor", "1", 5),
        ("group.initial.rebalance.delay.ms", "0", 4),
        ("broker.id", "0", 4),
    ];
    for (key, value, source) in quick_start {
        assert_eq!(
            shown(&mut client, BROKER, "0", key),
            (Some(value.to_owned()), source, true),
            "{key}"
        );
    }
    assert_eq!(
        alter(&mut client, BROKER, "", "num.partitions", Some("3")),
        ErrorCode::InvalidRequest
    );
    assert_eq!(
        shown(&mut client, GROUP, "g", "consumer.session.timeout.ms"),
        (Some("45000".to_owned()), 5, false)
    );
}

#[test]
fn a_new_partition_takes_records_when_the_answer_is_there() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    let grow = |validate_only| CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: "t".to_owned(),
            count: 3,
            assignments: None,
        }],
        timeout_ms: 10_000,
        validate_only,
    };
    assert_eq!(client.call(&grow(true), 3).results[0].error_code, 0);
    assert_eq!(
        client.produce("t", 2, value("v")),
        Err(ErrorCode::UnknownTopicOrPartition)
    );
    assert_eq!(client.call(&grow(false), 3).results[0].error_code, 0);
    assert_eq!(client.produce("t", 2, value("v")), Ok(0));
}

#[test]
fn topics_are_made_when_they_are_mentioned_and_may_be() {
    let temp = tempfile::tempdir().expect("temp");
    let broker = Broker::standalone_with(&temp.path().join("data"), &["--config", "num.partitions=3"]);
    let mut client = Client::connect(broker.address);
    let mut ask = |name: &str, version, allow_auto_topic_creation| {
        let topic = MetadataRequestTopic {
            name: Some(name.to_owned()),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation,
            ..MetadataRequest::default()
        };
        let topic = client.call(&request, version).topics.remove(0);
        let code = ErrorCode::from_code(topic.error_code).expect("a code of Kafka's");
        (code, topic.partitions.len())
    };
    assert_eq!(ask("quiet", 9, false), (ErrorCode::UnknownTopicOrPartition, 0));
    assert_eq!(ask("mentioned", 9, true), (ErrorCode::None, 3));
    assert_eq!(
        ask("of.old", 1, true),
        (ErrorCode::None, 3),
        "before version 4 there is no question"
    );
    assert_eq!(ask("no name", 9, true), (ErrorCode::InvalidTopicException, 0));
    assert_eq!(
        ask("of_old", 9, true),
        (ErrorCode::UnknownTopicOrPartition, 0),
        "collides with of.old"
    );
    assert_eq!(ask("__consumer_offsets", 9, true), (ErrorCode::None, 50));
    assert_eq!(
        ask("__transaction_state", 9, true),
        (ErrorCode::UnknownTopicOrPartition, 0)
    );
}

#[test]
fn a_topic_that_is_named_wrongly_gets_an_error_and_the_connection_stays() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    let all = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    let id = client.call(&all, 12).topics[0].topic_id;
    let mut ask = |version, name: Option<&str>, topic_id| {
        let topic = MetadataRequestTopic {
            name: name.map(str::to_owned),
            topic_id,
        };
        let request = MetadataRequest {
            topics: Some(vec![topic.clone(), topic]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let answer = client.call(&request, version);
        let codes: Vec<_> = answer.topics.iter().map(|topic| topic.error_code).collect();
        (codes, answer.brokers.len())
    };
    let nil = uuid::Uuid::nil();
    let other = uuid::Uuid::from_u128(7);
    let invalid = ErrorCode::InvalidRequest.code();
    for version in [10, 11] {
        assert_eq!(
            ask(version, None, id),
            (vec![invalid; 2], 0),
            "ids count from version 12 on"
        );
        assert_eq!(ask(version, Some("t"), id), (vec![invalid; 2], 0));
        assert_eq!(ask(version, None, nil), (vec![invalid; 2], 0));
        assert_eq!(
            ask(version, Some("t"), nil),
            (vec![0], 1),
            "asked for twice, answered once"
        );
    }
    for version in [12, 13] {
        assert_eq!(ask(version, None, id), (vec![0], 1));
        assert_eq!(ask(version, Some("other"), id), (vec![0], 1), "the id counts");
        assert_eq!(ask(version, None, other), (vec![ErrorCode::UnknownTopicId.code()], 1));
        assert_eq!(ask(version, None, nil), (vec![invalid; 2], 0));
    }
}

#[test]
fn a_groups_own_settings_reach_its_members_and_stay() {
    const KEY: &str = "consumer.heartbeat.interval.ms";
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    let broker = Broker::standalone(&data);
    let mut client = Client::connect(broker.address);
    assert_eq!(alter(&mut client, GROUP, "readers", KEY, Some("7000")), ErrorCode::None);
    assert_eq!(
        alter(&mut client, GROUP, "others", KEY, Some("1")),
        ErrorCode::InvalidConfig
    );
    broker.kill();

    let broker = Broker::standalone(&data);
    let mut client = Client::connect(broker.address);
    assert_eq!(
        shown(&mut client, GROUP, "readers", KEY),
        (Some("7000".to_owned()), 8, false)
    );
    assert_eq!(heartbeat_interval(&mut client, "readers"), 7000);
    assert_eq!(heartbeat_interval(&mut client, "others"), 5000);
    assert_eq!(alter(&mut client, GROUP, "readers", KEY, None), ErrorCode::None);
    assert_eq!(heartbeat_interval(&mut client, "readers"), 5000);
}

/// What a new member is told, once there is a coordinator.
fn heartbeat_interval(client: &mut Client, group: &str) -> i32 {
    let find = FindCoordinatorRequest {
        key: group.to_owned(),
        ..FindCoordinatorRequest::default()
    };
    let join = ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: "m".to_owned(),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let until = Instant::now() + PATIENCE;
    loop {
        client.call(&find, 3);
        let answer = client.call(&join, 1);
        if answer.error_code == 0 {
            return answer.heartbeat_interval_ms;
        }
        assert!(Instant::now() < until, "{answer:?}");
        thread::yield_now();
    }
}
