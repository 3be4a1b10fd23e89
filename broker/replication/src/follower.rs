//! The follower's view of a partition: whom it fetches from, and what hinders it.
//!
//! ```text
//!             records          the leader's log departs, or begins later
//!  Fetching ---------> Fetching ----------------> Truncating ---> Fetching
//!      \                                               |
//!       `-- refused, or the log cannot: Waiting -------'--> Fetching, after a while
//! ```
//!
//! Always: the watermark never goes back, and nothing below it is cut (METADATA 11).

use std::time::Duration;

use broker_log::{AppendError, LogError};
use model::{BrokerId, LeaderEpoch};
use protocol::ErrorCode;

/// How long after the first attempt in vain the next one comes; a new leader may hear of its office a moment later than its
/// followers. Doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// The longest wait between two attempts (Kafka's `replica.fetch.backoff.ms`).
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What a replica knows while it does not lead.
#[derive(Debug)]
pub struct FollowerState {
    high_watermark: i64,
    /// A record says that the leader may lack committed records, and nothing of its epoch is here yet: what it lacks is
    /// given up, even below the watermark.
    gives_up: bool,
    /// `None` while nobody leads, or nobody that this replica may believe in.
    following: Option<Following>,
}

/// Whom it follows, and how that goes.
#[derive(Debug)]
struct Following {
    leader: BrokerId,
    leader_epoch: LeaderEpoch,
    phase: Phase,
    /// Attempts in vain since something was fetched.
    failures: u32,
    /// As the leader said last.
    leader_high_watermark: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fetching,
    Truncating(Truncation),
    Waiting { until: Duration },
}

/// What has to go before the next fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// The end from this offset on.
    To(i64),
    /// Everything; the log begins anew at this offset.
    StartAt(i64),
}

/// Why an attempt was in vain.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FollowError {
    /// The leader refuses. It, or this broker, may be a record of the metadata behind.
    #[error("the leader answers {0}")]
    Refused(ErrorCode),
    /// What the leader has contradicts what was committed. Nothing is cut, and somebody has to look at it.
    #[error(
        "the leader's log departs from offset {wanted} on, but everything below {high_watermark} was committed: \
         nothing is given up"
    )]
    BelowHighWatermark {
        /// Where the log would have to end.
        wanted: i64,
        /// The watermark here.
        high_watermark: i64,
    },
    /// The leader sent bytes of which nothing can be appended yet.
    #[error("the leader sent {0} bytes, and no whole batch of an epoch that is known here")]
    NoWholeBatch(usize),
    /// What came does not fit, or could not be stored.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log could not be cut.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl FollowerState {
    /// Everything before `high_watermark` is known to be committed; nobody is followed.
    pub(crate) fn new(high_watermark: i64) -> Self {
        Self {
            high_watermark,
            gives_up: false,
            following: None,
        }
    }

    /// Follows this leader from now on; false if it does already. What was amiss with another one is forgotten.
    pub(crate) fn follow(&mut self, leader: BrokerId, leader_epoch: LeaderEpoch) -> bool {
        if self.leader() == Some((leader, leader_epoch)) {
            return false;
        }
        self.following = Some(Following {
            leader,
            leader_epoch,
            phase: Phase::Fetching,
            failures: 0,
            leader_high_watermark: None,
        });
        true
    }

    /// A record says that this or an earlier leader may lack committed records, and its log counts (METADATA 11).
    pub(crate) fn give_up(&mut self) {
        self.gives_up = true;
    }

    /// Everything before it is committed.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Whom it follows, in which epoch.
    pub fn leader(&self) -> Option<(BrokerId, LeaderEpoch)> {
        self.following
            .as_ref()
            .map(|following| (following.leader, following.leader_epoch))
    }

    /// How many committed records are still to be fetched, as far as is known, by a log that ends at `log_end_offset`.
    pub fn lag(&self, log_end_offset: i64) -> Option<i64> {
        let leaders = self.following.as_ref()?.leader_high_watermark?;
        Some(leaders.saturating_sub(log_end_offset).max(0))
    }

    /// When it fetches again, if it waits.
    pub fn waits_until(&self) -> Option<Duration> {
        match self.following.as_ref()?.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Fetching | Phase::Truncating(_) => None,
        }
    }

    /// What has to go before it can fetch.
    pub fn truncation(&self) -> Option<Truncation> {
        match self.following.as_ref()?.phase {
            Phase::Truncating(truncation) => Some(truncation),
            Phase::Fetching | Phase::Waiting { .. } => None,
        }
    }

    /// Whom to ask now, if anybody.
    pub(crate) fn asks(&self, now: Duration) -> Option<(BrokerId, LeaderEpoch)> {
        let following = self.following.as_ref()?;
        let ready = match following.phase {
            Phase::Fetching => true,
            Phase::Waiting { until } => until <= now,
            Phase::Truncating(_) => false,
        };
        ready.then_some((following.leader, following.leader_epoch))
    }

    /// Something was fetched from the leader, and the log ends at `log_end_offset` now; true if the watermark moved.
    pub(crate) fn advanced(&mut self, leader_high_watermark: i64, log_end_offset: i64) -> bool {
        if let Some(following) = &mut self.following {
            following.phase = Phase::Fetching;
            following.failures = 0;
            following.leader_high_watermark = Some(leader_high_watermark);
        }
        self.gives_up = false;
        let committed = leader_high_watermark.min(log_end_offset);
        // METADATA 11: never assigned lower. A new leader may not know yet what the former one had committed.
        let moved = committed > self.high_watermark;
        if moved {
            self.high_watermark = committed;
        }
        moved
    }

    /// The log must be cut before anything more is fetched, so says the leader.
    // METADATA 11: never below the watermark, unless a record says that the election was unclean.
    pub(crate) fn must_truncate(&mut self, truncation: Truncation) -> Result<(), FollowError> {
        let (Truncation::To(wanted) | Truncation::StartAt(wanted)) = truncation;
        if wanted < self.high_watermark && !self.gives_up {
            return Err(FollowError::BelowHighWatermark {
                wanted,
                high_watermark: self.high_watermark,
            });
        }
        self.begin_truncation(truncation);
        Ok(())
    }

    /// The same for a log that holds no record, so that there is nothing to lose.
    pub(crate) fn begin_truncation(&mut self, truncation: Truncation) {
        if let Some(following) = &mut self.following {
            following.phase = Phase::Truncating(truncation);
        }
    }

    /// What had to go is gone; the log lies from `log_start_offset` to `log_end_offset` now.
    pub(crate) fn truncated(&mut self, log_start_offset: i64, log_end_offset: i64) {
        if self.gives_up {
            self.high_watermark = self.high_watermark.min(log_end_offset);
        }
        // What lies before a log was committed, or nobody would have let it go.
        self.high_watermark = self.high_watermark.max(log_start_offset);
        if let Some(following) = &mut self.following {
            following.phase = Phase::Fetching;
        }
    }

    /// An attempt was in vain. True if it is the first one in a row.
    pub(crate) fn failed(&mut self, now: Duration) -> bool {
        let Some(following) = &mut self.following else {
            return false;
        };
        let wait = FIRST_WAIT * 2_u32.saturating_pow(following.failures.min(10));
        following.phase = Phase::Waiting {
            until: now + wait.min(LONGEST_WAIT),
        };
        following.failures = following.failures.saturating_add(1);
        following.failures == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: BrokerId = BrokerId(1);

    fn following() -> FollowerState {
        let mut state = FollowerState::new(10);
        assert!(state.follow(LEADER, LeaderEpoch(3)));
        state
    }

    #[test]
    fn rule_11_the_watermark_never_goes_back() {
        let mut state = following();
        assert!(!state.advanced(7, 20));
        assert_eq!(state.high_watermark(), 10);
        assert!(state.advanced(15, 12));
        assert_eq!(state.high_watermark(), 12, "never beyond the log");
    }

    #[test]
    fn rule_11_nothing_below_the_watermark_is_cut() {
        let mut state = following();
        for truncation in [Truncation::To(9), Truncation::StartAt(9)] {
            assert!(matches!(
                state.must_truncate(truncation),
                Err(FollowError::BelowHighWatermark {
                    wanted: 9,
                    high_watermark: 10
                })
            ));
            assert_eq!(state.truncation(), None);
        }
        assert!(state.must_truncate(Truncation::To(10)).is_ok());
        assert_eq!(state.truncation(), Some(Truncation::To(10)));
        assert_eq!(state.asks(Duration::ZERO), None, "not before it is done");
    }

    #[test]
    fn rule_11_after_an_unclean_election_the_leaders_log_counts_and_the_watermark_follows_the_cut() {
        let mut state = following();
        state.give_up();
        assert!(state.must_truncate(Truncation::To(6)).is_ok());
        state.truncated(0, 6);
        assert_eq!(state.high_watermark(), 6);
        state.advanced(8, 8);
        assert_eq!(state.high_watermark(), 8);
        assert!(state.must_truncate(Truncation::To(7)).is_err(), "that was all");
    }

    #[test]
    fn attempts_in_vain_are_made_less_and_less_often_until_one_succeeds() {
        let mut state = following();
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for attempt in 0..9 {
            assert_eq!(state.failed(now), attempt == 0);
            let until = state.waits_until().expect("waits");
            assert_eq!(state.asks(now), None);
            waits.push(until.saturating_sub(now).as_millis());
            now = until;
            assert!(state.asks(now).is_some());
        }
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
        state.advanced(10, 10);
        assert!(state.failed(now));
    }

    #[test]
    fn another_leader_is_asked_at_once() {
        let mut state = following();
        state.failed(Duration::ZERO);
        assert!(!state.follow(LEADER, LeaderEpoch(3)), "the same one is waited for");
        assert_eq!(state.asks(Duration::ZERO), None);
        assert!(state.follow(LEADER, LeaderEpoch(4)));
        assert_eq!(state.asks(Duration::ZERO), Some((LEADER, LeaderEpoch(4))));
    }
}
