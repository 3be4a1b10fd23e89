//! What can go wrong, each variant with one remedy.

use std::io;
use std::sync::Arc;

use protocol::ErrorCode;
use protocol::batch::BatchError;
use uuid::Uuid;

/// An operation on a log failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// A read outside the log. The reader resets its position.
    #[error("offset {requested} is outside the log {log_start_offset}..={log_end_offset}")]
    OffsetOutOfRange {
        /// What was asked for.
        requested: i64,
        /// First offset that can be read.
        log_start_offset: i64,
        /// Offset of the next record.
        log_end_offset: i64,
    },
    /// The directory belongs to another incarnation of the topic: move it aside with
    /// [`crate::DataDir::set_aside`] and open again (METADATA 25).
    #[error("directory {directory} holds topic id {found}, not {expected}")]
    OtherTopicId {
        /// Name of the partition directory.
        directory: String,
        /// The id written in it.
        found: Uuid,
        /// The id of the topic that was to be opened.
        expected: Uuid,
    },
    /// The directory holds records but does not say of which topic; it is opened by nobody.
    #[error("directory {directory} holds records but no readable partition.metadata")]
    UnknownTopicId {
        /// Name of the partition directory.
        directory: String,
    },
    /// A file was written by a newer version of this program.
    #[error("{file} has format version {found}, this program knows version {known}")]
    UnknownVersion {
        /// Name of the file.
        file: String,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// Bytes that were durable are damaged. Never truncated: keep the directory and repair from a replica.
    #[error(
        "{segment} is damaged at position {position}, offset {offset}, below the recovery point \
         {recovery_point}: {reason}"
    )]
    Damaged {
        /// Name of the segment file.
        segment: String,
        /// Position of the damaged batch in it.
        position: u64,
        /// Offset at which the intact part ends.
        offset: i64,
        /// Everything below it had been flushed.
        recovery_point: i64,
        /// What is wrong with the bytes.
        reason: String,
    },
    /// Records that were durable are missing. As for [`LogError::Damaged`].
    #[error("the log ends at {log_end_offset} but was flushed to {recovery_point}")]
    Missing {
        /// Where the intact log ends.
        log_end_offset: i64,
        /// Everything below it had been flushed.
        recovery_point: i64,
    },
    /// Records before the first segment are missing, or the checkpoint that says that they were deleted is. Nothing is
    /// touched: restore `log-start-offset-checkpoint`, or move the partition's directory away to begin anew.
    #[error(
        "the log begins at {begins_at} but nothing says that the records from {log_start_offset} on were deleted: restore log-start-offset-checkpoint, or move the directory away"
    )]
    LostBeginning {
        /// Base offset of the first segment.
        begins_at: i64,
        /// Where the log should begin.
        log_start_offset: i64,
    },
    /// No space left. Nothing was appended; the log stays online and can be tried again.
    #[error("no space left while {doing}")]
    StorageFull {
        /// What was tried.
        doing: &'static str,
    },
    /// A read failed. The log stays online.
    #[error("cannot read while {doing}: {source}")]
    Read {
        /// What was tried.
        doing: &'static str,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// A write or fsync failed: what is on disk is unknown, so the log accepts nothing until it is opened again.
    #[error("the log is offline since {doing} failed: {source}")]
    Offline {
        /// What was tried when it failed first.
        doing: &'static str,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
}

impl LogError {
    /// A read without waiting found that it would have to wait.
    pub fn would_block(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }

    pub(crate) fn offline(doing: &'static str, source: io::Error) -> Self {
        Self::Offline {
            doing,
            source: Arc::new(source),
        }
    }

    pub(crate) fn read(doing: &'static str, source: io::Error) -> Self {
        Self::Read {
            doing,
            source: Arc::new(source),
        }
    }

    /// The protocol's error for a client.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::OtherTopicId { .. } | Self::UnknownTopicId { .. } => ErrorCode::InconsistentTopicId,
            Self::UnknownVersion { .. }
            | Self::Damaged { .. }
            | Self::Missing { .. }
            | Self::LostBeginning { .. }
            | Self::StorageFull { .. }
            | Self::Read { .. }
            | Self::Offline { .. } => ErrorCode::KafkaStorageError,
        }
    }
}

/// One batch was not appended; the others of the same call are not touched by it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The bytes are no intact batch, or one that a producer may not send.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Larger than `max.message.bytes`.
    #[error("batch of {size} bytes is larger than max.message.bytes {limit}")]
    TooLarge {
        /// Bytes of the batch with its header.
        size: usize,
        /// The setting.
        limit: u32,
    },
    /// Larger than `segment.bytes`.
    #[error("batch of {size} bytes is larger than segment.bytes {limit}")]
    LargerThanSegment {
        /// Bytes of the batch with its header.
        size: usize,
        /// The setting.
        limit: u32,
    },
    /// Timestamps that `message.timestamp.before.max.ms` or `message.timestamp.after.max.ms` does not allow.
    #[error(
        "one or more records have been rejected due to invalid timestamp: they should be within {earliest} and {latest}"
    )]
    TimestampOutOfRange {
        /// Positions in the batch and timestamps in milliseconds of the records at fault; the first thousand of them.
        records: Vec<(i32, i64)>,
        /// The earliest timestamp allowed, in milliseconds.
        earliest: i64,
        /// The latest timestamp allowed, in milliseconds.
        latest: i64,
    },
    /// A sequence number does not follow the producer's last one.
    #[error("producer {producer_id} sent sequence {found} where {expected} was due")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: i64,
        /// First sequence number of the batch.
        found: i32,
        /// The number that was due.
        expected: i32,
    },
    /// A batch from before the last five of its producer: it is here, and nobody remembers at which offset.
    #[error("producer {producer_id} sent sequence {found} again, which was written long ago")]
    DuplicateSequence {
        /// The producer.
        producer_id: i64,
        /// First sequence number of the batch.
        found: i32,
        /// It lies before this offset.
        before_offset: i64,
    },
    /// A newer incarnation of the producer has written.
    #[error("producer {producer_id} sent epoch {found} after epoch {current}")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: i64,
        /// Epoch of the batch.
        found: i16,
        /// Epoch the log knows.
        current: i16,
    },
    /// The caller leads with an epoch older than one already in the log.
    #[error("leader epoch {found} is older than {current}")]
    FencedLeaderEpoch {
        /// Epoch of the call.
        found: i32,
        /// Newest epoch in the log.
        current: i32,
    },
    /// A leader's batch does not begin where this log ends.
    #[error(
        "a batch from offset {found} with last delta {last_offset_delta} was fetched where offset {expected} was due"
    )]
    OffsetOutOfOrder {
        /// First offset of the batch.
        found: i64,
        /// Offsets after the first.
        last_offset_delta: i32,
        /// The offset that was due.
        expected: i64,
    },
    /// The leader's first batch begins before the end of this log: an empty log must start there, another one must end there.
    #[error("the leader sent a batch that begins at offset {base_offset}, before the log end")]
    BeginsWithin {
        /// First offset of the batch.
        base_offset: i64,
    },
    /// The log could not store it; nothing of the batch will be seen by a reader.
    #[error(transparent)]
    Storage(#[from] LogError),
}

impl AppendError {
    /// The protocol's error for a producer.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Batch(error) => error.code(),
            Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            Self::TimestampOutOfRange { .. } => ErrorCode::InvalidTimestamp,
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::DuplicateSequence { .. } => ErrorCode::DuplicateSequenceNumber,
            Self::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::OffsetOutOfOrder { .. } | Self::BeginsWithin { .. } => ErrorCode::CorruptMessage,
            Self::Storage(error) => error.code(),
        }
    }

    /// The records of the batch at fault, by position from 0, each with a sentence (`record_errors` of KIP-467).
    pub fn record_errors(&self) -> Vec<(i32, String)> {
        match self {
            Self::Batch(error) => {
                let index = error.record_index();
                index.map(|index| (index, error.to_string())).into_iter().collect()
            }
            Self::TimestampOutOfRange {
                records,
                earliest,
                latest,
            } => records
                .iter()
                .map(|(index, timestamp)| {
                    let message =
                        format!("timestamp {timestamp} is out of range, it should be within [{earliest}, {latest}]");
                    (*index, message)
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}
