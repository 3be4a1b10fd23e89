//! `/metrics` of a broker that was used, against what docs/metrics.md says of it.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use protocol::ErrorCode;
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use support::{Broker, Client, PATIENCE, value};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
const BEGIN: &str = "<!-- broker: begin -->\n";
const END: &str = "<!-- broker: end -->\n";

/// A broker with its metrics on a port of their own.
fn started() -> (tempfile::TempDir, Broker, SocketAddr) {
    let temp = tempfile::tempdir().expect("temp");
    let free = TcpListener::bind("127.0.0.1:0").expect("binds");
    let metrics = free.local_addr().expect("has one");
    drop(free);
    let broker = Broker::standalone_with(&temp.path().join("data"), &["--metrics", &metrics.to_string()]);
    (temp, broker, metrics)
}

fn scrape(metrics: SocketAddr) -> String {
    let mut stream = TcpStream::connect(metrics).expect("connects");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

fn commit(client: &mut Client, topic: &str) {
    let request = OffsetCommitRequest {
        group_id: "readers".to_owned(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            topic_id: uuid::Uuid::nil(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: 1,
                ..OffsetCommitRequestPartition::default()
            }],
        }],
        ..OffsetCommitRequest::default()
    };
    let until = Instant::now() + PATIENCE;
    loop {
        client.call(
            &FindCoordinatorRequest {
                key: "readers".to_owned(),
                ..FindCoordinatorRequest::default()
            },
            3,
        );
        let response = client.call(&request, 7);
        if response.topics[0].partitions[0].error_code == 0 {
            return;
        }
        assert!(Instant::now() < until, "{response:?}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn what_a_broker_shows_is_what_the_document_says() {
    let (_temp, broker, metrics) = started();
    let mut client = Client::connect(broker.address);
    client.create("mail", 2, &[]);
    for number in 0..3 {
        client.produce("mail", 0, value(&number.to_string())).expect("appends");
    }
    assert_eq!(
        client.produce("absent", 0, value("lost")),
        Err(ErrorCode::UnknownTopicOrPartition)
    );
    client.fetch("mail", 0, 0);
    commit(&mut client, "mail");
    let text = scrape(metrics);
    for line in [
        "kafka_server_brokertopicmetrics_messagesin_total{topic=\"mail\"} 3",
        "kafka_log_log_logendoffset{partition=\"0\",topic=\"mail\"} 3",
        "kafka_topic_partition_current_offset{partition=\"0\",topic=\"mail\"} 3",
        "kafka_topic_partition_under_replicated_partition{partition=\"1\",topic=\"mail\"} 0",
        "kafka_topic_partitions{topic=\"mail\"} 2",
        "kafka_server_replicamanager_underreplicatedpartitions 0",
        "kafka_network_requestmetrics_requests_total{request=\"Fetch\",version=\"12\"} 1",
        "kafka_network_requestmetrics_errors_total{error=\"UNKNOWN_TOPIC_OR_PARTITION\",request=\"Produce\"} 1",
        "barnabas_request_duration_seconds_count{phase=\"local\",request=\"Produce\"} 4",
        "kafka_server_socket_server_metrics_connection_count{listener=\"PLAINTEXT\"} 1",
    ] {
        assert!(
            text.lines().any(|found| sorted(found) == sorted(line)),
            "{line} is missing in\n{text}"
        );
    }
    let table = table(&text);
    let document = std::fs::read_to_string(DOCUMENT).expect("docs/metrics.md");
    let (before, rest) = document.split_once(BEGIN).expect("the section begins");
    let (said, after) = rest.split_once(END).expect("the section ends");
    if std::env::var_os("BARNABAS_BLESS").is_some() {
        std::fs::write(DOCUMENT, format!("{before}{BEGIN}{table}{END}{after}")).expect("writes");
    } else {
        assert_eq!(
            said, table,
            "BARNABAS_BLESS=1 cargo test -p broker --test metrics rewrites docs/metrics.md"
        );
    }
}

/// A line with its labels in order, whatever order the encoder has.
fn sorted(line: &str) -> String {
    let Some((name, (labels, value))) = line
        .split_once('{')
        .and_then(|(name, rest)| Some((name, rest.rsplit_once('}')?)))
    else {
        return line.to_owned();
    };
    let mut labels: Vec<&str> = labels.split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}{value}", labels.join(","))
}

/// The families of a scrape as a table: name, kind, labels, meaning.
fn table(text: &str) -> String {
    let mut families: BTreeMap<&str, (&str, &str, Vec<&str>)> = BTreeMap::new();
    let mut help = "";
    let mut name = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (found, kind) = rest.split_once(' ').expect("a kind");
            name = found;
            families.insert(name, (kind, help, Vec::new()));
        } else if let Some((_, rest)) = line.split_once('{') {
            let (_, _, labels) = families.get_mut(name).expect("its kind came first");
            for (label, _) in rest.split(',').filter_map(|label| label.split_once("=\"")) {
                if label != "le" && !labels.contains(&label) {
                    labels.push(label);
                }
            }
        }
    }
    let mut table = "| name | kind | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for (name, (kind, help, mut labels)) in families {
        labels.sort_unstable();
        let _ = writeln!(table, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
    table
}
