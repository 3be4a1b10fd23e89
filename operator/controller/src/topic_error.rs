//! Why a topic cannot be as it is wanted.

use model::TopicNameError;
use model::config::ConfigError;
use protocol::ErrorCode;

use crate::effect::Refusal;

/// Why a topic cannot be so: Kafka's error, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TopicError {
    /// Kafka's error.
    pub code: ErrorCode,
    /// What is wrong and what to do.
    pub message: String,
}

impl TopicError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<TopicError> for Refusal {
    fn from(error: TopicError) -> Self {
        Self::Kafka {
            code: error.code,
            message: error.message,
        }
    }
}

impl From<Refusal> for TopicError {
    /// For a response that has an error for each topic. What may be tried again gets an error that clients try again.
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Kafka { code, message } => Self::new(code, message),
            Refusal::LogFull | Refusal::Pending(_) => Self::new(ErrorCode::ThrottlingQuotaExceeded, message),
            Refusal::NotReady => Self::new(ErrorCode::NotController, message),
            _ => Self::new(ErrorCode::UnknownServerError, message),
        }
    }
}

impl From<TopicNameError> for TopicError {
    fn from(cause: TopicNameError) -> Self {
        Self::new(ErrorCode::InvalidTopicException, cause.to_string())
    }
}

impl From<ConfigError> for TopicError {
    fn from(cause: ConfigError) -> Self {
        Self::new(ErrorCode::InvalidConfig, cause.to_string())
    }
}
