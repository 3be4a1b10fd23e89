//! The records of a batch in any codec, a window at a time.

use super::record::record;
use super::{BatchError, BatchHeader, HEADER_LEN, Record, Walked};
use crate::codec::Reader;
use crate::compression::{CompressionError, Decompressor};

/// Bytes asked of the codec at once; a record that fits is read in place.
const WINDOW: usize = 64 * 1024;

/// The longest zigzag-coded number of 32 and of 64 bits.
const MAX_VARINT: usize = 5;
const MAX_VARLONG: usize = 10;

/// The records of one whole batch, compressed or not, in order. A record is borrowed until the next is asked for.
///
/// Memory: a window of 64 KiB or the largest record, and what the codec needs ([`crate::compression`]).
#[derive(Debug)]
pub struct RecordStream<'a> {
    header: BatchHeader,
    bytes: Window<'a>,
    next: i32,
}

impl<'a> RecordStream<'a> {
    /// Reads `batch`, of whose records at most `limit` bytes may come out.
    ///
    /// # Errors
    /// What [`BatchHeader::parse`] says of the header, [`BatchError::UnknownCompression`].
    pub fn new(batch: &'a [u8], limit: usize) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(batch)?;
        let bytes = Window::new(batch, &header, limit)?;
        Ok(Self { header, bytes, next: 0 })
    }

    /// The header of the batch.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The next record; `None` after the last one, and after an error.
    ///
    /// # Errors
    /// [`BatchError::MalformedRecord`], [`BatchError::TrailingBytes`], [`BatchError::NotDecompressed`],
    /// [`BatchError::TooMuchDecompressed`].
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, BatchError> {
        let index = self.next;
        if index >= self.header.records_count {
            // Asked once.
            return match std::mem::replace(&mut self.next, i32::MAX) {
                i32::MAX => Ok(None),
                _ => self.bytes.end().map(|()| None),
            };
        }
        // Until it is known to be good.
        self.next = i32::MAX;
        let size = self.bytes.record_size(index)?;
        if self.bytes.fill(size)? < size {
            return Err(malformed(index, "it is longer than its batch"));
        }
        self.next = index + 1;
        self.bytes.record(index, size).map(Some)
    }
}

/// Walks the records of a whole compressed batch as [`super::walk`] does those of another: each fits its length, their
/// offset deltas count up from 0, nothing is left over. At most `limit` bytes may come out; a window of them is held.
/// (Source: Kafka's `LogValidator.validateMessagesAndAssignOffsetsCompressed`.)
///
/// # Errors
/// [`BatchError::MalformedRecord`], [`BatchError::TrailingBytes`], [`BatchError::NotDecompressed`],
/// [`BatchError::TooMuchDecompressed`].
pub fn walk_compressed(batch: &[u8], header: &BatchHeader, limit: usize) -> Result<Walked, BatchError> {
    let mut bytes = Window::new(batch, header, limit)?;
    let mut walked = Walked::NOTHING;
    for index in 0..header.records_count {
        let size = bytes.record_size(index)?;
        let seen = if size <= WINDOW {
            if bytes.fill(size)? < size {
                return Err(malformed(index, "it is longer than its batch"));
            }
            let record = bytes.record(index, size)?;
            (record.timestamp_delta, record.offset_delta, record.key.is_some())
        } else {
            bytes.skip_record(index, size)?
        };
        walked.see(header, index, seen)?;
    }
    bytes.end()?;
    Ok(walked)
}

/// A part of the bytes that a codec gives.
#[derive(Debug)]
struct Window<'a> {
    source: Decompressor<'a>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were read.
    read: usize,
    /// Bytes of the buffer that hold something.
    filled: usize,
}

impl<'a> Window<'a> {
    fn new(batch: &'a [u8], header: &BatchHeader, limit: usize) -> Result<Self, BatchError> {
        let records = batch
            .get(HEADER_LEN..header.size_in_bytes().min(batch.len()))
            .unwrap_or_default();
        let compression = header.attributes.compression()?;
        let source = Decompressor::new(compression, records, limit)?;
        Ok(Self {
            source,
            buffer: Vec::new(),
            read: 0,
            filled: 0,
        })
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.read..self.filled).unwrap_or_default()
    }

    /// Tries to have `wanted` bytes in one piece; returns how many there are, fewer only at the end.
    fn fill(&mut self, wanted: usize) -> Result<usize, BatchError> {
        if self.rest().len() < wanted {
            self.buffer.copy_within(self.read..self.filled, 0);
            self.filled -= self.read;
            self.read = 0;
        }
        while self.filled < wanted {
            if self.filled == self.buffer.len() {
                // Grows with what came out, not with what was declared.
                let grown = (self.filled * 2).clamp(WINDOW, wanted.max(WINDOW));
                self.buffer.resize(grown, 0);
            }
            match self
                .source
                .read(self.buffer.get_mut(self.filled..).unwrap_or_default())?
            {
                0 => break,
                count => self.filled += count,
            }
        }
        Ok(self.rest().len())
    }

    /// Bytes of the next record with its length, which is not read yet.
    fn record_size(&mut self, index: i32) -> Result<usize, BatchError> {
        self.fill(MAX_VARINT)?;
        let mut r = Reader::new(self.rest());
        let left = r.remaining();
        let length = r.varint().map_err(|_| malformed(index, "its length cannot be read"))?;
        let length = usize::try_from(length).map_err(|_| malformed(index, "its length is negative"))?;
        Ok(left - r.remaining() + length)
    }

    /// The next record, whose bytes are all here.
    fn record(&mut self, index: i32, size: usize) -> Result<Record<'_>, BatchError> {
        let from = self.read;
        self.read += size;
        let bytes = self.buffer.get(from..self.read).unwrap_or_default();
        record(&mut Reader::new(bytes)).map_err(|what| malformed(index, what))
    }

    /// Walks over a record without holding it: its timestamp and offset delta, and whether it has a key.
    fn skip_record(&mut self, index: i32, size: usize) -> Result<(i64, i32, bool), BatchError> {
        let mut skipped = Skipped {
            window: self,
            index,
            left: size,
        };
        skipped.varint()?;
        skipped.skip(1)?;
        let timestamp_delta = skipped.varlong()?;
        let offset_delta = skipped.varint()?;
        let has_key = skipped.nullable()?;
        skipped.nullable()?;
        let headers = u32::try_from(skipped.varint()?);
        for _ in 0..headers.map_err(|_| malformed(index, "its number of headers is negative"))? {
            if !skipped.nullable()? {
                return Err(malformed(index, "its fields do not fit its length"));
            }
            skipped.nullable()?;
        }
        match skipped.left {
            0 => Ok((timestamp_delta, offset_delta, has_key)),
            _ => Err(malformed(index, "its length is more than its fields take")),
        }
    }

    /// Checks that nothing is left.
    fn end(&mut self) -> Result<(), BatchError> {
        match self.fill(1)? {
            0 => Ok(()),
            left => Err(BatchError::TrailingBytes { left }),
        }
    }
}

/// One record on its way through a window.
struct Skipped<'w, 'a> {
    window: &'w mut Window<'a>,
    index: i32,
    /// Bytes that the record has left.
    left: usize,
}

impl Skipped<'_, '_> {
    fn varint(&mut self) -> Result<i32, BatchError> {
        self.number(MAX_VARINT, |r| r.varint().ok())
    }

    fn varlong(&mut self) -> Result<i64, BatchError> {
        self.number(MAX_VARLONG, |r| r.varlong().ok())
    }

    fn number<T>(&mut self, max_len: usize, read: impl Fn(&mut Reader<'_>) -> Option<T>) -> Result<T, BatchError> {
        let here = self.window.fill(max_len)?.min(self.left);
        let mut r = Reader::new(self.window.rest().get(..here).unwrap_or_default());
        let number = read(&mut r).ok_or(malformed(self.index, "its fields do not fit its length"))?;
        self.skip(here - r.remaining())?;
        Ok(number)
    }

    /// Skips bytes after their length; false for null.
    fn nullable(&mut self) -> Result<bool, BatchError> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.skip(length).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    fn skip(&mut self, mut length: usize) -> Result<(), BatchError> {
        self.left = self
            .left
            .checked_sub(length)
            .ok_or(malformed(self.index, "its fields do not fit its length"))?;
        while length > 0 {
            let here = self.window.fill(1)?.min(length);
            if here == 0 {
                return Err(malformed(self.index, "it is longer than its batch"));
            }
            self.window.read += here;
            length -= here;
        }
        Ok(())
    }
}

impl Walked {
    /// Of no record.
    pub(super) const NOTHING: Self = Self {
        max_timestamp: i64::MIN,
        min_timestamp: i64::MAX,
        offset_delta_of_max_timestamp: 0,
        first_without_key: None,
    };

    /// Takes the next record into account, of which timestamp delta, offset delta and whether it has a key are known.
    #[inline]
    pub(super) fn see(
        &mut self,
        header: &BatchHeader,
        index: i32,
        (timestamp_delta, offset_delta, has_key): (i64, i32, bool),
    ) -> Result<(), BatchError> {
        if offset_delta != index {
            return Err(malformed(index, "its offset delta is not its position"));
        }
        let timestamp = header.base_timestamp.wrapping_add(timestamp_delta);
        if timestamp > self.max_timestamp {
            self.max_timestamp = timestamp;
            self.offset_delta_of_max_timestamp = index;
        }
        if timestamp >= 0 {
            self.min_timestamp = self.min_timestamp.min(timestamp);
        }
        if !has_key && self.first_without_key.is_none() {
            self.first_without_key = Some(index);
        }
        Ok(())
    }
}

impl From<CompressionError> for BatchError {
    fn from(error: CompressionError) -> Self {
        match error {
            CompressionError::TooLarge { limit } => Self::TooMuchDecompressed { limit },
            CompressionError::Damaged(_) => Self::NotDecompressed,
        }
    }
}

fn malformed(index: i32, what: &'static str) -> BatchError {
    BatchError::MalformedRecord { index, what }
}
