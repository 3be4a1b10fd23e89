//! What a host counts; the programs show it under their own metric names.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one host, from its start. Cheap to read at any time.
#[derive(Debug, Default)]
pub struct HostMetrics {
    pub(crate) appends: AtomicU64,
    pub(crate) append_bytes: AtomicU64,
    pub(crate) append_failures: AtomicU64,
    pub(crate) tail_bytes: AtomicU64,
    pub(crate) snapshots: AtomicU64,
    pub(crate) watchers: AtomicU64,
    pub(crate) dropped_watchers: AtomicU64,
}

impl HostMetrics {
    /// Appends that are in the log.
    pub fn appends(&self) -> u64 {
        self.appends.load(Ordering::Relaxed)
    }

    /// Bytes of all documents sent to the store: what its history grows by.
    pub fn append_bytes(&self) -> u64 {
        self.append_bytes.load(Ordering::Relaxed)
    }

    /// Appends that met a conflict, a refusal or silence.
    pub fn append_failures(&self) -> u64 {
        self.append_failures.load(Ordering::Relaxed)
    }

    /// Bytes of the tail in the last document sent.
    pub fn tail_bytes(&self) -> u64 {
        self.tail_bytes.load(Ordering::Relaxed)
    }

    /// Snapshots written.
    pub fn snapshots(&self) -> u64 {
        self.snapshots.load(Ordering::Relaxed)
    }

    /// Streams that are followed now.
    pub fn watchers(&self) -> u64 {
        self.watchers.load(Ordering::Relaxed)
    }

    /// Streams closed because their reader was too slow.
    pub fn dropped_watchers(&self) -> u64 {
        self.dropped_watchers.load(Ordering::Relaxed)
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
