//! Feature levels that this binary knows.

use model::image::{BARNABAS_VERSION, KNOWN_LEVELS};

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
/// 3.3-IV3, the first that production clusters had, to 4.1-IV1.
pub const SUPPORTED: [Feature; 2] = [
    Feature {
        name: BARNABAS_VERSION,
        min: *KNOWN_LEVELS.start(),
        max: *KNOWN_LEVELS.end(),
    },
    Feature {
        name: "metadata.version",
        min: 7,
        max: 27,
    },
];
