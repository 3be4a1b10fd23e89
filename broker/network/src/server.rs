//! Start and stop of the network threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use crate::acceptor::Acceptor;
use crate::budget::MemoryBudget;
use crate::complaints::Complaints;
use crate::thread::Shared;
use crate::worker::Worker;
use crate::{
    ConnectionLimit, IdleLimit, Listener, ListenerName, NetworkError, NetworkMetrics, RequestHandler, SilentConnections,
};

/// The frame limit while no topic allows larger batches: 100 MiB (Kafka's `socket.request.max.bytes`). Clients fill a request
/// with a batch of each partition that has some.
pub const DEFAULT_FRAME_LIMIT: usize = 100 << 20;

/// How long threads that were told to stop at once may take before they are left behind.
const ABORT_PATIENCE: Duration = Duration::from_secs(1);

/// How the network is set up.
#[derive(Debug)]
pub struct NetworkConfig {
    /// The bound listeners.
    pub listeners: Vec<Listener>,
    /// Network threads; as many as cores is right.
    pub threads: usize,
    /// Most connections open at once.
    pub max_connections: ConnectionLimit,
    /// Memory for frames larger than a few KiB that are still arriving, over all connections, in bytes.
    pub memory_budget_bytes: usize,
    /// Longest frame accepted, in bytes. The broker raises it with the largest `max.message.bytes`.
    pub frame_limit: Arc<AtomicUsize>,
    /// A connection without a request for this long is closed.
    pub idle_limit: IdleLimit,
    /// Ends connections over which nothing came while this host was cut off.
    pub silent_connections: SilentConnections,
    /// What one client may cost the others.
    pub limits: Limits,
}

impl NetworkConfig {
    /// The defaults for these listeners: a thread per core, 64 MiB for arriving frames.
    pub fn new(listeners: Vec<Listener>) -> Self {
        Self {
            listeners,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            max_connections: ConnectionLimit::new(10_000),
            memory_budget_bytes: 64 << 20,
            frame_limit: Arc::new(AtomicUsize::new(DEFAULT_FRAME_LIMIT)),
            idle_limit: IdleLimit::default(),
            silent_connections: SilentConnections::default(),
            limits: Limits::default(),
        }
    }
}

/// What one client may cost the others.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A connection whose first whole request takes longer is closed.
    pub first_request: Duration,
    /// A frame may take this long to arrive, and a second more for each 16 KiB that did arrive.
    pub frame: Duration,
    /// A client that takes no byte of its response for this long is closed.
    pub write_stall: Duration,
    /// Requests of one connection that may wait for their answers; beyond, its requests stay unread.
    pub waiting_requests: usize,
    /// Response bytes in memory that one connection may leave untaken; beyond, its requests stay unread.
    pub unsent_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_request: Duration::from_secs(10),
            frame: Duration::from_secs(10),
            write_stall: Duration::from_mins(1),
            waiting_requests: 1024,
            unsent_bytes: 1 << 20,
        }
    }
}

/// A running network. Dropping it closes everything at once; [`shutdown`](Self::shutdown) is kinder.
#[derive(Debug)]
pub struct Server {
    workers: Vec<Worker>,
    metrics: Arc<NetworkMetrics>,
}

impl Server {
    /// Starts the threads and accepts on all listeners.
    pub fn start<H: RequestHandler>(config: NetworkConfig, handler: Arc<H>) -> Result<Self, NetworkError> {
        let threads = config.threads.max(1);
        let mut names: Vec<ListenerName> = Vec::new();
        for listener in &config.listeners {
            if !names.contains(listener.name()) {
                names.push(listener.name().clone());
            }
        }
        let metrics = Arc::new(NetworkMetrics::new(names, threads));
        let shared = Arc::new(Shared {
            handler,
            budget: MemoryBudget::new(config.memory_budget_bytes, Arc::clone(&metrics)),
            unsent_limit: config.memory_budget_bytes,
            frame_limit: config.frame_limit,
            idle_limit: config.idle_limit,
            silent_connections: config.silent_connections,
            limits: config.limits,
            bad_lengths: Complaints::default(),
            metrics: Arc::clone(&metrics),
        });
        let mut server = Self {
            workers: Vec::with_capacity(threads),
            metrics: Arc::clone(&metrics),
        };
        for index in 0..threads {
            let worker = Worker::start(index, Arc::clone(&shared)).map_err(|source| NetworkError::Thread {
                index,
                threads,
                source,
            })?;
            server.workers.push(worker);
        }
        let inboxes: Arc<[_]> = server.workers.iter().map(Worker::inbox).collect();
        let ids = Arc::new(AtomicU64::new(0));
        for (listener, worker) in config.listeners.into_iter().zip(server.workers.iter().cycle()) {
            worker.accept(Acceptor::new(
                listener,
                config.max_connections.clone(),
                Arc::clone(&inboxes),
                Arc::clone(&metrics),
                Arc::clone(&ids),
            )?);
        }
        Ok(server)
    }

    /// What the network counts.
    pub fn metrics(&self) -> &Arc<NetworkMetrics> {
        &self.metrics
    }

    /// Stops accepting and reading, closes idle connections, sends the responses that are still to come
    /// for at most `grace`, then closes the rest.
    ///
    /// Requests that wait inside the broker (long polls) should be answered first: their connections
    /// stay until they are.
    pub async fn shutdown(mut self, grace: Duration) {
        for worker in &self.workers {
            worker.drain();
        }
        let finished = async {
            for worker in &mut self.workers {
                worker.finished().await;
            }
        };
        if tokio::time::timeout(grace, finished).await.is_ok() {
            return;
        }
        let connections = self.metrics.connections();
        tracing::info!(
            connections,
            "closing connections whose responses did not finish in time"
        );
        for worker in &self.workers {
            worker.abort();
        }
        let finished = async {
            for worker in &mut self.workers {
                worker.finished().await;
            }
        };
        if tokio::time::timeout(ABORT_PATIENCE, finished).await.is_err() {
            tracing::warn!("a network thread is stuck in a request and is left behind");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.abort();
        }
    }
}
