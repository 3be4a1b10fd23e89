//! How a member comes from what it has to what it shall have, one answer at a time (KIP-848).
//! Source: Kafka's `CurrentAssignmentBuilder`.
//!
//! A partition changes hands in three steps: its owner is told to give it back, says that it has, and only then may the next
//! have it. No step is skipped, so a partition is never two members' at once.

use crate::consumer_group::ConsumerGroup;
use crate::epoch::Epoch;
use crate::partitions::Partitions;
use crate::records::{CurrentAssignment, MemberState};

/// What the member has after this request, or that it must begin anew. `owned` is what it says it has: `None` if it did not
/// say.
pub(crate) fn reconcile(
    group: &ConsumerGroup,
    current: &CurrentAssignment,
    target: &Partitions,
    owned: Option<&Partitions>,
) -> Result<CurrentAssignment, BeginAnew> {
    let target_epoch = group.assignment_epoch();
    match current.state {
        MemberState::Stable if current.epoch == target_epoch => Ok(current.clone()),
        MemberState::UnrevokedPartitions if still_has(owned, &current.revoking) => Ok(current.clone()),
        MemberState::UnrevokedPartitions => Ok(next(group, current, current.epoch.next(), target, owned)),
        MemberState::Stable | MemberState::UnreleasedPartitions => {
            Ok(next(group, current, current.epoch, target, owned))
        }
        MemberState::Unknown if owned.is_none_or(|owned| !owned.is_empty()) => Err(BeginAnew),
        MemberState::Unknown => Ok(next(group, current, target_epoch, target, owned)),
    }
}

/// A state that this version does not know: only a member that has nothing can go on from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BeginAnew;

/// A member that does not say what it has may have all of it.
fn still_has(owned: Option<&Partitions>, revoking: &Partitions) -> bool {
    owned.is_none_or(|owned| owned.touches(revoking))
}

fn next(
    group: &ConsumerGroup,
    current: &CurrentAssignment,
    epoch: Epoch,
    target: &Partitions,
    owned: Option<&Partitions>,
) -> CurrentAssignment {
    let (mut assigned, revoking) = current.assigned.split(target);
    if !revoking.is_empty() && still_has(owned, &revoking) {
        return CurrentAssignment {
            state: MemberState::UnrevokedPartitions,
            since: current.since.kept(&current.assigned, epoch),
            assigned,
            revoking,
            ..current.at(epoch)
        };
    }
    let (_, missing) = target.split(&assigned);
    let (free, unreleased): (Partitions, Partitions) =
        missing.iter().partition(|(topic, index)| group.is_free(*topic, *index));
    assigned.extend(free.iter());
    CurrentAssignment {
        state: if unreleased.is_empty() {
            MemberState::Stable
        } else {
            MemberState::UnreleasedPartitions
        },
        since: current.since.kept(&assigned, group.assignment_epoch()),
        assigned,
        revoking: Partitions::default(),
        ..current.at(group.assignment_epoch())
    }
}

impl CurrentAssignment {
    /// The same at another epoch; the one before is remembered.
    fn at(&self, epoch: Epoch) -> Self {
        let mut at = self.clone();
        if at.epoch != epoch {
            at.previous_epoch = at.epoch;
            at.epoch = epoch;
        }
        at
    }
}
