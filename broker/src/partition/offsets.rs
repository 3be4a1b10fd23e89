//! Offsets of a partition by time and by special name, and its background duties.

use broker_log::LogError;
use broker_replication::FoundOffset;
use model::LeaderEpoch;

use super::{CheckpointOffsets, PartitionHandle, State};
use crate::refusal::Refusal;

impl PartitionHandle {
    /// The offset for a timestamp in milliseconds, or for one of Kafka's special ones (-1 to -5).
    pub fn find_offset(&self, timestamp: i64, current_leader_epoch: i32) -> Result<FoundOffset, Refusal> {
        let mut inner = self.inner.lock();
        Ok(inner.replica()?.find_offset(timestamp, current_leader_epoch)?)
    }

    /// The largest leader epoch not above `epoch` and the offset at which it ends; `None` for one that is not known here.
    pub fn end_offset_for_epoch(&self, epoch: i32, current_leader_epoch: i32) -> Result<Option<(i32, i64)>, Refusal> {
        let mut inner = self.inner.lock();
        let replica = inner.replica()?;
        let found = replica.end_offset_for_epoch(LeaderEpoch(epoch), current_leader_epoch)?;
        Ok(found.map(|(epoch, end)| (epoch.0, end)))
    }

    /// What the checkpoints of a running broker say of this partition; `None` if its log is not open.
    pub fn checkpoint(&self) -> Option<CheckpointOffsets> {
        match &self.inner.lock().replica {
            State::Open(replica) => Some(replica.checkpoint()),
            State::Offline(_) | State::Closed => None,
        }
    }

    /// Flushes what `flush.ms` asks for, and segments that were closed since; says whether there was anything. The lock is
    /// not held during the flush.
    pub fn flush_if_due(&self, now_ms: i64) -> Result<bool, LogError> {
        let due = match &mut self.inner.lock().replica {
            State::Open(replica) => replica.log_mut().begin_due_flush(now_ms)?,
            State::Offline(_) | State::Closed => None,
        };
        let Some(work) = due else {
            return Ok(false);
        };
        let done = work.run();
        if let State::Open(replica) = &mut self.inner.lock().replica {
            replica.log_mut().end_flush(done)?;
        }
        Ok(true)
    }

    /// Forgets producers that have been silent for `producer.id.expiration.ms`.
    pub fn expire_producers(&self, now_ms: i64) {
        if let State::Open(replica) = &mut self.inner.lock().replica {
            replica.log_mut().expire_producers(now_ms);
        }
    }

    /// Bytes on disk; 0 if the log is not open.
    pub fn size_bytes(&self) -> u64 {
        match &self.inner.lock().replica {
            State::Open(replica) => replica.log().size_bytes(),
            State::Offline(_) | State::Closed => 0,
        }
    }
}
