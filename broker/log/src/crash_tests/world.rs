//! A process that uses one log on a simulated disk, and a disk that loses power.

use model::{BrokerEpoch, LeaderEpoch, PartitionIndex, TopicId, TopicName};
use protocol::batch::batches;
use uuid::Uuid;

use super::model::{Model, ModelBatch};
use crate::dir::sim::{Fault, Seeded, SimDir};
use crate::error::LogError;
use crate::{Checkpoint, DataDir, LogConfig, Offsets, OpenState, PartitionLog, TopicPartition};

pub(super) type Outcome = Result<(), String>;

/// Why a history stopped.
pub(super) enum Stop {
    /// The disk lost power.
    PowerLost,
    /// The log went offline by an injected error: the process ends.
    Offline,
    /// The log did what it must not.
    Wrong(String),
}

pub(super) struct World {
    pub(super) disk: SimDir,
    pub(super) model: Model,
    chance: Seeded,
    config: LogConfig,
    epoch: LeaderEpoch,
    process: Option<Process>,
}

struct Process {
    data: DataDir<SimDir>,
    log: PartitionLog<SimDir>,
}

fn topic_partition() -> TopicPartition {
    TopicPartition {
        topic: TopicName::new("mail").unwrap(),
        partition: PartitionIndex(3),
    }
}

macro_rules! ensure {
    ($holds:expr, $($message:tt)*) => {
        if !$holds {
            return Err(format!($($message)*));
        }
    };
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Seeded::new(seed);
        let flush_messages = [u64::MAX, u64::MAX, 1, 5][chance.below(4)];
        let config = LogConfig {
            segment_bytes: 800 + 400 * chance.below(4) as u32,
            index_interval_bytes: 100 + chance.below(200) as u32,
            flush_messages,
            ..LogConfig::default()
        };
        Self {
            disk: SimDir::new(),
            model: Model::default(),
            chance,
            config,
            epoch: LeaderEpoch(1),
            process: None,
        }
    }

    /// Starts the process; `Ok(false)` if the disk lost power meanwhile.
    pub(super) fn start(&mut self) -> Result<bool, Stop> {
        self.process = None;
        let opened = DataDir::open(self.disk.clone()).and_then(|(data, last_life)| {
            let of = topic_partition();
            let state = OpenState {
                clean: last_life.clean_shutdown.is_some(),
                recovery_point: last_life.recovery_points.get(&of).copied().unwrap_or(0),
                log_start_offset: last_life.log_start_offsets.get(&of).copied().unwrap_or(0),
            };
            let id = TopicId(Uuid::from_u128(9));
            let (log, report) = PartitionLog::open(&data, of, id, self.config.clone(), state, 0)?;
            Ok((Process { data, log }, state, report))
        });
        match opened {
            Ok((process, state, report)) => {
                if state.clean && report.scanned {
                    return Err(Stop::Wrong(format!("a clean log was scanned: {report:?}")));
                }
                self.process = Some(process);
                Ok(true)
            }
            Err(_) if self.disk.is_crashed() => Ok(false),
            Err(error) => Err(Stop::Wrong(format!("cannot open: {error}"))),
        }
    }

    /// Does `count` random things.
    pub(super) fn live(&mut self, count: usize) -> Result<(), Stop> {
        for _ in 0..count {
            match self.chance.below(33) {
                0 | 1 => self.flush()?,
                2 => self.checkpoint()?,
                3 => self.epoch = LeaderEpoch(self.epoch.0 + 1),
                4 => self.truncate()?,
                5 => self.restart_cleanly()?,
                6 => self.append_to_a_full_disk()?,
                7 => self.flush_beside_an_append()?,
                8 => {
                    self.disk.inject(Fault::ShortWrite);
                    self.append()?;
                }
                10..=12 => self.retain()?,
                9 if self.chance.one_in(3) => {
                    self.disk
                        .inject([Fault::WriteError, Fault::SyncError][self.chance.below(2)]);
                    self.append()?;
                    self.flush()?;
                    self.checkpoint()?;
                }
                _ => self.append()?,
            }
        }
        Ok(())
    }

    fn process(&mut self) -> Result<&mut Process, Stop> {
        self.process.as_mut().ok_or(Stop::PowerLost)
    }

    fn judge<T>(&self, result: Result<T, LogError>, doing: &str) -> Result<Option<T>, Stop> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(_) if self.disk.is_crashed() => Err(Stop::PowerLost),
            Err(LogError::Offline { .. }) => Err(Stop::Offline),
            Err(LogError::StorageFull { .. }) => Ok(None),
            Err(error) => Err(Stop::Wrong(format!("{doing}: {error}"))),
        }
    }

    fn append(&mut self) -> Result<(), Stop> {
        let mut sent: Vec<Vec<u8>> = Vec::new();
        for _ in 0..=self.chance.below(4) {
            let batch = self.model.next_batch(&mut self.chance, &sent);
            sent.push(batch);
        }
        self.append_these(sent)
    }

    fn append_these(&mut self, mut sent: Vec<Vec<u8>>) -> Result<(), Stop> {
        let epoch = self.epoch;
        let base = self.model.end();
        let mut next = base;
        // What it becomes in the log, if it gets there.
        self.model.in_flight = sent
            .iter()
            .map(|bytes| {
                let mut bytes = bytes.clone();
                protocol::batch::patch_offset_and_epoch(&mut bytes, next, epoch.0).unwrap();
                let batch = ModelBatch::parse(&bytes);
                next = batch.header.next_offset();
                batch
            })
            .collect();
        let mut outcomes = Vec::new();
        let mut batches: Vec<&mut [u8]> = sent.iter_mut().map(Vec::as_mut_slice).collect();
        let log = &mut self.process()?.log;
        log.append_as_leader(&mut batches, epoch, 0, &mut outcomes);
        let recovery_point = log.recovery_point();
        let offline = log.offline().is_some();
        if self.disk.is_crashed() {
            return Err(Stop::PowerLost);
        }
        if outcomes.len() != sent.len() {
            return Err(Stop::Wrong("an outcome is missing".to_owned()));
        }
        if offline {
            // Not acknowledged, so it may be there or not after a restart.
            return Err(Stop::Offline);
        }
        // On a full disk some batches may not fit, and some may be there but could not be flushed.
        let sent = std::mem::take(&mut self.model.in_flight);
        let process = self.process()?;
        let there = read_from(&process.log, base).map_err(Stop::Wrong)?;
        let mut due = there.iter();
        let mut next = due.next();
        for (batch, outcome) in sent.iter().zip(outcomes) {
            let found = next.filter(|found| found.same_but_offset(batch));
            match (outcome, found) {
                (Ok(info), Some(found)) if info.base_offset == found.header.base_offset => next = due.next(),
                (Err(_), Some(_)) => next = due.next(),
                (Err(_), None) => {}
                (Ok(info), _) => return Err(Stop::Wrong(format!("acknowledged {info:?} but {found:?}"))),
            }
        }
        if let Some(unknown) = next {
            return Err(Stop::Wrong(format!("nobody sent {unknown:?}")));
        }
        self.model.batches.extend(there);
        self.model.flushed = self.model.flushed.max(recovery_point);
        Ok(())
    }

    fn append_to_a_full_disk(&mut self) -> Result<(), Stop> {
        let free = self.chance.below(400) as u64;
        self.disk.set_free_bytes(Some(free));
        let result = self.append();
        self.disk.set_free_bytes(None);
        result
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let result = self.process()?.log.flush();
        if self.judge(result, "flush")?.is_some() {
            self.model.flushed = self.model.end();
        }
        Ok(())
    }

    fn flush_beside_an_append(&mut self) -> Result<(), Stop> {
        let end = self.model.end();
        let only_due = self.chance.one_in(2);
        let log = &mut self.process()?.log;
        let work = if only_due {
            log.begin_due_flush(0).transpose()
        } else {
            Some(log.begin_flush())
        };
        let Some(work) = work else { return Ok(()) };
        let Some(work) = self.judge(work, "begin flush")? else {
            return Ok(());
        };
        self.append()?;
        let done = work.run();
        let result = self.process()?.log.end_flush(done);
        if self.judge(result, "end flush")?.is_some() {
            let recovery_point = self.process()?.log.recovery_point();
            if recovery_point < end && !only_due {
                return Err(Stop::Wrong(format!(
                    "flushed {end} but the recovery point is {recovery_point}"
                )));
            }
            self.model.flushed = self.model.flushed.max(recovery_point);
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), Stop> {
        let process = self.process()?;
        let offsets = Offsets::from([(topic_partition(), process.log.recovery_point())]);
        let result = process.data.write(Checkpoint::RecoveryPoint, &offsets);
        self.judge(result, "checkpoint").map(drop)
    }

    fn truncate(&mut self) -> Result<(), Stop> {
        let back = self.chance.below(8);
        let Some(batch) = self.model.batches.iter().rev().nth(back) else {
            return Ok(());
        };
        let end = batch.header.base_offset;
        self.model.cutting_to = Some(end);
        let Process { data, log } = self.process()?;
        let result = log.truncate_to(end, |recovery_point| {
            data.write(
                Checkpoint::RecoveryPoint,
                &Offsets::from([(topic_partition(), recovery_point)]),
            )
        });
        let found = log.log_end_offset();
        if self.judge(result, "truncate")?.is_some() {
            self.model.cutting_to = None;
            self.model.cut(end);
            if found != end {
                return Err(Stop::Wrong(format!("cut to {end}, ends at {found}")));
            }
            // A new leader's records follow.
            self.epoch = LeaderEpoch(self.epoch.0 + 1);
        }
        Ok(())
    }

    /// Removes what is too old or too much below some high watermark, step by step as a broker does.
    fn retain(&mut self) -> Result<(), Stop> {
        let now = 1400 + self.chance.below(300) as i64;
        let behind = [0, 0, self.chance.below(12)][self.chance.below(3)] as i64;
        let high_watermark = (self.model.end() - behind).max(self.model.start);
        let config = LogConfig {
            retention_ms: [-1, 100][self.chance.below(2)],
            retention_bytes: [-1, self.chance.below(4000) as i64][self.chance.below(2)],
            ..self.config.clone()
        };
        let beside = self.chance.one_in(3);
        let log = &mut self.process()?.log;
        log.set_config(config);
        let work = log.begin_retention(now, high_watermark);
        let Some(work) = self.judge(work, "begin retention")? else {
            return Ok(());
        };
        if let Some(work) = work {
            if beside {
                self.append()?;
            }
            let done = work.run();
            let log = &mut self.process()?.log;
            let result = log.end_flush(done);
            let recovery_point = log.recovery_point();
            if self.judge(result, "end flush for retention")?.is_none() {
                return Ok(());
            }
            self.model.flushed = self.model.flushed.max(recovery_point);
        }
        // Which one it is, a crash in the middle tells.
        self.model.starting_at = Some(high_watermark);
        let log = &mut self.process()?.log;
        let advanced = log.advance_log_start();
        let start = log.log_start_offset();
        let Some(advanced) = self.judge(advanced, "retention")? else {
            return Ok(());
        };
        if !(self.model.start..=high_watermark).contains(&start) || advanced.is_some_and(|advanced| advanced != start) {
            return Err(Stop::Wrong(format!(
                "starts at {start} and said {advanced:?}, the high watermark is {high_watermark}"
            )));
        }
        self.model.starting_at = Some(start);
        if advanced.is_some() {
            let offsets = Offsets::from([(topic_partition(), start)]);
            let result = self.process()?.data.write(Checkpoint::LogStartOffset, &offsets);
            if self.judge(result, "log start checkpoint")?.is_none() {
                return Ok(());
            }
        }
        self.model.start_at(start);
        if beside {
            self.append()?;
        }
        let removed = self.process()?.log.remove_before(start);
        let Some((removed, work)) = self.judge(removed, "removal")? else {
            return Ok(());
        };
        let done = work.run();
        let log = &mut self.process()?.log;
        let result = log.end_flush(done);
        let recovery_point = log.recovery_point();
        if self.judge(result, "end flush of a removal")?.is_some() {
            self.model.flushed = self.model.flushed.max(recovery_point);
        }
        if !beside {
            self.judge(removed.remove(), "freeing")?;
        }
        self.check(true).map_err(Stop::Wrong)
    }

    pub(super) fn restart_cleanly(&mut self) -> Result<(), Stop> {
        let Process { data, log } = self.process.take().ok_or(Stop::PowerLost)?;
        let result = log.close();
        let Some(recovery_point) = self.judge(result, "close")? else {
            return Err(Stop::Offline);
        };
        if recovery_point != self.model.end() {
            return Err(Stop::Wrong("closed below its end".to_owned()));
        }
        self.model.flushed = self.model.end();
        let offsets = Offsets::from([(topic_partition(), recovery_point)]);
        let result = data
            .write(Checkpoint::RecoveryPoint, &offsets)
            .and_then(|()| data.write_clean_shutdown(BrokerEpoch(1)));
        if self.judge(result, "stop")?.is_none() {
            return Err(Stop::Offline);
        }
        if !self.start()? {
            return Err(Stop::PowerLost);
        }
        self.check(true).map_err(Stop::Wrong)
    }

    /// Compares the opened log with the model, and lets the model take over what survived.
    pub(super) fn check(&mut self, killed: bool) -> Outcome {
        let Some(Process { log, .. }) = &self.process else {
            return Err("not started".to_owned());
        };
        let start = log.log_start_offset();
        let may_start = start == self.model.start || self.model.starting_at.is_some_and(|limit| start <= limit);
        ensure!(
            may_start && start >= self.model.start,
            "the log starts at {start}, not {}",
            self.model.start
        );
        self.model.start_at(start);
        let survived = read_from(log, start)?;
        self.model.check_survivors(&survived, killed)?;
        self.model.adopt(survived);
        let model = &self.model;
        ensure!(
            log.log_end_offset() == model.end(),
            "log end {} but {}",
            log.log_end_offset(),
            model.end()
        );
        ensure!(
            log.recovery_point() <= log.log_end_offset(),
            "recovery point {}",
            log.recovery_point()
        );

        let mut expected = model.epochs();
        let mut found: Vec<_> = log
            .leader_epochs()
            .entries()
            .iter()
            .map(|e| (e.epoch.0, e.start_offset))
            .collect();
        // An epoch in which nothing was appended may be forgotten.
        found.retain(|(_, start)| *start < model.end());
        expected.retain(|(_, start)| *start < model.end());
        ensure!(found == expected, "epochs {found:?}, should be {expected:?}");

        let producers = model.producers();
        ensure!(
            log.producers().len() == producers.len(),
            "{} producers, not {}",
            log.producers().len(),
            producers.len()
        );
        for (id, (epoch, batches)) in &producers {
            let entry = log.producers().get(*id).ok_or(format!("producer {id} is lost"))?;
            ensure!(
                entry.epoch() == *epoch,
                "producer {id} has epoch {}, not {epoch}",
                entry.epoch()
            );
            // A snapshot keeps the last batch only.
            let known = !entry.batches().is_empty() && batches.ends_with(entry.batches());
            ensure!(
                known,
                "producer {id} has {:?}, should have {batches:?}",
                entry.batches()
            );
        }
        log.check_indexes()?;
        check_reads(log, model, &mut self.chance)?;
        check_timestamps(log, model, &mut self.chance)?;
        if let Some(last) = model.epochs().last() {
            self.epoch = self.epoch.max(LeaderEpoch(last.0));
        }
        self.epoch = log.latest_epoch().map_or(self.epoch, |latest| latest.max(self.epoch));
        Ok(())
    }
}

fn read_from(log: &PartitionLog<SimDir>, mut offset: i64) -> Result<Vec<ModelBatch>, String> {
    let mut found = Vec::new();
    while offset < log.log_end_offset() {
        let slice = log
            .read(offset, 1 << 20, i64::MAX, true)
            .map_err(|error| format!("read at {offset}: {error}"))?;
        let bytes = slice.read().map_err(|error| error.to_string())?;
        ensure!(
            !bytes.is_empty(),
            "nothing to read at {offset} of {}",
            log.log_end_offset()
        );
        for batch in batches(&bytes) {
            let (header, bytes) = batch.map_err(|error| format!("read at {offset}: {error}"))?;
            protocol::batch::check_whole(bytes).map_err(|error| format!("read at {offset}: {error}"))?;
            ensure!(
                header.base_offset == offset,
                "offset {} where {offset} was due",
                header.base_offset
            );
            offset = header.next_offset();
            found.push(ModelBatch::parse(bytes));
        }
        ensure!(
            slice.next_offset == offset,
            "next offset {} but {offset}",
            slice.next_offset
        );
    }
    Ok(found)
}

fn check_reads(log: &PartitionLog<SimDir>, model: &Model, chance: &mut Seeded) -> Outcome {
    for _ in 0..12 {
        let offset = model.start + chance.below((model.end() - model.start) as usize + 1) as i64;
        let max_offset = chance.below(model.end() as usize + 2) as i64;
        let max_bytes = chance.below(900);
        let min_one = chance.one_in(2);
        let slice = log
            .read(offset, max_bytes, max_offset, min_one)
            .map_err(|error| format!("read: {error}"))?;
        let bytes = slice.read().map_err(|error| format!("read: {error}"))?;
        let from = model
            .batches
            .iter()
            .skip_while(|batch| batch.header.last_offset() < offset);
        let mut expected: Vec<u8> = Vec::new();
        for batch in from.take_while(|batch| batch.header.last_offset() < max_offset) {
            let fits = expected.len() + batch.bytes.len() <= max_bytes || (min_one && expected.is_empty());
            if !fits {
                break;
            }
            expected.extend(&batch.bytes);
        }
        // A read may end with its segment.
        let whole = bytes == expected || (!bytes.is_empty() && expected.starts_with(&bytes) && log.segment_count() > 1);
        ensure!(
            whole,
            "read({offset}, {max_bytes}, {max_offset}, {min_one}) gave {} bytes, not {}",
            bytes.len(),
            expected.len()
        );
    }
    Ok(())
}

fn check_timestamps(log: &PartitionLog<SimDir>, model: &Model, chance: &mut Seeded) -> Outcome {
    let records = model.timestamps();
    for _ in 0..6 {
        let timestamp = 990 + chance.below(520) as i64;
        let expected = records.iter().find(|(_, at)| *at >= timestamp).copied();
        let found = log.offset_for_timestamp(timestamp).map_err(|error| error.to_string())?;
        let found = found.map(|found| (found.offset, found.timestamp));
        ensure!(
            found == expected,
            "timestamp {timestamp}: found {found:?}, should be {expected:?}"
        );
    }
    let max = records.iter().map(|(_, at)| *at).max();
    let expected = max.and_then(|max| records.iter().find(|(_, at)| *at == max).copied());
    let found = log.max_timestamp_offset().map_err(|error| error.to_string())?;
    let found = found.map(|found| (found.offset, found.timestamp));
    ensure!(
        found == expected,
        "largest timestamp: found {found:?}, should be {expected:?}"
    );
    Ok(())
}
