//! What one broker stands from clients that are many, slow or hostile, while others work.
//!
//! Memory is that of the broker's process, so these tests start one each. They take turns: each measures.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use protocol::batch::{BatchBuilder, Compression};
use protocol::compression::Level;
use protocol::messages::api_versions::ApiVersionsRequest;
use protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use support::{Broker, Client, PATIENCE, fetch, frame, produce, produced, value};

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn started() -> (tempfile::TempDir, Broker, Client) {
    let temp = tempfile::tempdir().expect("temp");
    let broker = Broker::standalone(&temp.path().join("data"));
    let client = Client::connect(broker.address);
    (temp, broker, client)
}

/// The question that costs least.
fn hello() -> Vec<u8> {
    frame(&ApiVersionsRequest::default(), 0, 1)
}

#[test]
fn an_idle_connection_costs_at_most_8_kib_of_ten_thousand() {
    let _turn = turn();
    let limit = broker_network::raise_descriptor_limit();
    // Each is a descriptor here and one in the broker, which keeps some for its logs.
    let connections = usize::try_from(limit.saturating_sub(5000))
        .unwrap_or(10_000)
        .min(10_000);
    let (_temp, broker, _witness) = started();
    let hello = hello();
    let idle = |count: usize| -> Vec<TcpStream> {
        let ask = |_| {
            let mut stream = TcpStream::connect(broker.address).expect("connects");
            stream.write_all(&hello).expect("sends");
            let mut length = [0; 4];
            stream.read_exact(&mut length).expect("an answer");
            let mut answer = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut answer).expect("an answer");
            stream
        };
        (0..count).map(ask).collect()
    };
    let _warm = idle(100);
    let before = broker.resident_kib();
    let began = Instant::now();
    let all = idle(connections);
    let took = began.elapsed();
    let each = (broker.resident_kib().saturating_sub(before) << 10) / connections as u64;
    println!("{each} bytes for each of {connections} idle connections, made in {took:?}");
    assert!(each <= 8 << 10, "{each} bytes for each idle connection");
    drop(all);
    // And the broker is there for the next.
    Client::connect(broker.address).create("t", 1, &[]);
}

/// What other clients do until they are told to stop.
struct Storm {
    stop: Arc<AtomicBool>,
    /// Of each, how often it did what it is for.
    done: Vec<Arc<AtomicU64>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Storm {
    fn new() -> Self {
        Self {
            stop: Arc::new(AtomicBool::new(false)),
            done: Vec::new(),
            threads: Vec::new(),
        }
    }

    /// Does `deed` again and again; true is what it is for.
    fn with(mut self, mut deed: impl FnMut() -> bool + Send + 'static) -> Self {
        let stop = Arc::clone(&self.stop);
        let done = Arc::new(AtomicU64::new(0));
        self.done.push(Arc::clone(&done));
        self.threads.push(thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                done.fetch_add(u64::from(deed()), Ordering::Relaxed);
            }
        }));
        self
    }

    /// Until each has done what it is for.
    fn wait_until_it_rages(&self) {
        let begun = Instant::now();
        while self.done.iter().any(|done| done.load(Ordering::Relaxed) == 0) {
            assert!(begun.elapsed() < PATIENCE, "the storm does not begin");
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("hostile clients end well");
        }
    }
}

/// What one client sees that sends a small produce every two milliseconds, as other clients come and go. Its load is the same
/// whoever else is there, and low enough to leave both cores their rest: what it then waits for is the broker.
struct Witness<'a> {
    client: &'a mut Client,
}

/// One round: the median alone, beside others, and alone again.
#[derive(Debug, Clone, Copy)]
struct Round {
    before: Duration,
    beside: Duration,
    after: Duration,
}

impl Witness<'_> {
    /// Each round starts the others anew, and waits until they do what they do.
    fn rounds(&mut self, mut others: impl FnMut() -> Storm) -> Vec<Round> {
        // Many and short: what else the machine does takes a second or more, and so moves all of a round or nothing of it.
        const ROUNDS: usize = 21;
        let round = |_| {
            let before = self.median();
            let storm = others();
            storm.wait_until_it_rages();
            let beside = self.median();
            storm.end();
            let after = self.median();
            Round { before, beside, after }
        };
        (0..ROUNDS).map(round).collect()
    }

    fn median(&mut self) -> Duration {
        const EVERY: Duration = Duration::from_millis(2);
        const COUNT: u32 = 50;
        let begun = Instant::now();
        let mut times: Vec<Duration> = (0..COUNT)
            .map(|number| {
                let due = begun + EVERY * number;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let sent = Instant::now();
                self.client.produce("t", 0, value("witness")).expect("appends");
                sent.elapsed()
            })
            .collect();
        middle(&mut times)
    }
}

impl Round {
    /// How many times as long the median was beside the others.
    fn moved(self) -> f64 {
        2.0 * self.beside.as_secs_f64() / (self.before + self.after).as_secs_f64()
    }

    /// How far two medians alone were apart, which is what the machine does by itself.
    fn unrest(self) -> f64 {
        self.before.max(self.after).as_secs_f64() / self.before.min(self.after).as_secs_f64()
    }
}

fn middle<T: Copy + PartialOrd>(values: &mut [T]) -> T {
    values.sort_unstable_by(|a, b| a.partial_cmp(b).expect("is a number"));
    values[values.len() / 2]
}

/// Beside hostile clients and beside greedy ones: the measure itself is measured.
struct Measurement {
    beside_hostile: f64,
    beside_greedy: f64,
    unrest: f64,
    grown_kib: u64,
}

impl Measurement {
    fn take(broker: &Broker, client: &mut Client) -> Self {
        let mut witness = Witness { client };
        witness.median();
        let held = broker.resident_kib();
        let hostile = witness.rounds(|| hostile(broker.address));
        let grown_kib = broker.resident_kib().saturating_sub(held);
        let greedy = witness.rounds(|| greedy(broker.address));
        println!("beside hostile clients {hostile:?}");
        let middle_of = |rounds: &[Round], figure: fn(Round) -> f64| {
            middle(&mut rounds.iter().map(|round| figure(*round)).collect::<Vec<_>>())
        };
        let measurement = Self {
            beside_hostile: middle_of(&hostile, Round::moved),
            beside_greedy: middle_of(&greedy, Round::moved),
            unrest: middle_of(&hostile, Round::unrest),
            grown_kib,
        };
        println!("{measurement}");
        measurement
    }

    fn is_unmoved(&self) -> bool {
        self.beside_hostile <= UNMOVED * self.unrest.min(MOST_UNREST)
    }

    /// Whether clients that take all cores do move the median.
    fn notices(&self) -> bool {
        self.beside_greedy > UNMOVED * MOST_UNREST
    }
}

impl std::fmt::Display for Measurement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            beside_hostile,
            beside_greedy,
            unrest,
            grown_kib,
        } = self;
        write!(
            f,
            "{beside_hostile:.2} times the median beside hostile clients, {unrest:.2} by itself, {beside_greedy:.2} beside greedy ones; {grown_kib} KiB more held"
        )
    }
}

/// More than this, and the machine's own unrest on top, is a median that was moved.
const UNMOVED: f64 = 1.25;

/// Unrest that is believed: a machine that is more restless than this must not excuse the broker.
const MOST_UNREST: f64 = 1.5;

/// A machine that others use too can spoil one measurement. A broker whose hostile clients do move the median fails them all.
const MEASUREMENTS: usize = 3;

/// Asks for megabytes for ever and takes none of them; drips a byte a second; connects and sends garbage.
fn hostile(address: SocketAddr) -> Storm {
    let question = frame(&fetch("large", 0, 0, 0), 12, 1);
    let mut deaf = Client::connect(address);
    deaf.stream
        .set_write_timeout(Some(Duration::from_millis(100)))
        .expect("sets");
    let mut drip = Client::connect(address);
    let mut dripped = question.clone().into_iter().cycle();
    let mut noise = 1_u64;
    Storm::new()
        // It rages once nobody takes its questions any more.
        .with(move || deaf.stream.write_all(&question).is_err())
        .with(move || {
            let sent = drip.stream.write_all(&[dripped.next().unwrap_or_default()]);
            thread::park_timeout(Duration::from_millis(100));
            sent.is_ok()
        })
        .with(move || {
            let mut garbage = Client::connect(address);
            let bytes: Vec<u8> = (0..512).map(|_| random(&mut noise)).collect();
            let _ = garbage.stream.write_all(&bytes);
            let _ = garbage.stream.shutdown(Shutdown::Write);
            let closed = garbage.is_closed();
            thread::park_timeout(Duration::from_millis(10));
            closed
        })
}

/// Clients that do nothing wrong but want all there is.
fn greedy(address: SocketAddr) -> Storm {
    // Enough to want every core there is several times over.
    let clients = 6 * thread::available_parallelism().map_or(2, usize::from);
    (0..clients).fold(Storm::new(), |storm, _| {
        let mut client = Client::connect(address);
        storm.with(move || client.produce("busy", 0, value("more")).is_ok())
    })
}

#[test]
fn clients_that_never_read_drip_or_send_garbage_do_not_move_the_median_of_another() {
    let _turn = turn();
    let (_temp, broker, mut client) = started();
    client.create("t", 1, &[]);
    client.create("large", 1, &[]);
    client.create("busy", 1, &[]);
    let large = BatchBuilder::new().record(1, None, Some(&vec![7; 900_000])).build();
    for _ in 0..3 {
        client.produce("large", 0, large.clone()).expect("appends");
    }
    let mut spoilt = Vec::new();
    for _ in 0..MEASUREMENTS {
        let measurement = Measurement::take(&broker, &mut client);
        assert!(measurement.grown_kib < 16 << 10, "{measurement}");
        if measurement.is_unmoved() && measurement.notices() {
            return;
        }
        spoilt.push(measurement.to_string());
    }
    panic!("{spoilt:#?}");
}

fn random(state: &mut u64) -> u8 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 56) as u8
}

#[test]
fn a_storm_of_connections_disturbs_no_connection_that_is_there() {
    const CONNECTIONS: u64 = 4000;
    let _turn = turn();
    let (_temp, broker, mut witness) = started();
    witness.create("t", 1, &[]);
    let before = broker.resident_kib();
    let made = Arc::new(AtomicU64::new(0));
    let address = broker.address;
    let began = Instant::now();
    let mut storm = Storm::new();
    for thread in 0..4_u8 {
        let (made, hello) = (Arc::clone(&made), hello());
        storm = storm.with(move || {
            // Some say nothing, some ask and leave, some wait for the answer.
            if made.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                thread::park_timeout(Duration::from_millis(1));
                return true;
            }
            let mut client = Client::connect(address);
            if thread > 0 {
                let _ = client.stream.write_all(&hello);
            }
            if thread > 1 {
                client.read_frame().expect("an answer");
            }
            true
        });
    }
    let mut produced = 0;
    while made.load(Ordering::Relaxed) < CONNECTIONS {
        witness.produce("t", 0, value("witness")).expect("appends");
        produced += 1;
    }
    let rate = CONNECTIONS as f64 / began.elapsed().as_secs_f64();
    storm.end();
    let grown = broker.resident_kib().saturating_sub(before);
    println!("{rate:.0} connections a second, {produced} appends meanwhile, {grown} KiB more held");
    assert!(grown < 16 << 10, "{grown} KiB more");
    assert_eq!(witness.produce("t", 0, value("after")), Ok(produced));
}

#[test]
fn ten_thousand_pipelined_requests_are_answered_in_order_when_they_are_read_at_last() {
    const REQUESTS: usize = 10_000;
    let _turn = turn();
    let (_temp, broker, mut witness) = started();
    witness.create("t", 1, &[]);
    let before = broker.resident_kib();
    let mut client = Client::connect(broker.address);
    let mut writer = client.stream.try_clone().expect("clones");
    // Nothing is read until nothing more can be sent, as the broker takes no more than it may hold.
    let sender = thread::spawn(move || {
        for number in 0..REQUESTS {
            let request = produce("t", 0, 1, value(&number.to_string()));
            writer.write_all(&frame(&request, 9, number as i32)).expect("sends");
        }
    });
    let mut grown = 0;
    for number in 0..REQUESTS as i32 {
        if number.rem_euclid(1000) == 0 {
            grown = grown.max(broker.resident_kib().saturating_sub(before));
        }
        let response = client.receive::<ProduceRequest>(number, 9);
        assert_eq!(produced(&response), Ok(i64::from(number)));
    }
    sender.join().expect("ends well");
    println!("{grown} KiB more held");
    assert!(grown < 16 << 10, "{grown} KiB more");
}

#[test]
fn a_request_for_ever_so_many_tiny_partitions_costs_what_it_is_long() {
    const PARTITIONS: usize = 30_000;
    let _turn = turn();
    let (_temp, broker, mut witness) = started();
    witness.create("t", 1, &[]);
    let before = broker.resident_kib();
    let tiny = |index: usize| PartitionProduceData {
        index: index as i32,
        records: Some(value("tiny").into()),
    };
    let request = ProduceRequest {
        transactional_id: None,
        acks: 1,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: "t".to_owned(),
            partition_data: (0..PARTITIONS).map(tiny).collect(),
            ..TopicProduceData::default()
        }],
    };
    let sent = frame(&request, 9, 1).len();
    let response = witness.call(&request, 9);
    let answers = &response.responses[0].partition_responses;
    assert_eq!(answers.len(), PARTITIONS);
    assert_eq!((answers[0].error_code, answers[0].base_offset), (0, 0));
    assert!(answers[1..].iter().all(|answer| answer.error_code == 3));
    let grown = broker.resident_kib().saturating_sub(before);
    println!("{grown} KiB more held after {} KiB", sent >> 10);
    assert!(grown < 32 << 10, "{grown} KiB more held after {} KiB", sent >> 10);
    assert_eq!(witness.produce("t", 0, value("after")), Ok(1));
}

#[test]
fn decompression_bombs_cost_no_more_than_their_senders_sent() {
    let _turn = turn();
    let (_temp, broker, mut witness) = started();
    witness.create("t", 1, &[]);
    let before = broker.resident_kib();
    let mut largest = 0;
    for compression in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let whole = vec![0; 10 << 20];
        let one_record = BatchBuilder::new().record(1, None, Some(&whole));
        let mut many_records = BatchBuilder::new();
        for _ in 0..200_000 {
            many_records.push(1, None, None, &[]);
        }
        for bomb in [one_record, many_records] {
            let bomb = bomb.compress(compression, Level::Default).expect("compresses").build();
            largest = largest.max(bomb.len());
            // Accepted or refused: it is a batch like another, but nobody must hold what is in it.
            let clients: Vec<_> = (0..4)
                .map(|_| {
                    let (bomb, address) = (bomb.clone(), broker.address);
                    thread::spawn(move || {
                        let mut client = Client::connect(address);
                        let _ = client.produce("t", 0, bomb);
                        // Searching by time looks into batches.
                        client.call(&offset_at("t", 2), 7);
                        client.call(&offset_at("t", 1), 7);
                    })
                })
                .collect();
            for client in clients {
                client.join().expect("ends well");
            }
        }
    }
    let grown = broker.resident_kib().saturating_sub(before);
    println!("{grown} KiB more held after bombs of up to {} KiB", largest >> 10);
    assert!(grown < 48 << 10, "{grown} KiB more");
    witness.produce("t", 0, value("after")).expect("appends");
}

fn offset_at(topic: &str, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition {
        partition_index: 0,
        current_leader_epoch: -1,
        timestamp,
    };
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.to_owned(),
            partitions: vec![partition],
        }],
        ..ListOffsetsRequest::default()
    }
}

#[test]
fn how_long_a_connection_may_ask_nothing_is_a_setting_that_counts_from_the_next_start() {
    let _turn = turn();
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    drop(Broker::standalone(&data));
    // The image on disk still says otherwise when the network starts.
    let broker = Broker::standalone_with(&data, &["--config", "connections.max.idle.ms=1000"]);
    let mut busy = Client::connect(broker.address);
    busy.create("t", 1, &[]);
    let mut idle = Client::connect(broker.address);
    idle.stream.write_all(&hello()).expect("sends");
    idle.read_frame().expect("an answer");
    idle.stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("sets");
    let begun = Instant::now();
    let mut produced = 0;
    while !idle.is_closed() {
        assert_eq!(busy.produce("t", 0, value("not idle")), Ok(produced));
        produced += 1;
        assert!(begun.elapsed() < PATIENCE, "an idle connection is still open");
    }
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[test]
fn a_connection_that_says_nothing_is_closed_and_a_client_that_half_closed_is_forgotten() {
    let _turn = turn();
    let (_temp, broker, mut witness) = started();
    witness.create("t", 1, &[]);
    let mut half_closed = Client::connect(broker.address);
    half_closed.stream.write_all(&hello()).expect("sends");
    half_closed.stream.shutdown(Shutdown::Write).expect("half-closes");
    half_closed.read_frame().expect("what was asked is answered");
    assert!(half_closed.is_closed());
    // The first request is due within ten seconds.
    let mut silent = Client::connect(broker.address);
    silent.stream.set_read_timeout(Some(PATIENCE)).expect("sets");
    assert!(silent.is_closed());
    assert_eq!(witness.produce("t", 0, value("after")), Ok(0));
}
