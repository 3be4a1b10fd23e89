//! The epochs of a consumer group (KIP-848).

use std::fmt;

/// A group, its target assignment and each of its members stand at an epoch of one and the same count: the group's grows
/// with every change that asks for a new assignment, the other two follow it. Never negative for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub i32);

impl Epoch {
    /// A member that joins, or begins anew.
    pub const JOIN: Self = Self(0);
    /// A member that leaves for good.
    pub const LEAVE: Self = Self(-1);
    /// A static member that leaves and will come back; its partitions wait for it.
    pub const LEAVE_FOR_NOW: Self = Self(-2);

    /// The next one.
    pub(crate) fn next(self) -> Self {
        // 2^31 rebalances take longer than any group lives: one a second, 68 years.
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
