//! Who leads a partition: a pure function of what its image says, so that every node elects the same broker.

use crate::ids::BrokerId;

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

/// Who may lead a partition.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    /// All replicas, in assignment order.
    pub replicas: &'a [BrokerId],
    /// Those in sync.
    pub isr: &'a [BrokerId],
    /// Those that have all committed records although they are not in sync (KIP-966).
    pub elr: &'a [BrokerId],
}

impl Candidates<'_> {
    /// Elects the first replica in assignment order that is in the ISR, else in the ELR, and eligible (METADATA 15).
    pub fn elect(self, eligible: impl Fn(BrokerId) -> bool) -> Elected {
        let first = |members: &[BrokerId]| {
            let mut preferred = self.replicas.iter().copied();
            preferred.find(|id| members.contains(id) && eligible(*id))
        };
        if let Some(id) = first(self.isr) {
            return Elected::FromIsr(id);
        }
        first(self.elr).map_or(Elected::Nobody, Elected::FromElr)
    }
}
