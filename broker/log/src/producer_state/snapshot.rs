//! The `<20-digit offset>.snapshot` file, version 1, as Kafka's `ProducerStateManager` writes it: what each producer has
//! written as of that offset.
//!
//! Kafka writes the last batch of a producer only. We write an entry for each batch that is remembered, the last one last:
//! for Kafka's reader the last entry of a producer counts, and ours still knows after a restart that what is retried, of
//! several batches in flight, was written before.
//!
//! Big-endian: version `i16`, CRC32C of all that follows `u32`, number of entries `i32`, then for each:
//! producer id `i64`, epoch `i16`, last sequence `i32`, last offset `i64`, offset delta `i32`, timestamp `i64`,
//! coordinator epoch `i32`, first offset of the open transaction `i64` (-1: none). At the end, where Kafka's reader does not
//! look, the newest producer that was forgotten `i64`.

use model::ProducerId;

use super::{ProducerEntry, ProducerState, SequenceRange};
use crate::error::LogError;

const VERSION: i16 = 1;
const HEAD_BYTES: usize = 2 + 4 + 4;
const ENTRY_BYTES: usize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;
const TAIL_BYTES: usize = 8;

/// The file's content.
pub(crate) fn encode(state: &ProducerState) -> Vec<u8> {
    const NOTHING: [SequenceRange; 1] = [SequenceRange {
        last_sequence: -1,
        last_offset: -1,
        offset_delta: 0,
        timestamp: -1,
    }];
    let mut producers: Vec<_> = state.entries.iter().collect();
    // In a fixed order, so that equal states give equal files.
    producers.sort_by_key(|(producer_id, _)| **producer_id);
    let mut content = Vec::with_capacity(HEAD_BYTES + producers.len() * ENTRY_BYTES + TAIL_BYTES);
    content.extend_from_slice(&VERSION.to_be_bytes());
    content.extend_from_slice(&[0; 4]);
    let mut entries = 0_i32;
    content.extend_from_slice(&entries.to_be_bytes());
    for (producer_id, entry) in producers {
        let remembered = if entry.batches().is_empty() {
            &NOTHING
        } else {
            entry.batches()
        };
        for batch in remembered {
            entries += 1;
            content.extend_from_slice(&producer_id.0.to_be_bytes());
            content.extend_from_slice(&entry.epoch.to_be_bytes());
            content.extend_from_slice(&batch.last_sequence.to_be_bytes());
            content.extend_from_slice(&batch.last_offset.to_be_bytes());
            content.extend_from_slice(&batch.offset_delta.to_be_bytes());
            content.extend_from_slice(&batch.timestamp.to_be_bytes());
            content.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
            content.extend_from_slice(&entry.transaction_first_offset.to_be_bytes());
        }
    }
    content.extend_from_slice(&state.newest_forgotten.0.to_be_bytes());
    if let Some(count) = content.get_mut(6..HEAD_BYTES) {
        count.copy_from_slice(&entries.to_be_bytes());
    }
    let crc = content.get(6..).map_or(0, crc32c::crc32c);
    if let Some(place) = content.get_mut(2..6) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    content
}

/// The state in a file, `None` if the file is damaged. A newer version is refused.
pub(crate) fn decode(name: &str, content: &[u8]) -> Result<Option<ProducerState>, LogError> {
    let mut head = Fields(content);
    let (Some(version), Some(crc)) = (head.take().map(i16::from_be_bytes), head.take().map(u32::from_be_bytes)) else {
        return Ok(None);
    };
    // The checksum does not cover the version, so a flipped version is told from a newer one by it.
    if crc32c::crc32c(head.0) != crc {
        return Ok(None);
    }
    if version != VERSION {
        return Err(LogError::UnknownVersion {
            file: name.to_owned(),
            found: i64::from(version),
            known: i64::from(VERSION),
        });
    }
    Ok(decode_entries(head))
}

fn decode_entries(mut fields: Fields<'_>) -> Option<ProducerState> {
    let count = usize::try_from(i32::from_be_bytes(fields.take()?)).ok()?;
    if fields.0.len() != count.checked_mul(ENTRY_BYTES)?.checked_add(TAIL_BYTES)? {
        return None;
    }
    let mut state = ProducerState::from(0);
    for _ in 0..count {
        let producer_id = ProducerId(i64::from_be_bytes(fields.take()?));
        let epoch = i16::from_be_bytes(fields.take()?);
        let known = state.entries.remove(&producer_id).filter(|known| known.epoch == epoch);
        let mut entry = known.unwrap_or_else(|| ProducerEntry::new(epoch));
        let last = SequenceRange {
            last_sequence: i32::from_be_bytes(fields.take()?),
            last_offset: i64::from_be_bytes(fields.take()?),
            offset_delta: i32::from_be_bytes(fields.take()?),
            timestamp: i64::from_be_bytes(fields.take()?),
        };
        entry.coordinator_epoch = i32::from_be_bytes(fields.take()?);
        entry.transaction_first_offset = i64::from_be_bytes(fields.take()?);
        if last.last_offset >= 0 {
            entry.push(last);
        }
        state.entries.insert(producer_id, entry);
    }
    state.newest_forgotten = ProducerId(i64::from_be_bytes(fields.take()?));
    Some(state)
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer_state::ProducerBatch;

    fn state() -> ProducerState {
        let mut state = ProducerState::from(0);
        for producer in [9, 4] {
            let batch = ProducerBatch {
                producer_id: ProducerId(producer),
                epoch: 2,
                base_sequence: 5,
                offset_delta: 2,
                max_timestamp: 1234,
            };
            state.replay(&batch, 40 + producer);
        }
        state
    }

    #[test]
    fn the_file_is_kafkas_to_the_byte_and_has_eight_more() {
        let mut expected = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
        for producer in [4_u8, 9] {
            expected.extend([0, 0, 0, 0, 0, 0, 0, producer, 0, 2, 0, 0, 0, 7]);
            expected.extend([0, 0, 0, 0, 0, 0, 0, 40 + producer, 0, 0, 0, 2]);
            expected.extend([0, 0, 0, 0, 0, 0, 4, 210]);
            expected.extend([0xff; 12]);
        }
        expected.extend([0xff; 8]);
        let crc = crc32c::crc32c(&expected[6..]);
        expected[2..6].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(encode(&state()), expected);
        assert_eq!(decode("s", &expected).unwrap(), Some(state()));
    }

    #[test]
    fn every_batch_that_is_remembered_is_known_again() {
        let mut state = state();
        for base_sequence in [8, 11, 14, 17, 20, 23] {
            let batch = ProducerBatch {
                producer_id: ProducerId(4),
                epoch: 2,
                base_sequence,
                offset_delta: 2,
                max_timestamp: 1234,
            };
            state.replay(&batch, 100 + i64::from(base_sequence));
        }
        let read = decode("s", &encode(&state)).unwrap().unwrap();
        assert_eq!(read, state);
        assert_eq!(read.get(ProducerId(4)).unwrap().batches().len(), 5);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let content = encode(&state());
        for bit in 0..content.len() * 8 {
            let mut damaged = content.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(decode("s", &damaged), Ok(Some(_))), "bit {bit}");
        }
        for cut in 0..content.len() {
            assert_eq!(decode("s", &content[..cut]).unwrap(), None, "cut {cut}");
        }
    }
}
