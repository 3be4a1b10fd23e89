//! Why a call to the controller brought no answer.

use std::path::PathBuf;

use crate::convert::ContractError;
use crate::guard::GuardError;
use crate::refusal::Refusal;

/// Why a call to the controller brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The controller said no; the reason says what to do next.
    #[error("the controller refused: {0}")]
    Refused(#[from] Refusal),
    /// Nobody answered in time: try again, the data path does not need it.
    #[error("no controller answered at {target}: {last}")]
    Unreachable {
        /// What was dialled.
        target: String,
        /// How the last try ended.
        last: String,
    },
    /// The peer does not speak this contract, or speaks a later one: stop rather than guess (METADATA 9).
    #[error("the controller's answer is not understood: {0}")]
    Contract(#[from] ContractError),
    /// The stream would lead back in history, or its highest start could not be kept (METADATA 7).
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// Token or CA file: look at the mount.
    #[error("cannot read {what} {path}: {reason}", path = path.display())]
    File {
        /// Token or CA certificate.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The settings cannot work: fix them.
    #[error("control settings: {0}")]
    Settings(String),
}

impl ControlError {
    /// Whether the same call can succeed later without anything done by the caller.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_retriable(),
            // A projected token or CA may be mounted a moment later; after a controller of the past, the next try
            // begins with another address.
            Self::Unreachable { .. }
            | Self::File { .. }
            | Self::Guard(GuardError::Lower { .. } | GuardError::Back { .. }) => true,
            Self::Contract(_) | Self::Guard(_) | Self::Settings(_) => false,
        }
    }
}
