//! `MetadataLog` and `MetadataSnapshot`: where the controller keeps the state of a cluster.
//! Internal: no user writes them, and nothing but the cluster's controller does.

// The derive repeats each type inside a private module, where the lint sees it as unreachable.
#![allow(unreachable_pub)]
// Columns of one type repeat `type_ = ...`, which the lint takes for a slip.
#![allow(clippy::duplicated_attributes)]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The metadata log of one cluster: the tail of records since the last snapshot.
///
/// Replacing it with the resourceVersion last seen is the single commit point of the cluster.
/// It has no owner and no finalizer: it lives exactly as long as the volumes.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "barnabas.dev",
    version = "v1alpha1",
    kind = "MetadataLog",
    namespaced,
    derive = "PartialEq",
    doc = "Internal: the metadata log of a Barnabas cluster. Written by its controller alone; deleting it loses the cluster's metadata.",
    shortname = "bml",
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".spec.controllerEpoch"),
    printcolumn(name = "Snapshot", type_ = "integer", json_path = ".spec.snapshotOffset"),
    printcolumn(name = "End", type_ = "integer", json_path = ".spec.endOffset"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
// METADATA 4: the API server itself refuses a controller that is behind, whatever it believes.
#[x_kube(
    validation = Rule::new("self.controllerEpoch >= oldSelf.controllerEpoch")
        .message("controllerEpoch cannot decrease: another controller has taken over"),
    validation = Rule::new("self.snapshotOffset >= oldSelf.snapshotOffset")
        .message("snapshotOffset cannot decrease"),
    validation = Rule::new("self.endOffset >= oldSelf.endOffset")
        .message("endOffset cannot decrease")
)]
pub struct MetadataLogSpec {
    /// Epoch of the controller that wrote last.
    pub controller_epoch: i64,
    /// Offset that the snapshot reaches to, exclusive; 0 without a snapshot.
    pub snapshot_offset: i64,
    /// Offset of the next record.
    pub end_offset: i64,
    /// Snapshot, last append and the tail of records: compact JSON, a record a line.
    #[schemars(length(max = 1_000_000))]
    pub document: String,
}

/// A part of an image of the metadata, immutable, named by offset.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "barnabas.dev",
    version = "v1alpha1",
    kind = "MetadataSnapshot",
    namespaced,
    derive = "PartialEq",
    doc = "Internal: a part of a snapshot of a Barnabas cluster's metadata.",
    shortname = "bms",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".metadata.labels.barnabas\\.dev/cluster"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a snapshot cannot be changed"))]
pub struct MetadataSnapshotSpec {
    /// The chunk, as text.
    #[schemars(length(max = 1_000_000))]
    pub data: String,
}
