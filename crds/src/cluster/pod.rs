//! The pods of the brokers: image, resources, and where they may run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, Toleration, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A container image.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.repository) || !self.repository.contains('@')")
        .message("image.repository is without digest: write that into image.digest"),
    validation = Rule::new("!has(self.repository) || self.repository.contains('@') || !self.repository.matches('^.*:[^/]*$')")
        .message("image.repository is without tag: write that into image.tag"),
    validation = Rule::new("!has(self.repository) || self.repository.matches('^[a-z0-9][a-zA-Z0-9._/:@-]*$')")
        .message("image.repository must be a repository with its registry, such as registry.example.org/barnabas/broker")
)]
pub struct Image {
    /// Repository with its registry, without tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub repository: Option<String>,
    /// Tag; the operator's own default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[a-zA-Z0-9_][a-zA-Z0-9._-]*$"))]
    pub tag: Option<String>,
    /// Digest, such as `sha256:0123...`; it counts more than the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// When the kubelet pulls.
    #[serde(default)]
    pub pull_policy: PullPolicy,
}

/// When the kubelet pulls an image.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// At each start of a container.
    Always,
    /// When the node does not have it.
    #[default]
    IfNotPresent,
    /// Never: the node must have it.
    Never,
}

/// Compute resources, as in a Pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || !isQuantity(string(self.requests[k])) || !isQuantity(string(self.limits[k])) || quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)")
        .message("resources.requests cannot be above resources.limits")
)]
pub struct Resources {
    /// What the scheduler sets aside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::quantities")]
    #[x_kube(validation = Rule::new("self.all(k, isQuantity(string(self[k])))").message("each of resources.requests must be a quantity, such as 500m or 1Gi"))]
    pub requests: BTreeMap<String, IntOrString>,
    /// What the kernel enforces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::quantities")]
    #[x_kube(validation = Rule::new("self.all(k, isQuantity(string(self[k])))").message("each of resources.limits must be a quantity, such as 500m or 1Gi"))]
    pub limits: BTreeMap<String, IntOrString>,
}

/// What the broker pods get beside what the operator gives them; the names are those of a Pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// More labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::strings")]
    #[x_kube(
        validation = Rule::new("self.all(k, !k.startsWith('barnabas.dev/') && !k.startsWith('app.kubernetes.io/'))")
            .message("labels that begin with barnabas.dev/ or app.kubernetes.io/ are the operator's own"),
        validation = Rule::new("self.all(k, self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))")
            .message("a label's value has at most 63 letters, digits, -, _ and ., and begins and ends with a letter or digit")
    )]
    pub labels: BTreeMap<String, String>,
    /// More annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::strings")]
    #[x_kube(
        validation = Rule::new("self.all(k, !k.startsWith('barnabas.dev/'))")
            .message("annotations that begin with barnabas.dev/ are the operator's own")
    )]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::strings")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that a node may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::tolerations")]
    pub tolerations: Vec<Toleration>,
    /// Where pods would like to be, and not to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::affinity")]
    pub affinity: Option<Affinity>,
    /// How pods are spread; over the nodes, and over the racks if `rack` is set, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::topology_spread_constraints")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Who goes first when nodes are full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Secrets for the image's registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::pull_secrets")]
    #[x_kube(
        validation = Rule::new("self.all(s, has(s.name) && s.name != '')")
            .message("each of imagePullSecrets needs a name")
    )]
    pub image_pull_secrets: Vec<LocalObjectReference>,
}
