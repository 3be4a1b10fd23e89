//! One segment: a file of batches from a base offset on, with its two indexes.

use std::io;
use std::sync::{Arc, OnceLock};

use protocol::batch::BatchHeader;

use crate::dir::{Dir, DirFile, Open, Patience, read_full_at};
use crate::error::LogError;
use crate::index::{Index, OffsetEntry, TimeEntry};
use crate::scan::{Found, HeaderWalk};
use crate::seeded::seeded_bug;

/// A timestamp and the offset of a record that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Offset of the record.
    pub offset: i64,
}

/// A segment. The last one of a log is active, the others are sealed.
pub(crate) struct Segment<D: Dir> {
    dir: D,
    base_offset: i64,
    size: u64,
    /// Opened at the first need if the segment is sealed.
    log: OnceLock<Arc<D::File>>,
    pub(crate) offsets: Index<D, OffsetEntry>,
    pub(crate) times: Index<D, TimeEntry>,
    bytes_since_entry: u64,
    /// Largest timestamp, with the last offset of the first batch that has it. Unset: not looked up yet.
    max_timestamp: OnceLock<Option<TimestampOffset>>,
    first_timestamp: Option<i64>,
    /// Whether bytes were written that no sync has covered, asked of sealed segments only.
    pub(crate) unsynced: bool,
}

/// A batch and where it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl Placed {
    fn end(&self) -> u64 {
        self.position + self.header.size_in_bytes() as u64
    }
}

/// A range of whole batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchRange {
    pub(crate) first_offset: i64,
    pub(crate) next_offset: i64,
    pub(crate) position: u64,
    pub(crate) len: usize,
}

pub(crate) fn log_file_name(base_offset: i64) -> String {
    format!("{base_offset:020}.log")
}

impl<D: Dir> Segment<D> {
    /// Creates the file of a new, empty segment. Its name is durable only after the directory is synced.
    pub(crate) fn create(dir: &D, base_offset: i64) -> io::Result<Self> {
        let file = dir.open(&log_file_name(base_offset), Open::Create)?;
        let mut segment = Self::sealed(dir, base_offset, 0);
        segment.forget_derived();
        // Nothing of this segment is on the disk.
        segment.offsets = Index::fresh(dir.clone(), base_offset, false);
        segment.times = Index::fresh(dir.clone(), base_offset, false);
        segment.log = OnceLock::from(Arc::new(file));
        Ok(segment)
    }

    /// A segment on the disk, of which nothing is opened or trusted yet.
    pub(crate) fn sealed(dir: &D, base_offset: i64, size: u64) -> Self {
        Self {
            dir: dir.clone(),
            base_offset,
            size,
            log: OnceLock::new(),
            offsets: Index::existing(dir.clone(), base_offset),
            times: Index::existing(dir.clone(), base_offset),
            bytes_since_entry: 0,
            max_timestamp: OnceLock::new(),
            first_timestamp: None,
            unsynced: false,
        }
    }

    /// The segment on the disk with its file opened and its length taken from it.
    pub(crate) fn open(dir: &D, base_offset: i64) -> io::Result<Self> {
        let file = dir.open(&log_file_name(base_offset), Open::Existing)?;
        let segment = Self::sealed(dir, base_offset, file.size()?);
        let _ = segment.log.set(Arc::new(file));
        Ok(segment)
    }

    /// Whether a file handle is held.
    pub(crate) fn is_open(&self) -> bool {
        self.log.get().is_some()
    }

    /// Names of its files, of which the indexes may not exist.
    pub(crate) fn file_names(&self) -> [String; 3] {
        let base = self.base_offset;
        [
            log_file_name(base),
            Index::<D, OffsetEntry>::file_name(base),
            Index::<D, TimeEntry>::file_name(base),
        ]
    }

    /// Gives the file handle back; it is opened again at the next read.
    pub(crate) fn close_file(&mut self) {
        self.log = OnceLock::new();
    }

    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn file_name(&self) -> String {
        log_file_name(self.base_offset)
    }

    pub(crate) fn log(&self) -> Result<&Arc<D::File>, LogError> {
        if let Some(file) = self.log.get() {
            return Ok(file);
        }
        let file = self
            .dir
            .open(&self.file_name(), Open::Existing)
            .map_err(|error| LogError::read("opening a segment", error))?;
        Ok(self.log.get_or_init(|| Arc::new(file)))
    }

    /// Forgets what is known beside the batches themselves; they are to be noted again one by one.
    pub(crate) fn forget_derived(&mut self) {
        self.offsets = Index::fresh(self.dir.clone(), self.base_offset, true);
        self.times = Index::fresh(self.dir.clone(), self.base_offset, true);
        self.bytes_since_entry = 0;
        self.max_timestamp = OnceLock::from(None);
        self.first_timestamp = None;
    }

    /// Notes a batch that lies at `position`: live appends, recovery and rebuilt indexes come here, in order.
    pub(crate) fn note(&mut self, header: &BatchHeader, position: u64, interval: u32) {
        let timestamp = header.max_timestamp;
        // What is noted first after a clean start or a truncation is not the first of the segment.
        if position == 0 {
            self.first_timestamp = Some(timestamp);
        }
        let so_far = self.max_timestamp.get().copied().flatten();
        if timestamp >= 0 && so_far.is_none_or(|so_far| timestamp > so_far.timestamp) {
            self.max_timestamp = OnceLock::from(Some(TimestampOffset {
                timestamp,
                offset: header.last_offset(),
            }));
        }
        if self.bytes_since_entry > u64::from(interval) {
            self.offsets.push(OffsetEntry {
                relative_offset: (header.last_offset() - self.base_offset) as u32,
                position: position as u32,
            });
            self.note_time();
            self.bytes_since_entry = 0;
        }
        let size = header.size_in_bytes() as u64;
        self.bytes_since_entry += size;
        self.size = position + size;
    }

    /// Adds the largest timestamp so far to the time index, unless it is there.
    fn note_time(&mut self) {
        let Some(max) = self.max_timestamp.get().copied().flatten() else {
            return;
        };
        let grown = match self.times.last() {
            Ok(Some(last)) => max.timestamp > last.timestamp,
            Ok(None) => true,
            // Unknown: leave it out, lookups only become longer.
            Err(_) => false,
        };
        if grown {
            self.times.push(TimeEntry {
                timestamp: max.timestamp,
                relative_offset: (max.offset - self.base_offset) as u32,
            });
        }
    }

    /// Completes the indexes and writes them out, unsynced: the segment gets no more batches for now.
    pub(crate) fn store_indexes(&mut self) -> io::Result<()> {
        self.note_time();
        self.offsets.store()?;
        self.times.store()
    }

    /// As [`Self::store_indexes`], for an active segment that is closed: without offset entries its batches are
    /// walked from the start anyway, and two files less are to be made and synced.
    pub(crate) fn store_indexes_at_close(&mut self) -> io::Result<()> {
        if self.offsets.is_empty_and_new()? {
            Ok(())
        } else {
            self.store_indexes()
        }
    }

    /// The file of the offset index, if it has been opened.
    pub(crate) fn offset_index(&self) -> Option<Arc<D::File>> {
        self.offsets.file()
    }

    /// Files whose sync makes the segment durable.
    pub(crate) fn files(&self) -> Result<Vec<Arc<D::File>>, LogError> {
        let mut files = vec![Arc::clone(self.log()?)];
        files.extend(self.offsets.file());
        files.extend(self.times.file());
        Ok(files)
    }

    /// Timestamp of the first batch, for `segment.ms`.
    pub(crate) fn first_timestamp(&mut self) -> Result<Option<i64>, LogError> {
        if self.first_timestamp.is_none()
            && let Found::Batch(header) = HeaderWalk::new(&**self.log()?, self.size).at(0)?
        {
            self.first_timestamp = Some(header.max_timestamp);
        }
        Ok(self.first_timestamp)
    }

    /// Rebuilds both indexes by a walk over the headers; the batches themselves are not checked again.
    pub(crate) fn rebuild_indexes(&mut self, interval: u32) -> Result<(), LogError> {
        self.forget_derived();
        let file = Arc::clone(self.log()?);
        let (size, mut position) = (self.size, 0);
        let mut walk = HeaderWalk::new(&*file, size);
        while let Found::Batch(header) = walk.at(position)? {
            self.note(&header, position, interval);
            position += header.size_in_bytes() as u64;
        }
        self.size = size;
        Ok(())
    }

    /// Shows every batch with records at `from` or later, in order, by one walk over their headers.
    pub(crate) fn for_each_from(
        &self,
        from: i64,
        mut visit: impl FnMut(&Placed) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let Some(first) = self.find(from)? else {
            return Ok(());
        };
        let mut position = first.position;
        let mut walk = HeaderWalk::new(&**self.log()?, self.size);
        while let Found::Batch(header) = walk.at(position)? {
            let placed = Placed { position, header };
            visit(&placed)?;
            position = placed.end();
        }
        Ok(())
    }

    /// Takes up the segment as the active one after a clean stop: notes what follows the last index entry.
    /// Returns the offset after the last batch, or what is wrong with the bytes.
    pub(crate) fn resume(&mut self, interval: u32) -> Result<Result<i64, String>, LogError> {
        let file = Arc::clone(self.log()?);
        let size = self.size;
        let mut walk = HeaderWalk::new(&*file, size);
        let mut next_offset = self.base_offset;
        let mut position = 0;
        let entry = self
            .offsets
            .last()
            .map_err(|error| LogError::read("reading an index", error))?;
        let last_time = self
            .times
            .last()
            .map_err(|error| LogError::read("reading an index", error))?;
        let last_time = last_time.filter(|entry| matches!(self.check_time(*entry), Ok(Some(_))));
        if let (Some(placed), Some(max)) = (self.check_entry(&mut walk, entry)?, last_time) {
            self.max_timestamp = OnceLock::from(Some(self.timestamp_of(max)));
            // As it was when the entry was made, so that the next entry comes where it would have come.
            self.bytes_since_entry = placed.end() - placed.position;
            position = placed.end();
            next_offset = placed.header.next_offset();
        } else {
            self.forget_derived();
        }
        loop {
            match walk.at(position)? {
                Found::End if position == size => return Ok(Ok(next_offset)),
                Found::End => return Ok(Err("the last batch reaches beyond the file".to_owned())),
                Found::Broken(reason) => return Ok(Err(reason)),
                Found::Batch(header) if header.base_offset < next_offset => {
                    return Ok(Err(format!(
                        "offset {} where {next_offset} was due",
                        header.base_offset
                    )));
                }
                Found::Batch(header) => {
                    self.note(&header, position, interval);
                    position += header.size_in_bytes() as u64;
                    next_offset = header.next_offset();
                }
            }
        }
    }

    /// The batch that an index entry names, `None` if there is no entry or it does not tell the truth.
    fn check_entry(
        &self,
        walk: &mut HeaderWalk<'_, D::File>,
        entry: Option<OffsetEntry>,
    ) -> Result<Option<Placed>, LogError> {
        let Some(entry) = entry else { return Ok(None) };
        let position = u64::from(entry.position);
        Ok(match walk.at(position)? {
            Found::Batch(header)
                if header.last_offset() - self.base_offset == i64::from(entry.relative_offset)
                    || seeded_bug!(IndexTrusted) =>
            {
                Some(Placed { position, header })
            }
            _ => None,
        })
    }

    fn timestamp_of(&self, entry: TimeEntry) -> TimestampOffset {
        TimestampOffset {
            timestamp: entry.timestamp,
            offset: self.base_offset + i64::from(entry.relative_offset),
        }
    }

    /// The first batch accepted by `wanted`, which must not be before the batch of the last index entry accepted
    /// by `holds`.
    fn walk_from(
        &self,
        patience: Patience,
        holds: impl Fn(OffsetEntry) -> bool,
        wanted: impl Fn(&Placed) -> bool,
    ) -> Result<Option<Placed>, LogError> {
        let mut walk = HeaderWalk::new(&**self.log()?, self.size).with(patience);
        let entry = self
            .offsets
            .last_where_with(patience, holds)
            .map_err(|error| LogError::read("reading an index", error))?;
        let mut position = self.check_entry(&mut walk, entry)?.map_or(0, |placed| placed.position);
        let mut next_offset = self.base_offset;
        loop {
            match walk.at(position)? {
                Found::End => return Ok(None),
                Found::Broken(reason) => {
                    return Err(LogError::Damaged {
                        segment: self.file_name(),
                        position,
                        offset: next_offset,
                        recovery_point: -1,
                        reason,
                    });
                }
                Found::Batch(header) => {
                    let placed = Placed { position, header };
                    if wanted(&placed) {
                        return Ok(Some(placed));
                    }
                    position = placed.end();
                    next_offset = header.next_offset();
                }
            }
        }
    }

    /// The first batch whose last offset is `offset` or more.
    pub(crate) fn find(&self, offset: i64) -> Result<Option<Placed>, LogError> {
        self.find_with(Patience::Endless, offset)
    }

    /// The same with this much patience.
    pub(crate) fn find_with(&self, patience: Patience, offset: i64) -> Result<Option<Placed>, LogError> {
        let base = self.base_offset;
        let holds = |entry: OffsetEntry| base + i64::from(entry.relative_offset) <= offset;
        self.walk_from(patience, holds, |placed| placed.header.last_offset() >= offset)
    }

    /// Whole batches from the one that contains `offset` on: those with records below `max_offset` only, up to
    /// `max_bytes`, but the first in any case if `min_one`.
    pub(crate) fn read(
        &self,
        patience: Patience,
        offset: i64,
        max_bytes: usize,
        max_offset: i64,
        end_offset: i64,
        min_one: bool,
    ) -> Result<Option<BatchRange>, LogError> {
        let Some(first) = self.find_with(patience, offset)? else {
            return Ok(None);
        };
        if first.header.last_offset() >= max_offset {
            return Ok(None);
        }
        let (mut end, mut next_offset) = (self.size, end_offset);
        if max_offset < end_offset {
            // The batch that contains the bound is not below it.
            if let Some(beyond) = self.find_with(patience, max_offset)? {
                (end, next_offset) = (beyond.position, beyond.header.base_offset);
            }
        }
        let limit = first.position.saturating_add(max_bytes as u64);
        if end > limit {
            let holds = |entry: OffsetEntry| u64::from(entry.position) <= limit;
            let crossing = self.walk_from(patience, holds, |placed| placed.end() > limit)?;
            match crossing.filter(|crossing| crossing.position > first.position) {
                Some(crossing) => (end, next_offset) = (crossing.position, crossing.header.base_offset),
                None if min_one => (end, next_offset) = (first.end(), first.header.next_offset()),
                None => return Ok(None),
            }
        }
        Ok(Some(BatchRange {
            first_offset: first.header.base_offset,
            next_offset,
            position: first.position,
            len: (end - first.position) as usize,
        }))
    }

    /// The bytes of a whole batch.
    pub(crate) fn read_batch(&self, placed: &Placed) -> Result<Vec<u8>, LogError> {
        let mut bytes = vec![0; placed.header.size_in_bytes()];
        let filled = read_full_at(&**self.log()?, &mut bytes, placed.position)
            .map_err(|error| LogError::read("reading a batch", error))?;
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// The largest timestamp, with the last offset of the first batch that has it.
    pub(crate) fn max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        if let Some(known) = self.max_timestamp.get() {
            return Ok(*known);
        }
        let found = match self
            .times
            .last()
            .map_err(|error| LogError::read("reading an index", error))?
        {
            Some(entry) if self.check_time(entry)?.is_some() => Some(self.timestamp_of(entry)),
            _ => self.scan_max_timestamp()?,
        };
        Ok(*self.max_timestamp.get_or_init(|| found))
    }

    fn scan_max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        let mut max: Option<TimestampOffset> = None;
        let mut walk = HeaderWalk::new(&**self.log()?, self.size);
        let mut position = 0;
        while let Found::Batch(header) = walk.at(position)? {
            let timestamp = header.max_timestamp;
            if timestamp >= 0 && max.is_none_or(|max| timestamp > max.timestamp) {
                max = Some(TimestampOffset {
                    timestamp,
                    offset: header.last_offset(),
                });
            }
            position += header.size_in_bytes() as u64;
        }
        Ok(max)
    }

    /// The batch that a time entry names, `None` if the entry does not tell the truth.
    fn check_time(&self, entry: TimeEntry) -> Result<Option<Placed>, LogError> {
        let named = self.timestamp_of(entry);
        Ok(self.find(named.offset)?.filter(|placed| {
            placed.header.last_offset() == named.offset && placed.header.max_timestamp == named.timestamp
        }))
    }

    /// The first batch with records at `from` or later whose largest timestamp is `timestamp` or more.
    pub(crate) fn find_timestamp(&self, timestamp: i64, from: i64) -> Result<Option<Placed>, LogError> {
        let entry = self
            .times
            .last_where(|entry| entry.timestamp <= timestamp)
            .map_err(|error| LogError::read("reading an index", error))?;
        let mut position = match entry {
            Some(entry) => self.check_time(entry)?.map_or(0, |placed| placed.position),
            None => 0,
        };
        if from > self.base_offset {
            position = position.max(self.find(from)?.map_or(self.size, |placed| placed.position));
        }
        let mut walk = HeaderWalk::new(&**self.log()?, self.size);
        while let Found::Batch(header) = walk.at(position)? {
            if header.max_timestamp >= timestamp && header.last_offset() >= from {
                return Ok(Some(Placed { position, header }));
            }
            position += header.size_in_bytes() as u64;
        }
        Ok(None)
    }

    /// Cuts the file to `size` bytes, in which the batches below `offset` lie, and syncs it: bytes of a cut log
    /// must not come back beside new ones.
    pub(crate) fn truncate(&mut self, size: u64, offset: i64, interval: u32) -> Result<(), LogError> {
        const DOING: &str = "cutting a segment";
        let file = Arc::clone(self.log()?);
        file.truncate(size)
            .and_then(|()| file.sync())
            .map_err(|error| LogError::offline(DOING, error))?;
        self.size = size;
        self.offsets
            .truncate(offset)
            .map_err(|error| LogError::offline(DOING, error))?;
        self.times
            .truncate(offset)
            .map_err(|error| LogError::offline(DOING, error))?;
        self.max_timestamp = OnceLock::new();
        self.first_timestamp = None;
        if let Err(reason) = self.resume(interval)? {
            return Err(LogError::Damaged {
                segment: self.file_name(),
                position: size,
                offset,
                recovery_point: -1,
                reason,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<D: Dir> Segment<D> {
        /// Compares every index entry with a walk over the batches.
        pub(crate) fn check_indexes(&self, interval: u32) -> Result<(), String> {
            let mut expected = Vec::new();
            let mut largest = Vec::new();
            let (mut position, mut since, mut max) = (0, 0, None);
            let mut walk = HeaderWalk::new(&**self.log().map_err(|error| error.to_string())?, self.size);
            while let Found::Batch(header) = walk.at(position).map_err(|error| error.to_string())? {
                let relative_offset = (header.last_offset() - self.base_offset) as u32;
                if max.is_none_or(|max| header.max_timestamp > max) {
                    max = Some(header.max_timestamp);
                    largest.push(TimeEntry {
                        timestamp: header.max_timestamp,
                        relative_offset,
                    });
                }
                if since > interval as usize {
                    expected.push(OffsetEntry {
                        relative_offset,
                        position: position as u32,
                    });
                    since = 0;
                }
                since += header.size_in_bytes();
                position += header.size_in_bytes() as u64;
            }
            let found: Vec<_> = (0..self.offsets.len().unwrap())
                .map(|at| self.offsets.get(at).unwrap())
                .collect();
            let expected: Vec<_> = expected.into_iter().map(Some).collect();
            if found != expected {
                return Err(format!(
                    "index of {}: {found:?}, should be {expected:?}",
                    self.base_offset
                ));
            }
            for at in 0..self.times.len().unwrap() {
                let entry = self.times.get(at).unwrap().unwrap();
                if !largest.contains(&entry) {
                    return Err(format!(
                        "time index of {}: {entry:?} not in {largest:?}",
                        self.base_offset
                    ));
                }
            }
            Ok(())
        }
    }
}
