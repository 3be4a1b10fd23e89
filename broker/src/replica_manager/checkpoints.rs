//! The data directory's checkpoints: written every now and then, and whole at a clean stop.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use broker_log::{Checkpoint, LastLife, LogError, Offsets, TopicPartition};
use model::BrokerEpoch;

use super::ReplicaManager;
use crate::clock::now_ms;
use crate::partition::{CheckpointOffsets, PartitionHandle};

/// What the three checkpoint files should say and what they do say.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// The last life left its mark, so logs need no scan.
    clean: bool,
    /// Partitions that are not open keep what the last life said of them.
    now: [Offsets; 3],
    written: [Offsets; 3],
}

/// Which partitions [`ReplicaManager::flush_due`] looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Those of topics with a `flush.ms`.
    ByTime,
    /// All: segments that were closed are flushed too, or a restart after a kill would have to read them again.
    Everything,
}

/// Threads that close partitions at a stop; they do little but wait for the disk.
const CLOSING_THREADS: usize = 32;

/// Below this number of partitions a further thread is not worth its start.
const CLOSED_BY_ONE: usize = 4;

/// What a partition says when it closes.
type Closed = Result<Option<CheckpointOffsets>, LogError>;

/// In the order of [`Checkpoints`]' arrays.
const FILES: [Checkpoint; 3] = [
    Checkpoint::RecoveryPoint,
    Checkpoint::LogStartOffset,
    Checkpoint::HighWatermark,
];

impl Checkpoints {
    pub(super) fn new(left: LastLife) -> Self {
        let now = [left.recovery_points, left.log_start_offsets, left.high_watermarks];
        Self {
            clean: left.clean_shutdown.is_some(),
            written: now.clone(),
            now,
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        self.clean
    }

    /// Recovery point, log start offset and high watermark of a partition; 0 where nothing is said.
    pub(super) fn of(&self, name: &TopicPartition) -> [i64; 3] {
        self.now
            .each_ref()
            .map(|offsets| offsets.get(name).copied().unwrap_or(0))
    }

    /// One offset, whatever was said before.
    pub(super) fn put(&mut self, name: &TopicPartition, file: Checkpoint, offset: i64) {
        for (kind, offsets) in FILES.into_iter().zip(&mut self.now) {
            if kind == file {
                offsets.insert(name.clone(), offset);
            }
        }
    }

    pub(super) fn set(&mut self, name: &TopicPartition, point: CheckpointOffsets) {
        let [recovery_points, log_start_offsets, high_watermarks] = &mut self.now;
        recovery_points.insert(name.clone(), point.recovery_point);
        if point.log_start_offset > 0 {
            log_start_offsets.insert(name.clone(), point.log_start_offset);
        }
        high_watermarks.insert(name.clone(), point.high_watermark);
    }
}

impl ReplicaManager {
    /// Looks how full the disk is and whether a log has failed, and keeps room back while there is some.
    pub fn look_at_disk(&self) {
        self.disk.look();
        if let Some(error) = self
            .table
            .load_full()
            .partitions()
            .find_map(|partition| partition.failure())
        {
            self.disk.failed(&error);
        }
        if self.disk.is_sound() && !self.disk.is_full() {
            match self.log_dir.reserve() {
                Ok(_) => {}
                Err(error) => self.disk.failed(&error),
            }
        }
    }

    /// Flushes what is due: of every partition, or only of topics with a `flush.ms`, which is asked for more often.
    pub fn flush_due(&self, of: Flush) {
        let now = now_ms();
        let table = self.table.load_full();
        let topics = table
            .by_id
            .values()
            .filter(|topic| of == Flush::Everything || topic.flushes_by_time);
        for partition in topics.flat_map(|topic| topic.partitions.iter().flatten()) {
            let began = Instant::now();
            match partition.flush_if_due(now) {
                Ok(true) => self.metrics.flushes.observe(began.elapsed().as_secs_f64()),
                Ok(false) => {}
                Err(error) => tracing::error!(topic_partition = %name_of(partition), %error, "flush failed"),
            }
        }
    }

    /// Forgets idempotent producers that have been silent for long.
    pub fn expire_producers(&self) {
        let now = now_ms();
        for partition in self.table.load_full().partitions() {
            partition.expire_producers(now);
        }
    }

    /// Writes recovery points, log start offsets and high watermarks of all open partitions; false if that failed.
    pub fn write_checkpoints(&self) -> bool {
        let mut checkpoints = self.checkpoints.lock();
        // Asked under the lock: a partition that closes meanwhile must not come back with what it said before.
        for partition in self.table.load_full().partitions() {
            if let Some(point) = partition.checkpoint() {
                checkpoints.set(&name_of(partition), point);
            }
        }
        if let Err(error) = self.write(&mut checkpoints) {
            // The old checkpoints still hold: a restart only has more to read again.
            tracing::error!(%error, "checkpoints cannot be written");
            return false;
        }
        true
    }

    /// Closes every partition and writes the mark of a clean stop, which names the broker epoch (METADATA 16).
    ///
    /// Without a mark the next start recovers; so it does if any partition failed to close.
    pub fn close(&self, broker_epoch: Option<BrokerEpoch>) {
        let mut checkpoints = self.checkpoints.lock();
        let partitions: Vec<Arc<PartitionHandle>> = self.table.load_full().partitions().cloned().collect();
        let closed = close_all(&partitions);
        let mut clean = closed.len() == partitions.len();
        for (partition, closed) in closed {
            match closed {
                Ok(Some(point)) => checkpoints.set(&name_of(partition), point),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(topic_partition = %name_of(partition), %error, "not closed cleanly");
                    clean = false;
                }
            }
        }
        let marked = self.write(&mut checkpoints).and_then(|()| match broker_epoch {
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
        let mut checkpoints = self.checkpoints.lock();
        for offsets in &mut checkpoints.now {
            offsets.retain(|name, _| !names.contains(name));
        }
        self.write(&mut checkpoints)
    }

    /// Writes the files that have changed: an idle broker leaves its disk alone.
    pub(super) fn write(&self, checkpoints: &mut Checkpoints) -> Result<(), LogError> {
        for ((file, now), written) in FILES.into_iter().zip(&checkpoints.now).zip(&mut checkpoints.written) {
            if now != written {
                let result = match self.log_dir.write(file, now) {
                    Err(LogError::StorageFull { .. }) if self.log_dir.give_reserve() => self.log_dir.write(file, now),
                    result => result,
                };
                result.inspect_err(|error| self.disk.failed(error))?;
                written.clone_from(now);
            }
        }
        Ok(())
    }
}

/// Closes partitions on several threads: each waits for the disk, which takes many syncs at once nearly as fast as one.
/// Those of a thread that failed are missing from the result.
fn close_all(partitions: &[Arc<PartitionHandle>]) -> Vec<(&PartitionHandle, Closed)> {
    let share = partitions.len().div_ceil(CLOSING_THREADS).max(CLOSED_BY_ONE);
    let close = |partition: &'_ PartitionHandle| partition.close();
    if partitions.len() <= share {
        return partitions
            .iter()
            .map(|partition| (&**partition, close(partition)))
            .collect();
    }
    thread::scope(|scope| {
        let threads: Vec<_> = partitions
            .chunks(share)
            .map(|some| scope.spawn(move || some.iter().map(|one| (&**one, close(one))).collect::<Vec<_>>()))
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .flatten()
            .collect()
    })
}

pub(super) fn name_of(partition: &PartitionHandle) -> TopicPartition {
    TopicPartition {
        topic: partition.topic.clone(),
        partition: partition.index,
    }
}
