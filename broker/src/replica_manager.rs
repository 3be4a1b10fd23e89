//! The partitions of this broker: opened, led, closed and deleted as the metadata says.
//!
//! Requests find a partition in an immutable table that is replaced as a whole when topics change, so that a lookup
//! takes no lock. Only the metadata follower changes the table, one change at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Guard};
use broker_log::dir::fs::FsDir;
use broker_log::{DataDir as LogDir, LastLife, LogConfig, TopicPartition};
use broker_network::DEFAULT_FRAME_LIMIT;
use broker_replication::ReplicaView;
use model::{BrokerId, MetadataImage, PartitionImage, TopicId, TopicImage, TopicName, config};
use parking_lot::Mutex;
use protocol::error::ErrorCode;

use crate::metrics::{BrokerMetrics, TopicMetrics};
use crate::partition::{PartitionHandle, Refusal};

mod checkpoints;
mod deletion;
mod opening;
mod retention;
#[cfg(test)]
mod tests;

pub use checkpoints::Flush;

/// Room for a request around the largest batch.
const FRAME_MARGIN: usize = 1 << 20;

/// Which partitions this broker may lead.
// METADATA 18: replicated leadership is never resumed from the disk, only after registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leading {
    /// Only those whose only replica it is: nobody knows yet whether the image on disk is the newest.
    SoleReplica,
    /// All that the image says.
    AsRegistered,
}

/// A topic with partitions on this broker.
#[derive(Debug)]
pub struct TopicHandle {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Its counters.
    pub metrics: Arc<TopicMetrics>,
    /// By index; `None` where the replica is elsewhere.
    partitions: Vec<Option<Arc<PartitionHandle>>>,
    /// What the handle was made from.
    image: Arc<TopicImage>,
    /// `flush.ms` is set: only such topics are looked at for it.
    flushes_by_time: bool,
}

/// All topics with partitions on this broker.
#[derive(Debug, Default)]
pub struct TopicTable {
    by_name: HashMap<TopicName, Arc<TopicHandle>>,
    by_id: HashMap<TopicId, Arc<TopicHandle>>,
}

/// Opens, leads, closes and deletes partitions.
#[derive(Debug)]
pub struct ReplicaManager {
    local: BrokerId,
    log_dir: LogDir<FsDir>,
    table: ArcSwap<TopicTable>,
    metrics: BrokerMetrics,
    checkpoints: Mutex<checkpoints::Checkpoints>,
    deletion: Mutex<deletion::Deletions>,
    removed: Mutex<Vec<retention::Removed>>,
    frame_limit: Arc<AtomicUsize>,
    /// The cluster's settings that the logs were opened with. Its lock serialises changes of the table.
    cluster_config: Mutex<BTreeMap<String, String>>,
}

impl TopicTable {
    /// By name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<TopicHandle>> {
        self.by_name.get(name)
    }

    /// By id.
    pub fn by_id(&self, id: TopicId) -> Option<&Arc<TopicHandle>> {
        self.by_id.get(&id)
    }

    /// Every partition of this broker.
    pub fn partitions(&self) -> impl Iterator<Item = &Arc<PartitionHandle>> {
        self.by_id.values().flat_map(|topic| topic.partitions.iter().flatten())
    }

    fn insert(&mut self, topic: Arc<TopicHandle>) {
        self.by_name.insert(topic.name.clone(), Arc::clone(&topic));
        self.by_id.insert(topic.id, topic);
    }

    fn remove(&mut self, id: TopicId) {
        if let Some(gone) = self.by_id.remove(&id)
            && self.by_name.get(&gone.name).is_some_and(|named| named.id == id)
        {
            self.by_name.remove(&gone.name);
        }
    }
}

impl TopicHandle {
    /// The partition, if its replica is here.
    pub fn partition(&self, index: i32) -> Option<&Arc<PartitionHandle>> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.partitions.get(index)?.as_ref())
    }

    /// The partition, or why a client is sent away: it is elsewhere, or nowhere.
    pub fn led_partition(&self, index: i32) -> Result<&Arc<PartitionHandle>, Refusal> {
        self.partition(index).ok_or_else(|| {
            if usize::try_from(index).is_ok_and(|index| index < self.image.partitions.len()) {
                return Refusal::new(
                    ErrorCode::NotLeaderOrFollower,
                    "this broker does not hold the partition",
                );
            }
            let message = format!("topic {} has no partition {index}", self.name);
            Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
        })
    }
}

impl ReplicaManager {
    /// Over a data directory whose partitions are still closed.
    pub fn new(
        local: BrokerId,
        log_dir: LogDir<FsDir>,
        left: LastLife,
        metrics: BrokerMetrics,
        frame_limit: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            local,
            log_dir,
            table: ArcSwap::default(),
            metrics,
            checkpoints: Mutex::new(checkpoints::Checkpoints::new(left)),
            deletion: Mutex::default(),
            removed: Mutex::default(),
            frame_limit,
            cluster_config: Mutex::default(),
        }
    }

    /// The table of topics: one atomic load, to be used for all requests of a wake-up.
    pub fn topics(&self) -> Guard<Arc<TopicTable>> {
        self.table.load()
    }

    /// The table of topics, to keep across an await.
    pub fn topics_owned(&self) -> Arc<TopicTable> {
        self.table.load_full()
    }

    /// Makes this broker be what `image` says. The image is on disk already (METADATA 8).
    pub fn apply(&self, image: &MetadataImage, leading: Leading) {
        let mut cluster_config = self.cluster_config.lock();
        let same_defaults = *cluster_config == *image.cluster_config();
        cluster_config.clone_from(image.cluster_config());
        let before = self.table.load_full();
        let mut after = TopicTable {
            by_name: before.by_name.clone(),
            by_id: before.by_id.clone(),
        };

        for gone in before.by_id.values().filter(|topic| image.topic(topic.id).is_none()) {
            after.remove(gone.id);
            self.close_topic(image, gone);
        }
        let mine: Vec<&Arc<TopicImage>> = image.topics().values().filter(|topic| self.is_mine(topic)).collect();
        let new: Vec<&Arc<TopicImage>> = mine
            .iter()
            .filter(|topic| {
                let known = before.by_id(topic.id);
                !same_defaults || known.is_none_or(|handle| !Arc::ptr_eq(&handle.image, topic))
            })
            .copied()
            .collect();
        for handle in self.open_topics(image, &before, &new) {
            after.insert(Arc::new(handle));
        }
        for topic in mine {
            if let Some(handle) = after.by_id(topic.id) {
                self.lead_topic(image, topic, handle, leading);
            }
        }
        self.table.store(Arc::new(after));
        self.set_frame_limit(image);
        self.count();
    }

    /// Leads nothing any more, until the next [`Self::apply`].
    // METADATA 6: on a difference it stops leading until a snapshot hashes right.
    pub fn resign_all(&self) {
        for partition in self.table.load().partitions() {
            partition.resign();
        }
        self.count();
    }

    /// Answers all fetches that wait, with what there is.
    pub fn wake_fetches(&self) {
        for partition in self.table.load().partitions() {
            partition.wake_fetches();
        }
    }

    /// Sets the gauges.
    pub fn count(&self) {
        let mut counted = [0_i64; 6];
        for partition in self.table.load().partitions() {
            let status = partition.status();
            counted[0] += i64::from(status.leader);
            counted[1] += 1;
            counted[2] += i64::from(status.under_replicated);
            counted[3] += i64::from(status.min_isr_margin.is_some_and(|margin| margin < 0));
            counted[4] += i64::from(status.min_isr_margin == Some(0));
            counted[5] += i64::from(status.offline);
        }
        let gauges = &self.metrics.replicas;
        let [
            leaders,
            partitions,
            under_replicated,
            under_min_isr,
            at_min_isr,
            offline,
        ] = counted;
        gauges.leaders.set(leaders);
        gauges.partitions.set(partitions);
        gauges.under_replicated.set(under_replicated);
        gauges.under_min_isr.set(under_min_isr);
        gauges.at_min_isr.set(at_min_isr);
        gauges.offline.set(offline);
    }

    fn is_mine(&self, topic: &TopicImage) -> bool {
        topic
            .partitions
            .iter()
            .any(|partition| partition.replicas.contains(&self.local))
    }

    fn lead_topic(&self, image: &MetadataImage, topic: &TopicImage, handle: &TopicHandle, leading: Leading) {
        for (index, partition) in topic.indexed() {
            let Some(opened) = handle.partition(index.0) else {
                continue;
            };
            if !self.may_lead(partition, leading) {
                opened.resign();
                continue;
            }
            let view = ReplicaView {
                replicas: partition.replicas.clone(),
                isr: partition.isr.clone(),
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
                min_insync_replicas: image.min_insync_replicas(topic, partition),
            };
            let name = TopicPartition {
                topic: topic.name.clone(),
                partition: index,
            };
            let [_, _, high_watermark] = self.checkpoints.lock().of(&name);
            if let Err(error) = opened.lead(self.local, &view, high_watermark) {
                tracing::error!(topic = %topic.name, partition = %index, %error, "leadership cannot begin");
            }
        }
    }

    fn may_lead(&self, partition: &PartitionImage, leading: Leading) -> bool {
        let sole = partition.replicas == [self.local];
        match leading {
            // Nobody else can have been elected, so the lock on the directory is proof enough.
            Leading::SoleReplica => sole,
            Leading::AsRegistered => sole || partition.leader == Some(self.local),
        }
    }

    fn set_frame_limit(&self, image: &MetadataImage) {
        let largest = image
            .topics()
            .values()
            .filter(|topic| self.is_mine(topic))
            .map(|topic| image.topic_config(topic).max_message_bytes as usize)
            .max()
            .unwrap_or(0);
        self.frame_limit
            .store(DEFAULT_FRAME_LIMIT.max(largest + FRAME_MARGIN), Ordering::Relaxed);
    }
}

/// The settings of a topic's logs.
fn log_config(image: &MetadataImage, topic: &TopicImage) -> LogConfig {
    let config = image.topic_config(topic);
    LogConfig {
        segment_bytes: config.segment_bytes,
        segment_ms: config.segment_ms,
        index_interval_bytes: config.index_interval_bytes,
        segment_index_bytes: config.segment_index_bytes,
        max_message_bytes: config.max_message_bytes,
        timestamp_before_max_ms: config.message_timestamp_before_max_ms,
        timestamp_after_max_ms: config.message_timestamp_after_max_ms,
        flush_messages: config.flush_messages as u64,
        flush_ms: config.flush_ms,
        // What a group committed long ago may be the newest it has: these topics are compacted, not cut.
        retention_ms: if topic.name.is_internal() {
            -1
        } else {
            config.retention_ms
        },
        retention_bytes: if topic.name.is_internal() {
            -1
        } else {
            config.retention_bytes
        },
        file_delete_delay_ms: config.file_delete_delay_ms,
        producer_id_expiration_ms: producer_id_expiration_ms(image),
    }
}

fn producer_id_expiration_ms(image: &MetadataImage) -> i64 {
    config::cluster_value(image.cluster_config(), "producer.id.expiration.ms")
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| LogConfig::default().producer_id_expiration_ms)
}
