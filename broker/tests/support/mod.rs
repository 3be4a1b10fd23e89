//! A broker process and a client that speaks to it, for the tests of this folder.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]
#![allow(
    clippy::panic,
    clippy::zombie_processes,
    reason = "a test ends in a panic; `Drop` waits for the process"
)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use protocol::batch::BatchBuilder;
use protocol::header::{RequestHeader, decode_response_header};
use protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use protocol::{ErrorCode, Message, Reader, Request, batch};

pub mod cluster;

/// Nothing here takes longer on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running broker. Killed when it goes out of scope.
pub struct Broker {
    child: Child,
    pub address: SocketAddr,
    lines: mpsc::Receiver<String>,
}

/// How a process ended, and what it said.
pub struct Ended {
    pub status: ExitStatus,
    pub said: String,
}

/// The program of this build, or the one in `BARNABAS_BROKER`: what is measured is worth measuring on a release build, too.
fn command(arguments: &[&str]) -> Command {
    let program = std::env::var_os("BARNABAS_BROKER").unwrap_or_else(|| env!("CARGO_BIN_EXE_broker").into());
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Ended {
    let output = command(arguments).stdout(Stdio::piped()).output().expect("starts");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    Ended {
        status: output.status,
        said,
    }
}

impl Broker {
    /// A standalone broker on a free port.
    pub fn standalone(data_dir: &Path) -> Self {
        Self::standalone_with(data_dir, &[])
    }

    /// The same with further options.
    pub fn standalone_with(data_dir: &Path, options: &[&str]) -> Self {
        let data_dir = data_dir.to_str().expect("a name in UTF-8");
        let mut arguments = vec!["standalone", "--data-dir", data_dir, "--listen", "127.0.0.1:0"];
        if !options.contains(&"--metrics") {
            arguments.extend(["--metrics", "off"]);
        }
        arguments.extend(options);
        Self::start(&arguments)
    }

    /// Starts the program and waits until it serves.
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments).spawn().expect("starts");
        let stderr = child.stderr.take().expect("piped");
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut heard = Vec::new();
        loop {
            let line = lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("not serving: {heard:#?}"));
            if let Some(address) = address_in(&line) {
                return Self { child, address, lines };
            }
            heard.push(line);
        }
    }

    /// Waits for a log line.
    pub fn wait_for_line(&self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no line with {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Memory of the process that is in RAM.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("reads");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("has it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// SIGKILL: no farewell.
    pub fn kill(mut self) {
        self.child.kill().expect("kills");
        self.child.wait().expect("ends");
    }

    /// SIGTERM: returns how long it took.
    pub fn stop(mut self) -> Duration {
        let began = Instant::now();
        signal(self.child.id(), "TERM");
        let status = self.child.wait().expect("ends");
        assert!(status.success(), "{status}");
        began.elapsed()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success());
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("\"listeners\":\"")?;
    let (first, _) = rest.split_once('"')?;
    let (_, address) = first.split(' ').next()?.split_once('=')?;
    address.parse().ok()
}

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("sets");
        stream.set_read_timeout(Some(PATIENCE)).expect("sets");
        Self {
            stream,
            correlation_id: 0,
        }
    }

    /// The same with a broker that may be gone.
    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(Self {
            stream,
            correlation_id: 0,
        })
    }

    /// Sends without waiting.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        self.correlation_id += 1;
        let frame = frame(request, version, self.correlation_id);
        self.stream.write_all(&frame).expect("sends");
        self.correlation_id
    }

    /// Waits for the answer to a request of this kind.
    pub fn receive<R: Request>(&mut self, correlation_id: i32, version: i16) -> R::Response {
        let answer = self.read_frame().expect("an answer");
        let (found, body) = decode_response_header(&answer, R::KEY.api(), version).expect("a header");
        assert_eq!(found, correlation_id);
        let mut reader = Reader::new(&answer[body..]);
        let response = R::Response::decode(&mut reader, version).expect("decodes");
        assert_eq!(reader.remaining(), 0, "{} version {version}: bytes are left", R::KEY);
        response
    }

    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let correlation_id = self.send(request, version);
        self.receive::<R>(correlation_id, version)
    }

    /// The same with a broker that may die meanwhile.
    pub fn try_call<R: Request>(&mut self, request: &R, version: i16) -> Option<R::Response> {
        self.correlation_id += 1;
        let frame = frame(request, version, self.correlation_id);
        self.stream.write_all(&frame).ok()?;
        let answer = self.read_frame()?;
        let (_, body) = decode_response_header(&answer, R::KEY.api(), version).ok()?;
        R::Response::decode(&mut Reader::new(&answer[body..]), version).ok()
    }

    /// A whole frame, or `None` if the broker closed the connection.
    pub fn read_frame(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).ok()?;
        Some(frame)
    }

    /// Waits for the broker to close the connection.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(read) => read == 0,
            // Nothing came: that is no end.
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Waits for the broker to end the connection: whether that was a reset.
    pub fn is_reset(&mut self) -> bool {
        let read = self.stream.read(&mut [0]);
        read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    }

    pub fn create(&mut self, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
        let configs = configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: (*name).to_owned(),
                value: Some((*value).to_owned()),
            })
            .collect();
        let wanted = CreatableTopic {
            name: topic.to_owned(),
            num_partitions: partitions,
            replication_factor: -1,
            configs,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![wanted],
            ..CreateTopicsRequest::default()
        };
        let begun = Instant::now();
        let mut response = self.call(&request, 7);
        // A broker that serves what it has on disk may still be fenced, and can take no new replica.
        while response.topics[0].error_code == ErrorCode::InvalidReplicationFactor.code() && begun.elapsed() < PATIENCE
        {
            thread::park_timeout(Duration::from_millis(10));
            response = self.call(&request, 7);
        }
        assert_eq!(
            response.topics[0].error_code, 0,
            "{:?}",
            response.topics[0].error_message
        );
    }

    /// Appends a batch; returns its base offset or the error.
    pub fn produce(&mut self, topic: &str, partition: i32, batch: Vec<u8>) -> Result<i64, ErrorCode> {
        let response = self.call(&produce(topic, partition, -1, batch), 9);
        produced(&response)
    }

    /// Reads from an offset; does not wait for records.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> FetchResponse {
        self.call(&fetch(topic, partition, offset, 0), 12)
    }
}

pub fn frame<R: Request>(request: &R, version: i16, correlation_id: i32) -> Vec<u8> {
    let header = RequestHeader {
        api_key: R::KEY.code(),
        api_version: version,
        correlation_id,
        client_id: Some("test"),
    };
    let mut frame = vec![0; 4];
    header.encode(&mut frame).expect("encodes");
    request.encode(&mut frame, version).expect("encodes");
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

pub fn produce(topic: &str, partition: i32, acks: i16, batch: Vec<u8>) -> ProduceRequest {
    let part = PartitionProduceData {
        index: partition,
        records: Some(batch.into()),
    };
    let topic = TopicProduceData {
        name: topic.to_owned(),
        partition_data: vec![part],
        ..TopicProduceData::default()
    };
    ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: 5000,
        topic_data: vec![topic],
    }
}

pub fn produced(response: &ProduceResponse) -> Result<i64, ErrorCode> {
    let result = &response.responses[0].partition_responses[0];
    match ErrorCode::from_code(result.error_code).expect("known") {
        ErrorCode::None => Ok(result.base_offset),
        error => Err(error),
    }
}

pub fn fetch(topic: &str, partition: i32, offset: i64, max_wait_ms: i32) -> FetchRequest {
    let part = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: topic.to_owned(),
        partitions: vec![part],
        ..FetchTopic::default()
    };
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

pub fn value(text: &str) -> Vec<u8> {
    BatchBuilder::new().record(1_000, None, Some(text.as_bytes())).build()
}

/// A batch of an idempotent producer.
pub fn numbered(producer: i64, sequence: i32, text: &str) -> Vec<u8> {
    BatchBuilder::new()
        .producer(producer, 0, sequence)
        .record(1_000, None, Some(text.as_bytes()))
        .build()
}

/// Offsets and values of everything in a response with one partition.
pub fn records(response: &FetchResponse) -> Vec<(i64, String)> {
    let part = &response.responses[0].partitions[0];
    assert_eq!(part.error_code, 0);
    let mut found = Vec::new();
    for found_batch in batch::batches(part.records.as_deref().unwrap_or_default()) {
        let (header, bytes) = found_batch.expect("whole batches");
        for record in batch::records(bytes).expect("uncompressed") {
            let record = record.expect("whole records");
            let text = String::from_utf8(record.value.unwrap_or_default().to_vec()).expect("text");
            found.push((header.base_offset + i64::from(record.offset_delta), text));
        }
    }
    found
}

/// Everything in a partition.
pub fn read_all(client: &mut Client, topic: &str, partition: i32) -> Vec<(i64, String)> {
    let mut all: Vec<(i64, String)> = Vec::new();
    loop {
        let next = all.last().map_or(0, |(offset, _)| offset + 1);
        let found = records(&client.fetch(topic, partition, next));
        if found.is_empty() {
            return all;
        }
        all.extend(found.into_iter().filter(|(offset, _)| *offset >= next));
    }
}
