//! The custom resources: Cluster, Topic, MetadataLog and MetadataSnapshot.
//!
//! A field arrives here with the code that honours it, so that `kubectl` refuses the rest by name.
//! `yaml/` holds the definitions as the API server gets them; it is generated from these types
//! (`operator crds`), committed, and proved fresh by a test.

pub mod cluster;
pub mod metadata;
pub mod schema;
pub mod topic;
mod yaml;

pub use cluster::{Cluster, ClusterSpec, ClusterStatus};
pub use metadata::{MetadataLog, MetadataLogSpec, MetadataSnapshot, MetadataSnapshotSpec};
pub use topic::{Topic, TopicSpec, TopicStatus};
pub use yaml::{Definition, definitions};

/// The API group of every kind here.
pub const GROUP: &str = "barnabas.dev";
/// The one version served and stored.
pub const VERSION: &str = "v1alpha1";
/// Label that ties every object of a cluster to it; its value is the Cluster's name.
pub const CLUSTER_LABEL: &str = "barnabas.dev/cluster";
/// Finalizer of a Topic whose data goes with it (`deletionPolicy: Delete`).
pub const TOPIC_FINALIZER: &str = "barnabas.dev/topic";
/// Label of a Topic that came in through the Kafka protocol; its value is [`ORIGIN_KAFKA`].
pub const ORIGIN_LABEL: &str = "barnabas.dev/origin";
/// Value of [`ORIGIN_LABEL`] for a topic created by a Kafka client.
pub const ORIGIN_KAFKA: &str = "kafka";
/// Label of a controller's Lease: namespace of the operator whose replicas take turns in holding it.
pub const OPERATOR_LABEL: &str = "barnabas.dev/operator";
/// Annotation of a Cluster that, while it is `true`, stops the operator from changing anything of it but its Topics and elections.
pub const PAUSED_ANNOTATION: &str = "barnabas.dev/paused";
/// Annotation of a Cluster: ids of brokers whose volumes are given up when the metadata log has to be made anew without them.
pub const WAIVED_ANNOTATION: &str = "barnabas.dev/waived-brokers";
/// Annotation of a Cluster whose change restarts the brokers one by one.
pub const RESTARTED_ANNOTATION: &str = "barnabas.dev/restartedAt";
/// Label of a Topic that the controller made for itself (`__consumer_offsets`).
pub const INTERNAL_LABEL: &str = "barnabas.dev/internal";
