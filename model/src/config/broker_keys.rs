//! The keys of the brokers that are not defaults of a topic key. Names, types and defaults are Kafka's
//! (`KafkaConfig`), 4.3; the replication factors are those of its quick start, until a cluster is large enough for more
//! ([`super::defaults_of_size`]).

use super::ConfigKey;
use super::ConfigKind::{Boolean, Choice, Int, List, Long};
use super::key::Update;

/// Keys of the brokers that are not defaults of a topic key.
pub const BROKER_KEYS: &[ConfigKey] = &[
    ConfigKey {
        name: "auto.create.topics.enable",
        cluster_name: "auto.create.topics.enable",
        kind: Boolean,
        default: "true",
        documentation: "Whether a producer or consumer that asks for an unknown topic makes it.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "auto.leader.rebalance.enable",
        cluster_name: "auto.leader.rebalance.enable",
        kind: Boolean,
        default: "true",
        documentation: "Whether a broker that came back leads again, by itself, the partitions whose first replica it is.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "connections.max.idle.ms",
        cluster_name: "connections.max.idle.ms",
        kind: Long(i64::MIN, i64::MAX),
        default: "600000",
        documentation: "Milliseconds after which a connection that asks nothing is closed; below zero it never is.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "controlled.shutdown.enable",
        cluster_name: "controlled.shutdown.enable",
        kind: Boolean,
        default: "true",
        documentation: "Whether a broker that is asked to stop hands its leaderships over first.",
        default_only: true,
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "default.replication.factor",
        cluster_name: "default.replication.factor",
        kind: Int(1, i16::MAX as i32),
        default: "1",
        documentation: "Replicas of a topic that is created without a replication factor.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "delete.topic.enable",
        cluster_name: "delete.topic.enable",
        kind: Boolean,
        default: "true",
        documentation: "Whether a client may delete topics.",
        default_only: true,
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "follower.replication.throttled.rate",
        cluster_name: "follower.replication.throttled.rate",
        kind: Long(0, i64::MAX),
        default: "9223372036854775807",
        documentation: "Bytes a second that the throttled followers of a broker fetch at most, all together. Replicas that are in sync are never slowed down.",
        update: Update::Broker,
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "group.consumer.assignors",
        cluster_name: "group.consumer.assignors",
        kind: List(&["uniform", "range"], &[]),
        default: "uniform,range",
        documentation: "The assignors of the server for groups of the consumer protocol, the first being the default.",
        default_only: true,
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "group.consumer.heartbeat.interval.ms",
        cluster_name: "group.consumer.heartbeat.interval.ms",
        kind: Int(1, i32::MAX),
        default: "5000",
        documentation: "Milliseconds between two heartbeats of a member of a group of the consumer protocol.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "group.consumer.max.heartbeat.interval.ms",
        cluster_name: "group.consumer.max.heartbeat.interval.ms",
        kind: Int(1, i32::MAX),
        default: "15000",
        documentation: "The largest `consumer.heartbeat.interval.ms` that may be set for a group.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "group.consumer.max.session.timeout.ms",
        cluster_name: "group.consumer.max.session.timeout.ms",
        kind: Int(1, i32::MAX),
        default: "60000",
        documentation: "The largest `consumer.session.timeout.ms` that may be set for a group.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "group.consumer.max.size",
        cluster_name: "group.consumer.max.size",
        kind: Int(1, i32::MAX),
        default: "2147483647",
        documentation: "Members that a group of the consumer protocol may have.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "group.consumer.migration.policy",
        cluster_name: "group.consumer.migration.policy",
        kind: Choice(&["bidirectional", "upgrade", "downgrade", "disabled"], &[]),
        default: "bidirectional",
        documentation: "Whether a group may change between the classic and the consumer protocol while it has members.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "group.consumer.min.heartbeat.interval.ms",
        cluster_name: "group.consumer.min.heartbeat.interval.ms",
        kind: Int(1, i32::MAX),
        default: "5000",
        documentation: "The smallest `consumer.heartbeat.interval.ms` that may be set for a group.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "group.consumer.min.session.timeout.ms",
        cluster_name: "group.consumer.min.session.timeout.ms",
        kind: Int(1, i32::MAX),
        default: "45000",
        documentation: "The smallest `consumer.session.timeout.ms` that may be set for a group.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "group.consumer.session.timeout.ms",
        cluster_name: "group.consumer.session.timeout.ms",
        kind: Int(1, i32::MAX),
        default: "45000",
        documentation: "Milliseconds after which a silent member leaves a group of the consumer protocol.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "group.initial.rebalance.delay.ms",
        cluster_name: "group.initial.rebalance.delay.ms",
        kind: Int(0, i32::MAX),
        default: "3000",
        documentation: "Milliseconds that an empty group waits for more members before its first rebalance; 0 where a broker stands alone.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "group.max.session.timeout.ms",
        cluster_name: "group.max.session.timeout.ms",
        kind: Int(0, i32::MAX),
        default: "1800000",
        documentation: "The longest session timeout, in milliseconds, that a member may ask for.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "group.max.size",
        cluster_name: "group.max.size",
        kind: Int(1, i32::MAX),
        default: "2147483647",
        documentation: "Members that a group may have.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "group.min.session.timeout.ms",
        cluster_name: "group.min.session.timeout.ms",
        kind: Int(0, i32::MAX),
        default: "6000",
        documentation: "The shortest session timeout, in milliseconds, that a member may ask for.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "leader.imbalance.check.interval.seconds",
        cluster_name: "leader.imbalance.check.interval.seconds",
        kind: Long(1, i64::MAX),
        default: "300",
        documentation: "Seconds after which a broker leads again the partitions that it can, although it is not in sync in all of those whose first replica it is.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "leader.replication.throttled.rate",
        cluster_name: "leader.replication.throttled.rate",
        kind: Long(0, i64::MAX),
        default: "9223372036854775807",
        documentation: "Bytes a second that the leaders of a broker give to throttled followers at most, all together. Replicas that are in sync are never slowed down.",
        update: Update::Broker,
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "log.retention.hours",
        cluster_name: "log.retention.hours",
        kind: Int(i32::MIN, i32::MAX),
        default: "168",
        documentation: "Hours after which a segment is removed, where neither log.retention.ms nor log.retention.minutes is set.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "log.retention.minutes",
        cluster_name: "log.retention.minutes",
        kind: Int(i32::MIN, i32::MAX),
        default: "",
        documentation: "Minutes after which a segment is removed, where log.retention.ms is not set.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "log.roll.hours",
        cluster_name: "log.roll.hours",
        kind: Int(1, i32::MAX),
        default: "168",
        documentation: "Hours after which a segment file is closed although it is not full, where log.roll.ms is not set.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "max.incremental.fetch.session.cache.slots",
        cluster_name: "max.incremental.fetch.session.cache.slots",
        kind: Int(0, i32::MAX),
        default: "1000",
        documentation: "Fetch sessions that a broker keeps; clients beyond that name all their partitions in each request.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "num.partitions",
        cluster_name: "num.partitions",
        kind: Int(1, 10_000),
        default: "1",
        documentation: "Partitions of a topic that is created without a partition count.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "offset.metadata.max.bytes",
        cluster_name: "offset.metadata.max.bytes",
        kind: Int(0, i32::MAX),
        default: "4096",
        documentation: "Characters of metadata that a committed offset may carry.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "offsets.commit.timeout.ms",
        cluster_name: "offsets.commit.timeout.ms",
        kind: Int(1, i32::MAX),
        default: "5000",
        documentation: "Milliseconds that an answer of a group coordinator may wait for what was written to be committed.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "offsets.retention.check.interval.ms",
        cluster_name: "offsets.retention.check.interval.ms",
        kind: Long(1, i64::MAX),
        default: "600000",
        documentation: "Milliseconds between two searches for committed offsets that are past their retention.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "offsets.retention.minutes",
        cluster_name: "offsets.retention.minutes",
        kind: Int(1, i32::MAX),
        default: "10080",
        documentation: "Minutes that the offsets of a group without members are kept.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "offsets.topic.num.partitions",
        cluster_name: "offsets.topic.num.partitions",
        kind: Int(1, i32::MAX),
        default: "50",
        documentation: "Partitions of the topic that keeps the offsets of consumer groups.",
        default_only: true,
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "offsets.topic.replication.factor",
        cluster_name: "offsets.topic.replication.factor",
        kind: Int(1, i16::MAX as i32),
        default: "1",
        documentation: "Replicas of the topic that keeps the offsets of consumer groups.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "offsets.topic.segment.bytes",
        cluster_name: "offsets.topic.segment.bytes",
        kind: Int(1, i32::MAX),
        default: "104857600",
        documentation: "Bytes of a segment of the topic that keeps the offsets of consumer groups.",
        default_only: true,
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "producer.id.expiration.ms",
        cluster_name: "producer.id.expiration.ms",
        kind: Int(1, i32::MAX),
        default: "86400000",
        documentation: "Milliseconds after which the state of an idle idempotent producer is forgotten.",
        update: Update::Cluster,
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "replica.lag.time.max.ms",
        cluster_name: "replica.lag.time.max.ms",
        kind: Long(1, i64::MAX),
        default: "30000",
        documentation: "Milliseconds for which a replica may not have had everything before it is no longer in sync.",
        ..ConfigKey::BROKER
    },
    ConfigKey {
        name: "replica.selector.class",
        cluster_name: "replica.selector.class",
        kind: Choice(&["", "org.apache.kafka.common.replica.RackAwareReplicaSelector"], &[]),
        default: "",
        documentation: "How a consumer's replica is chosen: the leader, or rack aware, a replica in the consumer's rack.",
        ..ConfigKey::BROKER
    },
];
