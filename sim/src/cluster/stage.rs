//! The stages of courses of things that chance alone brings about too rarely.

use model::BrokerId;

use crate::history::Place;

/// Who is what in a course of things around one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cast {
    pub(super) place: Place,
    /// The first replica, which is elected again when it is back.
    pub(super) preferred: BrokerId,
    /// Leads while the preferred one is away.
    pub(super) deputy: BrokerId,
    pub(super) third: BrokerId,
}

/// A course of things around one partition: the preferred leader falls and comes back, its deputy has records that it has
/// not, and it is elected again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// Then it falls, and the deputy, which it has told nothing, is elected with all that it had. A fetch of the deputy's
    /// first time arrives, of a follower that was cut since.
    OldLeaderReturns,
    /// Then it falls, and the deputy is elected, which has heard nothing of it. What it answered to the third one arrives
    /// only now.
    OldAnswer,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// A leader falls, and so many more.
    Fall(u32),
    /// A pod loses what it has, and comes back where it cannot fetch.
    ComeBackEmpty(usize),
    /// The preferred leader is back: the deputy gets ahead of it.
    Depart(Course, Cast),
    /// What is under way now arrives late, and the preferred leader is elected.
    Elect(Course, Cast),
    /// The links that do not work from now on.
    Separate(Course, Cast),
    /// The preferred leader falls again.
    FallAgain(Cast),
}
