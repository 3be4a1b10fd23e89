//! What an opened log must have, compared with the model.

use model::{LeaderEpoch, ProducerId};
use protocol::batch::batches;

use super::model::{Model, ModelBatch};
use super::world::{Outcome, Process, World};
use crate::PartitionLog;
use crate::dir::sim::{Seeded, SimDir};

macro_rules! ensure {
    ($holds:expr, $($message:tt)*) => {
        if !$holds {
            return Err(format!($($message)*));
        }
    };
}
impl World {
    /// Compares the opened log with the model, and lets the model take over what survived.
    pub(super) fn check(&mut self, killed: bool) -> Outcome {
        let Some(Process { log, .. }) = &self.process else {
            return Err("not started".to_owned());
        };
        let start = log.log_start_offset();
        if let Some(to) = self.model.restarting_at.take() {
            let survived = read_from(log, start)?;
            let ids = 0..3;
            let knows_taken = ids
                .filter_map(|id| log.producers().get(ProducerId(id)))
                .any(|entry| entry.batches().iter().any(|batch| batch.last_offset < start));
            self.model.adopt_restart(to, start, survived, knows_taken)?;
        }
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

pub(super) fn read_from(log: &PartitionLog<SimDir>, mut offset: i64) -> Result<Vec<ModelBatch>, String> {
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
