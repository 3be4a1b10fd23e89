//! How often the store is written: at once when none was lately, 20 times a second sustained.

use std::time::Duration;

/// Appends a second, sustained: etcd keeps each revision until it compacts.
pub const RATE_PER_SECOND: u32 = 20;

/// A token bucket that holds one second's worth.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// The time at which the bucket would be full if nothing were taken.
    full_at: Duration,
}

impl Bucket {
    const INTERVAL: Duration = Duration::from_millis(1000 / RATE_PER_SECOND as u64);
    const DEPTH: Duration = Duration::from_secs(1);

    pub(crate) fn new() -> Self {
        Self {
            full_at: Duration::ZERO,
        }
    }

    /// Takes a token, or says when there will be one.
    pub(crate) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + Self::INTERVAL;
        if full_at > now + Self::DEPTH {
            return Err(full_at.saturating_sub(Self::DEPTH));
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_bucket_gives_at_once_and_a_busy_one_twenty_a_second() {
        let mut bucket = Bucket::new();
        let mut now = Duration::from_secs(100);
        let mut taken = 0;
        while now < Duration::from_secs(110) {
            match bucket.take(now) {
                Ok(()) => taken += 1,
                Err(wake) => {
                    assert!(wake > now);
                    now = wake;
                }
            }
        }
        assert!((200..=220).contains(&taken), "{taken} in ten seconds");
        assert_eq!(bucket.take(Duration::from_secs(200)), Ok(()));
    }
}
