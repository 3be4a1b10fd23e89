//! Record batches (format 2) as they lie on the wire and on disk: views over bytes that are never copied.
//!
//! ```text
//!  0 base offset i64           21 attributes i16         43 producer id i64
//!  8 length i32, from 12 on    23 last offset delta i32  51 producer epoch i16
//! 12 leader epoch i32          27 base timestamp i64     53 base sequence i32
//! 16 magic i8 = 2              35 max timestamp i64      57 records count i32
//! 17 CRC32C u32, from 21 on                              61 records
//! ```
//! Base offset and leader epoch lie before what the checksum covers, so a leader stamps both without touching the rest.
//! (Source: Kafka's `DefaultRecordBatch` and `DefaultRecord`.)

mod builder;
mod error;
mod header;
mod record;
mod rewrite;
mod stream;
mod validate;

#[cfg(test)]
mod tests;

pub use builder::BatchBuilder;
pub use error::BatchError;
pub use header::{Attributes, BatchHeader, Compression, HEADER_LEN, NO_PRODUCER_ID, TimestampType, add_to_sequence};
pub use record::{Header, Headers, Record, Records, records};
pub use rewrite::{SizeLimits, recompress, stamp_append_time};
pub use stream::{RecordStream, walk_compressed};
pub use validate::{Produced, Walked, check_whole, validate_produced, walk};

use header::{BASE_OFFSET, CRC, CRC_START, LEADER_EPOCH, MAX_TIMESTAMP};

/// The batches of a record set, in order. Ends after the first error.
///
/// A set that was cut to a size may end in a part of a batch: that is [`BatchError::Truncated`], after everything whole.
pub fn batches(set: &[u8]) -> Batches<'_> {
    Batches { rest: set }
}

/// See [`batches`].
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let next = BatchHeader::parse(self.rest).and_then(|header| {
            let needed = header.size_in_bytes();
            let left = self.rest.len();
            self.rest
                .split_at_checked(needed)
                .map(|(batch, rest)| (header, batch, rest))
                .ok_or(BatchError::Truncated { needed, left })
        });
        match next {
            Ok((header, batch, rest)) => {
                self.rest = rest;
                Some(Ok((header, batch)))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// Stamps the base offset and the leader epoch into a batch. The checksum stays valid: it covers neither.
///
/// # Errors
/// [`BatchError::Truncated`] if `batch` is shorter than a header.
pub fn patch_offset_and_epoch(batch: &mut [u8], base_offset: i64, leader_epoch: i32) -> Result<(), BatchError> {
    let header = header_of(batch)?;
    header[BASE_OFFSET..BASE_OFFSET + 8].copy_from_slice(&base_offset.to_be_bytes());
    header[LEADER_EPOCH..LEADER_EPOCH + 4].copy_from_slice(&leader_epoch.to_be_bytes());
    Ok(())
}

/// Sets the max timestamp of a whole batch and makes the checksum anew: costs a pass over the batch.
///
/// Some clients send a max timestamp that is not that of their records (KafkaJS sends -1); Kafka corrects it
/// (`LogValidator`), because the time index is made from it.
///
/// # Errors
/// [`BatchError::Truncated`] if `batch` is shorter than a header.
pub fn patch_max_timestamp(batch: &mut [u8], max_timestamp: i64) -> Result<(), BatchError> {
    let header = header_of(batch)?;
    header[MAX_TIMESTAMP..MAX_TIMESTAMP + 8].copy_from_slice(&max_timestamp.to_be_bytes());
    seal(batch);
    Ok(())
}

/// Writes the checksum of a batch that is at least a header long.
fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[CRC_START..]);
    batch[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
}

fn header_of(batch: &mut [u8]) -> Result<&mut [u8; HEADER_LEN], BatchError> {
    let left = batch.len();
    batch.first_chunk_mut().ok_or(BatchError::Truncated {
        needed: HEADER_LEN,
        left,
    })
}
