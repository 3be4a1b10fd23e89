//! The controller's no, as the contract says it.

use control::{Reason, Refusal};

/// What the caller does next, for each refusal of the controller.
pub(crate) fn to_contract(refusal: &controller::Refusal) -> Refusal {
    use controller::Refusal as From;
    let reason = match refusal {
        From::NotReady | From::Pending(_) => Reason::NotReady,
        From::LogFull => Reason::Busy,
        From::DuplicateBroker(_) => Reason::DuplicateBroker,
        From::StaleBrokerEpoch { .. } => Reason::StaleBrokerEpoch,
        From::OtherCluster { .. } => Reason::OtherCluster,
        From::UnsupportedFeature { .. } => Reason::UnsupportedFeature,
        From::InvalidRegistration(_) | From::Kafka { .. } | From::InvalidRequest(_) => Reason::Invalid,
    };
    Refusal::new(reason, refusal.to_string())
}

/// This controller has ended; another one may know more.
pub(crate) fn ended() -> Refusal {
    Refusal::not_controller(None)
}
