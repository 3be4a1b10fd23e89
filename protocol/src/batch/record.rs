//! The records inside a batch that is not compressed, borrowed.

use super::{BatchError, BatchHeader, HEADER_LEN};
use crate::codec::{DecodeError, Reader};

/// The smallest record: its length, attributes, two deltas, two lengths and a count, a byte each.
pub(super) const MIN_RECORD: usize = 7;

/// One record of a batch.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// Added to the base timestamp of the batch, in milliseconds.
    pub timestamp_delta: i64,
    /// Added to the base offset of the batch.
    pub offset_delta: i32,
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value; null marks the key as deleted.
    pub value: Option<&'a [u8]>,
    /// The headers, in the order of the producer; a key may come more than once.
    pub headers: Headers<'a>,
}

/// A header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its key; meant to be UTF-8, which Kafka does not check either.
    pub key: &'a [u8],
    /// Its value, or null.
    pub value: Option<&'a [u8]>,
}

/// The records of one whole batch that is not compressed, in order. Ends after the first error.
///
/// # Errors
/// [`BatchError::MalformedRecord`] for a record that does not fit, [`BatchError::TrailingBytes`] for bytes after the last one,
/// what [`BatchHeader::parse`] says of the header. For a compressed batch it yields nothing.
pub fn records(batch: &[u8]) -> Result<Records<'_>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let compressed = header.attributes.is_compressed();
    Ok(Records {
        count: if compressed { 0 } else { header.records_count },
        next: 0,
        r: Reader::new(if compressed { &[] } else { &batch[HEADER_LEN..] }),
    })
}

/// See [`records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    count: i32,
    next: i32,
    r: Reader<'a>,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.count {
            let left = self.r.remaining();
            if left == 0 {
                return None;
            }
            self.r = Reader::new(&[]);
            return Some(Err(BatchError::TrailingBytes { left }));
        }
        let index = self.next;
        self.next += 1;
        match record(&mut self.r) {
            Ok(record) => Some(Ok(record)),
            Err(what) => {
                self.next = self.count;
                self.r = Reader::new(&[]);
                Some(Err(BatchError::MalformedRecord { index, what }))
            }
        }
    }
}

/// The headers of a record. Only those of a record that was read whole exist, so that none is malformed.
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    left: u32,
    r: Reader<'a>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        header(&mut self.r).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

/// Reads one record and proves its headers.
#[inline]
pub(super) fn record<'a>(r: &mut Reader<'a>) -> Result<Record<'a>, &'static str> {
    let length = r.varint().map_err(|_| "its length cannot be read")?;
    let length = usize::try_from(length).map_err(|_| "its length is negative")?;
    let body = r.take(length).map_err(|_| "it is longer than its batch")?;
    fields(&mut Reader::new(body)).map_err(|_| "its fields do not fit its length")?
}

/// The fields of a record. The outer error is one of bytes, the inner one of meaning.
#[inline]
fn fields<'a>(r: &mut Reader<'a>) -> Result<Result<Record<'a>, &'static str>, DecodeError> {
    // Record attributes have no meaning yet; Kafka ignores them, too.
    r.i8()?;
    let timestamp_delta = r.varlong()?;
    let offset_delta = r.varint()?;
    let key = nullable(r)?;
    let value = nullable(r)?;
    let Ok(count) = u32::try_from(r.varint()?) else {
        return Ok(Err("its number of headers is negative"));
    };
    let headers = Headers {
        left: count,
        r: r.clone(),
    };
    for _ in 0..count {
        // Each step takes bytes or fails, so a huge count ends with the bytes.
        header(r)?;
    }
    if r.remaining() > 0 {
        return Ok(Err("its length is more than its fields take"));
    }
    Ok(Ok(Record {
        timestamp_delta,
        offset_delta,
        key,
        value,
        headers,
    }))
}

#[inline]
fn header<'a>(r: &mut Reader<'a>) -> Result<Header<'a>, DecodeError> {
    Ok(Header {
        key: nullable(r)?.ok_or(DecodeError::Null { field: "header key" })?,
        value: nullable(r)?,
    })
}

/// Bytes after a zigzag-coded length. Kafka takes any negative length for null.
#[inline]
fn nullable<'a>(r: &mut Reader<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
    match usize::try_from(r.varint()?) {
        Ok(length) => r.take(length).map(Some),
        Err(_) => Ok(None),
    }
}
