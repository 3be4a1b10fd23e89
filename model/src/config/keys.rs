//! The table of keys. Names, types and defaults are Kafka's (`TopicConfig`, `ServerLogConfigs`), 4.1.

use super::{ConfigKey, ConfigKind};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Keys of a topic; each may have a cluster-wide default under its `cluster_name`.
pub const TOPIC_KEYS: &[ConfigKey] = &[
    ConfigKey {
        name: "cleanup.policy",
        cluster_name: "log.cleanup.policy",
        kind: ConfigKind::Choice(&["delete"], &["compact"]),
        default: "delete",
        documentation: "What happens to old segments: delete removes them when they are past the retention limits.",
    },
    ConfigKey {
        name: "compression.type",
        cluster_name: "compression.type",
        kind: ConfigKind::Choice(&["producer"], &["uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        default: "producer",
        documentation: "How batches are stored: producer keeps them as the producer compressed them.",
    },
    ConfigKey {
        name: "file.delete.delay.ms",
        cluster_name: "log.segment.delete.delay.ms",
        kind: ConfigKind::Long(0, i64::MAX),
        default: "60000",
        documentation: "Milliseconds between the removal of a segment or topic and the removal of its files.",
    },
    ConfigKey {
        name: "flush.messages",
        cluster_name: "log.flush.interval.messages",
        kind: ConfigKind::Long(1, i64::MAX),
        default: "9223372036854775807",
        documentation: "Records after which the log is flushed to disk; 1 flushes before each acknowledgement, the default leaves flushing to the operating system.",
    },
    ConfigKey {
        name: "flush.ms",
        cluster_name: "log.flush.interval.ms",
        kind: ConfigKind::Long(0, i64::MAX),
        default: "9223372036854775807",
        documentation: "Milliseconds after which written records are flushed to disk; the default leaves flushing to the operating system.",
    },
    ConfigKey {
        name: "index.interval.bytes",
        cluster_name: "log.index.interval.bytes",
        kind: ConfigKind::Int(0, i32::MAX),
        default: "4096",
        documentation: "Bytes of log between two entries of the offset index.",
    },
    ConfigKey {
        name: "max.message.bytes",
        cluster_name: "message.max.bytes",
        kind: ConfigKind::Int(0, i32::MAX),
        default: "1048588",
        documentation: "The largest record batch, in bytes as stored (after compression), that is accepted.",
    },
    ConfigKey {
        name: "message.timestamp.after.max.ms",
        cluster_name: "log.message.timestamp.after.max.ms",
        kind: ConfigKind::Long(0, i64::MAX),
        default: "3600000",
        documentation: "How many milliseconds a record's timestamp may lie ahead of the broker's clock.",
    },
    ConfigKey {
        name: "message.timestamp.before.max.ms",
        cluster_name: "log.message.timestamp.before.max.ms",
        kind: ConfigKind::Long(0, i64::MAX),
        default: "9223372036854775807",
        documentation: "How many milliseconds a record's timestamp may lie behind the broker's clock.",
    },
    ConfigKey {
        name: "message.timestamp.type",
        cluster_name: "log.message.timestamp.type",
        kind: ConfigKind::Choice(&["CreateTime"], &["LogAppendTime"]),
        default: "CreateTime",
        documentation: "Whose time a record carries: CreateTime is the producer's.",
    },
    ConfigKey {
        name: "min.insync.replicas",
        cluster_name: "min.insync.replicas",
        kind: ConfigKind::Int(1, i32::MAX),
        default: "1",
        documentation: "How many in-sync replicas must have a record before acks=all is acknowledged; counts as the number of replicas where that is lower.",
    },
    ConfigKey {
        name: "retention.bytes",
        cluster_name: "log.retention.bytes",
        kind: ConfigKind::Long(-1, i64::MAX),
        default: "-1",
        documentation: "Bytes a partition may hold before its oldest segments are removed; -1 knows no limit.",
    },
    ConfigKey {
        name: "retention.ms",
        cluster_name: "log.retention.ms",
        kind: ConfigKind::Long(-1, i64::MAX),
        default: "604800000",
        documentation: "Milliseconds after which a segment is removed, counted from its newest record; -1 keeps for ever.",
    },
    ConfigKey {
        name: "segment.bytes",
        cluster_name: "log.segment.bytes",
        kind: ConfigKind::Int(1024 * 1024, i32::MAX),
        default: "1073741824",
        documentation: "Bytes after which a segment file is closed and the next begun.",
    },
    ConfigKey {
        name: "segment.index.bytes",
        cluster_name: "log.index.size.max.bytes",
        kind: ConfigKind::Int(4, i32::MAX),
        default: "10485760",
        documentation: "The largest size of a segment's index in bytes; a full index closes the segment.",
    },
    ConfigKey {
        name: "segment.ms",
        cluster_name: "log.roll.ms",
        kind: ConfigKind::Long(1, i64::MAX),
        default: "604800000",
        documentation: "Milliseconds after which a segment file is closed although it is not full.",
    },
    ConfigKey {
        name: "unclean.leader.election.enable",
        cluster_name: "unclean.leader.election.enable",
        kind: ConfigKind::Choice(&["false"], &["true"]),
        default: "false",
        documentation: "Whether a replica that may lack acknowledged records can be elected.",
    },
];

/// Keys of the cluster that are not defaults of a topic key.
pub const CLUSTER_KEYS: &[ConfigKey] = &[
    ConfigKey {
        name: "auto.create.topics.enable",
        cluster_name: "auto.create.topics.enable",
        kind: ConfigKind::Boolean,
        default: "true",
        documentation: "Whether a producer or consumer that asks for an unknown topic makes it.",
    },
    ConfigKey {
        name: "default.replication.factor",
        cluster_name: "default.replication.factor",
        kind: ConfigKind::Int(1, i16::MAX as i32),
        default: "1",
        documentation: "Replicas of a topic that is created without a replication factor.",
    },
    ConfigKey {
        name: "num.partitions",
        cluster_name: "num.partitions",
        kind: ConfigKind::Int(1, 10_000),
        default: "1",
        documentation: "Partitions of a topic that is created without a partition count.",
    },
    ConfigKey {
        name: "producer.id.expiration.ms",
        cluster_name: "producer.id.expiration.ms",
        kind: ConfigKind::Long(1, 365 * DAY_MS),
        default: "86400000",
        documentation: "Milliseconds after which the state of an idle idempotent producer is forgotten.",
    },
];
