//! Produce: records come in.
//!
//! All produce requests that arrived together are handled together: their batches are sorted by partition, each partition
//! gets one append (one lock, one write), and the answers leave in the order of the requests. The records themselves are
//! never copied: they are stamped and written from the receive buffer.
//!
//! A request with `acks=all` whose records other replicas do not have yet is answered when the watermark passes them; until
//! then it keeps its place among the answers, and the connection goes on being served.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use broker_log::AppendInfo;
use broker_network::{Frame, Responses};
use model::{LeaderEpoch, TopicId};
use protocol::header::{RequestHeader, RequestPeek, put_response_header};
use protocol::produce::{ProduceRequest, ProduceResponse, ProducedPartition, RecordError};
use protocol::topic::Topic;
use protocol::{ApiKey, EncodeError, ErrorCode};

use super::call::{BadRequest, ReplyTo};
use super::client_connection::ClientConnection;
use crate::clock::now_ms;
use crate::context::BrokerContext;
use crate::leader_hints::LeaderHints;
use crate::metrics::TopicCounter;
use crate::partition::PartitionHandle;
use crate::refusal::Refusal;
use crate::replica_manager::TopicTable;

pub(super) mod scratch;
mod waiting;

use scratch::Scratch;
use waiting::{WaitingEntry, WaitingRequest};

/// The first version whose clients can read zstd.
const KNOWS_ZSTD: i16 = 7;

/// How often trouble with the disk is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Where a batch keeps the low byte of its attributes, and what is in it.
const ATTRIBUTES: usize = 22;
const CODEC: u8 = 0b0000_0111;
const CODEC_ZSTD: u8 = 4;
const TRANSACTIONAL: u8 = 0b0001_0000;

/// One request of the run.
struct Produced {
    reply: ReplyTo,
    acks: Acks,
    timeout: Duration,
    /// Its entries end here; they begin where those of the request before end.
    end: usize,
}

/// `acks`, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acks {
    None,
    Leader,
    All,
    Invalid,
}

/// The records of one partition in one request.
struct Entry<'f, 't> {
    topic: Topic<'f>,
    index: i32,
    all_replicas: bool,
    batch: Option<&'f mut [u8]>,
    bytes: usize,
    partition: Option<&'t Arc<PartitionHandle>>,
    outcome: Result<AppendInfo, Refusal>,
    /// What it waits for.
    uncommitted: Option<Uncommitted>,
}

/// Records that are not committed yet.
#[derive(Debug, Clone, Copy)]
struct Uncommitted {
    /// The leadership that appended them.
    leader_epoch: LeaderEpoch,
    /// The offset after the last of them.
    required: i64,
}

/// Whether a frame is for [`handle`].
pub(super) fn is_produce(peek: RequestPeek) -> bool {
    peek.api_key == ApiKey::Produce.code() && ApiKey::Produce.api().accepted.contains(peek.api_version)
}

/// How many produce requests stand at the beginning of `frames`.
pub(super) fn run_length(frames: &[Frame<'_>]) -> usize {
    frames
        .iter()
        .take_while(|frame| RequestPeek::decode(frame).is_ok_and(is_produce))
        .count()
}

pub(super) fn handle(
    broker: &Arc<BrokerContext>,
    connection: &mut ClientConnection,
    frames: &mut [Frame<'_>],
    responses: &mut Responses,
) -> Result<(), BadRequest> {
    let table = broker.replicas.topics();
    let mut requests: Vec<Produced> = Vec::with_capacity(frames.len());
    let mut entries: Vec<Entry<'_, '_>> = Vec::with_capacity(frames.len());
    let mut bad = None;
    for frame in frames {
        // What came before a request that makes no sense is still appended and answered.
        if let Err(error) = read(broker, &table, frame, &mut requests, &mut entries) {
            bad = Some(error);
            break;
        }
    }
    append(&mut entries, &mut connection.produce);
    connection.produce.give_back();
    answer(broker, connection, &requests, &entries, responses)?;
    bad.map_or(Ok(()), Err)
}

/// Takes a request apart; its batches wait in `entries`.
fn read<'f, 't>(
    broker: &BrokerContext,
    table: &'t TopicTable,
    frame: &'f mut Frame<'_>,
    requests: &mut Vec<Produced>,
    entries: &mut Vec<Entry<'f, 't>>,
) -> Result<(), BadRequest> {
    let api = ApiKey::Produce.api();
    let (header, at) = RequestHeader::decode(frame)?;
    let version = header.api_version;
    let reply = ReplyTo {
        api,
        version,
        correlation_id: header.correlation_id,
    };
    let request = ProduceRequest::decode(frame.get_mut(at..).unwrap_or_default(), version)?;
    broker.metrics.count_request(ApiKey::Produce, version);
    let acks = match request.acks {
        0 => Acks::None,
        1 => Acks::Leader,
        -1 => Acks::All,
        _ => Acks::Invalid,
    };
    let transactional = request.transactional_id.is_some();
    let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
    for part in request.into_partitions() {
        let bytes = part.records.as_ref().map_or(0, |records| records.len());
        let mut entry = Entry {
            topic: part.topic,
            index: part.index,
            all_replicas: acks == Acks::All,
            batch: part.records,
            bytes,
            partition: None,
            outcome: Err(unanswered()),
            uncommitted: None,
        };
        match check(broker, table, &entry, acks, transactional, version) {
            Ok(partition) => entry.partition = Some(partition),
            Err(refusal) => entry.outcome = Err(refusal),
        }
        entries.push(entry);
    }
    requests.push(Produced {
        reply,
        acks,
        timeout,
        end: entries.len(),
    });
    Ok(())
}

/// What is decided before the log is asked.
fn check<'t>(
    broker: &BrokerContext,
    table: &'t TopicTable,
    entry: &Entry<'_, '_>,
    acks: Acks,
    transactional: bool,
    version: i16,
) -> Result<&'t Arc<PartitionHandle>, Refusal> {
    if acks == Acks::Invalid {
        return Err(Refusal::new(ErrorCode::InvalidRequiredAcks, "acks is 0, 1 or -1 (all)"));
    }
    let attributes = entry
        .batch
        .as_ref()
        .and_then(|batch| batch.get(ATTRIBUTES))
        .copied()
        .unwrap_or_default();
    if transactional || attributes & TRANSACTIONAL != 0 {
        let message = "transactions are not served by this version of Barnabas";
        return Err(Refusal::new(ErrorCode::InvalidTxnState, message));
    }
    if attributes & CODEC == CODEC_ZSTD && version < KNOWS_ZSTD {
        let message = "zstd needs produce version 7 or later";
        return Err(Refusal::new(ErrorCode::UnsupportedCompressionType, message));
    }
    if let Some(refusal) = broker.replicas.disk().refusal() {
        return Err(refusal);
    }
    if entry.batch.is_none() {
        return Err(Refusal::new(ErrorCode::InvalidRecord, "the record set is null"));
    }
    let topic = match entry.topic {
        Topic::Name(name) => table.by_name(name).ok_or_else(|| broker.not_here(name, entry.index)),
        Topic::Id(id) => table
            .by_id(TopicId(id))
            .ok_or_else(|| broker.id_not_here(TopicId(id), entry.index)),
    };
    let topic = topic?;
    if topic.name.is_internal() {
        // What stands in there is the coordinators' own.
        let message = format!("{} is written by brokers only", topic.name);
        return Err(Refusal::new(ErrorCode::InvalidTopicException, message));
    }
    topic.led_partition(entry.index)
}

/// One append per partition.
fn append(entries: &mut [Entry<'_, '_>], scratch: &mut Scratch) {
    let now = now_ms();
    let Scratch { outcomes, order } = scratch;
    order.clear();
    order.extend((0..entries.len()).filter(|at| entries[*at].partition.is_some()));
    // Stable: batches of one partition keep the order of their requests.
    order.sort_by_key(|at| entries[*at].partition.map(Arc::as_ptr));
    let mut batches: Vec<&mut [u8]> = Vec::with_capacity(order.len());
    let mut rest = order.as_slice();
    while let Some(first) = rest.first() {
        let Some(partition) = entries[*first].partition else {
            return;
        };
        let all_replicas = entries[*first].all_replicas;
        let same = |at: &&usize| {
            let entry = &entries[**at];
            entry.all_replicas == all_replicas && entry.partition.is_some_and(|other| Arc::ptr_eq(other, partition))
        };
        let (group, later) = rest.split_at(rest.iter().take_while(same).count());
        rest = later;
        batches.clear();
        batches.extend(group.iter().filter_map(|at| entries[*at].batch.take()));
        let committing = partition.append_as_leader(&mut batches, all_replicas, now, outcomes);
        for (at, outcome) in group.iter().zip(outcomes.drain(..)) {
            count(partition, entries[*at].bytes, &outcome);
            if let Ok(info) = &outcome
                && all_replicas
                && let Some(required) = committing.required(info.last_offset)
            {
                entries[*at].uncommitted = Some(Uncommitted {
                    leader_epoch: committing.leader_epoch,
                    required,
                });
            }
            entries[*at].outcome = outcome;
        }
    }
}

fn count(partition: &PartitionHandle, bytes: usize, outcome: &Result<AppendInfo, Refusal>) {
    let metrics = &partition.metrics;
    metrics.add(TopicCounter::ProduceRequests, 1);
    match outcome {
        Ok(info) if info.duplicate => {}
        Ok(info) => {
            metrics.add(TopicCounter::BytesIn, bytes as u64);
            metrics.add(
                TopicCounter::MessagesIn,
                (info.last_offset - info.base_offset + 1) as u64,
            );
        }
        Err(refusal) => {
            metrics.add(TopicCounter::FailedProduceRequests, 1);
            metrics.add(TopicCounter::BytesRejected, bytes as u64);
            if refusal.code == ErrorCode::KafkaStorageError {
                tell_of_storage(partition, refusal);
            }
        }
    }
}

/// A full or broken disk is said in the log, at most once in [`TELL_EVERY`]: producers come again and again.
fn tell_of_storage(partition: &PartitionHandle, refusal: &Refusal) {
    static TOLD_MS: AtomicI64 = AtomicI64::new(i64::MIN);
    let now = now_ms();
    let told = TOLD_MS.load(Ordering::Relaxed);
    let due = told.saturating_add(TELL_EVERY.as_millis() as i64) <= now;
    if due
        && TOLD_MS
            .compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    {
        let (topic, partition) = (&partition.topic, partition.index);
        tracing::error!(%topic, %partition, reason = refusal.message, "records cannot be stored, producers are told to try again");
    }
}

fn answer(
    broker: &Arc<BrokerContext>,
    connection: &ClientConnection,
    requests: &[Produced],
    entries: &[Entry<'_, '_>],
    responses: &mut Responses,
) -> Result<(), BadRequest> {
    let at_fault = records_at_fault(entries);
    let mut partitions: Vec<ProducedPartition<'_>> = Vec::with_capacity(entries.len());
    let mut begin = 0;
    let mut waiting: Vec<WaitingRequest> = Vec::new();
    for request in requests {
        let first = std::mem::replace(&mut begin, request.end);
        let entries = &entries[first..request.end];
        if request.acks == Acks::None {
            // Nobody reads an answer, so an error can only be told by the end of the connection.
            if let Some(refusal) = entries.iter().find_map(|entry| entry.outcome.as_ref().err()) {
                tracing::info!(client = %connection.host, code = %refusal.code, reason = refusal.message, "acks=0 request refused");
                responses.close("a request with acks=0 was refused");
                break;
            }
            responses.push_nothing();
            continue;
        }
        if entries.iter().any(|entry| entry.uncommitted.is_some()) {
            waiting.push(WaitingRequest {
                reply: request.reply,
                slot: responses.push_later(),
                timeout: request.timeout,
                entries: entries.iter().map(WaitingEntry::of).collect(),
            });
            continue;
        }
        for refusal in entries.iter().filter_map(|entry| entry.outcome.as_ref().err()) {
            broker.metrics.count_error(ApiKey::Produce, refusal.code);
        }
        let mut hints = LeaderHints::new(broker, &connection.listener);
        partitions.clear();
        partitions.extend(entries.iter().zip(first..).map(|(entry, at)| ProducedPartition {
            record_errors: at_fault.get(&at).map_or(&[], Vec::as_slice),
            ..produced(entry.topic, entry.index, &entry.outcome, &mut hints)
        }));
        let mut written: Result<(), EncodeError> = Ok(());
        responses.push_with(|bytes| {
            put_response_header(
                bytes,
                request.reply.api,
                request.reply.version,
                request.reply.correlation_id,
            );
            let response = ProduceResponse {
                throttle_time_ms: 0,
                node_endpoints: &hints.endpoints(),
            };
            written = response.encode(bytes, request.reply.version, &partitions);
        });
        written?;
    }
    if !waiting.is_empty() {
        waiting::spawn(broker, connection, waiting);
    }
    Ok(())
}

fn produced<'a>(
    topic: Topic<'a>,
    index: i32,
    outcome: &'a Result<AppendInfo, Refusal>,
    hints: &mut LeaderHints<'_>,
) -> ProducedPartition<'a> {
    match outcome {
        Ok(info) => ProducedPartition {
            log_append_time_ms: info.log_append_time_ms,
            ..ProducedPartition::appended(topic, index, info.base_offset, info.log_start_offset)
        },
        Err(refusal) => ProducedPartition {
            error_message: Some(&refusal.message),
            current_leader: hints.leader(refusal.code, topic, index),
            ..ProducedPartition::refused(topic, index, refusal.code)
        },
    }
}

/// The records for which entries were refused (KIP-467). Empty, and no allocation, when all is well.
fn records_at_fault<'a>(entries: &'a [Entry<'_, '_>]) -> BTreeMap<usize, Vec<RecordError<'a>>> {
    let refused = entries.iter().enumerate().filter_map(|(at, entry)| {
        let refusal = entry
            .outcome
            .as_ref()
            .err()
            .filter(|refusal| !refusal.records.is_empty())?;
        Some((at, record_errors(refusal)))
    });
    refused.collect()
}

fn record_errors(refusal: &Refusal) -> Vec<RecordError<'_>> {
    let errors = refusal.records.iter().map(|(index, message)| RecordError {
        batch_index: *index,
        message: Some(message),
    });
    errors.collect()
}

fn unanswered() -> Refusal {
    Refusal::new(ErrorCode::NotLeaderOrFollower, String::new())
}
