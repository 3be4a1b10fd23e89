//! Where a value comes from: several configurations, one over the other.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{ConfigKey, ConfigKind, Update};

/// Where a value comes from (Kafka's `ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on one broker while it runs.
    Broker,
    /// Set for all brokers while they run.
    Cluster,
    /// Set by the command line, or where only a restart changes it.
    Static,
    /// Set by nobody.
    Default,
    /// Set on one consumer group.
    Group,
}

impl ConfigSource {
    /// Kafka's number.
    pub fn code(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::Broker => 2,
            Self::Cluster => 3,
            Self::Static => 4,
            Self::Default => 5,
            Self::Group => 8,
        }
    }
}

/// Configurations by name, the more specific hiding the less specific.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// The topic's own, by topic names; the others are by cluster-wide names.
    pub topic: &'a BTreeMap<String, String>,
    /// One broker's own.
    pub broker: &'a BTreeMap<String, String>,
    /// The cluster's, changed while it runs.
    pub cluster: &'a BTreeMap<String, String>,
    /// The command line's.
    pub fixed: &'a BTreeMap<String, String>,
}

/// A key as somebody set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting<'a> {
    /// The name under which it was set.
    pub name: &'static str,
    /// The value as written, in the unit of that name.
    pub value: &'a str,
    /// By whom.
    pub source: ConfigSource,
    /// How many of the key's unit the value counts.
    factor: i64,
}

impl<'a> Setting<'a> {
    /// The value in the key's own unit.
    pub fn in_own_unit(&self) -> Cow<'a, str> {
        match self.value.parse::<i64>() {
            // Below zero there is no unit: -1 is "for ever" in each.
            Ok(number) if self.factor != 1 && number > 0 => Cow::Owned(number.saturating_mul(self.factor).to_string()),
            _ => Cow::Borrowed(self.value),
        }
    }
}

impl ConfigKey {
    /// All values that were set, the one that counts first, the default, if there is one, last (Kafka's synonyms).
    pub fn settings<'a>(&self, layers: Layers<'a>) -> Vec<Setting<'a>> {
        let topic = layers.topic.get(self.name).map(|value| Setting {
            name: self.name,
            value,
            source: ConfigSource::Topic,
            factor: 1,
        });
        let mut settings: Vec<_> = topic.into_iter().collect();
        let cluster = match self.update {
            // A resource may hold what only a restart changes: it was not changed while the broker ran.
            Update::Restart => ConfigSource::Static,
            Update::Cluster | Update::Broker => ConfigSource::Cluster,
        };
        let sides = [
            (layers.broker, ConfigSource::Broker),
            (layers.cluster, cluster),
            (layers.fixed, ConfigSource::Static),
        ];
        for (config, source) in sides {
            for (name, factor) in self.cluster_names() {
                settings.extend(config.get(name).map(|value| Setting {
                    name,
                    value,
                    source,
                    factor,
                }));
            }
        }
        // A number without a default is simply not set.
        let absent = self.default.is_empty() && matches!(self.kind, ConfigKind::Int(..) | ConfigKind::Long(..));
        settings.extend((!absent).then_some(Setting {
            name: self.cluster_name,
            value: self.default,
            source: ConfigSource::Default,
            factor: 1,
        }));
        settings
    }

    /// The value that counts for a topic, in the key's own unit; `cluster` holds whatever was set beyond the topic.
    pub(crate) fn value<'a>(
        &self,
        cluster: &'a BTreeMap<String, String>,
        topic: &'a BTreeMap<String, String>,
    ) -> Cow<'a, str> {
        if let Some(value) = topic.get(self.name) {
            return Cow::Borrowed(value);
        }
        for (name, factor) in self.cluster_names() {
            if let Some(value) = cluster.get(name) {
                let setting = Setting {
                    name,
                    value,
                    source: ConfigSource::Cluster,
                    factor,
                };
                return setting.in_own_unit();
            }
        }
        Cow::Borrowed(self.default)
    }

    fn cluster_names(&self) -> impl Iterator<Item = (&'static str, i64)> {
        let units = self.units.iter().map(|unit| (unit.name, unit.factor));
        std::iter::once((self.cluster_name, 1)).chain(units)
    }
}
