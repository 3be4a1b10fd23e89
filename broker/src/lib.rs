//! The broker: a partitioned log that speaks the Kafka protocol.
//!
//! # Layout
//! - [`args`], [`standalone`], [`run`], [`check`]: the three things the program does.
//! - [`broker`]: start and stop, in order.
//! - [`api`]: requests, one file per Kafka API; [`context`] is what they can reach, [`leader_hints`] where else to ask.
//! - [`fetches`], [`fetch_sessions`]: what fetch requests share and what is remembered of those who fetch.
//! - [`replica_manager`], [`partition`]: the partitions here; a [`partition::PartitionHandle`] is the only road to a log, and a
//!   [`refusal`] why it gives nothing.
//! - [`replica_fetcher`]: copies from leaders; [`isr_proposals`]: which replicas are in sync, proposed to the controller.
//! - [`groups`], [`producer_ids`]: the shells around the coordinators.
//! - [`membership`], [`controller_link`], [`metadata_cache`], [`departures`]: being a broker of a cluster, and what is known of it.
//! - [`data_dir`], [`listeners`], [`lease`], [`background`], [`health`], [`metrics`]: the process around it.
//!
//! Follow a record: `api/produce.rs`, `partition.rs`, `broker-log`; back out: `api/fetch.rs`.

pub mod api;
pub mod args;
pub mod background;
pub mod broker;
pub mod check;
pub mod clock;
pub mod context;
pub mod controller_link;
pub mod data_dir;
pub mod departures;
pub mod disk;
pub mod error;
pub mod features;
pub mod fetch_sessions;
pub mod fetches;
pub mod groups;
pub mod health;
pub mod isr_proposals;
mod kafka_connection;
pub mod leader_hints;
pub mod lease;
pub mod listeners;
pub mod logging;
pub mod membership;
pub mod metadata_cache;
pub mod metrics;
pub mod network_metrics;
pub mod partition;
pub mod partition_metrics;
pub mod producer_ids;
pub mod refusal;
pub mod replica_fetcher;
pub mod replica_manager;
pub mod run;
pub mod signals;
pub mod standalone;
pub mod throttle;

/// The release that this program is: the packages' version, unless the build says another (`BARNABAS_VERSION`).
pub const VERSION: &str = match option_env!("BARNABAS_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};
