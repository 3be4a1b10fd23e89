//! OffsetForLeaderEpoch: where an epoch ended, by which a reader sees that the log was cut behind its back (KIP-320).

use broker_network::Responses;
use protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};

use super::call::{BadRequest, Call};
use crate::context::BrokerContext;
use crate::refusal::Refusal;
use crate::replica_manager::TopicTable;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: OffsetForLeaderEpochRequest = call.decode()?;
    let table = call.broker.replicas.topics();
    let topics = request.topics.iter().map(|topic| OffsetForLeaderTopicResult {
        topic: topic.topic.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|wanted| answer(wanted.partition, find(call.broker, &table, &topic.topic, wanted)))
            .collect(),
    });
    let body = OffsetForLeaderEpochResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    };
    call.answer(responses, &body)
}

/// The largest epoch not above the one asked for, and the offset at which it ends.
fn find(
    broker: &BrokerContext,
    table: &TopicTable,
    name: &str,
    wanted: &OffsetForLeaderPartition,
) -> Result<Option<(i32, i64)>, Refusal> {
    let Some(topic) = table.by_name(name) else {
        return Err(broker.not_here(name, wanted.partition));
    };
    topic
        .led_partition(wanted.partition)?
        .end_offset_for_epoch(wanted.leader_epoch, wanted.current_leader_epoch)
}

fn answer(partition: i32, found: Result<Option<(i32, i64)>, Refusal>) -> EpochEndOffset {
    let unknown = EpochEndOffset {
        partition,
        ..EpochEndOffset::default()
    };
    match found {
        Ok(Some((leader_epoch, end_offset))) => EpochEndOffset {
            leader_epoch,
            end_offset,
            ..unknown
        },
        Ok(None) => unknown,
        Err(refusal) => EpochEndOffset {
            error_code: refusal.code.code(),
            ..unknown
        },
    }
}
