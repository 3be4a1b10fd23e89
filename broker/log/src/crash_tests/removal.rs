//! Records leave a log: at its end for another leader's, at its beginning for age, size or a client's wish.

use model::LeaderEpoch;

use super::world::{Process, Stop, World, topic_partition};
use crate::dir::sim::SimDir;
use crate::{Checkpoint, FlushWork, LogConfig, Offsets};

impl World {
    pub(super) fn truncate(&mut self) -> Result<(), Stop> {
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
    pub(super) fn retain(&mut self) -> Result<(), Stop> {
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
        if let Some(work) = work
            && !self.flush_first(work, beside, "end flush for retention")?
        {
            return Ok(());
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

    /// Flushes what a removal wants on the disk, perhaps beside an append; false if there was no room.
    fn flush_first(&mut self, work: FlushWork<SimDir>, beside: bool, doing: &str) -> Result<bool, Stop> {
        if beside {
            self.append()?;
        }
        let done = work.run();
        let log = &mut self.process()?.log;
        let result = log.end_flush(done);
        let recovery_point = log.recovery_point();
        if self.judge(result, doing)?.is_none() {
            return Ok(false);
        }
        self.model.flushed = self.model.flushed.max(recovery_point);
        Ok(true)
    }

    /// Lets the log start at some batch, as a broker does for DeleteRecords.
    pub(super) fn delete_records(&mut self) -> Result<(), Stop> {
        let count = self.model.batches.len();
        let offset = match self.chance.below(count + 1) {
            all if all == count => self.model.end(),
            some => self.model.batches.get(some).map_or(0, |batch| batch.header.base_offset),
        };
        let beside = self.chance.one_in(3);
        let work = self.process()?.log.begin_delete_records(offset);
        let Some(work) = self.judge(work, "begin delete")? else {
            return Ok(());
        };
        if let Some(work) = work
            && !self.flush_first(work, beside, "end flush for a delete")?
        {
            return Ok(());
        }
        // A crash before it is answered may keep them.
        self.model.starting_at = Some(offset);
        let ended = self.process()?.log.end_delete_records(offset);
        match self.judge(ended, "end delete")? {
            Some(true) => {}
            Some(false) if beside => return Ok(()),
            Some(false) => {
                return Err(Stop::Wrong(
                    "nothing came between, and still it was not done".to_owned(),
                ));
            }
            None => return Ok(()),
        }
        let start = self.process()?.log.log_start_offset();
        if start != offset.max(self.model.start) {
            return Err(Stop::Wrong(format!("starts at {start}, not {offset}")));
        }
        let offsets = Offsets::from([(topic_partition(), start)]);
        let result = self.process()?.data.write(Checkpoint::LogStartOffset, &offsets);
        if self.judge(result, "log start checkpoint of a delete")?.is_none() {
            return Ok(());
        }
        // From here on it was answered.
        self.model.start_at(start);
        let removed = self.process()?.log.remove_before(start);
        let Some((removed, work)) = self.judge(removed, "removal after a delete")? else {
            return Ok(());
        };
        let done = work.run();
        let result = self.process()?.log.end_flush(done);
        self.judge(result, "end flush of a removal after a delete")?;
        self.judge(removed.remove(), "freeing after a delete")?;
        self.check(true).map_err(Stop::Wrong)
    }
}
