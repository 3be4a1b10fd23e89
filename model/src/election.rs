//! Who leads a partition: a pure function of its image, so that every node elects the same broker.

use crate::ids::BrokerId;
use crate::partition::PartitionImage;

/// The outcome of an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elected {
    /// A member of the ISR.
    FromIsr(BrokerId),
    /// No member of the ISR is eligible, a member of the ELR is; it becomes the ISR (KIP-966).
    FromElr(BrokerId),
    /// Nobody who has all committed records is eligible: the partition waits.
    Nobody,
}

/// Elects the first replica in assignment order that is in the ISR, else in the ELR, and eligible (METADATA 15).
pub fn elect(partition: &PartitionImage, eligible: impl Fn(BrokerId) -> bool) -> Elected {
    let first = |members: &[BrokerId]| {
        let mut preferred = partition.replicas.iter().copied();
        preferred.find(|id| members.contains(id) && eligible(*id))
    };
    if let Some(id) = first(&partition.isr) {
        return Elected::FromIsr(id);
    }
    first(&partition.elr).map_or(Elected::Nobody, Elected::FromElr)
}
