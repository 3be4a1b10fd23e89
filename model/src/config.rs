//! Configuration keys, typed once: Kafka's names, types, defaults and documentation.
//!
//! The controller validates with this table, the log and the broker resolve with it, DescribeConfigs lists it. A topic
//! takes each value from its own configuration, else from the cluster's (under Kafka's broker-side name), else from the
//! default. What Barnabas does not do yet is refused by name, never accepted and ignored.

mod keys;

use std::collections::BTreeMap;

pub use keys::{CLUSTER_KEYS, TOPIC_KEYS};

/// Values above this length are refused: metadata is kept in memory by every broker.
pub const MAX_VALUE_LENGTH: usize = 4096;

/// A key with everything that is known of it.
#[derive(Debug)]
pub struct ConfigKey {
    /// The name on a topic; for a cluster-wide key, its only name.
    pub name: &'static str,
    /// The name of the cluster-wide default of a topic key (Kafka's broker configuration).
    pub cluster_name: &'static str,
    /// Type and range.
    pub kind: ConfigKind,
    /// The value where nobody set one.
    pub default: &'static str,
    /// One or two sentences for a person; units included.
    pub documentation: &'static str,
}

/// Type and range of a value; ranges include both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ConfigKind {
    /// Kafka's INT.
    Int(i32, i32),
    /// Kafka's LONG.
    Long(i64, i64),
    /// Kafka's DOUBLE.
    Double(f64, f64),
    /// `true` or `false`.
    Boolean,
    /// One of the words. Only those of the first list work today; those of the second are Kafka's, refused by name.
    Choice(&'static [&'static str], &'static [&'static str]),
}

/// Where a resolved value comes from, most specific first (Kafka's `ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on the cluster.
    Cluster,
    /// Set by nobody.
    Default,
}

/// Why a key or a value is refused; each is Kafka's `INVALID_CONFIG`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such key.
    #[error("unknown {scope} config {name:?}{hint}")]
    Unknown {
        /// `topic` or `cluster`.
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

impl ConfigKey {
    /// Checks a value and gives it back in canonical form.
    pub fn check(&self, value: &str) -> Result<String, ConfigError> {
        let text = value.trim();
        let invalid = || ConfigError::Invalid {
            name: self.name,
            value: value.chars().take(128).collect(),
            expected: self.kind.expectation(),
        };
        if text.len() > MAX_VALUE_LENGTH {
            return Err(invalid());
        }
        match self.kind {
            ConfigKind::Int(min, max) => text
                .parse::<i32>()
                .ok()
                .filter(|n| (min..=max).contains(n))
                .map(|n| n.to_string())
                .ok_or_else(invalid),
            ConfigKind::Long(min, max) => text
                .parse::<i64>()
                .ok()
                .filter(|n| (min..=max).contains(n))
                .map(|n| n.to_string())
                .ok_or_else(invalid),
            ConfigKind::Double(min, max) => {
                let number = text.parse::<f64>().ok().filter(|n| (min..=max).contains(n));
                number.map(|_| text.to_owned()).ok_or_else(invalid)
            }
            ConfigKind::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" => Ok("true".to_owned()),
                "false" => Ok("false".to_owned()),
                _ => Err(invalid()),
            },
            ConfigKind::Choice(supported, later) => {
                if supported.contains(&text) {
                    return Ok(text.to_owned());
                }
                // A list such as `compact,delete` is known by its words.
                if !text.is_empty()
                    && text
                        .split(',')
                        .all(|w| later.contains(&w.trim()) || supported.contains(&w.trim()))
                {
                    return Err(ConfigError::NotSupported {
                        name: self.name,
                        value: text.to_owned(),
                        supported: supported.join(" or "),
                    });
                }
                Err(invalid())
            }
        }
    }

    /// The value that counts for a topic, and where it comes from.
    pub fn value<'a>(
        &self,
        cluster: &'a BTreeMap<String, String>,
        topic: &'a BTreeMap<String, String>,
    ) -> (&'a str, ConfigSource) {
        if let Some(value) = topic.get(self.name) {
            return (value, ConfigSource::Topic);
        }
        match cluster.get(self.cluster_name) {
            Some(value) => (value, ConfigSource::Cluster),
            None => (self.default, ConfigSource::Default),
        }
    }
}

impl ConfigKind {
    fn expectation(self) -> String {
        match self {
            Self::Int(min, i32::MAX) => format!("an integer of at least {min}"),
            Self::Int(min, max) => format!("an integer from {min} to {max}"),
            Self::Long(min, i64::MAX) => format!("an integer of at least {min}"),
            Self::Long(min, max) => format!("an integer from {min} to {max}"),
            Self::Double(min, max) => format!("a number from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Choice(supported, _) => supported.join(" or "),
        }
    }
}

/// The topic key of a name.
pub fn topic_key(name: &str) -> Option<&'static ConfigKey> {
    TOPIC_KEYS.iter().find(|key| key.name == name)
}

/// The key that a cluster-wide name sets: a topic default or a key of the cluster itself.
pub fn cluster_key(name: &str) -> Option<&'static ConfigKey> {
    TOPIC_KEYS
        .iter()
        .chain(CLUSTER_KEYS)
        .find(|key| key.cluster_name == name)
}

/// Checks a topic's configuration; gives it back in canonical form.
pub fn check_topic<'a>(
    entries: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let checked = entries.into_iter().map(|(name, value)| check_topic_entry(name, value));
    checked.collect()
}

/// Checks one key and value of a topic.
pub fn check_topic_entry(name: &str, value: &str) -> Result<(String, String), ConfigError> {
    match topic_key(name) {
        Some(key) => Ok((key.name.to_owned(), key.check(value)?)),
        None => Err(ConfigError::Unknown {
            scope: "topic",
            name: shown(name),
            hint: topic_hint(name),
        }),
    }
}

/// Checks the cluster's configuration; gives it back in canonical form.
pub fn check_cluster<'a>(
    entries: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let checked = entries.into_iter().map(|(name, value)| match cluster_key(name) {
        Some(key) => Ok((key.cluster_name.to_owned(), key.check(value)?)),
        None => Err(ConfigError::Unknown {
            scope: "cluster",
            name: shown(name),
            hint: cluster_hint(name),
        }),
    });
    checked.collect()
}

/// The value of a cluster-wide key of its own, such as `num.partitions`.
pub fn cluster_value<'a>(cluster: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let key = cluster_key(name)?;
    Some(cluster.get(name).map_or(key.default, String::as_str))
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

fn topic_hint(name: &str) -> String {
    match cluster_key(name) {
        Some(key) if key.name != name => format!(", on a topic it is called {:?}", key.name),
        Some(_) => ", it belongs to the cluster, not to a topic".to_owned(),
        None => later_hint(name),
    }
}

fn cluster_hint(name: &str) -> String {
    match topic_key(name) {
        Some(key) => format!(", for the whole cluster it is called {:?}", key.cluster_name),
        None => later_hint(name),
    }
}

fn later_hint(name: &str) -> String {
    let later = name.contains("remote.") || name.starts_with("local.retention") || name.contains("throttled.replicas");
    if later {
        ", this version of Barnabas does not support it".to_owned()
    } else {
        String::new()
    }
}

/// A topic's configuration, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// `segment.bytes`: a segment is closed before it grows beyond this.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is closed when its first record is this old.
    pub segment_ms: i64,
    /// `segment.index.bytes`: size of an index.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: bytes of log between two index entries.
    pub index_interval_bytes: u32,
    /// `retention.ms`: -1 keeps for ever.
    pub retention_ms: i64,
    /// `retention.bytes` per partition: -1 knows no limit.
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
            let readable = key.value(cluster, topic).0.parse().ok();
            readable.or_else(|| key.default.parse().ok()).unwrap_or_default()
        };
        let unsigned = |name: &str| u32::try_from(long(name)).unwrap_or_default();
        Self {
            segment_bytes: unsigned("segment.bytes"),
            segment_ms: long("segment.ms"),
            segment_index_bytes: unsigned("segment.index.bytes"),
            index_interval_bytes: unsigned("index.interval.bytes"),
            retention_ms: long("retention.ms"),
            retention_bytes: long("retention.bytes"),
            file_delete_delay_ms: long("file.delete.delay.ms"),
            flush_messages: long("flush.messages"),
            flush_ms: long("flush.ms"),
            max_message_bytes: unsigned("max.message.bytes"),
            min_insync_replicas: min_insync_replicas(cluster, topic),
            message_timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn every_default_is_legal_for_its_own_key() {
        for key in TOPIC_KEYS.iter().chain(CLUSTER_KEYS) {
            assert_eq!(key.check(key.default).as_deref(), Ok(key.default), "{}", key.name);
            assert!(key.documentation.ends_with('.'), "{}", key.name);
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = TOPIC_KEYS.iter().map(|key| key.name).collect();
        let mut cluster: Vec<_> = TOPIC_KEYS
            .iter()
            .chain(CLUSTER_KEYS)
            .map(|key| key.cluster_name)
            .collect();
        names.sort_unstable();
        cluster.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(cluster.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn what_a_later_version_brings_is_refused_by_name() {
        for (name, value) in [
            ("cleanup.policy", "compact"),
            ("cleanup.policy", "compact,delete"),
            ("message.timestamp.type", "LogAppendTime"),
            ("compression.type", "zstd"),
            ("unclean.leader.election.enable", "true"),
        ] {
            let error = check_topic_entry(name, value).expect_err(name);
            assert!(matches!(error, ConfigError::NotSupported { .. }), "{error}");
            assert!(error.to_string().contains(value), "{error}");
        }
    }

    #[test]
    fn refusals_are_sentences_that_say_what_to_do() {
        let text = |name: &str, value: &str| check_topic_entry(name, value).expect_err(name).to_string();
        assert_eq!(
            text("retention.ms", "a week"),
            "invalid value \"a week\" for config retention.ms: expected an integer of at least -1"
        );
        assert_eq!(
            text("segment.bytes", "3"),
            "invalid value \"3\" for config segment.bytes: expected an integer of at least 1048576"
        );
        assert_eq!(
            text("log.retention.ms", "1"),
            "unknown topic config \"log.retention.ms\", on a topic it is called \"retention.ms\""
        );
        assert_eq!(
            text("num.partitions", "1"),
            "unknown topic config \"num.partitions\", it belongs to the cluster, not to a topic"
        );
        assert_eq!(
            text("remote.storage.enable", "true"),
            "unknown topic config \"remote.storage.enable\", this version of Barnabas does not support it"
        );
        assert_eq!(text("retentoin.ms", "1"), "unknown topic config \"retentoin.ms\"");
        let error = check_cluster(&set(&[("retention.ms", "1")])).expect_err("topic name on the cluster");
        assert_eq!(
            error.to_string(),
            "unknown cluster config \"retention.ms\", for the whole cluster it is called \"log.retention.ms\""
        );
    }

    #[test]
    fn the_topic_wins_over_the_cluster_and_the_cluster_over_the_default() {
        let cluster = set(&[("log.retention.ms", "1000"), ("min.insync.replicas", "2")]);
        let topic = set(&[("retention.ms", "5")]);
        assert_eq!(TopicConfig::resolve(&cluster, &topic).retention_ms, 5);
        assert_eq!(TopicConfig::resolve(&cluster, &set(&[])).retention_ms, 1000);
        assert_eq!(TopicConfig::default().retention_ms, 604_800_000);
        assert_eq!(TopicConfig::resolve(&cluster, &topic).min_insync_replicas, 2);
        let key = topic_key("retention.ms").expect("a topic key");
        assert_eq!(key.value(&cluster, &topic), ("5", ConfigSource::Topic));
        assert_eq!(key.value(&cluster, &set(&[])), ("1000", ConfigSource::Cluster));
    }
}
