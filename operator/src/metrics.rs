//! What the operator counts of itself, for Prometheus.

use model::MetadataImage;
use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::names::ClusterNames;

/// The operator's own series. The control of each cluster adds its own to the same registry.
#[derive(Clone)]
pub struct Metrics {
    /// Where everything is registered.
    pub registry: Registry,
    /// Reconciliations by kind and result (`success`, `error`, `noop`).
    pub reconciliations: IntCounterVec,
    /// How long reconciliations took, by kind: of a Cluster, and of all Topics of a cluster together.
    pub reconcile_seconds: HistogramVec,
    /// Status writes by kind: a resource that is written without end shows here.
    pub status_writes: IntCounterVec,
    /// Watches that broke and began again, by kind.
    pub watch_restarts: IntCounterVec,
    /// 1 for each cluster that this replica leads.
    pub leads: IntGaugeVec,
    /// What the controllers of this replica see.
    controllers: Controllers,
    /// Bytes written to metadata logs.
    pub metadata_bytes: IntCounterVec,
    /// Appends to metadata logs by result (`success`, `conflict`, `unknown`, `refused`).
    pub metadata_appends: IntCounterVec,
    /// How long these took, whatever came of them.
    pub append_seconds: HistogramVec,
}

/// Per cluster; Kafka's names where Kafka has one, so that dashboards find them.
#[derive(Clone)]
struct Controllers {
    epoch: IntGaugeVec,
    log_bytes: IntGaugeVec,
    active: IntGaugeVec,
    topics: IntGaugeVec,
    partitions: IntGaugeVec,
    offline: IntGaugeVec,
    brokers: IntGaugeVec,
    fenced: IntGaugeVec,
    possible_loss: IntGaugeVec,
}

impl Metrics {
    /// All series, registered.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let series = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(series.clone()))?;
            Ok(series)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
            let series = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(series.clone()))?;
            Ok(series)
        };
        let histogram = |name: &str, help: &str, labels: &[&str]| -> Result<HistogramVec, prometheus::Error> {
            let buckets = prometheus::exponential_buckets(0.001, 2.0, 14)?;
            let series = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)?;
            registry.register(Box::new(series.clone()))?;
            Ok(series)
        };
        let build = IntGauge::with_opts(
            Opts::new("barnabas_build_info", "Always 1; the label names the version")
                .const_label("version", crate::VERSION),
        )?;
        build.set(1);
        registry.register(Box::new(build))?;
        let cluster = &["namespace", "cluster"];
        Ok(Self {
            reconciliations: counter(
                "barnabas_operator_reconciliations_total",
                "Reconciliations by kind and result",
                &["kind", "result"],
            )?,
            reconcile_seconds: histogram(
                "barnabas_operator_reconcile_duration_seconds",
                "Time of a look at a Cluster, or at all Topics of a cluster",
                &["kind"],
            )?,
            status_writes: counter(
                "barnabas_operator_status_writes_total",
                "Status writes by kind",
                &["kind"],
            )?,
            watch_restarts: counter(
                "barnabas_operator_watch_restarts_total",
                "Watches that broke and began again, by kind",
                &["kind"],
            )?,
            leads: gauge(
                "barnabas_operator_is_leader",
                "1 for each cluster that this replica leads",
                cluster,
            )?,
            controllers: Controllers {
                epoch: gauge(
                    "barnabas_controller_epoch",
                    "Controller epoch of the clusters led here",
                    cluster,
                )?,
                log_bytes: gauge(
                    "barnabas_metadata_log_bytes",
                    "Bytes of the metadata log since its last snapshot",
                    cluster,
                )?,
                active: gauge(
                    "kafka_controller_kafkacontroller_activecontrollercount",
                    "1 for each cluster whose controller is here",
                    cluster,
                )?,
                topics: gauge("kafka_controller_kafkacontroller_globaltopiccount", "Topics", cluster)?,
                partitions: gauge(
                    "kafka_controller_kafkacontroller_globalpartitioncount",
                    "Partitions",
                    cluster,
                )?,
                offline: gauge(
                    "kafka_controller_kafkacontroller_offlinepartitionscount",
                    "Partitions without a leader",
                    cluster,
                )?,
                brokers: gauge(
                    "kafka_controller_kafkacontroller_activebrokercount",
                    "Registered brokers that may lead",
                    cluster,
                )?,
                fenced: gauge(
                    "kafka_controller_kafkacontroller_fencedbrokercount",
                    "Registered brokers that may not lead",
                    cluster,
                )?,
                possible_loss: gauge(
                    "barnabas_controller_possible_loss_partitions",
                    "Partitions whose leader may lack acknowledged records",
                    cluster,
                )?,
            },
            metadata_bytes: counter(
                "barnabas_metadata_log_written_bytes_total",
                "Bytes written to the metadata log and its snapshots",
                cluster,
            )?,
            metadata_appends: counter(
                "barnabas_metadata_log_appends_total",
                "Appends to the metadata log by result",
                &["namespace", "cluster", "result"],
            )?,
            append_seconds: histogram(
                "barnabas_metadata_log_append_duration_seconds",
                "Time until the API server answered an append to the metadata log",
                cluster,
            )?,
            registry,
        })
    }

    /// What the controller of a cluster that is led here sees now.
    pub fn observe(&self, names: &ClusterNames, image: &MetadataImage, log_bytes: u64) {
        let cluster = [names.namespace.as_str(), names.cluster.as_str()];
        let set = |gauge: &IntGaugeVec, value: usize| gauge.with_label_values(&cluster).set(value as i64);
        let all = &self.controllers;
        let partitions = || image.topics().values().flat_map(|topic| &topic.partitions);
        let fenced = image.brokers().values().filter(|broker| broker.fenced).count();
        all.epoch.with_label_values(&cluster).set(image.controller_epoch().0);
        set(&all.log_bytes, log_bytes as usize);
        set(&all.active, 1);
        set(&all.topics, image.topics().len());
        set(&all.partitions, partitions().count());
        set(
            &all.offline,
            partitions().filter(|partition| partition.leader.is_none()).count(),
        );
        set(&all.brokers, image.brokers().len() - fenced);
        set(&all.fenced, fenced);
        let lost = partitions().filter(|partition| partition.may_have_lost_records());
        set(&all.possible_loss, lost.count());
    }

    /// The cluster is led here no longer: what was seen of it is not said any more.
    pub fn forget(&self, names: &ClusterNames) {
        let cluster = [names.namespace.as_str(), names.cluster.as_str()];
        let all = &self.controllers;
        for gauge in [
            &all.epoch,
            &all.log_bytes,
            &all.active,
            &all.topics,
            &all.partitions,
            &all.offline,
            &all.brokers,
            &all.fenced,
            &all.possible_loss,
        ] {
            // Not there: nothing was seen yet.
            let _ = gauge.remove_label_values(&cluster);
        }
    }

    /// Everything in Prometheus' text format.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn the_text_names_the_build() {
        let text = Metrics::new().unwrap().text().unwrap();
        assert!(text.contains("barnabas_build_info{version="), "{text}");
    }

    /// Every family, in the form of `docs/metrics.md`.
    #[test]
    fn what_an_operator_shows_is_what_the_document_says() {
        const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        const BEGIN: &str = "<!-- operator: begin -->\n";
        const END: &str = "<!-- operator: end -->\n";
        let (metrics, names) = (Metrics::new().unwrap(), ClusterNames::new("mail", "castle"));
        metrics.observe(&names, &MetadataImage::empty(), 7);
        let labels = ["a", "b", "c"];
        for counters in [
            &metrics.reconciliations,
            &metrics.status_writes,
            &metrics.watch_restarts,
            &metrics.metadata_bytes,
            &metrics.metadata_appends,
        ] {
            // However many labels it has, one of these calls fits.
            let fits = (1..=3).find_map(|count| counters.get_metric_with_label_values(&labels[..count]).ok());
            fits.unwrap().inc();
        }
        metrics.leads.with_label_values(&labels[..2]).set(1);
        metrics.append_seconds.with_label_values(&labels[..2]).observe(0.1);
        metrics.reconcile_seconds.with_label_values(&labels[..1]).observe(0.1);
        let mut table = "| name | kind | labels | meaning |\n|---|---|---|---|\n".to_owned();
        for family in metrics.registry.gather() {
            let labels: Vec<_> = family.get_metric()[0]
                .get_label()
                .iter()
                .map(prometheus::proto::LabelPair::name)
                .collect();
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            let (name, help) = (family.name(), family.help());
            let _ = writeln!(table, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
        }
        let document = std::fs::read_to_string(DOCUMENT).unwrap();
        let (before, rest) = document.split_once(BEGIN).unwrap();
        let (said, after) = rest.split_once(END).unwrap();
        if std::env::var_os("BARNABAS_BLESS").is_some() {
            std::fs::write(DOCUMENT, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        } else {
            assert_eq!(
                said, table,
                "BARNABAS_BLESS=1 cargo test -p operator metrics rewrites docs/metrics.md"
            );
        }
    }

    #[test]
    fn a_cluster_shows_while_it_is_led_here_and_not_after() {
        let (metrics, names) = (Metrics::new().unwrap(), ClusterNames::new("mail", "castle"));
        let series = "activecontrollercount{cluster=\"castle\",namespace=\"mail\"} 1";
        metrics.observe(&names, &MetadataImage::empty(), 7);
        assert!(metrics.text().unwrap().contains(series));
        metrics.forget(&names);
        assert!(!metrics.text().unwrap().contains(series));
    }
}
