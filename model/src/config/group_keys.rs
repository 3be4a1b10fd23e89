//! The keys of one consumer group. Names, types and defaults are Kafka's (`GroupConfig`), 4.3.

use std::collections::BTreeMap;

use super::ConfigKind::Int;
use super::key::Update;
use super::{ConfigError, ConfigKey, cluster_value};

/// Keys of a group; each follows the brokers' key of its `cluster_name`, and stays within what [`check_group`] asks.
pub const GROUP_KEYS: &[ConfigKey] = &[
    ConfigKey {
        name: "consumer.heartbeat.interval.ms",
        cluster_name: "group.consumer.heartbeat.interval.ms",
        kind: Int(1, i32::MAX),
        default: "5000",
        documentation: "Milliseconds between two heartbeats of a member of the group, where it uses the consumer protocol.",
        update: Update::Restart,
        ..ConfigKey::TOPIC
    },
    ConfigKey {
        name: "consumer.session.timeout.ms",
        cluster_name: "group.consumer.session.timeout.ms",
        kind: Int(1, i32::MAX),
        default: "45000",
        documentation: "Milliseconds after which a silent member leaves the group, where it uses the consumer protocol.",
        update: Update::Restart,
        ..ConfigKey::TOPIC
    },
];

const SESSION: &str = "consumer.session.timeout.ms";
const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";

/// The bounds of each key, by the brokers' names.
const BOUNDS: [(&str, &str, &str); 2] = [
    (
        HEARTBEAT,
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ),
    (
        SESSION,
        "group.consumer.min.session.timeout.ms",
        "group.consumer.max.session.timeout.ms",
    ),
];

/// The key of a group of that name.
pub fn group_key(name: &str) -> Option<&'static ConfigKey> {
    GROUP_KEYS.iter().find(|key| key.name == name)
}

/// A group's value as it counts: its own, else the brokers', else the default.
pub fn group_value(cluster: &BTreeMap<String, String>, group: &BTreeMap<String, String>, name: &str) -> Option<i64> {
    group_key(name)?.value(cluster, group).parse().ok()
}

/// Whether what a group has set makes sense as a whole where the brokers say `cluster` (Kafka's `GroupConfig.validate`).
pub fn check_group(cluster: &BTreeMap<String, String>, group: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let wrong = |name, expected: String| {
        let value = group.get(name).cloned().unwrap_or_default();
        Err(ConfigError::Invalid { name, value, expected })
    };
    let broker = |name| cluster_value(cluster, name).and_then(|value| value.parse::<i64>().ok());
    for (name, min, max) in BOUNDS {
        let Some(value) = group.get(name).and_then(|value| value.parse::<i64>().ok()) else {
            continue;
        };
        if let (Some(least), Some(most)) = (broker(min), broker(max))
            && !(least..=most).contains(&value)
        {
            return wrong(name, format!("{min}={least} to {max}={most}"));
        }
    }
    let own = |name| group_value(cluster, group, name);
    if !group.is_empty() && own(SESSION) <= own(HEARTBEAT) {
        let name = if group.contains_key(SESSION) {
            SESSION
        } else {
            HEARTBEAT
        };
        return wrong(name, format!("{SESSION} above {HEARTBEAT}"));
    }
    Ok(())
}

/// The refusal of a name that no key of a group has.
pub fn unknown_group_key(name: &str) -> ConfigError {
    ConfigError::Unknown {
        scope: "group",
        name: super::shown(name),
        hint: super::later_hint(name),
    }
}
