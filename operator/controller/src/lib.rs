//! The pure controller: decisions become metadata records.
//!
//! [`Controller::step`] takes the time and one [`Input`] and gives a list of [`Effect`]s for the shell to carry out; it
//! never waits, never reads a clock and never touches the store itself. The same code decides in the operator, in a
//! standalone broker and in the simulator. Rules named `METADATA n` are those of `docs/invariants.md`.
//!
//! Follow a decision forward: [`controller`] dispatches the input, [`brokers`], [`topics`], [`producer_ids`] or [`admin`]
//! propose records, [`append`] commits them, and only then is anybody told.

pub mod admin;
pub mod append;
pub mod brokers;
pub mod bucket;
pub mod controller;
pub mod effect;
pub mod entropy;
#[cfg(test)]
mod fixture;
pub mod input;
pub mod liveness;
pub mod log;
pub(crate) mod partitions;
pub mod placement;
pub mod producer_ids;
mod session;
pub mod settings;
pub mod snapshot;
pub mod takeover;
pub mod topic_error;
pub mod topics;

pub use controller::Controller;
pub use effect::{Effect, HeartbeatReply, Refusal, Registered, Reply, StepDown, TopicState};
pub use input::{
    AdminRequest, DesiredTopic, Heartbeat, Input, ProbeAnswer, Proof, ReadId, Registration, RequestId, SessionId,
    Version,
};
pub use log::{AppendId, DocumentError, LogDocument, SnapshotName, SnapshotRef, StoreVersion, StoredLog};
pub use settings::{Format, Settings, Witnesses};
