//! The gRPC contract between operator and broker.
//!
//! `proto/` is the contract, [`proto`] what is generated from it. Everything that arrives is parsed
//! once, at the edge, into the types of [`messages`]; nothing behind this crate sees a proto type.
//! A broker speaks through [`ControlClient`]; the serving half is in `controller-host`.

mod client;
mod cluster;
mod convert;
mod error;
mod guard;
mod messages;
mod refusal;
mod stream;

pub use client::jitter::Jitter;
pub use client::{ControlClient, ControlSettings, SERVER_NAME};
pub use cluster::{ClusterRef, ClusterRefError};
pub use convert::{ContractError, frames_to_proto, snapshot_to_proto};
pub use error::ControlError;
pub use guard::{GuardError, StreamGuard};
pub use messages::{
    AdminRequest, Heartbeat, HeartbeatAnswer, MetadataEvent, Opening, Position, ProducerIdBlock, Purged, Registered,
    Registration, Session, Watch,
};
pub use refusal::{Reason, Refusal};
pub use stream::MetadataStream;

/// The largest message either side accepts, in bytes: a forwarded Kafka request of 16 MiB and room for its envelope.
pub const MAX_MESSAGE_BYTES: usize = 17 * 1024 * 1024;

/// What `build.rs` generates from `proto/barnabas/control/v1/control.proto`.
pub mod proto {
    #![allow(missing_docs, clippy::pedantic, unreachable_pub)]
    tonic::include_proto!("barnabas.control.v1");
}
