//! What a controller is told when it is made.

use std::time::Duration;

use model::ClusterId;

/// What a controller is told when it is made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who this is, for people and for brokers that look for it (`<pod>_<pod uid>_<ip:port>`).
    pub holder: String,
    /// Fresh random bytes from the operating system, for each controller that is made: ids are drawn from them.
    pub entropy: [u8; 32],
    /// What to do where there is no log.
    pub format: Format,
    /// How brokers are known to live.
    pub witnesses: Witnesses,
    /// A broker is fenced after this long without a sign of life.
    pub fence_after: Duration,
    /// How many brokers the cluster should have. Until so many are unfenced, new topics wait (at most
    /// [`Self::placement_patience`]), so that the first topics are spread over all of them.
    pub expected_brokers: usize,
    /// How long new topics wait for the expected brokers, counted from the first request that has to.
    pub placement_patience: Duration,
}

/// What to do where there is no log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Begin one, with this cluster id or a random one.
    New(Option<ClusterId>),
    /// Something shows that there was one: never begin from empty (METADATA 23).
    Refuse,
}

/// How brokers are known to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witnesses {
    /// Heartbeats and Leases: a broker is silent when both are.
    HeartbeatsAndLeases,
    /// Heartbeats alone, where there are no Leases.
    Heartbeats,
}

impl Settings {
    /// The usual settings of a controller with nothing but heartbeats.
    pub fn new(holder: impl Into<String>, entropy: [u8; 32]) -> Self {
        Self {
            holder: holder.into(),
            entropy,
            format: Format::New(None),
            witnesses: Witnesses::Heartbeats,
            fence_after: Duration::from_secs(9),
            expected_brokers: 1,
            placement_patience: Duration::from_mins(1),
        }
    }
}
