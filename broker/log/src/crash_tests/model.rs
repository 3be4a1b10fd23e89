//! What a log should hold, as simply as it can be said: a list of batches.

use std::collections::BTreeMap;

use model::ProducerId;
use protocol::batch::{BatchBuilder, BatchHeader, records};

use crate::dir::sim::Seeded;
use crate::producer_state::{BATCHES_REMEMBERED, SequenceRange};

/// A batch as it lies in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelBatch {
    pub(crate) header: BatchHeader,
    pub(crate) bytes: Vec<u8>,
}

impl ModelBatch {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        Self {
            header: BatchHeader::parse(bytes).unwrap(),
            bytes: bytes.to_vec(),
        }
    }

    pub(crate) fn same_but_offset(&self, other: &Self) -> bool {
        self.bytes[8..] == other.bytes[8..]
    }
}

/// The log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) batches: Vec<ModelBatch>,
    /// Everything below was acknowledged by a flush.
    pub(crate) flushed: i64,
    /// Batches of an append that has not returned.
    pub(crate) in_flight: Vec<ModelBatch>,
    /// Where a cut that has not returned would end the log.
    pub(crate) cutting_to: Option<i64>,
    /// The first offset.
    pub(crate) start: i64,
    /// Where the log may start instead, since a retention has not returned.
    pub(crate) starting_at: Option<i64>,
    /// Where an emptying that has not returned lets the log begin anew.
    pub(crate) restarting_at: Option<i64>,
    /// What retention took: nobody reads it again, but its producers are known.
    taken: Vec<ModelBatch>,
}

impl Model {
    pub(crate) fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, |last| last.header.next_offset())
    }

    /// The log starts at `start`: what is below is gone.
    pub(crate) fn start_at(&mut self, start: i64) {
        self.start = start;
        self.starting_at = None;
        let kept = self.batches.partition_point(|batch| batch.header.base_offset < start);
        self.taken.extend(self.batches.drain(..kept));
        self.flushed = self.flushed.max(start);
    }

    /// The log is empty and starts at `offset`.
    pub(crate) fn start_over(&mut self, offset: i64) {
        *self = Self {
            start: offset,
            flushed: offset,
            ..Self::default()
        };
    }

    /// Takes over what a crash in the middle of an emptying left: nothing, at the old beginning or the new, or what was
    /// there from its beginning on. Producers of what was taken before may
    /// be known or not.
    pub(crate) fn adopt_restart(
        &mut self,
        to: i64,
        start: i64,
        survived: Vec<ModelBatch>,
        knows_taken: bool,
    ) -> Result<(), String> {
        let taken = std::mem::take(&mut self.taken);
        let there = taken.iter().chain(&self.batches);
        let fits = there
            .skip_while(|batch| batch.header.base_offset < start)
            .zip(&survived)
            .all(|(expected, found)| expected == found);
        let begun = start <= self.start && fits && survived.len() <= taken.len() + self.batches.len();
        // What was to be appended behind an emptying may have come in.
        let sent = std::mem::take(&mut self.in_flight);
        if !(begun || (start == to && sent.starts_with(&survived))) {
            return Err(format!(
                "emptied from {}..{} to {to}, found {} batches from {start} on",
                self.start,
                self.end(),
                survived.len()
            ));
        }
        self.start_over(start);
        self.batches = survived;
        if knows_taken {
            self.taken = taken
                .into_iter()
                .filter(|batch| batch.header.base_offset < start)
                .collect();
        }
        Ok(())
    }

    /// Adopts what survived a crash.
    pub(crate) fn adopt(&mut self, survived: Vec<ModelBatch>) {
        self.batches = survived;
        self.in_flight.clear();
        if let Some(end) = self.cutting_to.take() {
            self.flushed = self.flushed.min(end);
        }
    }

    pub(crate) fn cut(&mut self, offset: i64) {
        self.batches.retain(|batch| batch.header.last_offset() < offset);
        self.flushed = self.flushed.min(self.end());
    }

    /// Whether `survived` is what may be left: a prefix of what was appended, with everything that was promised.
    pub(crate) fn check_survivors(&self, survived: &[ModelBatch], killed: bool) -> Result<(), String> {
        let mut in_flight = self.in_flight.iter();
        for (at, batch) in survived.iter().enumerate() {
            match self.batches.get(at) {
                Some(expected) if expected == batch => {}
                Some(expected) => {
                    return Err(format!(
                        "batch {at}: found {:?}, appended {:?}",
                        batch.header, expected.header
                    ));
                }
                // One that failed on a full disk may be missing before one that fitted.
                None if in_flight.any(|sent| sent.same_but_offset(batch)) => {}
                None => return Err(format!("batch {at} was never appended: {:?}", batch.header)),
            }
        }
        let end = survived.last().map_or(self.start, |last| last.header.next_offset());
        let mut promised = if killed { self.end() } else { self.flushed };
        if let Some(cut) = self.cutting_to {
            promised = promised.min(cut);
        }
        if end < promised {
            return Err(format!(
                "the log ends at {end}, {promised} was promised (killed: {killed})"
            ));
        }
        Ok(())
    }

    /// Producers with their epoch and last batches.
    pub(crate) fn producers(&self) -> BTreeMap<ProducerId, (i16, Vec<SequenceRange>)> {
        let mut producers: BTreeMap<ProducerId, (i16, Vec<SequenceRange>)> = BTreeMap::new();
        for ModelBatch { header, .. } in self.taken.iter().chain(&self.batches) {
            if header.producer_id < 0 {
                continue;
            }
            let entry = producers.entry(ProducerId(header.producer_id)).or_default();
            if entry.0 != header.producer_epoch {
                *entry = (header.producer_epoch, Vec::new());
            }
            entry.1.push(SequenceRange {
                last_sequence: header.last_sequence(),
                last_offset: header.last_offset(),
                offset_delta: header.last_offset_delta,
                timestamp: header.max_timestamp,
            });
            if entry.1.len() > BATCHES_REMEMBERED {
                entry.1.remove(0);
            }
        }
        producers
    }

    /// Epochs with their first offsets.
    pub(crate) fn epochs(&self) -> Vec<(i32, i64)> {
        let mut epochs: Vec<(i32, i64)> = Vec::new();
        for ModelBatch { header, .. } in &self.batches {
            if epochs.last().is_none_or(|last| last.0 < header.partition_leader_epoch) {
                epochs.push((header.partition_leader_epoch, header.base_offset));
            }
        }
        epochs
    }

    /// Every record as (offset, timestamp).
    pub(crate) fn timestamps(&self) -> Vec<(i64, i64)> {
        let mut found = Vec::new();
        for batch in &self.batches {
            for record in records(&batch.bytes).unwrap() {
                let record = record.unwrap();
                found.push((
                    batch.header.base_offset + i64::from(record.offset_delta),
                    batch.header.base_timestamp + record.timestamp_delta,
                ));
            }
        }
        found
    }

    /// A batch that a producer could send now.
    pub(crate) fn next_batch(&self, chance: &mut Seeded, ahead: &[Vec<u8>]) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        let producer = chance.below(6) as i64;
        if producer < 3 {
            let (mut epoch, mut sequence) = (0, 0);
            let known = self.producers().get(&ProducerId(producer)).cloned();
            if let Some((known_epoch, batches)) = known {
                (epoch, sequence) = (known_epoch, batches.last().map_or(0, |last| last.last_sequence + 1));
            }
            for header in ahead.iter().map(|bytes| BatchHeader::parse(bytes).unwrap()) {
                if header.producer_id == producer && header.producer_epoch >= epoch {
                    (epoch, sequence) = (header.producer_epoch, header.last_sequence() + 1);
                }
            }
            if chance.one_in(12) {
                (epoch, sequence) = (epoch + 1, 0);
            }
            builder = builder.producer(producer, epoch, sequence);
        }
        let mut value = vec![chance.next_u64() as u8; 1 + chance.below(120)];
        for _ in 0..=chance.below(4) {
            value.rotate_left(1);
            builder = builder.record(1000 + chance.below(500) as i64, Some(b"key"), Some(&value));
        }
        builder.build()
    }
}
