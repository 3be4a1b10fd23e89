//! Topics as resources describe them.

use std::collections::BTreeMap;

use model::BrokerId;
use protocol::ErrorCode;

use crate::fixture::{Bench, desired};
use crate::{DesiredTopic, Input, Refusal, Reply, TopicState};

fn desire(bench: &mut Bench, topic: DesiredTopic) -> Result<TopicState, (ErrorCode, String)> {
    match bench.ask(|request| Input::TopicDesired { request, topic }) {
        Reply::Topic(state) => Ok(state),
        Reply::Refused(Refusal::Kafka { code, message }) => Err((code, message)),
        other => panic!("{other:?}"),
    }
}

fn config(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn asking_for_what_is_there_writes_nothing() {
    let mut bench = Bench::cluster(1);
    let state = desire(&mut bench, desired("t", 3)).expect("created");
    let offset = bench.image().offset();
    assert_eq!(desire(&mut bench, desired("t", 3)), Ok(state));
    assert_eq!(
        desire(
            &mut bench,
            DesiredTopic {
                partitions: None,
                ..desired("t", 0)
            }
        ),
        Ok(state)
    );
    assert_eq!(bench.image().offset(), offset);
}

#[test]
fn a_topic_grows_evenly_and_never_shrinks() {
    let mut bench = Bench::cluster(3);
    desire(&mut bench, desired("t", 2)).expect("created");
    assert_eq!(desire(&mut bench, desired("t", 6)).expect("grown").partitions, 6);
    for broker in 0..3 {
        assert_eq!(
            bench
                .leaders("t")
                .iter()
                .filter(|leader| **leader == Some(broker))
                .count(),
            2
        );
    }
    let (code, message) = desire(&mut bench, desired("t", 5)).expect_err("fewer");
    assert_eq!(code, ErrorCode::InvalidPartitions);
    assert_eq!(
        message,
        "Topic t has 6 partitions, 5 were asked for: partitions can only grow."
    );
    assert_eq!(
        desire(&mut bench, desired("u", 10_001)).expect_err("too many").0,
        ErrorCode::InvalidPartitions
    );
    assert_eq!(
        desire(&mut bench, desired("t", 10_001)).expect_err("too many").0,
        ErrorCode::InvalidPartitions
    );
}

#[test]
fn the_configuration_is_replaced_as_a_whole() {
    let mut bench = Bench::cluster(1);
    let with = |entries| DesiredTopic {
        config: config(entries),
        ..desired("t", 1)
    };
    desire(
        &mut bench,
        with(&[("retention.ms", "1000"), ("segment.bytes", "2000000")]),
    )
    .expect("created");
    desire(&mut bench, with(&[("retention.ms", " 2000 ")])).expect("changed");
    let topic = bench.image().topic_by_name("t").expect("the topic");
    assert_eq!(topic.config, config(&[("retention.ms", "2000")]));
    let (code, message) = desire(&mut bench, with(&[("cleanup.policy", "compact")])).expect_err("later");
    assert_eq!(code, ErrorCode::InvalidConfig);
    assert_eq!(
        message,
        "config cleanup.policy=compact is not supported by this version of Barnabas: supported is delete"
    );
}

#[test]
fn replication_is_refused_until_it_is_there() {
    let mut bench = Bench::cluster(3);
    let (code, message) = desire(
        &mut bench,
        DesiredTopic {
            replication_factor: Some(3),
            ..desired("t", 1)
        },
    )
    .expect_err("later");
    assert_eq!(code, ErrorCode::InvalidReplicationFactor);
    assert_eq!(
        message,
        "Replication factor was 3: this version of Barnabas does not replicate yet, use 1 or -1."
    );
    let pinned = |lists: &[&[i32]]| DesiredTopic {
        partitions: None,
        assignment: Some(
            lists
                .iter()
                .map(|list| list.iter().copied().map(BrokerId).collect())
                .collect(),
        ),
        ..desired("t", 1)
    };
    assert_eq!(
        desire(&mut bench, pinned(&[&[0, 1]])).expect_err("later").0,
        ErrorCode::InvalidReplicationFactor
    );
    desire(&mut bench, pinned(&[&[2], &[1]])).expect("created");
    assert_eq!(bench.leaders("t"), [Some(2), Some(1)]);
    assert_eq!(bench.leader("t"), Some(2));
    let moved = desire(&mut bench, pinned(&[&[2], &[0]])).expect_err("moving comes later");
    assert_eq!(moved.0, ErrorCode::InvalidReplicaAssignment);
    desire(&mut bench, pinned(&[&[2], &[1], &[0]])).expect("grown");
    assert_eq!(bench.leaders("t"), [Some(2), Some(1), Some(0)]);
}

#[test]
fn the_clusters_defaults_count_for_new_topics() {
    let mut bench = Bench::cluster(1);
    let set = config(&[("num.partitions", "5"), ("log.retention.ms", "7")]);
    assert_eq!(
        bench.ask(|request| Input::ClusterDesired {
            request,
            config: set,
            brokers: 1
        }),
        Reply::Done
    );
    let state = desire(
        &mut bench,
        DesiredTopic {
            partitions: None,
            ..desired("t", 0)
        },
    )
    .expect("created");
    assert_eq!(state.partitions, 5);
    let topic = bench.image().topic_by_name("t").expect("the topic");
    assert_eq!(bench.image().topic_config(topic).retention_ms, 7);
    let unknown = config(&[("zookeeper.connect", "x")]);
    let reply = bench.ask(|request| Input::ClusterDesired {
        request,
        config: unknown,
        brokers: 1,
    });
    assert!(
        matches!(
            reply,
            Reply::Refused(Refusal::Kafka {
                code: ErrorCode::InvalidConfig,
                ..
            })
        ),
        "{reply:?}"
    );
    let factor = config(&[("default.replication.factor", "3")]);
    let reply = bench.ask(|request| Input::ClusterDesired {
        request,
        config: factor,
        brokers: 1,
    });
    assert!(matches!(
        reply,
        Reply::Refused(Refusal::Kafka {
            code: ErrorCode::InvalidReplicationFactor,
            ..
        })
    ));
}
