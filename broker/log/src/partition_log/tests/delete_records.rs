//! DeleteRecords: the log starts later.

use super::*;

fn delete(log: &mut PartitionLog<SimDir>, offset: i64) -> Result<bool, LogError> {
    if let Some(work) = log.begin_delete_records(offset)? {
        let done = work.run();
        log.end_flush(done)?;
    }
    log.end_delete_records(offset)
}

#[test]
fn a_log_starts_in_the_middle_of_a_batch_and_survives_a_power_loss() {
    let dir = SimDir::new();
    let mut log = open(&dir);
    log.append(&batch(10, 100)).unwrap();
    assert!(delete(&mut log, 4).unwrap());
    assert_eq!(log.log_start_offset(), 4);
    assert_eq!(
        log.read(3, 1000, i64::MAX, true).unwrap_err().code(),
        ErrorCode::OffsetOutOfRange
    );
    // The batch comes whole, as Kafka sends it: clients skip.
    assert_eq!(log.read(4, 1000, i64::MAX, true).unwrap().first_offset, 0);
    assert_eq!(log.recovery_point(), 10, "it may not start where it was not synced");
    drop(log);
    dir.crash(3);
    let state = OpenState {
        clean: false,
        recovery_point: 0,
        log_start_offset: 4,
    };
    let (log, _) = open_with(&dir, small(), state).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (4, 10));
}

#[test]
fn deleting_everything_frees_every_segment() {
    let mut log = open(&SimDir::new());
    for number in 0..20 {
        log.append(&batch(3, number)).unwrap();
    }
    assert!(log.segment_count() > 3);
    assert!(delete(&mut log, 60).unwrap());
    let (removed, work) = log.remove_before(60).unwrap();
    let done = work.run();
    log.end_flush(done).unwrap();
    assert!(removed.bytes() > 0);
    removed.remove().unwrap();
    assert_eq!((log.size_bytes(), log.segment_count()), (0, 1));
    assert!(log.read(60, 100, i64::MAX, true).unwrap().is_empty());
    assert_eq!(log.append(&batch(1, 1)).unwrap().base_offset, 60);
}

#[test]
fn deleting_below_the_start_changes_nothing_and_beyond_the_end_is_refused() {
    let mut log = open(&SimDir::new());
    log.append(&batch(5, 1)).unwrap();
    assert!(delete(&mut log, 3).unwrap());
    assert!(delete(&mut log, 2).unwrap());
    assert_eq!(log.log_start_offset(), 3);
    assert_eq!(delete(&mut log, 6).unwrap_err().code(), ErrorCode::OffsetOutOfRange);
}

#[test]
fn a_segment_closed_meanwhile_lets_the_deletion_begin_again() {
    let mut log = open(&SimDir::new());
    log.append(&batch(5, 1)).unwrap();
    let work = log.begin_delete_records(5).unwrap().unwrap();
    let done = work.run();
    for number in 0..10 {
        log.append(&batch(5, number)).unwrap();
    }
    log.end_flush(done).unwrap();
    assert!(!log.end_delete_records(5).unwrap());
    assert!(delete(&mut log, 5).unwrap());
}

#[test]
fn lookups_by_time_see_nothing_below_the_start() {
    let mut log = open_with(&SimDir::new(), LogConfig::default(), OpenState::default())
        .unwrap()
        .0;
    // 900 is the largest, and the only one of its batch.
    let records = |timestamps: &[i64]| {
        let mut builder = BatchBuilder::new();
        for timestamp in timestamps {
            builder = builder.record(*timestamp, None, None);
        }
        builder.build()
    };
    log.append(&records(&[500, 900, 10, 20])).unwrap();
    log.append(&records(&[30, 600])).unwrap();
    let found = |log: &PartitionLog<SimDir>, timestamp| {
        let found = log.offset_for_timestamp(timestamp).unwrap();
        found.map(|found| (found.offset, found.timestamp))
    };
    assert_eq!(found(&log, 15), Some((0, 500)));
    assert!(delete(&mut log, 2).unwrap());
    assert_eq!(found(&log, 15), Some((3, 20)));
    assert_eq!(found(&log, 25), Some((4, 30)));
    assert_eq!(found(&log, 700), None);
    let max = log.max_timestamp_offset().unwrap().unwrap();
    assert_eq!((max.offset, max.timestamp), (5, 600));
    for (timestamp, offset) in [(700, 6), (950, 7)] {
        log.append(&records(&[timestamp])).unwrap();
        let max = log.max_timestamp_offset().unwrap().unwrap();
        assert_eq!((max.offset, max.timestamp), (offset, timestamp));
    }
}
