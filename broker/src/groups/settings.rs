//! The settings of the coordinator, out of the cluster's configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_groups::{GroupSettings, MigrationPolicy, OwnConsumerSettings, OwnSettings};
use model::{MetadataImage, config};

/// What the configuration says. It is read when a partition of the offsets topic is loaded: these keys change with a
/// restart.
pub(super) fn settings(configured: &BTreeMap<String, String>) -> GroupSettings {
    let number = |name: &str| -> u64 {
        let value = config::cluster_value(configured, name).and_then(|value| value.parse().ok());
        value.unwrap_or_default()
    };
    let milliseconds = |name: &str| Duration::from_millis(number(name));
    let count = |name: &str| usize::try_from(number(name)).unwrap_or(usize::MAX);
    let policy = config::cluster_value(configured, "group.consumer.migration.policy");
    GroupSettings {
        min_session_timeout: milliseconds("group.min.session.timeout.ms"),
        max_session_timeout: milliseconds("group.max.session.timeout.ms"),
        initial_rebalance_delay: milliseconds("group.initial.rebalance.delay.ms"),
        max_size: count("group.max.size"),
        consumer_session_timeout: milliseconds("group.consumer.session.timeout.ms"),
        consumer_heartbeat_interval: milliseconds("group.consumer.heartbeat.interval.ms"),
        consumer_max_size: count("group.consumer.max.size"),
        migration_policy: policy
            .and_then(MigrationPolicy::of_name)
            .unwrap_or(MigrationPolicy::Bidirectional),
        offset_metadata_max: count("offset.metadata.max.bytes"),
        commit_timeout: milliseconds("offsets.commit.timeout.ms"),
        offsets_retention: Duration::from_secs(60 * number("offsets.retention.minutes")),
        offsets_retention_check_interval: milliseconds("offsets.retention.check.interval.ms"),
        ..GroupSettings::default()
    }
}

/// What single groups have set, as far as it counts for consumers.
pub(super) fn own_settings(image: &MetadataImage) -> OwnSettings {
    let own = |config: &BTreeMap<String, String>| {
        let milliseconds = |name: &str| config.get(name)?.parse().ok().map(Duration::from_millis);
        OwnConsumerSettings {
            session_timeout: milliseconds("consumer.session.timeout.ms"),
            heartbeat_interval: milliseconds("consumer.heartbeat.interval.ms"),
        }
    };
    let groups = image.group_configs().iter();
    groups
        .map(|(group, config)| (group.as_str().to_owned(), own(config)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_table_are_those_of_the_coordinator() {
        let unlimited = i32::MAX as usize;
        let expected = GroupSettings {
            max_size: unlimited,
            consumer_max_size: unlimited,
            ..GroupSettings::default()
        };
        assert_eq!(settings(&BTreeMap::new()), expected);
    }

    #[test]
    fn what_is_configured_counts() {
        let configured = [
            ("group.initial.rebalance.delay.ms", "0"),
            ("group.consumer.migration.policy", "disabled"),
            ("offsets.retention.minutes", "1"),
        ];
        let configured = configured.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let settings = settings(&configured);
        assert_eq!(settings.initial_rebalance_delay, Duration::ZERO);
        assert_eq!(settings.migration_policy, MigrationPolicy::Disabled);
        assert_eq!(settings.offsets_retention, Duration::from_mins(1));
    }
}
