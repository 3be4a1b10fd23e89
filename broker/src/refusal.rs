//! Why a request does not get what it wants, as the protocol says it.

use broker_log::{AppendError, LogError};
use broker_replication::ReplicaError;
use protocol::error::ErrorCode;

/// Why a request does not get what it wants from a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For the client's program.
    pub code: ErrorCode,
    /// For the client's people; only newer versions carry it.
    pub message: String,
    /// Records of a produced batch that are at fault, by their position in it, each with a sentence.
    pub records: Vec<(i32, String)>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            records: Vec::new(),
        }
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<ReplicaError> for Refusal {
    fn from(error: ReplicaError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<&AppendError> for Refusal {
    fn from(error: &AppendError) -> Self {
        Self {
            records: error.record_errors(),
            ..Self::new(error.code(), error.to_string())
        }
    }
}
