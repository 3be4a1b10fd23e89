//! Removing data. Nothing goes because it is absent from the metadata; it goes because a tombstone names it.
//!
//! METADATA 25: a removed topic leaves a tombstone in the image. Its directories are renamed at once, purged after
//! `file.delete.delay.ms`, and the purge is reported until the tombstone is gone. A directory whose topic id is neither
//! in the image nor among the tombstones is kept aside and reported to people.

use std::collections::{BTreeMap, BTreeSet};

use broker_log::TopicPartition;
use broker_replication::Standing;
use model::config::TopicConfig;
use model::{MetadataImage, TopicId, TopicImage};

use super::{ReplicaManager, TopicHandle};
use crate::clock::now_ms;
use crate::replica_manager::checkpoints::name_of;

/// Default of `file.delete.delay.ms`, for directories whose topic's settings are gone with it.
const DEFAULT_DELAY_MS: i64 = 60_000;

/// Directories on their way out.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    /// Removed topics with renamed directories, and when those are purged.
    pub(super) due: BTreeMap<TopicId, i64>,
    /// Strangers told about, so that each is told once.
    reported: BTreeSet<TopicPartition>,
    /// [`ReplicaManager::sweep`] has gone through what a former run left, and nothing failed to be deleted since. Until
    /// then no purge is reported.
    swept: bool,
}

impl ReplicaManager {
    /// The topic left the image: its partitions close, and go if a tombstone says so.
    pub(super) fn close_topic(&self, image: &MetadataImage, gone: &TopicHandle) {
        for partition in gone.partitions.iter().flatten() {
            if let Err(error) = partition.close() {
                tracing::error!(topic_partition = %name_of(partition), %error, "not closed cleanly");
            }
        }
        self.metrics.topics.forget(gone.name.as_str());
        if !image.tombstones().contains_key(&gone.id) {
            tracing::warn!(topic = %gone.name, topic_id = %gone.id, "topic left the metadata without a tombstone, its data stays");
            return;
        }
        let delay = TopicConfig::resolve(&image.effective_config(self.local), &gone.image.config).file_delete_delay_ms;
        let names: Vec<TopicPartition> = gone
            .partitions
            .iter()
            .flatten()
            .map(|partition| name_of(partition))
            .collect();
        if !self.delete(&names, gone.id, delay) {
            self.deletion.lock().swept = false;
        }
    }

    /// Replicas that left this broker: their partitions close, and their data goes after the delay. Only the record that
    /// names all replicas says so, to the process that it is meant for.
    pub(super) fn close_left(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        known: &TopicHandle,
        standing: Standing,
    ) {
        let mut left = Vec::new();
        for (index, _) in topic.indexed().filter(|(_, of)| !of.replicas.contains(&self.local)) {
            let Some(partition) = known.partition(index.0) else {
                continue;
            };
            let name = name_of(partition);
            match partition.close() {
                Ok(Some(point)) => self.checkpoints.lock().set(&name, point),
                Ok(None) => {}
                Err(error) => tracing::error!(topic_partition = %name, %error, "not closed cleanly"),
            }
            left.push(name);
        }
        if left.is_empty() {
            return;
        }
        let delay = TopicConfig::resolve(&image.effective_config(self.local), &topic.config).file_delete_delay_ms;
        if !standing.is_registered_in(image, self.local) || !self.delete(&left, topic.id, delay) {
            self.deletion.lock().swept = false;
        }
    }

    /// Whether a directory is of a replica that is elsewhere now: it left while this broker was down.
    fn has_left(&self, image: &MetadataImage, name: &TopicPartition, id: TopicId) -> bool {
        let topic = image.topic(id).filter(|topic| topic.name == name.topic);
        topic
            .and_then(|topic| topic.partition(name.partition))
            .is_some_and(|partition| !partition.replicas.contains(&self.local))
    }

    /// Looks through the directory for what a former run left: removed topics are deleted, strangers kept and told.
    pub fn sweep(&self, image: &MetadataImage) {
        let due = {
            let deletion = self.deletion.lock();
            if deletion.swept {
                return;
            }
            deletion.due.clone()
        };
        let found = self
            .log_dir
            .purge_deleted(|id| !due.contains_key(&id))
            .and_then(|_| self.log_dir.partitions());
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "data directory cannot be looked through for removed topics");
                return;
            }
        };
        let mut all_deleted = true;
        for (name, id) in found {
            match id {
                Some(id) if self.has_left(image, &name, id) => {
                    all_deleted &= self.delete(&[name], id, DEFAULT_DELAY_MS);
                }
                Some(id) if image.topic(id).is_some() => {}
                Some(id) if image.tombstones().contains_key(&id) => {
                    all_deleted &= self.delete(&[name], id, DEFAULT_DELAY_MS);
                }
                id => {
                    if self.deletion.lock().reported.insert(name.clone()) {
                        let topic_id = id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
                        tracing::warn!(topic_partition = %name, topic_id, "directory of a topic that the metadata does not know: it is kept, and opened by nobody");
                    }
                }
            }
        }
        self.deletion.lock().swept = all_deleted;
    }

    /// Purges what is due.
    pub fn purge_due(&self) {
        let now = now_ms();
        let due: Vec<TopicId> = {
            let deletion = self.deletion.lock();
            deletion
                .due
                .iter()
                .filter(|(_, at)| **at <= now)
                .map(|(id, _)| *id)
                .collect()
        };
        if due.is_empty() {
            return;
        }
        match self.log_dir.purge_deleted(|id| due.contains(&id)) {
            Ok(directories) => {
                tracing::info!(directories, topics = due.len(), "data of removed topics is purged");
                // What was removed again meanwhile, under the same id, has a later time.
                self.deletion.lock().due.retain(|_, at| *at > now);
            }
            Err(error) => tracing::error!(%error, "data of removed topics is not purged yet"),
        }
    }

    /// Tombstones of which nothing is left here: what the controller waits to hear.
    pub fn purged(&self, image: &MetadataImage) -> Vec<TopicId> {
        if image.tombstones().is_empty() {
            return Vec::new();
        }
        let deletion = self.deletion.lock();
        if !deletion.swept {
            return Vec::new();
        }
        image
            .tombstones()
            .keys()
            .filter(|id| !deletion.due.contains_key(id))
            .copied()
            .collect()
    }

    /// Renames directories, to be purged later. False if one stays, as on a full disk: it is tried again by the next sweep.
    fn delete(&self, names: &[TopicPartition], id: TopicId, delay_ms: i64) -> bool {
        let deleted = self.forget_offsets(names).and_then(|()| {
            names
                .iter()
                .try_for_each(|name| self.log_dir.delete(name, id).map(drop))
        });
        match deleted {
            Ok(()) => {
                self.deletion.lock().due.insert(id, now_ms().saturating_add(delay_ms));
                tracing::info!(topic_id = %id, partitions = names.len(), delay_ms, "removed here: the data is purged after the delay");
                true
            }
            Err(error) => {
                tracing::error!(topic_id = %id, %error, "removed here: the data stays for now");
                false
            }
        }
    }
}
