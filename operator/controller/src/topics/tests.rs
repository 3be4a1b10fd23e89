//! Topics as resources describe them.

use std::collections::BTreeMap;

use model::BrokerId;
use protocol::ErrorCode;

use crate::fixture::{Bench, desired};
use crate::{DesiredTopic, Input, Proof, Refusal, Reply, TopicState};

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
fn pinned_replicas_stay_where_they_are_and_too_many_are_refused() {
    let mut bench = Bench::cluster(3);
    let (code, message) = desire(
        &mut bench,
        DesiredTopic {
            replication_factor: Some(4),
            ..desired("t", 1)
        },
    )
    .expect_err("too many");
    assert_eq!(code, ErrorCode::InvalidReplicationFactor);
    assert_eq!(message, "Replication factor was 4: the cluster has 3 broker(s).");
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
        desire(&mut bench, pinned(&[&[0, 1], &[0]])).expect_err("uneven").0,
        ErrorCode::InvalidReplicaAssignment
    );
    desire(&mut bench, pinned(&[&[2], &[1]])).expect("created");
    assert_eq!(bench.leaders("t"), [Some(2), Some(1)]);
    assert_eq!(bench.leader("t"), Some(2));
    let moved = desire(&mut bench, pinned(&[&[2], &[0]])).expect_err("moves are asked for otherwise");
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
}

#[test]
fn a_cluster_of_three_brokers_keeps_three_replicas_of_which_two_must_be_in_sync() {
    let mut bench = Bench::cluster(3);
    let say = |bench: &mut Bench, brokers, entries: &[(&str, &str)]| {
        let config = config(entries);
        let reply = bench.ask(|request| Input::ClusterDesired {
            request,
            config,
            brokers,
        });
        assert_eq!(reply, Reply::Done);
    };
    let shape = |bench: &mut Bench, name: &str| {
        desire(bench, desired(name, 1)).expect("created");
        let topic = bench.image().topic_by_name(name).expect("the topic").clone();
        let min = bench.image().min_insync_replicas(&topic, &topic.partitions[0]);
        (topic.replication_factor(), min)
    };
    assert_eq!(
        shape(&mut bench, "before"),
        (1, 1),
        "nobody has said how large the cluster is"
    );
    say(&mut bench, 3, &[]);
    assert_eq!(shape(&mut bench, "three"), (3, 2));
    assert_eq!(shape(&mut bench, "__consumer_offsets"), (3, 2));
    let before = bench.image().topic_by_name("before").expect("the topic").clone();
    assert_eq!(before.replication_factor(), 1, "what is there is not changed");
    assert_eq!(bench.image().min_insync_replicas(&before, &before.partitions[0]), 1);
    // The third broker is still there: what it has acknowledged with others stays as safe as it was.
    say(&mut bench, 1, &[]);
    assert_eq!(shape(&mut bench, "still"), (3, 2));
    say(
        &mut bench,
        3,
        &[("default.replication.factor", "2"), ("min.insync.replicas", "1")],
    );
    assert_eq!(shape(&mut bench, "own"), (2, 1), "what is set counts over it");
}

#[test]
fn a_topic_can_be_made_while_one_of_three_brokers_restarts() {
    let mut bench = Bench::cluster(3);
    bench.give(Input::BrokerGone {
        broker: BrokerId(1),
        incarnation: None,
        proof: Proof::Terminated,
    });
    let three = DesiredTopic {
        replication_factor: Some(3),
        ..desired("t", 6)
    };
    desire(&mut bench, three).expect("created");
    let topic = bench.image().topic_by_name("t").expect("the topic");
    for partition in &topic.partitions {
        assert_eq!(partition.replicas.len(), 3);
        assert!(!partition.isr.contains(&BrokerId(1)), "{partition:?}");
        assert_ne!(partition.leader, Some(BrokerId(1)));
    }
}
