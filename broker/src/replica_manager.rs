//! The partitions of this broker: opened, led, closed and deleted as the metadata says.
//!
//! Requests find a partition in an immutable table that is replaced as a whole when topics change, so that a lookup
//! takes no lock. Only the metadata follower changes the table, one change at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Guard};
use broker_log::dir::fs::FsDir;
use broker_log::{DataDir as LogDir, LastLife, LogConfig, StoredAs};
use broker_network::DEFAULT_FRAME_LIMIT;
use broker_replication::{Duty, Standing};
use model::config::{CompressionType, TopicConfig};
use model::{
    BrokerEpoch, BrokerId, DirectoryId, MetadataImage, PartitionImage, ReplicaReport, TopicId, TopicImage, TopicName,
    config,
};
use parking_lot::Mutex;
use protocol::batch::{Compression, TimestampType};
use protocol::compression::Level;
use protocol::error::ErrorCode;

use crate::disk::Disk;
use crate::metrics::{BrokerMetrics, TopicMetrics};
use crate::partition::{IsrWanted, PartitionHandle};
use crate::refusal::Refusal;
use crate::throttle::{self, Throttles};

mod checkpoints;
mod deletion;
mod following;
mod opening;
mod retention;
#[cfg(test)]
pub(crate) mod tests;

pub use checkpoints::Flush;
pub use following::{FollowedPartitions, Following, PartitionKey};

/// Room for a request around the largest batch.
const FRAME_MARGIN: usize = 1 << 20;

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
    /// `max.message.bytes`.
    max_message_bytes: usize,
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
    directory_id: DirectoryId,
    log_dir: LogDir<FsDir>,
    disk: Disk,
    table: ArcSwap<TopicTable>,
    metrics: BrokerMetrics,
    checkpoints: Mutex<checkpoints::Checkpoints>,
    deletion: Mutex<deletion::Deletions>,
    removed: Mutex<Vec<retention::Removed>>,
    frame_limit: Arc<AtomicUsize>,
    isr_wanted: Arc<IsrWanted>,
    throttles: Throttles,
    /// A leader has said that its log starts later than one here.
    log_starts_wanted: AtomicBool,
    /// The settings that hold here where a topic says nothing, as the logs were opened with. Its lock serialises changes of the table.
    defaults: Mutex<BTreeMap<String, String>>,
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
        directory_id: DirectoryId,
        log_dir: LogDir<FsDir>,
        disk: Disk,
        left: LastLife,
        metrics: BrokerMetrics,
        frame_limit: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            local,
            directory_id,
            log_dir,
            disk,
            table: ArcSwap::default(),
            metrics,
            checkpoints: Mutex::new(checkpoints::Checkpoints::new(left)),
            deletion: Mutex::default(),
            removed: Mutex::default(),
            frame_limit,
            isr_wanted: Arc::default(),
            throttles: Throttles::default(),
            log_starts_wanted: AtomicBool::new(false),
            defaults: Mutex::default(),
        }
    }

    /// Whether this broker leads the partition whatever the controller thinks of it.
    pub fn leads_alone(&self, image: &MetadataImage, partition: &PartitionImage) -> bool {
        broker_replication::leads_alone(self.local, self.directory_id, image, partition)
    }

    /// The disk that the logs are on.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// How fast replicas that are not in sync are copied.
    pub fn throttles(&self) -> &Throttles {
        &self.throttles
    }

    /// Where partitions say that other in-sync replicas may be wanted.
    pub fn isr_wanted(&self) -> Arc<IsrWanted> {
        Arc::clone(&self.isr_wanted)
    }

    /// The table of topics: one atomic load, to be used for all requests of a wake-up.
    pub fn topics(&self) -> Guard<Arc<TopicTable>> {
        self.table.load()
    }

    /// The table of topics, to keep across an await.
    pub fn topics_owned(&self) -> Arc<TopicTable> {
        self.table.load_full()
    }

    /// Makes this broker be what `image` says to a process that stands so to it. The image is on disk already (METADATA 8).
    pub fn apply(&self, image: &MetadataImage, standing: Standing) -> Following {
        let mut defaults = self.defaults.lock();
        let effective = image.effective_config(self.local);
        let same_defaults = *defaults == *effective;
        defaults.clone_from(&effective);
        let before = self.table.load_full();
        let mut after = TopicTable {
            by_name: before.by_name.clone(),
            by_id: before.by_id.clone(),
        };

        for gone in before.by_id.values().filter(|topic| image.topic(topic.id).is_none()) {
            after.remove(gone.id);
            self.close_topic(image, gone);
        }
        for known in before.by_id.values() {
            if let Some(topic) = image.topic(known.id).filter(|topic| !Arc::ptr_eq(topic, &known.image)) {
                self.close_left(image, topic, known, standing);
                if !self.is_mine(topic) {
                    after.remove(known.id);
                }
            }
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
        for handle in self.open_topics(&effective, &before, &new) {
            after.insert(Arc::new(handle));
        }
        self.set_throttles(&effective);
        let mut following = Following::default();
        for topic in mine {
            if let Some(handle) = after.by_id(topic.id) {
                self.take_roles(image, &effective, topic, handle, standing, &mut following);
            }
        }
        self.set_frame_limit(&after);
        self.table.store(Arc::new(after));
        self.count();
        following
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

    /// What the controller has to be told of the replicas here, as `image` asks for it (METADATA 17).
    pub fn reports(&self, image: &MetadataImage, session: Option<BrokerEpoch>) -> Vec<ReplicaReport> {
        let table = self.table.load();
        let handles = image
            .topics()
            .values()
            .filter_map(|topic| table.by_id(topic.id).map(|handle| (topic, handle)));
        let each = handles.flat_map(|(topic, handle)| {
            topic.indexed().filter_map(move |(index, partition)| {
                let end = handle.partition(index.0)?.log_end();
                let log = broker_replication::report(self.local, session, image, partition, end)?;
                Some(ReplicaReport {
                    topic: topic.id,
                    partition: index,
                    leader_epoch: partition.leader_epoch,
                    log,
                })
            })
        });
        each.collect()
    }

    /// Whether partitions with a replica here wait to hear where its log ends.
    pub fn is_asked(&self, image: &MetadataImage) -> bool {
        let mut partitions = image.topics().values().flat_map(|topic| &topic.partitions);
        partitions.any(|partition| partition.awaits_log_ends() && partition.replicas.contains(&self.local))
    }

    fn is_mine(&self, topic: &TopicImage) -> bool {
        topic.has_replica_on(self.local)
    }

    // METADATA 18: replicated leadership is never resumed from the disk, only after registration.
    fn take_roles(
        &self,
        image: &MetadataImage,
        defaults: &BTreeMap<String, String>,
        topic: &TopicImage,
        handle: &TopicHandle,
        standing: Standing,
        following: &mut Following,
    ) {
        let throttled = |key: &str| topic.config.get(key).map_or("", String::as_str);
        let as_leader = throttled("leader.replication.throttled.replicas");
        let as_follower = throttled("follower.replication.throttled.replicas");
        for (index, partition) in topic.indexed() {
            let Some(opened) = handle.partition(index.0) else {
                continue;
            };
            let released = opened.throttled.set(
                throttle::names(as_leader, index, self.local),
                throttle::names(as_follower, index, self.local) && !partition.isr.contains(&self.local),
            );
            match Duty::of(self.local, self.directory_id, standing, image, topic, partition) {
                Duty::Lead(view) => match opened.lead(self.local, &view) {
                    Ok(change) => {
                        let metrics = &self.metrics.replicas;
                        metrics.isr_shrinks.inc_by(u64::from(change.shrank));
                        metrics.isr_expands.inc_by(u64::from(change.expanded));
                    }
                    Err(error) => {
                        tracing::error!(topic = %topic.name, partition = %index, %error, "leadership cannot begin");
                    }
                },
                Duty::Follow { leader, leader_epoch } => {
                    // To an heir its leader may have done more than its image knows, such as to count it in sync again.
                    if standing.registered().is_some() && !counts_on(partition, self.local) {
                        self.copy_anew_if_lost(defaults, topic, opened);
                    }
                    if opened.follow(leader, leader_epoch) || released {
                        following.changed.insert(leader);
                    }
                    if let Some(epoch) = partition.unclean_epoch {
                        opened.unclean_election(epoch);
                    }
                    let key = (topic.id.as_uuid(), index.0);
                    let followed = following.followed.entry(leader).or_default();
                    followed.insert(key, Arc::clone(opened));
                }
                Duty::Stand => opened.resign(),
            }
        }
    }

    fn set_throttles(&self, effective: &BTreeMap<String, String>) {
        let rate = |key| config::cluster_value(effective, key).and_then(|value| value.parse().ok());
        let Throttles { leaders, followers } = &self.throttles;
        leaders.set_rate(rate("leader.replication.throttled.rate").unwrap_or(i64::MAX));
        followers.set_rate(rate("follower.replication.throttled.rate").unwrap_or(i64::MAX));
    }

    fn set_frame_limit(&self, table: &TopicTable) {
        let largest = table.by_id.values().map(|topic| topic.max_message_bytes).max();
        let largest = largest.unwrap_or(0);
        self.frame_limit
            .store(DEFAULT_FRAME_LIMIT.max(largest + FRAME_MARGIN), Ordering::Relaxed);
    }
}

/// Whether the broker may be elected for what its log holds.
fn counts_on(partition: &PartitionImage, broker: BrokerId) -> bool {
    let PartitionImage {
        isr,
        elr,
        last_known_elr,
        ..
    } = partition;
    [isr, elr, last_known_elr].iter().any(|set| set.contains(&broker))
}

/// The settings of a topic's logs, where `defaults` holds what counts on this broker.
fn log_config(defaults: &BTreeMap<String, String>, topic: &TopicImage) -> LogConfig {
    let config = TopicConfig::resolve(defaults, &topic.config);
    LogConfig {
        segment_bytes: config.segment_bytes,
        segment_ms: config.segment_ms,
        segment_jitter_ms: config.segment_jitter_ms,
        index_interval_bytes: config.index_interval_bytes,
        segment_index_bytes: config.segment_index_bytes,
        max_message_bytes: config.max_message_bytes,
        // What a coordinator writes stays as it wrote it.
        stored_as: if topic.name.is_internal() {
            StoredAs::Produced
        } else {
            stored_as(config.compression_type)
        },
        timestamp_type: if config.log_append_time {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        },
        timestamp_before_max_ms: config.message_timestamp_before_max_ms,
        timestamp_after_max_ms: config.message_timestamp_after_max_ms,
        flush_messages: config.flush_messages as u64,
        flush_ms: config.flush_ms,
        // What a group committed long ago may be the newest it has: these topics are condensed by their coordinator, not cut.
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
        producer_id_expiration_ms: producer_id_expiration_ms(defaults),
    }
}

fn stored_as(compression: CompressionType) -> StoredAs {
    let (codec, level) = match compression {
        CompressionType::Producer => return StoredAs::Produced,
        CompressionType::Uncompressed => (Compression::None, Level::Default),
        CompressionType::Gzip(-1) => (Compression::Gzip, Level::Default),
        CompressionType::Gzip(level) => (Compression::Gzip, Level::At(level)),
        CompressionType::Snappy => (Compression::Snappy, Level::Default),
        CompressionType::Lz4 => (Compression::Lz4, Level::Default),
        CompressionType::Zstd(level) => (Compression::Zstd, Level::At(level)),
    };
    StoredAs::Recompressed(codec, level)
}

fn producer_id_expiration_ms(defaults: &BTreeMap<String, String>) -> i64 {
    config::cluster_value(defaults, "producer.id.expiration.ms")
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| LogConfig::default().producer_id_expiration_ms)
}
