//! What goes by age and size, and what stays.

use super::*;
use crate::{Checkpoint, Offsets};

/// Retention as a broker runs it, without the delay before files are freed.
fn retain<D: Dir>(data: &DataDir<D>, log: &mut PartitionLog<D>, now_ms: i64, high_watermark: i64) {
    if let Some(work) = log.begin_retention(now_ms, high_watermark).unwrap() {
        log.end_flush(work.run()).unwrap();
    }
    let Some(start) = log.advance_log_start().unwrap() else {
        return;
    };
    let offsets = Offsets::from([(partition(), start)]);
    data.write(Checkpoint::LogStartOffset, &offsets).unwrap();
    let (removed, work) = log.remove_before(start).unwrap();
    log.end_flush(work.run()).unwrap();
    removed.remove().unwrap();
}

fn with_retention(retention_ms: i64, retention_bytes: i64) -> LogConfig {
    LogConfig {
        retention_ms,
        retention_bytes,
        ..small()
    }
}

/// One batch fills more than half a segment, so that each has a segment of its own.
fn a_segment(timestamp: i64) -> Vec<u8> {
    BatchBuilder::new().record(timestamp, None, Some(&[7; 600])).build()
}

fn log_of(dir: &SimDir, config: LogConfig, timestamps: &[i64]) -> (DataDir<SimDir>, PartitionLog<SimDir>) {
    let (data, _) = DataDir::open(dir.clone()).unwrap();
    let state = OpenState::default();
    let mut log = PartitionLog::open(&data, partition(), id(1), config, state, 0)
        .unwrap()
        .0;
    for timestamp in timestamps {
        log.append(&a_segment(*timestamp)).unwrap();
    }
    (data, log)
}

fn log_files(dir: &SimDir) -> Vec<String> {
    let mut names = dir.subdir(&partition().directory_name()).list().unwrap();
    names.retain(|name| name.contains(".log") || name.contains("deleted"));
    names.sort();
    names
}

#[test]
fn old_segments_go_and_a_reader_of_them_goes_on() {
    let dir = SimDir::new();
    let (data, mut log) = log_of(&dir, with_retention(100, -1), &[10, 20, 500, 30]);
    let slice = log.read(0, 1 << 20, i64::MAX, true).unwrap();
    retain(&data, &mut log, 121, 4);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (2, 4));
    assert_eq!(
        log_files(&dir),
        ["00000000000000000002.log", "00000000000000000003.log"]
    );
    assert_eq!(slice.read().unwrap().len(), a_segment(10).len());
    let below = log.read(1, 1 << 20, i64::MAX, true).unwrap_err();
    assert_eq!(below.code(), ErrorCode::OffsetOutOfRange);
    let first = log.offset_for_timestamp(0).unwrap().unwrap();
    assert_eq!((first.offset, first.timestamp), (2, 500));
}

#[test]
fn files_wait_for_their_removal_and_an_open_removes_what_was_left() {
    let dir = SimDir::new();
    let (data, mut log) = log_of(&dir, with_retention(100, -1), &[10, 20, 500]);
    let work = log.begin_retention(1000, 3).unwrap().unwrap();
    log.end_flush(work.run()).unwrap();
    let start = log.advance_log_start().unwrap().unwrap();
    assert_eq!(start, 3);
    let (removed, _) = log.remove_before(2).unwrap();
    assert_eq!(removed.segments(), 2, "no more than what is durable");
    drop((removed, log));
    assert!(log_files(&dir).contains(&"00000000000000000001.log.deleted".to_owned()));
    let state = OpenState {
        log_start_offset: 2,
        ..OpenState::default()
    };
    let log = PartitionLog::open(&data, partition(), id(1), small(), state, 0)
        .unwrap()
        .0;
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (2, 3));
    assert!(!log_files(&dir).iter().any(|name| name.ends_with("deleted")));
}

#[test]
fn a_log_all_of_whose_records_are_old_begins_a_new_segment() {
    let dir = SimDir::new();
    let (data, mut log) = log_of(&dir, with_retention(100, -1), &[10, 20]);
    retain(&data, &mut log, 1000, 1);
    assert_eq!(log.log_start_offset(), 1, "what is not committed stays");
    retain(&data, &mut log, 1000, 2);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (2, 2));
    assert_eq!(log_files(&dir), ["00000000000000000002.log"]);
    retain(&data, &mut log, 1000, 2);
    assert_eq!(
        log_files(&dir),
        ["00000000000000000002.log"],
        "an empty log stays as it is"
    );
    assert_eq!(log.append(&a_segment(5)).unwrap().base_offset, 2);
}

#[test]
fn a_producer_whose_records_are_gone_is_still_known_after_a_crash() {
    let dir = SimDir::new();
    let (data, mut log) = log_of(&dir, with_retention(100, -1), &[]);
    for sequence in 0..3 {
        log.append(&from_producer(0, sequence)).unwrap();
    }
    retain(&data, &mut log, 1000, 3);
    assert_eq!(log.log_start_offset(), 3);
    drop(log);
    dir.crash(1);
    let (data, left) = DataDir::open(dir).unwrap();
    let state = OpenState {
        log_start_offset: left.log_start_offsets[&partition()],
        ..OpenState::default()
    };
    let mut log = PartitionLog::open(&data, partition(), id(1), small(), state, 0)
        .unwrap()
        .0;
    assert!(log.append(&from_producer(0, 2)).unwrap().duplicate);
}

proptest! {
    /// The model: a list of (largest timestamp, bytes), one a segment, of which a prefix goes.
    #[test]
    fn what_survives_is_what_a_simple_model_says(
        timestamps in prop::collection::vec(0_i64..6, 1..8),
        retention_ms in prop_oneof![Just(-1), 0_i64..6],
        retained_segments in prop_oneof![Just(-1), 0_i64..8],
        slack in prop_oneof![Just(0), 0_i64..600],
        now_ms in 0_i64..12,
        behind in 0_usize..3,
    ) {
        let size = a_segment(0).len() as i64;
        let retention_bytes = if retained_segments < 0 { -1 } else { retained_segments * size + slack };
        let committed = timestamps.len().saturating_sub(behind);

        let is_old = |timestamp: &&i64| retention_ms >= 0 && now_ms - **timestamp > retention_ms;
        let mut gone = timestamps[..committed].iter().take_while(is_old).count();
        while retention_bytes >= 0
            && gone < committed
            && (timestamps.len() - gone - 1) as i64 * size >= retention_bytes
        {
            gone += 1;
        }

        let dir = SimDir::new();
        let (data, mut log) = log_of(&dir, with_retention(retention_ms, retention_bytes), &timestamps);
        prop_assert_eq!(log.segment_count(), timestamps.len());
        retain(&data, &mut log, now_ms, committed as i64);
        prop_assert_eq!(log.log_start_offset(), gone as i64);
        prop_assert_eq!(log.log_end_offset(), timestamps.len() as i64);
        prop_assert_eq!(log.segment_count(), (timestamps.len() - gone).max(1));
    }
}
