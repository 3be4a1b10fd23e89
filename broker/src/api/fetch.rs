//! Fetch: records go out.
//!
//! A request that finds enough is answered at once. Otherwise it is parked at its partitions; an append that moves a
//! watermark wakes it, on whatever thread that was, and it reads again on its own. A follower's fetch is woken by the append
//! itself, and says how far the follower is. What a request wants and which part of
//! the answer is worth sending is decided by its session ([`crate::fetch_sessions`]).

use std::sync::Arc;
use std::time::Duration;

use broker_network::{Response, Responses};
use model::{BrokerEpoch, BrokerId};
use protocol::fetch::{CONSUMER, FetchRequest, FetchResponse, FetchedPartition};
use protocol::{EncodeError, ErrorCode};

use super::call::{BadRequest, Call, ReplyTo};
use crate::context::BrokerContext;
use crate::fetch_sessions::{FetchContext, Said};
use crate::fetches::{MAX_RESPONSE_BYTES, Parking, session_slots};
use crate::leader_hints::LeaderHints;

mod rack;
mod reading;
mod records;
mod waiting;

use reading::{Disk, Found, read};
use records::Records;
use waiting::{Begin, Waiting};

/// A client that wants to wait longer gets an empty answer and asks again.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// The first version in which a partition names its leader (KIP-951).
const NAMES_LEADERS: i16 = 16;

/// The first version whose clients name their rack and may be sent to a follower (KIP-392).
const KNOWS_RACKS: i16 = 11;

/// The first version with an error of the request as a whole, and with sessions.
const HAS_SESSIONS: i16 = 7;

/// A request, once its session has said what it wants.
#[derive(Debug)]
struct Ask {
    /// The broker that fetches for its replicas, in which registration; `None` for a consumer.
    follower: Option<(BrokerId, BrokerEpoch)>,
    /// A client that may be served by a follower.
    anywhere: bool,
    /// A follower that is told at once of a watermark that moves, because clients read there.
    wants_watermark: bool,
    /// The client's rack, if replicas are chosen by it.
    rack: Option<String>,
    context: FetchContext,
    version: i16,
    isolation_level: i8,
    max_wait: Duration,
    min_bytes: usize,
    max_bytes: usize,
}

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let mut request: FetchRequest = call.decode()?;
    let version = call.version();
    let context = match call.broker.fetches.sessions.begin(&mut request, version) {
        Ok(context) => context,
        Err(error) => {
            responses.push(refused(&call.reply, &request, error)?);
            return Ok(());
        }
    };
    let rack_aware = || rack::is_rack_aware(&call.broker.metadata.image());
    let ask = Ask::new(context, &request, version, rack_aware);
    let listener = &call.connection.listener;
    let table = call.broker.replicas.topics();
    let mut found = read(call.broker, listener, &table, &ask, Disk::Never);
    let waits = !found.is_enough(&ask) && !found.parked.is_empty();
    if !found.cold.is_empty() || waits {
        let Some(parking) = Parking::take(&call.broker.fetches, ask.context.wanted.len()) else {
            // Whoever has no place to wait gets what there is.
            responses.push(respond(call.broker, listener, &call.reply, &ask, found)?);
            return Ok(());
        };
        let begin = if found.cold.is_empty() {
            Begin::Park(std::mem::take(&mut found.parked))
        } else {
            Begin::Warm(std::mem::take(&mut found.cold))
        };
        drop(found);
        let slot = responses.push_later();
        let waiting = Waiting {
            broker: Arc::clone(call.broker),
            _parking: parking,
            listener: Arc::clone(listener),
            reply: call.reply,
            ask,
        };
        // Made here: the connection may end before the task runs for the first time.
        let ended = Arc::clone(&call.connection.ended).notified_owned();
        tokio::task::spawn_local(waiting.answer(begin, ended, slot));
        return Ok(());
    }
    responses.push(respond(call.broker, listener, &call.reply, &ask, found)?);
    Ok(())
}

impl Ask {
    fn new(context: FetchContext, request: &FetchRequest, version: i16, rack_aware: impl FnOnce() -> bool) -> Self {
        let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
        let max_bytes = size(request.max_bytes).min(MAX_RESPONSE_BYTES);
        let max_wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
        let (replica, broker_epoch) = request.replica(version);
        let rack = Some(request.rack_id.as_str()).filter(|rack| !rack.is_empty());
        let rack_aware = (rack.is_some() || replica > CONSUMER) && rack_aware();
        let rack = rack.filter(|_| rack_aware);
        Self {
            wants_watermark: replica > CONSUMER && rack_aware,
            anywhere: version >= KNOWS_RACKS,
            rack: rack.map(str::to_owned),
            follower: (replica > CONSUMER).then_some((BrokerId(replica), BrokerEpoch(broker_epoch))),
            context,
            version,
            isolation_level: request.isolation_level,
            max_wait: max_wait.min(LONGEST_WAIT),
            // Nobody waits for more than may be sent.
            min_bytes: size(request.min_bytes).min(max_bytes),
            max_bytes,
        }
    }
}

/// A request that is not read at all. Before version 7 each of its partitions must say so.
fn refused(reply: &ReplyTo, request: &FetchRequest, error: ErrorCode) -> Result<Response, EncodeError> {
    let response = FetchResponse {
        error_code: error,
        ..FetchResponse::default()
    };
    let named = request.topics.iter().filter(|_| reply.version < HAS_SESSIONS);
    let partitions = named
        .flat_map(|topic| {
            let name = topic.topic(reply.version);
            let partitions = topic.partitions.iter();
            partitions.map(move |part| FetchedPartition::empty(name, part.partition, error))
        })
        .collect();
    records::response(reply, &response, partitions)
}

/// The answer, fitted to the session of its request.
fn respond(
    broker: &BrokerContext,
    listener: &str,
    reply: &ReplyTo,
    ask: &Ask,
    mut found: Found<'_>,
) -> Result<Response, EncodeError> {
    let said: Vec<Said> = found.partitions.iter().map(said).collect();
    let slots = || session_slots(&broker.metadata.image());
    let fitted = broker.fetches.sessions.finish(&ask.context, &said, slots);
    if fitted.error != ErrorCode::None {
        found.partitions.clear();
    } else if let Some(included) = fitted.included {
        let mut included = included.into_iter();
        found.partitions.retain(|_| included.next().unwrap_or(true));
    }
    let mut hints = LeaderHints::new(broker, listener);
    if ask.version >= NAMES_LEADERS {
        for partition in &mut found.partitions {
            partition.current_leader = hints.leader(partition.error_code, partition.topic, partition.index);
        }
    }
    found.count_answered(broker);
    let response = FetchResponse {
        error_code: fitted.error,
        session_id: fitted.session_id,
        node_endpoints: &hints.endpoints(),
        ..FetchResponse::default()
    };
    records::response(reply, &response, found.partitions)
}

fn said(partition: &FetchedPartition<'_, Records>) -> Said {
    Said {
        high_watermark: partition.high_watermark,
        log_start_offset: partition.log_start_offset,
        records: partition.records.is_some(),
        urgent: partition.error_code != ErrorCode::None
            || partition.diverging_epoch.is_some()
            || partition.preferred_read_replica >= 0,
    }
}
