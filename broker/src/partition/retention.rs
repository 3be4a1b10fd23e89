//! What the broker does to a partition's oldest segments.

use broker_log::dir::fs::FsDir;
use broker_log::{FlushWork, LogError, RemovedSegments};

use protocol::ErrorCode;

use super::{PartitionHandle, State};
use crate::refusal::Refusal;

/// The offset that stands for the high watermark in DeleteRecords.
const HIGH_WATERMARK: i64 = -1;

/// How often a deletion begins again because a segment was closed meanwhile.
const DELETE_ATTEMPTS: usize = 20;

impl PartitionHandle {
    /// Moves the log start past the segments that are too old or too many. Returns it if there are files below it, for
    /// [`Self::remove_before`]. The lock is not held while anything is synced.
    ///
    /// A follower's log starts where its leader's does, which it hears with what it fetches; `if_following` lets it do by
    /// itself what the leader does, as Kafka's always do.
    pub fn advance_log_start(&self, now_ms: i64, if_following: bool) -> Result<Option<i64>, LogError> {
        let mut advanced = None;
        for _ in 0..DELETE_ATTEMPTS {
            let (before, work) = match &mut self.inner.lock().replica {
                State::Open(replica) if if_following || replica.leader().is_some() => {
                    (replica.log().log_start_offset(), replica.begin_retention(now_ms)?)
                }
                _ => return Ok(advanced),
            };
            let is_nothing_old = work.is_none();
            let done = work.map(FlushWork::run);
            let mut inner = self.inner.lock();
            let State::Open(replica) = &mut inner.replica else {
                return Ok(None);
            };
            let log = replica.log_mut();
            if let Some(done) = done {
                log.end_flush(done)?;
            }
            advanced = log.advance_log_start()?;
            // Else a segment was closed while the others were synced, which must be, too.
            if is_nothing_old || log.log_start_offset() > before {
                break;
            }
        }
        Ok(advanced)
    }

    /// Lets the log start at `wanted` at least, or at the high watermark for -1, and returns which offset that is: all
    /// replicas must get so far, even if this one is further already. Waits for the disk, without the lock. The caller makes
    /// the log start durable before it answers (Kafka's `Partition.deleteRecordsOnLeader`).
    pub fn delete_records(&self, wanted: i64) -> Result<i64, Refusal> {
        for _ in 0..DELETE_ATTEMPTS {
            let (offset, work) = {
                let mut inner = self.inner.lock();
                let replica = inner.replica()?;
                let high_watermark = replica.leader_in(-1)?.high_watermark();
                let offset = if wanted == HIGH_WATERMARK {
                    high_watermark
                } else {
                    wanted
                };
                if !(0..=high_watermark).contains(&offset) {
                    let message = format!("offset {offset} is not within 0 and the high watermark {high_watermark}");
                    return Err(Refusal::new(ErrorCode::OffsetOutOfRange, message));
                }
                (offset, replica.log_mut().begin_delete_records(offset)?)
            };
            let done = work.map(FlushWork::run);
            let mut inner = self.inner.lock();
            let log = inner.replica()?.log_mut();
            if let Some(done) = done {
                log.end_flush(done)?;
            }
            if log.end_delete_records(offset)? {
                return Ok(offset);
            }
        }
        let message = "segments were closed faster than they could be flushed";
        Err(Refusal::new(ErrorCode::RequestTimedOut, message))
    }

    /// Why the log accepts nothing any more, if so.
    pub fn failure(&self) -> Option<LogError> {
        match &self.inner.lock().replica {
            State::Open(replica) => replica.log().offline().cloned(),
            State::Offline(_) | State::Closed => None,
        }
    }

    /// Takes the segments below `durable_log_start`, which the checkpoint on the disk says, out of the log.
    pub fn remove_before(&self, durable_log_start: i64) -> Result<Option<RemovedSegments<FsDir>>, LogError> {
        // Renamed under the lock: a log that is closed may have a successor of the same name.
        let (removed, work) = match &mut self.inner.lock().replica {
            State::Open(replica) => replica.log_mut().remove_before(durable_log_start)?,
            State::Offline(_) | State::Closed => return Ok(None),
        };
        let done = work.run();
        if let State::Open(replica) = &mut self.inner.lock().replica {
            replica.log_mut().end_flush(done)?;
        }
        Ok(Some(removed))
    }
}
