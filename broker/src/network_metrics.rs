//! What the network counts, under Kafka's names.

use std::sync::Arc;

use broker_network::{ConnectionLimit, ListenerMetrics, NetworkMetrics};
use prometheus::proto::MetricFamily;

use crate::metrics::BrokerMetrics;
use crate::metrics::computed::{self, counters, gauges, one};

/// Adds the network's counters to `/metrics`.
pub fn register(
    metrics: &BrokerMetrics,
    network: &Arc<NetworkMetrics>,
    budget_bytes: usize,
    max_connections: &ConnectionLimit,
) {
    let (network, max_connections) = (Arc::clone(network), max_connections.clone());
    let registered = computed::register(metrics.registry(), "barnabas_network", move || {
        families(&network, budget_bytes, max_connections.get())
    });
    if let Err(error) = registered {
        tracing::error!(%error, "the network's metrics are not shown");
    }
}

fn families(network: &NetworkMetrics, budget_bytes: usize, max_connections: usize) -> Vec<MetricFamily> {
    let by_listener = |value: fn(&ListenerMetrics) -> f64| {
        network
            .listeners()
            .iter()
            .map(move |l| (vec![("listener", l.name().as_str())], value(l)))
    };
    vec![
        counters(
            "barnabas_network_bytes_received_total",
            "Bytes received from clients",
            one(network.bytes_in() as f64),
        ),
        counters(
            "barnabas_network_bytes_sent_total",
            "Bytes sent to clients",
            one(network.bytes_out() as f64),
        ),
        counters(
            "barnabas_network_frames_total",
            "Whole requests received",
            one(network.frames() as f64),
        ),
        gauges(
            "barnabas_network_threads",
            "Threads that serve connections",
            one(network.threads() as f64),
        ),
        counters(
            "barnabas_network_idle_seconds_total",
            "Time that these threads slept for want of work; its rate over their number is Kafka's idle fraction",
            one(network.idle_nanoseconds() as f64 / 1e9),
        ),
        gauges(
            "barnabas_network_request_memory_bytes",
            "Memory that requests may hold while they arrive (--request-memory)",
            one(budget_bytes as f64),
        ),
        gauges(
            "barnabas_network_connections_limit",
            "Connections that may be open at once",
            one(max_connections as f64),
        ),
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
