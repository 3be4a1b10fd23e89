//! Makes batches: for coordinators, tools and tests. Producers' batches are never rebuilt.

use super::header::LENGTH;
use super::{Attributes, BatchHeader, Compression, HEADER_LEN, NO_PRODUCER_ID, seal};
use crate::codec::Put;
use crate::compression::{self, Level};

/// Builds one batch. What is not said is as an ordinary producer sends it: base offset 0, leader epoch -1, no producer id.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    header: BatchHeader,
    records: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// A batch without records.
    pub fn new() -> Self {
        Self {
            header: BatchHeader {
                base_offset: 0,
                batch_length: 0,
                partition_leader_epoch: -1,
                crc: 0,
                attributes: Attributes(0),
                last_offset_delta: -1,
                base_timestamp: -1,
                max_timestamp: -1,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: -1,
                base_sequence: -1,
                records_count: 0,
            },
            records: Vec::new(),
        }
    }

    /// The offset of the first record.
    #[must_use]
    pub fn base_offset(mut self, base_offset: i64) -> Self {
        self.header.base_offset = base_offset;
        self
    }

    /// The epoch of the leader.
    #[must_use]
    pub fn leader_epoch(mut self, leader_epoch: i32) -> Self {
        self.header.partition_leader_epoch = leader_epoch;
        self
    }

    /// The idempotent producer, and the sequence number of the first record.
    #[must_use]
    pub fn producer(mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = producer_id;
        self.header.producer_epoch = producer_epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(self) -> Self {
        self.with_attributes(0x10)
    }

    /// Marks the batch as a coordinator's.
    #[must_use]
    pub fn control(self) -> Self {
        self.with_attributes(0x20)
    }

    /// Marks the timestamps as the broker's.
    #[must_use]
    pub fn log_append_time(self) -> Self {
        self.with_attributes(0x08)
    }

    /// Adds a record. `timestamp` is in milliseconds since 1970.
    #[must_use]
    pub fn record(self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        self.record_with_headers(timestamp, key, value, &[])
    }

    /// Adds a record with headers.
    #[must_use]
    pub fn record_with_headers(
        mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> Self {
        self.push(timestamp, key, value, headers);
        self
    }

    /// Adds a record in place: what loops use.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        let header = &mut self.header;
        if header.records_count == 0 {
            header.base_timestamp = timestamp;
            header.max_timestamp = timestamp;
        }
        header.max_timestamp = header.max_timestamp.max(timestamp);
        header.last_offset_delta += 1;
        header.records_count += 1;

        let mut record = Vec::with_capacity(32 + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len));
        record.push(0);
        record.put_varlong(timestamp.wrapping_sub(header.base_timestamp));
        record.put_varint(header.last_offset_delta);
        put_nullable(&mut record, key);
        put_nullable(&mut record, value);
        record.put_varint(headers.len() as i32);
        for (key, value) in headers {
            put_nullable(&mut record, Some(key.as_bytes()));
            put_nullable(&mut record, *value);
        }
        self.records.put_varint(record.len() as i32);
        self.records.extend_from_slice(&record);
    }

    /// Takes `count` records as bytes that someone compressed. Replaces the records added so far.
    #[must_use]
    pub fn compressed(mut self, compression: Compression, records: &[u8], count: i32, timestamp: i64) -> Self {
        self.header.records_count = count;
        self.header.last_offset_delta = count - 1;
        self.header.base_timestamp = timestamp;
        self.header.max_timestamp = timestamp;
        self.records = records.to_vec();
        self.with_attributes(compression as i16)
    }

    /// Compresses the records added so far; to be called once, after the last.
    ///
    /// # Errors
    /// What the codec says of its own memory.
    pub fn compress(mut self, compression: Compression, level: Level) -> std::io::Result<Self> {
        let records = std::mem::take(&mut self.records);
        compression::compress(compression, level, &records, &mut self.records)?;
        Ok(self.with_attributes(compression as i16))
    }

    /// The bytes that the batch takes so far.
    pub fn size_in_bytes(&self) -> usize {
        HEADER_LEN + self.records.len()
    }

    /// How many records were added.
    pub fn records_count(&self) -> i32 {
        self.header.records_count
    }

    /// The batch.
    pub fn build(mut self) -> Vec<u8> {
        self.header.batch_length = (HEADER_LEN + self.records.len() - LENGTH - 4) as i32;
        let mut batch = Vec::with_capacity(HEADER_LEN + self.records.len());
        self.header.put(&mut batch);
        batch.extend_from_slice(&self.records);
        seal(&mut batch);
        batch
    }

    fn with_attributes(mut self, bits: i16) -> Self {
        self.header.attributes.0 |= bits;
        self
    }
}

fn put_nullable(w: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            w.put_varint(bytes.len() as i32);
            w.extend_from_slice(bytes);
        }
        None => w.put_varint(-1),
    }
}
