//! What a batch must satisfy before it is believed, and before it is appended.

use super::record::{MIN_RECORD, record};
use super::{BatchError, BatchHeader, HEADER_LEN, TimestampType};
use crate::codec::Reader;

/// A batch that a producer sent and that may be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// Its header, as sent.
    pub header: BatchHeader,
    /// What its records say; `None` if they are compressed, and their header is trusted.
    pub walked: Option<Walked>,
}

/// What the records of a batch say, as opposed to its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// The latest timestamp of a record.
    pub max_timestamp: i64,
    /// The earliest timestamp of the records that have one; `i64::MAX` if none has.
    pub min_timestamp: i64,
    /// The offset delta of the first record with it.
    pub offset_delta_of_max_timestamp: i32,
    /// The first record without a key, which a compacted topic refuses.
    pub first_without_key: Option<i32>,
}

impl Produced {
    /// True if the declared max timestamp is not that of the records: see [`super::patch_max_timestamp`].
    pub fn max_timestamp_is_wrong(&self) -> bool {
        self.walked
            .is_some_and(|walked| walked.max_timestamp != self.header.max_timestamp)
    }
}

/// Checks that `batch` is one whole, undamaged batch: length, format and CRC32C.
///
/// # Errors
/// [`BatchError::Truncated`], [`BatchError::TrailingBytes`], [`BatchError::ChecksumMismatch`], and what
/// [`BatchHeader::parse`] refuses.
pub fn check_whole(batch: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let (needed, left) = (header.size_in_bytes(), batch.len());
    if left < needed {
        return Err(BatchError::Truncated { needed, left });
    }
    if left > needed {
        return Err(BatchError::TrailingBytes { left: left - needed });
    }
    let computed = crc32c::crc32c(&batch[super::CRC_START..]);
    if computed != header.crc {
        return Err(BatchError::ChecksumMismatch {
            declared: header.crc,
            computed,
        });
    }
    Ok(header)
}

/// Checks what a producer sent for one partition: exactly one whole batch that keeps the rules for clients, each record of it
/// walked if it is not compressed. (Source: Kafka's `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`,
/// `LogValidator`.) The leader epoch that a client sends is ignored.
///
/// Size limits, sequence numbers and a topic's own rules are the log's.
///
/// # Errors
/// Any [`BatchError`]; its [`BatchError::code`] is the answer.
pub fn validate_produced(records: &[u8]) -> Result<Produced, BatchError> {
    if records.is_empty() {
        return Err(BatchError::NotOneBatch);
    }
    let header = check_whole(records).map_err(|error| match error {
        // Intact batches after the first: not damage, but a rule broken.
        BatchError::TrailingBytes { .. } => BatchError::NotOneBatch,
        error => error,
    })?;
    let BatchHeader {
        base_offset,
        records_count,
        last_offset_delta,
        attributes,
        ..
    } = header;
    if base_offset != 0 {
        return Err(BatchError::BaseOffsetNotZero { base_offset });
    }
    if records_count <= 0 || records_count.checked_sub(1) != Some(last_offset_delta) {
        return Err(BatchError::CountMismatch {
            records_count,
            last_offset_delta,
        });
    }
    if attributes.is_control() {
        return Err(BatchError::ControlBatch);
    }
    if attributes.timestamp_type() == TimestampType::LogAppendTime {
        return Err(BatchError::LogAppendTime);
    }
    if header.has_producer_id() && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(BatchError::NoSequence {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        });
    }
    attributes.compression()?;
    let walked = if attributes.is_compressed() {
        None
    } else {
        Some(walk(records, &header)?)
    };
    Ok(Produced { header, walked })
}

/// Walks the records of a whole batch that is not compressed: each fits its length, their offset deltas count up from 0,
/// nothing is left over. Allocates nothing.
///
/// # Errors
/// [`BatchError::MalformedRecord`], [`BatchError::TrailingBytes`].
pub fn walk(batch: &[u8], header: &BatchHeader) -> Result<Walked, BatchError> {
    let mut r = Reader::new(batch.get(HEADER_LEN..).unwrap_or_default());
    if header.records_count as usize > r.remaining() / MIN_RECORD {
        return Err(BatchError::MalformedRecord {
            index: (r.remaining() / MIN_RECORD) as i32,
            what: "the batch has no room for it",
        });
    }
    let mut walked = Walked::NOTHING;
    for index in 0..header.records_count {
        let record = record(&mut r).map_err(|what| BatchError::MalformedRecord { index, what })?;
        walked.see(
            header,
            index,
            (record.timestamp_delta, record.offset_delta, record.key.is_some()),
        )?;
    }
    match r.remaining() {
        0 => Ok(walked),
        left => Err(BatchError::TrailingBytes { left }),
    }
}
