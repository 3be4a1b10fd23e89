//! One thread's work: ask a leader for everything that follows it, write what it sends, ask again.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker_replication::{FetchPosition, LeaderAnswer};
use model::{BrokerId, LeaderEpoch};
use protocol::fetch::{AnsweredPartition, FetchAnswer, FetchRequest, ReplicaState};
use protocol::{DecodeError, Request};

use super::leader_address::LeaderAddress;
use super::session::{Ask, FetchSession, SessionError};
use super::{Order, Orders, Target};
use crate::clock::monotonic;
use crate::departures::Departures;
use crate::kafka_connection::KafkaConnection;
use crate::replica_manager::{PartitionKey, ReplicaManager};

/// How long a leader keeps a request for which it has nothing (Kafka's `replica.fetch.wait.max.ms`).
const LONGEST_POLL: Duration = Duration::from_millis(500);

/// The same after an answer with records: new orders wait for the end of such a poll, and a long one is broken off for them.
const BUSY_POLL: Duration = Duration::from_millis(20);

/// Bytes of one partition in an answer (`replica.fetch.max.bytes`). A larger batch comes all the same.
const PARTITION_BYTES: i32 = 1 << 20;

/// Bytes of an answer (`replica.fetch.response.max.bytes`).
const ANSWER_BYTES: i32 = 10 << 20;

/// No answer is longer: what was asked for, and one batch of any size.
const LARGEST_ANSWER: usize = i32::MAX as usize;

/// For so much there is memory before it arrives: what was asked for, and what stands around it.
const EXPECTED_ANSWER: usize = ANSWER_BYTES as usize + (64 << 10);

/// Memory that is kept for the next answer when nothing came, and what counts as nothing.
const KEPT_BYTES: usize = 64 << 10;
const IDLE_ANSWER: usize = 4 << 10;

/// How long a leader may be silent: six times what it may take to answer. Kafka waits 30 s (`replica.socket.timeout.ms`); but a
/// connection that a network fault has cut goes on only when TCP sends again, which after eight seconds of silence takes up to
/// seven more, and all that time nothing is committed. A new one is there at once.
const SILENCE: Duration = Duration::from_secs(3);

/// How long it may take to connect. A leader that is gone without a word is replaced by the controller, not waited for.
const CONNECTING: Duration = Duration::from_secs(2);

/// Between two attempts to reach a leader: at first, and at most.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// With nothing to ask for, orders are waited for; this is only to be sure.
const IDLE: Duration = Duration::from_secs(5);

/// How often all partitions are looked at: what they ask for changes with what is fetched, and with orders; only their log
/// start moves beside that.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Fetches from one leader.
pub(super) struct Fetcher {
    local: BrokerId,
    replicas: Arc<ReplicaManager>,
    departures: Arc<Departures>,
    leader: BrokerId,
    orders: Arc<Orders>,
    address: LeaderAddress,
    connection: Option<(Target, KafkaConnection)>,
    session: FetchSession,
    asked: Asked,
    frame: Vec<u8>,
    failures: u32,
}

/// What is asked of each partition. Only what an answer or an order may have changed is looked at again, and from time to
/// time everything: a broker may follow thousands of partitions of which few get records.
#[derive(Default)]
struct Asked {
    /// Of which orders.
    order: Option<u64>,
    positions: HashMap<PartitionKey, FetchPosition>,
    /// Partitions that ask for nothing now, and when they will, if that is known.
    waiting: HashMap<PartitionKey, Option<Duration>>,
    /// When everything was looked at.
    looked: Duration,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
enum FetchFailed {
    /// New orders came while the leader was asked.
    #[error("interrupted")]
    Interrupted,
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("the connection failed: {0}")]
    Connection(#[from] io::Error),
    #[error("the answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    #[error("the answer is for another request")]
    OtherRequest,
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl Fetcher {
    pub(super) fn new(
        local: BrokerId,
        replicas: Arc<ReplicaManager>,
        departures: Arc<Departures>,
        leader: BrokerId,
        orders: Arc<Orders>,
    ) -> Self {
        Self {
            local,
            replicas,
            departures,
            leader,
            orders,
            address: LeaderAddress::default(),
            connection: None,
            session: FetchSession::default(),
            asked: Asked::default(),
            frame: Vec::new(),
            failures: 0,
        }
    }

    /// Until it is told to stop.
    pub(super) fn run(mut self) {
        loop {
            let order = self.orders.get();
            if order.stop {
                return;
            }
            let disk = self.replicas.disk();
            if disk.is_full() || !disk.is_sound() {
                // What room there is, is for what frees some. A replica that falls behind costs nobody a record.
                self.orders.wait(order.number, LONGEST_WAIT);
                continue;
            }
            let Some(target) = &order.target else {
                self.orders.wait(order.number, IDLE);
                continue;
            };
            let now = monotonic();
            let next = self.look(&order, now);
            if self.session.is_empty() {
                let patience = next.map_or(IDLE, |at| at.saturating_sub(now));
                self.orders.wait(order.number, patience);
                continue;
            }
            let longest = if self.orders.busy.load(Ordering::Acquire) {
                BUSY_POLL
            } else {
                LONGEST_POLL
            };
            let poll = next.map_or(longest, |at| at.saturating_sub(now).min(longest));
            match self.fetch(&order, target, poll) {
                Ok(()) => {
                    if self.failures > 0 {
                        self.departures.heard(self.leader);
                        tracing::info!(leader = %self.leader, "fetches from the leader again");
                    }
                    self.failures = 0;
                }
                Err(failed) => self.failed(&order, target, &failed),
            }
        }
    }

    fn fetch(&mut self, order: &Order, target: &Target, poll: Duration) -> Result<(), FetchFailed> {
        let version = FetchRequest::VERSIONS.max;
        let mut connection = self.connect(target)?;
        let mut request = FetchRequest {
            replica_state: ReplicaState {
                replica_id: self.local.0,
                replica_epoch: target.broker_epoch.0,
            },
            max_wait_ms: poll.as_millis() as i32,
            min_bytes: 1,
            max_bytes: ANSWER_BYTES,
            ..FetchRequest::default()
        };
        self.session.ask(&mut request);
        let sent = connection.send(&request, version)?;
        if !self.orders.begin_poll(order.number, connection.breaker()) {
            return Err(FetchFailed::Interrupted);
        }
        let received = connection.receive(&mut self.frame, EXPECTED_ANSWER, LARGEST_ANSWER);
        self.orders.end_poll();
        if received.is_err() && self.orders.get().number != order.number {
            return Err(FetchFailed::Interrupted);
        }
        received?;
        let frame = std::mem::take(&mut self.frame);
        let taken = self.take(order, &frame, sent, version);
        // What was of use a moment ago will be again, until nothing comes any more.
        let idle = frame.len() < IDLE_ANSWER;
        self.orders.busy.store(!idle, Ordering::Release);
        self.frame = frame;
        self.frame.clear();
        if idle {
            self.frame.shrink_to(KEPT_BYTES);
        }
        if taken.is_ok() {
            self.connection = Some((target.clone(), connection));
        }
        taken
    }

    /// What came goes to the logs from where it was received.
    fn take(&mut self, order: &Order, frame: &[u8], sent: i32, version: i16) -> Result<(), FetchFailed> {
        let (correlation_id, answer) = FetchAnswer::decode(frame, version)?;
        if correlation_id != sent {
            return Err(FetchFailed::OtherRequest);
        }
        let keys = answer.partitions.iter().map(|one| (one.topic_id, one.index));
        self.session.answered(answer.error_code, answer.session_id, keys)?;
        for one in &answer.partitions {
            let key = (one.topic_id, one.index);
            if let (Some(partition), Some(asked)) = (order.partitions.get(&key), self.asked.positions.get(&key)) {
                self.replicas.fetched(partition, asked, &said(one));
                if partition.throttled.as_follower() {
                    let bytes = one.records.len();
                    self.replicas.throttles().followers.count(bytes, monotonic());
                }
            }
            self.asked.waiting.insert(key, Some(Duration::ZERO));
        }
        Ok(())
    }

    /// Finds out what is to be asked of the partitions, and when the first of those that wait will have something to ask.
    fn look(&mut self, order: &Order, now: Duration) -> Option<Duration> {
        let throttle = &self.replicas.throttles().followers;
        let asked = &mut self.asked;
        if asked.order != Some(order.number) || asked.looked + LOOK_AGAIN <= now {
            asked.order = Some(order.number);
            asked.looked = now;
            let known: Vec<PartitionKey> = asked.positions.drain().map(|(key, _)| key).collect();
            for key in known.into_iter().filter(|key| !order.partitions.contains_key(key)) {
                self.session.forget(key);
            }
            asked.waiting = order
                .partitions
                .keys()
                .map(|key| (*key, Some(Duration::ZERO)))
                .collect();
        }
        let mut next: Option<Duration> = None;
        let due = asked
            .waiting
            .extract_if(|_, until| until.is_some_and(|until| until <= now));
        for (key, _) in due.collect::<Vec<_>>() {
            let Some(partition) = order.partitions.get(&key) else {
                continue;
            };
            let held_back = throttle.free_at(now).filter(|_| partition.throttled.as_follower());
            let position = match held_back {
                Some(free_at) => Err(Some(free_at)),
                None => partition.fetch_position(now),
            };
            match position {
                Ok(position) if position.leader == self.leader => {
                    self.session.want(key, ask(&position));
                    asked.positions.insert(key, position);
                }
                other => {
                    self.session.forget(key);
                    asked.positions.remove(&key);
                    // If it follows somebody else, the next orders say who fetches it.
                    asked.waiting.insert(key, other.err().flatten());
                }
            }
        }
        for until in asked.waiting.values().copied().flatten() {
            next = Some(next.map_or(until, |next| next.min(until)));
        }
        next
    }

    fn connect(&mut self, target: &Target) -> Result<KafkaConnection, FetchFailed> {
        if let Some((known, connection)) = self.connection.take()
            && known == *target
        {
            return Ok(connection);
        }
        self.session.begin_anew();
        let connection = self.address.connect(target, CONNECTING).map_err(FetchFailed::Connect)?;
        connection.set_patience(SILENCE)?;
        Ok(connection)
    }

    fn failed(&mut self, order: &Order, target: &Target, failed: &FetchFailed) {
        self.connection = None;
        self.session.begin_anew();
        self.orders.busy.store(false, Ordering::Release);
        if matches!(failed, FetchFailed::Interrupted) {
            return;
        }
        if matches!(failed, FetchFailed::Connect(_) | FetchFailed::Connection(_)) {
            let life = target.leader_broker_epoch;
            self.departures.lost(self.leader, life, monotonic());
        }
        if self.failures == 0 {
            tracing::warn!(leader = %self.leader, error = %failed, "nothing is fetched from the leader, trying again");
        }
        let wait = FIRST_WAIT * 2_u32.saturating_pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        // A session that is forgotten is begun anew at once.
        if !(self.failures == 1 && matches!(failed, FetchFailed::Session(_))) {
            self.orders.wait(order.number, wait.min(LONGEST_WAIT));
        }
    }
}

fn ask(position: &FetchPosition) -> Ask {
    Ask {
        fetch_offset: position.fetch_offset,
        current_leader_epoch: position.leader_epoch.0,
        last_fetched_epoch: position.last_fetched_epoch.map_or(-1, |epoch| epoch.0),
        log_start_offset: position.log_start_offset,
        max_bytes: PARTITION_BYTES,
    }
}

fn said<'a>(one: &AnsweredPartition<'a>) -> LeaderAnswer<'a> {
    LeaderAnswer {
        error: one.error_code,
        high_watermark: one.high_watermark,
        log_start_offset: one.log_start_offset,
        diverging: one.diverging_epoch.map(|end| (LeaderEpoch(end.epoch), end.end_offset)),
        records: one.records,
    }
}
