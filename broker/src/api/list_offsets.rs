//! ListOffsets: where a partition begins and ends, and which record was the first at or after a time.

use std::collections::HashSet;

use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use super::call::{BadRequest, Call};
use crate::context::BrokerContext;
use crate::partition::FoundOffset;
use crate::refusal::Refusal;
use crate::replica_manager::TopicTable;

/// Before it a response has no leader epoch.
const HAS_LEADER_EPOCH: i16 = 4;

/// Before it a client does not know OFFSET_NOT_AVAILABLE.
const KNOWS_OFFSET_NOT_AVAILABLE: i16 = 5;

/// Kafka's special timestamps, from the first on: latest, earliest, largest, earliest local, latest tiered, earliest that
/// waits to be tiered. Each is known since the version at its place.
const SPECIAL_SINCE: [i16; 6] = [1, 1, 7, 8, 9, 11];

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: ListOffsetsRequest = call.decode()?;
    let table = call.broker.replicas.topics();
    let twice = named_twice(&request);
    let topics = request
        .topics
        .iter()
        .map(|topic| ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| {
                    let named = (topic.name.as_str(), partition.partition_index);
                    let found = if twice.contains(&named) {
                        Err(Refusal::new(
                            ErrorCode::InvalidRequest,
                            "the request names the partition twice",
                        ))
                    } else {
                        find(call.broker, &table, call.version(), &topic.name, partition)
                    };
                    answer(call.version(), partition.partition_index, found)
                })
                .collect(),
        })
        .collect();
    call.answer(
        responses,
        &ListOffsetsResponse {
            topics,
            ..ListOffsetsResponse::default()
        },
    )
}

/// Partitions that a request names more than once: Kafka answers none of their places.
fn named_twice(request: &ListOffsetsRequest) -> HashSet<(&str, i32)> {
    let mut seen = HashSet::new();
    let topics = request.topics.iter();
    topics
        .flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|part| (topic.name.as_str(), part.partition_index))
        })
        .filter(|named| !seen.insert(*named))
        .collect()
}

fn find(
    broker: &BrokerContext,
    table: &TopicTable,
    version: i16,
    name: &str,
    wanted: &ListOffsetsPartition,
) -> Result<FoundOffset, Refusal> {
    let special = usize::try_from(wanted.timestamp.saturating_neg())
        .ok()
        .filter(|place| *place > 0);
    if let Some(place) = special
        && SPECIAL_SINCE.get(place - 1).is_none_or(|since| version < *since)
    {
        let message = format!("timestamp {} has no meaning in version {version}", wanted.timestamp);
        return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
    }
    let Some(topic) = table.by_name(name) else {
        return Err(broker.not_here(name, wanted.partition_index));
    };
    topic
        .led_partition(wanted.partition_index)?
        .find_offset(wanted.timestamp, wanted.current_leader_epoch)
}

fn answer(version: i16, index: i32, found: Result<FoundOffset, Refusal>) -> ListOffsetsPartitionResponse {
    let (found, error) = match found {
        Ok(found) => (found, 0),
        Err(refusal) => {
            let code = match refusal.code {
                ErrorCode::OffsetNotAvailable if version < KNOWS_OFFSET_NOT_AVAILABLE => ErrorCode::LeaderNotAvailable,
                code => code,
            };
            (FoundOffset::NONE, code.code())
        }
    };
    ListOffsetsPartitionResponse {
        partition_index: index,
        error_code: error,
        timestamp: found.timestamp,
        offset: found.offset,
        leader_epoch: if version >= HAS_LEADER_EPOCH {
            found.leader_epoch
        } else {
            -1
        },
    }
}
