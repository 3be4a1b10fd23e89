//! Reading: by offset, by timestamp.

use std::fmt;
use std::io;
use std::sync::Arc;

use protocol::batch::{RecordStream, TimestampType};

use super::PartitionLog;
use super::intake::MOST_DECOMPRESSED;
use crate::dir::{Dir, DirFile, Patience, read_full_at};
use crate::error::LogError;
use crate::index::{Entry, OffsetEntry};
use crate::segment::{Placed, Segment, TimestampOffset};

/// Whole batches of one segment, not read yet: the network sends them from the file.
pub struct LogSlice<D: Dir> {
    /// Offset of the first record, at or before the one asked for. At the log end: the log end.
    pub first_offset: i64,
    /// Where the next read goes on.
    pub next_offset: i64,
    /// The segment's file; `None` if there is nothing to read.
    pub file: Option<Arc<D::File>>,
    /// Where the batches lie in it.
    pub position: u64,
    /// Bytes of all batches.
    pub len: usize,
}

impl<D: Dir> fmt::Debug for LogSlice<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSlice")
            .field("first_offset", &self.first_offset)
            .field("next_offset", &self.next_offset)
            .field("position", &self.position)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<D: Dir> LogSlice<D> {
    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads the batches into memory.
    pub fn read(&self) -> Result<Vec<u8>, LogError> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let mut bytes = vec![0; self.len];
        let filled = read_full_at(&**file, &mut bytes, self.position)
            .map_err(|error| LogError::read("reading batches", error))?;
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Nothing, at `offset`.
    pub fn empty(offset: i64) -> Self {
        Self {
            first_offset: offset,
            next_offset: offset,
            file: None,
            position: 0,
            len: 0,
        }
    }
}

/// Bytes that a cold read asks the disk for at a time.
const COLD_STEP: usize = 128 * 1024;

/// Records that a cold read brings into memory beforehand; what comes after them is fetched when it is sent.
const COLD_BYTES: u64 = 1 << 20;

/// The places of one read, to be read once by a thread that may wait, without the log's lock: afterwards they are in the
/// page cache, unless memory is very short.
pub struct ColdRead<D: Dir> {
    log: Arc<D::File>,
    index: Option<Arc<D::File>>,
    relative_offset: i64,
    size: u64,
    max_bytes: u64,
}

impl<D: Dir> fmt::Debug for ColdRead<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColdRead")
            .field("relative_offset", &self.relative_offset)
            .field("size", &self.size)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

impl<D: Dir> ColdRead<D> {
    /// Waits for the disk.
    pub fn warm(&self) -> Result<(), LogError> {
        self.touch_all()
            .map_err(|error| LogError::read("reading a cold segment", error))
    }

    fn touch_all(&self) -> io::Result<()> {
        let mut buffer = vec![0; COLD_STEP];
        let start = self.position()?;
        let end = self.size.min(start + self.max_bytes.min(COLD_BYTES) + COLD_STEP as u64);
        let mut touched = start;
        while touched < end {
            let read = read_full_at(&*self.log, &mut buffer, touched)?;
            if read == 0 {
                break;
            }
            touched += read as u64;
        }
        // The read looks at where a longer range ends, too.
        let limit = start + self.max_bytes;
        if touched < limit && limit < self.size {
            read_full_at(&*self.log, &mut buffer, limit - COLD_STEP as u64 / 2)?;
        }
        Ok(())
    }

    /// Where the batch lies, as far as the index says. The way there is read, and whether it tells the truth is for the read
    /// itself to check.
    fn position(&self) -> io::Result<u64> {
        let Some(index) = &self.index else { return Ok(0) };
        let mut position = 0;
        let (mut low, mut high) = (0, index.size()? / OffsetEntry::BYTES as u64);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = &mut [0; OffsetEntry::BYTES];
            read_full_at(&**index, entry, middle * OffsetEntry::BYTES as u64)?;
            match OffsetEntry::decode(entry) {
                Some(entry) if i64::from(entry.relative_offset) <= self.relative_offset => {
                    position = u64::from(entry.position);
                    low = middle + 1;
                }
                _ => high = middle,
            }
        }
        Ok(position)
    }
}

impl<D: Dir> PartitionLog<D> {
    /// Whole batches from the one that contains `offset` on: at most `max_bytes`, but at least one if `min_one`; only
    /// batches wholly below `max_offset` (the high watermark, the last stable offset or the log end). Ends with the
    /// segment. Empty at the log end and above `max_offset`.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] below the log start or above the log end.
    pub fn read(&self, offset: i64, max_bytes: usize, max_offset: i64, min_one: bool) -> Result<LogSlice<D>, LogError> {
        self.read_with(Patience::Endless, offset, max_bytes, max_offset, min_one)
    }

    /// The same without waiting for the disk.
    ///
    /// # Errors
    /// One for which [`LogError::would_block`] is true: let [`Self::cold_read`] wait where waiting does no harm, and try
    /// again.
    pub fn read_cached(
        &self,
        offset: i64,
        max_bytes: usize,
        max_offset: i64,
        min_one: bool,
    ) -> Result<LogSlice<D>, LogError> {
        self.read_with(Patience::None, offset, max_bytes, max_offset, min_one)
    }

    /// What a read at `offset` touches on the disk; `None` if the offset lies in no segment.
    pub fn cold_read(&self, offset: i64, max_bytes: usize) -> Result<Option<ColdRead<D>>, LogError> {
        let at = self
            .segments
            .partition_point(|segment| segment.base_offset() <= offset)
            .saturating_sub(1);
        let Some(segment) = self.segments.get(at) else {
            return Ok(None);
        };
        Ok(Some(ColdRead {
            log: Arc::clone(segment.log()?),
            index: segment.offset_index(),
            relative_offset: offset.saturating_sub(segment.base_offset()),
            size: segment.size(),
            max_bytes: max_bytes as u64,
        }))
    }

    fn read_with(
        &self,
        patience: Patience,
        offset: i64,
        max_bytes: usize,
        max_offset: i64,
        min_one: bool,
    ) -> Result<LogSlice<D>, LogError> {
        if offset < self.log_start_offset || offset > self.log_end_offset {
            return Err(LogError::OffsetOutOfRange {
                requested: offset,
                log_start_offset: self.log_start_offset,
                log_end_offset: self.log_end_offset,
            });
        }
        if offset >= max_offset.min(self.log_end_offset) {
            return Ok(LogSlice::empty(offset));
        }
        let first = self
            .segments
            .partition_point(|segment| segment.base_offset() <= offset)
            .saturating_sub(1);
        // The batches after an offset may lie in a later segment, if compaction took those before.
        for (index, segment) in self.segments.iter().enumerate().skip(first) {
            if segment.base_offset() >= max_offset {
                break;
            }
            let end = self.end_of(index);
            if let Some(range) = segment.read(patience, offset, max_bytes, max_offset, end, min_one)? {
                return Ok(LogSlice {
                    first_offset: range.first_offset,
                    next_offset: range.next_offset,
                    file: Some(Arc::clone(segment.log()?)),
                    position: range.position,
                    len: range.len,
                });
            }
            if segment.find_with(patience, offset)?.is_some() {
                break;
            }
        }
        Ok(LogSlice::empty(offset))
    }

    /// The first record whose timestamp is `timestamp` or later, exact to the record: the one batch that has it is read,
    /// and decompressed if it must be.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>, LogError> {
        for segment in self.readable() {
            if segment.max_timestamp()?.is_none_or(|max| max.timestamp < timestamp) {
                continue;
            }
            let mut from = self.log_start_offset;
            while let Some(placed) = segment.find_timestamp(timestamp, from)? {
                if let Some(found) = first_record(segment, &placed, self.log_start_offset, timestamp)? {
                    return Ok(Some(found));
                }
                // The record that is meant lies below the log start.
                from = placed.header.next_offset();
            }
        }
        Ok(None)
    }

    /// The first record that has the largest timestamp of the log.
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampOffset>, LogError> {
        let mut max: Option<(TimestampOffset, &Segment<D>)> = None;
        for segment in self.readable() {
            let found = if segment.base_offset() < self.log_start_offset {
                self.max_timestamp_of_rest(segment)?
            } else {
                segment.max_timestamp()?
            };
            if let Some(found) = found
                && max.is_none_or(|(max, _)| found.timestamp > max.timestamp)
            {
                max = Some((found, segment));
            }
        }
        let Some((max, segment)) = max else { return Ok(None) };
        match segment.find(max.offset)? {
            Some(placed) => first_record(segment, &placed, self.log_start_offset, max.timestamp),
            None => Ok(Some(max)),
        }
    }

    /// The largest timestamp of a segment in the middle of which the log starts, with the last offset of its batch.
    fn max_timestamp_of_rest(&self, segment: &Segment<D>) -> Result<Option<TimestampOffset>, LogError> {
        let start = self.log_start_offset;
        // The largest of all, unless it lies below the start.
        if let Some(max) = segment.max_timestamp()?
            && segment
                .find(max.offset)?
                .is_some_and(|placed| placed.header.base_offset >= start)
        {
            return Ok(Some(max));
        }
        let mut max: Option<TimestampOffset> = None;
        segment.for_each_from(start, |placed| {
            let header = &placed.header;
            let timestamp = if header.base_offset < start {
                latest_from(segment, placed, start)?
            } else {
                header.max_timestamp
            };
            if timestamp >= 0 && max.is_none_or(|max| timestamp > max.timestamp) {
                max = Some(TimestampOffset {
                    timestamp,
                    offset: header.last_offset(),
                });
            }
            Ok(())
        })?;
        Ok(max)
    }

    /// The segments without those that wait below the log start for their removal.
    fn readable(&self) -> impl Iterator<Item = &Segment<D>> {
        self.segments
            .iter()
            .skip(self.unreadable_segments(self.log_start_offset))
    }

    /// The offset at which the segment ends.
    pub(super) fn end_of(&self, index: usize) -> i64 {
        self.segments
            .get(index + 1)
            .map_or(self.log_end_offset, Segment::base_offset)
    }
}

/// The first record of a batch at `start` or later whose timestamp is `timestamp` or later.
fn first_record<D: Dir>(
    segment: &Segment<D>,
    placed: &Placed,
    start: i64,
    timestamp: i64,
) -> Result<Option<TimestampOffset>, LogError> {
    let mut first = None;
    let whole = each_record(segment, placed, |record| {
        if first.is_none() && record.timestamp >= timestamp && record.offset >= start {
            first = Some(record);
        }
        first.is_some()
    })?;
    Ok(match whole {
        Some(whole) => Some(TimestampOffset {
            offset: whole.offset.max(start),
            ..whole
        }),
        None => first,
    })
}

/// The largest timestamp of the records of a batch at `start` or later; -1 if they have none.
fn latest_from<D: Dir>(segment: &Segment<D>, placed: &Placed, start: i64) -> Result<i64, LogError> {
    let mut latest = -1;
    let whole = each_record(segment, placed, |record| {
        if record.offset >= start {
            latest = record.timestamp.max(latest);
        }
        false
    })?;
    Ok(whole.map_or(latest, |whole| whole.timestamp))
}

/// Shows the records of a batch until `enough`. If they have one time, or cannot be read, gives that of the batch instead.
fn each_record<D: Dir>(
    segment: &Segment<D>,
    placed: &Placed,
    mut enough: impl FnMut(TimestampOffset) -> bool,
) -> Result<Option<TimestampOffset>, LogError> {
    let header = &placed.header;
    let whole = TimestampOffset {
        timestamp: header.max_timestamp,
        offset: header.base_offset,
    };
    if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
        // All of them came at once, whatever their producer says.
        return Ok(Some(whole));
    }
    let bytes = segment.read_batch(placed)?;
    let Ok(mut records) = RecordStream::new(&bytes, MOST_DECOMPRESSED) else {
        return Ok(Some(whole));
    };
    loop {
        match records.next_record() {
            Ok(Some(record)) => {
                let seen = TimestampOffset {
                    timestamp: header.base_timestamp.wrapping_add(record.timestamp_delta),
                    offset: header.base_offset + i64::from(record.offset_delta),
                };
                if enough(seen) {
                    return Ok(None);
                }
            }
            Ok(None) => return Ok(None),
            // They came in before records were looked at: the header is all there is.
            Err(_) => return Ok(Some(whole)),
        }
    }
}
