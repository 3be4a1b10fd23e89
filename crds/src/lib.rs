//! The custom resources: Cluster, Topic, MetadataLog and MetadataSnapshot.
