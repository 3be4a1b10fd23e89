//! A follower appends what its leader sends, and begins anew where that one begins.

use model::LeaderEpoch;
use protocol::batch::BatchHeader;

use super::checks::read_from;
use super::model::ModelBatch;
use super::world::{Process, Stop, World, topic_partition};
use crate::Offsets;
use crate::dir::sim::Fault;
use crate::error::{AppendError, LogError};

impl World {
    pub(super) fn live_as_follower(&mut self) -> Result<(), Stop> {
        match self.chance.below(24) {
            0 | 1 => self.flush(),
            2 => self.checkpoint(),
            3 | 4 => self.truncate(),
            5 => self.restart_cleanly(),
            6..=8 => self.start_over(),
            9 => self.retain(),
            10 => self.delete_records(),
            11 => {
                let free = self.chance.below(400) as u64;
                self.disk.set_free_bytes(Some(free));
                let result = self.follow();
                self.disk.set_free_bytes(None);
                result
            }
            12 => {
                self.disk.inject(Fault::ShortWrite);
                self.follow()
            }
            13 if self.chance.one_in(3) => {
                self.disk
                    .inject([Fault::WriteError, Fault::SyncError][self.chance.below(2)]);
                self.follow()?;
                self.flush()?;
                self.checkpoint()
            }
            _ => self.follow(),
        }
    }

    /// Appends what a leader sends: whole batches of one epoch or several, perhaps a part of one more, perhaps damaged.
    pub(super) fn follow(&mut self) -> Result<(), Stop> {
        let mut sent: Vec<Vec<u8>> = Vec::new();
        for _ in 0..=self.chance.below(4) {
            let batch = self.model.next_batch(&mut self.chance, &sent);
            sent.push(batch);
        }
        let (end, empty) = (self.model.end(), self.model.batches.is_empty());
        let mut next = end;
        let first = BatchHeader::parse(&sent[0]).unwrap();
        if empty && i64::from(first.last_offset_delta) > 0 && next > 0 && self.chance.one_in(2) {
            // The leader's log starts within its first batch.
            next -= 1;
            self.model.restarting_at = Some(next);
        }
        let began = next;
        for bytes in &mut sent {
            if self.chance.one_in(6) {
                self.epoch = LeaderEpoch(self.epoch.0 + 1);
            }
            protocol::batch::patch_offset_and_epoch(bytes, next, self.epoch.0).unwrap();
            next = BatchHeader::parse(bytes).unwrap().next_offset();
        }
        let mut records = sent.concat();
        let batches: Vec<ModelBatch> = sent.iter().map(|bytes| ModelBatch::parse(bytes)).collect();
        let (whole, last) = (batches.len() - 1, batches.last().map_or(0, |last| last.bytes.len()));
        let (mut expected, mut damaged) = (batches.clone(), false);
        match self.chance.below(8) {
            0 => {
                records.truncate(records.len() - 1 - self.chance.below(last - 1));
                expected.truncate(whole);
            }
            1 => {
                let at = records.len() - 1 - self.chance.below(last - 21);
                records[at] ^= 1;
                expected.truncate(whole);
                damaged = true;
            }
            _ => {}
        }
        self.model.in_flight.clone_from(&batches);
        let epoch = self.epoch;
        let Process { data, log } = self.process()?;
        let mut result = log.append_as_follower(&records, epoch, 0);
        if let Err(AppendError::BeginsWithin { base_offset }) = result {
            let restarted = log.truncate_fully_and_start_at(base_offset, |checkpoint, offset| {
                data.write(checkpoint, &Offsets::from([(topic_partition(), offset)]))
            });
            result = match restarted {
                Ok(()) => log.append_as_follower(&records, epoch, 0),
                Err(error) => Err(error.into()),
            };
        }
        let (recovery_point, start, found_end) = (log.recovery_point(), log.log_start_offset(), log.log_end_offset());
        let offline = log.offline().is_some();
        if self.disk.is_crashed() {
            return Err(Stop::PowerLost);
        }
        if offline {
            return Err(Stop::Offline);
        }
        self.model.in_flight.clear();
        if start == began {
            self.model.restarting_at = None;
            if began < end {
                self.model.start_over(began);
            }
        }
        let full = match &result {
            Ok(_) => false,
            Err(AppendError::Batch(_)) if damaged => false,
            Err(AppendError::Storage(LogError::StorageFull { .. })) => true,
            // A checkpoint could not be written, and nothing was begun: the process ends all the same.
            Err(AppendError::Storage(LogError::Offline { .. })) => return Err(Stop::Offline),
            Err(error) => return Err(Stop::Wrong(format!("follow: {error}"))),
        };
        let there = if found_end > began && start <= began {
            read_from(&self.process()?.log, began).map_err(Stop::Wrong)?
        } else {
            Vec::new()
        };
        let right = if full {
            expected.starts_with(&there)
        } else {
            there == expected && result.is_err() == damaged
        };
        if !right {
            return Err(Stop::Wrong(format!(
                "{} batches were sent whole, {} are there: {result:?}",
                expected.len(),
                there.len()
            )));
        }
        self.model.restarting_at = None;
        self.model.batches.extend(there);
        self.model.flushed = self.model.flushed.max(recovery_point);
        Ok(())
    }

    /// Empties the log: its leader's begins later, or it is to be copied anew.
    pub(super) fn start_over(&mut self) -> Result<(), Stop> {
        let end = self.model.end();
        let to = match self.chance.below(3) {
            0 => self.chance.below(end as usize + 1) as i64,
            _ => end + self.chance.below(9) as i64,
        };
        self.model.restarting_at = Some(to);
        let Process { data, log } = self.process()?;
        let result = log.truncate_fully_and_start_at(to, |checkpoint, offset| {
            data.write(checkpoint, &Offsets::from([(topic_partition(), offset)]))
        });
        let found = (log.log_start_offset(), log.log_end_offset(), log.recovery_point());
        if self.judge(result, "start over")?.is_some() {
            self.model.start_over(to);
            if found != (to, to, to) {
                return Err(Stop::Wrong(format!("starts over at {to} with {found:?}")));
            }
            self.epoch = LeaderEpoch(self.epoch.0 + 1);
        }
        Ok(())
    }
}
