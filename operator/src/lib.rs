//! The operator: reconciles Cluster and Topic resources and hosts the controllers.
//!
//! Two replicas run; each cluster is led by the one that holds its Lease. Whatever is decided is pure
//! ([`plan`], [`elector`], `topic::decision`, and the controller itself); the rest reads and writes Kubernetes.

pub mod authority;
pub mod cluster;
pub mod conditions;
pub mod election;
pub mod elector;
pub mod error;
pub mod http;
pub mod hub;
pub mod identity;
pub mod metrics;
pub mod names;
pub mod plan;
pub mod watches;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The text of a configuration value that may have been written as a number.
pub fn config_value(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}
