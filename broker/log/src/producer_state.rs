//! What idempotent producers have written: the last five batches of each, so that a retry is answered with its
//! original offsets and a gap is refused (Kafka's `ProducerStateManager`).
//!
//! Derived from the batches. A snapshot at an offset saves replaying everything before it.

use std::collections::HashMap;

use model::ProducerId;

use crate::error::AppendError;

pub(crate) mod snapshot;

/// Batches remembered of a producer: as many as a client may have in flight.
pub const BATCHES_REMEMBERED: usize = 5;

/// Every producer known to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerState {
    entries: HashMap<ProducerId, ProducerEntry>,
    /// The largest id of a producer that wrote here and is not known any more. One with a larger id that is not known never
    /// wrote here. [`NOBODY`] if everyone is known, [`ANYBODY`] if nothing can be said.
    newest_forgotten: ProducerId,
}

/// Nobody was ever forgotten.
const NOBODY: ProducerId = ProducerId(-1);

/// Whoever is not known may have been.
const ANYBODY: ProducerId = ProducerId(i64::MAX);

/// One producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerEntry {
    epoch: i16,
    coordinator_epoch: i32,
    transaction_first_offset: i64,
    batches: [SequenceRange; BATCHES_REMEMBERED],
    remembered: u8,
}

/// A batch of a producer as it lies in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SequenceRange {
    /// Sequence number of the last record.
    pub last_sequence: i32,
    /// Offset of the last record.
    pub last_offset: i64,
    /// Records after the first.
    pub offset_delta: i32,
    /// Largest timestamp, milliseconds.
    pub timestamp: i64,
}

/// The part of a batch header that concerns its producer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProducerBatch {
    pub(crate) producer_id: ProducerId,
    pub(crate) epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) offset_delta: i32,
    pub(crate) max_timestamp: i64,
}

impl ProducerState {
    /// Of a log that begins at `offset`: only where nothing was before it was nobody forgotten.
    pub(crate) fn from(offset: i64) -> Self {
        Self {
            entries: HashMap::new(),
            newest_forgotten: if offset == 0 { NOBODY } else { ANYBODY },
        }
    }

    /// Producers from `next` on do not exist yet.
    pub(crate) fn none_forgotten_from(&mut self, next: ProducerId) {
        self.newest_forgotten = self.newest_forgotten.min(ProducerId(next.0 - 1));
    }

    /// The entry of a producer.
    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    /// Producers known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no producer is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether `batch` may be appended: `Ok(None)` if it may, `Ok(Some(..))` if it already is in the log.
    ///
    /// A producer that was forgotten may go on anywhere, as with Kafka (`ProducerAppendInfo.checkSequence`). One that never
    /// wrote here begins with its first batch, which Kafka does not demand: when a leader changes, Java's producer can have
    /// batches in flight to the old one, which will refuse them, and the next one to the new. Taken there, it would leave the
    /// first ones out of order for ever.
    pub(crate) fn check(&self, batch: &ProducerBatch) -> Result<Option<SequenceRange>, AppendError> {
        let producer_id = batch.producer_id.0;
        let Some(entry) = self.entries.get(&batch.producer_id) else {
            if batch.base_sequence == 0 || batch.producer_id <= self.newest_forgotten {
                return Ok(None);
            }
            return Err(AppendError::OutOfOrderSequence {
                producer_id,
                found: batch.base_sequence,
                expected: 0,
            });
        };
        if batch.epoch < entry.epoch {
            return Err(AppendError::InvalidProducerEpoch {
                producer_id,
                found: batch.epoch,
                current: entry.epoch,
            });
        }
        let expected = if batch.epoch > entry.epoch {
            0
        } else {
            if let Some(original) = entry.find(batch) {
                return Ok(Some(original));
            }
            if let Some(before_offset) = entry.remembers_from_after(batch) {
                return Err(AppendError::DuplicateSequence {
                    producer_id,
                    found: batch.base_sequence,
                    before_offset,
                });
            }
            match entry.batches().last() {
                Some(last) => next_sequence(last.last_sequence, 1),
                None => 0,
            }
        };
        if batch.base_sequence != expected {
            return Err(AppendError::OutOfOrderSequence {
                producer_id,
                found: batch.base_sequence,
                expected,
            });
        }
        Ok(None)
    }

    /// Notes a batch that is in the log, with the offset of its last record. Live appends and replay come here.
    pub(crate) fn replay(&mut self, batch: &ProducerBatch, last_offset: i64) {
        let entry = self
            .entries
            .entry(batch.producer_id)
            .or_insert_with(|| ProducerEntry::new(batch.epoch));
        if batch.epoch != entry.epoch {
            *entry = ProducerEntry::new(batch.epoch);
        }
        entry.push(SequenceRange {
            last_sequence: next_sequence(batch.base_sequence, batch.offset_delta),
            last_offset,
            offset_delta: batch.offset_delta,
            timestamp: batch.max_timestamp,
        });
    }

    /// Puts a producer back to what it was before a batch that could not be written.
    pub(crate) fn restore(&mut self, producer_id: ProducerId, before: Option<ProducerEntry>) {
        match before {
            Some(entry) => drop(self.entries.insert(producer_id, entry)),
            None => drop(self.entries.remove(&producer_id)),
        }
    }

    /// Forgets producers without an open transaction whose last batch is `expiration_ms` old or older.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        let newest_forgotten = &mut self.newest_forgotten;
        self.entries.retain(|producer_id, entry| {
            let stays = entry.transaction_first_offset >= 0
                || entry
                    .batches()
                    .last()
                    .is_some_and(|last| now_ms.saturating_sub(last.timestamp) < expiration_ms);
            if !stays {
                *newest_forgotten = (*newest_forgotten).max(*producer_id);
            }
            stays
        });
    }
}

impl ProducerEntry {
    fn new(epoch: i16) -> Self {
        Self {
            epoch,
            coordinator_epoch: -1,
            transaction_first_offset: -1,
            batches: [SequenceRange::default(); BATCHES_REMEMBERED],
            remembered: 0,
        }
    }

    /// The producer's epoch.
    pub fn epoch(&self) -> i16 {
        self.epoch
    }

    /// The batches remembered, oldest first.
    pub fn batches(&self) -> &[SequenceRange] {
        self.batches.get(..usize::from(self.remembered)).unwrap_or_default()
    }

    fn find(&self, batch: &ProducerBatch) -> Option<SequenceRange> {
        let last_sequence = next_sequence(batch.base_sequence, batch.offset_delta);
        self.batches()
            .iter()
            .find(|known| known.last_sequence == last_sequence && known.offset_delta == batch.offset_delta)
            .copied()
    }

    /// Where the oldest batch that is remembered begins, if `batch` ends before it. Then it is in the log, since a gap is
    /// refused: a client whose leader changed can have more than five batches in flight, and hear of the first of them last.
    /// Kafka calls that OUT_OF_ORDER_SEQUENCE_NUMBER, which Java's producer repeats until the records expire.
    fn remembers_from_after(&self, batch: &ProducerBatch) -> Option<i64> {
        let oldest = self.batches().first()?;
        let first_sequence = i64::from(oldest.last_sequence) - i64::from(oldest.offset_delta);
        let after = i64::from(batch.base_sequence) + i64::from(batch.offset_delta);
        // Sequence numbers wrap: what is not behind by less than half of them is ahead.
        let behind = (first_sequence - after).rem_euclid(i64::from(i32::MAX) + 1);
        let is_older =
            usize::from(self.remembered) == BATCHES_REMEMBERED && (1..=i64::from(i32::MAX / 2)).contains(&behind);
        is_older.then(|| oldest.last_offset - i64::from(oldest.offset_delta))
    }

    fn push(&mut self, range: SequenceRange) {
        if usize::from(self.remembered) == BATCHES_REMEMBERED {
            self.batches.rotate_left(1);
        } else {
            self.remembered += 1;
        }
        if let Some(slot) = self.batches.get_mut(usize::from(self.remembered) - 1) {
            *slot = range;
        }
    }
}

/// The sequence number `by` after `sequence`; they wrap from `i32::MAX` to 0.
fn next_sequence(sequence: i32, by: i32) -> i32 {
    ((i64::from(sequence) + i64::from(by)) % (i64::from(i32::MAX) + 1)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, base_sequence: i32, records: i32) -> ProducerBatch {
        ProducerBatch {
            producer_id: ProducerId(7),
            epoch,
            base_sequence,
            offset_delta: records - 1,
            max_timestamp: 1000,
        }
    }

    fn appended(batches: &[(i16, i32, i32)]) -> ProducerState {
        let mut state = ProducerState::from(1);
        let mut end = 0;
        for &(epoch, base, records) in batches {
            assert!(matches!(state.check(&batch(epoch, base, records)), Ok(None)));
            end += i64::from(records);
            state.replay(&batch(epoch, base, records), end - 1);
        }
        state
    }

    #[test]
    fn a_retry_of_one_of_the_last_five_batches_gets_its_original_offset() {
        let state = appended(&[(0, 0, 1), (0, 1, 2), (0, 3, 1), (0, 4, 1), (0, 5, 1), (0, 6, 1)]);
        assert_eq!(state.check(&batch(0, 1, 2)).unwrap().unwrap().last_offset, 2);
        assert_eq!(state.check(&batch(0, 6, 1)).unwrap().unwrap().last_offset, 6);
    }

    #[test]
    fn a_retry_of_an_older_batch_is_known_to_be_there_and_a_part_of_one_is_not() {
        let state = appended(&[(0, 0, 2), (0, 2, 2), (0, 4, 1), (0, 5, 1), (0, 6, 1), (0, 7, 1)]);
        assert!(matches!(
            state.check(&batch(0, 0, 2)),
            Err(AppendError::DuplicateSequence {
                found: 0,
                before_offset: 2,
                ..
            })
        ));
        assert!(matches!(
            state.check(&batch(0, 1, 2)),
            Err(AppendError::OutOfOrderSequence { expected: 8, .. })
        ));
        let wrapped = appended(&[
            (0, i32::MAX - 1, 2),
            (0, 0, 1),
            (0, 1, 1),
            (0, 2, 1),
            (0, 3, 1),
            (0, 4, 1),
        ]);
        assert!(matches!(
            wrapped.check(&batch(0, i32::MAX - 1, 2)),
            Err(AppendError::DuplicateSequence { before_offset: 2, .. })
        ));
    }

    #[test]
    fn of_a_producer_with_few_batches_nothing_older_is_known() {
        let state = appended(&[(0, 40, 2), (0, 42, 1)]);
        assert!(matches!(
            state.check(&batch(0, 10, 1)),
            Err(AppendError::OutOfOrderSequence { expected: 43, .. })
        ));
    }

    #[test]
    fn a_gap_is_refused_and_a_producer_that_was_forgotten_goes_on_anywhere() {
        let state = appended(&[(0, 40, 2)]);
        assert!(matches!(
            state.check(&batch(0, 43, 1)),
            Err(AppendError::OutOfOrderSequence { expected: 42, .. })
        ));
        assert!(matches!(state.check(&batch(0, 42, 1)), Ok(None)));
    }

    #[test]
    fn a_newer_epoch_begins_at_zero_and_an_older_one_is_fenced() {
        let state = appended(&[(3, 0, 5)]);
        assert!(matches!(
            state.check(&batch(2, 5, 1)),
            Err(AppendError::InvalidProducerEpoch { current: 3, .. })
        ));
        assert!(matches!(
            state.check(&batch(4, 5, 1)),
            Err(AppendError::OutOfOrderSequence { expected: 0, .. })
        ));
        assert!(matches!(state.check(&batch(4, 0, 1)), Ok(None)));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let state = appended(&[(0, i32::MAX - 1, 2)]);
        assert!(matches!(state.check(&batch(0, 0, 1)), Ok(None)));
        let across = appended(&[(0, i32::MAX, 3)]);
        assert!(matches!(across.check(&batch(0, 2, 1)), Ok(None)));
        assert!(across.check(&batch(0, i32::MAX, 3)).unwrap().is_some());
    }

    #[test]
    fn idle_producers_are_forgotten() {
        let mut state = appended(&[(0, 0, 1)]);
        state.expire(1999, 1000);
        assert_eq!(state.len(), 1);
        state.expire(2000, 1000);
        assert!(state.is_empty());
    }

    /// Java's producer through a change of leaders: its first two batches were refused by the old one.
    #[test]
    fn a_producer_that_never_wrote_here_begins_with_its_first_batch() {
        let mut state = ProducerState::from(0);
        let third = batch(0, 681, 3);
        assert!(matches!(
            state.check(&third),
            Err(AppendError::OutOfOrderSequence {
                found: 681,
                expected: 0,
                ..
            })
        ));
        let (first, second) = (batch(0, 0, 92), batch(0, 92, 589));
        for (batch, last_offset) in [(first, 91), (second, 680), (third, 683)] {
            assert!(matches!(state.check(&batch), Ok(None)));
            state.replay(&batch, last_offset);
        }
        // Forgotten, it goes on; one whose id is newer was never known.
        state.expire(2000, 1000);
        assert!(matches!(state.check(&batch(0, 684, 1)), Ok(None)));
        let newer = ProducerBatch {
            producer_id: ProducerId(8),
            ..batch(0, 684, 1)
        };
        assert!(matches!(
            state.check(&newer),
            Err(AppendError::OutOfOrderSequence { expected: 0, .. })
        ));
        state.none_forgotten_from(ProducerId(7));
        assert!(state.check(&batch(0, 684, 1)).is_err());
    }
}
