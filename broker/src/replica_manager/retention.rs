//! Old segments: `retention.ms` and `retention.bytes` for all partitions that this broker leads, and where room must be made,
//! for those that it follows.

use std::sync::Arc;

use broker_log::dir::fs::FsDir;
use broker_log::{LogError, RemovedSegments};
use protocol::ErrorCode;

use super::ReplicaManager;
use super::checkpoints::name_of;
use crate::clock::now_ms;
use crate::partition::PartitionHandle;
use crate::refusal::Refusal;

/// Files that were taken out of their logs and wait for `file.delete.delay.ms`.
#[derive(Debug)]
pub(super) struct Removed {
    /// When their space is freed.
    pub(super) at_ms: i64,
    segments: RemovedSegments<FsDir>,
}

impl ReplicaManager {
    /// Takes old segments out of the logs. Their files go with [`Self::free_removed`].
    pub fn apply_retention(&self) {
        let now = now_ms();
        // Nothing is fetched to a full disk, so nobody would say where the logs of followers may start.
        let if_following = self.disk.is_full();
        let mut moved: Vec<(Arc<PartitionHandle>, i64)> = Vec::new();
        for partition in self.table.load_full().partitions() {
            let advanced = match partition.advance_log_start(now, if_following) {
                // What frees space writes a little first.
                Err(LogError::StorageFull { .. }) if self.log_dir.give_reserve() => {
                    partition.advance_log_start(now, if_following)
                }
                advanced => advanced,
            };
            match advanced {
                Ok(Some(start)) => moved.push((Arc::clone(partition), start)),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(topic_partition = %name_of(partition), %error, "old segments are not removed");
                }
            }
        }
        // One checkpoint for all of them; no file goes before it is on the disk.
        if moved.is_empty() || !self.write_checkpoints() {
            return;
        }
        self.remove_before(moved);
    }

    /// Lets partitions start at an offset, or at the high watermark for -1, and returns which offset that is; each result in
    /// its place. What is said is on the disk.
    pub fn delete_records(
        &self,
        wanted: Vec<Result<(Arc<PartitionHandle>, i64), Refusal>>,
    ) -> Vec<Result<i64, Refusal>> {
        let mut moved: Vec<(Arc<PartitionHandle>, i64)> = Vec::new();
        let results: Vec<Result<i64, Refusal>> = wanted
            .into_iter()
            .map(|entry| {
                let (partition, offset) = entry?;
                let start = partition.delete_records(offset)?;
                moved.push((partition, start));
                Ok(start)
            })
            .collect();
        if moved.is_empty() {
            return results;
        }
        if !self.write_checkpoints() {
            let lost = || Refusal::new(ErrorCode::KafkaStorageError, "the log start offset cannot be written");
            return results
                .into_iter()
                .map(|result| result.and_then(|_| Err(lost())))
                .collect();
        }
        self.remove_before(moved);
        results
    }

    /// Takes segments below log starts that are durable out of the logs.
    pub(super) fn remove_before(&self, moved: Vec<(Arc<PartitionHandle>, i64)>) {
        let now = now_ms();
        for (partition, start) in moved {
            match partition.remove_before(start) {
                Ok(Some(segments)) if segments.segments() > 0 => {
                    tracing::info!(
                        topic_partition = %name_of(&partition),
                        log_start_offset = start,
                        segments = segments.segments(),
                        bytes = segments.bytes(),
                        "old segments are removed"
                    );
                    // On a full disk nobody waits; readers that hold a file go on with it.
                    let delay = if self.disk.is_full() { 0 } else { segments.delay_ms() };
                    let at_ms = now.saturating_add(delay);
                    self.removed.lock().push(Removed { at_ms, segments });
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(topic_partition = %name_of(&partition), %error, "old segments are not removed");
                }
            }
        }
    }

    /// Frees the space of removed segments after `file.delete.delay.ms`.
    pub fn free_removed(&self) {
        let now = now_ms();
        let due: Vec<Removed> = self.removed.lock().extract_if(.., |one| one.at_ms <= now).collect();
        for one in due {
            if let Err(error) = one.segments.remove() {
                tracing::error!(%error, "the space of an old segment is not freed before the next start");
            }
        }
    }
}
