//! What the coordinator counts.

use std::ops::AddAssign;

/// Counts since a coordinator began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupStats {
    /// OffsetCommit requests that were accepted.
    pub offset_commits: u64,
    /// Offsets that have expired.
    pub offsets_expired: u64,
    /// Generations of classic groups.
    pub classic_rebalances: u64,
    /// Epochs of consumer groups.
    pub consumer_rebalances: u64,
}

impl AddAssign for GroupStats {
    fn add_assign(&mut self, other: Self) {
        self.offset_commits += other.offset_commits;
        self.offsets_expired += other.offsets_expired;
        self.classic_rebalances += other.classic_rebalances;
        self.consumer_rebalances += other.consumer_rebalances;
    }
}
