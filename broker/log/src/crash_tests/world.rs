//! A process that uses one log on a simulated disk, and a disk that loses power.

use model::{BrokerEpoch, LeaderEpoch, PartitionIndex, TopicId, TopicName};
use uuid::Uuid;

use super::model::Model;
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
    pub(super) chance: Seeded,
    pub(super) config: LogConfig,
    pub(super) epoch: LeaderEpoch,
    /// Whether the histories are those of a follower: batches come as another broker wrote them.
    pub(super) follows: bool,
    pub(super) process: Option<Process>,
}

pub(super) struct Process {
    pub(super) data: DataDir<SimDir>,
    pub(super) log: PartitionLog<SimDir>,
}

/// Histories of followers have seeds from here on.
pub(super) const FOLLOWERS: u64 = 1 << 32;

pub(super) fn topic_partition() -> TopicPartition {
    TopicPartition {
        topic: TopicName::new("mail").unwrap(),
        partition: PartitionIndex(3),
    }
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
            follows: seed >= FOLLOWERS,
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
            if self.follows {
                self.live_as_follower()?;
                continue;
            }
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
                31 | 32 => self.delete_records()?,
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

    pub(super) fn process(&mut self) -> Result<&mut Process, Stop> {
        self.process.as_mut().ok_or(Stop::PowerLost)
    }

    pub(super) fn judge<T>(&self, result: Result<T, LogError>, doing: &str) -> Result<Option<T>, Stop> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(_) if self.disk.is_crashed() => Err(Stop::PowerLost),
            Err(LogError::Offline { .. }) => Err(Stop::Offline),
            Err(LogError::StorageFull { .. }) => Ok(None),
            Err(error) => Err(Stop::Wrong(format!("{doing}: {error}"))),
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        let result = self.process()?.log.flush();
        if self.judge(result, "flush")?.is_some() {
            self.model.flushed = self.model.end();
        }
        Ok(())
    }

    pub(super) fn flush_beside_an_append(&mut self) -> Result<(), Stop> {
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

    pub(super) fn checkpoint(&mut self) -> Result<(), Stop> {
        let process = self.process()?;
        let offsets = Offsets::from([(topic_partition(), process.log.recovery_point())]);
        let result = process.data.write(Checkpoint::RecoveryPoint, &offsets);
        self.judge(result, "checkpoint").map(drop)
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
}
