//! A producer: batches with sequence numbers, retried in order until they are acknowledged or given up.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use protocol::ErrorCode;
use protocol::batch::BatchBuilder;

use super::directory::Directory;
use super::message::{CallId, Message, ProcessId, Produce, Request, Response};
use super::outbox::{Calls, Outbox};
use crate::history::{Guarantee, Operation, Place, Value};
use crate::random::Random;

const REQUEST_TIMEOUT: Duration = Duration::from_millis(1500);
const BACKOFF: Duration = Duration::from_millis(100);
/// A producer without idempotence gives a batch up after so long.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(8);
/// Batches of one partition that wait at most; more are not begun.
const BACKLOG: usize = 8;

/// What a producer is.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProducerSettings {
    pub(super) number: u32,
    pub(super) guarantee: Guarantee,
    /// Between two batches, on the average.
    pub(super) pace: Duration,
    pub(super) max_in_flight: usize,
}

#[derive(Debug)]
pub(super) struct Producer {
    settings: ProducerSettings,
    random: Random,
    calls: Calls<Purpose>,
    directory: Directory,
    queues: BTreeMap<Place, Queue>,
    values: u32,
    next_batch: Duration,
    /// Begins no batches before.
    pub(super) quiet_until: Duration,
    /// Begins no more batches.
    pub(super) finishing: bool,
}

#[derive(Debug)]
enum Purpose {
    Metadata,
    /// A batch of a partition, by its first sequence number.
    Produce(Place, i32),
}

#[derive(Debug, Default)]
struct Queue {
    next_sequence: i32,
    begun: usize,
    /// Not acknowledged, in order.
    batches: VecDeque<Batch>,
    retry_at: Duration,
    /// Some batch was acknowledged.
    known: bool,
}

#[derive(Debug)]
struct Batch {
    /// Counts batches of the partition.
    number: usize,
    first_sequence: i32,
    values: Vec<Value>,
    bytes: Vec<u8>,
    begun: Duration,
    in_flight: bool,
    /// Some attempt may have been written.
    in_doubt: bool,
}

impl Producer {
    pub(super) fn new(settings: ProducerSettings, random: Random, directory: Directory) -> Self {
        Self {
            settings,
            random,
            calls: Calls::default(),
            directory,
            queues: BTreeMap::new(),
            values: 0,
            next_batch: Duration::ZERO,
            quiet_until: Duration::ZERO,
            finishing: false,
        }
    }

    /// Nothing waits for an acknowledgement.
    pub(super) fn is_idle(&self) -> bool {
        self.queues.values().all(|queue| queue.batches.is_empty())
    }

    /// What still waits, for people.
    pub(super) fn waiting(&self) -> Vec<(Place, usize)> {
        let waiting = self.queues.iter().filter(|(_, queue)| !queue.batches.is_empty());
        waiting.map(|(place, queue)| (*place, queue.batches.len())).collect()
    }

    pub(super) fn take(&mut self, now: Duration, _from: ProcessId, message: Message, out: &mut Outbox) {
        let (call, response) = match message {
            Message::Response(call, response) => (call, Some(response)),
            Message::Refused(call) => (call, None),
            _ => return,
        };
        self.answered(now, call, response, out);
    }

    pub(super) fn tick(&mut self, now: Duration, out: &mut Outbox) {
        for purpose in self.calls.expired(now) {
            self.failed(now, &purpose, None);
        }
        let ask = self.directory.is_due(now) && !self.calls.any(|purpose| matches!(purpose, Purpose::Metadata));
        if ask {
            let host = self.directory.next_host(now, &mut self.random);
            self.calls
                .send(host, Request::Metadata, Purpose::Metadata, now + REQUEST_TIMEOUT, out);
        }
        if now >= self.next_batch.max(self.quiet_until) && !self.finishing {
            let pace = self.settings.pace.as_micros() as usize;
            self.next_batch = now + Duration::from_micros((pace / 2 + self.random.below(pace)) as u64);
            self.begin(now, out);
        }
        self.give_up(now, out);
        self.send_due(now, out);
    }

    /// Makes a batch for some partition.
    fn begin(&mut self, now: Duration, out: &mut Outbox) {
        let places = self.directory.places();
        if places.is_empty() {
            return;
        }
        let place = places[self.random.below(places.len())];
        let queue = self.queues.entry(place).or_default();
        if queue.batches.len() >= BACKLOG {
            return;
        }
        let count = 1 + self.random.below(3) as i32;
        let mut builder = BatchBuilder::new();
        if self.settings.guarantee == Guarantee::Idempotent {
            builder = builder.producer(i64::from(self.settings.number), 0, queue.next_sequence);
        }
        let mut values = Vec::new();
        for _ in 0..count {
            self.values += 1;
            let value = u64::from(self.settings.number) << 32 | u64::from(self.values);
            builder = builder.record(1000, None, Some(&value.to_be_bytes()));
            values.push(value);
            out.operations.push(Operation::Send {
                producer: self.settings.number,
                place,
                value,
                guarantee: self.settings.guarantee,
            });
        }
        queue.begun += 1;
        queue.batches.push_back(Batch {
            number: queue.begun,
            first_sequence: queue.next_sequence,
            values,
            bytes: builder.build(),
            begun: now,
            in_flight: false,
            in_doubt: false,
        });
        queue.next_sequence += count;
    }

    fn send_due(&mut self, now: Duration, out: &mut Outbox) {
        for (place, queue) in &mut self.queues {
            if now < queue.retry_at {
                continue;
            }
            let Some((host, _)) = self.directory.leader(*place) else {
                self.directory.refresh();
                continue;
            };
            // A leader takes any sequence number as the first of a producer that it does not know. On a connection, the lowest
            // comes first; here messages overtake each other, so that the first one goes alone.
            let at_once = if queue.known { self.settings.max_in_flight } else { 1 };
            // Leaders remember the last five batches only: a retry may not be further behind than that.
            let first = queue.batches.front().map_or(0, |batch| batch.number);
            for batch in &mut queue.batches {
                if batch.in_flight || batch.number >= first + at_once {
                    continue;
                }
                batch.in_flight = true;
                let produce = Produce {
                    place: *place,
                    all_replicas: self.settings.guarantee != Guarantee::LeaderOnly,
                    batch: batch.bytes.clone(),
                    timeout: REQUEST_TIMEOUT,
                };
                self.calls.send(
                    host,
                    Request::Produce(produce),
                    Purpose::Produce(*place, batch.first_sequence),
                    now + REQUEST_TIMEOUT,
                    out,
                );
            }
        }
    }

    fn answered(&mut self, now: Duration, call: CallId, response: Option<Response>, out: &mut Outbox) {
        let Some(purpose) = self.calls.answered(call) else {
            return;
        };
        match (purpose, response) {
            (Purpose::Metadata, Some(Response::Metadata(hosts, leaders))) => {
                self.directory.learn(now, hosts, &leaders);
            }
            (Purpose::Produce(place, sequence), Some(Response::Produced(Ok(offset)))) => {
                self.acknowledged(place, sequence, Some(offset), out);
            }
            (Purpose::Produce(place, sequence), Some(Response::Produced(Err(ErrorCode::DuplicateSequenceNumber)))) => {
                self.acknowledged(place, sequence, None, out);
            }
            (purpose @ Purpose::Produce(..), Some(Response::Produced(Err(code)))) => {
                self.failed(now, &purpose, Some(code));
            }
            (purpose, _) => self.failed(now, &purpose, None),
        }
    }

    fn acknowledged(&mut self, place: Place, sequence: i32, offset: Option<i64>, out: &mut Outbox) {
        let Some(queue) = self.queues.get_mut(&place) else {
            return;
        };
        let Some(at) = queue.batches.iter().position(|batch| batch.first_sequence == sequence) else {
            return;
        };
        let Some(batch) = queue.batches.remove(at) else { return };
        queue.known = true;
        for (number, value) in batch.values.into_iter().enumerate() {
            let offset = offset.map(|offset| offset + number as i64);
            out.operations.push(Operation::Acknowledged { value, offset });
        }
    }

    fn failed(&mut self, now: Duration, purpose: &Purpose, code: Option<ErrorCode>) {
        self.directory.refresh();
        let Purpose::Produce(place, sequence) = purpose else {
            return;
        };
        let Some(queue) = self.queues.get_mut(place) else {
            return;
        };
        queue.retry_at = now + BACKOFF;
        let batch = queue.batches.iter_mut().find(|batch| batch.first_sequence == *sequence);
        if let Some(batch) = batch {
            batch.in_flight = false;
            // Everything else may have been written before it failed, or while nobody listened any more.
            batch.in_doubt |= code != Some(ErrorCode::NotEnoughReplicas);
        }
    }

    /// Without idempotence a batch that cannot be delivered is dropped; nobody knows what became of it.
    fn give_up(&mut self, now: Duration, out: &mut Outbox) {
        if self.settings.guarantee == Guarantee::Idempotent {
            return;
        }
        for queue in self.queues.values_mut() {
            let expired = |batch: &Batch| !batch.in_flight && now >= batch.begun + DELIVERY_TIMEOUT;
            while queue.batches.front().is_some_and(expired) {
                let Some(batch) = queue.batches.pop_front() else { break };
                if !batch.in_doubt {
                    for value in batch.values {
                        out.operations.push(Operation::Failed { value });
                    }
                }
            }
        }
    }
}
