//! How the metadata log is folded: its level, finalized in the log itself.

/// The feature that says how `apply` works (METADATA 9).
pub const BARNABAS_VERSION: &str = "barnabas.version";

/// Which `barnabas.version` levels this build can apply.
///
/// Level 1 was that of builds before the first release. It lost records where `min.insync.replicas` was lowered, so nothing
/// goes on at it: a log of that level is refused in words.
pub const KNOWN_LEVELS: std::ops::RangeInclusive<i16> = 2..=2;
