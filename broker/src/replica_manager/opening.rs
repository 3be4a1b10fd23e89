//! Opening partitions, several at a time when there are many: after a crash each log's tail is read again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use broker_log::dir::fs::FsDir;
use broker_log::{LogError, OpenState, PartitionLog, TopicPartition};
use model::config::TopicConfig;
use model::{PartitionIndex, TopicId, TopicImage};
use parking_lot::Mutex;

use super::checkpoints::name_of;
use super::{ReplicaManager, TopicHandle, TopicTable, log_config};
use crate::clock::now_ms;
use crate::partition::PartitionHandle;

/// Below this number a thread costs more than it saves.
const PARTITIONS_PER_THREAD: usize = 16;

/// Opening is reading: more threads than this only queue at the disk.
const MOST_THREADS: usize = 8;

/// One partition that is to be opened.
struct Opening<'a> {
    topic: &'a Arc<TopicImage>,
    index: PartitionIndex,
}

impl ReplicaManager {
    /// Handles for new and changed topics; partitions that are open already stay as they are.
    pub(super) fn open_topics(
        &self,
        defaults: &BTreeMap<String, String>,
        before: &TopicTable,
        topics: &[&Arc<TopicImage>],
    ) -> Vec<TopicHandle> {
        let mut handles: Vec<TopicHandle> = Vec::with_capacity(topics.len());
        let mut wanted: Vec<(usize, Opening<'_>)> = Vec::new();
        for (at, topic) in topics.iter().enumerate() {
            let known = before.by_id(topic.id);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for (index, partition) in topic.indexed() {
                let here = partition.replicas.contains(&self.local);
                let open = known.and_then(|handle| handle.partition(index.0)).filter(|_| here);
                if let Some(open) = open {
                    open.set_config(log_config(defaults, topic));
                } else if here {
                    wanted.push((at, Opening { topic, index }));
                }
                partitions.push(open.cloned());
            }
            let config = TopicConfig::resolve(defaults, &topic.config);
            handles.push(TopicHandle {
                id: topic.id,
                name: topic.name.clone(),
                metrics: self.metrics.topics.topic(topic.name.as_str()),
                partitions,
                image: Arc::clone(topic),
                flushes_by_time: config.flush_ms < i64::MAX,
                max_message_bytes: config.max_message_bytes as usize,
            });
        }
        for (at, handle) in self.open_all(defaults, &handles, &wanted) {
            let place = usize::try_from(handle.index.0)
                .ok()
                .and_then(|index| handles[at].partitions.get_mut(index));
            if let Some(place) = place {
                *place = Some(Arc::new(handle));
            }
        }
        handles
    }

    fn open_all(
        &self,
        defaults: &BTreeMap<String, String>,
        handles: &[TopicHandle],
        wanted: &[(usize, Opening<'_>)],
    ) -> Vec<(usize, PartitionHandle)> {
        let open = |(at, opening): &(usize, Opening<'_>)| {
            let topic = opening.topic;
            let log = self.open_log(defaults, topic, opening.index);
            let metrics = Arc::clone(&handles[*at].metrics);
            let high_watermark = self.checkpointed_high_watermark(topic, opening.index);
            (
                *at,
                PartitionHandle::new(
                    topic.name.clone(),
                    topic.id,
                    opening.index,
                    metrics,
                    self.isr_wanted(),
                    high_watermark,
                    log,
                ),
            )
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = (wanted.len() / PARTITIONS_PER_THREAD).min(MOST_THREADS).min(cores * 2);
        if threads <= 1 {
            return wanted.iter().map(open).collect();
        }
        let next = AtomicUsize::new(0);
        let opened = Mutex::new(Vec::with_capacity(wanted.len()));
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(one) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let handle = open(one);
                        opened.lock().push(handle);
                    }
                });
            }
        });
        opened.into_inner()
    }

    fn open_log(
        &self,
        defaults: &BTreeMap<String, String>,
        topic: &TopicImage,
        index: PartitionIndex,
    ) -> Result<PartitionLog<FsDir>, LogError> {
        let name = TopicPartition {
            topic: topic.name.clone(),
            partition: index,
        };
        let config = log_config(defaults, topic);
        let open = || {
            let state = self.open_state(&name);
            PartitionLog::open(&self.log_dir, name.clone(), topic.id, config.clone(), state, now_ms())
        };
        let opened = match open() {
            // METADATA 25: a directory of the same name and another topic id is renamed aside and opened by nobody.
            Err(LogError::OtherTopicId { found, .. }) => {
                tracing::warn!(topic_partition = %name, topic_id = %topic.id, found = %found, "directory of another topic of that name is set aside");
                self.forget_offsets(std::slice::from_ref(&name))?;
                self.log_dir.set_aside(&name, Some(TopicId(found)))?;
                open()
            }
            other => other,
        };
        match opened {
            Ok((log, report)) => {
                if report.cut.is_some() || report.segments_removed > 0 {
                    // Nobody has said that these were on the disk, but somebody may have been told that they were written.
                    tracing::warn!(topic_partition = %name, ?report, "the end of the log was damaged, and is cut off");
                } else {
                    tracing::debug!(topic_partition = %name, ?report, "opened");
                }
                Ok(log)
            }
            Err(error) => {
                tracing::error!(topic_partition = %name, %error, "partition cannot be opened, it is offline");
                Err(error)
            }
        }
    }

    /// A log that has lost durable records is no use to a follower: it is set aside for people to look at, and copied anew
    /// from the leader. Only where nobody counts on it any more: as long as this replica could be elected, an empty log
    /// would be taken for a whole one.
    pub(super) fn copy_anew_if_lost(
        &self,
        defaults: &BTreeMap<String, String>,
        topic: &TopicImage,
        partition: &PartitionHandle,
    ) {
        if !partition.has_lost_records() {
            return;
        }
        let name = name_of(partition);
        let aside = self
            .forget_offsets(std::slice::from_ref(&name))
            .and_then(|()| self.log_dir.set_aside(&name, Some(topic.id)));
        match aside {
            Ok(aside) => {
                tracing::warn!(topic_partition = %name, %aside, "the log has lost records: it is set aside, and copied anew from the leader");
                if let Ok(log) = self.open_log(defaults, topic, partition.index) {
                    partition.begin_anew(log);
                }
            }
            Err(error) => tracing::error!(topic_partition = %name, %error, "a log that has lost records stays"),
        }
    }

    fn checkpointed_high_watermark(&self, topic: &TopicImage, index: PartitionIndex) -> i64 {
        let name = TopicPartition {
            topic: topic.name.clone(),
            partition: index,
        };
        let [_, _, high_watermark] = self.checkpoints.lock().of(&name);
        high_watermark
    }

    fn open_state(&self, name: &TopicPartition) -> OpenState {
        let checkpoints = self.checkpoints.lock();
        let [recovery_point, log_start_offset, _] = checkpoints.of(name);
        OpenState {
            clean: checkpoints.is_clean(),
            recovery_point,
            log_start_offset,
        }
    }
}
