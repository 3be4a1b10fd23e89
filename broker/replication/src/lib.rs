//! What a replica knows about its partition beyond the log: who is in sync, how far everybody is, and who waits for it.
//! Pure: progress goes in, watermarks come out.
//!
//! # Layout
//! - [`leader`]: [`LeaderState`], the leader's view: in-sync replicas, high watermark, `min.insync.replicas`.
//! - [`isr`]: [`IsrState`], committed in-sync replicas and the proposals that are under way.
//! - [`purgatory`]: [`Purgatory`], requests that wait for an offset.

pub mod isr;
pub mod leader;
pub mod purgatory;

pub use isr::IsrState;
pub use leader::{Acks, LeaderState, NotEnoughReplicas, ReplicaView};
pub use purgatory::Purgatory;
