//! A second broker joins the controller of a standalone one.

mod support;

use std::net::TcpListener;
use std::time::Instant;

use protocol::messages::describe_cluster::DescribeClusterRequest;
use protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use support::{Broker, Client, PATIENCE, value};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .expect("binds")
        .local_addr()
        .expect("bound")
        .port()
}

#[test]
fn two_processes_make_a_cluster_and_share_the_partitions() {
    let temp = tempfile::tempdir().expect("temp");
    let control = format!("127.0.0.1:{}", free_port());
    let first = Broker::standalone_with(&temp.path().join("zero"), &["--control", &control]);
    let one = temp.path().join("one");
    let arguments = [
        "run",
        "--id",
        "1",
        "--controller",
        &control,
        "--data-dir",
        one.to_str().expect("text"),
        "--metrics",
        "off",
        "--listen",
        "127.0.0.1:0",
        "--rack",
        "b",
    ];
    let second = Broker::start(&arguments);
    let mut client = Client::connect(first.address);
    let until = Instant::now() + PATIENCE;
    while client.call(&DescribeClusterRequest::default(), 0).brokers.len() < 2 {
        assert!(Instant::now() < until, "the second broker is not shown");
    }
    client.create("t", 4, &[]);
    let topic = MetadataRequestTopic {
        name: Some("t".to_owned()),
        ..MetadataRequestTopic::default()
    };
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        ..MetadataRequest::default()
    };
    let leaders = loop {
        // The second hears of the topic a moment after the first.
        let answer = Client::connect(second.address).call(&request, 12);
        if answer.topics[0].error_code == 0 {
            break answer.topics[0]
                .partitions
                .iter()
                .map(|part| part.leader_id)
                .collect::<Vec<_>>();
        }
        assert!(Instant::now() < until, "the topic is not shown");
    };
    assert_eq!(leaders.iter().filter(|leader| **leader == 1).count(), 2, "{leaders:?}");
    for (partition, leader) in leaders.iter().enumerate() {
        let address = if *leader == 0 { first.address } else { second.address };
        let wrong = if *leader == 0 { second.address } else { first.address };
        let mut client = Client::connect(address);
        assert_eq!(client.produce("t", partition as i32, value("v")), Ok(0));
        assert!(
            Client::connect(wrong)
                .produce("t", partition as i32, value("v"))
                .is_err()
        );
    }

    // What only the second holds it serves from its disk at once, with the controller gone (METADATA 18).
    first.kill();
    second.kill();
    let alone = Broker::start(&arguments);
    let mine = leaders.iter().position(|leader| *leader == 1).expect("has one") as i32;
    assert_eq!(Client::connect(alone.address).produce("t", mine, value("alone")), Ok(1));
}

#[test]
fn a_directory_of_another_cluster_ends_the_process_with_one_sentence() {
    let temp = tempfile::tempdir().expect("temp");
    let control = format!("127.0.0.1:{}", free_port());
    let _ours = Broker::standalone_with(&temp.path().join("ours"), &["--control", &control]);
    let theirs = temp.path().join("theirs");
    drop(Broker::standalone(&theirs));
    let theirs = theirs.to_str().expect("text");
    // Several times: how the process ends must not hang on which of its tasks looks first.
    for _ in 0..5 {
        let ended = support::run(&[
            "run",
            "--id",
            "0",
            "--controller",
            &control,
            "--data-dir",
            theirs,
            "--metrics",
            "off",
            "--listen",
            "127.0.0.1:0",
        ]);
        assert!(
            !ended.status.success() && ended.status.code() != Some(101),
            "{}",
            ended.said
        );
        assert!(ended.said.contains("belongs to cluster"), "{}", ended.said);
        assert!(!ended.said.contains("panicked"), "{}", ended.said);
    }
}
