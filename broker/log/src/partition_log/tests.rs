//! The log as its callers use it.

use model::{LeaderEpoch, PartitionIndex, TopicId, TopicName};
use proptest::prelude::*;
use protocol::ErrorCode;
use protocol::batch::{BatchBuilder, BatchHeader, batches, patch_max_timestamp};
use uuid::Uuid;

use super::{OpenState, PartitionLog};
use crate::dir::fs::FsDir;
use crate::dir::sim::{Fault, SimDir};
use crate::dir::{Dir, DirFile, Open, read_file, write_all_at};
use crate::{AppendError, AppendInfo, DataDir, LogConfig, LogError, RecoveryReport, TopicPartition};

mod delete_records;
mod follow;
mod intake;
mod retention;

impl<D: Dir> PartitionLog<D> {
    /// Compares every index entry with a walk over the batches.
    pub(crate) fn check_indexes(&self) -> Result<(), String> {
        for segment in &self.segments {
            segment.check_indexes(self.config.index_interval_bytes)?;
        }
        Ok(())
    }

    fn append(&mut self, batch: &[u8]) -> Result<AppendInfo, AppendError> {
        let mut batch = batch.to_vec();
        let mut outcomes = Vec::new();
        self.append_as_leader(&mut [&mut batch], LeaderEpoch(1), 0, &mut outcomes);
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    fn content(&self) -> Vec<u8> {
        let mut content = Vec::new();
        let mut offset = self.log_start_offset();
        while offset < self.log_end_offset() {
            let slice = self.read(offset, 1 << 20, i64::MAX, true).unwrap();
            content.extend(slice.read().unwrap());
            offset = slice.next_offset;
        }
        content
    }
}

fn partition() -> TopicPartition {
    TopicPartition {
        topic: TopicName::new("mail").unwrap(),
        partition: PartitionIndex(0),
    }
}

fn id(number: u128) -> TopicId {
    TopicId(Uuid::from_u128(number))
}

fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 1000,
        index_interval_bytes: 100,
        ..LogConfig::default()
    }
}

fn open_with<D: Dir>(
    dir: &D,
    config: LogConfig,
    state: OpenState,
) -> Result<(PartitionLog<D>, RecoveryReport), LogError> {
    let (data, _) = DataDir::open(dir.clone())?;
    PartitionLog::open(&data, partition(), id(1), config, state, 0)
}

fn open<D: Dir>(dir: &D) -> PartitionLog<D> {
    open_with(dir, small(), OpenState::default()).unwrap().0
}

fn batch(records: usize, timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for record in 0..records {
        builder = builder.record(timestamp + record as i64, None, Some(&[7; 50]));
    }
    builder.build()
}

fn from_producer(epoch: i16, sequence: i32) -> Vec<u8> {
    BatchBuilder::new()
        .producer(5, epoch, sequence)
        .record(1, None, Some(b"x"))
        .build()
}

/// A log of several segments, closed or dropped.
fn filled(dir: &SimDir, close: bool) -> (Vec<u8>, i64) {
    let mut log = open(dir);
    for sequence in 0..40 {
        log.append(&from_producer(0, sequence)).unwrap();
        log.append(&batch(2, 100 * i64::from(sequence))).unwrap();
    }
    let content = log.content();
    let end = log.log_end_offset();
    assert!(log.segment_count() > 3);
    if close {
        log.close().unwrap();
    } else {
        log.flush().unwrap();
    }
    (content, end)
}

#[test]
fn records_come_back_bit_for_bit_from_a_real_disk() {
    let temp = tempfile::tempdir().unwrap();
    let dir = FsDir::new(temp.path().join("data"));
    dir.create().unwrap();
    let lock = dir.lock().unwrap();
    assert_eq!(dir.lock().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let mut log = open(&dir);
    for number in 0..30 {
        let info = log.append(&batch(3, number)).unwrap();
        assert_eq!((info.base_offset, info.last_offset), (3 * number, 3 * number + 2));
    }
    let content = log.content();
    let mut next = 0;
    for found in batches(&content) {
        let (header, bytes) = found.unwrap();
        assert_eq!((header.base_offset, header.partition_leader_epoch), (next, 1));
        assert_eq!(
            bytes[16..],
            batch(3, next / 3)[16..],
            "only offset and epoch are stamped"
        );
        next = header.next_offset();
    }
    assert_eq!(next, 90);
    let recovery_point = log.close().unwrap();
    let (log, report) = open_with(
        &dir,
        small(),
        OpenState {
            clean: true,
            recovery_point,
            log_start_offset: 0,
        },
    )
    .unwrap();
    assert!(!report.scanned);
    assert_eq!(log.content(), content);
    drop(lock);
}

#[test]
fn the_batches_of_a_wake_up_are_written_at_once_and_fail_one_by_one() {
    let dir = SimDir::new();
    let mut log = open_with(&dir, LogConfig::default(), OpenState::default()).unwrap().0;
    let mut damaged = batch(1, 1);
    *damaged.last_mut().unwrap() ^= 1;
    let mut sent = [
        batch(1, 1),
        damaged,
        from_producer(0, 0),
        from_producer(0, 2),
        from_producer(0, 1),
        batch(2, 1),
    ];
    let mut outcomes = Vec::new();
    let before = dir.operations();
    let mut slices: Vec<&mut [u8]> = sent.iter_mut().map(Vec::as_mut_slice).collect();
    log.append_as_leader(&mut slices, LeaderEpoch(1), 0, &mut outcomes);
    assert_eq!(dir.operations() - before, 1, "one write, nothing else");
    let found: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().map(|info| info.base_offset).map_err(AppendError::code))
        .collect();
    assert_eq!(
        found,
        [
            Ok(0),
            Err(ErrorCode::CorruptMessage),
            Ok(1),
            Err(ErrorCode::OutOfOrderSequenceNumber),
            Ok(2),
            Ok(3)
        ]
    );
    assert_eq!(log.log_end_offset(), 5);
}

#[test]
fn a_retry_gets_its_original_offsets_and_an_old_epoch_is_fenced() {
    let mut log = open(&SimDir::new());
    for sequence in 0..4 {
        log.append(&from_producer(1, sequence)).unwrap();
    }
    let info = log.append(&from_producer(1, 2)).unwrap();
    assert_eq!((info.base_offset, info.duplicate), (2, true));
    assert_eq!(log.log_end_offset(), 4);
    assert_eq!(
        log.append(&from_producer(0, 4)).unwrap_err().code(),
        ErrorCode::InvalidProducerEpoch
    );
    let mut outcomes = Vec::new();
    log.append_as_leader(&mut [&mut batch(1, 1)], LeaderEpoch(0), 0, &mut outcomes);
    assert_eq!(outcomes[0].as_ref().unwrap_err().code(), ErrorCode::FencedLeaderEpoch);
}

#[test]
fn batches_that_are_too_large_are_refused() {
    let config = LogConfig {
        max_message_bytes: 300,
        segment_bytes: 1000,
        ..LogConfig::default()
    };
    let mut log = open_with(&SimDir::new(), config, OpenState::default()).unwrap().0;
    assert_eq!(log.append(&batch(5, 1)).unwrap_err().code(), ErrorCode::MessageTooLarge);
    log.set_config(LogConfig {
        segment_bytes: 300,
        ..LogConfig::default()
    });
    assert_eq!(
        log.append(&batch(5, 1)).unwrap_err().code(),
        ErrorCode::RecordListTooLarge
    );
    assert_eq!(log.log_end_offset(), 0);
}

#[test]
fn a_wrong_largest_timestamp_is_corrected_for_the_time_index() {
    let mut log = open(&SimDir::new());
    let mut sent = batch(2, 500);
    patch_max_timestamp(&mut sent, -1).unwrap();
    log.append(&sent).unwrap();
    assert_eq!(BatchHeader::parse(&log.content()).unwrap().max_timestamp, 501);
    let found = log.offset_for_timestamp(501).unwrap().unwrap();
    assert_eq!((found.timestamp, found.offset), (501, 1));
}

#[test]
fn reads_outside_the_log_are_refused_and_at_its_end_empty() {
    let mut log = open(&SimDir::new());
    log.append(&batch(3, 1)).unwrap();
    assert!(log.read(3, 100, i64::MAX, true).unwrap().is_empty());
    assert!(log.read(0, 100, 0, true).unwrap().is_empty());
    assert!(log.read(0, 100, 2, true).unwrap().is_empty(), "half a batch was shown");
    for offset in [-1, 4] {
        assert_eq!(
            log.read(offset, 100, i64::MAX, true).unwrap_err().code(),
            ErrorCode::OffsetOutOfRange
        );
    }
    assert_eq!(log.read(2, 1, i64::MAX, true).unwrap().first_offset, 0);
    assert!(log.read(2, 1, i64::MAX, false).unwrap().is_empty());
}

#[test]
fn segments_roll_by_size_and_by_age() {
    let mut log = open_with(
        &SimDir::new(),
        LogConfig {
            segment_ms: 1000,
            ..small()
        },
        OpenState::default(),
    )
    .unwrap()
    .0;
    log.append(&batch(1, 5000)).unwrap();
    log.append(&batch(1, 6000)).unwrap();
    assert_eq!(log.segment_count(), 1);
    log.append(&batch(1, 6001)).unwrap();
    assert_eq!(log.segment_count(), 2);
    for _ in 0..9 {
        log.append(&batch(1, 6001)).unwrap();
    }
    assert_eq!(log.segment_count(), 3);
}

#[test]
fn a_segment_is_as_old_as_its_first_batch_after_a_clean_start_too() {
    let dir = SimDir::new();
    let config = LogConfig {
        segment_ms: 1000,
        index_interval_bytes: 200,
        ..LogConfig::default()
    };
    let mut log = open_with(&dir, config.clone(), OpenState::default()).unwrap().0;
    // The third one has an index entry: what follows it is read again.
    for timestamp in [5000, 5200, 5400, 5800] {
        log.append(&batch(1, timestamp)).unwrap();
    }
    log.close().unwrap();
    let clean = OpenState {
        clean: true,
        recovery_point: 4,
        ..OpenState::default()
    };
    let (mut log, report) = open_with(&dir, config, clean).unwrap();
    assert!(!report.scanned);
    log.append(&batch(1, 6000)).unwrap();
    assert_eq!(log.segment_count(), 1);
    log.append(&batch(1, 6001)).unwrap();
    assert_eq!(log.segment_count(), 2);
}

#[test]
fn with_flush_messages_one_an_append_returns_after_the_sync() {
    for seed in 0..20 {
        let dir = SimDir::new();
        let mut log = open_with(
            &dir,
            LogConfig {
                flush_messages: 1,
                ..small()
            },
            OpenState::default(),
        )
        .unwrap()
        .0;
        for number in 0..20 {
            log.append(&batch(1, number)).unwrap();
            assert_eq!(log.recovery_point(), number + 1);
        }
        let content = log.content();
        dir.crash(seed);
        assert_eq!(open(&dir).content(), content);
    }
}

#[test]
fn a_flush_is_due_by_age() {
    let mut log = open_with(
        &SimDir::new(),
        LogConfig {
            flush_ms: 100,
            ..small()
        },
        OpenState::default(),
    )
    .unwrap()
    .0;
    assert!(!log.flush_due(1000));
    let mut outcomes = Vec::new();
    log.append_as_leader(&mut [&mut batch(1, 1)], LeaderEpoch(1), 1000, &mut outcomes);
    assert!(!log.flush_due(1099));
    assert!(log.flush_due(1100));
    log.flush().unwrap();
    assert!(!log.flush_due(5000));
}

#[test]
fn after_a_failed_sync_the_log_is_offline_and_acknowledges_nothing() {
    let dir = SimDir::new();
    let mut log = open_with(
        &dir,
        LogConfig {
            flush_messages: 1,
            ..small()
        },
        OpenState::default(),
    )
    .unwrap()
    .0;
    log.append(&batch(1, 1)).unwrap();
    dir.inject(Fault::SyncError);
    assert_eq!(
        log.append(&batch(1, 2)).unwrap_err().code(),
        ErrorCode::KafkaStorageError
    );
    assert_eq!(
        log.append(&batch(1, 3)).unwrap_err().code(),
        ErrorCode::KafkaStorageError
    );
    assert!(matches!(log.flush(), Err(LogError::Offline { .. })));
    assert!(log.offline().is_some());
    assert_eq!(log.recovery_point(), 1);
    assert!(log.close().is_err());
}

#[test]
fn a_full_disk_refuses_and_the_log_goes_on_when_there_is_room() {
    let dir = SimDir::new();
    let mut log = open(&dir);
    log.append(&from_producer(0, 0)).unwrap();
    for free in 0..60 {
        dir.set_free_bytes(Some(free));
        let error = log.append(&from_producer(0, 1)).unwrap_err();
        assert!(
            matches!(error, AppendError::Storage(LogError::StorageFull { .. })),
            "{error}"
        );
    }
    dir.set_free_bytes(None);
    assert_eq!(log.append(&from_producer(0, 1)).unwrap().base_offset, 1);
    dir.kill(1);
    assert_eq!(open(&dir).log_end_offset(), 2);
}

#[test]
fn rule_25_a_directory_of_another_topic_id_is_opened_by_nobody() {
    let dir = SimDir::new();
    let (content, _) = filled(&dir, true);
    let (data, _) = DataDir::open(dir.clone()).unwrap();
    let open_as = |id| PartitionLog::open(&data, partition(), id, small(), OpenState::default(), 0);
    let error = open_as(id(2)).unwrap_err();
    assert!(
        matches!(&error, LogError::OtherTopicId { found, .. } if *found == id(1).0),
        "{error}"
    );
    assert_eq!(open_as(id(1)).unwrap().0.content(), content);
    data.set_aside(&partition(), Some(id(1))).unwrap();
    assert_eq!(open_as(id(2)).unwrap().0.log_end_offset(), 0);
}

#[test]
fn records_without_a_topic_id_are_opened_by_nobody() {
    let dir = SimDir::new();
    filled(&dir, true);
    dir.subdir("mail-0").remove("partition.metadata").unwrap();
    assert!(matches!(
        open_with(&dir, small(), OpenState::default()),
        Err(LogError::UnknownTopicId { .. })
    ));
}

#[test]
fn damage_below_the_recovery_point_is_an_error_and_cuts_nothing() {
    let dir = SimDir::new();
    let (_, end) = filled(&dir, false);
    let log_dir = dir.subdir("mail-0");
    let last = log_dir
        .list()
        .unwrap()
        .into_iter()
        .filter(|name| name.split_once('.').is_some_and(|(_, extension)| extension == "log"))
        .max()
        .unwrap();
    let before = read_file(&log_dir, &last).unwrap().unwrap();
    write_all_at(&log_dir.open(&last, Open::Existing).unwrap(), &[before[100] ^ 1], 100).unwrap();
    let damaged = read_file(&log_dir, &last).unwrap().unwrap();
    let state = OpenState {
        recovery_point: end,
        ..OpenState::default()
    };
    assert!(matches!(open_with(&dir, small(), state), Err(LogError::Damaged { .. })));
    assert_eq!(read_file(&log_dir, &last).unwrap().unwrap(), damaged);
    let state = OpenState {
        recovery_point: end + 1,
        ..OpenState::default()
    };
    write_all_at(&log_dir.open(&last, Open::Existing).unwrap(), &[before[100]], 100).unwrap();
    assert!(matches!(open_with(&dir, small(), state), Err(LogError::Missing { .. })));
}

#[test]
fn a_log_whose_beginning_nobody_deleted_is_refused_and_kept() {
    let dir = SimDir::new();
    filled(&dir, true);
    let log_dir = dir.subdir("mail-0");
    let segments = || {
        let mut names = log_dir.list().unwrap();
        names.retain(|name| name.split_once('.').is_some_and(|(_, extension)| extension == "log"));
        names.sort();
        names
    };
    // As retention leaves it; but the checkpoints that would say so are lost.
    log_dir.remove(&segments()[0]).unwrap();
    let left = segments();
    assert!(left.len() > 1);
    for clean in [true, false] {
        let state = OpenState {
            clean,
            ..OpenState::default()
        };
        assert!(matches!(
            open_with(&dir, small(), state),
            Err(LogError::LostBeginning { .. })
        ));
        assert_eq!(segments(), left);
    }
}

#[test]
fn where_each_record_is_flushed_an_open_log_holds_nothing_that_a_loss_of_power_takes() {
    let flushed = LogConfig {
        flush_messages: 1,
        ..small()
    };
    let batch = BatchBuilder::new().record(1, None, Some(b"v")).build();
    for lost in 0..20 {
        let dir = SimDir::new();
        let open = |config: &LogConfig| open_with(&dir, config.clone(), OpenState::default()).unwrap().0;
        // Flushed by nobody, found by a process that flushes each record.
        let mut log = open(&small());
        log.append(&batch).unwrap();
        drop(log);
        drop(open(&flushed));
        dir.crash(lost);
        // And appended before the setting changed.
        let mut log = open(&small());
        assert_eq!(log.log_end_offset(), 1);
        log.append(&batch).unwrap();
        log.set_config(flushed.clone());
        dir.crash(lost);
        drop(log);
        assert_eq!(open(&small()).log_end_offset(), 2);
    }
}

/// What readers can see of a log.
fn face(log: &PartitionLog<SimDir>) -> String {
    let times: Vec<_> = (0..45).map(|at| log.offset_for_timestamp(at * 100).unwrap()).collect();
    let starts: Vec<_> = (0..log.log_end_offset())
        .map(|offset| log.read(offset, 0, i64::MAX, true).unwrap())
        .map(|slice| (slice.first_offset, slice.position, slice.len))
        .collect();
    let last = log
        .producers()
        .get(model::ProducerId(5))
        .map(|entry| *entry.batches().last().unwrap());
    format!(
        "{times:?} {starts:?} {last:?} {:?} {:?}",
        log.leader_epochs(),
        log.max_timestamp_offset().unwrap()
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases * 3 / 5))]

    #[test]
    fn a_log_without_its_derived_files_or_with_damaged_ones_shows_the_same(
        which in any::<prop::sample::Index>(),
        place in proptest::option::of((any::<prop::sample::Index>(), 1_u8..)),
        clean in any::<bool>(),
    ) {
        let dir = SimDir::new();
        let (content, end) = filled(&dir, true);
        let state = OpenState { clean, recovery_point: end, log_start_offset: 0 };
        let expected = face(&open_with(&dir, small(), OpenState { clean: true, ..state }).unwrap().0);
        let log_dir = dir.subdir("mail-0");
        let mut derived = log_dir.list().unwrap();
        derived.retain(|name| name != "partition.metadata" && name.split_once('.').is_none_or(|(_, end)| end != "log"));
        derived.sort();
        let name = which.get(&derived).clone();
        match place {
            None => log_dir.remove(&name).unwrap(),
            Some((place, flip)) => {
                let file = log_dir.open(&name, Open::Existing).unwrap();
                let mut content = read_file(&log_dir, &name).unwrap().unwrap();
                prop_assume!(!content.is_empty());
                let at = place.index(content.len());
                content[at] ^= flip;
                file.truncate(0).unwrap();
                write_all_at(&file, &content, 0).unwrap();
            }
        }
        match open_with(&dir, small(), state) {
            Ok((log, _)) => {
                prop_assert_eq!(log.content(), content);
                prop_assert_eq!(face(&log), expected, "{}", name);
            }
            Err(LogError::UnknownVersion { .. }) if name.contains("snapshot") => {}
            Err(error) => prop_assert!(false, "{}: {}", name, error),
        }
    }
}

#[test]
fn a_flush_that_outlives_its_log_writes_nothing_into_the_directory() {
    let dir = SimDir::new();
    let mut log = open(&dir);
    log.append(&batch(2, 1)).unwrap();
    let work = log.begin_flush().unwrap();
    let directory = log.dir.clone();
    drop(log);
    let _ = work.run();
    let left = read_file(&directory, crate::leader_epochs::FILE_NAME).unwrap();
    assert!(left.is_none(), "the file of a partition that may be another's by now");
}
