//! The 61 bytes before the records.

use super::BatchError;

/// Bytes of a batch before its records.
pub const HEADER_LEN: usize = 61;

/// The producer id of a producer that has none.
pub const NO_PRODUCER_ID: i64 = -1;

pub(super) const BASE_OFFSET: usize = 0;
pub(super) const LENGTH: usize = 8;
pub(super) const LEADER_EPOCH: usize = 12;
pub(super) const MAGIC: usize = 16;
pub(super) const CRC: usize = 17;
pub(super) const CRC_START: usize = 21;
pub(super) const ATTRIBUTES: usize = 21;
pub(super) const MAX_TIMESTAMP: usize = 35;

/// The length field counts from here.
pub(super) const LENGTH_START: usize = 12;

/// The header of a record batch. Its fields are as declared: only [`super::check_whole`] says that the batch is intact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record.
    pub base_offset: i64,
    /// Bytes of the batch from byte 12 on; at least 49.
    pub batch_length: i32,
    /// The epoch of the leader that appended it.
    pub partition_leader_epoch: i32,
    /// CRC32C of everything from byte 21 on.
    pub crc: u32,
    /// Compression, timestamp type and flags.
    pub attributes: Attributes,
    /// The offset of the last record, less the base offset. Compaction keeps it, so it can be more than the count says.
    pub last_offset_delta: i32,
    /// The timestamp that record timestamps are counted from, in milliseconds since 1970.
    pub base_timestamp: i64,
    /// The latest timestamp of the batch.
    pub max_timestamp: i64,
    /// The producer, or [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The sequence number of the first record.
    pub base_sequence: i32,
    /// How many records follow.
    pub records_count: i32,
}

/// The attributes of a batch: bits 0 to 2 compression, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum Compression {
    /// Not at all.
    None = 0,
    /// gzip.
    Gzip = 1,
    /// snappy, raw or in xerial's framing.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// Zstandard; only in Produce from version 7 and Fetch from version 10.
    Zstd = 4,
}

/// Who set the timestamps of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer.
    CreateTime,
    /// The broker.
    LogAppendTime,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; the records need not be there.
    ///
    /// # Errors
    /// [`BatchError::Truncated`] for less than 61 bytes, [`BatchError::UnsupportedMagic`],
    /// [`BatchError::InvalidLength`] for a length that is less than a header's.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // Format and length first: the older formats are shorter, and deserve to be named.
        if let Some(&magic) = bytes.get(MAGIC)
            && magic != 2
        {
            return Err(BatchError::UnsupportedMagic {
                magic: magic.cast_signed(),
            });
        }
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(BatchError::Truncated {
                needed: HEADER_LEN,
                left: bytes.len(),
            });
        };
        let batch_length = i32::from_be_bytes(at(header, LENGTH));
        if batch_length < (HEADER_LEN - LENGTH_START) as i32 {
            return Err(BatchError::InvalidLength { length: batch_length });
        }
        Ok(Self {
            base_offset: i64::from_be_bytes(at(header, BASE_OFFSET)),
            batch_length,
            partition_leader_epoch: i32::from_be_bytes(at(header, LEADER_EPOCH)),
            crc: u32::from_be_bytes(at(header, CRC)),
            attributes: Attributes(i16::from_be_bytes(at(header, ATTRIBUTES))),
            last_offset_delta: i32::from_be_bytes(at(header, 23)),
            base_timestamp: i64::from_be_bytes(at(header, 27)),
            max_timestamp: i64::from_be_bytes(at(header, MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(at(header, 43)),
            producer_epoch: i16::from_be_bytes(at(header, 51)),
            base_sequence: i32::from_be_bytes(at(header, 53)),
            records_count: i32::from_be_bytes(at(header, 57)),
        })
    }

    /// Appends the header. Its checksum is written as it is.
    pub(super) fn put(&self, w: &mut Vec<u8>) {
        w.extend_from_slice(&self.base_offset.to_be_bytes());
        w.extend_from_slice(&self.batch_length.to_be_bytes());
        w.extend_from_slice(&self.partition_leader_epoch.to_be_bytes());
        w.push(2);
        w.extend_from_slice(&self.crc.to_be_bytes());
        w.extend_from_slice(&self.attributes.0.to_be_bytes());
        w.extend_from_slice(&self.last_offset_delta.to_be_bytes());
        w.extend_from_slice(&self.base_timestamp.to_be_bytes());
        w.extend_from_slice(&self.max_timestamp.to_be_bytes());
        w.extend_from_slice(&self.producer_id.to_be_bytes());
        w.extend_from_slice(&self.producer_epoch.to_be_bytes());
        w.extend_from_slice(&self.base_sequence.to_be_bytes());
        w.extend_from_slice(&self.records_count.to_be_bytes());
    }

    /// Bytes of the whole batch, header included.
    pub const fn size_in_bytes(&self) -> usize {
        // `parse` lets no negative length through.
        LENGTH_START + self.batch_length as usize
    }

    /// The offset of the last record.
    pub const fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(self.last_offset_delta as i64)
    }

    /// The offset after the last record.
    pub const fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The sequence number of the last record; after `i32::MAX` comes 0.
    pub const fn last_sequence(&self) -> i32 {
        add_to_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// True if the batch is from an idempotent or transactional producer.
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }
}

impl Attributes {
    /// How the records are compressed.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`].
    pub const fn compression(self) -> Result<Compression, BatchError> {
        match self.0 & 0x07 {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            id => Err(BatchError::UnknownCompression { id }),
        }
    }

    /// True if the records are compressed, in whatever way.
    pub const fn is_compressed(self) -> bool {
        self.0 & 0x07 != 0
    }

    /// Who set the timestamps.
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & 0x08 == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// The same with another codec.
    #[must_use]
    pub const fn with_compression(self, compression: Compression) -> Self {
        Self(self.0 & !0x07 | compression as i16)
    }

    /// The same with the broker's timestamps.
    #[must_use]
    pub const fn with_log_append_time(self) -> Self {
        Self(self.0 | 0x08)
    }

    /// True if the batch belongs to a transaction.
    pub const fn is_transactional(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// True if the batch holds a marker of a coordinator instead of records.
    pub const fn is_control(self) -> bool {
        self.0 & 0x20 != 0
    }

    /// True if the base timestamp is the time from which tombstones may go.
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & 0x40 != 0
    }
}

/// `sequence` moved on by `increment`; after `i32::MAX` comes 0.
pub const fn add_to_sequence(sequence: i32, increment: i32) -> i32 {
    // Sequence numbers are integers modulo 2^31.
    let sum = sequence.cast_unsigned().wrapping_add(increment.cast_unsigned());
    (sum & i32::MAX.cast_unsigned()).cast_signed()
}

fn at<const N: usize>(header: &[u8; HEADER_LEN], position: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[position..position + N]);
    bytes
}
