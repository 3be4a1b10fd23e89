//! ListOffsets: where a partition begins and ends, and which record was the first at or after a time.

use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use super::{BadRequest, Call};
use crate::context::BrokerContext;
use crate::partition::{FoundOffset, Refusal};
use crate::replica_manager::TopicTable;

/// Before it a response has no leader epoch.
const HAS_LEADER_EPOCH: i16 = 4;

/// Before it a client does not know OFFSET_NOT_AVAILABLE.
const KNOWS_OFFSET_NOT_AVAILABLE: i16 = 5;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: ListOffsetsRequest = call.decode()?;
    let table = call.broker.replicas.topics();
    let topics = request
        .topics
        .iter()
        .map(|topic| ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| {
                    let found = find(call.broker, &table, &topic.name, partition);
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

fn find(
    broker: &BrokerContext,
    table: &TopicTable,
    name: &str,
    wanted: &ListOffsetsPartition,
) -> Result<FoundOffset, Refusal> {
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
