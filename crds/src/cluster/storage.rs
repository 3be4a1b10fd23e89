//! The volume of each broker.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The volume of each broker.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
        .message("storageClassName cannot be changed"),
    validation = Rule::new("!has(self.size) || !isQuantity(self.size) || quantity(self.size).compareTo(quantity('64Mi')) >= 0")
        .message("size must be at least 64Mi"),
    validation = Rule::new("!has(self.size) || !has(oldSelf.size) || !isQuantity(self.size) || !isQuantity(oldSelf.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0")
        .message("size cannot shrink: Kubernetes can only grow a volume")
)]
pub struct Storage {
    /// Size of each broker's volume, such as `10Gi`. It can grow if the storage class allows expansion.
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

impl Default for Storage {
    fn default() -> Self {
        Self {
            size: default_size(),
            storage_class_name: None,
            when_deleted: WhenDeleted::default(),
        }
    }
}

fn default_size() -> String {
    "10Gi".to_owned()
}
