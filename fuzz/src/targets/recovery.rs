//! A partition directory after any accident: two segments, indexes, a producer snapshot, leader epochs.

use broker_log::OpenState;

use super::log::{disk, files_left, left, open, read_all, sample, seal_all};
use crate::memory;
use crate::pieces::{Pieces, join};

/// Flags of the first byte.
const SEAL: u8 = 1;
const CLEAN: u8 = 2;

/// The log reads up to 256 KiB at a time; the simulated disk keeps a few copies of what is written.
const FACTOR: usize = 64;

pub(crate) fn run(input: &[u8]) {
    let mut pieces = Pieces::of(input);
    let (flags, second, recovery_point, start) = (pieces.byte(), pieces.byte(), pieces.byte(), pieces.byte());
    let mut first_log = pieces.piece().unwrap_or_default().to_vec();
    let mut second_log = pieces.piece().unwrap_or_default().to_vec();
    if flags & SEAL != 0 {
        seal_all(&mut first_log);
        seal_all(&mut second_log);
    }
    let [index, times, snapshot, epochs] = std::array::from_fn(|_| pieces.piece());
    let second_log_name = format!("{:020}.log", i64::from(second));
    let snapshot_name = format!("{:020}.snapshot", i64::from(second));
    let mut files: Vec<(&str, &[u8])> = vec![("00000000000000000000.log", &first_log)];
    if !second_log.is_empty() {
        files.push((&second_log_name, &second_log));
    }
    let others = [
        ("00000000000000000000.index", index),
        ("00000000000000000000.timeindex", times),
        (snapshot_name.as_str(), snapshot),
        ("leader-epoch-checkpoint", epochs),
    ];
    files.extend(others.into_iter().filter_map(|(name, content)| Some((name, content?))));
    let state = OpenState {
        clean: flags & CLEAN != 0,
        recovery_point: i64::from(recovery_point),
        log_start_offset: i64::from(start),
    };
    let root = disk(&files);
    let opened = memory::bounded(FACTOR, input, || open(&root, state));
    let Ok(log) = opened else { return };
    // Below the recovery point and the log start nothing is looked at: damage there shows when it is read.
    let scanned = !state.clean && state.recovery_point == 0 && state.log_start_offset == 0;
    read_all(&log, scanned);
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    let Ok(closed_at) = log.close() else { return };
    if !scanned {
        return;
    }
    // What recovery settled stays settled.
    let again = OpenState {
        clean: true,
        recovery_point: closed_at,
        log_start_offset: start,
    };
    let log = open(&root, again).expect("a log that was closed opens");
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (start, end));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let files = files_left(6);
    let parts = |second: Vec<u8>| {
        [
            left(&files, ".log"),
            second,
            left(&files, ".index"),
            left(&files, ".timeindex"),
            left(&files, ".snapshot"),
            left(&files, "leader-epoch-checkpoint"),
        ]
    };
    let mut seeds = Vec::new();
    for flags in 0..4 {
        for recovery_point in [0, 3, 12] {
            seeds.push(join(&[flags, 12, recovery_point, 0], parts(Vec::new())));
            seeds.push(join(&[flags, 12, recovery_point, 0], parts(sample(12, 2))));
            seeds.push(join(&[flags, 12, recovery_point, 12], parts(sample(12, 2))));
            let mut torn = sample(12, 3);
            torn.truncate(torn.len() - 5);
            seeds.push(join(&[flags, 12, recovery_point, 2], parts(torn)));
        }
        // A clean mark is believed, whatever stands at the end.
        let mut farthest = left(&files, ".log");
        let mut last = sample(12, 1);
        last[..8].copy_from_slice(&i64::MAX.to_be_bytes());
        farthest.extend_from_slice(&last);
        seeds.push(join(&[flags, 12, 12, 0], [farthest]));
        seeds.push(join(&[flags, 0, 0, 0], [sample(0, 1)]));
        seeds.push(join(&[flags, 0, 0, 0], [b""]));
    }
    seeds
}
