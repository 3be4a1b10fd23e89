//! How long requests take here, by API: histograms that a thread writes without meeting another.
//!
//! Each network thread has a shard of its own, on cache lines of its own: an observation is three relaxed additions to
//! memory that this core holds. Whoever scrapes adds the shards up.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::proto::MetricFamily;
use protocol::ApiKey;
use protocol::api::TABLE;

use super::computed::{Histogram, histograms};

/// Upper bounds of the buckets, in microseconds.
const BOUNDS_US: [u64; 14] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000,
];
/// More threads than this share.
const SHARDS: usize = 16;

/// A histogram for each API.
#[derive(Debug, Clone)]
pub(super) struct Latencies {
    shards: Arc<[Box<[Row]>]>,
}

/// The histogram of one API in one shard.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Row {
    /// The last is without bound.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    nanoseconds: AtomicU64,
}

impl Default for Latencies {
    fn default() -> Self {
        let shard = || TABLE.iter().map(|_| Row::default()).collect();
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
        }
    }
}

impl Latencies {
    /// `count` requests of this API took `each`.
    pub(super) fn observe(&self, key: ApiKey, count: u64, each: Duration) {
        let at = TABLE.iter().position(|api| api.key == key);
        let Some(row) = at.and_then(|at| self.shards.get(shard())?.get(at)) else {
            return;
        };
        let micros = each.as_micros() as u64;
        let bucket = BOUNDS_US.partition_point(|bound| *bound < micros);
        if let Some(bucket) = row.buckets.get(bucket) {
            bucket.fetch_add(count, Ordering::Relaxed);
        }
        row.nanoseconds
            .fetch_add(count.saturating_mul(each.as_nanos() as u64), Ordering::Relaxed);
    }

    pub(super) fn family(&self) -> MetricFamily {
        let series = TABLE.iter().enumerate().filter_map(|(at, api)| {
            let rows = || self.shards.iter().filter_map(|shard| shard.get(at));
            let mut cumulative = 0;
            let counts: Vec<u64> = (0..=BOUNDS_US.len())
                .map(|bucket| {
                    let of = |row: &Row| row.buckets.get(bucket).map_or(0, |count| count.load(Ordering::Relaxed));
                    cumulative += rows().map(of).sum::<u64>();
                    cumulative
                })
                .collect();
            let nanoseconds: u64 = rows().map(|row| row.nanoseconds.load(Ordering::Relaxed)).sum();
            (cumulative > 0).then(|| Histogram {
                labels: vec![("request", api.key.name()), ("phase", "local")],
                buckets: BOUNDS_US.iter().map(|us| *us as f64 / 1e6).zip(counts).collect(),
                count: cumulative,
                sum: nanoseconds as f64 / 1e9,
            })
        });
        histograms(
            "barnabas_request_duration_seconds",
            "Time that a network thread spends on a request; waiting for records or for a group is not in it",
            series,
        )
    }
}

/// The shard of this thread.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<Option<usize>> = const { Cell::new(None) };
    }
    SHARD.with(|shard| {
        shard.get().unwrap_or_else(|| {
            let drawn = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
            shard.set(Some(drawn));
            drawn
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_of_several_threads_are_one_histogram() {
        let latencies = Latencies::default();
        let handles: Vec<_> = (0..3)
            .map(|_| {
                let latencies = latencies.clone();
                std::thread::spawn(move || latencies.observe(ApiKey::Fetch, 2, Duration::from_micros(30)))
            })
            .collect();
        for handle in handles {
            handle.join().expect("ends");
        }
        latencies.observe(ApiKey::Fetch, 1, Duration::from_secs(9));
        let family = latencies.family();
        let histogram = family.get_metric()[0].get_histogram();
        assert_eq!(histogram.get_sample_count(), 7);
        let counts: Vec<u64> = histogram
            .get_bucket()
            .iter()
            .map(prometheus::proto::Bucket::cumulative_count)
            .collect();
        assert_eq!((counts[1], counts[2], counts[13]), (0, 6, 6));
        assert!((histogram.get_sample_sum() - 9.000_18).abs() < 1e-9);
    }
}
