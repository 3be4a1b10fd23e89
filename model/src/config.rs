//! Configuration keys, typed once: Kafka's names, types, defaults and documentation.
//!
//! The controller validates with these tables, the log and the broker resolve with them, DescribeConfigs lists them. A
//! topic takes each value from its own configuration, else from the broker's, the cluster's (under Kafka's broker-side
//! name) or the command line's, else from the default. What Barnabas does not do yet is refused by name, never accepted
//! and ignored; only settings of a topic that do nothing without it (how to compact, how much of what is tiered stays) are
//! kept as they are, for tools that bring a topic's whole configuration.

mod broker_keys;
mod group_keys;
mod key;
mod kind;
mod layers;
mod resolved;
mod topic_keys;

use std::collections::BTreeMap;

pub use broker_keys::BROKER_KEYS;
pub use group_keys::{GROUP_KEYS, check_group, group_key, group_value, unknown_group_key};
pub use key::{ConfigKey, Unit, Update};
pub use kind::ConfigKind;
pub use layers::{ConfigSource, Layers, Setting};
pub use resolved::{CompressionType, TopicConfig};
pub use topic_keys::TOPIC_KEYS;

/// Values above this length are refused: metadata is kept in memory by every broker.
pub const MAX_VALUE_LENGTH: usize = 4096;

/// Why a key or a value is refused; each is Kafka's `INVALID_CONFIG`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such key.
    #[error("unknown {scope} config {name:?}{hint}")]
    Unknown {
        /// `topic`, `group` or `cluster`.
        scope: &'static str,
        /// The key.
        name: String,
        /// What may have been meant; empty, or beginning with a comma.
        hint: String,
    },
    /// Not of the key's type, or out of range.
    #[error("invalid value {value:?} for config {name}: expected {expected}")]
    Invalid {
        /// The key.
        name: &'static str,
        /// The value.
        value: String,
        /// Type and range.
        expected: String,
    },
    /// Kafka's, but not here yet.
    #[error("config {name}={value} is not supported by this version of Barnabas: supported is {supported}")]
    NotSupported {
        /// The key.
        name: &'static str,
        /// The value.
        value: String,
        /// What works.
        supported: String,
    },
}

/// The topic key of a name.
pub fn topic_key(name: &str) -> Option<&'static ConfigKey> {
    TOPIC_KEYS.iter().find(|key| key.name == name)
}

/// The key that a cluster-wide name sets: a topic default, the same in a larger unit, or a key of the brokers themselves.
pub fn cluster_key(name: &str) -> Option<&'static ConfigKey> {
    cluster_keys().find(|key| key.cluster_name == name)
}

/// Every key with a cluster-wide name: defaults of topics, then keys of the brokers themselves.
pub fn cluster_keys() -> impl Iterator<Item = &'static ConfigKey> {
    TOPIC_KEYS.iter().chain(BROKER_KEYS)
}

/// Checks a topic's configuration; gives it back in canonical form.
pub fn check_topic<'a>(
    entries: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let checked = entries.into_iter().map(|(name, value)| check_topic_entry(name, value));
    let checked = checked.collect::<Result<_, _>>()?;
    check_topic_as_a_whole(&checked)?;
    Ok(checked)
}

/// Checks values of a topic, each of which is right by itself, against each other (Kafka's `LogConfig.validateValues`).
pub fn check_topic_as_a_whole(topic: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    const LEAST: &str = "min.compaction.lag.ms";
    const MOST: &str = "max.compaction.lag.ms";
    let value = |name| topic.get(name).and_then(|value| value.parse::<i64>().ok());
    match (value(LEAST).unwrap_or(0), value(MOST).unwrap_or(i64::MAX)) {
        (least, most) if least > most => Err(ConfigError::Invalid {
            name: LEAST,
            value: least.to_string(),
            expected: format!("no more than {MOST}, which is {most}"),
        }),
        _ => Ok(()),
    }
}

/// Checks one key and value of a topic.
pub fn check_topic_entry(name: &str, value: &str) -> Result<(String, String), ConfigError> {
    match topic_key(name) {
        Some(key) => Ok((key.name.to_owned(), key.check(value)?)),
        None => Err(unknown_topic_key(name)),
    }
}

/// Checks the cluster's configuration; gives it back in canonical form.
pub fn check_cluster<'a>(
    entries: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let checked = entries
        .into_iter()
        .map(|(name, value)| check_cluster_entry(name, value));
    checked.collect()
}

/// Checks one cluster-wide key and value.
pub fn check_cluster_entry(name: &str, value: &str) -> Result<(String, String), ConfigError> {
    match cluster_key(name) {
        Some(key) => Ok((key.cluster_name.to_owned(), key.check_default(value)?)),
        None => Err(unknown_cluster_key(name)),
    }
}

/// The refusal of a name that no topic key has.
pub fn unknown_topic_key(name: &str) -> ConfigError {
    let default_of = |key: &&ConfigKey| key.cluster_name == name || key.units.iter().any(|unit| unit.name == name);
    let hint = match TOPIC_KEYS.iter().find(default_of).or_else(|| cluster_key(name)) {
        Some(key) if topic_key(key.name).is_some() => format!(", on a topic it is called {:?}", key.name),
        Some(_) => ", it belongs to the cluster, not to a topic".to_owned(),
        None => later_hint(name),
    };
    ConfigError::Unknown {
        scope: "topic",
        name: shown(name),
        hint,
    }
}

/// The refusal of a name that no cluster-wide key has.
pub fn unknown_cluster_key(name: &str) -> ConfigError {
    let hint = match topic_key(name) {
        Some(key) => format!(", for the whole cluster it is called {:?}", key.cluster_name),
        None => later_hint(name),
    };
    ConfigError::Unknown {
        scope: "cluster",
        name: shown(name),
        hint,
    }
}

/// The value of a cluster-wide key of its own, such as `num.partitions`.
pub fn cluster_value<'a>(cluster: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let key = cluster_key(name)?;
    Some(cluster.get(name).map_or(key.default, String::as_str))
}

/// What the number of brokers makes the default: from three on, three replicas of which two must have a record. Anything
/// that is set counts over it.
pub fn defaults_of_size(brokers: usize) -> BTreeMap<String, String> {
    if brokers < 3 {
        return BTreeMap::new();
    }
    [
        ("default.replication.factor", "3"),
        ("min.insync.replicas", "2"),
        ("offsets.topic.replication.factor", "3"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Whether a topic's leader may be one that lacks acknowledged records, where nobody else is left.
pub fn unclean_leader_election(cluster: &BTreeMap<String, String>, topic: &BTreeMap<String, String>) -> bool {
    let name = "unclean.leader.election.enable";
    topic.get(name).or_else(|| cluster.get(name)).map(String::as_str) == Some("true")
}

/// Whether a topic itself asks for every record to be on the disk before it is acknowledged, or told to a leader.
pub(crate) fn flushes_each_record(topic: &BTreeMap<String, String>) -> bool {
    topic.get("flush.messages").map(String::as_str) == Some("1")
}

/// The configured `min.insync.replicas` of a topic, at least 1.
pub(crate) fn min_insync_replicas(cluster: &BTreeMap<String, String>, topic: &BTreeMap<String, String>) -> usize {
    let name = "min.insync.replicas";
    let value = topic.get(name).or_else(|| cluster.get(name));
    value.and_then(|value| value.parse().ok()).unwrap_or(1).max(1)
}

fn shown(name: &str) -> String {
    name.chars().take(128).collect()
}

/// Kafka's names for what is not here at all.
fn later_hint(name: &str) -> String {
    const LATER: [&str; 7] = [
        "remote.",
        "ssl.",
        "sasl.",
        "transaction.",
        "transactional.",
        "share.",
        "log.cleaner.",
    ];
    if LATER.iter().any(|part| name.contains(part)) {
        ", this version of Barnabas does not support it".to_owned()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests;
