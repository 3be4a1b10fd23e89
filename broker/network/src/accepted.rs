//! A connection on its way from the thread that accepted it to the one that serves it.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use crate::{ConnectionInfo, NetworkMetrics};

/// The way of accepted connections to a thread.
#[derive(Debug, Clone)]
pub(crate) struct Inbox(mpsc::UnboundedSender<Accepted>);

/// An accepted connection on its way to its thread.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: TcpStream,
    pub(crate) info: ConnectionInfo,
    pub(crate) place: Place,
}

/// A connection's place in the counts, given up on drop.
#[derive(Debug)]
pub(crate) struct Place {
    metrics: Arc<NetworkMetrics>,
    listener: usize,
    thread: usize,
}

impl Inbox {
    /// A way, and its end at the thread.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Accepted>) {
        let (sender, arrivals) = mpsc::unbounded_channel();
        (Self(sender), arrivals)
    }

    /// Hands a connection over. If the thread has stopped, the connection closes.
    pub(crate) fn hand_over(&self, accepted: Accepted) {
        // It closes by being dropped.
        let _ = self.0.send(accepted);
    }
}

impl Place {
    /// Counted from now on.
    pub(crate) fn take(metrics: Arc<NetworkMetrics>, listener: usize, thread: usize) -> Self {
        if let Some(listener) = metrics.listeners().get(listener) {
            listener.connections.fetch_add(1, Ordering::Relaxed);
        }
        metrics.thread(thread).connections.fetch_add(1, Ordering::Relaxed);
        Self {
            metrics,
            listener,
            thread,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(listener) = self.metrics.listeners().get(self.listener) {
            listener.connections.fetch_sub(1, Ordering::Relaxed);
        }
        self.metrics
            .thread(self.thread)
            .connections
            .fetch_sub(1, Ordering::Relaxed);
    }
}
