//! DeleteRecords: a partition begins later. Answered when that is durable, and so at every live replica.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};

use super::call::{BadRequest, Call};
use crate::context::BrokerContext;
use crate::partition::PartitionHandle;
use crate::refusal::Refusal;

/// The low watermark of a partition from which nothing was deleted.
const NO_LOW_WATERMARK: i64 = -1;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: DeleteRecordsRequest = call.decode()?;
    let slot = responses.push_later();
    let broker = Arc::clone(call.broker);
    let reply = call.reply;
    tokio::task::spawn_local(async move {
        let until = Instant::now() + Duration::from_millis(request.timeout_ms.max(0) as u64);
        let wanted = find_all(&broker, &request);
        let partitions: Vec<Option<Arc<PartitionHandle>>> = wanted
            .iter()
            .map(|found| found.as_ref().ok().map(|(partition, _)| Arc::clone(partition)))
            .collect();
        // It waits for the disk, which the connections of this thread should not.
        let deleting = tokio::task::spawn_blocking(move || broker.replicas.delete_records(wanted));
        let Ok(mut results) = deleting.await else {
            return slot.close();
        };
        for (result, partition) in results.iter_mut().zip(partitions) {
            if let (Ok(start), Some(partition)) = (&result, partition) {
                let patience = until.saturating_duration_since(Instant::now());
                *result = partition.deleted_everywhere(*start, patience).await;
            }
        }
        reply.answer_later(slot, &response(&request, results));
    });
    Ok(())
}

fn find_all(
    broker: &BrokerContext,
    request: &DeleteRecordsRequest,
) -> Vec<Result<(Arc<PartitionHandle>, i64), Refusal>> {
    let entries = request
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|wanted| (topic.name.as_str(), wanted)));
    entries
        .map(|(name, wanted)| Ok((find(broker, name, wanted)?, wanted.offset)))
        .collect()
}

fn response(request: &DeleteRecordsRequest, results: Vec<Result<i64, Refusal>>) -> DeleteRecordsResponse {
    let mut results = results.into_iter();
    let topics = request.topics.iter().map(|topic| DeleteRecordsTopicResult {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .zip(results.by_ref())
            .map(|(wanted, result)| DeleteRecordsPartitionResult {
                partition_index: wanted.partition_index,
                low_watermark: *result.as_ref().unwrap_or(&NO_LOW_WATERMARK),
                error_code: result.err().map_or(ErrorCode::None, |refusal| refusal.code).code(),
            })
            .collect(),
    });
    DeleteRecordsResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}

fn find(broker: &BrokerContext, name: &str, wanted: &DeleteRecordsPartition) -> Result<Arc<PartitionHandle>, Refusal> {
    let table = broker.replicas.topics();
    let Some(topic) = table.by_name(name) else {
        return Err(broker.not_here(name, wanted.partition_index));
    };
    if topic.name.is_internal() {
        let message = "records of an internal topic are deleted by nobody but its coordinator";
        return Err(Refusal::new(ErrorCode::InvalidTopicException, message));
    }
    topic.led_partition(wanted.partition_index).cloned()
}
