//! `Cluster`: a set of brokers, their storage and their listeners.

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

/// What a user asks of a cluster.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "barnabas.dev",
    version = "v1alpha1",
    kind = "Cluster",
    namespaced,
    status = "ClusterStatus",
    derive = "PartialEq",
    doc = "A set of Barnabas brokers that share their topics.",
    shortname = "bc",
    category = "barnabas",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Brokers", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Available", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Topics", type_ = "integer", json_path = ".status.partitions.topics"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.partitions.total"),
    printcolumn(
        name = "URP",
        type_ = "integer",
        json_path = ".status.partitions.underReplicated",
        description = "Partitions with fewer in-sync replicas than replicas"
    ),
    printcolumn(
        name = "Offline",
        type_ = "integer",
        json_path = ".status.partitions.offline",
        description = "Partitions without a leader"
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
    printcolumn(
        name = "Controller",
        type_ = "string",
        json_path = ".status.controller.pod",
        description = "Operator pod that decides for this cluster",
        priority = "1"
    ),
    printcolumn(
        name = "Epoch",
        type_ = "integer",
        json_path = ".status.controller.epoch",
        description = "Controller epoch: +1 at each change of controller",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')")
        .message("name must be a DNS label of at most 40 characters: pod, Service, volume and Lease names derive from it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.replicas >= oldSelf.replicas")
        .message("replicas cannot shrink: moving partitions off a broker is not supported yet")
)]
pub struct ClusterSpec {
    /// Number of brokers. Broker N is pod `<cluster>-N`.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 200))]
    pub replicas: i32,

    /// Broker image; the operator's own default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,

    /// The volume of each broker.
    #[serde(default)]
    pub storage: Storage,

    /// Where clients connect.
    #[serde(default = "default_listeners")]
    #[schemars(length(min = 1, max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(
        validation = Rule::new("self.all(a, self.exists_one(b, a.port == b.port))")
            .message("listener ports must be unique"),
        validation = Rule::new("self.exists(l, !has(l.type) || l.type == 'Internal')")
            .message("at least one listener must be of type Internal: brokers reach each other through it"),
        validation = Rule::new("self.all(l, !(l.port in [9404, 9405]))")
            .message("ports 9404 and 9405 are taken by metrics and control")
    )]
    pub listeners: Vec<Listener>,

    /// Cluster-wide defaults of topic configuration, by Kafka's names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::config")]
    #[x_kube(
        validation = Rule::new("self.all(k, !(k.startsWith('listener') || k.startsWith('advertised.') || k in ['broker.id', 'node.id', 'log.dir', 'log.dirs', 'broker.rack', 'num.partitions', 'default.replication.factor', 'controller.quorum.voters', 'zookeeper.connect']))")
            .message("listeners, advertised.*, broker.id, node.id, log.dirs, broker.rack, num.partitions and default.replication.factor have fields of their own or are managed by the operator")
    )]
    pub config: BTreeMap<String, IntOrString>,

    /// What a Topic gets that does not say.
    #[serde(default)]
    pub topic_defaults: TopicDefaults,

    /// Compute resources of each broker container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// A container image.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Repository with its registry, without tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub repository: Option<String>,
    /// Tag; the operator's own default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub tag: Option<String>,
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

/// The volume of each broker.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
        .message("storageClassName cannot be changed"),
    validation = Rule::new("!has(self.size) || !has(oldSelf.size) || self.size == oldSelf.size")
        .message("size cannot be changed yet")
)]
pub struct Storage {
    /// Size of each broker's volume, such as `10Gi`.
    #[serde(default = "default_size")]
    #[schemars(
        length(min = 1, max = 24),
        regex(pattern = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$")
    )]
    pub size: String,
    /// Storage class; the default class of Kubernetes if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// What happens to volumes and metadata when the Cluster is deleted.
    #[serde(default)]
    pub when_deleted: WhenDeleted,
}

/// What happens to volumes and metadata when a Cluster is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDeleted {
    /// They stay; a Cluster of the same name finds its data again.
    #[default]
    Retain,
    /// They go with the Cluster.
    Delete,
}

/// Where clients connect.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.advertisedHost) || (has(self.type) && self.type == 'NodePort')")
        .message("advertisedHost belongs to listeners of type NodePort")
)]
pub struct Listener {
    /// Name, part of Service names.
    #[schemars(length(min = 1, max = 11), regex(pattern = "^[a-z0-9]{1,11}$"))]
    pub name: String,
    /// Port in the pod.
    #[schemars(range(min = 1024, max = 65535))]
    pub port: i32,
    /// Who can reach it.
    #[serde(default, rename = "type")]
    pub kind: ListenerType,
    /// Host that brokers advertise here; the address of the broker's node if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub advertised_host: Option<String>,
}

/// Who can reach a listener.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenerType {
    /// Pods, by the names of the headless Service.
    #[default]
    Internal,
    /// Also clients outside, at a port of each node.
    NodePort,
}

/// What a Topic gets that does not say.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TopicDefaults {
    /// Partitions of a topic.
    #[serde(default = "default_partitions")]
    #[schemars(range(min = 1, max = 10000))]
    pub partitions: i32,
}

/// Compute resources, as in a Pod.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler sets aside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::quantities")]
    pub requests: BTreeMap<String, IntOrString>,
    /// What the kernel enforces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::quantities")]
    pub limits: BTreeMap<String, IntOrString>,
}

/// What the operator saw.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Generation of the spec that this status speaks of; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, and whatever stands in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The id that Kafka clients see. Drawn once; never changes while the volumes live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Broker pods that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Broker pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Label selector of the broker pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Who decides for this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<ControllerStatus>,
    /// Where to connect, by listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub listeners: Vec<ListenerStatus>,
    /// Counts over all topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<PartitionCounts>,
}

/// Who decides for a cluster.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ControllerStatus {
    /// Operator pod that holds the Lease.
    pub pod: String,
    /// Controller epoch: +1 at each change of controller.
    pub epoch: i64,
}

/// Where to connect.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Name of the listener.
    pub name: String,
    /// Value for a client's `bootstrap.servers`.
    pub bootstrap_servers: String,
}

/// Counts over all topics of a cluster.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PartitionCounts {
    /// Topics, internal ones included.
    pub topics: i32,
    /// Partitions.
    pub total: i32,
    /// Partitions without a leader.
    pub offline: i32,
    /// Partitions with fewer in-sync replicas than replicas.
    pub under_replicated: i32,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            size: default_size(),
            storage_class_name: None,
            when_deleted: WhenDeleted::default(),
        }
    }
}

impl Default for TopicDefaults {
    fn default() -> Self {
        Self {
            partitions: default_partitions(),
        }
    }
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            replicas: default_replicas(),
            image: None,
            storage: Storage::default(),
            listeners: default_listeners(),
            config: BTreeMap::new(),
            topic_defaults: TopicDefaults::default(),
            resources: None,
        }
    }
}

fn default_replicas() -> i32 {
    3
}

fn default_size() -> String {
    "10Gi".to_owned()
}

fn default_partitions() -> i32 {
    1
}

fn default_listeners() -> Vec<Listener> {
    vec![Listener {
        name: "plain".to_owned(),
        port: 9092,
        kind: ListenerType::Internal,
        advertised_host: None,
    }]
}
