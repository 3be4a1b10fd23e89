//! `Topic`: one topic of one cluster, as its owner wants it.

// The derive repeats each type inside a private module, where the lint sees it as unreachable.
#![allow(unreachable_pub)]
// Columns of one type repeat `type_ = ...`, which the lint takes for a slip.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a user asks of a topic.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "barnabas.dev",
    version = "v1alpha1",
    kind = "Topic",
    namespaced,
    status = "TopicStatus",
    derive = "PartialEq",
    doc = "A topic of a Barnabas cluster in the same namespace.",
    shortname = "bt",
    category = "barnabas",
    selectable = ".spec.clusterRef.name",
    selectable = ".spec.topicName",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.partitions"),
    printcolumn(name = "RF", type_ = "integer", json_path = ".status.replicationFactor"),
    printcolumn(
        name = "URP",
        type_ = "integer",
        json_path = ".status.health.underReplicated",
        description = "Partitions with fewer in-sync replicas than replicas"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Topic",
        type_ = "string",
        json_path = ".status.topicName",
        description = "Name that Kafka clients use",
        priority = "1"
    ),
    printcolumn(name = "Policy", type_ = "string", json_path = ".spec.deletionPolicy", priority = "1"),
    printcolumn(
        name = "Origin",
        type_ = "string",
        json_path = ".metadata.labels.barnabas\\.dev/origin",
        priority = "1"
    ),
    validation = Rule::new("has(self.spec.topicName) || (self.metadata.name.size() <= 249 && self.metadata.name.matches('^[a-z0-9.-]+$'))")
        .message("metadata.name is not a valid topic name: set spec.topicName")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.topicName) == has(oldSelf.topicName) && (!has(self.topicName) || self.topicName == oldSelf.topicName)")
        .message("topicName cannot be changed"),
    validation = Rule::new("!has(oldSelf.partitions) || (has(self.partitions) && self.partitions >= oldSelf.partitions)")
        .message("partitions can only grow"),
    validation = Rule::new("!has(self.config) || !('min.insync.replicas' in self.config) || string(self.config['min.insync.replicas']).matches('^[1-9][0-9]{0,3}$')")
        .message("min.insync.replicas must be a number of at least 1"),
    validation = Rule::new("!has(self.config) || !has(self.replicationFactor) || !('min.insync.replicas' in self.config) || !string(self.config['min.insync.replicas']).matches('^[1-9][0-9]{0,3}$') || int(self.config['min.insync.replicas']) <= self.replicationFactor")
        .message("min.insync.replicas cannot be above replicationFactor: the topic could never be written to")
)]
pub struct TopicSpec {
    /// The cluster that holds the topic.
    #[x_kube(validation = Rule::new("self == oldSelf").message("clusterRef cannot be changed"))]
    pub cluster_ref: ClusterRef,

    /// Name that Kafka clients use; `metadata.name` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = "^[a-zA-Z0-9._-]+$"))]
    #[x_kube(validation = Rule::new("!(self in ['.', '..'])").message("topicName cannot be . or .."))]
    pub topic_name: Option<String>,

    /// Partitions; `topicDefaults.partitions` of the Cluster if absent when the topic is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub partitions: Option<i32>,

    /// Replicas of each partition; the cluster's `default.replication.factor` if absent when the topic is created: 3 where
    /// the cluster has three brokers or more. A change moves data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 15))]
    pub replication_factor: Option<i32>,

    /// Configuration by Kafka's names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::config")]
    pub config: BTreeMap<String, IntOrString>,

    /// What happens to the data when this Topic is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Names a Cluster in the Topic's namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRef {
    /// Name of the Cluster.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// What happens to the data when a Topic is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// The topic goes with its resource, if its Cluster is there and not itself going.
    #[default]
    Delete,
    /// The topic stays, with its id; a Topic of the same name takes it over again.
    Retain,
}

/// What the operator saw.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// Generation of the spec that this status speaks of; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, and whatever stands in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Name that Kafka clients use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// Kafka's topic id; a topic created again gets another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// Partitions that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Replicas of each partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<i32>,
    /// Counts of partitions in trouble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<TopicHealth>,
}

/// Counts over the partitions of a topic.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TopicHealth {
    /// Partitions with a leader.
    pub online: i32,
    /// Partitions without a leader.
    pub offline: i32,
    /// Partitions with fewer in-sync replicas than replicas.
    pub under_replicated: i32,
}

impl Topic {
    /// The name that Kafka clients use.
    pub fn topic_name(&self) -> &str {
        self.spec
            .topic_name
            .as_deref()
            .or(self.metadata.name.as_deref())
            .unwrap_or_default()
    }
}
