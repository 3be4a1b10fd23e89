//! The consumer group coordinator, pure: requests and time go in; records, answers and deadlines come out.
//!
//! One [`GroupCoordinator`] holds the groups of one partition of `__consumer_offsets`. The shell appends the records that
//! it is given, reports how that went, and sends the answers; it loads a coordinator by replaying the partition.
//!
//! # Layout
//! - [`coordinator`]: which partition a group belongs to, and the answer of FindCoordinator.
//! - [`group_coordinator`]: the one struct with its verbs; [`exchange`]: what goes in and out.
//! - [`durable`]: what survives, changed by `replay` alone; [`records`]: its form in the log.
//! - `group`, `member`: a group as it lives; `rebalance`: how it moves from one generation to the next; `timers`, `agenda`:
//!   what is still to be done.
//! - One file for each API: `join`, `sync`, `heartbeat`, `leave`, `offset_commit`, [`offset_fetch`], `offset_delete`,
//!   `deletion`, `description`; and `expiry` for what happens without a request.

mod agenda;
pub mod coordinator;
mod deletion;
mod description;
pub mod durable;
pub mod exchange;
mod expiry;
mod group;
pub mod group_coordinator;
mod heartbeat;
pub mod ids;
mod join;
mod leave;
mod member;
pub mod offset_commit;
mod offset_delete;
pub mod offset_fetch;
mod rebalance;
pub mod records;
mod settings;
mod subscription;
mod sync;
mod timers;

pub use coordinator::{
    Coordinator, CoordinatorType, FindError, OFFSETS_TOPIC, OFFSETS_TOPIC_PARTITIONS, partition_for_key,
};
pub use durable::DurableState;
pub use exchange::{Context, Effects, Now, Reply, Request, Response, Ticket, Write, WriteId};
pub use group_coordinator::GroupCoordinator;
pub use ids::{GenerationId, GroupId, InstanceId, MemberId};
pub use records::{CommittedOffset, GroupMetadata, GroupRecord, MemberMetadata, RecordError};
pub use settings::GroupSettings;
