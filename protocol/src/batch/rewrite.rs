//! The two changes that a broker makes to a producer's batch when its topic says so: its own time, and another codec.

use super::header::{ATTRIBUTES, LENGTH, LENGTH_START, MAX_TIMESTAMP};
use super::{Attributes, BatchError, BatchHeader, Compression, HEADER_LEN, header_of, seal};
use crate::compression::{Compressor, Decompressor, Level};

/// Bytes that go from codec to codec at once.
const CHUNK: usize = 64 * 1024;

/// How large the records of a batch may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeLimits {
    /// Decompressed, in bytes.
    pub decompressed: usize,
    /// The whole batch as it is stored, in bytes.
    pub stored: usize,
}

/// Marks a whole batch as appended at `now_ms`: that is the timestamp of all its records from now on, whatever their deltas
/// say. Costs a pass over the batch for its checksum. (Source: Kafka's `DefaultRecordBatch.setMaxTimestamp`.)
///
/// # Errors
/// [`BatchError::Truncated`] if `batch` is shorter than a header.
pub fn stamp_append_time(batch: &mut [u8], now_ms: i64) -> Result<(), BatchError> {
    let header = header_of(batch)?;
    let attributes = Attributes(i16::from_be_bytes([header[ATTRIBUTES], header[ATTRIBUTES + 1]]));
    header[ATTRIBUTES..ATTRIBUTES + 2].copy_from_slice(&attributes.with_log_append_time().0.to_be_bytes());
    header[MAX_TIMESTAMP..MAX_TIMESTAMP + 8].copy_from_slice(&now_ms.to_be_bytes());
    seal(batch);
    Ok(())
}

/// The same batch with its records in another codec. What the header says stays, but for the codec, the length and the
/// checksum. Records go through a chunk at a time.
///
/// # Errors
/// [`BatchError::TooLargeRecompressed`] and [`BatchError::TooMuchDecompressed`] beyond the limits,
/// [`BatchError::NotDecompressed`], [`BatchError::UnknownCompression`], [`BatchError::Truncated`].
pub fn recompress(
    batch: &[u8],
    compression: Compression,
    level: Level,
    limits: SizeLimits,
) -> Result<Vec<u8>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let (head, records) = batch.split_at_checked(HEADER_LEN).ok_or(BatchError::Truncated {
        needed: HEADER_LEN,
        left: batch.len(),
    })?;
    let mut source = Decompressor::new(header.attributes.compression()?, records, limits.decompressed)?;
    let mut output = Vec::with_capacity(batch.len());
    output.extend_from_slice(head);
    let lost = |_| BatchError::NotDecompressed;
    let mut compressor = Compressor::new(compression, level, output).map_err(lost)?;
    let too_large = BatchError::TooLargeRecompressed { limit: limits.stored };
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = source.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        compressor.write(chunk.get(..count).unwrap_or_default()).map_err(lost)?;
        if compressor.len() > limits.stored {
            return Err(too_large);
        }
    }
    let mut rewritten = compressor.finish().map_err(lost)?;
    if rewritten.len() > limits.stored {
        return Err(too_large);
    }
    let length = (rewritten.len() - LENGTH_START) as i32;
    let head = header_of(&mut rewritten)?;
    head[LENGTH..LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    let attributes = header.attributes.with_compression(compression);
    head[ATTRIBUTES..ATTRIBUTES + 2].copy_from_slice(&attributes.0.to_be_bytes());
    seal(&mut rewritten);
    Ok(rewritten)
}
