//! DescribeLogDirs: what the partitions here take of the disk, and how much there is of it (KIP-113, KIP-827).

use std::collections::BTreeMap;

use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};

use super::call::{BadRequest, Call};
use crate::context::BrokerContext;

/// Where a number is not known.
const UNKNOWN: i64 = -1;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: DescribeLogDirsRequest = call.decode()?;
    let disk = call.broker.replicas.disk();
    // There is one data directory.
    let mut directory = DescribeLogDirsResult {
        log_dir: disk.path().display().to_string(),
        total_bytes: UNKNOWN,
        usable_bytes: UNKNOWN,
        ..DescribeLogDirsResult::default()
    };
    match disk.space() {
        Ok(space) if disk.is_sound() => {
            directory.total_bytes = space.total as i64;
            directory.usable_bytes = space.usable as i64;
            directory.topics = topics(call.broker, &request);
        }
        Ok(_) | Err(_) => directory.error_code = ErrorCode::KafkaStorageError.code(),
    }
    let body = DescribeLogDirsResponse {
        results: vec![directory],
        ..DescribeLogDirsResponse::default()
    };
    call.answer(responses, &body)
}

/// Those that were asked for and are here; all of them if nothing was said.
fn topics(broker: &BrokerContext, request: &DescribeLogDirsRequest) -> Vec<DescribeLogDirsTopic> {
    let mut found: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    let table = broker.replicas.topics();
    match &request.topics {
        None => {
            for partition in table.partitions() {
                let described = describe(partition.index.0, partition.size_bytes());
                found.entry(partition.topic.as_str()).or_default().push(described);
            }
        }
        Some(topics) => {
            for wanted in topics {
                let Some(topic) = table.by_name(&wanted.topic) else {
                    continue;
                };
                let here = wanted.partitions.iter().filter_map(|index| topic.partition(*index));
                let described = here.map(|partition| describe(partition.index.0, partition.size_bytes()));
                found.entry(topic.name.as_str()).or_default().extend(described);
            }
        }
    }
    let mut topics = Vec::with_capacity(found.len());
    for (name, mut partitions) in found {
        partitions.sort_by_key(|partition| partition.partition_index);
        partitions.dedup_by_key(|partition| partition.partition_index);
        if !partitions.is_empty() {
            topics.push(DescribeLogDirsTopic {
                name: name.to_owned(),
                partitions,
            });
        }
    }
    topics
}

/// Nothing lags: the leader's log is the whole log, and nothing is moved between directories.
fn describe(partition_index: i32, size: u64) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition {
        partition_index,
        partition_size: size as i64,
        offset_lag: 0,
        is_future_key: false,
    }
}
