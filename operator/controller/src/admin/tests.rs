//! CreateTopics and DeleteTopics as a client sees them.

use protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use protocol::{ErrorCode, Message};

use crate::admin::CreatePlan;
use crate::fixture::Bench;
use crate::{AdminRequest, Input, Refusal, Reply};

fn topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: -1,
        ..CreatableTopic::default()
    }
}

fn request(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest {
        topics,
        ..CreateTopicsRequest::default()
    }
}

fn create(bench: &mut Bench, topics: Vec<CreatableTopic>) -> CreateTopicsResponse {
    bench.admin(7, &request(topics))
}

/// Creates one topic and gives its error, if any.
fn error(bench: &mut Bench, topic: CreatableTopic) -> Option<(ErrorCode, String)> {
    let response = create(bench, vec![topic]);
    let result = &response.topics[0];
    let code = ErrorCode::from_code(result.error_code).expect("a code of Kafka's");
    (code != ErrorCode::None).then(|| (code, result.error_message.clone().expect("a sentence")))
}

#[test]
fn a_topic_is_made_and_described_in_the_answer() {
    let mut bench = Bench::cluster(3);
    let response = create(&mut bench, vec![topic("t", 12)]);
    let result = &response.topics[0];
    assert_eq!(
        (result.error_code, result.num_partitions, result.replication_factor),
        (0, 12, 1)
    );
    let made = bench.image().topic_by_name("t").expect("the topic");
    assert_eq!(made.id.as_uuid(), result.topic_id);
    let configs = result.configs.as_ref().expect("configs");
    assert!(
        configs
            .iter()
            .any(|config| config.name == "retention.ms" && config.config_source == 5)
    );
    for version in 2..=7 {
        let response = bench.admin(version, &request(vec![topic(&format!("v{version}"), 1)]));
        assert_eq!(response.topics[0].error_code, 0);
    }
}

#[test]
fn each_topic_has_its_own_error_with_a_sentence() {
    let mut bench = Bench::cluster(2);
    assert_eq!(error(&mut bench, topic("a.b", 1)), None);
    let mut code = |topic| error(&mut bench, topic).map(|(code, _)| code);
    assert_eq!(code(topic("a.b", 1)), Some(ErrorCode::TopicAlreadyExists));
    assert_eq!(
        code(topic("a_b", 1)),
        Some(ErrorCode::InvalidTopicException),
        "collides with a.b"
    );
    assert_eq!(code(topic("", 1)), Some(ErrorCode::InvalidTopicException));
    assert_eq!(code(topic("..", 1)), Some(ErrorCode::InvalidTopicException));
    assert_eq!(code(topic("a b", 1)), Some(ErrorCode::InvalidTopicException));
    assert_eq!(code(topic(&"x".repeat(250), 1)), Some(ErrorCode::InvalidTopicException));
    assert_eq!(code(topic("t", 0)), Some(ErrorCode::InvalidPartitions));
    assert_eq!(code(topic("t", -2)), Some(ErrorCode::InvalidPartitions));
    assert_eq!(code(topic("t", i32::MAX)), Some(ErrorCode::PolicyViolation));
    let factor = |factor| CreatableTopic {
        replication_factor: factor,
        ..topic("t", 1)
    };
    assert_eq!(code(factor(0)), Some(ErrorCode::InvalidReplicationFactor));
    assert_eq!(code(factor(3)), Some(ErrorCode::InvalidReplicationFactor));
    assert_eq!(code(factor(i16::MAX)), Some(ErrorCode::InvalidReplicationFactor));
    let config = |name: &str, value: Option<&str>| CreatableTopic {
        configs: vec![CreatableTopicConfig {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        }],
        ..topic("t", 1)
    };
    assert_eq!(
        code(config("retention.ms", Some("soon"))),
        Some(ErrorCode::InvalidConfig)
    );
    assert_eq!(
        code(config("cleanup.policy", Some("compact"))),
        Some(ErrorCode::InvalidConfig)
    );
    assert_eq!(code(config("no.such.key", Some("1"))), Some(ErrorCode::InvalidConfig));
    assert_eq!(code(config("retention.ms", None)), Some(ErrorCode::InvalidConfig));
    assert_eq!(code(config("retention.ms", Some("5"))), None);
}

#[test]
fn a_request_is_for_10_000_partitions_at_most() {
    let mut bench = Bench::cluster(1);
    let codes = |bench: &mut Bench, topics| -> Vec<i16> {
        let response = create(bench, topics);
        response.topics.iter().map(|topic| topic.error_code).collect()
    };
    let refused = ErrorCode::PolicyViolation.code();
    assert_eq!(codes(&mut bench, vec![topic("a", 9_999), topic("b", 2)]), [refused; 2]);
    let none = |name: &str| topic(name, 0);
    let many = (0..10_001).map(|number| none(&number.to_string())).collect();
    assert_eq!(
        codes(&mut bench, many)[..2],
        [refused; 2],
        "each that is refused costs, too"
    );
    assert_eq!(codes(&mut bench, vec![topic("a", 9_999), topic("b", 1)]), [0, 0]);
}

#[test]
fn manual_assignments_are_checked() {
    let mut bench = Bench::cluster(2);
    let manual = |lists: &[(i32, &[i32])]| CreatableTopic {
        assignments: lists
            .iter()
            .map(|(index, brokers)| CreatableReplicaAssignment {
                partition_index: *index,
                broker_ids: brokers.to_vec(),
            })
            .collect(),
        ..topic("t", -1)
    };
    let mut code = |topic| error(&mut bench, topic).map(|(code, _)| code);
    assert_eq!(
        code(manual(&[(0, &[0]), (2, &[1])])),
        Some(ErrorCode::InvalidReplicaAssignment)
    );
    assert_eq!(
        code(manual(&[(0, &[0]), (0, &[1])])),
        Some(ErrorCode::InvalidReplicaAssignment)
    );
    assert_eq!(code(manual(&[(0, &[7])])), Some(ErrorCode::InvalidReplicaAssignment));
    assert_eq!(code(manual(&[(0, &[])])), Some(ErrorCode::InvalidReplicaAssignment));
    assert_eq!(code(manual(&[(0, &[1, 1])])), Some(ErrorCode::InvalidReplicaAssignment));
    assert_eq!(
        code(manual(&[(0, &[0, 1]), (1, &[1])])),
        Some(ErrorCode::InvalidReplicaAssignment)
    );
    assert_eq!(
        code(CreatableTopic {
            num_partitions: 2,
            ..manual(&[(0, &[0])])
        }),
        Some(ErrorCode::InvalidRequest)
    );
    assert_eq!(
        code(CreatableTopic {
            replication_factor: 1,
            ..manual(&[(0, &[0])])
        }),
        Some(ErrorCode::InvalidRequest)
    );
    assert_eq!(code(manual(&[(1, &[0]), (0, &[1])])), None);
    assert_eq!(bench.leaders("t"), [Some(1), Some(0)]);
}

#[test]
fn topics_of_one_request_are_checked_against_each_other() {
    let mut bench = Bench::cluster(1);
    let response = create(
        &mut bench,
        vec![topic("a.b", 1), topic("twice", 1), topic("a_b", 1), topic("twice", 2)],
    );
    let codes: Vec<_> = response
        .topics
        .iter()
        .map(|topic| (topic.name.as_str(), topic.error_code))
        .collect();
    let (invalid, collides) = (
        ErrorCode::InvalidRequest as i16,
        ErrorCode::InvalidTopicException as i16,
    );
    assert_eq!(codes, [("a.b", 0), ("twice", invalid), ("a_b", collides)]);
}

#[test]
fn validate_only_creates_nothing() {
    let mut bench = Bench::cluster(1);
    let offset = bench.image().offset();
    let validate = CreateTopicsRequest {
        validate_only: true,
        ..request(vec![topic("t", 3), topic("bad name", 3)])
    };
    let response: CreateTopicsResponse = bench.admin(7, &validate);
    assert_eq!(
        (response.topics[0].error_code, response.topics[0].num_partitions),
        (0, 3)
    );
    assert_eq!(response.topics[1].error_code, ErrorCode::InvalidTopicException as i16);
    assert_eq!(bench.image().offset(), offset);
}

#[test]
fn without_a_broker_that_can_take_replicas_the_answer_says_so() {
    let mut bench = Bench::cluster(0);
    let (code, message) = error(&mut bench, topic("t", 1)).expect("an error");
    assert_eq!(code, ErrorCode::InvalidReplicationFactor);
    assert!(
        message.ends_with("only 0 of 0 registered broker(s) can take replicas now, 0 of them unfenced."),
        "{message}"
    );
}

#[test]
fn the_plan_for_the_operator_decides_the_same_and_commits_nothing() {
    let mut bench = Bench::cluster(1);
    create(&mut bench, vec![topic("there", 1)]);
    let mut body = Vec::new();
    request(vec![topic("there", 1), topic("new", 4)])
        .encode(&mut body, 5)
        .expect("encodable");
    let plan = CreatePlan::decode(bench.image(), 5, &body).expect("decodable");
    assert_eq!(
        plan.topics[0].plan.as_ref().map_err(|error| error.code),
        Err(ErrorCode::TopicAlreadyExists)
    );
    let new = plan.topics[1].plan.as_ref().expect("can be made");
    assert_eq!((new.name.as_str(), new.assignment.partition_count()), ("new", 4));
    assert!(bench.image().topic_by_name("new").is_none());
    let there = bench.image().topic_by_name("there").expect("the topic").id;
    let response = plan.respond(bench.image(), &[Ok(there), Ok(there)]).expect("encodable");
    let response = CreateTopicsResponse::decode(&mut protocol::Reader::new(&response), 5).expect("decodable");
    assert_eq!(response.topics[0].error_code, ErrorCode::TopicAlreadyExists as i16);
    assert_eq!(response.topics[1].error_code, 0);
}

#[test]
fn topics_are_deleted_by_name_and_by_id_and_each_has_its_own_error() {
    let mut bench = Bench::cluster(1);
    create(&mut bench, vec![topic("a", 1), topic("b", 1), topic("c", 1)]);
    let by_name = DeleteTopicsRequest {
        topic_names: vec!["a".to_owned(), "nowhere".to_owned(), "c".to_owned(), "c".to_owned()],
        ..DeleteTopicsRequest::default()
    };
    let response = bench.admin(5, &by_name);
    let codes: Vec<_> = response.responses.iter().map(|result| result.error_code).collect();
    let invalid = ErrorCode::InvalidRequest as i16;
    assert_eq!(
        codes,
        [0, ErrorCode::UnknownTopicOrPartition as i16, invalid],
        "c is answered once"
    );
    assert!(bench.image().topic_by_name("a").is_none() && bench.image().topic_by_name("c").is_some());

    let id = bench.image().topic_by_name("b").expect("the topic").id.as_uuid();
    let state = |name: Option<&str>, topic_id| DeleteTopicState {
        name: name.map(str::to_owned),
        topic_id,
    };
    let zero = uuid::Uuid::nil();
    let by_id = DeleteTopicsRequest {
        topics: vec![
            state(None, id),
            state(None, uuid::Uuid::from_u128(7)),
            state(Some("c"), uuid::Uuid::from_u128(8)),
            state(None, zero),
        ],
        ..DeleteTopicsRequest::default()
    };
    let both_ways = DeleteTopicsRequest {
        topics: vec![state(Some("b"), zero), state(None, id)],
        ..DeleteTopicsRequest::default()
    };
    let response = bench.admin(6, &both_ways);
    assert_eq!(response.responses.len(), 1);
    let twice = &response.responses[0];
    assert_eq!(
        (twice.error_code, twice.name.as_deref(), twice.topic_id),
        (invalid, Some("b"), id)
    );
    let response = bench.admin(6, &by_id);
    let codes: Vec<_> = response.responses.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::UnknownTopicId as i16, invalid, invalid]);
    assert_eq!(response.responses[0].name.as_deref(), Some("b"));
    assert!(bench.image().topic_by_name("b").is_none());
}

#[test]
fn garbage_and_unknown_apis_are_refused_with_a_sentence() {
    let mut bench = Bench::cluster(1);
    let mut ask = |api_key, api_version, body: &[u8]| {
        let admin = AdminRequest {
            principal: "User:ANONYMOUS".to_owned(),
            listener: "PLAIN".to_owned(),
            api_key,
            api_version,
            body: body.to_vec(),
        };
        match bench.ask(|request| Input::Admin { request, admin }) {
            Reply::Refused(Refusal::InvalidRequest(sentence)) => sentence,
            other => panic!("{other:?}"),
        }
    };
    ask(19, 7, &[]);
    ask(19, 2, &[0x7f, 0xff, 0xff, 0xff]);
    ask(20, 6, &[0xff; 12]);
    ask(19, 99, &[]);
    assert_eq!(ask(3, 9, &[]), "API 3 version 9 is not one of the controller's");
    assert_eq!(ask(-5, 0, &[]), "API -5 version 0 is not one of the controller's");
}
