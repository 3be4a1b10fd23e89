//! How long to wait before the next try.

use std::time::Duration;

/// The shortest wait between two tries.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST: Duration = Duration::from_secs(2);

/// Waits of 100 ms to 2 s that grow and scatter, so that the brokers of a cluster do not
/// all knock at the same moment when their controller comes back.
#[derive(Debug, Clone)]
pub struct Jitter {
    state: u64,
    previous: Duration,
}

impl Jitter {
    /// Seeded by something that differs between processes, such as the incarnation id.
    pub fn seeded(seed: u128) -> Self {
        Self {
            state: (seed as u64) ^ ((seed >> 64) as u64),
            previous: SHORTEST,
        }
    }

    /// The next wait: between 100 ms and three times the one before, at most 2 s.
    pub fn next_wait(&mut self) -> Duration {
        let ceiling = (self.previous * 3).min(LONGEST);
        let span = ceiling.saturating_sub(SHORTEST).as_millis() as u64;
        let wait = SHORTEST + Duration::from_millis(self.next_random() % (span + 1));
        self.previous = wait;
        wait
    }

    /// Forgets past failures: the next wait is short again.
    pub fn succeeded(&mut self) {
        self.previous = SHORTEST;
    }

    // SplitMix64: scatter is all that is needed, and any seed will do.
    fn next_random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_within_their_bounds_and_differ_between_processes() {
        let waits = |seed| {
            let mut jitter = Jitter::seeded(seed);
            (0..200).map(|_| jitter.next_wait()).collect::<Vec<_>>()
        };
        let (one, other) = (waits(1), waits(2));
        assert!(one.iter().chain(&other).all(|wait| (SHORTEST..=LONGEST).contains(wait)));
        assert_ne!(one, other);
        assert!(one.iter().any(|wait| *wait > Duration::from_secs(1)), "the waits grow");
    }

    #[test]
    fn after_a_success_the_next_wait_is_short_again() {
        let mut jitter = Jitter::seeded(7);
        for _ in 0..50 {
            jitter.next_wait();
        }
        jitter.succeeded();
        assert!(jitter.next_wait() <= SHORTEST * 3);
    }
}
