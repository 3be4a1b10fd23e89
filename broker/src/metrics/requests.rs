//! Requests received, by API and version.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::proto::MetricFamily;
use protocol::ApiKey;
use protocol::api::TABLE;

use super::computed::counters;

/// More versions than any API has.
const VERSIONS: usize = 24;

/// A counter per API and version, in one flat table.
#[derive(Debug, Clone)]
pub(super) struct RequestCounters {
    counts: Arc<[[AtomicU64; VERSIONS]]>,
}

impl Default for RequestCounters {
    fn default() -> Self {
        Self {
            counts: TABLE.iter().map(|_| [const { AtomicU64::new(0) }; VERSIONS]).collect(),
        }
    }
}

impl RequestCounters {
    pub(super) fn count(&self, key: ApiKey, version: i16) {
        let row = TABLE
            .iter()
            .position(|api| api.key == key)
            .and_then(|at| self.counts.get(at));
        let cell = row.and_then(|row| row.get(usize::try_from(version).ok()?));
        if let Some(cell) = cell {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn family(&self) -> MetricFamily {
        let versions: Vec<String> = (0..VERSIONS).map(|version| version.to_string()).collect();
        let series = TABLE.iter().zip(self.counts.iter()).flat_map(|(api, row)| {
            row.iter().zip(&versions).filter_map(|(cell, version)| {
                let value = cell.load(Ordering::Relaxed);
                let labels = || vec![("request", api.key.name()), ("version", version.as_str())];
                (value > 0).then(|| (labels(), value as f64))
            })
        });
        counters(
            "kafka_network_requestmetrics_requests_total",
            "Requests received, by API and version",
            series,
        )
    }
}
