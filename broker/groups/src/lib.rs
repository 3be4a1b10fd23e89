//! The consumer group coordinator, pure: which partition of `__consumer_offsets` a group belongs to, and what a client
//! that asks for a coordinator is told.
//!
//! # Layout
//! - [`coordinator`]: group id -> partition -> the answer of FindCoordinator.

pub mod coordinator;

pub use coordinator::{Coordinator, CoordinatorType, FindError, OFFSETS_TOPIC, partition_for_key};
