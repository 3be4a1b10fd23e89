//! Errors answered to produce and fetch requests, by code: a counter for each, in one flat table.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::proto::MetricFamily;
use protocol::{ApiKey, ErrorCode};

use super::computed::counters;

/// The APIs whose errors stand in every one of their partitions.
const APIS: [ApiKey; 2] = [ApiKey::Produce, ApiKey::Fetch];

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct ErrorCounters {
    counts: Arc<[Vec<AtomicU64>; APIS.len()]>,
}

impl Default for ErrorCounters {
    fn default() -> Self {
        let zeros = || ErrorCode::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        Self {
            counts: Arc::new([zeros(), zeros()]),
        }
    }
}

impl ErrorCounters {
    pub(super) fn count(&self, key: ApiKey, error: ErrorCode) {
        let api = APIS.iter().position(|api| *api == key);
        let code = ErrorCode::ALL.iter().position(|code| *code == error);
        if let (Some(api), Some(code)) = (api, code)
            && let Some(count) = self.counts.get(api).and_then(|counts| counts.get(code))
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn family(&self) -> MetricFamily {
        let names: Vec<String> = ErrorCode::ALL.iter().map(ToString::to_string).collect();
        let series = APIS.iter().zip(self.counts.iter()).flat_map(|(api, counts)| {
            counts.iter().zip(&names).filter_map(|(count, name)| {
                let value = count.load(Ordering::Relaxed);
                (value > 0).then(|| (vec![("request", api.name()), ("error", name.as_str())], value as f64))
            })
        });
        counters(
            "kafka_network_requestmetrics_errors_total",
            "Partitions refused in produce and fetch requests, by error",
            series,
        )
    }
}
