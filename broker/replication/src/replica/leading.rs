//! A replica that leads: it takes writes, and its watermark says what is committed.

use broker_log::dir::Dir;
use broker_log::{AppendError, AppendInfo, FlushWork, LogError};
use model::{BrokerId, LeaderEpoch};

use super::reading::{check_epoch, departs};
use super::{FollowerReader, ReadSpec, Reader, Replica, Role};
use crate::error::ReplicaError;
use crate::isr::IsrProposed;
use crate::leader::{Acks, FollowerFetch, FollowerRefusal, LeaderState, ReadReplica, ReplicaView};
use crate::seeded::seeded_bug;

/// What a follower's fetch changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetched {
    /// More is committed now.
    pub watermark_moved: bool,
    /// The follower may be fit to join the in-sync replicas: see [`Replica::propose`].
    pub may_join: bool,
}

impl<D: Dir> Replica<D> {
    /// Leads from now on, or goes on leading with a new state. Returns true if the watermark may have moved.
    ///
    /// Times that say how far followers lag are milliseconds of any clock that does not go back.
    pub fn lead(&mut self, local: BrokerId, view: &ReplicaView, now_ms: i64) -> Result<bool, ReplicaError> {
        match &mut self.role {
            Role::Leader(leader) if leader.leader_epoch() == view.leader_epoch => Ok(leader.update(view, now_ms)),
            _ => {
                self.log.begin_epoch(view.leader_epoch)?;
                self.log.none_forgotten_from(view.next_producer_id);
                let start = self.high_watermark().max(self.log.log_start_offset());
                let leader = LeaderState::new(local, view, self.log.log_end_offset(), start, now_ms);
                self.role = Role::Leader(Box::new(leader));
                Ok(true)
            }
        }
    }

    /// The leader's state, after the checks that every client request undergoes (Kafka's `checkCurrentLeaderEpoch`); -1
    /// does not say which epoch the client believes in.
    pub fn leader_in(&self, current_leader_epoch: i32) -> Result<&LeaderState, ReplicaError> {
        let leader = self.leader().ok_or(ReplicaError::NotLeader)?;
        check_epoch(leader.leader_epoch(), current_leader_epoch)?;
        Ok(leader)
    }

    /// The same for a follower: it must say its leader epoch, and who it is.
    pub(super) fn leader_of(
        &self,
        reader: FollowerReader,
        current_leader_epoch: i32,
    ) -> Result<&LeaderState, ReplicaError> {
        let any_epoch = seeded_bug!(FetchOfAnyEpochServed);
        let leader = self.leader_in(if any_epoch { -1 } else { current_leader_epoch })?;
        match leader.check_follower(reader.replica, reader.broker_epoch) {
            // Kafka's answer: without an epoch nothing says that it knows a newer assignment than this leader.
            Err(FollowerRefusal::NoReplica(_)) if current_leader_epoch < 0 => return Err(ReplicaError::NotLeader),
            checked => checked?,
        }
        if !any_epoch && current_leader_epoch != leader.leader_epoch().0 {
            return Err(ReplicaError::UnknownLeaderEpoch {
                ours: leader.leader_epoch().0,
                theirs: current_leader_epoch,
            });
        }
        Ok(leader)
    }

    /// Appends batches of producers, in order, with one write. The outcomes, one per batch, are drained by the caller.
    /// Returns true if the watermark moved.
    ///
    /// With `flush.messages=1` the bytes are on the disk when this returns.
    pub fn append_as_leader(
        &mut self,
        batches: &mut [&mut [u8]],
        all_replicas: bool,
        current_leader_epoch: i32,
        now_ms: i64,
    ) -> Result<bool, ReplicaError> {
        self.outcomes.clear();
        let leader = self.leader_in(current_leader_epoch)?;
        if all_replicas {
            leader.check_min_isr()?;
        }
        let epoch = leader.leader_epoch();
        self.log.append_as_leader(batches, epoch, now_ms, &mut self.outcomes);
        let Role::Leader(leader) = &mut self.role else {
            return Err(ReplicaError::NotLeader);
        };
        Ok(leader.appended(self.log.log_end_offset()))
    }

    /// What the last append said, one entry per batch; its memory stays here.
    pub fn outcomes(&mut self) -> &mut Vec<Result<AppendInfo, AppendError>> {
        &mut self.outcomes
    }

    /// A follower fetches: what that says of it is noted before anything is read for it. Returns what it changed.
    ///
    /// # Errors
    /// Nothing is noted of a follower that is none, of another leader epoch, or of a position that is not in this log.
    /// A log that departs from this one is no error here: it is noted nowhere, and the read says where it departs.
    // METADATA 13, 14: what counts is fetched in this leader epoch, by the registration that the image knows.
    pub fn follower_fetched(&mut self, spec: &ReadSpec, now_ms: i64) -> Result<Fetched, ReplicaError> {
        let Reader::Follower(reader) = spec.reader else {
            return Ok(Fetched::default());
        };
        self.leader_of(reader, spec.current_leader_epoch)?;
        if departs(&self.log, spec)?.is_some() {
            return Ok(Fetched::default());
        }
        let (log_start_offset, log_end_offset) = (self.log.log_start_offset(), self.log.log_end_offset());
        if !(log_start_offset..=log_end_offset).contains(&spec.offset) {
            return Err(ReplicaError::Log(LogError::OffsetOutOfRange {
                requested: spec.offset,
                log_start_offset,
                log_end_offset,
            }));
        }
        let Role::Leader(leader) = &mut self.role else {
            return Err(ReplicaError::NotLeader);
        };
        let fetch = FollowerFetch {
            replica: reader.replica,
            broker_epoch: reader.broker_epoch,
            log_end_offset: spec.offset,
            log_start_offset: reader.log_start_offset,
        };
        Ok(Fetched {
            watermark_moved: leader.follower_fetched(&fetch, now_ms)?,
            may_join: leader.may_join(reader.replica),
        })
    }

    /// In-sync followers from which a client that stands at `offset` may read, each with where its log ends and when it last
    /// had everything.
    ///
    /// # Errors
    /// As of [`Self::leader_in`].
    pub fn read_replicas(
        &self,
        current_leader_epoch: i32,
        offset: i64,
    ) -> Result<impl Iterator<Item = ReadReplica>, ReplicaError> {
        Ok(self.leader_in(current_leader_epoch)?.read_replicas(offset))
    }

    /// The in-sync replicas to propose now, if there are any to propose. See [`LeaderState::propose`].
    pub fn propose(&mut self, now_ms: i64, max_lag_ms: i64) -> Option<IsrProposed> {
        match &mut self.role {
            Role::Leader(leader) => leader.propose(now_ms, max_lag_ms),
            Role::Follower(_) => None,
        }
    }

    /// A proposal failed, or nobody answered: see [`LeaderState::proposal_failed`].
    pub fn proposal_failed(&mut self, proposed: &IsrProposed, now_ms: i64, wait_ms: i64) {
        if let Role::Leader(leader) = &mut self.role {
            leader.proposal_failed(proposed, now_ms, wait_ms);
        }
    }

    /// How far an `acks=all` request is whose last record lies just before `required`, and which was appended in
    /// `leader_epoch`.
    ///
    /// # Errors
    /// [`ReplicaError::NotLeader`] if that leadership has ended: the next leader may have the records or not.
    pub fn acks(&self, leader_epoch: LeaderEpoch, required: i64) -> Result<Acks, ReplicaError> {
        match self.leader() {
            Some(leader) if leader.leader_epoch() == leader_epoch => Ok(leader.acks(required)),
            _ => Err(ReplicaError::NotLeader),
        }
    }

    /// Where the logs of all live replicas start, at most: see [`LeaderState::low_watermark`].
    ///
    /// # Errors
    /// [`ReplicaError::NotLeader`].
    pub fn low_watermark(&self) -> Result<Option<i64>, ReplicaError> {
        let leader = self.leader().ok_or(ReplicaError::NotLeader)?;
        Ok(leader.low_watermark(self.log.log_start_offset()))
    }

    /// What retention has to sync before it may move the log start. What is not committed stays.
    pub fn begin_retention(&mut self, now_ms: i64) -> Result<Option<FlushWork<D>>, LogError> {
        self.log.begin_retention(now_ms, self.high_watermark())
    }
}
