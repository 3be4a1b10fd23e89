//! The consumer group coordinator, pure: requests and time go in; records, answers and deadlines come out.
//!
//! One [`GroupCoordinator`] holds the groups of one partition of `__consumer_offsets`. The shell appends the records that
//! it is given, reports how that went, and sends the answers; it loads a coordinator by replaying the partition.
//!
//! # Layout
//! - [`coordinator`]: which partition a group belongs to, and the answer of FindCoordinator.
//! - [`group_coordinator`]: the one struct with its verbs; [`exchange`]: what goes in and out.
//! - [`durable`]: what survives, changed by `replay` alone; [`records`]: its form in the log.
//! - `group`, `member`, `applicant`, `offered_protocol`: a group as it lives, and who wants to join; `rebalance`: how it moves from one generation to the next; `timers`, `agenda`:
//!   what is still to be done.
//! - [`consumer_group`]: a group of KIP-848, all of it durable; `draft`: changes to it; `assignor`, `reconciliation`: who shall
//!   have what, and how it gets there; `classic_member`, `migration`: the old protocol in a new group, and back.
//! - One file for each API: `consumer_heartbeat`, `consumer_description`; `join`, `sync`, `heartbeat`, `leave`, `offset_commit`, [`offset_fetch`], `offset_delete`,
//!   `deletion`, `description`; and `expiry` for what happens without a request.

mod agenda;
mod applicant;
mod assignment_epochs;
mod assignor;
mod classic_member;
pub mod consumer_description;
pub mod consumer_group;
mod consumer_heartbeat;
pub mod coordinator;
mod deletion;
mod description;
mod draft;
pub mod durable;
mod epoch;
pub mod exchange;
mod expiry;
mod group;
pub mod group_coordinator;
mod heartbeat;
pub mod ids;
mod join;
mod leave;
mod member;
mod migration;
mod offered_protocol;
pub mod offset_commit;
mod offset_delete;
pub mod offset_fetch;
mod partitions;
mod pattern;
mod rebalance;
mod reconciliation;
pub mod records;
mod settings;
mod stats;
mod subscription;
mod sync;
mod timers;
mod topics;

pub use assignment_epochs::AssignmentEpochs;
pub use assignor::Assignor;
pub use consumer_group::{ConsumerGroup, ConsumerGroupState, ConsumerMember};
pub use coordinator::{
    Coordinator, CoordinatorType, FindError, OFFSETS_TOPIC, OFFSETS_TOPIC_PARTITIONS, partition_for_key,
};
pub use durable::DurableState;
pub use epoch::Epoch;
pub use exchange::{Context, Effects, Now, Reply, Request, Response, Ticket, Write, WriteId};
pub use group_coordinator::GroupCoordinator;
pub use ids::{GenerationId, GroupId, InstanceId, MemberId};
pub use offered_protocol::Protocol;
pub use partitions::Partitions;
pub use records::{
    ClassicMemberMetadata, CommittedOffset, ConsumerGroupEpoch, ConsumerMemberMetadata, ConsumerRecord,
    CurrentAssignment, GroupMetadata, GroupRecord, MemberMetadata, MemberState, RecordError, ResolvedRegex,
};
pub use settings::{ConsumerSettings, GroupSettings, MigrationPolicy, OwnConsumerSettings, OwnSettings};
pub use stats::GroupStats;
pub use topics::Topics;
