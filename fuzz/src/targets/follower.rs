//! What a leader sends, on its way into a follower's log: a byte of flags, then batches.

use broker_log::OpenState;
use model::LeaderEpoch;
use protocol::batch::{BatchHeader, HEADER_LEN};

use super::log::{disk, open, sample};
use crate::memory;
use crate::pieces::Pieces;

/// The checksums are made right, so that what they do not cover is looked at too.
const SEAL: u8 = 1;
const FACTOR: usize = 64;
const CRC: usize = 17;

pub(crate) fn run(input: &[u8]) {
    let mut pieces = Pieces::of(input);
    let flags = pieces.byte();
    let mut records = pieces.rest().to_vec();
    if flags & SEAL != 0 {
        seal(&mut records);
    }
    let root = disk(&[]);
    let mut log = open(&root, OpenState::default()).expect("an empty log opens");
    let appended = memory::bounded(FACTOR, &records, || log.append_as_follower(&records, LeaderEpoch(9), 0));
    let mut held = Vec::new();
    while let Some(last) = Some(log.log_end_offset()).filter(|_| held.len() < records.len()) {
        let next = held_end(&held);
        if next >= last {
            break;
        }
        let slice = log.read(next, usize::MAX, i64::MAX, true).expect("the log can be read");
        held.extend(slice.read().expect("the log can be read"));
    }
    assert!(records.starts_with(&held), "the log holds what nobody sent");
    if let Ok(appended) = appended {
        assert_eq!(appended.bytes, held.len());
    }
    let end = log.log_end_offset();
    let recovery_point = log.close().expect("a disk without faults");
    let state = OpenState {
        clean: true,
        recovery_point,
        log_start_offset: 0,
    };
    let again = open(&root, state).expect("a log that was closed opens");
    assert_eq!(again.log_end_offset(), end);
}

/// The offset after the batches.
fn held_end(held: &[u8]) -> i64 {
    let batches = protocol::batch::batches(held);
    batches
        .last()
        .map_or(0, |last| last.expect("whole batches").0.next_offset())
}

fn seal(records: &mut [u8]) {
    let mut at = 0;
    while let Some(rest) = records.get_mut(at..)
        && let Ok(header) = BatchHeader::parse(rest)
        && let Some(batch) = rest.get_mut(..header.size_in_bytes())
    {
        let crc = crc32c::crc32c(&batch[CRC + 4..]);
        batch[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
        at += batch.len().max(HEADER_LEN);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for flags in [0, SEAL] {
        for batches in 0..3 {
            let mut seed = vec![flags];
            seed.extend(sample(0, batches));
            seeds.push(seed);
        }
    }
    let mut cut = vec![0];
    cut.extend(sample(0, 2));
    cut.pop();
    seeds.push(cut);
    seeds
}
