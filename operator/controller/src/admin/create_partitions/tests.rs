//! CreatePartitions as a client sees it.

use protocol::ErrorCode;
use protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};

use crate::fixture::Bench;

/// Three brokers, and topic `t` with two partitions.
fn bench() -> Bench {
    let mut bench = Bench::cluster(3);
    let topic = CreatableTopic {
        name: "t".to_owned(),
        num_partitions: 2,
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

fn to(name: &str, count: i32) -> CreatePartitionsTopic {
    CreatePartitionsTopic {
        name: name.to_owned(),
        count,
        assignments: None,
    }
}

fn assigned(count: i32, lists: &[&[i32]]) -> CreatePartitionsTopic {
    let lists = lists.iter().map(|list| CreatePartitionsAssignment {
        broker_ids: list.to_vec(),
    });
    CreatePartitionsTopic {
        assignments: Some(lists.collect()),
        ..to("t", count)
    }
}

fn request(topics: Vec<CreatePartitionsTopic>) -> CreatePartitionsRequest {
    CreatePartitionsRequest {
        topics,
        ..CreatePartitionsRequest::default()
    }
}

fn code(bench: &mut Bench, topic: CreatePartitionsTopic) -> ErrorCode {
    let response = bench.admin(3, &request(vec![topic]));
    let result = &response.results[0];
    let code = ErrorCode::from_code(result.error_code).expect("a code of Kafka's");
    assert_eq!(
        result.error_message.is_some(),
        code != ErrorCode::None,
        "a sentence with each error"
    );
    code
}

#[test]
fn a_topic_grows_in_every_version_and_its_partitions_have_leaders() {
    let mut bench = bench();
    for (version, count) in (0..=3).zip(3..) {
        let response = bench.admin(version, &request(vec![to("t", count)]));
        assert_eq!(response.results[0].error_code, 0);
        assert_eq!(bench.leaders("t").len(), count as usize);
    }
    assert!(bench.leaders("t").iter().all(Option::is_some));
    let mut spread: Vec<_> = bench.leaders("t").into_iter().collect();
    spread.sort_unstable();
    assert_eq!(
        spread,
        [Some(0), Some(0), Some(1), Some(1), Some(2), Some(2)],
        "evenly over the brokers"
    );
}

#[test]
fn partitions_only_grow_and_each_topic_has_its_own_error() {
    let mut bench = bench();
    for count in [2, 1, 0, -1, i32::MIN] {
        assert_eq!(
            code(&mut bench, to("t", count)),
            ErrorCode::InvalidPartitions,
            "{count}"
        );
    }
    assert_eq!(code(&mut bench, to("t", i32::MAX)), ErrorCode::InvalidPartitions);
    assert_eq!(code(&mut bench, to("nowhere", 3)), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&mut bench, to("no name", 3)), ErrorCode::UnknownTopicOrPartition);
    let response = bench.admin(2, &request(vec![to("nowhere", 3), to("t", 3)]));
    let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [ErrorCode::UnknownTopicOrPartition.code(), 0]);
    assert_eq!(bench.leaders("t").len(), 3);
}

#[test]
fn a_topic_that_is_named_twice_does_not_grow() {
    let mut bench = bench();
    let response = bench.admin(1, &request(vec![to("t", 3), to("t", 4)]));
    let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [ErrorCode::InvalidRequest.code()]);
    assert_eq!(bench.leaders("t").len(), 2);
}

#[test]
fn new_partitions_go_where_the_client_says() {
    let mut bench = bench();
    let invalid = ErrorCode::InvalidReplicaAssignment;
    assert_eq!(
        code(&mut bench, assigned(4, &[&[0]])),
        invalid,
        "one list for two partitions"
    );
    assert_eq!(code(&mut bench, assigned(3, &[])), invalid);
    assert_eq!(code(&mut bench, assigned(3, &[&[]])), invalid);
    assert_eq!(code(&mut bench, assigned(3, &[&[7]])), invalid);
    assert_eq!(code(&mut bench, assigned(3, &[&[1, 1]])), invalid);
    assert_eq!(
        code(&mut bench, assigned(3, &[&[0, 1]])),
        invalid,
        "the topic has one replica of each"
    );
    assert_eq!(bench.leaders("t").len(), 2);
    assert_eq!(code(&mut bench, assigned(4, &[&[2], &[2]])), ErrorCode::None);
    assert_eq!(bench.leaders("t")[2..], [Some(2), Some(2)]);
}

#[test]
fn validate_only_adds_nothing() {
    let mut bench = bench();
    let offset = bench.image().offset();
    let validate = CreatePartitionsRequest {
        validate_only: true,
        ..request(vec![to("t", 5), to("nowhere", 5)])
    };
    let response = bench.admin(3, &validate);
    let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::UnknownTopicOrPartition.code()]);
    assert_eq!(bench.image().offset(), offset);
}
