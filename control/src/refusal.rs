//! What a controller answers when it does not do what it was asked.

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Code, Status};

const REFUSAL: &str = "barnabas-refusal";
const CONTROLLER: &str = "controller";

/// A controller's no. Each reason is one thing that the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What to do next.
    pub reason: Reason,
    /// One sentence that names the thing and the value.
    pub message: String,
}

/// What the caller does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Ask the controller at `hint` (host:port) if it is known, else every address.
    NotController {
        /// Where the controller of that cluster listens.
        hint: Option<String>,
    },
    /// Nothing is known to be decided yet: ask again after a while.
    NotReady,
    /// The metadata log takes only urgent records now (METADATA 5): ask again later.
    Busy,
    /// Another live process has that broker id: wait until it is gone (METADATA 21).
    DuplicateBroker,
    /// The broker epoch is not the registered one: register anew.
    StaleBrokerEpoch,
    /// Volume and controller belong to different clusters: stop.
    OtherCluster,
    /// One side is too old for what the cluster has finalized: stop, and upgrade.
    UnsupportedFeature,
    /// The caller knows a history that the log does not hold (METADATA 23): stop deciding, a human looks.
    Regressed,
    /// No token, or one that nobody signed.
    Unauthenticated,
    /// A good token, but not of the broker that the request names.
    Forbidden,
    /// The request breaks the contract: a defect in the caller.
    Invalid,
}

impl Refusal {
    /// A refusal with its sentence.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// "Ask over there."
    pub fn not_controller(hint: Option<String>) -> Self {
        let message = hint.as_deref().map_or_else(
            || "this replica is not the controller of that cluster and knows of none".to_owned(),
            |hint| format!("this replica is not the controller of that cluster, {hint} is"),
        );
        Self::new(Reason::NotController { hint }, message)
    }

    /// Whether the same request can succeed later or elsewhere without anything done by the caller.
    pub fn is_retriable(&self) -> bool {
        matches!(
            self.reason,
            Reason::NotController { .. } | Reason::NotReady | Reason::Busy
        )
    }

    /// Reads a refusal out of a gRPC status; `None` if no controller wrote that status.
    pub fn from_status(status: &Status) -> Option<Self> {
        let name = status.metadata().get(REFUSAL)?.to_str().ok()?;
        let hint = || {
            status
                .metadata()
                .get(CONTROLLER)
                .and_then(|hint| hint.to_str().ok())
                .map(str::to_owned)
        };
        let reason = match name {
            "not-controller" => Reason::NotController { hint: hint() },
            "not-ready" => Reason::NotReady,
            "busy" => Reason::Busy,
            "duplicate-broker" => Reason::DuplicateBroker,
            "stale-broker-epoch" => Reason::StaleBrokerEpoch,
            "other-cluster" => Reason::OtherCluster,
            "unsupported-feature" => Reason::UnsupportedFeature,
            "regressed" => Reason::Regressed,
            "unauthenticated" => Reason::Unauthenticated,
            "forbidden" => Reason::Forbidden,
            "invalid" => Reason::Invalid,
            // A name of a later version: its gRPC code says enough to choose between waiting and stopping.
            _ if matches!(status.code(), Code::Unavailable | Code::ResourceExhausted) => Reason::NotReady,
            _ => Reason::Invalid,
        };
        Some(Self::new(reason, status.message()))
    }
}

impl Reason {
    fn name(&self) -> &'static str {
        match self {
            Self::NotController { .. } => "not-controller",
            Self::NotReady => "not-ready",
            Self::Busy => "busy",
            Self::DuplicateBroker => "duplicate-broker",
            Self::StaleBrokerEpoch => "stale-broker-epoch",
            Self::OtherCluster => "other-cluster",
            Self::UnsupportedFeature => "unsupported-feature",
            Self::Regressed => "regressed",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Invalid => "invalid",
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::NotController { .. } => Code::FailedPrecondition,
            Self::NotReady => Code::Unavailable,
            Self::Busy => Code::ResourceExhausted,
            Self::DuplicateBroker => Code::AlreadyExists,
            Self::StaleBrokerEpoch => Code::Aborted,
            Self::OtherCluster | Self::UnsupportedFeature | Self::Invalid => Code::InvalidArgument,
            Self::Regressed => Code::DataLoss,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut metadata = MetadataMap::new();
        metadata.insert(REFUSAL, MetadataValue::from_static(refusal.reason.name()));
        if let Reason::NotController { hint: Some(hint) } = &refusal.reason
            && let Ok(hint) = MetadataValue::<Ascii>::try_from(hint.as_str())
        {
            metadata.insert(CONTROLLER, hint);
        }
        Status::with_metadata(refusal.reason.code(), refusal.message, metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_survives_the_wire() {
        let reasons = [
            Reason::NotController {
                hint: Some("10.1.2.3:9405".to_owned()),
            },
            Reason::NotController { hint: None },
            Reason::NotReady,
            Reason::Busy,
            Reason::DuplicateBroker,
            Reason::StaleBrokerEpoch,
            Reason::OtherCluster,
            Reason::UnsupportedFeature,
            Reason::Regressed,
            Reason::Unauthenticated,
            Reason::Forbidden,
            Reason::Invalid,
        ];
        for reason in reasons {
            let refusal = Refusal::new(reason, "broker 3 is not welcome");
            let status = Status::from(refusal.clone());
            assert_eq!(Refusal::from_status(&status), Some(refusal));
        }
    }

    #[test]
    fn a_status_of_the_transport_is_no_refusal() {
        assert_eq!(Refusal::from_status(&Status::unavailable("connection reset")), None);
    }
}
