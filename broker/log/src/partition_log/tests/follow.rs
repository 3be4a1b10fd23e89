//! What a follower takes from its leader, and what it does not.

use super::*;
use crate::FollowerAppend;

/// A batch of `records` records as a leader of `epoch` wrote it at `offset`.
fn written(offset: i64, epoch: i32, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new().base_offset(offset).leader_epoch(epoch);
    for _ in 0..records {
        builder = builder.record(1000, None, Some(b"value"));
    }
    builder.build()
}

fn follow(log: &mut PartitionLog<SimDir>, records: &[u8]) -> Result<FollowerAppend, AppendError> {
    log.append_as_follower(records, LeaderEpoch(9), 0)
}

#[test]
fn batches_stay_as_the_leader_wrote_them() {
    let mut log = open(&SimDir::new());
    let records = [written(0, 2, 3), written(3, 2, 1), written(4, 5, 2)].concat();
    let appended = follow(&mut log, &records).unwrap();
    assert_eq!((appended.batches, appended.bytes), (3, records.len()));
    assert_eq!(log.content(), records);
    assert_eq!(log.log_end_offset(), 6);
    let epochs: Vec<_> = log
        .leader_epochs()
        .entries()
        .iter()
        .map(|e| (e.epoch.0, e.start_offset))
        .collect();
    assert_eq!(epochs, [(2, 0), (5, 4)]);
}

#[test]
fn a_batch_received_in_part_ends_the_append_and_is_no_error() {
    let whole = written(0, 1, 2);
    let next = written(2, 1, 2);
    for part in [0, 1, 11, 12, 60, 61, next.len() - 1] {
        let mut log = open(&SimDir::new());
        let appended = follow(&mut log, &[&whole, &next[..part]].concat()).unwrap();
        assert_eq!(appended.batches, 1, "{part} bytes of the next");
        assert_eq!(log.content(), whole);
    }
}

#[test]
fn damage_a_hole_and_an_older_epoch_are_refused_and_what_came_before_stays() {
    let mut flipped = written(2, 3, 1);
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    for wrong in [flipped, written(3, 3, 1), written(1, 3, 1), written(2, 2, 1)] {
        let mut log = open(&SimDir::new());
        let first = written(0, 3, 2);
        assert!(follow(&mut log, &[&first[..], &wrong].concat()).is_err());
        assert_eq!(log.content(), first);
        assert_eq!(log.latest_epoch(), Some(LeaderEpoch(3)));
        follow(&mut log, &written(2, 3, 1)).unwrap();
        assert_eq!(log.log_end_offset(), 3);
    }
}

#[test]
fn a_batch_of_a_later_epoch_than_the_follower_knows_waits() {
    let mut log = open(&SimDir::new());
    let appended = follow(&mut log, &[written(0, 9, 1), written(1, 10, 1)].concat()).unwrap();
    assert_eq!(appended.batches, 1);
    assert_eq!(log.log_end_offset(), 1);
}

#[test]
fn an_empty_log_begins_where_the_leaders_batch_does() {
    let mut log = open(&SimDir::new());
    log.truncate_fully_and_start_at(5, |_, _| Ok(())).unwrap();
    let records = written(3, 1, 4);
    let Err(AppendError::BeginsWithin { base_offset }) = follow(&mut log, &records) else {
        panic!("offset 3 lies before the log");
    };
    log.truncate_fully_and_start_at(base_offset, |_, _| Ok(())).unwrap();
    follow(&mut log, &records).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (3, 7));
}

#[test]
fn an_epoch_in_which_nothing_was_written_is_forgotten_at_the_next_cut() {
    let mut log = open(&SimDir::new());
    follow(&mut log, &written(0, 3, 2)).unwrap();
    log.begin_epoch(LeaderEpoch(5)).unwrap();
    log.truncate_to(2, |_| Ok(())).unwrap();
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(3)));
    // The next leader's epoch is lower than the one that nobody else has heard of.
    follow(&mut log, &written(2, 4, 1)).unwrap();
}

#[test]
fn what_a_follower_must_flush_is_durable_when_it_returns() {
    let config = LogConfig {
        flush_messages: 1,
        ..small()
    };
    let (mut log, _) = open_with(&SimDir::new(), config, OpenState::default()).unwrap();
    follow(&mut log, &written(0, 1, 3)).unwrap();
    assert_eq!(log.recovery_point(), 3);
}
