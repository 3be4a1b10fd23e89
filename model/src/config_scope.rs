//! Whose configuration is meant.

use serde::{Deserialize, Serialize};

use crate::ids::{BrokerId, GroupName, TopicId};

/// Whose configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConfigScope {
    /// Defaults for the whole cluster.
    Cluster,
    /// One broker.
    Broker(BrokerId),
    /// One topic.
    Topic(TopicId),
    /// One consumer group, whether or not it has members.
    Group(GroupName),
    /// What the command line says for the whole cluster: weaker than what was changed since.
    Static,
}
