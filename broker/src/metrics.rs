//! What `/metrics` shows: Kafka's names as Strimzi's dashboards know them, for what Kafka has a name for.
//!
//! A topic's counters are reached through its handle: the hot path adds to atomics and looks nothing up. The series
//! without a topic label is the sum over all topics, made when somebody scrapes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use protocol::ApiKey;

pub(crate) mod computed;
mod errors;
mod latency;
mod process;
mod requests;

use crate::disk::DiskMetrics;

use computed::{counters, one};

/// All metrics of one broker, over an injected registry.
#[derive(Debug, Clone)]
pub struct BrokerMetrics {
    /// Kafka's `BrokerTopicMetrics`.
    pub topics: BrokerTopicMetrics,
    /// Kafka's `ReplicaManager` gauges.
    pub replicas: ReplicaMetrics,
    /// The disk under the data directory.
    pub disk: DiskMetrics,
    /// Requests received, by API and version.
    requests: requests::RequestCounters,
    /// Time spent on them, by API.
    latencies: latency::Latencies,
    /// Errors answered to produce and fetch requests.
    errors: errors::ErrorCounters,
    /// How long flushes of logs took.
    pub flushes: prometheus::Histogram,
    /// How long renewals of the broker's Lease took.
    pub lease_renewals: prometheus::Histogram,
    /// Renewals of the broker's Lease that failed.
    pub lease_renew_failures: prometheus::IntCounter,
    /// Unix time at which the Lease runs out if it is not renewed; 0 without one.
    pub lease_expiry: IntGauge,
    /// Offset of the last metadata record applied here.
    pub metadata_offset: IntGauge,
    registry: Registry,
}

/// Gauges over the partitions of this broker, set when metadata changes.
#[derive(Debug, Clone)]
pub struct ReplicaMetrics {
    /// Partitions led here.
    pub leaders: IntGauge,
    /// Partitions with a replica here.
    pub partitions: IntGauge,
    /// Led here with an incomplete ISR.
    pub under_replicated: IntGauge,
    /// Led here with an ISR below the minimum.
    pub under_min_isr: IntGauge,
    /// Led here with an ISR exactly at the minimum.
    pub at_min_isr: IntGauge,
    /// With a replica here that cannot be opened.
    pub offline: IntGauge,
    /// In-sync sets of partitions led here that lost a member.
    pub isr_shrinks: prometheus::IntCounter,
    /// In-sync sets of partitions led here that gained one.
    pub isr_expands: prometheus::IntCounter,
    /// Proposals of in-sync sets that failed.
    pub failed_isr_updates: prometheus::IntCounter,
}

/// The counters of one topic. Adding is one relaxed atomic: nobody orders anything by a metric.
#[derive(Debug, Default)]
pub struct TopicMetrics {
    values: [AtomicU64; TopicCounter::ALL.len()],
}

/// What is counted per topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicCounter {
    /// Bytes of accepted batches.
    BytesIn,
    /// Bytes of fetched batches.
    BytesOut,
    /// Records accepted.
    MessagesIn,
    /// Partitions named in produce requests.
    ProduceRequests,
    /// Partitions named in fetch requests.
    FetchRequests,
    /// Of the produce requests, refused.
    FailedProduceRequests,
    /// Of the fetch requests, refused.
    FailedFetchRequests,
    /// Bytes of refused batches.
    BytesRejected,
    /// Bytes fetched from leaders.
    ReplicationBytesIn,
    /// Bytes sent to followers.
    ReplicationBytesOut,
}

impl TopicCounter {
    const ALL: [Self; 10] = [
        Self::BytesIn,
        Self::BytesOut,
        Self::MessagesIn,
        Self::ProduceRequests,
        Self::FetchRequests,
        Self::FailedProduceRequests,
        Self::FailedFetchRequests,
        Self::BytesRejected,
        Self::ReplicationBytesIn,
        Self::ReplicationBytesOut,
    ];

    fn name_and_help(self) -> (&'static str, &'static str) {
        match self {
            Self::BytesIn => ("bytesin", "Bytes of record batches accepted from producers"),
            Self::BytesOut => ("bytesout", "Bytes of record batches sent to consumers"),
            Self::MessagesIn => ("messagesin", "Records accepted from producers"),
            Self::ProduceRequests => ("totalproducerequests", "Partitions named in produce requests"),
            Self::FetchRequests => ("totalfetchrequests", "Partitions named in fetch requests"),
            Self::FailedProduceRequests => ("failedproducerequests", "Partitions refused in produce requests"),
            Self::FailedFetchRequests => ("failedfetchrequests", "Partitions refused in fetch requests"),
            Self::BytesRejected => ("bytesrejected", "Bytes of record batches refused"),
            Self::ReplicationBytesIn => ("replicationbytesin", "Bytes of record batches fetched from leaders"),
            Self::ReplicationBytesOut => ("replicationbytesout", "Bytes of record batches sent to followers"),
        }
    }
}

impl TopicMetrics {
    /// Counts `amount` more.
    pub fn add(&self, counter: TopicCounter, amount: u64) {
        self.values[counter as usize].fetch_add(amount, Ordering::Relaxed);
    }

    /// Counted so far.
    pub fn get(&self, counter: TopicCounter) -> u64 {
        self.values[counter as usize].load(Ordering::Relaxed)
    }
}

/// Kafka's `BrokerTopicMetrics`: each counter by topic, and once for all topics.
#[derive(Debug, Clone, Default)]
pub struct BrokerTopicMetrics {
    inner: Arc<Mutex<TopicTable>>,
}

#[derive(Debug, Default)]
struct TopicTable {
    by_name: HashMap<String, Arc<TopicMetrics>>,
    /// What removed topics and unknown ones had counted: the sum must not go back.
    others: Arc<TopicMetrics>,
}

impl BrokerTopicMetrics {
    /// The counters of a topic, made at its first mention.
    pub fn topic(&self, name: &str) -> Arc<TopicMetrics> {
        let mut table = self.inner.lock();
        if let Some(found) = table.by_name.get(name) {
            return Arc::clone(found);
        }
        let made = Arc::new(TopicMetrics::default());
        table.by_name.insert(name.to_owned(), Arc::clone(&made));
        made
    }

    /// Counters for topics that are not here: no series of their own, or a client could make any number of them.
    pub fn unknown_topic(&self) -> Arc<TopicMetrics> {
        Arc::clone(&self.inner.lock().others)
    }

    /// The topic is gone, and so are its series.
    pub fn forget(&self, name: &str) {
        let mut table = self.inner.lock();
        if let Some(gone) = table.by_name.remove(name) {
            for counter in TopicCounter::ALL {
                table.others.add(counter, gone.get(counter));
            }
        }
    }
}

impl BrokerTopicMetrics {
    fn families(&self) -> Vec<MetricFamily> {
        let table = self.inner.lock();
        let mut names: Vec<&String> = table.by_name.keys().collect();
        names.sort_unstable();
        let family = |counter: TopicCounter| {
            let (name, help) = counter.name_and_help();
            let by_topic: Vec<(&str, u64)> = names
                .iter()
                .map(|topic| (topic.as_str(), table.by_name[*topic].get(counter)))
                .collect();
            let all = by_topic.iter().map(|(_, value)| value).sum::<u64>() + table.others.get(counter);
            let labelled = by_topic
                .into_iter()
                .map(|(topic, value)| (vec![("topic", topic)], value as f64));
            let name = format!("kafka_server_brokertopicmetrics_{name}_total");
            counters(&name, help, one(all as f64).into_iter().chain(labelled))
        };
        TopicCounter::ALL.into_iter().map(family).collect()
    }
}

impl BrokerMetrics {
    /// Registers everything.
    pub fn new(registry: Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let replica = |name: &str, help: &str| gauge(&format!("kafka_server_replicamanager_{name}"), help);
        let topics = BrokerTopicMetrics::default();
        let shown = topics.clone();
        computed::register(&registry, "barnabas_topics", move || shown.families())?;
        let requests = requests::RequestCounters::default();
        let shown = requests.clone();
        let latencies = latency::Latencies::default();
        let errors = errors::ErrorCounters::default();
        let (times, codes) = (latencies.clone(), errors.clone());
        computed::register(&registry, "barnabas_requests", move || {
            vec![shown.family(), times.family(), codes.family()]
        })?;
        let histogram = |name: &str, help: &str| -> Result<prometheus::Histogram, prometheus::Error> {
            let buckets = prometheus::exponential_buckets(0.000_1, 4.0, 9)?;
            let histogram =
                prometheus::Histogram::with_opts(prometheus::HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let flushes = histogram(
            "barnabas_log_flush_duration_seconds",
            "Time of a flush of one log in the background",
        )?;
        let lease_renewals = histogram(
            "barnabas_lease_renew_duration_seconds",
            "Time of a renewal of this broker's Lease",
        )?;
        let lease_renew_failures = prometheus::IntCounter::new(
            "barnabas_lease_renew_failures_total",
            "Renewals of this broker's Lease that failed",
        )?;
        registry.register(Box::new(lease_renew_failures.clone()))?;
        let build = IntGaugeVec::new(
            Opts::new("barnabas_build_info", "1, labelled with the version"),
            &["version"],
        )?;
        build.with_label_values(&[crate::VERSION]).set(1);
        registry.register(Box::new(build))?;
        computed::register(&registry, "barnabas_process", process::families)?;
        let changes = |name: &str, help: &str| -> Result<prometheus::IntCounter, prometheus::Error> {
            let counter = prometheus::IntCounter::new(format!("kafka_server_replicamanager_{name}_total"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        Ok(Self {
            topics,
            replicas: ReplicaMetrics {
                isr_shrinks: changes("isrshrinks", "In-sync sets of led partitions that lost a member")?,
                isr_expands: changes("isrexpands", "In-sync sets of led partitions that gained a member")?,
                failed_isr_updates: changes("failedisrupdates", "Proposals of in-sync sets that failed")?,
                leaders: replica("leadercount", "Partitions led by this broker")?,
                partitions: replica("partitioncount", "Partitions with a replica on this broker")?,
                under_replicated: replica("underreplicatedpartitions", "Led partitions with an incomplete ISR")?,
                under_min_isr: replica("underminisrpartitioncount", "Led partitions below min.insync.replicas")?,
                at_min_isr: replica(
                    "atminisrpartitioncount",
                    "Led partitions exactly at min.insync.replicas",
                )?,
                offline: replica("offlinereplicacount", "Replicas that could not be opened")?,
            },
            disk: DiskMetrics {
                total: gauge(
                    "barnabas_disk_total_bytes",
                    "Size of the file system of the data directory",
                )?,
                usable: gauge("barnabas_disk_usable_bytes", "Bytes of it that can still be used")?,
                writable: gauge(
                    "barnabas_disk_writable",
                    "1 while records are taken, 0 while they are refused because the disk is full or failed",
                )?,
            },
            requests,
            latencies,
            errors,
            flushes,
            lease_renewals,
            lease_renew_failures,
            lease_expiry: gauge(
                "barnabas_lease_expiry_timestamp_seconds",
                "When this broker's Lease runs out",
            )?,
            metadata_offset: gauge("barnabas_metadata_offset", "Offset of the last metadata record applied")?,
            registry,
        })
    }

    /// Counts a request: one relaxed atomic, looked up by two small numbers.
    pub fn count_request(&self, key: ApiKey, version: i16) {
        self.requests.count(key, version);
    }

    /// `count` requests of this API took a network thread `each`.
    pub fn observe_requests(&self, key: ApiKey, count: u64, each: std::time::Duration) {
        self.latencies.observe(key, count, each);
    }

    /// Counts a partition refused in a produce or fetch request.
    pub fn count_error(&self, key: ApiKey, error: protocol::ErrorCode) {
        self.errors.count(key, error);
    }

    /// The text that a scrape gets.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Where others register their own.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(metrics: &BrokerMetrics) -> Vec<String> {
        metrics.render().expect("renders").lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_counter_has_a_series_for_its_topic_and_one_for_all() {
        let metrics = BrokerMetrics::new(Registry::new()).expect("registers");
        metrics.topics.topic("mail").add(TopicCounter::MessagesIn, 3);
        metrics.topics.topic("post").add(TopicCounter::MessagesIn, 4);
        let lines = rendered(&metrics);
        for line in [
            "kafka_server_brokertopicmetrics_messagesin_total 7",
            "kafka_server_brokertopicmetrics_messagesin_total{topic=\"mail\"} 3",
            "# TYPE kafka_server_brokertopicmetrics_messagesin_total counter",
        ] {
            assert!(lines.iter().any(|l| l == line), "{line} missing in {lines:#?}");
        }
    }

    #[test]
    fn a_removed_topic_leaves_its_share_in_the_sum() {
        let metrics = BrokerMetrics::new(Registry::new()).expect("registers");
        metrics.topics.topic("mail").add(TopicCounter::BytesIn, 5);
        metrics.topics.forget("mail");
        let lines = rendered(&metrics);
        assert!(
            lines
                .iter()
                .any(|l| l == "kafka_server_brokertopicmetrics_bytesin_total 5")
        );
        assert!(!lines.iter().any(|l| l.contains("topic=\"mail\"")));
    }

    #[test]
    fn the_process_shows_its_memory() {
        let metrics = BrokerMetrics::new(Registry::new()).expect("registers");
        let resident = rendered(&metrics)
            .into_iter()
            .find_map(|l| l.strip_prefix("process_resident_memory_bytes ").map(str::to_owned))
            .expect("has the gauge");
        assert!(resident.parse::<f64>().expect("a number") > 1_000_000.0, "{resident}");
    }
}
