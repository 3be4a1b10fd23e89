//! All of a topic's values at once.

use std::collections::BTreeMap;

use super::topic_key;

/// `compression.type`: what batches are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// What the producer chose.
    Producer,
    /// Nothing.
    Uncompressed,
    /// gzip at this level; -1 is the codec's own.
    Gzip(i32),
    /// snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard at this level.
    Zstd(i32),
}

/// A topic's configuration, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// `segment.bytes`: a segment is closed before it grows beyond this.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is closed when its first record is this old.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: by how much at most that is shortened.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: size of an index.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: bytes of log between two index entries.
    pub index_interval_bytes: u32,
    /// `retention.ms`: -1 keeps for ever, as does a `cleanup.policy` without `delete`.
    pub retention_ms: i64,
    /// `retention.bytes` per partition: -1 knows no limit, as does a `cleanup.policy` without `delete`.
    pub retention_bytes: i64,
    /// `file.delete.delay.ms`: how long a removed file stays.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`: records between two forced flushes; `i64::MAX` leaves it to the operating system.
    pub flush_messages: i64,
    /// `flush.ms`: milliseconds between two forced flushes; `i64::MAX` leaves it to the operating system.
    pub flush_ms: i64,
    /// `max.message.bytes`: the largest batch accepted.
    pub max_message_bytes: u32,
    /// `min.insync.replicas` as configured; what counts is [`crate::MetadataImage::min_insync_replicas`].
    pub min_insync_replicas: usize,
    /// `compression.type`, with the level of that codec.
    pub compression_type: CompressionType,
    /// `message.timestamp.type` is `LogAppendTime`: a record carries the broker's time.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`: how far a record's timestamp may lie in the past.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far a record's timestamp may lie in the future.
    pub message_timestamp_after_max_ms: i64,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self::resolve(&BTreeMap::new(), &BTreeMap::new())
    }
}

impl TopicConfig {
    /// The topic's values, else the cluster's, else the defaults. A value that cannot be read counts as not set: only
    /// checked ones are ever written, and every node must come to the same result.
    pub fn resolve(cluster: &BTreeMap<String, String>, topic: &BTreeMap<String, String>) -> Self {
        let long = |name: &str| -> i64 {
            let Some(key) = topic_key(name) else { return 0 };
            let readable = key.value(cluster, topic).parse().ok();
            readable.or_else(|| key.default.parse().ok()).unwrap_or_default()
        };
        let unsigned = |name: &str| u32::try_from(long(name)).unwrap_or_default();
        let word = |name: &str| topic_key(name).map(|key| key.value(cluster, topic));
        let deletes = word("cleanup.policy").is_none_or(|policy| policy.split(',').any(|word| word == "delete"));
        let limit = |name: &str| if deletes { long(name) } else { -1 };
        let level = |name: &str| i32::try_from(long(name)).unwrap_or_default();
        Self {
            segment_bytes: unsigned("segment.bytes"),
            segment_ms: long("segment.ms"),
            segment_jitter_ms: long("segment.jitter.ms"),
            segment_index_bytes: unsigned("segment.index.bytes"),
            index_interval_bytes: unsigned("index.interval.bytes"),
            retention_ms: limit("retention.ms"),
            retention_bytes: limit("retention.bytes"),
            file_delete_delay_ms: long("file.delete.delay.ms"),
            flush_messages: long("flush.messages"),
            flush_ms: long("flush.ms"),
            max_message_bytes: unsigned("max.message.bytes"),
            min_insync_replicas: super::min_insync_replicas(cluster, topic),
            compression_type: match word("compression.type").as_deref().unwrap_or_default() {
                "uncompressed" => CompressionType::Uncompressed,
                "gzip" => CompressionType::Gzip(level("compression.gzip.level")),
                "snappy" => CompressionType::Snappy,
                "lz4" => CompressionType::Lz4,
                "zstd" => CompressionType::Zstd(level("compression.zstd.level")),
                _ => CompressionType::Producer,
            },
            log_append_time: word("message.timestamp.type").as_deref() == Some("LogAppendTime"),
            message_timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
        }
    }
}
