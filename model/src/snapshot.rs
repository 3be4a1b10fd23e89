//! A whole image as a list of small JSON documents ("chunks"), columnar, each at most 256 KiB (METADATA 4).
//!
//! Chunk 0 begins with the header; every chunk carries magic, version, its number and the count, so that one of another
//! snapshot, or a missing one, is noticed before anything is used. The snapshot as a whole is named by offset and a
//! random suffix, and whoever refers to it keeps count and digest.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::broker::BrokerRegistration;
use crate::digest::Digest;
use crate::ids::{
    BrokerId, ClusterId, GroupName, LeaderEpoch, MetadataOffset, PartitionEpoch, ProducerId, TopicId, TopicName,
};
use crate::image::{LogIdentity, MetadataImage};
use crate::partition::PartitionImage;
use crate::topic::{Tombstone, TopicImage};

/// The largest chunk, in bytes.
pub const MAX_CHUNK_BYTES: usize = 256 * 1024;

/// What a chunk's `magic` says.
pub const MAGIC: &str = "barnabas-metadata-snapshot";

/// The version that this build writes and reads.
pub const VERSION: u16 = 1;

/// A chunk is closed when it has grown to this: one more row of the largest kind still fits.
const CHUNK_TARGET_BYTES: usize = 160 * 1024;

/// Partitions in one row: bounds what a row can add to a chunk.
const PARTITIONS_PER_ROW: usize = 256;

/// Why chunks do not make an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Chunks are missing, of another snapshot, or in another order: read the log again (METADATA 4).
    #[error("metadata snapshot is incomplete: {0}")]
    Incomplete(String),
    /// A format of a later version: upgrade.
    #[error("metadata snapshot has version {found}, this version of Barnabas knows {known}: upgrade it")]
    UnknownVersion {
        /// The version found.
        found: u16,
        /// The version known.
        known: u16,
    },
    /// Changed bytes: the same case as a missing log (METADATA 24).
    #[error("metadata snapshot is corrupt: {0}")]
    Corrupt(String),
}

/// What an image is besides its brokers and topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotHeader {
    /// The last record in the image.
    pub offset: MetadataOffset,
    /// The history and its writer.
    pub identity: LogIdentity,
    /// Who the writer said it is.
    pub controller: String,
    /// The cluster's id.
    pub cluster_id: Option<ClusterId>,
    /// Chain digest after the last record.
    pub chain_hash: Digest,
    /// Digest of the image: what the fold of the rows must equal.
    pub image_hash: Digest,
    /// Finalized feature levels.
    pub features: BTreeMap<String, i16>,
    /// The offset at which they last changed.
    pub features_offset: MetadataOffset,
    /// The first producer id in no block.
    pub next_producer_id: ProducerId,
    /// Cluster-wide configuration, set while the cluster runs.
    pub cluster_config: BTreeMap<String, String>,
    /// Cluster-wide configuration of the command line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub static_config: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chunk {
    magic: String,
    version: u16,
    index: u32,
    count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<SnapshotHeader>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    brokers: Vec<BrokerRegistration>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    broker_configs: Vec<(BrokerId, BTreeMap<String, String>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    group_configs: Vec<(GroupName, BTreeMap<String, String>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tombstones: Vec<Tombstone>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    topics: Vec<TopicRow>,
}

/// Consecutive partitions of one topic, a column per field. What is nearly always empty or the same is sparse.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicRow {
    id: TopicId,
    /// Only in the topic's first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<TopicName>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    config: BTreeMap<String, String>,
    /// Only in the first row, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    always_flushed: bool,
    replicas: Vec<Vec<BrokerId>>,
    /// -1 stands for no leader, as in Kafka.
    leader: Vec<i32>,
    leader_epoch: Vec<i32>,
    partition_epoch: Vec<i32>,
    /// Where it differs from the replicas; keyed by place in this row.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    isr: BTreeMap<u32, Vec<BrokerId>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    elr: BTreeMap<u32, Vec<BrokerId>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    last_known_elr: BTreeMap<u32, Vec<BrokerId>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    adding: BTreeMap<u32, Vec<BrokerId>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    removing: BTreeMap<u32, Vec<BrokerId>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    unclean_epoch: BTreeMap<u32, i32>,
}

/// The digest over all chunks: what a reference to a snapshot keeps beside their count.
pub fn digest<T: AsRef<str>>(chunks: &[T]) -> Digest {
    let each: Vec<u8> = chunks
        .iter()
        .flat_map(|chunk| *Digest::of(chunk.as_ref().as_bytes()).as_bytes())
        .collect();
    Digest::of(&each)
}

/// The image as chunks. The same image always gives the same bytes.
pub fn encode(image: &MetadataImage) -> Vec<String> {
    let mut writer = ChunkWriter::new(SnapshotHeader::of(image));
    for broker in image.brokers.values() {
        writer.add(&**broker, |chunk, broker| chunk.brokers.push(broker.clone()));
    }
    for (id, config) in image.broker_configs.iter() {
        writer.add(&(*id, config.clone()), |chunk, row| {
            chunk.broker_configs.push(row.clone());
        });
    }
    for (group, config) in &image.configs.groups {
        writer.add(&(group.clone(), config.clone()), |chunk, row| {
            chunk.group_configs.push(row.clone());
        });
    }
    for tombstone in image.tombstones.values() {
        writer.add(tombstone, |chunk, tombstone| chunk.tombstones.push(tombstone.clone()));
    }
    for topic in image.topics.values() {
        let mut first = true;
        for partitions in topic.partitions.chunks(PARTITIONS_PER_ROW) {
            let row = TopicRow::of(topic, partitions, first);
            writer.add_owned(row, |chunk, row| chunk.topics.push(row));
            first = false;
        }
    }
    writer.finish()
}

/// Reads what [`encode`] wrote, and proves it: the fold of all rows must have the header's digest (METADATA 6).
pub fn decode<T: AsRef<str>>(chunks: &[T]) -> Result<MetadataImage, SnapshotError> {
    let mut image = MetadataImage::empty();
    let mut header = None;
    for (index, text) in chunks.iter().enumerate() {
        let chunk = parse_chunk(text.as_ref())?;
        if chunk.index as usize != index || chunk.count as usize != chunks.len() {
            return Err(SnapshotError::Incomplete(format!(
                "chunk {} of {} came as chunk {index} of {}",
                chunk.index,
                chunk.count,
                chunks.len()
            )));
        }
        if let Some(found) = chunk.header {
            header = Some(found);
        }
        let brokers = Arc::make_mut(&mut image.brokers);
        brokers.extend(chunk.brokers.into_iter().map(|broker| (broker.id, Arc::new(broker))));
        Arc::make_mut(&mut image.broker_configs).extend(chunk.broker_configs);
        Arc::make_mut(&mut image.configs).groups.extend(chunk.group_configs);
        let tombstones = Arc::make_mut(&mut image.tombstones);
        tombstones.extend(chunk.tombstones.into_iter().map(|tombstone| (tombstone.id, tombstone)));
        for row in chunk.topics {
            add_row(&mut image, row)?;
        }
    }
    let header = header.ok_or_else(|| SnapshotError::Incomplete("there is no chunk with a header".to_owned()))?;
    header.fill(&mut image);
    if image.recount_hash() != image.hash {
        return Err(SnapshotError::Corrupt(
            "its contents have another digest than its header says".to_owned(),
        ));
    }
    Ok(image)
}

impl SnapshotHeader {
    fn of(image: &MetadataImage) -> Self {
        Self {
            offset: image.offset,
            identity: image.identity,
            controller: image.controller.clone(),
            cluster_id: image.cluster_id.clone(),
            chain_hash: image.chain_hash,
            image_hash: image.hash,
            features: image.features.clone(),
            features_offset: image.features_offset,
            next_producer_id: image.next_producer_id,
            cluster_config: image.configs.dynamic.clone(),
            static_config: image.configs.fixed.clone(),
        }
    }

    fn fill(self, image: &mut MetadataImage) {
        image.offset = self.offset;
        image.identity = self.identity;
        image.controller = self.controller;
        image.cluster_id = self.cluster_id;
        image.chain_hash = self.chain_hash;
        image.hash = self.image_hash;
        image.features = self.features;
        image.features_offset = self.features_offset;
        image.next_producer_id = self.next_producer_id;
        let configs = Arc::make_mut(&mut image.configs);
        configs.fixed = self.static_config;
        configs.dynamic = self.cluster_config;
        image.overlay_config();
    }
}

impl TopicRow {
    fn of(topic: &TopicImage, partitions: &[PartitionImage], first: bool) -> Self {
        let sparse = |pick: fn(&PartitionImage) -> Option<&Vec<BrokerId>>| {
            let rows = partitions
                .iter()
                .zip(0u32..)
                .filter_map(|(partition, at)| Some((at, pick(partition)?.clone())));
            rows.collect::<BTreeMap<_, _>>()
        };
        Self {
            id: topic.id,
            name: first.then(|| topic.name.clone()),
            config: if first { topic.config.clone() } else { BTreeMap::new() },
            always_flushed: first && topic.always_flushed,
            replicas: partitions.iter().map(|p| p.replicas.clone()).collect(),
            leader: partitions
                .iter()
                .map(|p| p.leader.map_or(-1, |leader| leader.0))
                .collect(),
            leader_epoch: partitions.iter().map(|p| p.leader_epoch.0).collect(),
            partition_epoch: partitions.iter().map(|p| p.partition_epoch.0).collect(),
            isr: sparse(|p| (p.isr != p.replicas).then_some(&p.isr)),
            elr: sparse(|p| (!p.elr.is_empty()).then_some(&p.elr)),
            last_known_elr: sparse(|p| (!p.last_known_elr.is_empty()).then_some(&p.last_known_elr)),
            adding: sparse(|p| (!p.adding.is_empty()).then_some(&p.adding)),
            removing: sparse(|p| (!p.removing.is_empty()).then_some(&p.removing)),
            unclean_epoch: partitions
                .iter()
                .zip(0u32..)
                .filter_map(|(partition, at)| Some((at, partition.unclean_epoch?.0)))
                .collect(),
        }
    }

    fn partitions(mut self) -> Option<Vec<PartitionImage>> {
        let rows = self.replicas.len();
        if [self.leader.len(), self.leader_epoch.len(), self.partition_epoch.len()] != [rows; 3] {
            return None;
        }
        let columns = self
            .replicas
            .into_iter()
            .zip(self.leader)
            .zip(self.leader_epoch)
            .zip(self.partition_epoch);
        let partitions =
            columns.zip(0u32..).map(
                |((((replicas, leader), leader_epoch), partition_epoch), at)| PartitionImage {
                    isr: self.isr.remove(&at).unwrap_or_else(|| replicas.clone()),
                    elr: self.elr.remove(&at).unwrap_or_default(),
                    last_known_elr: self.last_known_elr.remove(&at).unwrap_or_default(),
                    adding: self.adding.remove(&at).unwrap_or_default(),
                    removing: self.removing.remove(&at).unwrap_or_default(),
                    unclean_epoch: self.unclean_epoch.remove(&at).map(LeaderEpoch),
                    replicas,
                    leader: (leader >= 0).then_some(BrokerId(leader)),
                    leader_epoch: LeaderEpoch(leader_epoch),
                    partition_epoch: PartitionEpoch(partition_epoch),
                },
            );
        Some(partitions.collect())
    }
}

fn add_row(image: &mut MetadataImage, mut row: TopicRow) -> Result<(), SnapshotError> {
    let id = row.id;
    let corrupt = |what: &str| SnapshotError::Corrupt(format!("topic id {id}: {what}"));
    let topics = Arc::make_mut(&mut image.topics);
    if let Some(name) = row.name.take() {
        let config = std::mem::take(&mut row.config);
        Arc::make_mut(&mut image.topic_ids).insert(name.clone(), id);
        topics.insert(
            id,
            Arc::new(TopicImage {
                id,
                name,
                partitions: Vec::new(),
                config,
                always_flushed: row.always_flushed,
            }),
        );
    }
    let partitions = row
        .partitions()
        .ok_or_else(|| corrupt("its columns differ in length"))?;
    let topic = topics.get_mut(&id).ok_or_else(|| corrupt("its first row is missing"))?;
    Arc::make_mut(topic).partitions.extend(partitions);
    Ok(())
}

fn parse_chunk(text: &str) -> Result<Chunk, SnapshotError> {
    /// Read first, and leniently: a later version may have other fields.
    #[derive(Deserialize)]
    struct Mark {
        magic: String,
        version: u16,
    }
    let corrupt = |cause: serde_json::Error| SnapshotError::Corrupt(cause.to_string());
    let mark: Mark = serde_json::from_str(text).map_err(corrupt)?;
    if mark.magic != MAGIC {
        return Err(SnapshotError::Corrupt(format!("its magic is not {MAGIC:?}")));
    }
    if mark.version != VERSION {
        return Err(SnapshotError::UnknownVersion {
            found: mark.version,
            known: VERSION,
        });
    }
    serde_json::from_str(text).map_err(corrupt)
}

struct ChunkWriter {
    done: Vec<Chunk>,
    open: Chunk,
    open_bytes: usize,
}

impl ChunkWriter {
    fn new(header: SnapshotHeader) -> Self {
        let open_bytes = encoded_len(&header);
        Self {
            done: Vec::new(),
            open: Chunk {
                header: Some(header),
                ..Chunk::empty()
            },
            open_bytes,
        }
    }

    fn add<T: Serialize + ?Sized>(&mut self, row: &T, put: impl FnOnce(&mut Chunk, &T)) {
        self.make_room(encoded_len(row));
        put(&mut self.open, row);
    }

    fn add_owned<T: Serialize>(&mut self, row: T, put: impl FnOnce(&mut Chunk, T)) {
        self.make_room(encoded_len(&row));
        put(&mut self.open, row);
    }

    fn make_room(&mut self, bytes: usize) {
        if self.open_bytes > 0 && self.open_bytes + bytes > CHUNK_TARGET_BYTES {
            self.done.push(std::mem::replace(&mut self.open, Chunk::empty()));
            self.open_bytes = 0;
        }
        self.open_bytes += bytes + 1;
    }

    fn finish(mut self) -> Vec<String> {
        self.done.push(self.open);
        let count = self.done.len() as u32;
        let numbered = self.done.into_iter().zip(0u32..).map(|(mut chunk, index)| {
            chunk.index = index;
            chunk.count = count;
            serde_json::to_string(&chunk).expect("an image holds only what JSON can: text keys, numbers, lists")
        });
        numbered.collect()
    }
}

impl Chunk {
    fn empty() -> Self {
        Self {
            magic: MAGIC.to_owned(),
            version: VERSION,
            index: 0,
            count: 0,
            header: None,
            brokers: Vec::new(),
            broker_configs: Vec::new(),
            group_configs: Vec::new(),
            tombstones: Vec::new(),
            topics: Vec::new(),
        }
    }
}

fn encoded_len<T: Serialize + ?Sized>(row: &T) -> usize {
    serde_json::to_vec(row).map_or(0, |bytes| bytes.len())
}

#[cfg(test)]
mod tests;
