//! A replica of a partition: its log, who is in sync with it, how far everybody is, and who waits for it.
//! Pure: progress goes in, watermarks come out.
//!
//! # Layout
//! - [`duty`]: what a broker has to do for a partition, as the image says.
//! - [`replica`]: [`Replica`], a log with its role. The one thing that shells hold.
//! - [`leader`]: [`LeaderState`], the leader's view: in-sync replicas, high watermark, `min.insync.replicas`.
//! - [`follower`]: [`FollowerState`], the follower's: whom it fetches from, what it knows to be committed, what hinders it.
//! - [`isr`]: [`IsrState`], committed in-sync replicas and the proposals that are under way.
//! - [`purgatory`]: [`Purgatory`], requests that wait for an offset.
//! - [`error`]: [`ReplicaError`], why a request is refused.

pub mod duty;
pub mod error;
pub mod follower;
pub mod isr;
pub mod leader;
pub mod purgatory;
pub mod replica;
#[cfg(feature = "seeded-bugs")]
pub mod seeded;
#[cfg(not(feature = "seeded-bugs"))]
mod seeded;

pub use duty::{Duty, Standing, leads_alone, report};
pub use error::ReplicaError;
pub use follower::{FollowError, FollowerState, Truncation};
pub use isr::{IsrProposed, IsrState};
pub use leader::{
    Acks, FollowerFetch, FollowerRefusal, LeaderState, NotEnoughReplicas, ReadReplica, ReplicaPeer, ReplicaView,
};
pub use purgatory::Purgatory;
pub use replica::{
    CheckpointOffsets, FetchPosition, Fetched, Followed, FollowerReader, FoundOffset, LeaderAnswer, ReadSlice,
    ReadSpec, Reader, Replica, Role, Truncated,
};
