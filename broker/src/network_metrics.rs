//! What the network counts, under Kafka's names.

use std::sync::Arc;

use broker_network::NetworkMetrics;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::metrics::BrokerMetrics;

/// Adds the network's counters to `/metrics`.
pub fn register(metrics: &BrokerMetrics, network: &Arc<NetworkMetrics>) {
    let collector = Box::new(NetworkCollector { network: Arc::clone(network) });
    if let Err(error) = metrics.registry().register(collector) {
        tracing::error!(%error, "the network's metrics are not shown");
    }
}

struct NetworkCollector {
    network: Arc<NetworkMetrics>,
}

impl Collector for NetworkCollector {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let network = &self.network;
        let per_listener = |value: fn(&broker_network::ListenerMetrics) -> f64| -> Vec<(Option<String>, f64)> {
            network.listeners().iter().map(|l| (Some(l.name().to_string()), value(l))).collect()
        };
        let one = |value: f64| vec![(None, value)];
        vec![
            family(
                "kafka_server_socket_server_metrics_connection_count",
                "Open connections",
                MetricType::GAUGE,
                per_listener(|l| l.connections() as f64),
            ),
            family(
                "kafka_server_socket_server_metrics_connection_creation_total",
                "Connections accepted",
                MetricType::COUNTER,
                per_listener(|l| l.accepted() as f64),
            ),
            family(
                "barnabas_connections_refused_total",
                "Connections refused because no more were allowed",
                MetricType::COUNTER,
                per_listener(|l| l.refused() as f64),
            ),
            family(
                "barnabas_network_receiving_bytes",
                "Memory held for requests that are still arriving",
                MetricType::GAUGE,
                one(network.receiving_bytes() as f64),
            ),
            family(
                "barnabas_network_unsent_bytes",
                "Response bytes in memory that clients have not taken",
                MetricType::GAUGE,
                one(network.unsent_bytes() as f64),
            ),
        ]
    }
}

fn family(name: &str, help: &str, kind: MetricType, values: Vec<(Option<String>, f64)>) -> MetricFamily {
    let series = values.into_iter().map(|(listener, value)| {
        let mut metric = Metric::default();
        if kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        if let Some(listener) = listener {
            let mut label = LabelPair::default();
            label.set_name("listener".to_owned());
            label.set_value(listener);
            metric.set_label(vec![label]);
        }
        metric
    });
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(series.collect());
    family
}
