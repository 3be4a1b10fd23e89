//! What `/metrics` shows of single partitions, read when somebody scrapes: the names of Kafka and of kafka_exporter.
//!
//! Bounded: of a broker with very many partitions, those of the first topics by name are shown.

use std::sync::Arc;

use model::MetadataImage;
use prometheus::proto::MetricFamily;

use crate::context::BrokerContext;
use crate::metrics::BrokerMetrics;
use crate::metrics::computed::{self, Series, gauges, one};
use crate::partition::PartitionLook;

/// Partitions that have series of their own, at most.
const MAX_PARTITIONS: usize = 2000;

/// One partition with the labels of its series.
struct Shown {
    topic: String,
    partition: String,
    look: PartitionLook,
    replicas: usize,
    isr: usize,
    min_isr: usize,
    preferred: bool,
}

/// Registers what is computed from `broker`.
pub fn register(metrics: &BrokerMetrics, broker: &Arc<BrokerContext>) {
    let broker = Arc::downgrade(broker);
    let all = move || broker.upgrade().map_or_else(Vec::new, |broker| families(&broker));
    if let Err(error) = computed::register(metrics.registry(), "barnabas_partitions", all) {
        tracing::error!(%error, "the metrics of partitions are not shown");
    }
}

fn families(broker: &BrokerContext) -> Vec<MetricFamily> {
    let image = broker.metadata.snapshot();
    let table = broker.replicas.topics_owned();
    let mut handles: Vec<_> = table.partitions().collect();
    handles.sort_by(|a, b| (&a.topic, a.index).cmp(&(&b.topic, b.index)));
    let left_out = handles.len().saturating_sub(MAX_PARTITIONS);
    let shown: Vec<Shown> = handles
        .into_iter()
        .take(MAX_PARTITIONS)
        .filter_map(|handle| {
            let topic = image.topic(handle.topic_id)?;
            let partition = topic.partition(handle.index)?;
            Some(Shown {
                topic: handle.topic.to_string(),
                partition: handle.index.to_string(),
                look: handle.look()?,
                replicas: partition.replicas.len(),
                isr: partition.isr.len(),
                min_isr: image.min_insync_replicas(topic, partition),
                preferred: partition.leader.is_some() && partition.leader.as_ref() == partition.replicas.first(),
            })
        })
        .collect();
    let every = |value: fn(&Shown) -> f64| series(&shown, |_| true, value);
    let led = |value: fn(&Shown) -> f64| series(&shown, |shown| shown.look.leader, value);
    let family = |name: &str, help: &str, series: Vec<Series<'_>>| gauges(name, help, series);
    let mut families = vec![
        family(
            "kafka_log_log_size",
            "Bytes of the log",
            every(|s| s.look.size_bytes as f64),
        ),
        family(
            "kafka_log_log_logstartoffset",
            "First offset of the log",
            every(|s| s.look.log_start_offset as f64),
        ),
        family(
            "kafka_log_log_logendoffset",
            "Offset after the last record of the log",
            every(|s| s.look.log_end_offset as f64),
        ),
        family(
            "kafka_log_log_numlogsegments",
            "Segments of the log",
            every(|s| s.look.segments as f64),
        ),
        family(
            "kafka_cluster_partition_replicascount",
            "Replicas of a partition led here",
            led(|s| s.replicas as f64),
        ),
        family(
            "kafka_cluster_partition_insyncreplicascount",
            "In-sync replicas of a partition led here",
            led(|s| s.isr as f64),
        ),
        family(
            "kafka_cluster_partition_underminisr",
            "1 if a partition led here has fewer in-sync replicas than it needs",
            led(|s| f64::from(u8::from(s.isr < s.min_isr))),
        ),
        family(
            "kafka_cluster_partition_atminisr",
            "1 if a partition led here has just the in-sync replicas that it needs",
            led(|s| f64::from(u8::from(s.isr == s.min_isr))),
        ),
        family(
            "kafka_topic_partition_current_offset",
            "High watermark of a partition led here",
            led(|s| s.look.high_watermark as f64),
        ),
        family(
            "kafka_topic_partition_oldest_offset",
            "First offset of a partition led here",
            led(|s| s.look.log_start_offset as f64),
        ),
        family(
            "kafka_topic_partition_replicas",
            "Replicas of a partition led here",
            led(|s| s.replicas as f64),
        ),
        family(
            "kafka_topic_partition_in_sync_replica",
            "In-sync replicas of a partition led here",
            led(|s| s.isr as f64),
        ),
        family(
            "kafka_topic_partition_under_replicated_partition",
            "1 if a partition led here has an incomplete ISR",
            led(|s| f64::from(u8::from(s.isr < s.replicas))),
        ),
        family(
            "kafka_topic_partition_leader_is_preferred",
            "1 if a partition led here is led by its first replica",
            led(|s| f64::from(u8::from(s.preferred))),
        ),
        gauges(
            "barnabas_partitions_without_series",
            "Partitions of this broker that have no series of their own, because there are too many",
            one(left_out as f64),
        ),
        gauges(
            "kafka_server_replicafetchermanager_maxlag",
            "Committed records that the replica furthest behind its leader has still to fetch",
            one(broker.replicas.max_lag() as f64),
        ),
    ];
    families.extend(of_topics(broker, &image, &shown));
    families
}

/// Facts about topics, told by the leader of their first partition, so that a cluster tells them once.
fn of_topics(broker: &BrokerContext, image: &MetadataImage, shown: &[Shown]) -> Vec<MetricFamily> {
    let id = broker.id.to_string();
    let first = shown.iter().filter(|shown| shown.partition == "0" && shown.look.leader);
    let partitions = first.filter_map(|shown| {
        let count = image.topic_by_name(&shown.topic)?.partitions.len();
        Some((vec![("topic", shown.topic.as_str())], count as f64))
    });
    let leaders = shown.iter().filter(|shown| shown.look.leader).map(|shown| {
        let labels = vec![("topic", shown.topic.as_str()), ("partition", shown.partition.as_str())];
        (labels, f64::from(broker.id.0))
    });
    vec![
        gauges("kafka_topic_partitions", "Partitions of a topic", partitions),
        gauges(
            "kafka_topic_partition_leader",
            "Id of the broker that leads a partition led here",
            leaders,
        ),
        gauges(
            "kafka_broker_info",
            "1, labelled with the broker's id",
            [(vec![("id", id.as_str())], 1.0)],
        ),
    ]
}

fn series(shown: &[Shown], which: fn(&Shown) -> bool, value: fn(&Shown) -> f64) -> Vec<Series<'_>> {
    let labels = |shown| {
        let Shown { topic, partition, .. }: &Shown = shown;
        vec![("topic", topic.as_str()), ("partition", partition.as_str())]
    };
    let of = |shown| (labels(shown), value(shown));
    shown.iter().filter(|shown| which(shown)).map(of).collect()
}
