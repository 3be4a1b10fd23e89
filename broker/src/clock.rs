//! The clocks, read in one place. Cores take the time as a parameter.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, as Kafka's timestamps.
pub fn now_ms() -> i64 {
    // A clock before 1970 is a broken clock; 0 keeps everything working.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_millis() as i64)
}

/// The same clock as [`monotonic_ms`], as a duration since its beginning.
pub fn monotonic() -> Duration {
    Duration::from_millis(monotonic_ms().unsigned_abs())
}

/// Milliseconds of a clock that never goes back, for how long something lasts.
pub fn monotonic_ms() -> i64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_millis() as i64
}
