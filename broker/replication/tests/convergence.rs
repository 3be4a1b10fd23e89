//! Three replicas on simulated disks, a leader that changes, answers that come late, processes that die and disks that lose
//! what was not synced: below the watermark all logs agree at any time, and once nothing fails any more they are the same.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_log::dir::sim::{Seeded, SimDir};
use broker_log::{Checkpoint, DataDir, LogConfig, LogError, Offsets, OpenState, PartitionLog, TopicPartition};
use broker_replication::{FetchPosition, FollowError, Followed, LeaderAnswer, Replica, ReplicaPeer, ReplicaView};
use model::{BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, ProducerId, TopicId, TopicName};
use protocol::ErrorCode;
use protocol::batch::{BatchBuilder, batches};

const NODES: usize = 3;
const STEPS: usize = 150;

type Outcome = Result<(), String>;

macro_rules! ensure {
    ($holds:expr, $($message:tt)*) => {
        if !$holds {
            return Err(format!($($message)*));
        }
    };
}

struct Node {
    disk: SimDir,
    data: DataDir<SimDir>,
    offsets: [Offsets; 3],
    replica: Replica<SimDir>,
    /// The highest watermark that this process has known.
    high_watermark: i64,
}

/// What a leader said, on its way.
struct Answer {
    to: usize,
    asked: FetchPosition,
    error: ErrorCode,
    high_watermark: i64,
    log_start_offset: i64,
    diverging: Option<(LeaderEpoch, i64)>,
    records: Vec<u8>,
}

struct World {
    chance: Seeded,
    config: LogConfig,
    now: Duration,
    nodes: Vec<Node>,
    leader: usize,
    epoch: i32,
    partition_epoch: i32,
    epoch_start: i64,
    isr: Vec<usize>,
    /// How far each replica is, as the leader of this epoch knows.
    fetched: [Option<i64>; NODES],
    high_watermark: i64,
    in_flight: Vec<Answer>,
    /// Batches that were committed, by their first offset.
    committed: BTreeMap<i64, Vec<u8>>,
    committed_end: i64,
    truncations: usize,
    restarts: usize,
}

const FILES: [Checkpoint; 3] = [
    Checkpoint::RecoveryPoint,
    Checkpoint::LogStartOffset,
    Checkpoint::HighWatermark,
];

fn topic_partition() -> TopicPartition {
    TopicPartition {
        topic: TopicName::new("mail").expect("a name"),
        partition: PartitionIndex(0),
    }
}

fn note(data: &DataDir<SimDir>, offsets: &mut [Offsets; 3], file: Checkpoint, offset: i64) -> Result<(), LogError> {
    for (name, offsets) in FILES.into_iter().zip(offsets) {
        if name == file {
            offsets.insert(topic_partition(), offset);
            data.write(name, offsets)?;
        }
    }
    Ok(())
}

impl Node {
    fn open(disk: SimDir, config: &LogConfig) -> Self {
        let (data, left) = DataDir::open(disk.clone()).expect("opens");
        let of = topic_partition();
        let at = |offsets: &Offsets| offsets.get(&of).copied().unwrap_or(0);
        let state = OpenState {
            clean: false,
            recovery_point: at(&left.recovery_points),
            log_start_offset: at(&left.log_start_offsets),
        };
        let high_watermark = at(&left.high_watermarks);
        let id = TopicId::from_random([7; 16]);
        let (log, _) = PartitionLog::open(&data, of, id, config.clone(), state, 0).expect("recovers");
        let replica = Replica::new(log, high_watermark);
        Self {
            disk,
            data,
            offsets: [left.recovery_points, left.log_start_offsets, left.high_watermarks],
            high_watermark: replica.high_watermark(),
            replica,
        }
    }

    fn log(&self) -> &PartitionLog<SimDir> {
        self.replica.log()
    }

    fn note(&mut self, file: Checkpoint, offset: i64) {
        note(&self.data, &mut self.offsets, file, offset).expect("writes");
    }

    fn truncate(&mut self, now: Duration) -> Result<bool, String> {
        let (data, offsets) = (&self.data, &mut self.offsets);
        let cut = self
            .replica
            .truncate(now, |file, offset| note(data, offsets, file, offset));
        cut.map(|cut| cut.is_some()).map_err(|error| error.to_string())
    }

    fn checkpoint(&mut self) {
        let point = self.replica.checkpoint();
        self.note(Checkpoint::RecoveryPoint, point.recovery_point);
        self.note(Checkpoint::HighWatermark, point.high_watermark);
    }

    /// Lets the log start at `offset`, as a broker does.
    fn delete(&mut self, offset: i64) {
        let log = self.replica.log_mut();
        if let Some(work) = log.begin_delete_records(offset).expect("begins") {
            let done = work.run();
            log.end_flush(done).expect("flushed");
        }
        assert!(log.end_delete_records(offset).expect("moves"));
        let start = log.log_start_offset();
        self.note(Checkpoint::LogStartOffset, start);
        let log = self.replica.log_mut();
        let (removed, work) = log.remove_before(start).expect("removes");
        let done = work.run();
        log.end_flush(done).expect("flushed");
        removed.remove().expect("frees");
    }

    /// All batches from `from` on, by their first offsets.
    fn content(&self, from: i64) -> BTreeMap<i64, Vec<u8>> {
        let log = self.log();
        let mut found = BTreeMap::new();
        let mut offset = from.max(log.log_start_offset());
        while offset < log.log_end_offset() {
            let slice = log.read(offset, 1 << 20, i64::MAX, true).expect("reads");
            for batch in batches(&slice.read().expect("reads")) {
                let (header, bytes) = batch.expect("whole");
                found.insert(header.base_offset, bytes.to_vec());
            }
            offset = slice.next_offset;
        }
        found
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Seeded::new(seed);
        let config = LogConfig {
            segment_bytes: 600 + 300 * chance.below(4) as u32,
            index_interval_bytes: 100,
            ..LogConfig::default()
        };
        let nodes = (0..NODES).map(|_| Node::open(SimDir::new(), &config)).collect();
        let mut world = Self {
            chance,
            config,
            now: Duration::ZERO,
            nodes,
            leader: 0,
            epoch: 0,
            partition_epoch: 0,
            epoch_start: 0,
            isr: (0..NODES).collect(),
            fetched: [None; NODES],
            high_watermark: 0,
            in_flight: Vec::new(),
            committed: BTreeMap::new(),
            committed_end: 0,
            truncations: 0,
            restarts: 0,
        };
        world.elect(0);
        world
    }

    fn leads(&self) -> &Node {
        &self.nodes[self.leader]
    }

    fn elect(&mut self, leader: usize) {
        self.epoch += 1 + self.chance.below(2) as i32;
        self.leader = leader;
        let epoch = LeaderEpoch(self.epoch);
        let id = BrokerId(leader as i32);
        self.tell_leader();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            if at == leader {
                continue;
            }
            if self.chance.one_in(3) {
                // It hears of it later.
                node.replica.resign();
            } else {
                node.replica.follow(id, epoch);
            }
        }
        self.epoch_start = self.leads().log().log_end_offset();
        self.fetched = [None; NODES];
        self.high_watermark = self.leads().replica.high_watermark();
        self.commit();
    }

    /// The leader hears who is in sync.
    fn tell_leader(&mut self) {
        self.partition_epoch += 1;
        let view = ReplicaView {
            replicas: (0..NODES as i32)
                .map(|id| ReplicaPeer {
                    id: BrokerId(id),
                    broker_epoch: None,
                    eligible: true,
                })
                .collect(),
            isr: self.isr.iter().map(|at| BrokerId(*at as i32)).collect(),
            leader_epoch: LeaderEpoch(self.epoch),
            partition_epoch: PartitionEpoch(self.partition_epoch),
            min_insync_replicas: 1,
            next_producer_id: ProducerId(0),
        };
        let id = BrokerId(self.leader as i32);
        self.nodes[self.leader].replica.lead(id, &view, 0).expect("leads");
    }

    fn everybody_follows(&mut self) {
        let (leader, epoch) = (self.leader, LeaderEpoch(self.epoch));
        for (at, node) in self.nodes.iter_mut().enumerate() {
            if at != leader {
                node.replica.follow(BrokerId(leader as i32), epoch);
            }
        }
    }

    fn step(&mut self) -> Outcome {
        match self.chance.below(40) {
            0 => {
                let at = self.chance.below(self.isr.len());
                self.elect(self.isr[at]);
            }
            1 => self.everybody_follows(),
            2 => self.crash(),
            3 => self.delete_records(),
            4 => {
                let at = self.chance.below(NODES);
                self.nodes[at].checkpoint();
            }
            5 => {
                let at = self.chance.below(NODES);
                self.nodes[at].replica.log_mut().flush().expect("flushes");
            }
            6 => self.now += Duration::from_millis(self.chance.below(300) as u64),
            7 => self.isr_shrinks(),
            8..=17 => self.append(),
            18..=20 if !self.in_flight.is_empty() => {
                let at = self.chance.below(self.in_flight.len());
                let answer = self.in_flight.remove(at);
                self.deliver(&answer)?;
            }
            _ => {
                let at = self.chance.below(NODES);
                let late = self.chance.one_in(4);
                self.fetch(at, late)?;
            }
        }
        Ok(())
    }

    fn append(&mut self) {
        let mut builder = BatchBuilder::new();
        for _ in 0..=self.chance.below(3) {
            let value = self.chance.next_u64().to_be_bytes();
            builder = builder.record(1000, None, Some(&value));
        }
        let mut batch = builder.build();
        let node = &mut self.nodes[self.leader];
        node.replica
            .append_as_leader(&mut [&mut batch], false, self.epoch, 0)
            .expect("leads");
        node.replica.outcomes().clear();
        self.commit();
    }

    /// What the protocol's leader does with a fetch (Kafka's `Partition.readRecords`), said once more.
    fn answer(&mut self, to: usize, asked: FetchPosition) -> Answer {
        let log = self.nodes[self.leader].log();
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        let mut answer = Answer {
            to,
            asked,
            error: ErrorCode::None,
            high_watermark: self.high_watermark,
            log_start_offset: start,
            diverging: None,
            records: Vec::new(),
        };
        if asked.leader_epoch != LeaderEpoch(self.epoch) {
            answer.error = ErrorCode::FencedLeaderEpoch;
            return answer;
        }
        if let Some(fetched) = asked.last_fetched_epoch {
            match log.end_offset_for_epoch(fetched) {
                Some(_) if asked.fetch_offset < start => answer.error = ErrorCode::OffsetOutOfRange,
                Some((epoch, end_offset)) if epoch < fetched || end_offset < asked.fetch_offset => {
                    answer.diverging = Some((epoch, end_offset));
                }
                Some(_) => {}
                None => answer.error = ErrorCode::OffsetOutOfRange,
            }
        }
        if answer.diverging.is_none() && !(start..=end).contains(&asked.fetch_offset) {
            answer.error = ErrorCode::OffsetOutOfRange;
        }
        if answer.error != ErrorCode::None || answer.diverging.is_some() {
            return answer;
        }
        let max_bytes = self.chance.below(900);
        let slice = self.leads().log().read(asked.fetch_offset, max_bytes, i64::MAX, true);
        answer.records = slice.expect("reads").read().expect("reads");
        if !answer.records.is_empty() && self.chance.one_in(8) {
            let part = self.chance.below(answer.records.len());
            answer.records.truncate(part);
        }
        self.fetched[to] = Some(asked.fetch_offset);
        let joins = asked.fetch_offset >= self.high_watermark.max(self.epoch_start);
        if joins && !self.isr.contains(&to) {
            self.isr.push(to);
            self.tell_leader();
        }
        self.commit();
        answer.high_watermark = self.high_watermark;
        answer
    }

    fn commit(&mut self) {
        let end = self.leads().log().log_end_offset();
        let of = |at: &usize| {
            if *at == self.leader {
                end
            } else {
                self.fetched[*at].unwrap_or(0)
            }
        };
        let lowest = self.isr.iter().map(of).min().unwrap_or(0);
        self.high_watermark = self.high_watermark.max(lowest);
        if self.high_watermark > self.committed_end {
            let mut news = self.leads().content(self.committed_end);
            news.retain(|offset, _| *offset < self.high_watermark);
            self.committed.append(&mut news);
            self.committed_end = self.high_watermark;
        }
    }

    fn fetch(&mut self, at: usize, late: bool) -> Outcome {
        let Some(asked) = self.nodes[at].replica.fetch_position(self.now) else {
            return Ok(());
        };
        let answer = self.answer(at, asked);
        if late {
            self.in_flight.push(answer);
            return Ok(());
        }
        self.deliver(&answer)
    }

    fn deliver(&mut self, answer: &Answer) -> Outcome {
        let now = self.now;
        let node = &mut self.nodes[answer.to];
        let what = LeaderAnswer {
            error: answer.error,
            high_watermark: answer.high_watermark,
            log_start_offset: answer.log_start_offset,
            diverging: answer.diverging,
            records: &answer.records,
        };
        let mut asked = answer.asked;
        loop {
            match node.replica.fetched(&asked, &what, now, 0) {
                Followed::MustTruncate { again } => {
                    ensure!(node.truncate(now)?, "nothing was cut");
                    if !again {
                        self.truncations += 1;
                        return Ok(());
                    }
                    self.restarts += 1;
                    asked = node.replica.fetch_position(now).ok_or("asks nothing after a cut")?;
                }
                Followed::Took { log_start_offset, .. } => {
                    if let Some(start) = log_start_offset {
                        node.delete(start);
                    }
                    return Ok(());
                }
                Followed::Waits { why, .. } => {
                    let expected = matches!(
                        why,
                        FollowError::Refused(ErrorCode::FencedLeaderEpoch) | FollowError::NoWholeBatch(_)
                    );
                    ensure!(expected, "node {}: {why}", answer.to);
                    return Ok(());
                }
                Followed::Late => return Ok(()),
            }
        }
    }

    fn isr_shrinks(&mut self) {
        let leader = self.leader;
        let keeps = self.chance.below(NODES);
        self.isr.retain(|at| *at == leader || *at == keeps);
        self.tell_leader();
        self.commit();
    }

    /// A process is killed, or its machine loses power. It may come back with less than it had said, so it leaves the ISR.
    fn crash(&mut self) {
        let at = self.chance.below(NODES);
        if self.isr == [at] {
            return;
        }
        self.isr.retain(|member| *member != at);
        self.in_flight.retain(|answer| answer.to != at);
        if self.leader == at {
            let next = self.chance.below(self.isr.len());
            self.elect(self.isr[next]);
        } else {
            self.tell_leader();
            self.commit();
        }
        let seed = self.chance.next_u64();
        let disk = self.nodes[at].disk.clone();
        if self.chance.one_in(3) {
            disk.kill(seed);
        } else {
            disk.crash(seed);
        }
        self.nodes[at] = Node::open(disk, &self.config);
    }

    /// The leader's log starts later, at any record that is committed.
    fn delete_records(&mut self) {
        let start = self.leads().log().log_start_offset();
        let room = self.high_watermark - start;
        if room > 0 {
            let to = start + self.chance.below(room as usize + 1) as i64;
            self.nodes[self.leader].delete(to);
        }
    }

    fn check(&mut self) -> Outcome {
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let known = node.replica.high_watermark();
            let before = std::mem::replace(&mut node.high_watermark, known);
            ensure!(
                known >= before,
                "the watermark of node {at} went back from {before} to {known}"
            );
            ensure!(
                known <= self.committed_end,
                "node {at} knows {known}, {} is committed",
                self.committed_end
            );
            for (offset, bytes) in node.content(0).range(..known) {
                ensure!(
                    self.committed.get(offset) == Some(bytes),
                    "node {at} has another batch at {offset} than was committed"
                );
            }
        }
        let held = self.leads().content(0);
        let start = self.leads().log().log_start_offset();
        for (offset, bytes) in self.committed.range(start..) {
            ensure!(held.get(offset) == Some(bytes), "the leader lost the batch at {offset}");
        }
        Ok(())
    }

    /// Nothing fails any more.
    fn settle(&mut self) -> Outcome {
        for answer in std::mem::take(&mut self.in_flight) {
            self.deliver(&answer)?;
        }
        self.everybody_follows();
        for _ in 0..400 {
            for at in 0..NODES {
                self.fetch(at, false)?;
            }
            self.now += Duration::from_millis(100);
            let end = self.leads().log().log_end_offset();
            let level = self.nodes.iter().all(|node| node.log().log_end_offset() == end);
            if level && self.high_watermark == end {
                return self.check_same(end);
            }
        }
        let ends: Vec<_> = self.nodes.iter().map(|node| node.log().log_end_offset()).collect();
        Err(format!(
            "does not converge: {ends:?}, committed {}",
            self.high_watermark
        ))
    }

    fn check_same(&mut self, end: i64) -> Outcome {
        let starts = self.nodes.iter().map(|node| node.log().log_start_offset());
        let start = starts.max().unwrap_or(0);
        let contents: Vec<_> = self.nodes.iter().map(|node| node.content(start)).collect();
        ensure!(
            contents.windows(2).all(|pair| pair[0] == pair[1]),
            "the logs end at {end} and differ"
        );
        let epochs = |node: &Node| {
            let entries = node.log().leader_epochs().entries().iter();
            let within = entries.filter(|entry| entry.start_offset > start && entry.start_offset < end);
            within.copied().collect::<Vec<_>>()
        };
        ensure!(
            self.nodes.windows(2).all(|pair| epochs(&pair[0]) == epochs(&pair[1])),
            "the epochs differ"
        );
        self.check()
    }
}

fn history(seed: u64) -> Result<(usize, usize), String> {
    let mut world = World::new(seed);
    for step in 0..STEPS {
        let stepped = world.step().and_then(|()| match step % 5 {
            0 => world.check(),
            _ => Ok(()),
        });
        stepped.map_err(|what| format!("step {step}: {what}"))?;
    }
    world.settle()?;
    Ok((world.truncations, world.restarts))
}

/// Histories that once showed a bug: an answer from before a cut that came when the log was as long again (1298).
const REGRESSIONS: [u64; 1] = [1298];

#[test]
fn replicas_agree_below_the_watermark_and_converge() {
    let seeds = option_env!("BARNABAS_SEEDS")
        .and_then(|text| text.parse().ok())
        .unwrap_or(200);
    let (mut truncations, mut restarts) = (0, 0);
    for seed in REGRESSIONS.into_iter().chain(0..seeds) {
        match history(seed) {
            Ok(counts) => {
                truncations += counts.0;
                restarts += counts.1;
            }
            Err(what) => panic!("seed {seed}: {what}"),
        }
    }
    println!("{seeds} histories, {truncations} truncations, {restarts} logs begun within a batch");
    assert!(truncations > 0 && restarts > 0, "nothing was tried");
}
