//! One replica of one partition: its log, its role, and what it knows to be committed.
//!
//! Everything that decides is here, so that the simulator over a simulated disk and the broker over the real one run the
//! same code. What must happen outside, waking those who wait for instance, comes back as a value.
//!
//! Always: `log_start_offset <= high_watermark <= log_end_offset` where it leads, and the watermark never goes back.

use broker_log::dir::Dir;
use broker_log::{AppendError, AppendInfo, PartitionLog};
use model::{LeaderEpoch, LogEnd};

use crate::follower::FollowerState;
use crate::leader::LeaderState;

mod following;
mod leading;
mod offsets;
mod reading;

pub use following::{FetchPosition, Followed, LeaderAnswer, Truncated};
pub use leading::Fetched;
pub use offsets::FoundOffset;
pub use reading::{FollowerReader, ReadSlice, ReadSpec, Reader};

/// What a replica is to its partition.
#[derive(Debug)]
pub enum Role {
    /// It takes writes and decides what is committed.
    Leader(Box<LeaderState>),
    /// Somebody else leads, or nobody does yet.
    Follower(FollowerState),
}

/// A replica. Its owner holds it under a short lock.
#[derive(Debug)]
pub struct Replica<D: Dir> {
    log: PartitionLog<D>,
    role: Role,
    /// What an append says, kept for its memory.
    outcomes: Vec<Result<AppendInfo, AppendError>>,
}

/// What the data directory's checkpoints say of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointOffsets {
    /// Everything before it was flushed.
    pub recovery_point: i64,
    /// The first offset.
    pub log_start_offset: i64,
    /// Known to be committed.
    pub high_watermark: i64,
}

impl<D: Dir> Replica<D> {
    /// A replica that leads nothing until it is told so. `high_watermark` is what the checkpoint of the last life says.
    pub fn new(log: PartitionLog<D>, high_watermark: i64) -> Self {
        // A log that lost its unsynced end ends below what it knew to be committed.
        let high_watermark = high_watermark.clamp(log.log_start_offset(), log.log_end_offset());
        Self {
            log,
            role: Role::Follower(FollowerState::new(high_watermark)),
            outcomes: Vec::new(),
        }
    }

    /// Its log.
    pub fn log(&self) -> &PartitionLog<D> {
        &self.log
    }

    /// Its log, for duties that are the same in every role: flushing, settings, expiry.
    pub fn log_mut(&mut self) -> &mut PartitionLog<D> {
        &mut self.log
    }

    /// Its log, at the end of its life here.
    pub fn into_log(self) -> PartitionLog<D> {
        self.log
    }

    /// What it is now.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Its state as leader, if it leads.
    pub fn leader(&self) -> Option<&LeaderState> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) => None,
        }
    }

    /// Everything before it is committed.
    pub fn high_watermark(&self) -> i64 {
        match &self.role {
            Role::Leader(leader) => leader.high_watermark(),
            Role::Follower(follower) => follower.high_watermark(),
        }
    }

    /// Leads no longer. The watermark outlives a leadership: the next one begins with it.
    // METADATA 11: never assigned lower. A checkpoint is up to half a minute old.
    pub fn resign(&mut self) {
        self.role = Role::Follower(FollowerState::new(self.high_watermark()));
    }

    /// Where its log ends, for the comparison with others; `None` if it cannot be used (METADATA 17).
    pub fn log_end(&self) -> Option<LogEnd> {
        let offline = self.log.offline().is_some();
        let end = self.log.log_end_offset();
        // Of the last record: a leadership that wrote nothing says nothing of who has what. Where all records are deleted,
        // the newest epoch is what is known of the last one.
        let epoch = if end > self.log.log_start_offset() {
            self.log.epoch_for_offset(end - 1)
        } else {
            self.log.latest_epoch()
        };
        (!offline).then(|| LogEnd {
            epoch: epoch.unwrap_or(LeaderEpoch(-1)),
            offset: end,
        })
    }

    /// What its checkpoints should say.
    pub fn checkpoint(&self) -> CheckpointOffsets {
        CheckpointOffsets {
            recovery_point: self.log.recovery_point(),
            log_start_offset: self.log.log_start_offset(),
            high_watermark: self.high_watermark(),
        }
    }
}
