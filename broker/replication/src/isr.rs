//! The in-sync replicas, committed and proposed.
//!
//! A leader may propose another set to the controller. From then until a record with a higher partition epoch arrives
//! nobody knows which set holds, so everything that must be safe is computed over their union, the *maximal* ISR.

use model::{BrokerId, IsrMember, LeaderEpoch, PartitionEpoch};

/// What a leader wants the controller to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrProposed {
    /// The epoch in which it leads.
    pub leader_epoch: LeaderEpoch,
    /// The partition's epoch that it rests on.
    pub partition_epoch: PartitionEpoch,
    /// All in-sync replicas, the leader among them, by the registrations that fetched.
    pub isr: Vec<IsrMember>,
}

/// The committed set and the proposals in doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IsrState {
    /// Nothing is under way.
    Committed {
        /// The set of the record.
        isr: Vec<BrokerId>,
    },
    /// A set with a new member was proposed at the current partition epoch.
    PendingExpandIsr {
        /// The set of the record.
        isr: Vec<BrokerId>,
        /// Members of any outstanding proposal that the record does not name.
        joining: Vec<BrokerId>,
    },
    /// A set without a member was proposed at the current partition epoch. The leavers still count.
    PendingShrinkIsr {
        /// The set of the record.
        isr: Vec<BrokerId>,
        /// Members of any outstanding proposal that the record does not name.
        joining: Vec<BrokerId>,
    },
}

impl IsrState {
    /// As a record says.
    pub fn committed(isr: Vec<BrokerId>) -> Self {
        Self::Committed { isr }
    }

    /// The set of the last record.
    pub fn isr(&self) -> &[BrokerId] {
        match self {
            Self::Committed { isr } | Self::PendingExpandIsr { isr, .. } | Self::PendingShrinkIsr { isr, .. } => isr,
        }
    }

    /// Every broker that may be in sync now: the committed set and each outstanding proposal.
    pub fn maximal_isr(&self) -> impl Iterator<Item = BrokerId> {
        let joining: &[BrokerId] = match self {
            Self::Committed { .. } => &[],
            Self::PendingExpandIsr { joining, .. } | Self::PendingShrinkIsr { joining, .. } => joining,
        };
        self.isr().iter().chain(joining).copied()
    }

    /// A proposal goes out. Earlier ones stay in doubt and stay counted.
    // METADATA 12: in doubt the leader proposes again and keeps the union of all outstanding proposals.
    #[must_use]
    pub fn proposed(self, proposal: &[BrokerId]) -> Self {
        let shrinks = self.isr().iter().any(|member| !proposal.contains(member));
        let (isr, mut joining) = match self {
            Self::Committed { isr } => (isr, Vec::new()),
            Self::PendingExpandIsr { isr, joining } | Self::PendingShrinkIsr { isr, joining } => (isr, joining),
        };
        for member in proposal {
            if !isr.contains(member) && !joining.contains(member) {
                joining.push(*member);
            }
        }
        if shrinks {
            Self::PendingShrinkIsr { isr, joining }
        } else {
            Self::PendingExpandIsr { isr, joining }
        }
    }

    /// A record arrived. Proposals end only here, and only by a higher partition epoch.
    // METADATA 12: never by an error answer or a timeout.
    #[must_use]
    pub fn recorded(self, known: PartitionEpoch, record: PartitionEpoch, isr: &[BrokerId]) -> Self {
        if record > known {
            Self::committed(isr.to_vec())
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: BrokerId = BrokerId(0);
    const B: BrokerId = BrokerId(1);
    const C: BrokerId = BrokerId(2);

    fn maximal(state: &IsrState) -> Vec<BrokerId> {
        state.maximal_isr().collect()
    }

    #[test]
    fn a_shrink_in_doubt_still_counts_the_leaver() {
        let state = IsrState::committed(vec![A, B]).proposed(&[A]);
        assert!(matches!(state, IsrState::PendingShrinkIsr { .. }));
        assert_eq!(maximal(&state), vec![A, B]);
    }

    #[test]
    fn two_proposals_in_doubt_are_united() {
        let state = IsrState::committed(vec![A]).proposed(&[A, B]).proposed(&[A, C]);
        assert_eq!(maximal(&state), vec![A, B, C]);
    }

    #[test]
    fn rule_12_only_a_record_of_a_higher_partition_epoch_ends_a_proposal() {
        let state = IsrState::committed(vec![A]).proposed(&[A, B]);
        let same = state.clone().recorded(PartitionEpoch(3), PartitionEpoch(3), &[A]);
        assert_eq!(same, state);
        let higher = state.recorded(PartitionEpoch(3), PartitionEpoch(4), &[A]);
        assert_eq!(higher, IsrState::committed(vec![A]));
    }
}
