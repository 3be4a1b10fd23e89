//! What the targets of the log share: files on a simulated disk, sample batches, the reading of a whole log.

use std::io::IoSlice;

use broker_log::dir::sim::SimDir;
use broker_log::dir::{Dir, DirFile, Open};
use broker_log::{DataDir, LogConfig, LogError, OpenState, PartitionLog, TopicPartition};
use model::{PartitionIndex, TopicId, TopicName};
use protocol::batch::{BatchBuilder, BatchHeader, HEADER_LEN, batches};

/// When everything happens, in milliseconds.
pub(crate) const NOW_MS: i64 = 1_000_000;

pub(crate) const ID: TopicId = TopicId(uuid::Uuid::from_u128(0x1234));

pub(crate) fn partition() -> TopicPartition {
    TopicPartition {
        topic: TopicName::new("t").expect("a legal name"),
        partition: PartitionIndex(0),
    }
}

/// Small enough that a small input has segments and index entries.
pub(crate) fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1 << 20,
        index_interval_bytes: 1,
        ..LogConfig::default()
    }
}

/// A data directory with one partition that has these files.
pub(crate) fn disk(files: &[(&str, &[u8])]) -> SimDir {
    let root = SimDir::new();
    let directory = partition().directory_name();
    root.make_dir(&directory).expect("an empty disk");
    let dir = root.subdir(&directory);
    write(
        &dir,
        "partition.metadata",
        format!("version: 0\ntopic_id: {ID}").as_bytes(),
    );
    for (name, content) in files {
        write(&dir, name, content);
    }
    root
}

pub(crate) fn write(dir: &SimDir, name: &str, content: &[u8]) {
    let file = dir.open(name, Open::Create).expect("a disk without faults");
    let mut written = 0;
    while written < content.len() {
        let slice = [IoSlice::new(&content[written..])];
        written += file.write_at(&slice, written as u64).expect("a disk without faults");
    }
}

pub(crate) fn open(root: &SimDir, state: OpenState) -> Result<PartitionLog<SimDir>, LogError> {
    let (data, _) = DataDir::open(root.clone())?;
    PartitionLog::open(&data, partition(), ID, config(), state, NOW_MS).map(|(log, _)| log)
}

/// Reads the log from start to end. Every batch is whole if `checked`; offsets rise, and nothing lies outside the log.
pub(crate) fn read_all(log: &PartitionLog<SimDir>, checked: bool) {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    assert!(start <= log.recovery_point() && log.recovery_point() <= end);
    let mut next = start;
    while next < end {
        let slice = match log.read(next, 1 << 20, end, true) {
            Ok(slice) => slice,
            Err(error) => {
                assert!(!checked, "a log that was scanned can be read: {error}");
                return;
            }
        };
        let Ok(bytes) = slice.read() else {
            assert!(!checked, "a log that was scanned can be read");
            return;
        };
        let mut last = next - 1;
        for batch in batches(&bytes) {
            let Ok((header, batch)) = batch else {
                assert!(!checked, "a log that was scanned holds whole batches");
                return;
            };
            assert!(!checked || protocol::batch::check_whole(batch).is_ok());
            if checked {
                assert!(header.last_offset() > last, "offsets rise");
            }
            last = header.last_offset();
        }
        if last < next {
            assert!(!checked, "a read inside of the log finds something");
            return;
        }
        // Unchecked, it may be any number.
        next = last.saturating_add(1);
    }
    for timestamp in [i64::MIN, -1, 0, 10, NOW_MS, i64::MAX] {
        let _ = log.offset_for_timestamp(timestamp);
    }
    let _ = log.max_timestamp_offset();
    assert!(log.read(end, 1, end, true).is_ok_and(|slice| slice.is_empty()));
}

/// Makes the checksums right, so that what lies behind them is reached. Ends where no batch is.
pub(crate) fn seal_all(set: &mut [u8]) {
    let mut at = 0;
    while let Some(rest) = set.get_mut(at..).filter(|rest| rest.len() >= HEADER_LEN) {
        let Ok(header) = BatchHeader::parse(rest) else { return };
        let size = header.size_in_bytes();
        let Some(batch) = rest.get_mut(..size) else { return };
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        at += size;
    }
}

/// Batches from `base` on, of one to three records, with timestamps that mostly rise. Producer 9 wrote every other.
pub(crate) fn sample(base: i64, count: usize) -> Vec<u8> {
    let mut set = Vec::new();
    let mut offset = base;
    let mut sequence = 0;
    for number in 0..count {
        let records = number % 3 + 1;
        let mut batch = BatchBuilder::new()
            .base_offset(offset)
            .leader_epoch((number / 3) as i32);
        if number % 2 == 0 {
            batch = batch.producer(9, 1, sequence);
            sequence += records as i32;
        }
        for record in 0..records {
            let timestamp = 10 + 10 * (number as i64 ^ 1) + record as i64;
            batch.push(timestamp, Some(b"k"), Some(&[record as u8; 5]), &[]);
        }
        set.extend_from_slice(&batch.build());
        offset += records as i64;
    }
    set
}

/// Files that the log itself left: those of a log with some batches, closed cleanly.
pub(crate) fn files_left(count: usize) -> Vec<(String, Vec<u8>)> {
    let set = sample(0, count);
    let root = disk(&[("00000000000000000000.log", &set)]);
    let log = open(&root, OpenState::default()).expect("an intact log");
    log.close().expect("a disk without faults");
    let dir = root.subdir(&partition().directory_name());
    let mut names = dir.list().expect("a disk without faults");
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let file = dir.open(&name, Open::Existing).expect("a file that is listed");
            let mut content = vec![0; file.size().expect("its size") as usize];
            file.read_at(&mut content, 0).expect("its content");
            (name, content)
        })
        .collect()
}

/// The file of that ending, empty if there is none.
pub(crate) fn left(files: &[(String, Vec<u8>)], ending: &str) -> Vec<u8> {
    let found = files.iter().find(|(name, _)| name.ends_with(ending));
    found.map(|(_, content)| content.clone()).unwrap_or_default()
}
