//! The settings of the coordinator, with Kafka's names and defaults.

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
    /// `offset.metadata.max.bytes`: characters of metadata that a committed offset may carry.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`: how long the offsets of a group without members, or of a topic that no member
    /// subscribes to, are kept.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// How long a new member may wait in its first join before it must ask again (Kafka: five minutes, not a setting).
    /// It has no id yet, so it cannot send heartbeats, and a client that gave up would stay in the group for ever.
    pub new_member_join_timeout: Duration,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_mins(30),
            initial_rebalance_delay: Duration::from_secs(3),
            max_size: usize::MAX,
            offset_metadata_max: 4096,
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
