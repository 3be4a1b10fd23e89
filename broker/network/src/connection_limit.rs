//! How many connections may be open: what the files of the logs leave of the descriptors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// However little is left: a hopeless limit is to show as errors with a cause.
const LEAST: usize = 16;

/// The limit, shared by all listeners. It may change while clients are connected; who is connected stays.
#[derive(Debug, Clone)]
pub struct ConnectionLimit(Arc<AtomicUsize>);

impl ConnectionLimit {
    /// So many.
    pub fn new(connections: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(connections)))
    }

    /// As many as fit beside `reserved` other files (logs, control connections) under a limit of `descriptors`.
    pub fn leave_room(&self, descriptors: u64, reserved: u64) {
        let left = usize::try_from(descriptors.saturating_sub(reserved)).unwrap_or(usize::MAX);
        self.0.store(left.max(LEAST), Ordering::Relaxed);
    }

    /// The limit now.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_other_files() {
        let limit = ConnectionLimit::new(7);
        assert_eq!(limit.get(), 7);
        limit.leave_room(20_000, 5_000);
        assert_eq!(limit.clone().get(), 15_000);
        limit.leave_room(100, 5_000);
        assert_eq!(limit.get(), 16);
    }
}
