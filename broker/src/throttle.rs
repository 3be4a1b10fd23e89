//! How fast replicas are copied that are not in sync, where `kafka-reassign-partitions --throttle` asks for a limit.
//!
//! Goals: what is copied in a second stays near the rate over any few seconds; a replica that is in sync is never slowed
//! down, because writes wait for it; nothing is asked for, or answered, only to be thrown away.
//!
//! Constraints: an answer is taken whole. It may exceed what is left of the rate, and the time for it is waited afterwards.
//!
//! Algorithm: bytes push a moment ahead of the clock by the time that they may take (GCRA). While that moment lies in the
//! future the throttle is exceeded; an idle throttle saves up no more than [`BURST`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::{BrokerId, PartitionIndex};
use parking_lot::Mutex;

/// What a throttle that was idle may give at once, as the time that it would take.
const BURST: Duration = Duration::from_secs(1);

/// How long a rate of nothing is left alone before it is looked at again.
const NEVER_YET: Duration = Duration::from_secs(1);

/// Both throttles of a broker: for what its leaders give, and for what its followers take.
#[derive(Debug, Default)]
pub struct Throttles {
    /// `leader.replication.throttled.rate`.
    pub leaders: Throttle,
    /// `follower.replication.throttled.rate`.
    pub followers: Throttle,
}

/// One throttle of a broker.
#[derive(Debug, Default)]
pub struct Throttle {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes a second; [`i64::MAX`] for as much as there is.
    rate: i64,
    /// When what was copied so far is paid for.
    free_at: Duration,
}

impl Default for State {
    fn default() -> Self {
        Self {
            rate: i64::MAX,
            free_at: Duration::ZERO,
        }
    }
}

impl Throttle {
    /// Bytes a second from now on. What was owed at another rate is forgotten.
    pub fn set_rate(&self, rate: i64) {
        let mut state = self.state.lock();
        if state.rate != rate {
            *state = State {
                rate,
                free_at: Duration::ZERO,
            };
        }
    }

    /// Counts what was copied.
    pub fn count(&self, bytes: usize, now: Duration) {
        let mut state = self.state.lock();
        if state.rate == i64::MAX || state.rate == 0 {
            return;
        }
        let nanoseconds = bytes as u128 * Duration::from_secs(1).as_nanos() / u128::from(state.rate.unsigned_abs());
        let takes = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        state.free_at = state.free_at.max(now.saturating_sub(BURST)).saturating_add(takes);
    }

    /// When something may be copied again; `None` if it may now.
    pub fn free_at(&self, now: Duration) -> Option<Duration> {
        let state = self.state.lock();
        if state.rate == 0 {
            return Some(now + NEVER_YET);
        }
        Some(state.free_at).filter(|free| *free > now)
    }
}

/// Which of a broker's throttles slow down a partition.
#[derive(Debug, Default)]
pub struct Throttled {
    /// As its leader, for followers that are not in sync.
    leader: AtomicBool,
    /// As its follower, while it is not in sync.
    follower: AtomicBool,
}

impl Throttled {
    /// Takes what the metadata says. True if it is slowed down as a follower no longer: there is something to fetch at once.
    #[must_use]
    pub fn set(&self, leader: bool, follower: bool) -> bool {
        self.leader.store(leader, Ordering::Relaxed);
        self.follower.swap(follower, Ordering::Relaxed) && !follower
    }

    /// As its leader.
    pub fn as_leader(&self) -> bool {
        self.leader.load(Ordering::Relaxed)
    }

    /// As its follower.
    pub fn as_follower(&self) -> bool {
        self.follower.load(Ordering::Relaxed)
    }
}

/// Whether a topic's setting names a replica: `*`, or `partition:broker` between commas.
pub fn names(replicas: &str, partition: PartitionIndex, broker: BrokerId) -> bool {
    let named = |one: &str| {
        let (at, by) = one.split_once(':')?;
        Some((at.trim().parse::<i32>().ok()?, by.trim().parse::<i32>().ok()?))
    };
    replicas.trim() == "*"
        || replicas
            .split(',')
            .any(|one| named(one) == Some((partition.0, broker.0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn without_a_rate_nothing_is_held_back() {
        let throttle = Throttle::default();
        throttle.count(usize::MAX, ms(5));
        assert_eq!(throttle.free_at(ms(5)), None);
    }

    #[test]
    fn a_rate_of_nothing_holds_everything_back() {
        let throttle = Throttle::default();
        throttle.set_rate(0);
        assert_eq!(throttle.free_at(ms(5)), Some(ms(1005)));
    }

    #[test]
    fn another_rate_forgets_what_was_owed_and_the_same_does_not() {
        let throttle = Throttle::default();
        throttle.set_rate(1);
        throttle.count(1_000_000, ms(2000));
        throttle.set_rate(1);
        assert!(throttle.free_at(ms(3000)).is_some());
        throttle.set_rate(2);
        assert_eq!(throttle.free_at(ms(3000)), None);
    }

    #[test]
    fn replicas_are_named_as_kafka_names_them() {
        let named = |list| names(list, PartitionIndex(1), BrokerId(2));
        assert!(named("*") && named("1:2") && named("0:0,1:2"));
        assert!(!named("") && !named("2:1") && !named("0:2,1:1") && !named("1"));
    }

    proptest! {
        /// Whoever copies whenever it may gets the rate over the whole time, plus one burst and one answer.
        #[test]
        fn no_more_is_copied_than_the_rate_allows_and_not_much_less(
            rate in 1_000_i64..10_000_000,
            answers in prop::collection::vec(1_usize..2_000_000, 1..60),
        ) {
            let throttle = Throttle::default();
            throttle.set_rate(rate);
            let began = Duration::from_secs(100);
            let mut now = began;
            let (mut copied, mut largest) = (0_u128, 0_u128);
            for bytes in answers {
                now = throttle.free_at(now).unwrap_or(now);
                throttle.count(bytes, now);
                copied += bytes as u128;
                largest = largest.max(bytes as u128);
            }
            let allowed = |time: Duration| time.as_nanos() * rate as u128 / Duration::from_secs(1).as_nanos();
            prop_assert!(copied <= allowed(now.saturating_sub(began) + BURST) + largest + 1_000);
            let done = throttle.free_at(now).unwrap_or(now);
            prop_assert!(copied + 1_000 >= allowed(done.saturating_sub(began)));
        }
    }
}
