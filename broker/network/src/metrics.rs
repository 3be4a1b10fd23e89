//! What the network counts, for the broker to expose.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::ListenerName;

/// Counters of a running server. All counters only grow; gauges say so.
///
/// Reading takes no lock and sums over the threads, so it costs the data path nothing.
#[derive(Debug)]
pub struct NetworkMetrics {
    listeners: Vec<ListenerMetrics>,
    threads: Vec<ThreadMetrics>,
    /// Gauge: memory held for frames that are still arriving.
    pub(crate) receiving_bytes: AtomicUsize,
    /// Gauge: response bytes in memory that clients have not taken yet.
    pub(crate) unsent_bytes: AtomicUsize,
}

/// Counters of one listener name.
#[derive(Debug)]
pub struct ListenerMetrics {
    name: ListenerName,
    pub(crate) connections: AtomicUsize,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// Counters of one thread, on cache lines of their own: they are written for every wake-up.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ThreadMetrics {
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) frames: AtomicU64,
    pub(crate) idle_nanoseconds: AtomicU64,
    /// Gauge: open connections, by which the acceptor spreads them.
    pub(crate) connections: AtomicUsize,
}

impl ThreadMetrics {
    /// Adds to a counter of this thread: only its own thread writes it, so no locked instruction is needed.
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }
}

impl NetworkMetrics {
    pub(crate) fn new(names: Vec<ListenerName>, threads: usize) -> Self {
        Self {
            listeners: names.into_iter().map(ListenerMetrics::new).collect(),
            threads: (0..threads).map(|_| ThreadMetrics::default()).collect(),
            receiving_bytes: AtomicUsize::new(0),
            unsent_bytes: AtomicUsize::new(0),
        }
    }

    /// One entry for each listener name.
    pub fn listeners(&self) -> &[ListenerMetrics] {
        &self.listeners
    }

    /// How many network threads run.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Gauge: connections open now.
    pub fn connections(&self) -> usize {
        self.listeners.iter().map(ListenerMetrics::connections).sum()
    }

    /// Bytes received.
    pub fn bytes_in(&self) -> u64 {
        self.sum(|thread| &thread.bytes_in)
    }

    /// Bytes sent.
    pub fn bytes_out(&self) -> u64 {
        self.sum(|thread| &thread.bytes_out)
    }

    /// Complete frames received.
    pub fn frames(&self) -> u64 {
        self.sum(|thread| &thread.frames)
    }

    /// Time that the threads slept for want of work, in nanoseconds, all threads together. Its growth
    /// divided by elapsed time and by [`threads`](Self::threads) is Kafka's idle fraction.
    pub fn idle_nanoseconds(&self) -> u64 {
        self.sum(|thread| &thread.idle_nanoseconds)
    }

    /// Gauge: memory held for frames that are still arriving, in bytes.
    pub fn receiving_bytes(&self) -> usize {
        self.receiving_bytes.load(Ordering::Relaxed)
    }

    /// Gauge: response bytes in memory that clients have been slow to take.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent_bytes.load(Ordering::Relaxed)
    }

    /// The counters of one thread.
    pub(crate) fn thread(&self, index: usize) -> &ThreadMetrics {
        &self.threads[index]
    }

    fn sum(&self, counter: impl Fn(&ThreadMetrics) -> &AtomicU64) -> u64 {
        self.threads
            .iter()
            .map(|thread| counter(thread).load(Ordering::Relaxed))
            .sum()
    }
}

impl ListenerMetrics {
    fn new(name: ListenerName) -> Self {
        Self {
            name,
            connections: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// The listener's name.
    pub fn name(&self) -> &ListenerName {
        &self.name
    }

    /// Gauge: connections open now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections refused, because no more were allowed or no descriptor was left.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
