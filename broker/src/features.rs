//! Feature levels that this binary knows.

use model::level::{BARNABAS_VERSION, KNOWN_LEVELS};

/// One feature and the levels known, both ends included.
#[derive(Debug, Clone, Copy)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// Lowest level.
    pub min: i16,
    /// Highest level.
    pub max: i16,
}

/// All features. `metadata.version` is Kafka's own, told unchanged so that its tools know which Kafka we resemble: from
/// 3.3-IV3, the first that production clusters had, to 4.1-IV1. `group.version` 1 is the consumer groups of KIP-848.
pub const SUPPORTED: [Feature; 3] = [
    Feature {
        name: BARNABAS_VERSION,
        min: *KNOWN_LEVELS.start(),
        max: *KNOWN_LEVELS.end(),
    },
    Feature {
        name: "group.version",
        min: 0,
        max: 1,
    },
    Feature {
        name: "metadata.version",
        min: 7,
        max: 27,
    },
];
