//! Bugs planted by hand, for tests only: a checker that finds none of them is not worth its time.
//!
//! Each place where a replica takes a precaution asks `seeded_bug!(Name)` whether to forget it; without the feature
//! `seeded-bugs`, which only the simulator's tests turn on, that is the constant `false`.

#[cfg(feature = "seeded-bugs")]
macro_rules! seeded_bug {
    ($bug:ident) => {
        crate::seeded::is_active(crate::seeded::Bug::$bug)
    };
}

#[cfg(not(feature = "seeded-bugs"))]
macro_rules! seeded_bug {
    ($bug:ident) => {
        false
    };
}

pub(crate) use seeded_bug;

#[cfg(feature = "seeded-bugs")]
pub(crate) use bugs::is_active;
#[cfg(feature = "seeded-bugs")]
pub use bugs::{Bug, with};

#[cfg(feature = "seeded-bugs")]
mod bugs {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    /// A precaution that can be forgotten.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Bug {
        /// `acks=all` is answered when the leader has appended.
        AcknowledgedByLeader,
        /// The watermark is that of the committed ISR, without those that were proposed (against METADATA 11).
        WatermarkOfCommittedIsr,
        /// The watermark moves while the ISR is below the minimum (against METADATA 11).
        WatermarkMovesBelowMinIsr,
        /// The watermark is assigned what the ISR has, even if that is less (against METADATA 11).
        WatermarkAssigned,
        /// A watermark is shown before the epoch's start is committed (against METADATA 13).
        ShownBeforeEpochStart,
        /// Whoever is not fenced is proposed, whether it fetches or not (against METADATA 13).
        DeadFollowerProposed,
        /// A follower joins that has not all that is committed (against METADATA 13).
        JoinsBelowWatermark,
        /// What a former registration of a broker fetched counts for the present one (against METADATA 13).
        OldRegistrationCounts,
        /// A fetch is served in whatever leader epoch it believes.
        FetchOfAnyEpochServed,
        /// An answer is taken in whatever leader epoch it was asked for.
        AnswerOfAnyEpochTaken,
        /// An answer is taken wherever the log ends meanwhile.
        AnswerFromBeforeACutTaken,
        /// A follower cuts its log to its watermark, not to where it departs (before KIP-101).
        TruncatedToWatermark,
        /// A leader does not look where the follower's log departs from its own.
        DivergenceNotSeen,
        /// An error answer ends a proposal (against METADATA 12).
        ProposalEndedByAnswer,
    }

    thread_local! {
        static ACTIVE: RefCell<BTreeSet<Bug>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(crate) fn is_active(bug: Bug) -> bool {
        ACTIVE.with_borrow(|active| active.contains(&bug))
    }

    /// Runs `body` on this thread in a world with these bugs.
    pub fn with<T>(bugs: &[Bug], body: impl FnOnce() -> T) -> T {
        let before = ACTIVE.replace(bugs.iter().copied().collect());
        let result = body();
        ACTIVE.set(before);
        result
    }
}
