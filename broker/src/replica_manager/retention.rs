//! Old segments: `retention.ms` and `retention.bytes` for all partitions that this broker leads.

use std::sync::Arc;

use broker_log::RemovedSegments;
use broker_log::dir::fs::FsDir;

use super::ReplicaManager;
use super::checkpoints::name_of;
use crate::clock::now_ms;
use crate::partition::PartitionHandle;

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
        let mut moved: Vec<(Arc<PartitionHandle>, i64)> = Vec::new();
        for partition in self.table.load_full().partitions() {
            match partition.advance_log_start(now) {
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
                    let at_ms = now.saturating_add(segments.delay_ms());
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
