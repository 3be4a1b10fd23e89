//! What a topic's settings mean to its log.

use protocol::batch::{Compression, TimestampType};
use protocol::compression::Level;

/// How batches are stored (`compression.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredAs {
    /// As the producer compressed them.
    Produced,
    /// In this codec, whatever came.
    Recompressed(Compression, Level),
}

/// The settings of one log. Defaults are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is closed before it would grow beyond this many bytes.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is closed when a batch is this much younger than the segment's first.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: by how much at most `segment_ms` is shortened, another amount for each segment.
    pub segment_jitter_ms: i64,
    /// `index.interval.bytes`: bytes of batches between two index entries.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: a segment is closed when one of its indexes reaches this size.
    pub segment_index_bytes: u32,
    /// `max.message.bytes`: the largest batch, header included, that a producer may append.
    pub max_message_bytes: u32,
    /// `compression.type`, with the level of that codec.
    pub stored_as: StoredAs,
    /// `message.timestamp.type`: whose time a record carries.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far behind the broker's clock a record's timestamp may lie.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far ahead of the broker's clock a record's timestamp may lie.
    pub timestamp_after_max_ms: i64,
    /// `flush.messages`: records that may be unflushed; with 1 an append returns after its fdatasync.
    pub flush_messages: u64,
    /// `flush.ms`: how long a record may stay unflushed, in milliseconds (`i64::MAX`: for ever).
    pub flush_ms: i64,
    /// `retention.ms`: a segment goes when its newest record is older, in milliseconds; negative: never.
    pub retention_ms: i64,
    /// `retention.bytes`: the oldest segments go while the others hold as many bytes; negative: no limit.
    pub retention_bytes: i64,
    /// `file.delete.delay.ms`: how long the file of a removed segment stays, in milliseconds.
    pub file_delete_delay_ms: i64,
    /// `producer.id.expiration.ms`: an idle idempotent producer is forgotten after this time.
    pub producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            max_message_bytes: (1 << 20) + 12,
            stored_as: StoredAs::Produced,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 60 * 60 * 1000,
            flush_messages: i64::MAX as u64,
            flush_ms: i64::MAX,
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
            producer_id_expiration_ms: 24 * 60 * 60 * 1000,
        }
    }
}
