//! What all fetch requests of a broker share: their sessions, and the memory of those that wait.

use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::MetadataImage;

use crate::fetch_sessions::{FetchSessions, Wanted};
use crate::metrics::BrokerMetrics;
use crate::metrics::computed::{self, counters, gauges, one};

/// Kafka's `fetch.max.bytes`: no response is larger, but for a first batch that is.
pub const MAX_RESPONSE_BYTES: usize = 55 * 1024 * 1024;

/// Memory of all requests that wait for records. Whoever finds it used up is answered at once with what there is.
const PARKED_BYTES: usize = 64 << 20;

/// What a partition of a waiting request costs besides what it asked: its place at the partition and in the answer.
const PARKED_PARTITION_BYTES: usize = 128;

/// What fetch requests share.
#[derive(Debug, Default)]
pub struct Fetches {
    /// The sessions.
    pub sessions: FetchSessions,
    /// Produce requests that wait for the watermark, which the same metric shows.
    pub waiting_writes: AtomicUsize,
    parked_requests: AtomicUsize,
    parked_bytes: AtomicUsize,
}

/// The right of a request to wait. Its memory counts until this is dropped.
#[derive(Debug)]
pub struct Parking {
    fetches: Arc<Fetches>,
    bytes: usize,
}

impl Parking {
    /// Room for a request of so many partitions, if there is any.
    pub fn take(fetches: &Arc<Fetches>, partitions: usize) -> Option<Self> {
        let bytes = partitions * (size_of::<Wanted>() + PARKED_PARTITION_BYTES);
        let before = fetches.parked_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > PARKED_BYTES {
            fetches.parked_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return None;
        }
        fetches.parked_requests.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            fetches: Arc::clone(fetches),
            bytes,
        })
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        self.fetches.parked_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.fetches.parked_requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many fetch sessions may be kept: Kafka's `max.incremental.fetch.session.cache.slots`.
pub fn session_slots(image: &MetadataImage) -> usize {
    model::config::cluster_value(image.cluster_config(), "max.incremental.fetch.session.cache.slots")
        .and_then(|value| value.parse().ok())
        .unwrap_or_default()
}

/// Adds the figures of fetch requests to `/metrics`.
pub fn register(metrics: &BrokerMetrics, fetches: &Arc<Fetches>) {
    let fetches = Arc::downgrade(fetches);
    let families = move || {
        let Some(fetches) = fetches.upgrade() else {
            return Vec::new();
        };
        let cache = fetches.sessions.size();
        let load = |value: &AtomicUsize| value.load(Ordering::Relaxed) as f64;
        let gauge = |name: &str, help: &str, value: f64| gauges(name, help, one(value));
        vec![
            gauge(
                "kafka_server_fetchsessioncache_numincrementalfetchsessions",
                "Fetch sessions that are kept",
                cache.sessions as f64,
            ),
            gauge(
                "kafka_server_fetchsessioncache_numincrementalfetchpartitionscached",
                "Partitions of all fetch sessions",
                cache.partitions as f64,
            ),
            counters(
                "kafka_server_fetchsessioncache_incrementalfetchsessionevictions_total",
                "Fetch sessions that made room for others",
                one(cache.evictions as f64),
            ),
            gauges(
                "kafka_server_delayedoperationpurgatory_purgatorysize",
                "Requests that wait for records, or for records to be committed",
                [
                    (vec![("delayedoperation", "Fetch")], load(&fetches.parked_requests)),
                    (vec![("delayedoperation", "Produce")], load(&fetches.waiting_writes)),
                ],
            ),
            gauge(
                "barnabas_fetch_parked_bytes",
                "Memory of the fetch requests that wait for records",
                load(&fetches.parked_bytes),
            ),
        ]
    };
    if let Err(error) = computed::register(metrics.registry(), "barnabas_fetches", families) {
        tracing::error!(%error, "the metrics of fetch requests are not shown");
    }
}
