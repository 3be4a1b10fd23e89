//! Fetch: records go out.
//!
//! A request that finds enough is answered at once. Otherwise it is parked at its partitions; an append that moves a
//! watermark wakes it, on whatever thread that was, and it reads again on its own. No session is kept: each request names
//! all its partitions, which the protocol allows (session id 0).

use std::sync::Arc;
use std::time::Duration;

use broker_network::{Response, Responses};
use model::TopicId;
use protocol::fetch::{CONSUMER, FetchPartition, FetchRequest, FetchResponse, FetchedPartition};
use protocol::leader::NodeEndpoint;
use protocol::topic::Topic;
use protocol::{EncodeError, ErrorCode};

use super::{BadRequest, Call, ReplyTo};
use crate::context::{BrokerContext, LeaderHint};
use crate::metrics::TopicCounter;
use crate::partition::{FetchWaiter, PartitionHandle, ReadSlice, ReadSpec, Refusal};
use crate::replica_manager::TopicTable;

mod records;

use records::Records;

/// Kafka's `fetch.max.bytes`: no response is larger, but for a first batch that is.
const MAX_RESPONSE_BYTES: usize = 55 * 1024 * 1024;

/// A client that wants to wait longer gets an empty answer and asks again.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Isolation level: only records of decided transactions.
const READ_COMMITTED: i8 = 1;

/// What a request found so far.
struct Found<'a> {
    partitions: Vec<FetchedPartition<'a, Records>>,
    hints: Vec<LeaderHint>,
    bytes: usize,
    /// Those of them that were read into memory.
    in_memory: usize,
    /// Something that the client must hear at once.
    urgent: bool,
}

/// A partition that was read: beyond which offset the request waits there, and what it takes from there if it does not.
struct Parked {
    partition: Arc<PartitionHandle>,
    high_watermark: i64,
    bytes: usize,
}

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: FetchRequest = call.decode()?;
    if let Some(error) = refuse(&request, call.version()) {
        let response = FetchResponse {
            error_code: error,
            ..FetchResponse::default()
        };
        responses.push(records::response(&call.reply, &response, Vec::new())?);
        return Ok(());
    }
    let listener = &call.connection.listener;
    let table = call.broker.replicas.topics();
    let mut parked = Vec::new();
    let found = read(call.broker, &table, &request, call.version(), listener, &mut parked);
    if found.is_enough(&request) || parked.is_empty() {
        count_answered(&parked);
        responses.push(respond(&call.reply, found)?);
        return Ok(());
    }
    drop(found);
    let slot = responses.push_later();
    let waiting = Waiting {
        broker: Arc::clone(call.broker),
        listener: Arc::clone(listener),
        reply: call.reply,
        request,
        ended: Arc::clone(&call.connection.ended),
    };
    tokio::task::spawn_local(async move {
        match waiting.answer(parked).await {
            Some(Ok(response)) => slot.complete(response),
            Some(Err(error)) => {
                tracing::error!(%error, "a fetch response cannot be encoded");
                slot.close();
            }
            // The client has gone.
            None => slot.close(),
        }
    });
    Ok(())
}

/// A request that is not read at all.
fn refuse(request: &FetchRequest, version: i16) -> Option<ErrorCode> {
    let (replica, _) = request.replica(version);
    if replica > CONSUMER {
        // Followers come with replication.
        return Some(ErrorCode::InvalidRequest);
    }
    match (request.session_id, request.session_epoch) {
        // Epoch 0 asks for a session and -1 for none; neither gets one.
        (0, 0 | -1) => None,
        (0, _) => Some(ErrorCode::InvalidFetchSessionEpoch),
        // "End this session and read": there is none to end.
        (_, -1) => None,
        _ => Some(ErrorCode::FetchSessionIdNotFound),
    }
}

/// A parked request.
struct Waiting {
    broker: Arc<BrokerContext>,
    listener: Arc<str>,
    reply: ReplyTo,
    request: FetchRequest,
    ended: Arc<tokio::sync::Notify>,
}

impl Waiting {
    /// Waits for enough, for the client's patience to end, or for the connection to.
    async fn answer(self, parked: Vec<Parked>) -> Option<Result<Response, EncodeError>> {
        let ended = self.ended.notified();
        let wanted = Duration::from_millis(self.request.max_wait_ms.max(0) as u64);
        let patience = tokio::time::sleep(wanted.min(LONGEST_WAIT));
        tokio::pin!(ended, patience);
        let mut parked = parked;
        loop {
            let waiter = Arc::new(FetchWaiter::default());
            let moved = parked
                .iter()
                .any(|at| !at.partition.wait_beyond(at.high_watermark, &waiter));
            let out_of_patience = if moved {
                patience.is_elapsed()
            } else {
                tokio::select! {
                    () = waiter.woken() => false,
                    () = &mut patience => true,
                    () = &mut ended => {
                        forget(&parked, &waiter);
                        return None;
                    }
                }
            };
            forget(&parked, &waiter);
            parked.clear();
            let table = self.broker.replicas.topics_owned();
            let found = read(
                &self.broker,
                &table,
                &self.request,
                self.reply.version,
                &self.listener,
                &mut parked,
            );
            let done = out_of_patience || self.broker.is_stopping() || parked.is_empty();
            if done || found.is_enough(&self.request) {
                count_answered(&parked);
                return Some(respond(&self.reply, found));
            }
        }
    }
}

impl Found<'_> {
    fn is_enough(&self, request: &FetchRequest) -> bool {
        self.urgent || request.max_wait_ms <= 0 || self.bytes >= usize::try_from(request.min_bytes).unwrap_or(0)
    }
}

fn forget(parked: &[Parked], waiter: &Arc<FetchWaiter>) {
    for at in parked {
        at.partition.forget(waiter);
    }
}

/// Reads all partitions of a request, the first that has anything with at least one batch.
fn read<'r>(
    broker: &BrokerContext,
    table: &TopicTable,
    request: &'r FetchRequest,
    version: i16,
    listener: &str,
    parked: &mut Vec<Parked>,
) -> Found<'r> {
    let mut left = usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_RESPONSE_BYTES);
    let count = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut found = Found {
        partitions: Vec::with_capacity(count),
        hints: Vec::new(),
        bytes: 0,
        in_memory: 0,
        urgent: false,
    };
    for asked in &request.topics {
        let topic = asked.topic(version);
        for part in &asked.partitions {
            let partition = find(broker, table, topic, part.partition);
            let sliced = partition.and_then(|partition| {
                let max = left.min(usize::try_from(part.partition_max_bytes).unwrap_or(0));
                let read = partition.read(spec(part, max, found.bytes == 0))?;
                let more = read.slice.next_offset < read.high_watermark;
                let taken = take(
                    topic,
                    part.partition,
                    request.isolation_level,
                    read,
                    &mut found.in_memory,
                )?;
                Ok((partition, taken, more))
            });
            match sliced {
                Ok((partition, (fetched, bytes), more)) => {
                    // Records stay behind, for a limit or the end of a segment: waiting would bring nothing.
                    found.urgent |= more;
                    left = left.saturating_sub(bytes);
                    found.bytes += bytes;
                    parked.push(Parked {
                        partition: Arc::clone(partition),
                        high_watermark: fetched.high_watermark,
                        bytes,
                    });
                    found.partitions.push(fetched);
                }
                Err(refusal) => {
                    count_refused(broker, table, topic);
                    found.urgent = true;
                    let mut empty = FetchedPartition::empty(topic, part.partition, refusal.code);
                    if refusal.code == ErrorCode::NotLeaderOrFollower
                        && let Some(hint) = broker.leader_hint(topic, part.partition, listener)
                    {
                        empty.current_leader = Some(hint.leader());
                        found.hints.push(hint);
                    }
                    found.partitions.push(empty);
                }
            }
        }
    }
    found
}

fn spec(part: &FetchPartition, max_bytes: usize, first: bool) -> ReadSpec {
    ReadSpec {
        offset: part.fetch_offset,
        max_bytes,
        min_one_message: first,
        current_leader_epoch: part.current_leader_epoch,
    }
}

fn find<'t>(
    broker: &BrokerContext,
    table: &'t TopicTable,
    topic: Topic<'_>,
    index: i32,
) -> Result<&'t Arc<PartitionHandle>, Refusal> {
    let found = match topic {
        Topic::Name(name) => table.by_name(name).ok_or_else(|| broker.not_here(name, index)),
        Topic::Id(id) => table
            .by_id(TopicId(id))
            .ok_or_else(|| broker.id_not_here(TopicId(id), index)),
    };
    found?.led_partition(index)
}

fn take<'r>(
    topic: Topic<'r>,
    index: i32,
    isolation_level: i8,
    read: ReadSlice,
    in_memory: &mut usize,
) -> Result<(FetchedPartition<'r, Records>, usize), Refusal> {
    let records = Records::of(read.slice, in_memory).map_err(|error| {
        Refusal::new(
            ErrorCode::KafkaStorageError,
            format!("the records cannot be read: {error}"),
        )
    })?;
    let bytes = records.as_ref().map_or(0, protocol::fetch::Payload::len);
    let fetched = FetchedPartition {
        high_watermark: read.high_watermark,
        last_stable_offset: read.last_stable_offset,
        log_start_offset: read.log_start_offset,
        // No transaction was ever aborted here.
        aborted_transactions: (isolation_level == READ_COMMITTED).then(Vec::new),
        records,
        ..FetchedPartition::empty(topic, index, ErrorCode::None)
    };
    Ok((fetched, bytes))
}

/// Counts what leaves. A request that goes on waiting reads again, and nothing has left yet.
fn count_answered(answered: &[Parked]) {
    for Parked { partition, bytes, .. } in answered {
        partition.metrics.add(TopicCounter::FetchRequests, 1);
        partition.metrics.add(TopicCounter::BytesOut, *bytes as u64);
    }
}

fn count_refused(broker: &BrokerContext, table: &TopicTable, topic: Topic<'_>) {
    let known = match topic {
        Topic::Name(name) => table.by_name(name),
        Topic::Id(id) => table.by_id(TopicId(id)),
    };
    let metrics = known.map_or_else(
        || broker.metrics.topics.unknown_topic(),
        |topic| Arc::clone(&topic.metrics),
    );
    metrics.add(TopicCounter::FetchRequests, 1);
    metrics.add(TopicCounter::FailedFetchRequests, 1);
}

fn respond(reply: &ReplyTo, found: Found<'_>) -> Result<Response, EncodeError> {
    let endpoints: Vec<NodeEndpoint<'_>> = found.hints.iter().filter_map(LeaderHint::endpoint).collect();
    let response = FetchResponse {
        node_endpoints: &endpoints,
        ..FetchResponse::default()
    };
    records::response(reply, &response, found.partitions)
}
