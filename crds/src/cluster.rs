//! `Cluster`: a set of brokers, their storage and their listeners.

// The derive repeats each type inside a private module, where the lint sees it as unreachable.
#![allow(unreachable_pub)]
// Columns of one type repeat `type_ = ...`, which the lint takes for a slip.
#![allow(clippy::duplicated_attributes)]

mod listener;
mod pod;
mod status;
mod storage;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::listener::{Listener, ListenerType};
pub use self::pod::{Image, PodTemplate, PullPolicy, Resources};
pub use self::status::{BrokerStatus, ClusterStatus, ControllerStatus, ListenerStatus, PartitionCounts};
pub use self::storage::{Storage, WhenDeleted};

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
    validation = Rule::new("!self.metadata.name.matches('^[-a-z0-9.]+$') || self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')")
        .message("name must be a DNS label of at most 40 characters: pod, Service, volume and Lease names derive from it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.topicDefaults) || !has(self.topicDefaults.replicationFactor) || !has(self.replicas) || self.topicDefaults.replicationFactor <= self.replicas")
        .message("topicDefaults.replicationFactor cannot be above replicas"),
    validation = Rule::new("!has(oldSelf.rack) || (has(self.rack) && self.rack.topologyKey == oldSelf.rack.topologyKey)")
        .message("rack cannot be changed or removed: the replicas are spread by it")
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
        validation = Rule::new("self.size() == 0 || self.exists(l, !has(l.type) || l.type == 'Internal')")
            .message("at least one listener must be of type Internal: brokers reach each other through it"),
        validation = Rule::new("self.all(l, !(l.port in [9404, 9405]))")
            .message("ports 9404 and 9405 are taken by metrics and control"),
        validation = Rule::new("self.all(l, !(l.name in ['prometheus', 'control']))")
            .message("listener names prometheus and control are taken")
    )]
    pub listeners: Vec<Listener>,

    /// Cluster-wide defaults of topic configuration, by Kafka's names. Changes reach brokers without a restart.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::config")]
    #[x_kube(
        validation = Rule::new("self.all(k, !(k.startsWith('listener') || k.startsWith('advertised.') || k in ['broker.id', 'node.id', 'log.dir', 'log.dirs', 'broker.rack', 'controller.quorum.voters', 'zookeeper.connect']))")
            .message("listeners, advertised.*, broker.id, node.id, log.dirs and broker.rack have fields of their own or are managed by the operator"),
        validation = Rule::new("self.all(k, !(k in ['num.partitions', 'default.replication.factor', 'min.insync.replicas']))")
            .message("num.partitions, default.replication.factor and min.insync.replicas have fields of their own in topicDefaults")
    )]
    pub config: BTreeMap<String, IntOrString>,

    /// What a Topic gets that does not say.
    #[serde(default)]
    pub topic_defaults: TopicDefaults,

    /// Failure domains, so that the replicas of a partition are spread over them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<Rack>,

    /// Compute resources of each broker container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// What the broker pods get beside what the operator gives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,

    /// Whether the brokers can be reached at their listeners and metrics only.
    #[serde(default)]
    pub network_policy: NetworkPolicy,
}

/// What a Topic gets that does not say.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.minInsyncReplicas) || !has(self.replicationFactor) || self.minInsyncReplicas <= self.replicationFactor")
        .message("topicDefaults.minInsyncReplicas cannot be above topicDefaults.replicationFactor: no topic could ever be written to")
)]
pub struct TopicDefaults {
    /// Partitions of a topic.
    #[serde(default = "default_partitions")]
    #[schemars(range(min = 1, max = 10000))]
    pub partitions: i32,
    /// Replicas of each partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 15))]
    pub replication_factor: Option<i32>,
    /// Replicas that must have a record before it is acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 15))]
    pub min_insync_replicas: Option<i32>,
}

/// Failure domains.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rack {
    /// Label of the nodes whose value is the broker's rack.
    #[serde(default = "default_topology_key")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub topology_key: String,
}

/// Whether the brokers can be reached at their listeners and metrics only.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Whether the operator makes a NetworkPolicy.
    #[serde(default = "yes")]
    pub enabled: bool,
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self { enabled: yes() }
    }
}

impl Default for TopicDefaults {
    fn default() -> Self {
        Self {
            partitions: default_partitions(),
            replication_factor: None,
            min_insync_replicas: None,
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
            rack: None,
            resources: None,
            pod_template: None,
            network_policy: NetworkPolicy::default(),
        }
    }
}

fn default_replicas() -> i32 {
    3
}

fn default_partitions() -> i32 {
    1
}

fn default_topology_key() -> String {
    "topology.kubernetes.io/zone".to_owned()
}

fn yes() -> bool {
    true
}

fn default_listeners() -> Vec<Listener> {
    vec![Listener {
        name: "plain".to_owned(),
        port: 9092,
        kind: ListenerType::Internal,
        ..Listener::default()
    }]
}
