//! What the broker does to a partition's oldest segments.

use broker_log::dir::fs::FsDir;
use broker_log::{FlushWork, LogError, RemovedSegments};

use super::{LogState, PartitionHandle, Role};

impl PartitionHandle {
    /// Moves the log start past the segments that are too old or too many. Returns it if there are files below it, for
    /// [`Self::remove_before`]. The lock is not held while anything is synced.
    pub fn advance_log_start(&self, now_ms: i64) -> Result<Option<i64>, LogError> {
        let work = {
            let mut inner = self.inner.lock();
            let inner = &mut *inner;
            match (&mut inner.log, &inner.role) {
                (LogState::Open(log), Role::Leader(leader)) => log.begin_retention(now_ms, leader.high_watermark())?,
                _ => return Ok(None),
            }
        };
        let done = work.map(FlushWork::run);
        match &mut self.inner.lock().log {
            LogState::Open(log) => {
                if let Some(done) = done {
                    log.end_flush(done)?;
                }
                log.advance_log_start()
            }
            LogState::Offline(_) | LogState::Closed => Ok(None),
        }
    }

    /// Takes the segments below `durable_log_start`, which the checkpoint on the disk says, out of the log.
    pub fn remove_before(&self, durable_log_start: i64) -> Result<Option<RemovedSegments<FsDir>>, LogError> {
        // Renamed under the lock: a log that is closed may have a successor of the same name.
        let (removed, work) = match &mut self.inner.lock().log {
            LogState::Open(log) => log.remove_before(durable_log_start)?,
            LogState::Offline(_) | LogState::Closed => return Ok(None),
        };
        let done = work.run();
        if let LogState::Open(log) = &mut self.inner.lock().log {
            log.end_flush(done)?;
        }
        Ok(Some(removed))
    }
}
