//! The broker: a partitioned log that speaks the Kafka protocol.
//!
//! # Layout
//! - [`args`], [`standalone`], [`run`], [`check`]: the three things the program does.
//! - [`broker`]: start and stop, in order.
//! - [`api`]: requests, one file per Kafka API; [`context`] is what they can reach.
//! - [`replica_manager`], [`partition`]: the partitions here; a [`partition::PartitionHandle`] is the only road to a log.
//! - [`membership`], [`controller_link`], [`metadata_cache`]: being a broker of a cluster, and what is known of it.
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
pub mod error;
pub mod features;
pub mod groups;
pub mod health;
pub mod lease;
pub mod listeners;
pub mod logging;
pub mod membership;
pub mod metadata_cache;
pub mod metrics;
pub mod network_metrics;
pub mod partition;
pub mod producer_ids;
pub mod replica_manager;
pub mod run;
pub mod signals;
pub mod standalone;
