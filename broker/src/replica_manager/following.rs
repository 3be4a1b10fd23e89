//! What is fetched from leaders goes to the logs here, and what it asks for besides.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_replication::{FetchPosition, FollowError, Followed, LeaderAnswer, Truncated};
use model::BrokerId;
use uuid::Uuid;

use super::ReplicaManager;
use super::checkpoints::name_of;
use crate::clock::{monotonic, now_ms};
use crate::metrics::TopicCounter;
use crate::partition::PartitionHandle;

/// What a leader knows a partition by: its topic's id, and its number.
pub type PartitionKey = (Uuid, i32);

/// Partitions that follow one leader.
pub type FollowedPartitions = HashMap<PartitionKey, Arc<PartitionHandle>>;

/// Whom the partitions of this broker follow, after an image.
#[derive(Debug, Default)]
pub struct Following {
    /// By leader.
    pub(crate) followed: BTreeMap<BrokerId, FollowedPartitions>,
    /// Leaders that have partitions which did not follow them before, in this epoch.
    pub(crate) changed: BTreeSet<BrokerId>,
}

impl ReplicaManager {
    /// Takes what a leader answered for a partition that follows it. Waits for the disk where a log must be cut.
    pub(crate) fn fetched(&self, partition: &PartitionHandle, asked: &FetchPosition, answer: &LeaderAnswer<'_>) {
        let mut asked = *asked;
        loop {
            match partition.fetched(&asked, answer, monotonic(), now_ms()) {
                Followed::Took {
                    bytes,
                    log_start_offset,
                    ..
                } => {
                    if log_start_offset.is_some() {
                        self.log_starts_wanted.store(true, Ordering::Release);
                    }
                    if bytes > 0 {
                        partition.metrics.add(TopicCounter::ReplicationBytesIn, bytes as u64);
                    }
                    return;
                }
                Followed::Late => return,
                Followed::Waits { why, first } => {
                    if first {
                        tell(partition, &asked, &why);
                    }
                    return;
                }
                Followed::MustTruncate { again } => {
                    if !self.truncate(partition, &asked) || !again {
                        return;
                    }
                    match partition.fetch_position(monotonic()) {
                        Ok(position) => asked = position,
                        Err(_) => return,
                    }
                }
            }
        }
    }

    /// Cuts a log as its leader wants it. The checkpoints are held first, then the partition, as by those who write them.
    fn truncate(&self, partition: &PartitionHandle, asked: &FetchPosition) -> bool {
        let name = name_of(partition);
        let committed = || partition.look().map(|look| look.high_watermark);
        let before = committed();
        let mut checkpoints = self.checkpoints.lock();
        let cut = partition.truncate(monotonic(), |file, offset| {
            checkpoints.put(&name, file, offset);
            self.write(&mut checkpoints)
        });
        drop(checkpoints);
        match cut {
            Ok(Some(Truncated { from, to })) => {
                if committed() < before {
                    tracing::error!(topic_partition = %name, leader = %asked.leader, leader_epoch = %asked.leader_epoch, from, to, "committed records are given up, since the leader was elected without them");
                }
                tracing::info!(topic_partition = %name, leader = %asked.leader, leader_epoch = %asked.leader_epoch, from, to, "the log is cut: it departed from the leader's");
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::error!(topic_partition = %name, %error, "the log departs from the leader's and cannot be cut");
                false
            }
        }
    }

    /// Lets logs start where their leaders' do, as far as those have said so: what retention and DeleteRecords mean for
    /// followers.
    pub fn follow_log_starts(&self) {
        if !self.log_starts_wanted.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut moved: Vec<(Arc<PartitionHandle>, i64)> = Vec::new();
        for partition in self.table.load_full().partitions() {
            match partition.follow_log_start() {
                Ok(Some(start)) => moved.push((Arc::clone(partition), start)),
                Ok(None) => {}
                Err(error) => {
                    // The leader says it again with its next records.
                    tracing::error!(topic_partition = %name_of(partition), %error, "the log start does not follow the leader's");
                }
            }
        }
        if !moved.is_empty() && self.write_checkpoints() {
            self.remove_before(moved);
        }
    }

    /// How many committed records the partition furthest behind has still to fetch.
    pub fn max_lag(&self) -> i64 {
        let table = self.table.load_full();
        let lags = table.partitions().filter_map(|partition| partition.lag());
        lags.max().unwrap_or(0)
    }
}

fn tell(partition: &PartitionHandle, asked: &FetchPosition, why: &FollowError) {
    let (name, leader, epoch) = (name_of(partition), asked.leader, asked.leader_epoch);
    match why {
        // Either broker may be a record of the metadata behind.
        FollowError::Refused(_) | FollowError::NoWholeBatch(_) => {
            tracing::debug!(topic_partition = %name, %leader, leader_epoch = %epoch, %why, "nothing fetched, trying again");
        }
        FollowError::BelowHighWatermark { .. } | FollowError::Append(_) | FollowError::Log(_) => {
            tracing::error!(topic_partition = %name, %leader, leader_epoch = %epoch, %why, "this replica cannot follow");
        }
    }
}
