//! Three broker processes and their controller: what one has acknowledged, all have, whoever dies.

mod support;

use std::fs;

use protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use support::cluster::{Cluster, TOPIC, wait_for};
use support::{Client, produce, produced, signal, value};

#[test]
fn what_is_acknowledged_is_on_every_replica_byte_for_byte() {
    let cluster = Cluster::start();
    cluster.create();
    let written = cluster.write_many("first", 50);
    cluster.wait_for_equal_logs();
    assert_eq!(cluster.read(), written);
}

#[test]
fn a_follower_that_was_killed_comes_back_into_the_in_sync_set() {
    let mut cluster = Cluster::start();
    cluster.create();
    let mut written = cluster.write_many("before", 10);
    cluster.kill(3);
    cluster.wait_for_isr(2);
    written.extend(cluster.write_many("meanwhile", 10));
    cluster.run(3);
    cluster.wait_for_isr(3);
    written.extend(cluster.write_many("after", 10));
    cluster.wait_for_equal_logs();
    assert_eq!(cluster.read(), written);
}

#[test]
fn rule_18_a_follower_that_was_killed_follows_again_while_the_controller_is_away() {
    let mut cluster = Cluster::start();
    cluster.create();
    let mut written = cluster.write_many("before", 10);
    let controller = cluster.zero.process_id();
    signal(controller, "STOP");
    // Nobody can take them out of the in-sync set: without them nothing is committed.
    for (id, text) in [(2, "second"), (3, "third")] {
        cluster.kill(id);
        cluster.run(id);
        let mut leader = Client::connect(cluster.broker(1).address);
        assert_eq!(leader.produce(TOPIC, 0, value(text)), Ok(written.len() as i64));
        written.push(text.to_owned());
    }
    signal(controller, "CONT");
    for id in [2, 3] {
        cluster.broker(id).wait_for_line("registered");
    }
    cluster.wait_for_isr(3);
    written.extend(cluster.write_many("after", 5));
    cluster.wait_for_equal_logs();
    assert_eq!(cluster.read(), written);
}

#[test]
fn a_broker_that_stops_before_a_controller_is_there_again_hands_over_to_that() {
    let mut cluster = Cluster::start();
    cluster.create();
    let mut written = cluster.write_many("before", 10);
    cluster.kill_controller();
    signal(cluster.broker(1).process_id(), "TERM");
    cluster.broker(1).wait_for_line("no word from the controller");
    cluster.run_controller();
    cluster.broker(1).wait_for_line("leaderships have moved");
    cluster.wait_for_isr(2);
    written.extend(cluster.write_many("after", 5));
    assert_eq!(cluster.read(), written);
}

#[test]
fn a_follower_that_dies_while_it_copies_many_segments_goes_on_where_its_log_ends() {
    let mut cluster = Cluster::start();
    cluster.create_with(&[("segment.bytes", "1048576")]);
    cluster.kill(3);
    let shown = cluster.wait_for_isr(2);
    let mut client = Client::connect(cluster.broker(shown.leader).address);
    let mut written = 0;
    for number in 0..40 {
        let text = format!("{number:05}").repeat(40_000);
        written += text.len();
        assert_eq!(client.produce(TOPIC, 0, value(&text)), Ok(number));
    }
    cluster.run(3);
    wait_for("it copies", || (!cluster.log_of(3).is_empty()).then_some(()));
    cluster.kill(3);
    cluster.run(3);
    cluster.wait_for_isr(3);
    cluster.wait_for_equal_logs();
    assert!(cluster.log_of(3).len() > written);
}

#[test]
fn nothing_acknowledged_is_lost_with_the_leader_and_what_only_it_had_is_cut() {
    let mut cluster = Cluster::start();
    cluster.create();
    let mut written = cluster.write_many("before", 10);
    cluster.wait_for_equal_logs();
    // What nobody fetches, nobody but the leader has.
    for id in [2, 3] {
        signal(cluster.broker(id).process_id(), "STOP");
    }
    let mut client = Client::connect(cluster.broker(1).address);
    for text in ["lost-0", "lost-1"] {
        let answer = client.call(&produce(TOPIC, 0, 1, value(text)), 9);
        assert!(produced(&answer).is_ok());
    }
    drop(client);
    let longer = cluster.log_of(1).len();
    cluster.kill(1);
    for id in [2, 3] {
        signal(cluster.broker(id).process_id(), "CONT");
    }
    wait_for("another leader", || cluster.shown().filter(|shown| shown.leader > 1));
    written.extend(cluster.write_many("after", 5));
    assert!(cluster.log_of(1).len() >= longer);
    cluster.run(1);
    cluster.broker(1).wait_for_line("the log is cut");
    cluster.wait_for_isr(3);
    written.extend(cluster.write_many("again", 5));
    cluster.wait_for_equal_logs();
    // The first answered the polls that waited, and is in the others' sockets: nobody promised it, and nobody gave it up.
    let mut found = cluster.read();
    found.retain(|text| text != "lost-0");
    assert_eq!(found, written);
}

#[test]
fn a_broker_whose_volume_is_lost_begins_where_its_leaders_log_starts() {
    let mut cluster = Cluster::start();
    cluster.create();
    let written = cluster.write_many("before", 20);
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: TOPIC.to_owned(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset: 7,
            }],
        }],
        timeout_ms: 10_000,
    };
    let answer = Client::connect(cluster.broker(1).address).call(&request, 2);
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    cluster.kill(2);
    cluster.wait_for_isr(2);
    fs::remove_dir_all(cluster.data(2)).expect("removes");
    cluster.run(2);
    cluster.wait_for_isr(3);
    let mut written = written[7..].to_vec();
    written.extend(cluster.write_many("after", 5));
    // Its copy is all that a leader needs.
    cluster.kill(1);
    cluster.kill(3);
    cluster.run(3);
    let shown = wait_for("a leader", || cluster.shown().filter(|shown| shown.leader > 1));
    let mut client = Client::connect(cluster.broker(shown.leader).address);
    let found = wait_for("what was written", || {
        let from_start = client.fetch(TOPIC, 0, 7);
        (from_start.responses[0].partitions[0].error_code == 0).then(|| support::records(&from_start))
    });
    let found: Vec<String> = found.into_iter().map(|(_, text)| text).collect();
    assert_eq!(found, written[..found.len()]);
    let log = cluster.log_of(2);
    let kept = protocol::batch::batches(&log).map(|batch| batch.expect("whole").0.base_offset);
    assert!(kept.min() >= Some(7), "it copied what was deleted");
}
