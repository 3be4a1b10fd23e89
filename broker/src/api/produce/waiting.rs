//! Requests with `acks=all` whose records are not committed yet.
//!
//! The requests of one wake-up wait together: one task, one place at each partition and offset. They are answered one by
//! one as their watermarks pass, and their connection brings the answers into the order of the requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker_log::AppendInfo;
use broker_network::{Response, Slot};
use protocol::produce::{ProduceResponse, ProducedPartition, RecordError};
use protocol::{ApiKey, EncodeError, ErrorCode};
use tokio::time::Instant;

use super::{Entry, Uncommitted, produced};
use crate::api::call::ReplyTo;
use crate::api::client_connection::ClientConnection;
use crate::context::BrokerContext;
use crate::fetch_sessions::TopicKey;
use crate::leader_hints::LeaderHints;
use crate::metrics::TopicCounter;
use crate::partition::{FetchWaiter, PartitionHandle, Place, Wake};
use crate::refusal::Refusal;

/// A request that waits.
pub(super) struct WaitingRequest {
    pub(super) reply: ReplyTo,
    pub(super) slot: Slot,
    pub(super) timeout: Duration,
    pub(super) entries: Vec<WaitingEntry>,
}

/// What it has of one partition.
pub(super) struct WaitingEntry {
    topic: TopicKey,
    index: i32,
    outcome: Result<AppendInfo, Refusal>,
    uncommitted: Option<(Arc<PartitionHandle>, Uncommitted)>,
}

impl WaitingEntry {
    pub(super) fn of(entry: &Entry<'_, '_>) -> Self {
        Self {
            topic: entry.topic.into(),
            index: entry.index,
            outcome: entry.outcome.clone(),
            uncommitted: entry.partition.cloned().zip(entry.uncommitted),
        }
    }

    /// Looks whether it still waits.
    fn look(&mut self) -> bool {
        let Some((partition, Uncommitted { leader_epoch, required })) = &self.uncommitted else {
            return false;
        };
        match partition.committed(*leader_epoch, *required) {
            Ok(false) => return true,
            Ok(true) => {}
            Err(refusal) => self.refuse(refusal),
        }
        self.uncommitted = None;
        false
    }

    /// Gives up: the records may be committed later, or not.
    fn give_up(&mut self) {
        if self.uncommitted.is_some() {
            let message = "written, but not to every in-sync replica in time";
            self.refuse(Refusal::new(ErrorCode::RequestTimedOut, message));
            self.uncommitted = None;
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        if let Some((partition, _)) = &self.uncommitted {
            partition.metrics.add(TopicCounter::FailedProduceRequests, 1);
        }
        self.outcome = Err(refusal);
    }
}

/// Requests of one connection that wait, and where.
struct Waiting {
    broker: Arc<BrokerContext>,
    listener: Arc<str>,
    waiter: Arc<FetchWaiter>,
    requests: Vec<Parked>,
}

/// A request with its places.
struct Parked {
    until: Instant,
    /// As the partitions know it: one for each request, so that one that gives up takes no other's place away.
    place: Arc<dyn Wake>,
    request: WaitingRequest,
}

/// Lets the requests wait on the connection's thread.
pub(super) fn spawn(broker: &Arc<BrokerContext>, connection: &ClientConnection, requests: Vec<WaitingRequest>) {
    let now = Instant::now();
    broker
        .fetches
        .waiting_writes
        .fetch_add(requests.len(), Ordering::Relaxed);
    let waiter = Arc::new(FetchWaiter::default());
    let parked = requests.into_iter().map(|request| Parked {
        until: now + request.timeout,
        place: Arc::new(Place(Arc::clone(&waiter))),
        request,
    });
    let waiting = Waiting {
        broker: Arc::clone(broker),
        listener: Arc::clone(&connection.listener),
        requests: parked.collect(),
        waiter,
    };
    // Made here: the connection may end before the task runs for the first time.
    let ended = Arc::clone(&connection.ended).notified_owned();
    tokio::task::spawn_local(async move {
        tokio::select! {
            () = waiting.answer() => {}
            // Nobody is left to hear the answers.
            () = ended => {}
        }
    });
}

impl Waiting {
    async fn answer(mut self) {
        for Parked { place, request, .. } in &self.requests {
            for (partition, uncommitted) in request.entries.iter().filter_map(|entry| entry.uncommitted.as_ref()) {
                let Uncommitted { leader_epoch, required } = *uncommitted;
                if !partition.wait_committed(leader_epoch, required, Arc::clone(place)) {
                    self.waiter.wake();
                }
            }
        }
        while let Some(until) = self.requests.iter().map(|parked| parked.until).min() {
            tokio::select! {
                () = self.waiter.woken() => {}
                () = tokio::time::sleep_until(until) => {}
            }
            let now = Instant::now();
            let requests = std::mem::take(&mut self.requests);
            for mut parked in requests {
                let entries = &mut parked.request.entries;
                let waits = entries.iter_mut().fold(false, |waits, entry| entry.look() | waits);
                if waits && now < parked.until {
                    self.requests.push(parked);
                    continue;
                }
                parked.leave();
                parked.request.entries.iter_mut().for_each(WaitingEntry::give_up);
                self.complete(parked.request);
            }
        }
    }

    fn complete(&self, request: WaitingRequest) {
        self.broker.fetches.waiting_writes.fetch_sub(1, Ordering::Relaxed);
        let WaitingRequest {
            reply, slot, entries, ..
        } = request;
        match self.response(reply, &entries) {
            Ok(response) => slot.complete(response),
            Err(error) => {
                tracing::error!(%error, "a produce response cannot be encoded");
                slot.close();
            }
        }
    }

    fn response(&self, reply: ReplyTo, entries: &[WaitingEntry]) -> Result<Response, EncodeError> {
        for refusal in entries.iter().filter_map(|entry| entry.outcome.as_ref().err()) {
            self.broker.metrics.count_error(ApiKey::Produce, refusal.code);
        }
        let at_fault: Vec<Vec<RecordError<'_>>> = entries
            .iter()
            .map(|entry| entry.outcome.as_ref().err().map_or_else(Vec::new, super::record_errors))
            .collect();
        let mut hints = LeaderHints::new(&self.broker, &self.listener);
        let partitions: Vec<ProducedPartition<'_>> = entries
            .iter()
            .zip(&at_fault)
            .map(|(entry, record_errors)| ProducedPartition {
                record_errors,
                ..produced(entry.topic.topic(), entry.index, &entry.outcome, &mut hints)
            })
            .collect();
        let response = ProduceResponse {
            throttle_time_ms: 0,
            node_endpoints: &hints.endpoints(),
        };
        let mut bytes = reply.start();
        response.encode(&mut bytes, reply.version, &partitions)?;
        Ok(Response::owned(bytes))
    }
}

impl Parked {
    fn leave(&self) {
        let uncommitted = self
            .request
            .entries
            .iter()
            .filter_map(|entry| entry.uncommitted.as_ref());
        for (partition, _) in uncommitted {
            partition.forget_write(&self.place);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.requests.iter().for_each(Parked::leave);
        let gone = self.requests.len();
        self.broker.fetches.waiting_writes.fetch_sub(gone, Ordering::Relaxed);
    }
}
