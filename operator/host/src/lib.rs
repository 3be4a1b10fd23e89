//! The shell of the controller: metadata store, clock and gRPC service around the pure core.
//!
//! [`ControllerHost::spawn`] gives one `Controller` a life: a task that owns it, carries out its effects
//! on a [`MetadataStore`], and tells committed records to whoever watches. Everybody else holds a
//! [`ControllerHandle`]. The operator and the standalone broker run this same code over different
//! stores; only a [`serve_control`] makes it reachable over gRPC, so a broker alone needs none.

pub mod auth;
pub mod entropy;
mod gateway;
mod guard;
mod handle;
mod history;
mod host;
mod message;
mod metrics;
mod refusal;
mod server;
mod state;
pub mod store;

pub use auth::{Authenticator, Caller, Claim, Loopback, SharedToken};
pub use gateway::Direct;
pub use handle::{ControllerHandle, Forwarded, TopicGateway};
pub use host::{ControllerHost, ProbeAddress, advertised_addresses};
pub use message::MetadataWatch;
pub use metrics::HostMetrics;
pub use server::{Resolver, Single, serve_control};
pub use state::{Ending, HostState};
pub use store::{AppendFailure, FileStore, MemoryStore, MetadataStore, StoreError, begin_with};
