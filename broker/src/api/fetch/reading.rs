//! Reading all partitions of a request, once.

use std::sync::Arc;

use model::TopicId;
use protocol::fetch::{EpochEndOffset, FetchedPartition, Payload};
use protocol::topic::Topic;
use protocol::{ApiKey, ErrorCode};

use super::records::Records;
use super::{Ask, KNOWS_RACKS, rack};
use crate::clock::monotonic;
use crate::context::BrokerContext;
use crate::fetch_sessions::Wanted;
use crate::metrics::TopicCounter;
use crate::partition::{FollowerReader, PartitionHandle, ReadSlice, ReadSpec, Reader};
use crate::refusal::Refusal;
use crate::replica_manager::TopicTable;

/// Isolation level: only records of decided transactions.
const READ_COMMITTED: i8 = 1;

/// The last version whose clients do not know KAFKA_STORAGE_ERROR: they are told to look elsewhere, as Kafka does.
const STORAGE_ERROR_UNKNOWN: i16 = 5;

/// Whoever waits beyond it is woken by no append.
const NO_APPEND: i64 = i64::MAX - 1;

/// What a request found: an entry for each wanted partition.
pub(super) struct Found<'a> {
    pub(super) partitions: Vec<FetchedPartition<'a, Records>>,
    /// Those that could be read.
    pub(super) parked: Vec<Parked>,
    bytes: usize,
    /// How many of them were read into memory.
    in_memory: usize,
    /// Something that the client must hear at once.
    urgent: bool,
    /// What must be waited for before anything is said of the rest.
    pub(super) cold: Vec<Cold>,
}

/// A read that would have to wait for the disk.
pub(super) struct Cold {
    pub(super) partition: Arc<PartitionHandle>,
    pub(super) spec: ReadSpec,
}

/// Whether a reader may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    /// What is not in memory is found in [`Found::cold`].
    Never,
    /// Memory is so short that what was brought into it has gone again.
    IfNeeded,
}

/// A partition that was read: beyond which offset the request waits there, and what it takes from there if it does not.
pub(super) struct Parked {
    pub(super) partition: Arc<PartitionHandle>,
    pub(super) reader: Reader,
    pub(super) max_offset: i64,
    /// The watermark that the reader was told, if it waits for that to move, too.
    pub(super) told: Option<i64>,
    bytes: usize,
    /// What it takes counts against the throttle of leaders.
    throttled: bool,
}

impl Found<'_> {
    /// Whether a watermark has moved since `before` was told.
    pub(super) fn is_news_after(&self, before: &[Parked]) -> bool {
        self.parked
            .iter()
            .zip(before)
            .any(|(now, before)| now.told > before.told)
    }

    pub(super) fn is_enough(&self, ask: &Ask) -> bool {
        self.urgent || ask.max_wait.is_zero() || self.bytes >= ask.min_bytes
    }

    /// Counts what leaves. A request that goes on waiting reads again, and nothing has left yet.
    pub(super) fn count_answered(&self, broker: &BrokerContext) {
        for Parked {
            partition,
            reader,
            bytes,
            throttled,
            ..
        } in &self.parked
        {
            if *throttled {
                broker.replicas.throttles().leaders.count(*bytes, monotonic());
            }
            if matches!(reader, Reader::Consumer { .. }) {
                partition.metrics.add(TopicCounter::FetchRequests, 1);
                partition.metrics.add(TopicCounter::BytesOut, *bytes as u64);
            } else {
                partition.metrics.add(TopicCounter::ReplicationBytesOut, *bytes as u64);
            }
        }
    }
}

/// Reads the partitions in order, the first that has anything with at least one batch, the others as far as there is room.
pub(super) fn read<'a>(
    broker: &BrokerContext,
    listener: &str,
    table: &TopicTable,
    ask: &'a Ask,
    disk: Disk,
) -> Found<'a> {
    let wanted = &ask.context.wanted;
    let mut found = Found {
        partitions: Vec::with_capacity(wanted.len()),
        parked: Vec::with_capacity(wanted.len()),
        bytes: 0,
        in_memory: 0,
        urgent: false,
        cold: Vec::new(),
    };
    for wanted in wanted {
        let fetched = read_one(broker, listener, table, ask, wanted, disk, &mut found).unwrap_or_else(|refusal| {
            count_refused(broker, table, wanted.topic.topic());
            broker.metrics.count_error(ApiKey::Fetch, refusal.code);
            let code = match refusal.code {
                ErrorCode::KafkaStorageError if ask.version <= STORAGE_ERROR_UNKNOWN => ErrorCode::NotLeaderOrFollower,
                code => code,
            };
            // Kafka's answer where there is nothing to read from, whatever the isolation level.
            let unknown = matches!(code, ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId);
            // A consumer that keeps asking for what is gone waits for the rest of what it asks for: else it would spin. A
            // follower may only be ahead of us by a topic, and comes back for it.
            found.urgent |= !unknown || ask.follower.is_some();
            // A follower whose log ends before ours begins starts anew there.
            let begins_at = ask
                .follower
                .filter(|_| code == ErrorCode::OffsetOutOfRange)
                .and_then(|_| {
                    find(broker, table, wanted.topic.topic(), wanted.index)
                        .ok()?
                        .log_start_offset()
                        .ok()
                });
            FetchedPartition {
                aborted_transactions: unknown.then(Vec::new),
                log_start_offset: begins_at.unwrap_or(-1),
                ..FetchedPartition::empty(wanted.topic.topic(), wanted.index, code)
            }
        });
        found.partitions.push(fetched);
    }
    found
}

fn read_one<'a>(
    broker: &BrokerContext,
    listener: &str,
    table: &TopicTable,
    ask: &Ask,
    wanted: &'a Wanted,
    disk: Disk,
    found: &mut Found<'_>,
) -> Result<FetchedPartition<'a, Records>, Refusal> {
    let partition = find(broker, table, wanted.topic.topic(), wanted.index)?;
    if let Some(preferred) = rack::preferred(broker, listener, partition, ask, wanted) {
        found.urgent = true;
        return Ok(FetchedPartition {
            preferred_read_replica: preferred.0,
            ..whereabouts(partition, wanted)?
        });
    }
    let left = ask.max_bytes.saturating_sub(found.bytes);
    let reader = match ask.follower {
        None => Reader::Consumer { anywhere: ask.anywhere },
        Some((replica, broker_epoch)) => Reader::Follower(FollowerReader {
            replica,
            broker_epoch,
            log_start_offset: wanted.log_start_offset,
        }),
    };
    let throttle = &broker.replicas.throttles().leaders;
    let throttled = ask.follower.is_some_and(|(replica, _)| partition.throttles(replica));
    // It is heard of, and gets nothing before its time has come.
    let held_back = throttled && throttle.free_at(monotonic()).is_some();
    let max_bytes = left.min(usize::try_from(wanted.max_bytes).unwrap_or(0));
    let spec = ReadSpec {
        reader,
        offset: wanted.fetch_offset,
        max_bytes: if held_back { 0 } else { max_bytes },
        min_one_message: found.bytes == 0 && !held_back,
        current_leader_epoch: wanted.current_leader_epoch,
        last_fetched_epoch: wanted.last_fetched_epoch,
    };
    let read = match disk {
        Disk::Never => partition.read_cached(spec),
        Disk::IfNeeded => partition.read(spec).map(Some),
    };
    let read = match read {
        Err(refusal) if refusal.code == ErrorCode::OffsetNotAvailable => {
            // In a moment the new leader knows, or the client is told to come again.
            let start = partition.awaited_epoch_start().unwrap_or(0);
            found.parked.push(Parked {
                partition: Arc::clone(partition),
                reader,
                max_offset: start.saturating_sub(1),
                told: None,
                bytes: 0,
                throttled: false,
            });
            let code = if ask.version >= KNOWS_RACKS {
                refusal.code
            } else {
                // An older client does not know that a leader may not know, and asks who leads.
                ErrorCode::NotLeaderOrFollower
            };
            return Ok(FetchedPartition::empty(wanted.topic.topic(), wanted.index, code));
        }
        read => read?,
    };
    let Some(read) = read else {
        found.cold.push(Cold {
            partition: Arc::clone(partition),
            spec,
        });
        return Ok(FetchedPartition::empty(
            wanted.topic.topic(),
            wanted.index,
            ErrorCode::None,
        ));
    };
    // Records stay behind, for a limit or the end of a segment, or the client must truncate: waiting would bring nothing.
    found.urgent |= (read.slice.next_offset < read.max_offset && !held_back) || read.diverging.is_some();
    let max_offset = if held_back { NO_APPEND } else { read.max_offset };
    let fetched = take(wanted, ask.isolation_level, read, &mut found.in_memory)?;
    let bytes = fetched.records.as_ref().map_or(0, Payload::len);
    found.bytes += bytes;
    found.parked.push(Parked {
        partition: Arc::clone(partition),
        reader,
        max_offset,
        told: ask.wants_watermark.then_some(fetched.high_watermark),
        bytes,
        throttled,
    });
    Ok(fetched)
}

/// A partition without records.
fn whereabouts<'a>(partition: &PartitionHandle, wanted: &'a Wanted) -> Result<FetchedPartition<'a, Records>, Refusal> {
    let high_watermark = partition.leader_high_watermark(wanted.current_leader_epoch)?;
    Ok(FetchedPartition {
        high_watermark,
        last_stable_offset: high_watermark,
        log_start_offset: partition.log_start_offset()?,
        ..FetchedPartition::empty(wanted.topic.topic(), wanted.index, ErrorCode::None)
    })
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

fn take<'a>(
    wanted: &'a Wanted,
    isolation_level: i8,
    read: ReadSlice,
    in_memory: &mut usize,
) -> Result<FetchedPartition<'a, Records>, Refusal> {
    let records = Records::of(read.slice, in_memory).map_err(|error| {
        Refusal::new(
            ErrorCode::KafkaStorageError,
            format!("the records cannot be read: {error}"),
        )
    })?;
    Ok(FetchedPartition {
        high_watermark: read.high_watermark,
        last_stable_offset: read.last_stable_offset,
        log_start_offset: read.log_start_offset,
        diverging_epoch: read.diverging.map(|(epoch, end_offset)| EpochEndOffset {
            epoch: epoch.0,
            end_offset,
        }),
        // No transaction was ever aborted here.
        aborted_transactions: (isolation_level == READ_COMMITTED).then(Vec::new),
        records,
        ..FetchedPartition::empty(wanted.topic.topic(), wanted.index, ErrorCode::None)
    })
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
