//! Reading: by offset, by timestamp.

use std::fmt;
use std::sync::Arc;

use protocol::batch;

use super::PartitionLog;
use crate::dir::{Dir, read_full_at};
use crate::error::LogError;
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

    fn empty(offset: i64) -> Self {
        Self {
            first_offset: offset,
            next_offset: offset,
            file: None,
            position: 0,
            len: 0,
        }
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
            if let Some(range) = segment.read(offset, max_bytes, max_offset, end, min_one)? {
                return Ok(LogSlice {
                    first_offset: range.first_offset,
                    next_offset: range.next_offset,
                    file: Some(Arc::clone(segment.log()?)),
                    position: range.position,
                    len: range.len,
                });
            }
            if segment.find(offset)?.is_some() {
                break;
            }
        }
        Ok(LogSlice::empty(offset))
    }

    /// The first record whose timestamp is `timestamp` or later. Exact to the record, but to the batch for compressed
    /// ones: there the first offset of the batch, with its largest timestamp.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>, LogError> {
        for segment in self.readable() {
            if segment.max_timestamp()?.is_some_and(|max| max.timestamp >= timestamp)
                && let Some(placed) = segment.find_timestamp(timestamp)?
            {
                return first_record(segment, &placed, self.log_start_offset, |found| found >= timestamp).map(Some);
            }
        }
        Ok(None)
    }

    /// The first record that has the largest timestamp of the log. As exact as [`Self::offset_for_timestamp`].
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampOffset>, LogError> {
        let mut max: Option<(TimestampOffset, &Segment<D>)> = None;
        for segment in self.readable() {
            if let Some(found) = segment.max_timestamp()?
                && max.is_none_or(|(max, _)| found.timestamp > max.timestamp)
            {
                max = Some((found, segment));
            }
        }
        let Some((max, segment)) = max else { return Ok(None) };
        match segment.find(max.offset)? {
            Some(placed) => {
                first_record(segment, &placed, self.log_start_offset, |found| found >= max.timestamp).map(Some)
            }
            None => Ok(Some(max)),
        }
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

fn first_record<D: Dir>(
    segment: &Segment<D>,
    placed: &Placed,
    log_start_offset: i64,
    wanted: impl Fn(i64) -> bool,
) -> Result<TimestampOffset, LogError> {
    let header = &placed.header;
    if !header.attributes.is_compressed() {
        let bytes = segment.read_batch(placed)?;
        for record in batch::records(&bytes).into_iter().flatten().map_while(Result::ok) {
            let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
            let offset = header.base_offset + i64::from(record.offset_delta);
            if wanted(timestamp) && offset >= log_start_offset {
                return Ok(TimestampOffset { timestamp, offset });
            }
        }
    }
    Ok(TimestampOffset {
        timestamp: header.max_timestamp,
        offset: header.base_offset.max(log_start_offset),
    })
}
