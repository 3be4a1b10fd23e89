//! A replica that follows: what it asks its leader for, and what it does with the answer (KIP-101, 279, 595).

use std::time::Duration;

use broker_log::dir::Dir;
use broker_log::{AppendError, Checkpoint, LogError};
use model::{BrokerId, LeaderEpoch};
use protocol::ErrorCode;

use super::{Replica, Role};
use crate::follower::{FollowError, FollowerState, Truncation};
use crate::seeded::seeded_bug;

/// What to ask a leader for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPosition {
    /// The leader.
    pub leader: BrokerId,
    /// The epoch in which it leads.
    pub leader_epoch: LeaderEpoch,
    /// Where the log ends here.
    pub fetch_offset: i64,
    /// The epoch of the last record here; `None` if there is none that is known.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// Where the log starts here.
    pub log_start_offset: i64,
    /// What is known here to be committed.
    pub high_watermark: i64,
}

/// What a leader answers for one partition.
#[derive(Debug, Clone, Copy)]
pub struct LeaderAnswer<'a> {
    /// `None`, or why it refuses.
    pub error: ErrorCode,
    /// Its high watermark; -1 if it does not say.
    pub high_watermark: i64,
    /// Where its log starts; -1 if it does not say.
    pub log_start_offset: i64,
    /// Its log departs from ours: the largest epoch that both may have, and where that ends there.
    pub diverging: Option<(LeaderEpoch, i64)>,
    /// Batches from the offset on that was asked for.
    pub records: &'a [u8],
}

/// What became of an answer.
#[derive(Debug)]
pub enum Followed {
    /// Nothing: the question is not what would be asked now.
    Late,
    /// The log grew, or has all that there is.
    Took {
        /// Bytes appended.
        bytes: usize,
        /// More is known to be committed.
        watermark_moved: bool,
        /// The leader's log starts later than ours, here or beyond: what lies before may go.
        log_start_offset: Option<i64>,
    },
    /// [`Replica::truncate`] first. With `again`, take the same answer after it, as one to the position that is then.
    MustTruncate {
        /// The answer is not used up.
        again: bool,
    },
    /// It was in vain; the next attempt waits.
    Waits {
        /// What was in the way.
        why: FollowError,
        /// It is the first attempt of a row that was in vain, and should be told.
        first: bool,
    },
}

/// A log was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncated {
    /// Where it ended before.
    pub from: i64,
    /// Where it ends now.
    pub to: i64,
}

impl<D: Dir> Replica<D> {
    /// Follows this leader from now on; false if it does already. Who leads leads no longer.
    pub fn follow(&mut self, leader: BrokerId, leader_epoch: LeaderEpoch) -> bool {
        if self.leader().is_some() {
            self.resign();
        }
        match &mut self.role {
            Role::Follower(follower) => follower.follow(leader, leader_epoch),
            Role::Leader(_) => false,
        }
    }

    /// A record says that the leader of this epoch may lack committed records. What this log has beyond that leader's is of
    /// earlier epochs, and given up; a log that has records of that epoch has been cut already (METADATA 11).
    pub fn unclean_election(&mut self, epoch: LeaderEpoch) {
        if let Role::Follower(follower) = &mut self.role
            && self.log.latest_epoch().is_none_or(|latest| latest < epoch)
        {
            follower.give_up();
        }
    }

    /// Its state as follower, if it does not lead.
    pub fn follower(&self) -> Option<&FollowerState> {
        match &self.role {
            Role::Follower(follower) => Some(follower),
            Role::Leader(_) => None,
        }
    }

    /// What to ask the leader for, if it follows one and does not wait. `now` is of a clock that never goes back.
    pub fn fetch_position(&self, now: Duration) -> Option<FetchPosition> {
        let follower = self.follower().filter(|_| self.log.offline().is_none())?;
        let (leader, leader_epoch) = follower.asks(now)?;
        Some(FetchPosition {
            leader,
            leader_epoch,
            fetch_offset: self.log.log_end_offset(),
            last_fetched_epoch: self.log.latest_epoch(),
            log_start_offset: self.log.log_start_offset(),
            high_watermark: follower.high_watermark(),
        })
    }

    /// Takes what the leader answered to `asked`. `now` as above; `now_ms` is the time of the day, for the log.
    pub fn fetched(
        &mut self,
        asked: &FetchPosition,
        answer: &LeaderAnswer<'_>,
        now: Duration,
        now_ms: i64,
    ) -> Followed {
        let Role::Follower(follower) = &mut self.role else {
            return Followed::Late;
        };
        // Offset and epoch of the last record say all that is before it. The offset alone may be the same again after a cut,
        // and an answer from before the cut would cut once more.
        let asks = follower.asks(now);
        let still_asked =
            asks == Some((asked.leader, asked.leader_epoch)) || (seeded_bug!(AnswerOfAnyEpochTaken) && asks.is_some());
        let still_there =
            self.log.log_end_offset() == asked.fetch_offset && self.log.latest_epoch() == asked.last_fetched_epoch;
        if !still_asked || !(still_there || seeded_bug!(AnswerFromBeforeACutTaken)) {
            return Followed::Late;
        }
        let taken = match answer.error {
            ErrorCode::None => match answer.diverging {
                Some((epoch, end_offset)) => {
                    // The end of the largest epoch that both have, where it ends first: what follows is of one of them only.
                    let own = self.log.end_offset_for_epoch(epoch);
                    let own = own.map_or(asked.fetch_offset, |(_, end)| end);
                    let cut = if seeded_bug!(TruncatedToWatermark) {
                        follower.high_watermark()
                    } else {
                        own.min(end_offset)
                    };
                    let truncation = Truncation::To(cut);
                    follower
                        .must_truncate(truncation)
                        .map(|()| Followed::MustTruncate { again: false })
                }
                None => self.take(asked, answer, now_ms),
            },
            // It has nothing that follows on what is here: its log starts later, or was another one.
            ErrorCode::OffsetOutOfRange if answer.log_start_offset >= 0 => follower
                .must_truncate(Truncation::StartAt(answer.log_start_offset))
                .map(|()| Followed::MustTruncate { again: false }),
            refused => Err(FollowError::Refused(refused)),
        };
        taken.unwrap_or_else(|why| self.in_vain(why, now))
    }

    fn take(&mut self, asked: &FetchPosition, answer: &LeaderAnswer<'_>, now_ms: i64) -> Result<Followed, FollowError> {
        let appended = self.log.append_as_follower(answer.records, asked.leader_epoch, now_ms);
        let Role::Follower(follower) = &mut self.role else {
            return Ok(Followed::Late);
        };
        let appended = match appended {
            Err(AppendError::BeginsWithin { base_offset }) if self.log.log_start_offset() < asked.fetch_offset => {
                // Below its log start a leader cannot tell where the logs depart from each other.
                follower.must_truncate(Truncation::To(base_offset))?;
                return Ok(Followed::MustTruncate { again: false });
            }
            Err(AppendError::BeginsWithin { base_offset }) => {
                follower.begin_truncation(Truncation::StartAt(base_offset));
                return Ok(Followed::MustTruncate { again: true });
            }
            appended => appended?,
        };
        if appended.batches == 0 && !answer.records.is_empty() {
            return Err(FollowError::NoWholeBatch(answer.records.len()));
        }
        let watermark_moved = follower.advanced(answer.high_watermark, self.log.log_end_offset());
        let start = answer.log_start_offset.min(follower.high_watermark());
        Ok(Followed::Took {
            bytes: appended.bytes,
            watermark_moved,
            log_start_offset: (start > self.log.log_start_offset()).then_some(start),
        })
    }

    /// Cuts the log as the last answer wants it. `durably` writes one offset of the checkpoints to the disk.
    pub fn truncate(
        &mut self,
        now: Duration,
        mut durably: impl FnMut(Checkpoint, i64) -> Result<(), LogError>,
    ) -> Result<Option<Truncated>, FollowError> {
        let from = self.log.log_end_offset();
        let Some(truncation) = self.follower().and_then(FollowerState::truncation) else {
            return Ok(None);
        };
        let cut = match truncation {
            Truncation::To(offset) => self
                .log
                .truncate_to(offset, |point| durably(Checkpoint::RecoveryPoint, point)),
            Truncation::StartAt(offset) => self.log.truncate_fully_and_start_at(offset, durably),
        };
        let Role::Follower(follower) = &mut self.role else {
            return Ok(None);
        };
        match cut {
            Ok(()) => {
                follower.truncated(self.log.log_start_offset(), self.log.log_end_offset());
                Ok(Some(Truncated {
                    from,
                    to: self.log.log_end_offset(),
                }))
            }
            Err(error) => {
                follower.failed(now);
                Err(error.into())
            }
        }
    }

    /// The leader could not be asked: the connection is broken, or its answer is no answer.
    pub fn fetch_failed(&mut self, asked: &FetchPosition, now: Duration) {
        if let Role::Follower(follower) = &mut self.role
            && follower.asks(now) == Some((asked.leader, asked.leader_epoch))
        {
            follower.failed(now);
        }
    }

    fn in_vain(&mut self, why: FollowError, now: Duration) -> Followed {
        let first = match &mut self.role {
            Role::Follower(follower) => follower.failed(now),
            Role::Leader(_) => false,
        };
        Followed::Waits { why, first }
    }
}
