//! A producer snapshot with a right checksum and any content, and with a wrong one.

use broker_log::OpenState;

use super::log::{disk, files_left, left, open, sample};
use crate::memory;
use crate::pieces::{Pieces, join};

const SEAL: u8 = 1;
const FACTOR: usize = 64;

/// Bytes of an entry in the file.
const ENTRY: usize = 46;

pub(crate) fn run(input: &[u8]) {
    let mut pieces = Pieces::of(input);
    let flags = pieces.byte();
    let mut snapshot = pieces.rest().to_vec();
    if flags & SEAL != 0
        && let Some((head, covered)) = snapshot.split_at_mut_checked(6)
    {
        head[2..].copy_from_slice(&crc32c::crc32c(covered).to_be_bytes());
    }
    let log = sample(0, 2);
    let root = disk(&[
        ("00000000000000000000.log", &log),
        ("00000000000000000003.snapshot", &snapshot),
        ("leader-epoch-checkpoint", b"0\n1\n0 0\n"),
    ]);
    let state = OpenState {
        clean: true,
        recovery_point: 3,
        log_start_offset: 0,
    };
    let opened = memory::bounded(FACTOR, &snapshot, || open(&root, state));
    let Ok(log) = opened else { return };
    // Producer 9 is in the batches.
    assert!(log.producers().len() <= snapshot.len() / ENTRY + 1);
    log.close().expect("a disk without faults");
    let again = open(&root, state).expect("a log that was closed opens");
    assert!(again.producers().len() <= snapshot.len() / ENTRY + 1);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let snapshot = left(&files_left(2), ".snapshot");
    let mut several = snapshot[..6].to_vec();
    several.extend_from_slice(&3_i32.to_be_bytes());
    for id in 1..=3_u8 {
        let mut entry = snapshot[10..].to_vec();
        entry[7] = id;
        several.extend_from_slice(&entry);
    }
    let none: &[&[u8]] = &[];
    let mut seeds = vec![join(&[SEAL], none)];
    for flags in [0, SEAL] {
        for snapshot in [&snapshot, &several] {
            let mut seed = vec![flags];
            seed.extend_from_slice(snapshot);
            seeds.push(seed);
        }
    }
    seeds
}
