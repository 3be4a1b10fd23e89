//! A lost or regressed metadata log, made anew from the images that brokers keep on their disks (METADATA 24).
//!
//! Pure, and refused unless it can be right: whoever was registered in any of the images must have shown its own, or be
//! waived by name. From those that happen to be up, acknowledged records would be lost and an epoch would have two leaders.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::digest::Digest;
use crate::document::ImageDocument;
use crate::ids::{
    BrokerId, ClusterId, ControllerEpoch, LeaderEpoch, Lineage, MetadataOffset, Nonce, PartitionEpoch, PartitionIndex,
    ProducerId, TopicId,
};
use crate::image::{LogIdentity, MetadataImage};

/// Epochs and the offset rise by so much above any that was seen: more than anything can have added that nobody saw.
pub const RISE: i32 = 1 << 20;

/// Producer ids of so many blocks may have been handed out by records that nobody saw.
const LOST_PRODUCER_IDS: i64 = 16 * 1_000_000;

/// What is known beside the images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// The id of the new history.
    pub lineage: Lineage,
    /// Drawn for it.
    pub nonce: Nonce,
    /// Brokers that somebody has given up.
    pub waived: BTreeSet<BrokerId>,
    /// Controller epoch and last offset of what the store still holds, whatever that is worth.
    pub stored: Option<(ControllerEpoch, MetadataOffset)>,
    /// The cluster's id, if it is on record elsewhere.
    pub cluster_id: Option<ClusterId>,
}

/// Why there can be no new log yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// Nobody has shown an image.
    #[error("no broker has shown its image yet")]
    Nothing,
    /// These brokers are registered in an image and have shown none.
    #[error("the images of brokers {} are missing", list(.0))]
    Missing(Vec<BrokerId>),
    /// A volume of another cluster.
    #[error("the image of broker {0} is of another cluster")]
    Foreign(BrokerId),
}

fn list(brokers: &[BrokerId]) -> String {
    let each: Vec<String> = brokers.iter().map(ToString::to_string).collect();
    each.join(", ")
}

/// The image that a new log begins with: that of the broker that knows most, above every epoch and offset seen, with nobody
/// unfenced and no leader.
pub fn rebuild(
    shown: &BTreeMap<BrokerId, ImageDocument>,
    circumstances: &Circumstances,
) -> Result<MetadataImage, RebuildError> {
    let known = shown
        .iter()
        .filter(|(_, document)| document.image.cluster_id().is_some());
    let known: BTreeMap<BrokerId, &MetadataImage> = known.map(|(id, document)| (*id, &document.image)).collect();
    let newest = known
        .values()
        .max_by_key(|image| (image.controller_epoch(), image.offset()));
    let newest = *newest.ok_or(RebuildError::Nothing)?;
    let ours = circumstances.cluster_id.as_ref().or(newest.cluster_id());
    if let Some((id, _)) = known.iter().find(|(_, image)| image.cluster_id() != ours) {
        return Err(RebuildError::Foreign(*id));
    }
    let registered: BTreeSet<BrokerId> = known
        .values()
        .flat_map(|image| image.brokers().keys().copied())
        .collect();
    let missing: Vec<BrokerId> = registered
        .into_iter()
        .filter(|id| !shown.contains_key(id) && !circumstances.waived.contains(id))
        .collect();
    if !missing.is_empty() {
        return Err(RebuildError::Missing(missing));
    }

    let mut image = newest.clone();
    raise_log(&mut image, shown, circumstances);
    for broker in Arc::make_mut(&mut image.brokers).values_mut() {
        let broker = Arc::make_mut(broker);
        broker.fenced = true;
        broker.in_controlled_shutdown = false;
    }
    for topic in Arc::make_mut(&mut image.topics).values_mut() {
        let topic = Arc::make_mut(topic);
        for (partition, index) in topic.partitions.iter_mut().zip(0..) {
            let (leader_epoch, partition_epoch) = highest(&known, topic.id, PartitionIndex(index));
            partition.leader = None;
            partition.leader_epoch = LeaderEpoch(leader_epoch.0.saturating_add(RISE));
            partition.partition_epoch = PartitionEpoch(partition_epoch.0.saturating_add(RISE));
            for members in [&mut partition.isr, &mut partition.elr, &mut partition.last_known_elr] {
                members.retain(|id| !circumstances.waived.contains(id));
            }
        }
    }
    image.hash = image.recount_hash();
    Ok(image)
}

fn raise_log(image: &mut MetadataImage, shown: &BTreeMap<BrokerId, ImageDocument>, circumstances: &Circumstances) {
    // Whoever was followed counts, even if none of its records came.
    let epochs = shown
        .values()
        .flat_map(|document| [document.seen.controller_epoch, document.image.controller_epoch()]);
    let epoch = epochs.chain(circumstances.stored.map(|stored| stored.0)).max();
    let offsets = shown.values().map(|document| document.image.offset());
    let offset = offsets.chain(circumstances.stored.map(|stored| stored.1)).max();
    let producer_id = shown.values().map(|document| document.image.next_producer_id()).max();
    let controller_epoch = ControllerEpoch(epoch.map_or(0, |epoch| epoch.0) + i64::from(RISE));
    image.identity = LogIdentity {
        lineage: circumstances.lineage,
        controller_epoch,
        nonce: circumstances.nonce,
    };
    image.offset = MetadataOffset(offset.map_or(0, |offset| offset.0) + i64::from(RISE));
    image.features_offset = image.offset;
    image.chain_hash = Digest::of(circumstances.lineage.0.as_bytes());
    image.next_producer_id = ProducerId(producer_id.map_or(0, |id| id.0) + LOST_PRODUCER_IDS);
}

/// The highest epochs of a partition in any image.
fn highest(
    known: &BTreeMap<BrokerId, &MetadataImage>,
    topic: TopicId,
    index: PartitionIndex,
) -> (LeaderEpoch, PartitionEpoch) {
    let found = known.values().filter_map(|image| image.topic(topic)?.partition(index));
    found.fold((LeaderEpoch(0), PartitionEpoch(0)), |(leader, partition), found| {
        (leader.max(found.leader_epoch), partition.max(found.partition_epoch))
    })
}

#[cfg(test)]
mod tests;
