//! The keys of a topic. Names, types and defaults are Kafka's (`TopicConfig`, `ServerLogConfigs`), 4.3.

use super::ConfigKey;
use super::ConfigKind::{Boolean, Choice, Double, Int, IntOr, List, Long, Replicas};
use super::key::{Unit, Update};

const DAY_MS: &str = "86400000";
const WEEK_MS: &str = "604800000";
const NEVER: &str = "9223372036854775807";

/// Keys of a topic; each may have a cluster-wide default under its `cluster_name`.
pub const TOPIC_KEYS: &[ConfigKey] = &[
    ConfigKey {
        name: "cleanup.policy",
        cluster_name: "log.cleanup.policy",
        kind: List(&["delete"], &["compact"]),
        default: "delete",
        documentation: "What happens to old segments: delete removes them when they are past the retention limits; without any word they stay.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "compression.gzip.level",
        cluster_name: "compression.gzip.level",
        kind: IntOr(1, 9, -1),
        default: "-1",
        documentation: "How hard gzip compresses where compression.type is gzip, 1 to 9; -1 is the codec's own default.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "compression.lz4.level",
        cluster_name: "compression.lz4.level",
        kind: Int(1, 17),
        default: "9",
        documentation: "How hard lz4 compresses where compression.type is lz4. Kept for other clusters; here lz4 has one level.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "compression.type",
        cluster_name: "compression.type",
        kind: Choice(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"], &[]),
        default: "producer",
        documentation: "How batches are stored: producer keeps them as the producer compressed them, anything else compresses them anew.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "compression.zstd.level",
        cluster_name: "compression.zstd.level",
        kind: Int(-131_072, 22),
        default: "3",
        documentation: "How hard zstd compresses where compression.type is zstd.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "delete.retention.ms",
        cluster_name: "log.cleaner.delete.retention.ms",
        kind: Long(0, i64::MAX),
        default: DAY_MS,
        documentation: "Milliseconds that compaction keeps the mark of a deleted key. Kept for when there is compaction.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "file.delete.delay.ms",
        cluster_name: "log.segment.delete.delay.ms",
        kind: Long(0, i64::MAX),
        default: "60000",
        documentation: "Milliseconds between the removal of a segment or topic and the removal of its files.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "flush.messages",
        cluster_name: "log.flush.interval.messages",
        kind: Long(1, i64::MAX),
        default: NEVER,
        documentation: "Records after which the log is flushed to disk; 1 flushes before each acknowledgement, the default leaves flushing to the operating system.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "flush.ms",
        cluster_name: "log.flush.interval.ms",
        kind: Long(0, i64::MAX),
        default: NEVER,
        documentation: "Milliseconds after which written records are flushed to disk; the default leaves flushing to the operating system.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "follower.replication.throttled.replicas",
        cluster_name: "follower.replication.throttled.replicas",
        kind: Replicas,
        default: "",
        documentation: "Replicas whose followers fetch at a limited rate, as partition:broker, or * for all.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "index.interval.bytes",
        cluster_name: "log.index.interval.bytes",
        kind: Int(0, i32::MAX),
        default: "4096",
        documentation: "Bytes of log between two entries of the offset index.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "leader.replication.throttled.replicas",
        cluster_name: "leader.replication.throttled.replicas",
        kind: Replicas,
        default: "",
        documentation: "Replicas whose leaders answer followers at a limited rate, as partition:broker, or * for all.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "local.retention.bytes",
        cluster_name: "log.local.retention.bytes",
        kind: Long(-2, i64::MAX),
        default: "-2",
        documentation: "Bytes of a tiered partition kept on the broker; -2 follows retention.bytes. Kept for other clusters; here nothing is tiered.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "local.retention.ms",
        cluster_name: "log.local.retention.ms",
        kind: Long(-2, i64::MAX),
        default: "-2",
        documentation: "Milliseconds that a tiered partition is kept on the broker; -2 follows retention.ms. Kept for other clusters; here nothing is tiered.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "max.compaction.lag.ms",
        cluster_name: "log.cleaner.max.compaction.lag.ms",
        kind: Long(1, i64::MAX),
        default: NEVER,
        documentation: "Milliseconds after which a record is compacted at the latest. Kept for when there is compaction.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "max.message.bytes",
        cluster_name: "message.max.bytes",
        kind: Int(0, i32::MAX),
        default: "1048588",
        documentation: "The largest record batch, in bytes as stored (after compression), that is accepted.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "message.timestamp.after.max.ms",
        cluster_name: "log.message.timestamp.after.max.ms",
        kind: Long(0, i64::MAX),
        default: "3600000",
        documentation: "How many milliseconds a record's timestamp may lie ahead of the broker's clock.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "message.timestamp.before.max.ms",
        cluster_name: "log.message.timestamp.before.max.ms",
        kind: Long(0, i64::MAX),
        default: NEVER,
        documentation: "How many milliseconds a record's timestamp may lie behind the broker's clock.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "message.timestamp.type",
        cluster_name: "log.message.timestamp.type",
        kind: Choice(&["CreateTime", "LogAppendTime"], &[]),
        default: "CreateTime",
        documentation: "Whose time a record carries: CreateTime is the producer's, LogAppendTime the broker's.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "min.cleanable.dirty.ratio",
        cluster_name: "log.cleaner.min.cleanable.ratio",
        kind: Double(0.0, 1.0),
        default: "0.5",
        documentation: "The share of a log that must be new before compaction looks at it. Kept for when there is compaction.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "min.compaction.lag.ms",
        cluster_name: "log.cleaner.min.compaction.lag.ms",
        kind: Long(0, i64::MAX),
        default: "0",
        documentation: "Milliseconds that a record stays as it is before it may be compacted. Kept for when there is compaction.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "min.insync.replicas",
        cluster_name: "min.insync.replicas",
        kind: Int(1, i32::MAX),
        default: "1",
        documentation: "How many in-sync replicas must have a record before acks=all is acknowledged; counts as the number of replicas where that is lower.",
        update: Update::Cluster,
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "preallocate",
        cluster_name: "log.preallocate",
        kind: Boolean,
        default: "false",
        documentation: "Whether a new segment file takes its whole size at once. Kept for other clusters; here files grow as they are written.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "remote.log.copy.disable",
        cluster_name: "remote.log.copy.disable",
        kind: Boolean,
        default: "false",
        documentation: "Whether a tiered topic stops copying to the remote storage.",
        default_only: true,
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "remote.log.delete.on.disable",
        cluster_name: "remote.log.delete.on.disable",
        kind: Boolean,
        default: "false",
        documentation: "Whether remote data goes when tiered storage is switched off for the topic.",
        default_only: true,
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "remote.storage.enable",
        cluster_name: "remote.storage.enable",
        kind: Boolean,
        default: "false",
        documentation: "Whether closed segments are copied to a remote storage.",
        default_only: true,
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "retention.bytes",
        cluster_name: "log.retention.bytes",
        kind: Long(-1, i64::MAX),
        default: "-1",
        documentation: "Bytes a partition may hold before its oldest segments are removed; -1 knows no limit.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "retention.ms",
        cluster_name: "log.retention.ms",
        kind: Long(-1, i64::MAX),
        default: WEEK_MS,
        documentation: "Milliseconds after which a segment is removed, counted from its newest record; -1 keeps for ever.",
        units: &[
            Unit {
                name: "log.retention.minutes",
                factor: 60_000,
            },
            Unit {
                name: "log.retention.hours",
                factor: 3_600_000,
            },
        ],
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "segment.bytes",
        cluster_name: "log.segment.bytes",
        kind: Int(1024 * 1024, i32::MAX),
        default: "1073741824",
        documentation: "Bytes after which a segment file is closed and the next begun.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "segment.index.bytes",
        cluster_name: "log.index.size.max.bytes",
        kind: Int(4, i32::MAX),
        default: "10485760",
        documentation: "The largest size of a segment's index in bytes; a full index closes the segment.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "segment.jitter.ms",
        cluster_name: "log.roll.jitter.ms",
        kind: Long(0, i64::MAX),
        default: "0",
        documentation: "By how many milliseconds at most segment.ms is shortened, at random, so that segments are not all closed at once.",
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "segment.ms",
        cluster_name: "log.roll.ms",
        kind: Long(1, i64::MAX),
        default: WEEK_MS,
        documentation: "Milliseconds after which a segment file is closed although it is not full.",
        units: &[Unit {
            name: "log.roll.hours",
            factor: 3_600_000,
        }],
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "unclean.leader.election.enable",
        cluster_name: "unclean.leader.election.enable",
        kind: Boolean,
        default: "false",
        documentation: "Whether a replica that may lack acknowledged records can be elected.",
        update: Update::Cluster,
        ..ConfigKey::TOPIC
    },
];
