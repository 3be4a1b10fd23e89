//! The settings of the coordinator, with Kafka's names and defaults.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a group may do, and for how long. Source: Kafka's `GroupCoordinatorConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`: a shorter session timeout is refused.
    pub min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`: a longer session timeout is refused.
    pub max_session_timeout: Duration,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members before its first rebalance.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`: members that a group may have.
    pub max_size: usize,
    /// `group.consumer.session.timeout.ms`: how long a member of a consumer group may be silent.
    pub consumer_session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`: what members of consumer groups are told.
    pub consumer_heartbeat_interval: Duration,
    /// `group.consumer.max.size`: members that a consumer group may have.
    pub consumer_max_size: usize,
    /// `group.consumer.migration.policy`.
    pub migration_policy: MigrationPolicy,
    /// `offset.metadata.max.bytes`: characters of metadata that a committed offset may carry.
    pub offset_metadata_max: usize,
    /// `offsets.commit.timeout.ms`: how long an answer may wait for what was written to be committed.
    pub commit_timeout: Duration,
    /// `offsets.retention.minutes`: how long the offsets of a group without members, or of a topic that no member
    /// subscribes to, are kept.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// How long a new member may wait in its first join before it must ask again (Kafka: five minutes, not a setting).
    /// It has no id yet, so it cannot send heartbeats, and a client that gave up would stay in the group for ever.
    pub new_member_join_timeout: Duration,
}

/// What counts for one consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// `consumer.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `consumer.heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
}

/// What single consumer groups have set for themselves, by their names.
pub type OwnSettings = BTreeMap<String, OwnConsumerSettings>;

/// What one consumer group has set for itself; where it says nothing, the brokers' settings count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnConsumerSettings {
    /// `consumer.session.timeout.ms`.
    pub session_timeout: Option<Duration>,
    /// `consumer.heartbeat.interval.ms`.
    pub heartbeat_interval: Option<Duration>,
}

/// Which groups may change their kind while they have members: `group.consumer.migration.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// A classic group becomes a consumer group when the first member of that kind joins, and is classic again when the last
    /// leaves.
    Bidirectional,
    /// Only the former.
    Upgrade,
    /// Only the latter.
    Downgrade,
    /// None.
    Disabled,
}

impl MigrationPolicy {
    pub(crate) fn may_upgrade(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Upgrade)
    }

    pub(crate) fn may_downgrade(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Downgrade)
    }

    /// The policy that Kafka calls so.
    pub fn of_name(name: &str) -> Option<Self> {
        [
            ("bidirectional", Self::Bidirectional),
            ("upgrade", Self::Upgrade),
            ("downgrade", Self::Downgrade),
            ("disabled", Self::Disabled),
        ]
        .into_iter()
        .find_map(|(known, policy)| known.eq_ignore_ascii_case(name).then_some(policy))
    }
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_mins(30),
            initial_rebalance_delay: Duration::from_secs(3),
            max_size: usize::MAX,
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            consumer_max_size: usize::MAX,
            migration_policy: MigrationPolicy::Bidirectional,
            offset_metadata_max: 4096,
            commit_timeout: Duration::from_secs(5),
            offsets_retention: Duration::from_hours(168),
            offsets_retention_check_interval: Duration::from_mins(10),
            new_member_join_timeout: Duration::from_mins(5),
        }
    }
}

impl GroupSettings {
    /// The defaults of a broker that stands alone, those of Kafka's quick start: nobody waits for a second member.
    pub fn standalone() -> Self {
        Self {
            initial_rebalance_delay: Duration::ZERO,
            ..Self::default()
        }
    }
}
