//! The one fold: what each record does to the image. Deterministic: it reads the image and the record, nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::apply_error::ApplyError;
use crate::broker::BrokerRegistration;
use crate::config;
use crate::config_scope::ConfigScope;
use crate::ids::{BrokerEpoch, BrokerId, MetadataOffset, PartitionIndex, TopicId};
use crate::image::{MetadataImage, config_digest, overlaid};
use crate::level::{BARNABAS_VERSION, KNOWN_LEVELS};
use crate::partition::{Change, PartitionImage, Restart, effective_min_insync_replicas};
use crate::record::{
    BrokerRegistered, ClusterFormatted, ConfigSet, ControllerElected, FeatureLevelSet, PartitionChanged,
    PartitionsAdded, PreferredLeadersElected, ProducerIdsAllocated, Record, ReplicasFailed, TopicCreated,
};
use crate::topic::{Tombstone, TopicImage};

impl MetadataImage {
    /// Dispatches on the level in the image at this record (METADATA 9).
    pub(crate) fn apply(&mut self, record: &Record, offset: MetadataOffset) -> Result<(), ApplyError> {
        match (&self.cluster_id, record) {
            (None, Record::ClusterFormatted(data)) => return self.format(data, offset),
            (None, _) | (Some(_), Record::ClusterFormatted(_)) => {
                return Err(ApplyError::NotFormatted { kind: record.kind() });
            }
            (Some(_), _) => {}
        }
        match self.features.get(BARNABAS_VERSION).copied() {
            Some(2) => self.apply_level_2(record, offset),
            level => Err(ApplyError::UnknownLevel {
                level: level.unwrap_or(0),
            }),
        }
    }

    fn apply_level_2(&mut self, record: &Record, offset: MetadataOffset) -> Result<(), ApplyError> {
        match record {
            Record::ClusterFormatted(data) => self.format(data, offset),
            Record::ControllerElected(data) => self.controller_elected(data),
            Record::Noop(_) => Ok(()),
            Record::FeatureLevelSet(data) => self.feature_level_set(data, offset),
            Record::BrokerRegistered(data) => {
                self.broker_registered(data, offset);
                Ok(())
            }
            Record::BrokerUnfenced(data) => self.broker_unfenced(data.id, data.epoch),
            Record::BrokerFenced(data) => self.broker_fenced(data.id, data.epoch),
            Record::BrokerShutdownRequested(data) => self.broker_shutdown_requested(data.id, data.epoch),
            Record::BrokerUnregistered(data) => self.broker_unregistered(data.id, data.epoch),
            Record::TopicCreated(data) => self.topic_created(data),
            Record::PartitionsAdded(data) => self.partitions_added(data),
            Record::ConfigSet(data) => self.config_set(data),
            Record::TopicRemoved(data) => self.topic_removed(data.id, offset),
            Record::TopicPurged(data) => self.topic_purged(data.id),
            Record::PartitionChanged(data) => self.partition_changed(data),
            Record::PreferredLeadersElected(data) => self.preferred_leaders_elected(data),
            Record::ReplicasFailed(data) => self.replicas_failed(data),
            Record::ProducerIdsAllocated(data) => self.producer_ids_allocated(data),
        }
    }

    fn format(&mut self, data: &ClusterFormatted, offset: MetadataOffset) -> Result<(), ApplyError> {
        let level = data.features.get(BARNABAS_VERSION).copied().unwrap_or(0);
        if !KNOWN_LEVELS.contains(&level) {
            return Err(ApplyError::UnknownLevel { level });
        }
        self.change_cluster(|image| {
            image.cluster_id = Some(data.cluster_id.clone());
            image.identity.lineage = data.lineage;
            image.features.clone_from(&data.features);
            image.features_offset = offset;
        });
        Ok(())
    }

    fn controller_elected(&mut self, data: &ControllerElected) -> Result<(), ApplyError> {
        let last = self.identity.controller_epoch;
        // A rebuilt log jumps far ahead (METADATA 24), so more than +1 is legal; the same or less never is.
        if data.epoch <= last {
            return Err(ApplyError::ControllerEpoch {
                last,
                found: data.epoch,
            });
        }
        self.change_cluster(|image| {
            image.identity.controller_epoch = data.epoch;
            image.identity.nonce = data.nonce;
            image.controller.clone_from(&data.holder);
        });
        Ok(())
    }

    fn feature_level_set(&mut self, data: &FeatureLevelSet, offset: MetadataOffset) -> Result<(), ApplyError> {
        if data.name == BARNABAS_VERSION && !KNOWN_LEVELS.contains(&data.level) {
            return Err(ApplyError::UnknownLevel { level: data.level });
        }
        self.change_cluster(|image| {
            image.features.insert(data.name.clone(), data.level);
            image.features_offset = offset;
        });
        Ok(())
    }

    fn producer_ids_allocated(&mut self, data: &ProducerIdsAllocated) -> Result<(), ApplyError> {
        let last = self.next_producer_id;
        if data.next <= last {
            return Err(ApplyError::ProducerIds { last, next: data.next });
        }
        self.change_cluster(|image| image.next_producer_id = data.next);
        Ok(())
    }

    fn broker_registered(&mut self, data: &BrokerRegistered, offset: MetadataOffset) {
        let restart = match self.broker(data.id) {
            Some(former) if former.directory_id != data.directory_id => Restart::VolumeLost,
            _ if data.clean => Restart::Clean,
            _ => Restart::Unclean,
        };
        self.put_broker(BrokerRegistration {
            id: data.id,
            epoch: BrokerEpoch(offset.0),
            incarnation: data.incarnation,
            directory_id: data.directory_id,
            pod_uid: data.pod_uid.clone(),
            boot_id: data.boot_id.clone(),
            endpoints: data.endpoints.clone(),
            rack: data.rack.clone(),
            features: data.features.clone(),
            fenced: true,
            in_controlled_shutdown: false,
        });
        // METADATA 16: the former incarnation leaves every ISR, and the ELR unless clean, in this one record.
        let flushed = self.topics.values().filter(|topic| topic.always_flushed);
        let flushed: BTreeSet<TopicId> = flushed.map(|topic| topic.id).collect();
        self.each_partition_at(
            |topic| topic.has_replica_on(data.id),
            |topic, _, partition, min_isr, eligible| {
                let restart = match restart {
                    // No loss of power takes what was flushed before anybody was told of it.
                    Restart::Unclean if flushed.contains(&topic) => Restart::Clean,
                    restart => restart,
                };
                if partition.replicas.contains(&data.id) {
                    partition.reincarnate(data.id, restart, min_isr, eligible);
                }
            },
        );
    }

    fn broker_unfenced(&mut self, id: BrokerId, epoch: BrokerEpoch) -> Result<(), ApplyError> {
        self.change_broker(id, epoch, |broker| broker.fenced = false)?;
        self.each_partition_of(id, |partition, min_isr, eligible| {
            partition.elect_if_leaderless(min_isr, eligible);
        });
        Ok(())
    }

    fn broker_fenced(&mut self, id: BrokerId, epoch: BrokerEpoch) -> Result<(), ApplyError> {
        self.change_broker(id, epoch, |broker| broker.fenced = true)?;
        // METADATA 15: one small record, whatever the number of partitions.
        self.each_partition_of(id, |partition, min_isr, eligible| {
            partition.leave(id, min_isr, eligible);
        });
        Ok(())
    }

    fn broker_shutdown_requested(&mut self, id: BrokerId, epoch: BrokerEpoch) -> Result<(), ApplyError> {
        self.change_broker(id, epoch, |broker| broker.in_controlled_shutdown = true)?;
        self.each_partition_of(id, |partition, min_isr, eligible| {
            partition.hand_over(id, min_isr, eligible);
        });
        Ok(())
    }

    fn broker_unregistered(&mut self, id: BrokerId, epoch: BrokerEpoch) -> Result<(), ApplyError> {
        self.change_broker(id, epoch, |broker| broker.fenced = true)?;
        self.each_partition_of(id, |partition, min_isr, eligible| {
            partition.forget(id, min_isr, eligible);
        });
        if let Some(broker) = Arc::make_mut(&mut self.brokers).remove(&id) {
            self.hash.toggle(broker.digest());
        }
        self.set_config(&ConfigScope::Broker(id), &BTreeMap::new());
        Ok(())
    }

    fn topic_created(&mut self, data: &TopicCreated) -> Result<(), ApplyError> {
        let taken = self.topics.contains_key(&data.id)
            || self.tombstones.contains_key(&data.id)
            || self.topic_ids.contains_key(&data.name);
        if taken {
            return Err(ApplyError::TopicTaken {
                name: data.name.clone(),
                id: data.id,
            });
        }
        if !data.assignment.is_whole() {
            return Err(ApplyError::Assignment(data.id));
        }
        let partitions = data.assignment.partitions();
        let partitions =
            partitions.map(|replicas| PartitionImage::created(replicas.to_vec(), |id| self.is_eligible(id)));
        let topic = TopicImage {
            id: data.id,
            name: data.name.clone(),
            partitions: partitions.collect(),
            config: data.config.clone(),
            always_flushed: config::flushes_each_record(&data.config),
        };
        Arc::make_mut(&mut self.topic_ids).insert(data.name.clone(), data.id);
        self.hash.toggle(topic.digest());
        for (index, partition) in topic.indexed() {
            self.hash.toggle(partition.digest(topic.id, index));
        }
        Arc::make_mut(&mut self.topics).insert(data.id, Arc::new(topic));
        Ok(())
    }

    fn partitions_added(&mut self, data: &PartitionsAdded) -> Result<(), ApplyError> {
        if !data.assignment.is_whole() {
            return Err(ApplyError::Assignment(data.topic));
        }
        let added = data.assignment.partitions();
        let added = added.map(|replicas| PartitionImage::created(replicas.to_vec(), |id| self.is_eligible(id)));
        let added: Vec<_> = added.collect();
        let topic = Arc::make_mut(&mut self.topics)
            .get_mut(&data.topic)
            .ok_or(ApplyError::UnknownTopic(data.topic))?;
        let topic = Arc::make_mut(topic);
        self.hash.toggle(topic.digest());
        for partition in added {
            self.hash
                .toggle(partition.digest(topic.id, PartitionIndex(topic.partitions.len() as i32)));
            topic.partitions.push(partition);
        }
        self.hash.toggle(topic.digest());
        Ok(())
    }

    fn topic_removed(&mut self, id: TopicId, offset: MetadataOffset) -> Result<(), ApplyError> {
        let topic = Arc::make_mut(&mut self.topics)
            .remove(&id)
            .ok_or(ApplyError::UnknownTopic(id))?;
        Arc::make_mut(&mut self.topic_ids).remove(&topic.name);
        self.hash.toggle(topic.digest());
        for (index, partition) in topic.indexed() {
            self.hash.toggle(partition.digest(id, index));
        }
        // METADATA 25: what tells a broker that its data may go is this tombstone, never the topic's absence.
        let tombstone = Tombstone {
            id,
            name: topic.name.clone(),
            offset,
        };
        self.hash.toggle(tombstone.digest());
        Arc::make_mut(&mut self.tombstones).insert(id, tombstone);
        Ok(())
    }

    fn topic_purged(&mut self, id: TopicId) -> Result<(), ApplyError> {
        let tombstone = Arc::make_mut(&mut self.tombstones)
            .remove(&id)
            .ok_or(ApplyError::UnknownTopic(id))?;
        self.hash.toggle(tombstone.digest());
        Ok(())
    }

    fn partition_changed(&mut self, data: &PartitionChanged) -> Result<(), ApplyError> {
        let topic = self
            .topics
            .get(&data.topic)
            .ok_or(ApplyError::UnknownTopic(data.topic))?;
        let unknown = ApplyError::UnknownPartition {
            topic: data.topic,
            partition: data.partition,
        };
        let current = topic.partition(data.partition).ok_or(unknown)?;
        let replicas = data.replicas.as_ref().unwrap_or(&current.replicas);
        let isr = data.isr.as_ref().unwrap_or(&current.isr);
        let distinct = |ids: &[BrokerId]| ids.iter().enumerate().all(|(at, id)| !ids[..at].contains(id));
        let sound = !replicas.is_empty()
            && distinct(replicas)
            && distinct(isr)
            && data
                .isr
                .as_ref()
                .is_none_or(|isr| isr.iter().all(|id| replicas.contains(id)))
            && data
                .leader
                .is_none_or(|leader| isr.contains(&leader) && replicas.contains(&leader))
            && (!data.unclean || data.leader.is_some_and(|leader| *isr == [leader]));
        if !sound {
            return Err(ApplyError::Assignment(data.topic));
        }
        let change = Change {
            isr: data.isr.clone(),
            leader: data.leader,
            replicas: data.replicas.clone(),
            adding: data.adding.clone(),
            removing: data.removing.clone(),
            unclean: data.unclean,
        };
        let configured = self.configured_min_insync_replicas(&topic.config);
        let adding = data.adding.as_ref().unwrap_or(&current.adding);
        let min_isr = effective_min_insync_replicas(configured, replicas, adding);
        let brokers = Arc::clone(&self.brokers);
        let topic = Arc::make_mut(&mut self.topics)
            .get_mut(&data.topic)
            .ok_or(ApplyError::UnknownTopic(data.topic))?;
        let index = data.partition;
        if let Some(partition) = Arc::make_mut(topic).partitions.get_mut(index.0 as usize) {
            self.hash.toggle(partition.digest(data.topic, index));
            partition.change(change, min_isr, |id| {
                brokers.get(&id).is_some_and(|broker| broker.is_eligible())
            });
            self.hash.toggle(partition.digest(data.topic, index));
        }
        Ok(())
    }

    fn preferred_leaders_elected(&mut self, data: &PreferredLeadersElected) -> Result<(), ApplyError> {
        let (id, epoch) = (data.id, data.epoch);
        let known = self.broker(id).filter(|broker| broker.epoch == epoch);
        if known.ok_or(ApplyError::UnknownBroker { id, epoch })?.is_eligible() {
            self.each_partition_of(id, |partition, min_isr, _| partition.prefer(id, min_isr));
        }
        Ok(())
    }

    fn replicas_failed(&mut self, data: &ReplicasFailed) -> Result<(), ApplyError> {
        let (id, epoch) = (data.id, data.epoch);
        let known = self.broker(id).filter(|broker| broker.epoch == epoch);
        known.ok_or(ApplyError::UnknownBroker { id, epoch })?;
        if let Some(unknown) = data.partitions.keys().find(|topic| !self.topics.contains_key(topic)) {
            return Err(ApplyError::UnknownTopic(*unknown));
        }
        self.each_partition_at(
            |topic| data.partitions.contains_key(&topic.id),
            |topic, index, partition, min_isr, eligible| {
                let failed = data
                    .partitions
                    .get(&topic)
                    .is_some_and(|failed| failed.contains(&index));
                if failed && partition.replicas.contains(&id) {
                    partition.fail(id, min_isr, eligible);
                }
            },
        );
        Ok(())
    }

    fn config_set(&mut self, data: &ConfigSet) -> Result<(), ApplyError> {
        let mut config = match &data.scope {
            ConfigScope::Static => self.configs.fixed.clone(),
            ConfigScope::Cluster => self.configs.dynamic.clone(),
            ConfigScope::Broker(id) => self.broker_configs.get(id).cloned().unwrap_or_default(),
            ConfigScope::Group(group) => self.configs.groups.get(group).cloned().unwrap_or_default(),
            ConfigScope::Topic(id) => self.topics.get(id).ok_or(ApplyError::UnknownTopic(*id))?.config.clone(),
        };
        for (key, value) in &data.entries {
            match value {
                Some(value) => config.insert(key.clone(), value.clone()),
                None => config.remove(key),
            };
        }
        self.set_config(&data.scope, &config);
        self.recount(&data.scope);
        Ok(())
    }

    fn set_config(&mut self, scope: &ConfigScope, config: &BTreeMap<String, String>) {
        match scope {
            ConfigScope::Static => {
                self.hash.toggle(config_digest(scope, &self.configs.fixed));
                Arc::make_mut(&mut self.configs).fixed.clone_from(config);
                self.hash.toggle(config_digest(scope, config));
                self.overlay_config();
            }
            ConfigScope::Cluster => {
                self.hash.toggle(config_digest(scope, &self.configs.dynamic));
                Arc::make_mut(&mut self.configs).dynamic.clone_from(config);
                self.hash.toggle(config_digest(scope, config));
                self.overlay_config();
            }
            ConfigScope::Broker(id) => {
                let configs = Arc::make_mut(&mut self.broker_configs);
                if let Some(former) = configs.remove(id) {
                    self.hash.toggle(config_digest(scope, &former));
                }
                if !config.is_empty() {
                    configs.insert(*id, config.clone());
                }
                self.hash.toggle(config_digest(scope, config));
            }
            ConfigScope::Group(group) => {
                let groups = &mut Arc::make_mut(&mut self.configs).groups;
                if let Some(former) = groups.remove(group) {
                    self.hash.toggle(config_digest(scope, &former));
                }
                if !config.is_empty() {
                    groups.insert(group.clone(), config.clone());
                }
                self.hash.toggle(config_digest(scope, config));
            }
            ConfigScope::Topic(id) => {
                if let Some(topic) = Arc::make_mut(&mut self.topics).get_mut(id) {
                    let topic = Arc::make_mut(topic);
                    self.hash.toggle(topic.digest());
                    topic.config.clone_from(config);
                    topic.always_flushed &= config::flushes_each_record(config);
                    self.hash.toggle(topic.digest());
                }
            }
        }
    }

    /// What was changed while the cluster runs counts over the command line.
    pub(crate) fn overlay_config(&mut self) {
        self.cluster_config = Arc::new(overlaid(&self.configs.fixed, &self.configs.dynamic));
    }

    /// METADATA 10: `min.insync.replicas` is part of the fold, so a change of it acts here and nowhere else.
    fn recount(&mut self, scope: &ConfigScope) {
        match scope {
            ConfigScope::Broker(_) | ConfigScope::Group(_) => {}
            ConfigScope::Static | ConfigScope::Cluster => {
                self.each_partition(|_| true, |partition, min_isr, _| partition.recount(min_isr));
            }
            ConfigScope::Topic(id) => {
                self.each_partition(
                    |topic| topic.id == *id,
                    |partition, min_isr, _| partition.recount(min_isr),
                );
            }
        }
    }

    fn change_cluster(&mut self, change: impl FnOnce(&mut Self)) {
        let before = self.cluster_digest();
        self.hash.toggle(before);
        change(self);
        let after = self.cluster_digest();
        self.hash.toggle(after);
    }

    fn change_broker(
        &mut self,
        id: BrokerId,
        epoch: BrokerEpoch,
        change: impl FnOnce(&mut BrokerRegistration),
    ) -> Result<(), ApplyError> {
        let known = self.broker(id).filter(|broker| broker.epoch == epoch);
        let mut broker = known.ok_or(ApplyError::UnknownBroker { id, epoch })?.clone();
        change(&mut broker);
        self.put_broker(broker);
        Ok(())
    }

    fn put_broker(&mut self, broker: BrokerRegistration) {
        self.hash.toggle(broker.digest());
        if let Some(former) = Arc::make_mut(&mut self.brokers).insert(broker.id, Arc::new(broker)) {
            self.hash.toggle(former.digest());
        }
    }

    /// Changes every partition that has the broker among its replicas.
    fn each_partition_of(
        &mut self,
        broker: BrokerId,
        mut change: impl FnMut(&mut PartitionImage, usize, &dyn Fn(BrokerId) -> bool),
    ) {
        self.each_partition(
            |topic| topic.has_replica_on(broker),
            |partition, min_isr, eligible| {
                if partition.replicas.contains(&broker) {
                    change(partition, min_isr, eligible);
                }
            },
        );
    }

    fn each_partition(
        &mut self,
        concerns: impl Fn(&TopicImage) -> bool,
        mut change: impl FnMut(&mut PartitionImage, usize, &dyn Fn(BrokerId) -> bool),
    ) {
        self.each_partition_at(concerns, |_, _, partition, min_isr, eligible| {
            change(partition, min_isr, eligible);
        });
    }

    fn each_partition_at(
        &mut self,
        concerns: impl Fn(&TopicImage) -> bool,
        mut change: impl FnMut(TopicId, PartitionIndex, &mut PartitionImage, usize, &dyn Fn(BrokerId) -> bool),
    ) {
        let brokers = Arc::clone(&self.brokers);
        let eligible = |id: BrokerId| brokers.get(&id).is_some_and(|broker| broker.is_eligible());
        let concerned: Vec<_> = self
            .topics
            .values()
            .filter(|topic| concerns(topic))
            .map(|topic| topic.id)
            .collect();
        for id in concerned {
            let Some(topic) = self.topics.get(&id) else { continue };
            let configured = self.configured_min_insync_replicas(&topic.config);
            // Copied only if something changes: a topic may have thousands of partitions that do not.
            let mut changed = None;
            for (index, before) in topic.indexed() {
                let mut after = before.clone();
                let min_isr = before.effective_min_insync_replicas(configured);
                change(id, index, &mut after, min_isr, &eligible);
                if after != *before {
                    self.hash.toggle(before.digest(id, index));
                    self.hash.toggle(after.digest(id, index));
                    let copy = changed.get_or_insert_with(|| (**topic).clone());
                    if let Some(slot) = copy.partitions.get_mut(index.0 as usize) {
                        *slot = after;
                    }
                }
            }
            if let Some(changed) = changed {
                Arc::make_mut(&mut self.topics).insert(id, Arc::new(changed));
            }
        }
    }
}

#[cfg(test)]
mod tests;
