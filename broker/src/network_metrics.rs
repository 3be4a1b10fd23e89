//! What the network counts, under Kafka's names.

use std::sync::Arc;

use broker_network::{ListenerMetrics, NetworkMetrics};
use prometheus::proto::MetricFamily;

use crate::metrics::BrokerMetrics;
use crate::metrics::computed::{self, counters, gauges, one};

/// Adds the network's counters to `/metrics`.
pub fn register(metrics: &BrokerMetrics, network: &Arc<NetworkMetrics>) {
    let network = Arc::clone(network);
    let registered = computed::register(metrics.registry(), "barnabas_network", move || families(&network));
    if let Err(error) = registered {
        tracing::error!(%error, "the network's metrics are not shown");
    }
}

fn families(network: &NetworkMetrics) -> Vec<MetricFamily> {
    let by_listener = |value: fn(&ListenerMetrics) -> f64| {
        network
            .listeners()
            .iter()
            .map(move |l| (vec![("listener", l.name().as_str())], value(l)))
    };
    vec![
        gauges(
            "kafka_server_socket_server_metrics_connection_count",
            "Open connections",
            by_listener(|l| l.connections() as f64),
        ),
        counters(
            "kafka_server_socket_server_metrics_connection_creation_total",
            "Connections accepted",
            by_listener(|l| l.accepted() as f64),
        ),
        counters(
            "barnabas_connections_refused_total",
            "Connections refused because no more were allowed",
            by_listener(|l| l.refused() as f64),
        ),
        gauges(
            "barnabas_network_receiving_bytes",
            "Memory held for requests that are still arriving",
            one(network.receiving_bytes() as f64),
        ),
        gauges(
            "barnabas_network_unsent_bytes",
            "Response bytes in memory that clients have not taken",
            one(network.unsent_bytes() as f64),
        ),
    ]
}
