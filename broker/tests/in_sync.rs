//! Three broker processes and their controller: who waits for whom, and how followers leave and join.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use protocol::ErrorCode;
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use protocol::messages::offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use protocol::messages::produce::ProduceRequest;
use support::cluster::{Cluster, TOPIC, wait_for};
use support::{Client, fetch, produce, produced, read_all, records, signal, value};

/// Stops the processes of brokers.
fn stop(cluster: &Cluster, ids: &[i32]) {
    for id in ids {
        signal(cluster.broker(*id).process_id(), "STOP");
    }
}

fn go_on(cluster: &Cluster, ids: &[i32]) {
    for id in ids {
        signal(cluster.broker(*id).process_id(), "CONT");
    }
}

#[test]
fn a_write_that_waits_for_followers_holds_nobody_up_and_keeps_its_place() {
    let cluster = Cluster::start();
    cluster.create();
    cluster.write("first");
    stop(&cluster, &[2, 3]);
    let mut waiting = Client::connect(cluster.broker(1).address);
    let patient = ProduceRequest {
        timeout_ms: 60_000,
        ..produce(TOPIC, 0, -1, value("waits"))
    };
    let waits = waiting.send(&patient, 9);
    let behind = waiting.send(&produce(TOPIC, 0, 1, value("behind")), 9);
    let metadata = waiting.send(&MetadataRequest::default(), 12);
    // Another connection is served meanwhile, and so is one whose patience ends.
    let mut other = Client::connect(cluster.broker(1).address);
    let beside = produced(&other.call(&produce(TOPIC, 0, 1, value("beside")), 9));
    assert_eq!(beside.map(|offset| offset >= 1), Ok(true));
    let hasty = ProduceRequest {
        timeout_ms: 100,
        ..produce(TOPIC, 0, -1, value("hasty"))
    };
    assert_eq!(produced(&other.call(&hasty, 9)), Err(ErrorCode::RequestTimedOut));
    go_on(&cluster, &[2, 3]);
    let first = produced(&waiting.receive::<ProduceRequest>(waits, 9));
    let second = produced(&waiting.receive::<ProduceRequest>(behind, 9));
    assert!(first < second, "{first:?} before {second:?}");
    assert!(second.is_ok(), "{second:?}");
    waiting.receive::<MetadataRequest>(metadata, 12);
}

#[test]
fn a_follower_that_falls_silent_leaves_the_in_sync_set_and_joins_again() {
    // Sooner than a silent broker is fenced.
    let cluster = Cluster::start_with(&["--config", "replica.lag.time.max.ms=1500"]);
    cluster.create();
    let mut written = cluster.write_many("before", 5);
    stop(&cluster, &[3]);
    cluster.write("meanwhile");
    written.push("meanwhile".to_owned());
    let shown = cluster.wait_for_isr(2);
    assert!(!shown.isr.contains(&3), "{shown:?}");
    assert_eq!(shown.leader, 1, "the leader stays");
    written.extend(cluster.write_many("without", 5));
    go_on(&cluster, &[3]);
    cluster.wait_for_isr(3);
    written.extend(cluster.write_many("again", 5));
    cluster.wait_for_equal_logs();
    assert_eq!(cluster.read(), written);
}

/// What it sent may be lost, and its TCP would not try again for many seconds.
#[test]
fn a_client_that_a_broker_heard_nothing_of_while_it_was_cut_off_is_told_to_connect_anew() {
    let cluster = Cluster::start();
    cluster.create();
    let mut client = Client::connect(cluster.broker(3).address);
    client.call(&MetadataRequest::default(), 12);
    stop(&cluster, &[3]);
    cluster.wait_for_isr(2);
    go_on(&cluster, &[3]);
    assert!(client.is_reset());
    cluster.wait_for_isr(3);
}

#[test]
fn below_min_isr_writes_for_all_replicas_are_refused_and_nothing_is_shown() {
    let mut cluster = Cluster::start();
    cluster.create();
    cluster.write("before");
    cluster.kill(2);
    cluster.kill(3);
    wait_for("the leader knows that it is alone", || {
        Cluster::shown_by(cluster.broker(1)).filter(|shown| shown.isr == [1])
    });
    let mut client = Client::connect(cluster.broker(1).address);
    assert_eq!(
        client.produce(TOPIC, 0, value("refused")),
        Err(ErrorCode::NotEnoughReplicas)
    );
    let alone = produced(&client.call(&produce(TOPIC, 0, 1, value("alone")), 9));
    assert_eq!(alone, Ok(1));
    let answer = client.fetch(TOPIC, 0, 0);
    assert_eq!(records(&answer), [(0, "before".to_owned())]);
    assert_eq!(answer.responses[0].partitions[0].high_watermark, 1, "it is frozen");
    cluster.run(2);
    cluster.wait_for_isr(2);
    wait_for("the watermark moves on", || {
        (client.fetch(TOPIC, 0, 0).responses[0].partitions[0].high_watermark == 2).then_some(())
    });
}

#[test]
fn a_leader_whose_log_fails_acknowledges_nothing_more_and_is_followed_by_another() {
    let mut cluster = Cluster::start();
    cluster.create_with(&[("segment.bytes", "1048576")]);
    let mut written = cluster.write_many("before", 3);
    // Its directory is gone: what is open goes on, and no further segment can be made.
    let directory = cluster.data(1).join(format!("{TOPIC}-0"));
    let aside = cluster.data(1).with_file_name("aside");
    fs::rename(&directory, &aside).expect("renamed");
    let mut client = Client::connect(cluster.broker(1).address);
    let large = "x".repeat(300_000);
    let refused = (0..10).find_map(|_| match client.produce(TOPIC, 0, value(&large)) {
        Ok(_) => {
            written.push(large.clone());
            None
        }
        Err(code) => Some(code),
    });
    assert_eq!(refused, Some(ErrorCode::KafkaStorageError));
    let shown = wait_for("another leader", || {
        cluster.shown().filter(|shown| ![-1, 1].contains(&shown.leader))
    });
    assert!(!shown.isr.contains(&1), "{shown:?}");
    let late = client.produce(TOPIC, 0, value("late"));
    assert!(late.is_err(), "{late:?}");
    written.extend(cluster.write_many("after", 3));
    assert_eq!(cluster.read(), written);
    // Its process lives on; the next one finds its log again and catches up.
    cluster.kill(1);
    fs::remove_dir_all(&directory).ok();
    fs::rename(&aside, &directory).expect("renamed");
    cluster.run(1);
    cluster.wait_for_isr(3);
    cluster.wait_for_equal_logs();
}

#[test]
fn a_consumer_is_sent_to_the_follower_in_its_rack() {
    let cluster = Cluster::start_with(&[
        "--config",
        "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector",
    ]);
    cluster.create();
    let written = cluster.write_many("near", 3);
    let mut leader = Client::connect(cluster.broker(1).address);
    let mut request = fetch(TOPIC, 0, 0, 0);
    let mut preferred = |rack: &str| {
        rack.clone_into(&mut request.rack_id);
        let answer = leader.call(&request, 12);
        let part = &answer.responses[0].partitions[0];
        (
            part.preferred_read_replica,
            part.records.as_ref().is_some_and(|bytes| !bytes.is_empty()),
        )
    };
    wait_for("the follower's position is known", || {
        (preferred("r2") == (2, false)).then_some(())
    });
    assert_eq!(preferred("r1"), (-1, true), "the leader's own rack");
    assert_eq!(preferred("elsewhere"), (-1, true));
    let mut follower = Client::connect(cluster.broker(2).address);
    let found = wait_for("the follower knows that all is committed", || {
        let found = records(&follower.fetch(TOPIC, 0, 0));
        (found.len() == written.len()).then_some(found)
    });
    assert_eq!(found.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), written);
    // A consumer that waits at a follower is woken there.
    let waits = follower.send(&fetch(TOPIC, 0, 3, 600_000), 12);
    cluster.write("later");
    let answer = follower.receive::<protocol::fetch::FetchRequest>(waits, 12);
    assert_eq!(records(&answer), [(3, "later".to_owned())]);
    // Clients that know nothing of racks belong to the leader.
    let old = follower.call(&fetch(TOPIC, 0, 0, 0), 10);
    assert_eq!(
        old.responses[0].partitions[0].error_code,
        ErrorCode::NotLeaderOrFollower.code()
    );
}

/// The broker that coordinates a group.
fn coordinator(cluster: &Cluster, group: &str) -> Option<i32> {
    let request = FindCoordinatorRequest {
        coordinator_keys: vec![group.to_owned()],
        ..FindCoordinatorRequest::default()
    };
    let found = Client::connect(cluster.zero.address).call(&request, 6);
    let found = found.coordinators.first().filter(|found| found.error_code == 0)?;
    Some(found.node_id)
}

fn client_of(cluster: &Cluster, id: i32) -> Client {
    Client::connect(if id == 0 {
        cluster.zero.address
    } else {
        cluster.broker(id).address
    })
}

fn commit(client: &mut Client, group: &str, offset: i64) -> ErrorCode {
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: TOPIC.to_owned(),
            topic_id: uuid::Uuid::nil(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: offset,
                ..OffsetCommitRequestPartition::default()
            }],
        }],
        ..OffsetCommitRequest::default()
    };
    let answer = client.call(&request, 8);
    ErrorCode::from_code(answer.topics[0].partitions[0].error_code).expect("known")
}

fn committed(client: &mut Client, group: &str) -> Option<i64> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            topics: None,
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    let answer = client.call(&request, 8);
    let group = answer.groups.first().filter(|group| group.error_code == 0)?;
    Some(group.topics.first()?.partitions.first()?.committed_offset)
}

#[test]
fn a_committed_offset_outlives_its_coordinator() {
    let mut cluster = Cluster::start_with(&[
        "--config",
        "offsets.topic.replication.factor=3",
        "--config",
        "min.insync.replicas=2",
    ]);
    cluster.create();
    // The controller lives in broker 0, which therefore stays.
    let groups: Vec<String> = (0..20).map(|number| format!("readers-{number}")).collect();
    let (group, first) = wait_for("a coordinator that may be killed", || {
        groups
            .iter()
            .find_map(|group| Some((group, coordinator(&cluster, group).filter(|id| *id > 0)?)))
    });
    let mut client = client_of(&cluster, first);
    for offset in 1..=20 {
        wait_for("the commit", || {
            (commit(&mut client, group, offset) == ErrorCode::None).then_some(())
        });
        assert_eq!(committed(&mut client, group), Some(offset));
    }
    cluster.kill(first);
    let next = wait_for("another coordinator", || {
        coordinator(&cluster, group).filter(|id| *id != first)
    });
    let mut client = client_of(&cluster, next);
    assert_eq!(wait_for("the offset", || committed(&mut client, group)), 20);
    wait_for("the next commit", || {
        (commit(&mut client, group, 21) == ErrorCode::None).then_some(())
    });
}

/// Writes texts one after the other with `acks=all` until told to stop, each until it is acknowledged; returns the offsets
/// that were promised.
fn write_on(zero: SocketAddr, name: &str, stop: &AtomicBool) -> Vec<(i64, String)> {
    let mut promised = Vec::new();
    let mut client: Option<Client> = None;
    while !stop.load(Ordering::Relaxed) {
        let text = format!("{name}-{}", promised.len());
        let Some(connected) = client.as_mut() else {
            client = leader_address(zero).and_then(Client::try_connect);
            continue;
        };
        let hasty = ProduceRequest {
            timeout_ms: 1_000,
            ..produce(TOPIC, 0, -1, value(&text))
        };
        match connected.try_call(&hasty, 9).map(|answer| produced(&answer)) {
            Some(Ok(offset)) => promised.push((offset, text)),
            Some(Err(_)) | None => client = None,
        }
    }
    promised
}

/// Where clients of broker 0 are sent to write.
fn leader_address(zero: SocketAddr) -> Option<SocketAddr> {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(TOPIC.to_owned()),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    let answer = Client::try_connect(zero)?.try_call(&request, 12)?;
    let leader = answer.topics.first()?.partitions.first()?.leader_id;
    let broker = answer.brokers.iter().find(|broker| broker.node_id == leader)?;
    format!("{}:{}", broker.host, broker.port).parse().ok()
}

#[test]
fn everything_promised_survives_a_row_of_killed_leaders_at_its_offset() {
    let mut cluster = Cluster::start();
    cluster.create();
    let (zero, stop) = (cluster.zero.address, AtomicBool::new(false));
    let promised: Vec<(i64, String)> = thread::scope(|scope| {
        let writers: Vec<_> = ["a", "b", "c"]
            .map(|name| scope.spawn(|| write_on(zero, name, &stop)))
            .into();
        for _ in 0..3 {
            let leader = cluster.wait_for_leader();
            cluster.write("on");
            cluster.kill(leader);
            wait_for("another leader", || {
                cluster
                    .shown()
                    .filter(|shown| shown.leader > 0 && shown.leader != leader)
            });
            cluster.write("goes");
            cluster.run(leader);
            cluster.wait_for_isr(3);
        }
        stop.store(true, Ordering::Relaxed);
        writers
            .into_iter()
            .flat_map(|writer| writer.join().expect("writes"))
            .collect()
    });
    cluster.wait_for_equal_logs();
    let mut client = Client::connect(cluster.broker(cluster.wait_for_leader()).address);
    let found: BTreeMap<i64, String> = read_all(&mut client, TOPIC, 0).into_iter().collect();
    assert!(promised.len() > 30, "only {} were promised", promised.len());
    for (offset, text) in promised {
        assert_eq!(found.get(&offset), Some(&text), "promised at {offset}");
    }
}
