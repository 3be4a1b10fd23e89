//! A partition that another broker leads.

use std::time::Duration;

use broker_log::dir::fs::FsDir;
use broker_log::{Checkpoint, FlushWork, LogError, PartitionLog};
use broker_replication::{FetchPosition, FollowError, Followed, FollowerState, LeaderAnswer, Replica, Truncated};
use model::{BrokerId, LeaderEpoch};

use super::{PartitionHandle, State};

/// How often a move of the log start begins again because a segment was closed meanwhile.
const LOG_START_ATTEMPTS: usize = 20;

impl PartitionHandle {
    /// Follows this leader from now on; false if it does already, or cannot.
    pub fn follow(&self, leader: BrokerId, leader_epoch: LeaderEpoch) -> bool {
        let mut inner = self.inner.lock();
        let State::Open(replica) = &mut inner.replica else {
            return false;
        };
        let changed = replica.follow(leader, leader_epoch);
        if changed {
            inner.drain();
        }
        changed
    }

    /// Whether the log cannot be opened since records that were durable are gone: nothing here mends that.
    pub fn has_lost_records(&self) -> bool {
        matches!(
            self.inner.lock().replica,
            State::Offline(LogError::Damaged { .. } | LogError::Missing { .. } | LogError::LostBeginning { .. })
        )
    }

    /// Another log in the place of one that could not be opened.
    pub(crate) fn begin_anew(&self, log: PartitionLog<FsDir>) {
        let mut inner = self.inner.lock();
        if let State::Offline(_) = inner.replica {
            inner.replica = State::Open(Box::new(Replica::new(log, 0)));
        }
    }

    /// See [`broker_replication::Replica::unclean_election`].
    pub(crate) fn unclean_election(&self, epoch: LeaderEpoch) {
        if let State::Open(replica) = &mut self.inner.lock().replica {
            replica.unclean_election(epoch);
        }
    }

    /// What to ask the leader for now, or else when there will be something to ask, if that is known.
    pub(crate) fn fetch_position(&self, now: Duration) -> Result<FetchPosition, Option<Duration>> {
        match &self.inner.lock().replica {
            State::Open(replica) => replica
                .fetch_position(now)
                .ok_or_else(|| replica.follower().and_then(FollowerState::waits_until)),
            State::Offline(_) | State::Closed => Err(None),
        }
    }

    /// Takes what the leader answered: see [`broker_replication::Replica::fetched`].
    pub(crate) fn fetched(
        &self,
        asked: &FetchPosition,
        answer: &LeaderAnswer<'_>,
        now: Duration,
        now_ms: i64,
    ) -> Followed {
        let mut inner = self.inner.lock();
        let State::Open(replica) = &mut inner.replica else {
            return Followed::Late;
        };
        let followed = replica.fetched(asked, answer, now, now_ms);
        if let Followed::Took {
            watermark_moved,
            log_start_offset,
            ..
        } = followed
        {
            if let Some(start) = log_start_offset {
                inner.leaders_log_start = inner.leaders_log_start.max(start);
            }
            if watermark_moved {
                // Consumers of this rack read here (KIP-392).
                inner.wake_committed();
            }
        }
        followed
    }

    /// Cuts the log as the last answer wants it: see [`broker_replication::Replica::truncate`].
    pub(crate) fn truncate(
        &self,
        now: Duration,
        durably: impl FnMut(Checkpoint, i64) -> Result<(), LogError>,
    ) -> Result<Option<Truncated>, FollowError> {
        match &mut self.inner.lock().replica {
            State::Open(replica) => replica.truncate(now, durably),
            State::Offline(_) | State::Closed => Ok(None),
        }
    }

    /// Lets the log start where the leader's does, if it has said so, and returns where that is if it moved. The lock is
    /// not held while anything is synced.
    pub fn follow_log_start(&self) -> Result<Option<i64>, LogError> {
        for _ in 0..LOG_START_ATTEMPTS {
            let (wanted, work) = {
                let mut inner = self.inner.lock();
                let wanted = inner.leaders_log_start;
                let State::Open(replica) = &mut inner.replica else {
                    return Ok(None);
                };
                let log = replica.log_mut();
                let within = (log.log_start_offset() + 1..=log.log_end_offset()).contains(&wanted);
                if !within || log.offline().is_some() {
                    return Ok(None);
                }
                (wanted, log.begin_delete_records(wanted)?)
            };
            let done = work.map(FlushWork::run);
            let State::Open(replica) = &mut self.inner.lock().replica else {
                return Ok(None);
            };
            let log = replica.log_mut();
            if let Some(done) = done {
                log.end_flush(done)?;
            }
            if log.end_delete_records(wanted)? {
                return Ok(Some(log.log_start_offset()));
            }
        }
        Ok(None)
    }

    /// How many committed records are still to be fetched, if it follows and knows.
    pub fn lag(&self) -> Option<i64> {
        match &self.inner.lock().replica {
            State::Open(replica) => replica.follower()?.lag(replica.log().log_end_offset()),
            State::Offline(_) | State::Closed => None,
        }
    }
}
