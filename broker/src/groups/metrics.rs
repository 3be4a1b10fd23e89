//! What `/metrics` shows of consumer groups, computed from the coordinators when somebody scrapes: the names of
//! kafka_exporter, so that its dashboards work without it, and the lag in seconds, which only a broker knows.
//!
//! Bounded: groups are made by clients, and a series for each partition of each of a million groups would be an attack.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_groups::{GroupCoordinator, GroupStats};
use prometheus::proto::MetricFamily;
use protocol::batch::{BatchHeader, HEADER_LEN};

use super::GroupManager;
use crate::clock::now_ms;
use crate::metrics::BrokerMetrics;
use crate::metrics::computed::{self, Series, counters, gauges, one};
use crate::partition::{PartitionHandle, ReadSpec, Reader};
use crate::replica_manager::ReplicaManager;

/// Committed offsets that are shown at most, of the first groups by name.
const MAX_SERIES: usize = 10_000;

/// The special timestamps of ListOffsets.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// How far one group has come in one partition.
#[derive(Debug)]
struct Progress {
    group: String,
    topic: String,
    partition: String,
    committed: i64,
    behind: Option<Behind>,
}

/// What is left to read; known where the partition is led.
#[derive(Debug, Clone, Copy)]
struct Behind {
    records: i64,
    seconds: f64,
}

#[derive(Debug, Default)]
struct Collected {
    progress: Vec<Progress>,
    /// Group -> members.
    members: Vec<(String, usize)>,
    /// Kind and state -> groups.
    states: BTreeMap<(String, String), usize>,
    left_out: usize,
    stats: GroupStats,
}

/// Registers what is computed from `groups`.
pub fn register(metrics: &BrokerMetrics, groups: &Arc<GroupManager>) {
    let groups = Arc::downgrade(groups);
    let families = move || {
        let groups = groups.upgrade();
        groups.map_or_else(Vec::new, |groups| families(&collect(&groups)))
    };
    if let Err(error) = computed::register(metrics.registry(), "barnabas_groups", families) {
        tracing::error!(%error, "the metrics of consumer groups are not shown");
    }
}

fn collect(manager: &GroupManager) -> Collected {
    let mut all = Collected {
        stats: manager.retired_stats(),
        ..Collected::default()
    };
    for shard in manager.shards() {
        // One that is being loaded, or resigned meanwhile, has nothing to show.
        let _ = shard.read(|groups| all.add(groups));
    }
    // No lock of a coordinator is held while the partitions are asked.
    let now_ms = now_ms();
    for progress in &mut all.progress {
        progress.behind = behind(&manager.replicas, progress, now_ms);
    }
    all
}

impl Collected {
    fn add(&mut self, groups: &GroupCoordinator) {
        self.stats += groups.stats();
        for listed in groups.list(&[], &[]) {
            *self.states.entry((listed.group_type, listed.group_state)).or_default() += 1;
            let members = groups.member_count(&listed.group_id);
            if self.members.len() < MAX_SERIES {
                self.members.push((listed.group_id, members));
            }
        }
        for (group, topics) in groups.durable().groups_with_offsets() {
            for (topic, partitions) in topics {
                for (index, offset) in partitions {
                    if self.progress.len() == MAX_SERIES {
                        self.left_out += 1;
                        continue;
                    }
                    self.progress.push(Progress {
                        group: group.as_str().to_owned(),
                        topic: topic.clone(),
                        partition: index.to_string(),
                        committed: offset.offset,
                        behind: None,
                    });
                }
            }
        }
    }
}

fn behind(replicas: &ReplicaManager, progress: &Progress, now_ms: i64) -> Option<Behind> {
    let index = progress.partition.parse().ok()?;
    let partition = Arc::clone(replicas.topics().by_name(&progress.topic)?.partition(index)?);
    let end = partition.find_offset(LATEST, -1).ok()?.offset;
    let start = partition.find_offset(EARLIEST, -1).ok()?.offset;
    // What was deleted unread cannot be read any more.
    let next = progress.committed.max(start);
    if next >= end {
        return Some(Behind {
            records: 0,
            seconds: 0.0,
        });
    }
    let written_ms = timestamp_at(&partition, next)?;
    Some(Behind {
        records: end - next,
        seconds: now_ms.saturating_sub(written_ms).max(0) as f64 / 1000.0,
    })
}

/// When the batch that holds an offset began: its header says so, nothing is decompressed.
fn timestamp_at(partition: &PartitionHandle, offset: i64) -> Option<i64> {
    let spec = ReadSpec {
        reader: Reader::Consumer { anywhere: false },
        offset,
        max_bytes: 1,
        min_one_message: true,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    };
    let mut slice = partition.read(spec).ok()?.slice;
    slice.len = slice.len.min(HEADER_LEN);
    let header = BatchHeader::parse(&slice.read().ok()?).ok()?;
    Some(header.base_timestamp)
}

fn families(all: &Collected) -> Vec<MetricFamily> {
    fn of(progress: &Progress, value: f64) -> Series<'_> {
        let labels = vec![
            ("consumergroup", progress.group.as_str()),
            ("topic", progress.topic.as_str()),
            ("partition", progress.partition.as_str()),
        ];
        (labels, value)
    }
    let behind = |value: fn(&Behind) -> f64| {
        let known = all.progress.iter();
        known.filter_map(move |progress| Some(of(progress, value(progress.behind.as_ref()?))))
    };
    let mut sums: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for progress in &all.progress {
        if let Some(behind) = &progress.behind {
            *sums.entry((&progress.group, &progress.topic)).or_default() += behind.records as f64;
        }
    }
    let rebalances = [
        (vec![("type", "classic")], all.stats.classic_rebalances as f64),
        (vec![("type", "consumer")], all.stats.consumer_rebalances as f64),
    ];
    vec![
        gauges(
            "kafka_consumergroup_current_offset",
            "Offset that a group has committed for a partition",
            all.progress
                .iter()
                .map(|progress| of(progress, progress.committed as f64)),
        ),
        gauges(
            "kafka_consumergroup_lag",
            "Records that a group has not yet committed, of partitions led here",
            behind(|behind| behind.records as f64),
        ),
        gauges(
            "kafka_consumergroup_lag_seconds",
            "Age of the oldest record that a group has not yet committed, of partitions led here",
            behind(|behind| behind.seconds),
        ),
        gauges(
            "kafka_consumergroup_lag_sum",
            "Records that a group has not yet committed, over the partitions of a topic led here",
            sums.iter()
                .map(|((group, topic), lag)| (vec![("consumergroup", *group), ("topic", *topic)], *lag)),
        ),
        gauges(
            "kafka_consumergroup_members",
            "Members of a group",
            all.members
                .iter()
                .map(|(group, members)| (vec![("consumergroup", group.as_str())], *members as f64)),
        ),
        gauges(
            "barnabas_groups",
            "Groups coordinated here, by kind and state",
            all.states.iter().map(|((kind, state), count)| {
                (vec![("type", kind.as_str()), ("state", state.as_str())], *count as f64)
            }),
        ),
        gauges(
            "barnabas_group_series_left_out",
            "Committed offsets without a series of their own, because there are too many",
            one(all.left_out as f64),
        ),
        counters(
            "barnabas_group_offset_commits_total",
            "OffsetCommit requests accepted",
            one(all.stats.offset_commits as f64),
        ),
        counters(
            "barnabas_group_offsets_expired_total",
            "Committed offsets that have expired",
            one(all.stats.offsets_expired as f64),
        ),
        counters(
            "barnabas_group_rebalances_total",
            "Generations of classic groups, epochs of consumer groups",
            rebalances,
        ),
    ]
}
