//! The wall clock, read in one place. Cores take the time as a parameter.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, as Kafka's timestamps.
pub fn now_ms() -> i64 {
    // A clock before 1970 is a broken clock; 0 keeps everything working.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_millis() as i64)
}
