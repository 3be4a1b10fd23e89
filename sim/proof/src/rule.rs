//! The rules of METADATA as switches: each can be left out, to see what breaks.

/// One rule, or one clause of it; the number says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// 1: nobody is told a state before its append succeeded.
    CommitThenPublish,
    /// 2: a lost answer is settled by a later successful append, not by a read.
    SettleByAppend,
    /// 6: the hash of the image is checked before a record is acted on.
    OneFold,
    /// 7: a broker takes nothing from a lower controller epoch, and no image at a lower offset.
    NeverBack,
    /// 8: an applied record is on disk before the broker acts on it.
    PersistBeforeActing,
    /// 10: `min.insync.replicas` is read from the image.
    AllFromImage,
    /// 11: the watermark is the minimum over the committed ISR and every outstanding proposal.
    MaximalIsr,
    /// 11: the watermark is frozen below min ISR.
    FrozenWatermark,
    /// 11: the watermark is never assigned lower.
    WatermarkNeverLower,
    /// 12: a proposal ends only by a record with a higher partition epoch.
    ProposalEndsByRecord,
    /// 12: an unchanged ISR is committed too.
    UnchangedIsCommitted,
    /// 13: who joins is at or above the watermark and the epoch's start.
    JoinAtEpochStart,
    /// 13: a fetch counts only in the broker epoch of the image.
    FetchInBrokerEpoch,
    /// 13: the controller compares broker epochs again.
    ControllerComparesEpochs,
    /// 13: no watermark is shown before the epoch's start is committed.
    HiddenBeforeEpochStart,
    /// 14: the leader epoch rises with each change of leader.
    LeaderEpochRises,
    /// 15: only members of ISR, else ELR, are elected.
    ElectMembersOnly,
    /// 16: a registration takes the former incarnation out of every ISR.
    RegistrationLeavesIsr,
    /// 16: one that is not clean leaves the ELR too.
    UncleanLeavesElr,
    /// 16: another directory is never clean.
    DirectoryCompared,
    /// 17: once the whole last known ELR is back, the longest log leads.
    LastKnownElected,
    /// 18: after a restart nothing is led before registration.
    NoResume,
    /// 18: only who has lost nothing follows in the registration of the process before.
    HeirIsWhole,
    /// 18, 21: a process whose registration was replaced leads and follows nothing.
    ReplacedStands,
    /// 24: a log is rebuilt from the images of every broker.
    RebuildFromAll,
    /// 24: rebuilding raises every epoch above any that was seen.
    RebuildRaises,
}

impl Rule {
    /// All of them, in METADATA's order.
    pub const ALL: [Self; 26] = [
        Self::CommitThenPublish,
        Self::SettleByAppend,
        Self::OneFold,
        Self::NeverBack,
        Self::PersistBeforeActing,
        Self::AllFromImage,
        Self::MaximalIsr,
        Self::FrozenWatermark,
        Self::WatermarkNeverLower,
        Self::ProposalEndsByRecord,
        Self::UnchangedIsCommitted,
        Self::JoinAtEpochStart,
        Self::FetchInBrokerEpoch,
        Self::ControllerComparesEpochs,
        Self::HiddenBeforeEpochStart,
        Self::LeaderEpochRises,
        Self::ElectMembersOnly,
        Self::RegistrationLeavesIsr,
        Self::UncleanLeavesElr,
        Self::DirectoryCompared,
        Self::LastKnownElected,
        Self::NoResume,
        Self::HeirIsWhole,
        Self::ReplacedStands,
        Self::RebuildFromAll,
        Self::RebuildRaises,
    ];

    /// The rule's number in METADATA.
    pub fn number(self) -> u8 {
        match self {
            Self::CommitThenPublish => 1,
            Self::SettleByAppend => 2,
            Self::OneFold => 6,
            Self::NeverBack => 7,
            Self::PersistBeforeActing => 8,
            Self::AllFromImage => 10,
            Self::MaximalIsr | Self::FrozenWatermark | Self::WatermarkNeverLower => 11,
            Self::ProposalEndsByRecord | Self::UnchangedIsCommitted => 12,
            Self::JoinAtEpochStart
            | Self::FetchInBrokerEpoch
            | Self::ControllerComparesEpochs
            | Self::HiddenBeforeEpochStart => 13,
            Self::LeaderEpochRises => 14,
            Self::ElectMembersOnly => 15,
            Self::RegistrationLeavesIsr | Self::UncleanLeavesElr | Self::DirectoryCompared => 16,
            Self::LastKnownElected => 17,
            Self::NoResume | Self::HeirIsWhole | Self::ReplacedStands => 18,
            Self::RebuildFromAll | Self::RebuildRaises => 24,
        }
    }
}

/// Which rules are obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules(u32);

impl Rules {
    /// All of them.
    pub const ALL: Self = Self(u32::MAX);

    /// Without one.
    #[must_use]
    pub fn without(self, rule: Rule) -> Self {
        Self(self.0 & !(1 << rule as u32))
    }

    /// Is it obeyed?
    pub fn obey(self, rule: Rule) -> bool {
        self.0 >> (rule as u32) & 1 == 1
    }
}
