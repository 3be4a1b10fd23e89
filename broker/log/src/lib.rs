//! The partition log: segments, indexes, recovery and producer state, over a [`dir::Dir`].
//!
//! A log is a directory of segments. Records are appended by one writer at a time, assigned their offsets there, and
//! never changed afterwards. The files are Kafka's to the byte, so that Kafka's own tools read them.
//!
//! What is promised after a crash, and by which order of steps:
//! - Everything below the **recovery point** is on the disk. It moves only after the bytes, the names and the leader
//!   epochs below it were synced ([`FlushWork`]), and goes back before anything below it is cut.
//! - Above it the log ends at the first batch that is not intact: a torn tail is cut, never served. Damage below it is
//!   an error, never cut ([`LogError::Damaged`]).
//! - Indexes, producer snapshots and leader epochs are derived: after an unclean stop they come from the batches.
//! - An fsync that fails is never tried again: the log goes offline, and recovery decides what there is.
//!
//! This crate is pure but for [`dir::fs`]: time is a parameter (milliseconds since 1970), nothing waits.

mod config;
#[cfg(test)]
mod crash_tests;
mod data_dir;
pub mod dir;
mod error;
mod index;
mod leader_epochs;
mod partition_log;
mod partition_metadata;
mod producer_state;
mod recovery;
mod reserve;
mod scan;
mod seeded;
mod segment;
mod text_file;

pub use config::{LogConfig, StoredAs};
pub use data_dir::{Checkpoint, DataDir, LastLife, Offsets, TopicPartition};
pub use error::{AppendError, LogError};
pub use leader_epochs::{EpochStart, LeaderEpochs};
pub use partition_log::PartitionLog;
pub use partition_log::append::AppendInfo;
pub use partition_log::flush::{FlushDone, FlushWork};
pub use partition_log::follow::FollowerAppend;
pub use partition_log::read::{ColdRead, LogSlice};
pub use partition_log::retention::RemovedSegments;
pub use producer_state::{BATCHES_REMEMBERED, ProducerEntry, ProducerState, SequenceRange};
pub use recovery::{OpenState, RecoveryReport};
pub use reserve::give_reserve;
pub use segment::TimestampOffset;
