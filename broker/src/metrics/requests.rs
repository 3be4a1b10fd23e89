//! Requests received, by API and version.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};
use protocol::ApiKey;
use protocol::api::TABLE;

/// More versions than any API has.
const VERSIONS: usize = 24;

/// A counter per API and version, in one flat table.
#[derive(Debug, Clone)]
pub(super) struct RequestCounters {
    counts: Arc<[[AtomicU64; VERSIONS]]>,
}

impl Default for RequestCounters {
    fn default() -> Self {
        Self { counts: TABLE.iter().map(|_| [const { AtomicU64::new(0) }; VERSIONS]).collect() }
    }
}

impl RequestCounters {
    pub(super) fn count(&self, key: ApiKey, version: i16) {
        let row = TABLE.iter().position(|api| api.key == key).and_then(|at| self.counts.get(at));
        let cell = row.and_then(|row| row.get(usize::try_from(version).ok()?));
        if let Some(cell) = cell {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Collector for RequestCounters {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let series = TABLE.iter().zip(self.counts.iter()).flat_map(|(api, row)| {
            row.iter().enumerate().filter_map(|(version, cell)| {
                let value = cell.load(Ordering::Relaxed);
                (value > 0).then(|| sample(api.key.name(), version, value))
            })
        });
        let mut family = MetricFamily::default();
        family.set_name("kafka_network_requestmetrics_requests_total".to_owned());
        family.set_help("Requests received, by API and version".to_owned());
        family.set_field_type(MetricType::COUNTER);
        family.set_metric(series.collect());
        // A family without a series is an error to the encoder.
        if family.get_metric().is_empty() { Vec::new() } else { vec![family] }
    }
}

fn sample(request: &str, version: usize, value: u64) -> Metric {
    let label = |name: &str, value: String| {
        let mut label = LabelPair::default();
        label.set_name(name.to_owned());
        label.set_value(value);
        label
    };
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    metric.set_label(vec![label("request", request.to_owned()), label("version", version.to_string())]);
    metric
}
