//! One key with everything that is known of it.

use super::kind::{ConfigKind, Later, invalid};
use super::{ConfigError, MAX_VALUE_LENGTH};

/// A key with everything that is known of it.
#[derive(Debug)]
pub struct ConfigKey {
    /// The name on a topic; for a key of the brokers, its only name.
    pub name: &'static str,
    /// The name of the cluster-wide default of a topic key (Kafka's broker configuration).
    pub cluster_name: &'static str,
    /// Type and range.
    pub kind: ConfigKind,
    /// The value where nobody set one.
    pub default: &'static str,
    /// One or two sentences for a person; units included.
    pub documentation: &'static str,
    /// How the cluster-wide value may change.
    pub update: Update,
    /// Other cluster-wide names of the same thing in a larger unit, each weaker than the one before and than
    /// `cluster_name`.
    pub units: &'static [Unit],
    /// Kafka's other values come with a later version: only the default works.
    pub default_only: bool,
}

/// How the cluster-wide value of a key may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Only with a restart: it stands on the command line or in the Cluster resource (Kafka's read-only).
    Restart,
    /// At any time, for the whole cluster only.
    Cluster,
    /// At any time, for the whole cluster or one broker.
    Broker,
}

/// A key under another name, counted in a larger unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// The name.
    pub name: &'static str,
    /// How many of the key's own unit it counts.
    pub factor: i64,
}

impl ConfigKey {
    /// What most keys of a topic are like.
    pub(super) const TOPIC: Self = Self {
        name: "",
        cluster_name: "",
        kind: ConfigKind::Text,
        default: "",
        documentation: "",
        update: Update::Broker,
        units: &[],
        default_only: false,
    };

    /// What most keys of the brokers are like: read at their start.
    pub(super) const BROKER: Self = Self {
        update: Update::Restart,
        ..Self::TOPIC
    };

    /// Checks a value and gives it back in canonical form.
    pub fn check(&self, value: &str) -> Result<String, ConfigError> {
        self.check_as(self.name, value)
    }

    /// Checks a cluster-wide value and gives it back in canonical form.
    pub fn check_default(&self, value: &str) -> Result<String, ConfigError> {
        self.check_as(self.cluster_name, value)
    }

    /// An error calls the key as it was called.
    fn check_as(&self, name: &'static str, value: &str) -> Result<String, ConfigError> {
        let text = value.trim();
        if text.len() > MAX_VALUE_LENGTH {
            return Err(invalid(name, self.kind, value));
        }
        let not_supported = |supported: String| ConfigError::NotSupported {
            name,
            value: text.to_owned(),
            supported,
        };
        // Where only the default works it may be outside what Kafka calls legal, as an empty list is.
        if self.default_only && text == self.default {
            return Ok(text.to_owned());
        }
        match self.kind.canonical(text) {
            Ok(canonical) if self.default_only && canonical != self.default => {
                Err(not_supported(format!("only the default {:?}", self.default)))
            }
            Ok(canonical) => Ok(canonical),
            Err(Some(Later)) => Err(not_supported(self.kind.supported().unwrap_or_default())),
            Err(None) => Err(invalid(name, self.kind, value)),
        }
    }
}
