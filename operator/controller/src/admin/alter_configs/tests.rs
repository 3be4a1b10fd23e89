//! AlterConfigs and IncrementalAlterConfigs as a client sees them.

use std::collections::BTreeMap;

use model::BrokerId;
use protocol::ErrorCode;
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::{alter_configs as legacy, incremental_alter_configs as incremental};

use super::{BROKER, BROKER_LOGGER, GROUP, TOPIC};
use crate::fixture::Bench;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Two brokers, and topic `t`.
fn bench() -> Bench {
    let mut bench = Bench::cluster(2);
    let topic = CreatableTopic {
        name: "t".to_owned(),
        num_partitions: 1,
        replication_factor: -1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        ..CreateTopicsRequest::default()
    };
    assert_eq!(bench.admin(7, &request).topics[0].error_code, 0);
    bench
}

fn resource(kind: i8, name: &str, changes: &[(&str, i8, Option<&str>)]) -> incremental::AlterConfigsResource {
    let configs = changes
        .iter()
        .map(|(name, operation, value)| incremental::AlterableConfig {
            name: (*name).to_owned(),
            config_operation: *operation,
            value: value.map(str::to_owned),
        });
    incremental::AlterConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configs: configs.collect(),
    }
}

fn change(resources: Vec<incremental::AlterConfigsResource>) -> incremental::IncrementalAlterConfigsRequest {
    incremental::IncrementalAlterConfigsRequest {
        resources,
        ..incremental::IncrementalAlterConfigsRequest::default()
    }
}

fn code(bench: &mut Bench, kind: i8, name: &str, changes: &[(&str, i8, Option<&str>)]) -> ErrorCode {
    let response = bench.admin(1, &change(vec![resource(kind, name, changes)]));
    let result = &response.responses[0];
    assert_eq!((result.resource_type, result.resource_name.as_str()), (kind, name));
    let code = ErrorCode::from_code(result.error_code).expect("a code of Kafka's");
    assert_eq!(
        result.error_message.is_some(),
        code != ErrorCode::None,
        "a sentence with each error"
    );
    code
}

fn whole(name: &str, configs: &[(&str, Option<&str>)]) -> legacy::AlterConfigsRequest {
    let configs = configs.iter().map(|(name, value)| legacy::AlterableConfig {
        name: (*name).to_owned(),
        value: value.map(str::to_owned),
    });
    legacy::AlterConfigsRequest {
        resources: vec![legacy::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: name.to_owned(),
            configs: configs.collect(),
        }],
        ..legacy::AlterConfigsRequest::default()
    }
}

fn config_of(bench: &Bench) -> Vec<(String, String)> {
    let topic = bench.image().topic_by_name("t").expect("the topic");
    topic.config.clone().into_iter().collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    owned.collect()
}

#[test]
fn a_topic_is_changed_key_by_key_in_every_version() {
    let mut bench = bench();
    for version in 0..=1 {
        let first = resource(
            TOPIC,
            "t",
            &[("retention.ms", SET, Some(" 1000 ")), ("flush.ms", SET, Some("7"))],
        );
        assert_eq!(bench.admin(version, &change(vec![first])).responses[0].error_code, 0);
        assert_eq!(config_of(&bench), pairs(&[("flush.ms", "7"), ("retention.ms", "1000")]));
        let second = resource(
            TOPIC,
            "t",
            &[("flush.ms", DELETE, None), ("segment.ms", SET, Some("9"))],
        );
        assert_eq!(bench.admin(version, &change(vec![second])).responses[0].error_code, 0);
        assert_eq!(
            config_of(&bench),
            pairs(&[("retention.ms", "1000"), ("segment.ms", "9")])
        );
        assert_eq!(
            code(&mut bench, TOPIC, "t", &[("segment.ms", DELETE, None)]),
            ErrorCode::None
        );
    }
}

#[test]
fn a_topic_is_changed_as_a_whole_in_every_version() {
    let mut bench = bench();
    for version in 0..=2 {
        let both = whole("t", &[("retention.ms", Some("1000")), ("flush.ms", Some("7"))]);
        assert_eq!(bench.admin(version, &both).responses[0].error_code, 0);
        let one = whole("t", &[("flush.ms", Some("8"))]);
        assert_eq!(bench.admin(version, &one).responses[0].error_code, 0);
        assert_eq!(config_of(&bench), pairs(&[("flush.ms", "8")]), "what is not named goes");
    }
    let null = bench.admin(2, &whole("t", &[("flush.ms", None)]));
    assert_eq!(null.responses[0].error_code, ErrorCode::InvalidRequest.code());
    let wrong = bench.admin(2, &whole("t", &[("flush.ms", Some("x"))]));
    assert_eq!(wrong.responses[0].error_code, ErrorCode::InvalidConfig.code());
    assert_eq!(config_of(&bench), pairs(&[("flush.ms", "8")]));
}

#[test]
fn what_is_wrong_with_a_topics_config_is_said_as_kafka_says_it() {
    let mut bench = bench();
    let mut set = |name: &str, key: &str, value: Option<&str>| code(&mut bench, TOPIC, name, &[(key, SET, value)]);
    assert_eq!(set("t", "no.such.key", Some("1")), ErrorCode::InvalidConfig);
    assert_eq!(set("t", "retention.ms", Some("soon")), ErrorCode::InvalidConfig);
    assert_eq!(set("t", "retention.ms", Some("-2")), ErrorCode::InvalidConfig);
    assert_eq!(set("t", "cleanup.policy", Some("compact")), ErrorCode::InvalidConfig);
    assert_eq!(
        set("t", "remote.storage.enable", Some("true")),
        ErrorCode::InvalidConfig
    );
    assert_eq!(set("t", "remote.storage.enable", Some("false")), ErrorCode::None);
    assert_eq!(set("t", "retention.ms", None), ErrorCode::InvalidRequest);
    assert_eq!(
        set("nowhere", "retention.ms", Some("1")),
        ErrorCode::UnknownTopicOrPartition
    );
    assert_eq!(
        set("nowhere", "retention.ms", Some("x")),
        ErrorCode::InvalidConfig,
        "values come first"
    );
    assert_eq!(set("a b", "retention.ms", Some("1")), ErrorCode::InvalidTopicException);
    assert_eq!(set("", "retention.ms", Some("1")), ErrorCode::InvalidRequest);
    let mut code = |changes: &[(&str, i8, Option<&str>)]| code(&mut bench, TOPIC, "t", changes);
    assert_eq!(code(&[("retention.ms", APPEND, Some("1"))]), ErrorCode::InvalidConfig);
    assert_eq!(code(&[("retention.ms", 9, Some("1"))]), ErrorCode::InvalidRequest);
    assert_eq!(code(&[("no.such.key", DELETE, None)]), ErrorCode::None);
    assert_eq!(
        code(&[("flush.ms", SET, Some("1")), ("flush.ms", DELETE, None)]),
        ErrorCode::InvalidRequest
    );
    assert_eq!(config_of(&bench), pairs(&[("remote.storage.enable", "false")]));
}

#[test]
fn values_are_checked_against_those_that_stay() {
    let mut bench = bench();
    let mut set = |key: &str, value| code(&mut bench, TOPIC, "t", &[(key, SET, Some(value))]);
    assert_eq!(set("max.compaction.lag.ms", "7"), ErrorCode::None);
    assert_eq!(set("min.compaction.lag.ms", "8"), ErrorCode::InvalidConfig);
    assert_eq!(set("min.compaction.lag.ms", "7"), ErrorCode::None);
}

#[test]
fn elements_of_a_list_are_added_and_taken_away() {
    let mut bench = bench();
    let mut code = |operation, value| code(&mut bench, TOPIC, "t", &[("cleanup.policy", operation, Some(value))]);
    assert_eq!(code(APPEND, "delete"), ErrorCode::None, "it is in the default already");
    assert_eq!(code(APPEND, "compact"), ErrorCode::InvalidConfig, "not here yet");
    assert_eq!(code(SUBTRACT, "compact"), ErrorCode::None);
    assert_eq!(code(SUBTRACT, "delete"), ErrorCode::None, "nothing is removed any more");
    assert_eq!(config_of(&bench), pairs(&[("cleanup.policy", "")]));
}

#[test]
fn brokers_are_changed_all_together_or_one_by_one() {
    let mut bench = bench();
    let mut set = |name: &str, key: &str, value: &str| code(&mut bench, BROKER, name, &[(key, SET, Some(value))]);
    assert_eq!(set("", "log.retention.ms", "1000"), ErrorCode::None);
    assert_eq!(set("1", "log.retention.ms", "2000"), ErrorCode::None);
    assert_eq!(set("", "min.insync.replicas", "2"), ErrorCode::None);
    assert_eq!(
        set("1", "min.insync.replicas", "2"),
        ErrorCode::InvalidConfig,
        "the cluster's"
    );
    assert_eq!(set("", "num.partitions", "3"), ErrorCode::InvalidRequest, "read-only");
    assert_eq!(set("", "log.retention.ms", "soon"), ErrorCode::InvalidRequest);
    assert_eq!(set("", "retention.ms", "1"), ErrorCode::InvalidConfig, "a topic's name");
    assert_eq!(set("", "no.such.key", "1"), ErrorCode::InvalidConfig);
    assert_eq!(set("7", "log.retention.ms", "1"), ErrorCode::InvalidRequest);
    assert_eq!(set("one", "log.retention.ms", "1"), ErrorCode::InvalidRequest);
    let image = bench.image();
    assert_eq!(
        image.dynamic_config().get("log.retention.ms").map(String::as_str),
        Some("1000")
    );
    assert_eq!(
        image
            .effective_config(BrokerId(0))
            .get("log.retention.ms")
            .map(String::as_str),
        Some("1000")
    );
    assert_eq!(
        image
            .effective_config(BrokerId(1))
            .get("log.retention.ms")
            .map(String::as_str),
        Some("2000")
    );
    assert_eq!(
        code(&mut bench, BROKER, "1", &[("log.retention.ms", DELETE, None)]),
        ErrorCode::None
    );
    assert_eq!(bench.image().broker_config(BrokerId(1)), None);
}

#[test]
fn what_the_command_line_says_and_what_was_changed_since_are_kept_apart() {
    let mut bench = bench();
    let mut say = |entries: &[(&str, &str)]| {
        let config: BTreeMap<_, _> = pairs(entries).into_iter().collect();
        bench.ask(|request| crate::Input::StaticConfig { request, config })
    };
    assert_eq!(
        say(&[("log.retention.ms", "1"), ("num.partitions", "3")]),
        crate::Reply::Done
    );
    assert!(matches!(
        say(&[("default.replication.factor", "0")]),
        crate::Reply::Refused(_)
    ));
    assert_eq!(
        code(&mut bench, BROKER, "", &[("log.retention.ms", SET, Some("2"))]),
        ErrorCode::None
    );
    let value = |bench: &Bench, key: &str| bench.image().cluster_config().get(key).cloned();
    assert_eq!(value(&bench, "log.retention.ms").as_deref(), Some("2"));
    assert_eq!(value(&bench, "num.partitions").as_deref(), Some("3"));
    // Started again without any option: what was changed stays.
    let none = BTreeMap::new();
    bench.ask(|request| crate::Input::StaticConfig { request, config: none });
    assert_eq!(value(&bench, "log.retention.ms").as_deref(), Some("2"));
    assert_eq!(value(&bench, "num.partitions"), None);
}

#[test]
fn a_group_is_changed_within_the_bounds_that_the_brokers_set() {
    const SESSION: &str = "consumer.session.timeout.ms";
    const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";
    let mut bench = bench();
    let own = |bench: &Bench| {
        bench
            .image()
            .group_configs()
            .get("readers")
            .cloned()
            .unwrap_or_default()
    };
    let mut set = |changes: &[(&str, i8, Option<&str>)]| {
        let code = code(&mut bench, GROUP, "readers", changes);
        (code, own(&bench))
    };
    let nothing = BTreeMap::new();
    let session = BTreeMap::from([(SESSION.to_owned(), "50000".to_owned())]);
    assert_eq!(
        set(&[(SESSION, SET, Some("44999"))]),
        (ErrorCode::InvalidConfig, nothing.clone())
    );
    assert_eq!(set(&[(SESSION, SET, Some("60001"))]).0, ErrorCode::InvalidConfig);
    assert_eq!(set(&[(SESSION, SET, Some("soon"))]).0, ErrorCode::InvalidConfig);
    assert_eq!(set(&[("no.such.key", SET, Some("1"))]).0, ErrorCode::InvalidConfig);
    assert_eq!(
        set(&[(HEARTBEAT, SET, Some("15001"))]),
        (ErrorCode::InvalidConfig, nothing.clone())
    );
    assert_eq!(
        set(&[(SESSION, SET, Some("50000"))]),
        (ErrorCode::None, session.clone())
    );
    // One that is refused changes nothing of what is right beside it.
    assert_eq!(
        set(&[(SESSION, DELETE, None), (HEARTBEAT, SET, Some("1"))]),
        (ErrorCode::InvalidConfig, session)
    );
    assert_eq!(set(&[(SESSION, DELETE, None)]), (ErrorCode::None, nothing));
    assert_eq!(
        code(&mut bench, GROUP, "", &[(SESSION, SET, Some("50000"))]),
        ErrorCode::InvalidRequest
    );
    assert!(bench.image().group_configs().is_empty());
}

#[test]
fn each_resource_is_changed_once_and_other_kinds_are_refused() {
    let mut bench = bench();
    let twice = || resource(TOPIC, "t", &[("flush.ms", SET, Some("1"))]);
    let response = bench.admin(1, &change(vec![twice(), twice()]));
    let codes: Vec<_> = response.responses.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [ErrorCode::InvalidRequest.code(); 2]);
    for kind in [0, 1, BROKER_LOGGER, 16, 99, -1] {
        assert_eq!(
            code(&mut bench, kind, "0", &[("a", SET, Some("b"))]),
            ErrorCode::InvalidRequest,
            "{kind}"
        );
    }
    assert_eq!(config_of(&bench), []);
}

#[test]
fn validate_only_and_no_change_write_no_record() {
    let mut bench = bench();
    let offset = bench.image().offset();
    let validate = incremental::IncrementalAlterConfigsRequest {
        validate_only: true,
        ..change(vec![
            resource(TOPIC, "t", &[("flush.ms", SET, Some("1"))]),
            resource(TOPIC, "t2", &[("flush.ms", SET, Some("1"))]),
        ])
    };
    let response = bench.admin(1, &validate);
    let codes: Vec<_> = response.responses.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::UnknownTopicOrPartition.code()]);
    assert_eq!(
        code(&mut bench, TOPIC, "t", &[("flush.ms", DELETE, None)]),
        ErrorCode::None
    );
    assert_eq!(bench.image().offset(), offset);
}
