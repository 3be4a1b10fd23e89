//! Fetch over real sockets: sessions, bounds, epochs, ids, waiting, and who is refused.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic, PartitionData, ReplicaState,
};
use protocol::messages::metadata::MetadataRequest;
use protocol::{ApiKey, ErrorCode};
use support::{Broker, Client, PATIENCE, fetch, records, value};
use uuid::Uuid;

fn started() -> (tempfile::TempDir, Broker, Client) {
    let temp = tempfile::tempdir().expect("temp");
    let broker = Broker::standalone(&temp.path().join("data"));
    let client = Client::connect(broker.address);
    (temp, broker, client)
}

fn id_of(client: &mut Client, topic: &str) -> Uuid {
    let all = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    let answer = client.call(&all, 12);
    let found = answer.topics.iter().find(|t| t.name.as_deref() == Some(topic));
    found.expect("listed").topic_id
}

/// A request for some partitions of one topic, each from an offset.
fn many(topic: &str, partitions: &[(i32, i64)]) -> FetchRequest {
    let mut request = fetch(topic, 0, 0, 0);
    let wanted = |(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    request.topics[0].partitions = partitions.iter().map(wanted).collect();
    request
}

/// The next request of a session, which names only what has changed.
fn next(session_id: i32, session_epoch: i32, topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest {
        session_id,
        session_epoch,
        topics,
        ..fetch("", 0, 0, 0)
    }
}

fn error(response: &FetchResponse) -> ErrorCode {
    ErrorCode::from_code(response.error_code).expect("known")
}

fn parts(response: &FetchResponse) -> Vec<&PartitionData> {
    response.responses.iter().flat_map(|topic| &topic.partitions).collect()
}

fn indexes(response: &FetchResponse) -> Vec<i32> {
    parts(response).iter().map(|part| part.partition_index).collect()
}

fn only_error(response: &FetchResponse) -> ErrorCode {
    ErrorCode::from_code(parts(response)[0].error_code).expect("known")
}

#[test]
fn a_session_tells_only_of_partitions_with_news() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 3, &[]);
    for version in [7, 11, 12, 13, 18] {
        let mut first = many("t", &[(0, 0), (1, 0), (2, 0)]);
        first.session_epoch = 0;
        first.topics[0].topic_id = id_of(&mut client, "t");
        let full = client.call(&first, version);
        assert_eq!(indexes(&full), [0, 1, 2], "version {version}");
        let session = full.session_id;
        assert_ne!(session, 0);
        let quiet = client.call(&next(session, 1, vec![]), version);
        assert_eq!((error(&quiet), quiet.session_id), (ErrorCode::None, session));
        // What earlier rounds wrote is there again: its records are told of each time until the client moves on.
        assert_eq!(
            parts(&quiet).len(),
            parts(&full).iter().filter(|p| has_records(p)).count()
        );
        let offset = client.produce("t", 1, value("news")).expect("appends");
        let mut moved = first.topics.clone();
        moved[0].partitions = vec![first.topics[0].partitions[1].clone()];
        moved[0].partitions[0].fetch_offset = offset;
        let news = client.call(&next(session, 2, moved), version);
        assert_eq!(indexes(&news), [1]);
        assert_eq!(records(&news), [(offset, "news".to_owned())]);
        let end = client.call(&next(session, -1, vec![]), version);
        assert_eq!((error(&end), end.session_id), (ErrorCode::None, 0));
        let gone = client.call(&next(session, 3, vec![]), version);
        assert_eq!(error(&gone), ErrorCode::FetchSessionIdNotFound);
    }
}

fn has_records(part: &PartitionData) -> bool {
    part.records.as_deref().is_some_and(|records| !records.is_empty())
}

#[test]
fn a_session_outlives_its_connection_and_refuses_duplicates_and_mixed_names() {
    let (_temp, broker, mut client) = started();
    client.create("t", 2, &[]);
    let mut first = many("t", &[(0, 0), (1, 0)]);
    first.session_epoch = 0;
    let session = client.call(&first, 12).session_id;
    let mut other = Client::connect(broker.address);
    assert_eq!(error(&other.call(&next(session, 1, vec![]), 12)), ErrorCode::None);
    let again = other.call(&next(session, 1, vec![]), 12);
    assert_eq!(error(&again), ErrorCode::InvalidFetchSessionEpoch);
    let by_id = other.call(&next(session, 2, vec![]), 13);
    assert_eq!(error(&by_id), ErrorCode::FetchSessionTopicIdError);
    let mut forget = next(session, 2, vec![]);
    forget.forgotten_topics_data = vec![ForgottenTopic {
        topic: "t".to_owned(),
        partitions: vec![0, 1],
        ..ForgottenTopic::default()
    }];
    assert_eq!(other.call(&forget, 12).session_id, 0, "nothing is left to fetch");
    let gone = other.call(&next(session, 3, vec![]), 12);
    assert_eq!(error(&gone), ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn a_session_waits_for_news_of_partitions_that_its_request_does_not_name() {
    let (_temp, broker, mut client) = started();
    client.create("t", 2, &[]);
    let mut first = many("t", &[(0, 0), (1, 0)]);
    first.session_epoch = 0;
    let session = client.call(&first, 12).session_id;
    let mut poll = next(session, 1, vec![]);
    poll.max_wait_ms = 20_000;
    let waiting = client.send(&poll, 12);
    let mut producer = Client::connect(broker.address);
    producer.produce("t", 1, value("news")).expect("appends");
    let answer = client.receive::<FetchRequest>(waiting, 12);
    assert_eq!(indexes(&answer), [1]);
    assert_eq!(records(&answer), [(0, "news".to_owned())]);
}

#[test]
fn what_does_not_exist_is_told_with_the_rest_and_does_not_end_the_wait() {
    let (_temp, broker, mut client) = started();
    client.create("t", 1, &[]);
    let mut poll = many("t", &[(0, 0), (7, 0)]);
    poll.topics.extend(many("gone", &[(0, 0)]).topics);
    poll.max_wait_ms = 20_000;
    let waiting = client.send(&poll, 12);
    let mut producer = Client::connect(broker.address);
    producer.produce("t", 0, value("news")).expect("appends");
    let answer = client.receive::<FetchRequest>(waiting, 12);
    assert_eq!(records(&answer), [(0, "news".to_owned())]);
    let errors: Vec<i16> = answer
        .responses
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|part| part.error_code))
        .collect();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(errors, [0, unknown, unknown]);
    // Where nothing can come, nothing is waited for.
    let mut only = many("gone", &[(0, 0)]);
    only.max_wait_ms = i32::MAX;
    client.call(&only, 12);
}

#[test]
fn small_answers_serve_every_partition_of_a_session_in_turn() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 4, &[]);
    for partition in 0..4 {
        client.produce("t", partition, value("v")).expect("appends");
    }
    let mut request = many("t", &[(0, 0), (1, 0), (2, 0), (3, 0)]);
    (request.session_epoch, request.max_bytes) = (0, 1);
    let mut served = Vec::new();
    let mut answer = client.call(&request, 12);
    let session = answer.session_id;
    for epoch in 1..=4 {
        served.extend(
            parts(&answer)
                .iter()
                .filter(|part| has_records(part))
                .map(|part| part.partition_index),
        );
        let mut poll = next(session, epoch, vec![]);
        poll.max_bytes = 1;
        answer = client.call(&poll, 12);
    }
    // The first answer was before the session: rotation begins with the second.
    assert_eq!(served, [0, 0, 1, 2]);
    assert_eq!(
        parts(&answer)
            .iter()
            .filter(|part| has_records(part))
            .map(|p| p.partition_index)
            .next(),
        Some(3)
    );
}

#[test]
fn no_more_is_sent_than_asked_for_but_one_batch() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 2, &[]);
    let size = value(&"x".repeat(1000)).len() as i32;
    for partition in [0, 1] {
        for _ in 0..5 {
            client
                .produce("t", partition, value(&"x".repeat(1000)))
                .expect("appends");
        }
    }
    let mut lens = |max_bytes: i32, partition_max_bytes: i32| -> Vec<i32> {
        let mut request = many("t", &[(0, 0), (1, 0)]);
        request.max_bytes = max_bytes;
        for part in &mut request.topics[0].partitions {
            part.partition_max_bytes = partition_max_bytes;
        }
        let answer = client.call(&request, 12);
        let len = |part: &&PartitionData| part.records.as_ref().map_or(0, |records| records.len() as i32);
        parts(&answer).iter().map(len).collect()
    };
    assert_eq!(lens(1 << 20, 1 << 20), [5 * size, 5 * size]);
    assert_eq!(lens(1 << 20, 2 * size + 1), [2 * size, 2 * size]);
    assert_eq!(lens(7 * size, 1 << 20), [5 * size, 2 * size]);
    assert_eq!(lens(1, 1), [size, 0], "the first batch in any case, and only the first");
    assert_eq!(lens(1 << 20, 1), [size, 0]);
}

#[test]
fn a_client_that_asks_for_more_than_may_be_sent_does_not_wait_for_it() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    client.produce("t", 0, value("v")).expect("appends");
    let mut request = fetch("t", 0, 0, 20_000);
    (request.min_bytes, request.max_bytes) = (1000, 1);
    let began = Instant::now();
    assert_eq!(records(&client.call(&request, 12)).len(), 1);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn leader_epochs_are_checked_and_the_leader_is_named() {
    let (_temp, broker, mut client) = started();
    client.create("t", 1, &[]);
    let id = id_of(&mut client, "t");
    let mut with_epoch = |epoch: i32| {
        let mut request = fetch("t", 0, 0, 0);
        request.topics[0].topic_id = id;
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        client.call(&request, 17)
    };
    assert_eq!(only_error(&with_epoch(0)), ErrorCode::None);
    assert_eq!(only_error(&with_epoch(-1)), ErrorCode::None);
    assert_eq!(only_error(&with_epoch(9)), ErrorCode::UnknownLeaderEpoch);
    let fenced = with_epoch(-2);
    assert_eq!(only_error(&fenced), ErrorCode::FencedLeaderEpoch);
    let leader = &parts(&fenced)[0].current_leader;
    assert_eq!((leader.leader_id, leader.leader_epoch), (0, 0));
    let endpoints: Vec<(i32, i32)> = fenced
        .node_endpoints
        .iter()
        .map(|node| (node.node_id, node.port))
        .collect();
    assert_eq!(endpoints, [(0, i32::from(broker.address.port()))]);
}

#[test]
fn a_reader_with_records_of_an_epoch_that_never_was_hears_where_to_truncate() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    client.produce("t", 0, value("v")).expect("appends");
    let mut request = fetch("t", 0, 1, 0);
    request.topics[0].partitions[0].last_fetched_epoch = 0;
    assert_eq!(only_error(&client.call(&request, 12)), ErrorCode::None);
    request.topics[0].partitions[0].fetch_offset = 5;
    let answer = client.call(&request, 12);
    let diverging = &parts(&answer)[0].diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (0, 1));
    assert_eq!(only_error(&answer), ErrorCode::None);
}

#[test]
fn a_fetch_in_the_name_of_a_broker_that_holds_no_replica_is_refused() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    client.produce("t", 0, value("v")).expect("appends");
    let id = id_of(&mut client, "t");
    for version in ApiKey::Fetch.api().accepted.iter() {
        let mut request = fetch("t", 0, 0, 0);
        request.topics[0].topic_id = id;
        request.topics[0].partitions[0].current_leader_epoch = 0;
        if version >= 15 {
            request.replica_state = ReplicaState {
                replica_id: 1,
                replica_epoch: 1,
            };
        } else {
            request.replica_id = 1;
        }
        let answer = client.call(&request, version);
        // Who names an epoch may know a newer assignment than this leader; before version 9 nobody could.
        let expected = if version >= 9 {
            ErrorCode::UnknownLeaderEpoch
        } else {
            ErrorCode::NotLeaderOrFollower
        };
        assert_eq!(only_error(&answer), expected, "version {version}");
        assert!(
            parts(&answer)[0].records.as_ref().is_none_or(bytes::Bytes::is_empty),
            "version {version}"
        );
    }
}

#[test]
fn committed_readers_get_an_empty_list_of_aborted_transactions_and_others_none() {
    let (_temp, _broker, mut client) = started();
    client.create("t", 1, &[]);
    client.produce("t", 0, value("v")).expect("appends");
    for (isolation, expected) in [(0, None), (1, Some(0))] {
        let mut request = fetch("t", 0, 0, 0);
        request.isolation_level = isolation;
        let answer = client.call(&request, 12);
        let part = parts(&answer)[0];
        assert_eq!(part.aborted_transactions.as_ref().map(Vec::len), expected);
        assert_eq!(
            (part.last_stable_offset, part.high_watermark, part.log_start_offset),
            (1, 1, 0)
        );
        assert_eq!(part.preferred_read_replica, -1);
    }
}

/// The value of a series on `/metrics`.
fn metric(port: u16, name: &str) -> f64 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("sets");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        .expect("sends");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("reads");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.expect("has the series").trim().parse().expect("a number")
}

#[test]
fn nothing_of_a_waiting_fetch_stays_when_its_client_leaves() {
    const PARKED: &str = "kafka_server_delayedoperationpurgatory_purgatorysize{delayedoperation=\"Fetch\"}";
    let temp = tempfile::tempdir().expect("temp");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let metrics = format!("127.0.0.1:{port}");
    let broker = Broker::standalone_with(&temp.path().join("data"), &["--metrics", &metrics]);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    let waiting = client.send(&fetch("t", 0, 0, 300_000), 12);
    let _ = waiting;
    let until = Instant::now() + PATIENCE;
    while metric(port, PARKED) < 1.0 {
        assert!(Instant::now() < until, "not parked");
    }
    // Those that leave at once may be gone before their request is parked for the first time.
    for _ in 0..50 {
        let mut other = Client::connect(broker.address);
        other.send(&fetch("t", 0, 0, 300_000), 12);
        drop(other);
    }
    drop(client);
    while metric(port, PARKED) > 0.0 {
        assert!(Instant::now() < until, "somebody is still parked");
    }
    assert!(metric(port, "barnabas_fetch_parked_bytes") < 1.0);
}

#[test]
fn records_that_are_on_the_disk_only_are_sent_like_all_others() {
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    let broker = Broker::standalone(&data);
    let mut client = Client::connect(broker.address);
    client.create("t", 2, &[]);
    let text = |number: usize| format!("{number}:{}", "z".repeat(number * 100));
    for number in 0..200 {
        client.produce("t", 0, value(&text(number))).expect("appends");
    }
    client.produce("t", 1, value("small")).expect("appends");
    let forget = || {
        for partition in ["t-0", "t-1"] {
            let path = data.join(partition).join("00000000000000000000.log");
            let file = std::fs::File::open(path).expect("opens");
            file.sync_all().expect("syncs");
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advises");
        }
    };
    forget();
    let found: Vec<String> = support::read_all(&mut client, "t", 0)
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(found, (0..200).map(text).collect::<Vec<_>>());
    forget();
    assert_eq!(records(&client.fetch("t", 1, 0)), [(0, "small".to_owned())]);
    // A request for cold and warm partitions at once gets both.
    forget();
    client.produce("t", 1, value("warm")).expect("appends");
    let both = client.call(&many("t", &[(0, 199), (1, 1)]), 12);
    assert!(parts(&both).iter().all(|part| has_records(part)));
}
