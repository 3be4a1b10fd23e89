//! The nouns of the metadata log: ids, epochs, records, the image and its one fold.
//!
//! Cluster metadata is the fold of an ordered log of small [`Record`]s. [`MetadataImage`] is the state after some
//! prefix of that log; [`MetadataImage::append`] (the controller) and [`MetadataImage::apply_frame`] (everybody else)
//! run the same deterministic `apply`, and nothing else changes an image. Rules named `METADATA n` are those of the
//! metadata log's rule book (`docs/invariants.md`).
//!
//! This crate is pure: no clock, no disk, no randomness. What is random (ids, nonces) comes in as a parameter.

mod apply;
pub mod apply_error;
pub mod broker;
pub mod config;
pub mod config_scope;
pub mod digest;
pub mod document;
pub mod election;
pub mod frame;
pub mod frame_error;
pub mod ids;
pub mod image;
pub mod isr;
pub mod level;
pub mod partition;
#[cfg(test)]
mod random;
pub mod rebuild;
pub mod record;
pub mod replica_report;
pub mod snapshot;
pub mod topic;

pub use apply_error::ApplyError;
pub use broker::{BrokerRegistration, Endpoint, FeatureRange};
pub use config::{ConfigError, ConfigKey, TopicConfig};
pub use config_scope::ConfigScope;
pub use digest::Digest;
pub use document::{DocumentError, ImageDocument};
pub use frame::Frame;
pub use frame_error::FrameError;
pub use ids::{
    BrokerEpoch, BrokerId, ClusterId, ControllerEpoch, DirectoryId, GroupName, IdError, IncarnationId, LeaderEpoch,
    Lineage, MetadataOffset, Nonce, PartitionEpoch, PartitionIndex, ProducerId, TopicId, TopicName, TopicNameError,
};
pub use image::{LogIdentity, MetadataImage};
pub use isr::{IsrMember, IsrOutcome, IsrProposal};
pub use partition::PartitionImage;
pub use record::Record;
pub use replica_report::{LogEnd, ReplicaReport, ReportedLog};
pub use snapshot::{SnapshotError, SnapshotHeader};
pub use topic::{Assignment, Tombstone, TopicImage};
