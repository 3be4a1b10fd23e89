//! The data directory's checkpoints: written every now and then, and whole at a clean stop.

use broker_log::{Checkpoint, LastLife, LogError, TopicPartition};
use model::BrokerEpoch;

use super::ReplicaManager;
use crate::clock::now_ms;
use crate::partition::{CheckpointOffsets, PartitionHandle};

impl ReplicaManager {
    /// Flushes what `flush.ms` says is due.
    pub fn flush_due(&self) {
        let now = now_ms();
        for partition in self.table.load_full().partitions() {
            if let Err(error) = partition.flush_if_due(now) {
                tracing::error!(topic_partition = %name_of(partition), %error, "flush failed");
            }
        }
    }

    /// Writes recovery points, log start offsets and high watermarks of all open partitions.
    pub fn write_checkpoints(&self) {
        let table = self.table.load_full();
        let points = table
            .partitions()
            .filter_map(|p| p.checkpoint().map(|point| (name_of(p), point)));
        if let Err(error) = self.write(points.collect()) {
            // The old checkpoints still hold: a restart only has more to read again.
            tracing::error!(%error, "checkpoints cannot be written");
        }
    }

    /// Closes every partition and writes the mark of a clean stop, which names the broker epoch (METADATA 16).
    ///
    /// Without a mark the next start recovers; so it does if any partition failed to close.
    pub fn close(&self, broker_epoch: Option<BrokerEpoch>) {
        let mut points = Vec::new();
        let mut clean = true;
        for partition in self.table.load_full().partitions() {
            match partition.close() {
                Ok(Some(point)) => points.push((name_of(partition), point)),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(topic_partition = %name_of(partition), %error, "not closed cleanly");
                    clean = false;
                }
            }
        }
        let marked = self.write(points).and_then(|()| match broker_epoch {
            Some(epoch) if clean => self.log_dir.write_clean_shutdown(epoch),
            _ => Ok(()),
        });
        if let Err(error) = marked {
            tracing::error!(%error, "no mark of a clean stop: the next start recovers");
        }
    }

    /// Takes partitions out of all checkpoints, before their directories get other names: the next log of that name must
    /// not inherit them.
    pub(super) fn forget_offsets(&self, names: &[TopicPartition]) -> Result<(), LogError> {
        let listed = {
            let mut left = self.left.lock();
            let LastLife {
                recovery_points,
                log_start_offsets,
                high_watermarks,
                ..
            } = &mut *left;
            let mut listed = false;
            for offsets in [recovery_points, log_start_offsets, high_watermarks] {
                for name in names {
                    listed |= offsets.remove(name).is_some();
                }
            }
            listed
        };
        if listed { self.write(Vec::new()) } else { Ok(()) }
    }

    /// Partitions that are not open keep what the last life said of them.
    fn write(&self, points: Vec<(TopicPartition, CheckpointOffsets)>) -> Result<(), LogError> {
        let mut left = self.left.lock();
        let LastLife {
            recovery_points,
            log_start_offsets,
            high_watermarks,
            ..
        } = &mut *left;
        for (name, point) in points {
            recovery_points.insert(name.clone(), point.recovery_point);
            if point.log_start_offset > 0 {
                log_start_offsets.insert(name.clone(), point.log_start_offset);
            }
            if let Some(high_watermark) = point.high_watermark {
                high_watermarks.insert(name, high_watermark);
            }
        }
        // Under the lock: two writers of one file would mix old and new.
        self.log_dir.write(Checkpoint::RecoveryPoint, recovery_points)?;
        self.log_dir.write(Checkpoint::LogStartOffset, log_start_offsets)?;
        self.log_dir.write(Checkpoint::HighWatermark, high_watermarks)
    }
}

pub(super) fn name_of(partition: &PartitionHandle) -> TopicPartition {
    TopicPartition {
        topic: partition.topic.clone(),
        partition: partition.index,
    }
}
