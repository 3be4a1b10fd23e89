//! The operator: reconciles Cluster and Topic resources and hosts the controllers.
//!
//! Two replicas run; each cluster is led by the one that holds its Lease ([`lead`]). Whatever is decided is pure
//! ([`plan`], [`elector`], `topic::decision`, and the controller itself); the rest reads and writes Kubernetes.
//!
//! Follow a Topic forward: [`watches`] sees it, `topic` decides, the controller commits it to the [`store`], and its
//! status says so.

pub mod args;
pub mod authority;
pub mod cleanup;
pub mod cluster;
mod collector;
pub mod conditions;
pub mod context;
pub mod definitions;
pub mod election;
pub mod elector;
pub mod error;
pub mod events;
pub mod gateway;
pub mod health;
pub mod hub;
pub mod identity;
pub mod lead;
mod liveness;
pub mod metrics;
pub mod names;
pub mod plan;
mod rebuild;
pub mod run;
pub mod seats;
mod shown_images;
pub mod store;
pub mod surroundings;
mod topic;
pub mod watches;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The release that this program is: the packages' version, unless the build says another (`BARNABAS_VERSION`).
pub const VERSION: &str = match option_env!("BARNABAS_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// The text of a configuration value that may have been written as a number.
pub(crate) fn config_value(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}
