//! `broker check`: writes a record through a running cluster, reads it back and compares. For `helm test` and people.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use protocol::ErrorCode;
use protocol::batch::BatchBuilder;
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};

use crate::args::CheckArgs;
use crate::clock::now_ms;

mod client;

use client::Client;

/// Versions that name topics by name, so that the check reads like one.
const PRODUCE: i16 = 9;
const FETCH: i16 = 12;
const METADATA: i16 = 9;
const CREATE_TOPICS: i16 = 5;

/// How long to wait before asking again.
const AGAIN: Duration = Duration::from_millis(200);

/// Runs the check; returns a sentence for people.
pub fn run(args: &CheckArgs) -> anyhow::Result<String> {
    let until = Instant::now() + Duration::from_secs(args.timeout);
    loop {
        match attempt(args, until) {
            Ok(summary) => return Ok(summary),
            Err(error) if Instant::now() + AGAIN < until => {
                eprintln!("not yet: {error:#}");
                std::thread::sleep(AGAIN);
            }
            Err(error) => return Err(error.context(format!("no record went through within {} s", args.timeout))),
        }
    }
}

fn attempt(args: &CheckArgs, until: Instant) -> anyhow::Result<String> {
    let mut any = Client::connect(&args.bootstrap, until)?;
    let metadata = leader_of(&mut any, &args.topic)?;
    let leader = format!("{}:{}", metadata.0, metadata.1);
    let mut client = Client::connect(&leader, until).with_context(|| format!("the leader of {}", args.topic))?;

    let value = format!("barnabas check at {} ms, process {}", now_ms(), std::process::id());
    let began = Instant::now();
    let offset = produce(&mut client, &args.topic, value.as_bytes())?;
    let written = began.elapsed();
    let began = Instant::now();
    let found = fetch(&mut client, &args.topic, offset)?;
    ensure!(
        found == value.as_bytes(),
        "offset {offset} of {} holds another value than was written",
        args.topic
    );
    Ok(format!(
        "ok: {} offset {offset} written in {:.1} ms and read back in {:.1} ms through {leader}",
        args.topic,
        written.as_secs_f64() * 1000.0,
        began.elapsed().as_secs_f64() * 1000.0,
    ))
}

/// Host and port of the leader of the topic's first partition; makes the topic if it is not there.
fn leader_of(client: &mut Client, topic: &str) -> anyhow::Result<(String, i32)> {
    let mut metadata = describe(client, topic)?;
    if metadata
        .topics
        .iter()
        .any(|topic| topic.error_code == ErrorCode::UnknownTopicOrPartition.code())
    {
        create(client, topic)?;
        metadata = describe(client, topic)?;
    }
    let described = metadata
        .topics
        .first()
        .context("the broker says nothing about the topic")?;
    check(described.error_code, "metadata")?;
    let partition = described.partitions.first().context("the topic has no partition")?;
    check(partition.error_code, "the first partition")?;
    let leader = metadata
        .brokers
        .iter()
        .find(|broker| broker.node_id == partition.leader_id);
    let leader = leader.context("the leader is not among the brokers")?;
    Ok((leader.host.clone(), leader.port))
}

fn describe(client: &mut Client, topic: &str) -> anyhow::Result<MetadataResponse> {
    let topics = vec![MetadataRequestTopic {
        name: Some(topic.to_owned()),
        ..MetadataRequestTopic::default()
    }];
    let request = MetadataRequest {
        topics: Some(topics),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    client.call(&request, METADATA)
}

fn create(client: &mut Client, topic: &str) -> anyhow::Result<()> {
    let wanted = CreatableTopic {
        name: topic.to_owned(),
        num_partitions: 1,
        replication_factor: -1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![wanted],
        timeout_ms: 10_000,
        ..CreateTopicsRequest::default()
    };
    let response = client.call(&request, CREATE_TOPICS)?;
    let result = response.topics.first().context("the creation has no result")?;
    if result.error_code == ErrorCode::TopicAlreadyExists.code() {
        return Ok(());
    }
    check(
        result.error_code,
        result.error_message.as_deref().unwrap_or("create topic"),
    )
}

fn produce(client: &mut Client, topic: &str, value: &[u8]) -> anyhow::Result<i64> {
    let batch = BatchBuilder::new().record(now_ms(), None, Some(value));
    let partition = PartitionProduceData {
        index: 0,
        records: Some(batch.build().into()),
    };
    let topic_data = vec![TopicProduceData {
        name: topic.to_owned(),
        partition_data: vec![partition],
        ..TopicProduceData::default()
    }];
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 10_000,
        topic_data,
    };
    let response = client.call(&request, PRODUCE)?;
    let result = response
        .responses
        .first()
        .and_then(|topic| topic.partition_responses.first());
    let result = result.context("the write has no result")?;
    check(result.error_code, result.error_message.as_deref().unwrap_or("produce"))?;
    Ok(result.base_offset)
}

fn fetch(client: &mut Client, topic: &str, offset: i64) -> anyhow::Result<Vec<u8>> {
    let partition = FetchPartition {
        partition: 0,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topics = vec![FetchTopic {
        topic: topic.to_owned(),
        partitions: vec![partition],
        ..FetchTopic::default()
    }];
    let request = FetchRequest {
        max_wait_ms: 5_000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics,
        ..FetchRequest::default()
    };
    let response = client.call(&request, FETCH)?;
    check(response.error_code, "fetch")?;
    let result = response.responses.first().and_then(|topic| topic.partitions.first());
    let result = result.context("the read has no result")?;
    check(result.error_code, "fetch")?;
    client::value_at(result.records.as_deref().unwrap_or_default(), offset)
}

fn check(code: i16, what: &str) -> anyhow::Result<()> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => Ok(()),
        Some(error) => bail!("{what}: {} ({})", error.name(), error.text()),
        None => bail!("{what}: error {code}"),
    }
}
