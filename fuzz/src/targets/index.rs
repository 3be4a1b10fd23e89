//! Damaged offset and time indexes of an intact log. A lookup by offset costs time, never a wrong answer. A lookup by
//! time may miss what a time index that lost true entries hides, as in Kafka, but what it finds is late enough.

use std::sync::OnceLock;

use broker_log::OpenState;
use protocol::batch::batches;

use super::log::{disk, files_left, left, open};
use crate::pieces::{Pieces, join};

/// An intact log and what is true of it.
struct Truth {
    files: Vec<(String, Vec<u8>)>,
    log: Vec<u8>,
    /// First and last offset and the max timestamp of every batch.
    batches: Vec<(i64, i64, i64)>,
}

fn truth() -> &'static Truth {
    static TRUTH: OnceLock<Truth> = OnceLock::new();
    TRUTH.get_or_init(|| {
        let files = files_left(8);
        let log = left(&files, ".log");
        let batches = batches(&log)
            .map(|batch| batch.expect("an intact log").0)
            .map(|header| (header.base_offset, header.last_offset(), header.max_timestamp))
            .collect();
        Truth { files, log, batches }
    })
}

pub(crate) fn run(input: &[u8]) {
    let truth = truth();
    let mut pieces = Pieces::of(input);
    let clean = pieces.byte() & 1 == 0;
    let (index, times) = (pieces.piece().unwrap_or_default(), pieces.piece().unwrap_or_default());
    let epochs = left(&truth.files, "leader-epoch-checkpoint");
    let root = disk(&[
        ("00000000000000000000.log", &truth.log),
        ("00000000000000000000.index", index),
        ("00000000000000000000.timeindex", times),
        ("leader-epoch-checkpoint", &epochs),
    ]);
    let end = truth.batches.last().map_or(0, |(_, last, _)| last + 1);
    let state = OpenState {
        clean,
        recovery_point: if clean { end } else { 0 },
        log_start_offset: 0,
    };
    let log = open(&root, state).expect("the batches are intact");
    assert_eq!(log.log_end_offset(), end);
    for (first, last, _) in &truth.batches {
        for offset in *first..=*last {
            let slice = log.read(offset, 1, end, true).expect("the batches are intact");
            assert_eq!(slice.first_offset, *first, "the batch of offset {offset}");
        }
    }
    for timestamp in truth.batches.iter().flat_map(|(_, _, max)| [*max - 1, *max, *max + 1]) {
        let found = log.offset_for_timestamp(timestamp).expect("the batches are intact");
        let Some(found) = found else { continue };
        assert!(found.timestamp >= timestamp, "timestamp {timestamp}: {found:?}");
        let batch = |(first, last, _): &&(i64, i64, i64)| (*first..=*last).contains(&found.offset);
        let (_, _, max) = truth.batches.iter().find(batch).expect("an offset of the log");
        assert!(*max >= timestamp, "timestamp {timestamp}: {found:?}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let truth = truth();
    let (index, times) = (left(&truth.files, ".index"), left(&truth.files, ".timeindex"));
    let mut seeds = Vec::new();
    for clean in [0, 1] {
        seeds.push(join(&[clean], [&index, &times]));
        seeds.push(join(&[clean], [&times, &index]));
        seeds.push(join(&[clean], [&index[..index.len() / 2], &times[..times.len() / 2]]));
        seeds.push(join(&[clean], [&index[..3], &[]]));
    }
    seeds
}
