//! Clients' admin requests, as raw Kafka bytes: the only place of the controller that speaks the protocol.
//!
//! Each request has two halves, so that the operator can put a Topic resource in between: a *plan* decodes it and says for
//! each topic what would happen, without changing anything; the direct way carries the plan out at once. Both make the
//! same errors and the same response.

mod alter_configs;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod elect_leaders;
mod reassignments;

pub use alter_configs::{AlterPlan, Alteration, PlannedAlteration};
pub use create_partitions::{GrowPlan, Growth, PlannedGrowth};
pub use create_topics::{CreatePlan, Outcome, PlannedTopic};
pub use delete_topics::{DeletePlan, PlannedDeletion};

use protocol::{ApiKey, DecodeError, EncodeError};

use crate::append::Appender;
use crate::effect::{Refusal, Reply};
use crate::entropy::Entropy;
use crate::input::AdminRequest;
use crate::partitions::Recoveries;

/// Decides an admin request and proposes what follows. The reply is for after the commit.
pub(crate) fn handle(
    request: &AdminRequest,
    recoveries: &Recoveries,
    log: &mut Appender,
    entropy: &mut Entropy,
) -> Result<Reply, Refusal> {
    let api = protocol::api::served_in(request.api_key, request.api_version).map(|api| api.key);
    let body = match api {
        Some(ApiKey::CreateTopics) => create_topics::handle(request, log, entropy)?,
        Some(ApiKey::DeleteTopics) => delete_topics::handle(request, log)?,
        Some(ApiKey::CreatePartitions) => create_partitions::handle(request, log)?,
        Some(ApiKey::ElectLeaders) => elect_leaders::handle(request, recoveries, log)?,
        Some(ApiKey::AlterPartitionReassignments) => reassignments::alter(request, log)?,
        Some(ApiKey::ListPartitionReassignments) => reassignments::list(request, log)?,
        Some(api @ (ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs)) => {
            alter_configs::handle(request, api, log)?
        }
        _ => {
            let (key, version) = (request.api_key, request.api_version);
            return Err(Refusal::InvalidRequest(format!(
                "API {key} version {version} is not one of the controller's"
            )));
        }
    };
    Ok(Reply::Admin(body))
}

impl From<DecodeError> for Refusal {
    fn from(cause: DecodeError) -> Self {
        Self::InvalidRequest(cause.to_string())
    }
}

impl From<EncodeError> for Refusal {
    fn from(cause: EncodeError) -> Self {
        Self::InvalidRequest(cause.to_string())
    }
}

#[cfg(test)]
mod tests;
