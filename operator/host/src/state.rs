//! What a hosted controller is doing, and why it ends.

use controller::StepDown;

/// What a hosted controller is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostState {
    /// It reads the log and has nothing to say yet (METADATA 1).
    TakingOver,
    /// Its `ControllerElected` is in the log.
    Leading,
    /// It will never act again. Another try needs another host.
    Ended(Ending),
}

/// Why a controller has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// It was asked to.
    #[error("the controller was shut down")]
    ShutDown,
    /// It stepped down by itself.
    #[error(transparent)]
    SteppedDown(#[from] StepDown),
    /// A broker knows records that the log does not hold, so the log is older than the cluster, or another one: to decide
    /// on would fork its history (METADATA 23). The sentence says what differs.
    #[error("{0}")]
    Regressed(String),
}
