//! How much of each thing may happen: what makes a search finite.

/// What is left of each kind of event. Part of the state: two states with different futures are different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Bounds {
    /// Partitions.
    pub partitions: u8,
    /// Replicas of each, from broker 0 on; 0 stands for all three.
    pub replicas: u8,
    /// `min.insync.replicas` at first; 0 stands for 2.
    pub min_isr: u8,
    /// Fetches and their answers take time, are lost and overtaken; otherwise each is one step.
    pub delayed_fetch: bool,
    /// Broker 2 folds otherwise.
    pub backwards: bool,
    /// Records that clients send.
    pub records: u8,
    /// `kill -9` of a broker; the page cache survives.
    pub kills: u8,
    /// Power losses: any end of the log may be gone.
    pub power_losses: u8,
    /// Volumes lost.
    pub wipes: u8,
    /// Fencing of brokers that may well live.
    pub fences: u8,
    /// Takeovers by another controller, and crashes of one.
    pub takeovers: u8,
    /// Waits given up.
    pub timeouts: u8,
    /// Messages or answers lost.
    pub losses: u8,
    /// Changes of the ISR proposed by leaders.
    pub proposals: u8,
    /// Controlled shutdowns.
    pub shutdowns: u8,
    /// Changes of `min.insync.replicas`.
    pub min_isr_changes: u8,
    /// Changes of the replicas.
    pub reassignments: u8,
    /// Second processes of broker 2, with an empty directory.
    pub duplicates: u8,
    /// Losses of the log's object, followed by rebuilding.
    pub rebuilds: u8,
}

impl Bounds {
    /// Nothing happens.
    pub const NONE: Self = Self {
        partitions: 0,
        replicas: 0,
        min_isr: 0,
        delayed_fetch: false,
        backwards: false,
        records: 0,
        kills: 0,
        power_losses: 0,
        wipes: 0,
        fences: 0,
        takeovers: 0,
        timeouts: 0,
        losses: 0,
        proposals: 0,
        shutdowns: 0,
        min_isr_changes: 0,
        reassignments: 0,
        duplicates: 0,
        rebuilds: 0,
    };

    /// Everything a little: for random walks.
    pub const WALK: Self = Self {
        partitions: 1,
        replicas: 3,
        min_isr: 2,
        delayed_fetch: true,
        records: 4,
        kills: 2,
        power_losses: 1,
        fences: 2,
        takeovers: 3,
        timeouts: 2,
        losses: 3,
        proposals: 4,
        shutdowns: 1,
        ..Self::NONE
    };
}
