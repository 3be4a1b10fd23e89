//! Opening a log: what the files say, and how much of it is believed.

use std::sync::Arc;

use model::{LeaderEpoch, ProducerId};
use protocol::batch::BatchHeader;

use crate::config::LogConfig;
use crate::dir::{Dir, read_file};
use crate::error::LogError;
use crate::index::{Entry, OffsetEntry, TimeEntry};
use crate::leader_epochs::{self, LeaderEpochs};
use crate::producer_state::{ProducerBatch, ProducerState, snapshot};
use crate::scan::{BatchWalk, Found, HeaderWalk};
use crate::seeded::seeded_bug;
use crate::segment::Segment;

/// What the data directory says of a log that is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenState {
    /// The last stop was clean: no batch needs to be checked.
    pub clean: bool,
    /// Everything below was on the disk: damage there is an error, and recovery begins here.
    pub recovery_point: i64,
    /// The first offset that may be read. 0 for a log that never lost its beginning.
    pub log_start_offset: i64,
}

/// What opening a log found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The log is new.
    pub created: bool,
    /// The batches were scanned, because the last stop was not clean or its files contradict that.
    pub scanned: bool,
    /// Bytes of batches checked.
    pub bytes_scanned: u64,
    /// The log was cut at its first batch that is not intact.
    pub cut: Option<Cut>,
    /// Whole segments removed because they lie beyond the cut.
    pub segments_removed: usize,
}

/// Where and why a torn tail was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Offset at which the log ends now.
    pub offset: i64,
    /// What was wrong there.
    pub reason: String,
}

/// The parts of an opened log.
pub(crate) struct Recovered<D: Dir> {
    /// At least one; the last is active.
    pub(crate) segments: Vec<Segment<D>>,
    pub(crate) log_end_offset: i64,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) epochs_unsaved: bool,
    pub(crate) producers: ProducerState,
    /// Offsets of the snapshot files, rising.
    pub(crate) snapshots: Vec<i64>,
    pub(crate) report: RecoveryReport,
}

/// Names that matter in a partition directory.
struct Names {
    bases: Vec<i64>,
    snapshots: Vec<i64>,
}

pub(crate) fn snapshot_file_name(offset: i64) -> String {
    format!("{offset:020}.snapshot")
}

/// The producer's part of a batch header, if it has one.
pub(crate) fn producer_batch(header: &BatchHeader) -> Option<ProducerBatch> {
    header.has_producer_id().then_some(ProducerBatch {
        producer_id: ProducerId(header.producer_id),
        epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        offset_delta: header.last_offset_delta,
        max_timestamp: header.max_timestamp,
    })
}

/// Opens the log in `dir`.
pub(crate) fn recover<D: Dir>(dir: &D, config: &LogConfig, state: &OpenState) -> Result<Recovered<D>, LogError> {
    let mut names = list(dir)?;
    let start = state.log_start_offset;
    remove_before(dir, &mut names, start)?;
    let mut segments = open_segments(dir, &names.bases)?;
    // The name of a first segment is durable before its first record, and retention removes only what is below the
    // checkpointed log start. A log that begins above both has lost records, or its checkpoints are lost: not ours to cut.
    if let Some(first) = segments.first()
        && first.base_offset() > start.max(state.recovery_point)
    {
        if segments.iter().any(|segment| segment.size() > 0) {
            return Err(LogError::LostBeginning {
                begins_at: first.base_offset(),
                log_start_offset: start,
            });
        }
        remove_from(dir, &mut segments, 0)?;
    }
    if segments.is_empty() {
        return empty(dir, state, &names);
    }
    if state.clean {
        if let Some(recovered) = take_clean(dir, config, state, segments, &names)? {
            return Ok(recovered);
        }
        segments = open_segments(dir, &names.bases)?;
    }
    scan(dir, config, state, segments, names)
}

fn list<D: Dir>(dir: &D) -> Result<Names, LogError> {
    let mut names = Names {
        bases: Vec::new(),
        snapshots: Vec::new(),
    };
    let mut leftover = Vec::new();
    let mut indexes = Vec::new();
    for name in dir
        .list()
        .map_err(|error| LogError::read("listing a partition directory", error))?
    {
        let Some((stem, extension)) = name.rsplit_once('.') else {
            continue;
        };
        let offset = (stem.len() == 20).then(|| stem.parse::<i64>().ok()).flatten();
        match (offset, extension) {
            (Some(base), "log") => names.bases.push(base),
            (Some(offset), "snapshot") => names.snapshots.push(offset),
            (Some(base), OffsetEntry::EXTENSION | TimeEntry::EXTENSION) => indexes.push((base, name)),
            // Left by a crash in the middle of replacing or deleting a file.
            (_, "tmp" | "deleted" | "cleaned") => leftover.push(name),
            _ => {}
        }
    }
    names.bases.sort_unstable();
    names.snapshots.sort_unstable();
    // An index whose segment is gone must not be found by the next segment of that offset.
    leftover.extend(
        indexes
            .into_iter()
            .filter(|(base, _)| names.bases.binary_search(base).is_err())
            .map(|(_, name)| name),
    );
    for name in leftover {
        remove_if_there(dir, &name)?;
    }
    Ok(names)
}

/// Finishes a retention that a crash has interrupted: the log start moved, the files below it are there or came back.
fn remove_before<D: Dir>(dir: &D, names: &mut Names, start: i64) -> Result<(), LogError> {
    let old = names.bases.iter().skip(1).take_while(|next| **next <= start).count();
    for base in names.bases.drain(..old) {
        for name in Segment::sealed(dir, base, 0).file_names() {
            remove_if_there(dir, &name)?;
        }
    }
    // The log may start in the middle of a segment: what was known of producers where that begins is still needed.
    let first = names.bases.first().copied().unwrap_or(start);
    remove_snapshots(dir, names.snapshots.iter().copied().filter(|offset| *offset < first))?;
    names.snapshots.retain(|offset| *offset >= first);
    Ok(())
}

fn open_segments<D: Dir>(dir: &D, bases: &[i64]) -> Result<Vec<Segment<D>>, LogError> {
    let mut segments = Vec::with_capacity(bases.len());
    for (index, base) in bases.iter().enumerate() {
        let mut segment = Segment::open(dir, *base).map_err(|error| LogError::read("opening a segment", error))?;
        // One descriptor per log: sealed segments are opened again when they are read.
        if index + 1 < bases.len() {
            segment.close_file();
        }
        segments.push(segment);
    }
    Ok(segments)
}

fn empty<D: Dir>(dir: &D, state: &OpenState, names: &Names) -> Result<Recovered<D>, LogError> {
    let start = state.log_start_offset;
    if state.recovery_point > start {
        return Err(LogError::Missing {
            log_end_offset: start,
            recovery_point: state.recovery_point,
        });
    }
    remove_snapshots(dir, names.snapshots.iter().copied())?;
    let segment = Segment::create(dir, start).map_err(|error| created_error("creating a segment", error))?;
    // Its name is durable before it holds a record, and names that were lost do not come back beside it.
    dir.sync()
        .map_err(|error| LogError::offline("syncing a partition directory", error))?;
    Ok(Recovered {
        segments: vec![segment],
        log_end_offset: start,
        epochs: LeaderEpochs::default(),
        epochs_unsaved: true,
        producers: ProducerState::from(start),
        snapshots: Vec::new(),
        report: RecoveryReport {
            created: true,
            ..RecoveryReport::default()
        },
    })
}

/// The error of an operation that makes something new.
pub(crate) fn created_error(doing: &'static str, error: std::io::Error) -> LogError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => LogError::StorageFull { doing },
        _ => LogError::offline(doing, error),
    }
}

/// Believes the files after a clean stop, but for what costs nothing to check. `None`: they are not as a clean stop
/// leaves them.
fn take_clean<D: Dir>(
    dir: &D,
    config: &LogConfig,
    state: &OpenState,
    mut segments: Vec<Segment<D>>,
    names: &Names,
) -> Result<Option<Recovered<D>>, LogError> {
    let Some(active) = segments.last_mut() else {
        return Ok(None);
    };
    let Ok(log_end_offset) = active.resume(config.index_interval_bytes)? else {
        return Ok(None);
    };
    if log_end_offset < state.recovery_point {
        return Ok(None);
    }
    let log_begin = segments.first().map_or(log_end_offset, Segment::base_offset);
    let is_empty = log_begin == log_end_offset;
    let epochs = match read_epochs(dir, &segments, state.log_start_offset, log_end_offset)? {
        Some(epochs) => epochs,
        // Nothing was ever written that would have an epoch.
        None if is_empty => LeaderEpochs::default(),
        None => return Ok(None),
    };
    let producers = rebuild_producers(dir, log_begin, &segments, &names.snapshots, log_end_offset)?;
    let sealed = segments.len().saturating_sub(1);
    segments.iter_mut().take(sealed).for_each(Segment::close_file);
    Ok(Some(Recovered {
        segments,
        log_end_offset,
        epochs,
        epochs_unsaved: false,
        producers,
        snapshots: names.snapshots.clone(),
        report: RecoveryReport::default(),
    }))
}

/// Checks every batch from the recovery point's segment on, and cuts the log at the first that is not intact.
fn scan<D: Dir>(
    dir: &D,
    config: &LogConfig,
    state: &OpenState,
    mut segments: Vec<Segment<D>>,
    names: Names,
) -> Result<Recovered<D>, LogError> {
    let first = segments
        .partition_point(|segment| segment.base_offset() <= state.recovery_point)
        .saturating_sub(1);
    let scan_start = segments.get(first).map_or(state.log_start_offset, Segment::base_offset);
    check_sealed_indexes(
        segments.get_mut(..first).unwrap_or_default(),
        config,
        state.recovery_point == scan_start,
    )?;

    let limit = if seeded_bug!(StaleSnapshot) {
        i64::MAX
    } else {
        scan_start
    };
    let log_begin = segments.first().map_or(state.log_start_offset, Segment::base_offset);
    let below = segments.get(..first).unwrap_or_default();
    let mut scan = Scan {
        epochs: epochs_below(dir, below, state.log_start_offset, scan_start)?,
        producers: rebuild_producers(dir, log_begin, below, names.snapshots.as_slice(), limit)?,
        next_offset: scan_start,
        recovery_point: state.recovery_point,
        report: RecoveryReport {
            scanned: true,
            ..RecoveryReport::default()
        },
    };
    segments.iter_mut().take(first).for_each(Segment::close_file);
    let mut cut = None;
    for at in first..segments.len() {
        let last = at + 1 == segments.len();
        let Some(segment) = segments.get_mut(at) else { break };
        if segment.base_offset() != scan.next_offset && !seeded_bug!(LaterSegmentsKept) {
            let reason = format!("segment {} where {} was due", segment.base_offset(), scan.next_offset);
            cut = Some((at, None, reason));
            break;
        }
        if let Some((position, reason)) = scan.segment(segment, config)? {
            cut = Some((at + 1, Some(position), reason));
            break;
        }
        if !last {
            // Their index files are of the life before, or never reached the disk.
            segment
                .store_indexes()
                .map_err(|error| created_error("writing an index", error))?;
            segment.unsynced = true;
            segment.close_file();
        }
    }
    if let Some((from, position, reason)) = cut {
        if scan.next_offset < state.recovery_point {
            return Err(match (position, segments.get(from - 1)) {
                (Some(position), Some(segment)) => LogError::Damaged {
                    segment: segment.file_name(),
                    position,
                    offset: scan.next_offset,
                    recovery_point: state.recovery_point,
                    reason,
                },
                _ => LogError::Missing {
                    log_end_offset: scan.next_offset,
                    recovery_point: state.recovery_point,
                },
            });
        }
        // Later segments first: a log that is cut in the middle and goes on after the hole must never be seen.
        if !seeded_bug!(LaterSegmentsKept) {
            scan.report.segments_removed = remove_from(dir, &mut segments, from)?;
        }
        if let (Some(position), Some(segment)) = (position, segments.get_mut(from - 1)) {
            segment.truncate(position, scan.next_offset, config.index_interval_bytes)?;
        }
        scan.report.cut = Some(Cut {
            offset: scan.next_offset,
            reason,
        });
    }
    if scan.next_offset < state.recovery_point {
        return Err(LogError::Missing {
            log_end_offset: scan.next_offset,
            recovery_point: state.recovery_point,
        });
    }
    let log_end_offset = scan.next_offset;
    let (snapshots, stale): (Vec<_>, Vec<_>) = names
        .snapshots
        .into_iter()
        .partition(|offset| *offset <= log_end_offset);
    if !stale.is_empty() {
        // The log may grow past their offsets with other batches.
        remove_snapshots(dir, stale.into_iter())?;
        dir.sync()
            .map_err(|error| LogError::offline("syncing a partition directory", error))?;
    }
    Ok(Recovered {
        segments,
        log_end_offset,
        epochs: scan.epochs,
        epochs_unsaved: true,
        producers: scan.producers,
        snapshots,
        report: scan.report,
    })
}

struct Scan {
    epochs: LeaderEpochs,
    producers: ProducerState,
    next_offset: i64,
    recovery_point: i64,
    report: RecoveryReport,
}

impl Scan {
    /// Checks all batches of a segment; returns where and why it is broken, if it is.
    fn segment<D: Dir>(
        &mut self,
        segment: &mut Segment<D>,
        config: &LogConfig,
    ) -> Result<Option<(u64, String)>, LogError> {
        let file = Arc::clone(segment.log()?);
        let mut walk = BatchWalk::new(&*file, segment.size());
        let trust_index = seeded_bug!(IndexTrusted);
        if !trust_index {
            segment.forget_derived();
        }
        let mut position = 0;
        loop {
            let header = match walk.at(position)? {
                Found::End => return Ok(None),
                Found::Broken(reason) => return Ok(Some((position, reason))),
                Found::Batch((header, _)) => header,
            };
            if let Some(reason) = self.out_of_order(&header) {
                return Ok(Some((position, reason)));
            }
            if !trust_index {
                segment.note(&header, position, config.index_interval_bytes);
            }
            self.replay(&header);
            position += header.size_in_bytes() as u64;
            self.report.bytes_scanned += header.size_in_bytes() as u64;
        }
    }

    /// Offset and leader epoch lie outside the checksum, so they are checked by their order.
    fn out_of_order(&self, header: &BatchHeader) -> Option<String> {
        if header.base_offset < self.next_offset {
            return Some(format!(
                "offset {} where {} was due",
                header.base_offset, self.next_offset
            ));
        }
        let latest = self.epochs.latest()?;
        (header.partition_leader_epoch < latest.0)
            .then(|| format!("leader epoch {} after {latest}", header.partition_leader_epoch))
    }

    fn replay(&mut self, header: &BatchHeader) {
        self.epochs
            .assign(LeaderEpoch(header.partition_leader_epoch), header.base_offset);
        if let Some(batch) = producer_batch(header) {
            self.producers.replay(&batch, header.last_offset());
        }
        self.next_offset = header.next_offset();
        debug_assert!(self.next_offset > 0 && self.recovery_point >= 0);
    }
}

/// Rebuilds indexes of sealed segments that are missing; an entry that lies is seen by the lookup that meets it.
///
/// If the recovery point is where a segment ends, that segment may have been flushed while it was active, and sealed
/// later: its batches are on the disk, its indexes perhaps not.
fn check_sealed_indexes<D: Dir>(
    segments: &mut [Segment<D>],
    config: &LogConfig,
    last_unsynced: bool,
) -> Result<(), LogError> {
    let count = segments.len();
    for (at, segment) in segments.iter_mut().enumerate() {
        let entries = segment
            .offsets
            .len()
            .map_err(|error| LogError::read("reading an index", error))?;
        let missing = entries == 0 && segment.size() > 2 * u64::from(config.index_interval_bytes);
        if missing || (last_unsynced && at + 1 == count && !seeded_bug!(IndexTrusted)) {
            segment.rebuild_indexes(config.index_interval_bytes)?;
            segment
                .store_indexes()
                .map_err(|error| created_error("writing an index", error))?;
            segment.unsynced = true;
            segment.close_file();
        }
    }
    Ok(())
}

/// The epochs in the file, if what it says of `segments`, which end at `end`, is true: each epoch below begins with a
/// batch of it, the first one no later than the log.
fn read_epochs<D: Dir>(
    dir: &D,
    segments: &[Segment<D>],
    log_start: i64,
    end: i64,
) -> Result<Option<LeaderEpochs>, LogError> {
    let content =
        read_file(dir, leader_epochs::FILE_NAME).map_err(|error| LogError::read("reading the leader epochs", error))?;
    let Some(epochs) = content.map_or(Ok(None), |content| LeaderEpochs::parse(&content))? else {
        return Ok(None);
    };
    // Records may have been deleted from the middle of a segment, or of a batch, on.
    let start = segments.first().map_or(end, Segment::base_offset).max(log_start);
    if start < end && epochs.entries().first().is_none_or(|first| first.start_offset > start) {
        return Ok(None);
    }
    for entry in epochs
        .entries()
        .iter()
        .filter(|entry| (start..end).contains(&entry.start_offset))
    {
        let at = segments
            .partition_point(|segment| segment.base_offset() <= entry.start_offset)
            .saturating_sub(1);
        let Some(segment) = segments.get(at) else {
            return Ok(None);
        };
        let true_of = |header: &BatchHeader| {
            (header.base_offset == entry.start_offset || entry.start_offset == log_start)
                && header.partition_leader_epoch == entry.epoch.0
        };
        if !segment
            .find(entry.start_offset)?
            .is_some_and(|placed| true_of(&placed.header))
        {
            return Ok(None);
        }
    }
    Ok(Some(epochs))
}

/// The epochs of everything below `offset`, from the file or else from the batches.
fn epochs_below<D: Dir>(
    dir: &D,
    segments: &[Segment<D>],
    log_start: i64,
    offset: i64,
) -> Result<LeaderEpochs, LogError> {
    if let Some(mut epochs) = read_epochs(dir, segments, log_start, offset)? {
        if !seeded_bug!(EpochsNotTruncated) {
            epochs.truncate_from_end(offset);
        }
        return Ok(epochs);
    }
    let mut epochs = LeaderEpochs::default();
    for segment in segments {
        for_each_header(segment, |header| {
            epochs.assign(LeaderEpoch(header.partition_leader_epoch), header.base_offset);
        })?;
    }
    Ok(epochs)
}

/// The producers as of the end of `segments`, from the newest intact snapshot at or below `limit` and the batches
/// after it. The first file of the log begins at `log_begin`.
pub(crate) fn rebuild_producers<D: Dir>(
    dir: &D,
    log_begin: i64,
    segments: &[Segment<D>],
    snapshots: &[i64],
    limit: i64,
) -> Result<ProducerState, LogError> {
    let mut producers = ProducerState::from(log_begin);
    let mut from = i64::MIN;
    for offset in snapshots.iter().rev().copied().filter(|offset| *offset <= limit) {
        let name = snapshot_file_name(offset);
        let content = read_file(dir, &name).map_err(|error| LogError::read("reading a producer snapshot", error))?;
        if let Some(found) = content.map_or(Ok(None), |content| snapshot::decode(&name, &content))? {
            producers = found;
            from = offset;
            break;
        }
    }
    let first = segments
        .partition_point(|segment| segment.base_offset() <= from)
        .saturating_sub(1);
    for segment in segments.get(first..).unwrap_or_default() {
        // Nothing of the last segment is after the snapshot of a clean stop, and nothing needs to be read.
        if from >= limit {
            break;
        }
        for_each_header(segment, |header| {
            if header.base_offset >= from
                && let Some(batch) = producer_batch(header)
            {
                producers.replay(&batch, header.last_offset());
            }
        })?;
    }
    Ok(producers)
}

fn for_each_header<D: Dir>(segment: &Segment<D>, mut visit: impl FnMut(&BatchHeader)) -> Result<(), LogError> {
    let file = segment.log()?;
    let mut walk = HeaderWalk::new(&**file, segment.size());
    let mut position = 0;
    while let Found::Batch(header) = walk.at(position)? {
        visit(&header);
        position += header.size_in_bytes() as u64;
    }
    Ok(())
}

/// Removes the segments from the index `from` on, the last first, and makes that durable.
pub(crate) fn remove_from<D: Dir>(dir: &D, segments: &mut Vec<Segment<D>>, from: usize) -> Result<usize, LogError> {
    let mut removed = 0;
    while segments.len() > from
        && let Some(segment) = segments.pop()
    {
        for name in segment.file_names() {
            remove_if_there(dir, &name)?;
        }
        removed += 1;
    }
    dir.sync()
        .map_err(|error| LogError::offline("syncing a partition directory", error))?;
    Ok(removed)
}

pub(crate) fn remove_snapshots<D: Dir>(dir: &D, offsets: impl Iterator<Item = i64>) -> Result<(), LogError> {
    for offset in offsets {
        remove_if_there(dir, &snapshot_file_name(offset))?;
    }
    Ok(())
}

fn remove_if_there<D: Dir>(dir: &D, name: &str) -> Result<(), LogError> {
    match dir.remove(name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LogError::offline("removing a file", error)),
        _ => Ok(()),
    }
}
