//! Pre-encoded Produce v7 frames over many connections, `depth` of them in flight on each.
//!
//! One thread drives all connections. Each wake-up reads every answer that has come and sends as many frames in one
//! write, so that the generator's own cost stays small beside the broker's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Args;
use protocol::batch::BatchBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{self, Client};
use crate::readback;

const PRODUCE: i16 = 0;
/// The newest Produce that names topics in the old, fixed-width form: the bytes before and after the records are constant.
const VERSION: i16 = 7;

/// A load, from the command line.
#[derive(Args)]
pub(crate) struct Options {
    /// Broker to load, HOST:PORT
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// Topic to create and fill
    #[arg(long)]
    topic: String,
    /// Records in a batch
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Connections
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Partitions, spread over the connections; as many as connections if not given
    #[arg(long)]
    partitions: Option<usize>,
    /// Requests in flight on a connection
    #[arg(long, default_value_t = 5)]
    depth: usize,
    /// How long to load, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

impl Options {
    /// Creates the topic and describes the load.
    pub(crate) fn load(&self) -> Result<Load> {
        let load = Load {
            bootstrap: self.bootstrap.clone(),
            topic: self.topic.clone(),
            batch: self.batch,
            connections: self.connections,
            partitions: self.partitions.unwrap_or(self.connections),
            depth: self.depth,
            duration: Duration::from_secs(self.seconds),
            max_bytes: u64::MAX,
            replicas: Vec::new(),
        };
        let mut client = Client::connect(&load.bootstrap)?;
        readback::create_led_topic(&mut client, &load.topic, load.partitions(), &load.replicas)?;
        Ok(load)
    }
}

/// What to send: batches of `batch` records of 200 bytes, each connection to its partitions in turn, until time or bytes are
/// used up.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) bootstrap: String,
    pub(crate) topic: String,
    pub(crate) batch: usize,
    pub(crate) connections: usize,
    pub(crate) partitions: usize,
    pub(crate) depth: usize,
    pub(crate) duration: Duration,
    pub(crate) max_bytes: u64,
    /// On which brokers every partition is, the leader first. With several, acks=all; none: one of the server's choice,
    /// and acks=1.
    pub(crate) replicas: Vec<i32>,
}

impl Load {
    pub(crate) fn partitions(&self) -> i32 {
        self.partitions as i32
    }

    /// The partitions of one of the connections: every so manieth, or one that it shares with others.
    fn partitions_of(&self, connection: usize) -> Vec<i32> {
        let first = connection % self.partitions;
        (first..self.partitions)
            .step_by(self.connections)
            .map(|partition| partition as i32)
            .collect()
    }
}

/// What was acknowledged, and in which time.
pub(crate) struct Outcome {
    pub(crate) records: u64,
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
}

impl Outcome {
    /// Acknowledged records a second.
    pub(crate) fn rate(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64()
    }
}

/// Runs a load to its end.
pub(crate) fn run(load: &Load) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let started = Instant::now();
        let mut connections = tokio::task::JoinSet::new();
        for number in 0..load.connections {
            connections.spawn(connection(load.clone(), number, started));
        }
        let mut requests = 0;
        while let Some(done) = connections.join_next().await {
            requests += done??;
        }
        Ok(Outcome {
            records: requests * load.batch as u64,
            requests,
            elapsed: started.elapsed(),
        })
    })
}

/// Drives one connection; returns the number of acknowledged requests.
async fn connection(load: Load, number: usize, started: Instant) -> Result<u64> {
    let mut stream = TcpStream::connect(&load.bootstrap).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let mut frames = Vec::new();
    for partition in load.partitions_of(number) {
        frames.push(produce_frame(&load, partition)?);
    }
    let (turns, size) = (frames.len(), frames.first().map_or(1, Vec::len));
    // One turn over all partitions and as many frames again as leave at once: any window lies in one piece.
    let ring: Vec<u8> = frames
        .iter()
        .cycle()
        .take(turns + load.depth)
        .flatten()
        .copied()
        .collect();
    let window = |from: u64, count: usize| {
        let start = (from % turns as u64) as usize * size;
        &ring[start..start + count * size]
    };
    let budget = load.max_bytes / load.connections as u64 / size as u64;
    let mut answers = Answers::new(load.topic.len());
    let (mut sent, mut acknowledged) = (load.depth as u64, 0);
    stream.write_all(window(0, load.depth)).await?;
    loop {
        let answered = answers.read(&mut stream).await?;
        acknowledged += answered as u64;
        if started.elapsed() < load.duration && sent < budget {
            stream.write_all(window(sent, answered)).await?;
            sent += answered as u64;
        } else if acknowledged == sent {
            return Ok(acknowledged);
        }
    }
}

/// A Produce v7 frame with one batch for one partition. Its correlation id stays the same: answers come in order.
pub(crate) fn produce_frame(load: &Load, partition: i32) -> Result<Vec<u8>> {
    let mut records = BatchBuilder::new();
    // A record of 1970 would be past its retention at once.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    for index in 0..load.batch {
        records.push(now, None, Some(&payload(index)), &[]);
    }
    let records = records.build();
    let mut body = Vec::new();
    body.extend_from_slice(&(-1_i16).to_be_bytes()); // no transactional id
    let acks: i16 = if load.replicas.len() > 1 { -1 } else { 1 };
    body.extend_from_slice(&acks.to_be_bytes());
    body.extend_from_slice(&30_000_i32.to_be_bytes()); // timeout
    body.extend_from_slice(&1_i32.to_be_bytes()); // one topic
    body.extend_from_slice(&i16::try_from(load.topic.len())?.to_be_bytes());
    body.extend_from_slice(load.topic.as_bytes());
    body.extend_from_slice(&1_i32.to_be_bytes()); // one partition
    body.extend_from_slice(&partition.to_be_bytes());
    body.extend_from_slice(&i32::try_from(records.len())?.to_be_bytes());
    body.extend_from_slice(&records);
    Ok(client::frame(PRODUCE, VERSION, 1, &body))
}

/// 200 bytes that a compressor could not make much of, the same for every run.
fn payload(seed: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed as u64 + 1);
    (0..200)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}

/// Where a Produce v7 answer for one partition holds its error code, counted from its length prefix.
pub(crate) fn error_code_at(topic_length: usize) -> usize {
    // length 4, correlation id 4, topics 4, name 2 + n, partitions 4, index 4
    4 + 4 + 4 + 2 + topic_length + 4 + 4
}

/// How many whole answers there are at the beginning of `bytes`, and how long they are; an error if one carries an error.
pub(crate) fn count_answers(bytes: &[u8], error_code_at: usize) -> Result<(usize, usize)> {
    let (mut at, mut answers) = (0, 0);
    while let Some(prefix) = bytes[at..].first_chunk::<4>() {
        let end = at + 4 + i32::from_be_bytes(*prefix) as usize;
        if end > bytes.len() {
            break;
        }
        let code = &bytes[at + error_code_at..][..2];
        ensure!(
            code == [0, 0],
            "the broker answered error {}",
            i16::from_be_bytes([code[0], code[1]])
        );
        at = end;
        answers += 1;
    }
    Ok((at, answers))
}

/// Counts whole Produce answers in a stream and refuses one that carries an error.
struct Answers {
    buffer: Vec<u8>,
    filled: usize,
    error_code_at: usize,
}

impl Answers {
    fn new(topic_length: usize) -> Self {
        Self {
            buffer: vec![0; 64 * 1024],
            filled: 0,
            error_code_at: error_code_at(topic_length),
        }
    }

    /// Waits for bytes; returns how many answers they completed.
    async fn read(&mut self, stream: &mut TcpStream) -> Result<usize> {
        loop {
            let read = stream.read(&mut self.buffer[self.filled..]).await?;
            ensure!(read > 0, "the broker closed the connection");
            self.filled += read;
            let (at, answers) = count_answers(&self.buffer[..self.filled], self.error_code_at)?;
            self.buffer.copy_within(at..self.filled, 0);
            self.filled -= at;
            if answers > 0 {
                return Ok(answers);
            }
        }
    }
}
