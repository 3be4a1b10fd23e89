//! What can be wrong with a record batch.

use thiserror::Error;

use crate::ErrorCode;

/// A batch that cannot be accepted. [`BatchError::code`] is what the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The bytes end inside the batch.
    #[error("the record batch needs {needed} bytes, {left} are there")]
    Truncated {
        /// Bytes that the batch, or its header, takes.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// The declared length leaves no room for a header.
    #[error("the record batch declares the length {length}")]
    InvalidLength {
        /// The length as declared, from byte 12 on.
        length: i32,
    },
    /// A record format other than 2, which nobody has to speak since Kafka 0.11.
    #[error("the record batch has magic {magic}; only format 2 is supported")]
    UnsupportedMagic {
        /// The format as declared.
        magic: i8,
    },
    /// The bytes are not those that were checksummed.
    #[error("the record batch has checksum {computed:#010x}, but declares {declared:#010x}")]
    ChecksumMismatch {
        /// The checksum in the header.
        declared: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A produce request carries no batch, or more than one, for a partition.
    #[error("a produce request carries exactly one record batch for a partition")]
    NotOneBatch,
    /// A producer does not assign offsets.
    #[error("the base offset of a produced record batch is {base_offset}, not 0")]
    BaseOffsetNotZero {
        /// The offset as declared.
        base_offset: i64,
    },
    /// Count and last offset delta contradict each other, or there is no record.
    #[error("the record batch declares {records_count} records and the last offset delta {last_offset_delta}")]
    CountMismatch {
        /// The count as declared.
        records_count: i32,
        /// The delta as declared.
        last_offset_delta: i32,
    },
    /// Only coordinators write control batches.
    #[error("a client may not write control records")]
    ControlBatch,
    /// A producer id without epoch or sequence.
    #[error("producer {producer_id} gives epoch {producer_epoch} and sequence {base_sequence}")]
    NoSequence {
        /// The producer id.
        producer_id: i64,
        /// The epoch as declared.
        producer_epoch: i16,
        /// The sequence as declared.
        base_sequence: i32,
    },
    /// A compression type that does not exist.
    #[error("compression type {id} does not exist")]
    UnknownCompression {
        /// The type as declared.
        id: i16,
    },
    /// A producer may not claim that its timestamps are the broker's.
    #[error("a producer may not set the timestamp type LogAppendTime")]
    LogAppendTime,
    /// A record that does not fit its own length, its batch or its place.
    #[error("record {index} of the batch is malformed: {what}")]
    MalformedRecord {
        /// The position in the batch, from 0.
        index: i32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Compressed records that their codec cannot read.
    #[error("the records cannot be decompressed")]
    NotDecompressed,
    /// Compressed records that hold more than anybody wants to see.
    #[error("the records are more than {limit} bytes when decompressed")]
    TooMuchDecompressed {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A batch that does not fit any more in the codec of its topic.
    #[error("the record batch is more than {limit} bytes in the compression of its topic")]
    TooLargeRecompressed {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Bytes after the last record.
    #[error("{left} bytes follow the last record of the batch")]
    TrailingBytes {
        /// How many.
        left: usize,
    },
}

impl BatchError {
    /// The protocol's error for it. The choice is Kafka's: damage is worth another try, a broken rule is not.
    pub const fn code(self) -> ErrorCode {
        match self {
            BatchError::Truncated { .. } | BatchError::InvalidLength { .. } | BatchError::ChecksumMismatch { .. } => {
                ErrorCode::CorruptMessage
            }
            BatchError::UnknownCompression { .. } => ErrorCode::UnsupportedCompressionType,
            BatchError::LogAppendTime => ErrorCode::InvalidTimestamp,
            // Producers split a batch that is too large.
            BatchError::TooMuchDecompressed { .. } | BatchError::TooLargeRecompressed { .. } => {
                ErrorCode::MessageTooLarge
            }
            BatchError::UnsupportedMagic { .. }
            | BatchError::NotOneBatch
            | BatchError::BaseOffsetNotZero { .. }
            | BatchError::CountMismatch { .. }
            | BatchError::ControlBatch
            | BatchError::NoSequence { .. }
            | BatchError::MalformedRecord { .. }
            | BatchError::NotDecompressed
            | BatchError::TrailingBytes { .. } => ErrorCode::InvalidRecord,
        }
    }

    /// The position in the batch of the record at fault, for `record_errors` of a produce response.
    pub const fn record_index(self) -> Option<i32> {
        match self {
            BatchError::MalformedRecord { index, .. } => Some(index),
            _ => None,
        }
    }
}
