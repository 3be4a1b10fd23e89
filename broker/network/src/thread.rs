//! What the connections of one network thread share: its time, its buffers, its limits.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::budget::MemoryBudget;
use crate::complaints::Complaints;
use crate::metrics::ThreadMetrics;
use crate::outbox::Spares;
use crate::pulse::Pulse;
use crate::{IdleLimit, Limits, NetworkMetrics, SilentConnections};

/// What one receive may bring: larger than a wake-up's frames usually are, and small enough to stay in
/// the processor's own cache.
const SCRATCH: usize = 128 << 10;
/// Bounds of the time between two sweeps over the deadlines.
pub(crate) const SHORTEST_TICK: Duration = Duration::from_millis(10);
const LONGEST_TICK: Duration = Duration::from_secs(1);

/// What all threads share.
pub(crate) struct Shared<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) budget: MemoryBudget,
    /// Responses in memory that all clients together may leave untaken before each is held to its own.
    pub(crate) unsent_limit: usize,
    pub(crate) frame_limit: Arc<AtomicUsize>,
    pub(crate) idle_limit: IdleLimit,
    pub(crate) silent_connections: SilentConnections,
    pub(crate) limits: Limits,
    /// Frames whose length cannot be.
    pub(crate) bad_lengths: Complaints,
    pub(crate) metrics: Arc<NetworkMetrics>,
}

/// What the connections of one thread share.
pub(crate) struct Thread<H> {
    pub(crate) shared: Arc<Shared<H>>,
    pub(crate) spares: Spares,
    pub(crate) limits: LimitsInMs,
    index: usize,
    scratch: RefCell<Box<[u8]>>,
    now: Cell<u64>,
    /// How old [`Self::now`] may be, in milliseconds.
    stamp_age: u64,
    draining: Cell<bool>,
    /// Connections that have asked nothing since this moment are reset.
    silent_since: Cell<u64>,
    pulses: RefCell<HashMap<u64, Rc<Pulse>>>,
    /// Told when the last connection has ended.
    emptied: Notify,
}

/// The time limits in the thread's own unit.
#[derive(Debug)]
pub(crate) struct LimitsInMs {
    pub(crate) first_request: u64,
    pub(crate) frame: u64,
    pub(crate) write_stall: u64,
}

impl<H> Thread<H> {
    pub(crate) fn new(index: usize, shared: Arc<Shared<H>>) -> Self {
        let limits = LimitsInMs {
            first_request: milliseconds(shared.limits.first_request),
            frame: milliseconds(shared.limits.frame),
            write_stall: milliseconds(shared.limits.write_stall),
        };
        let stamp_age = milliseconds(tick(&shared.limits, &shared.idle_limit));
        Self {
            shared,
            spares: Spares::default(),
            limits,
            index,
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            now: Cell::new(0),
            stamp_age,
            draining: Cell::new(false),
            silent_since: Cell::new(0),
            pulses: RefCell::default(),
            emptied: Notify::new(),
        }
    }

    /// The buffer that every connection of the thread receives into.
    pub(crate) fn scratch(&self) -> RefMut<'_, Box<[u8]>> {
        self.scratch.borrow_mut()
    }

    /// Milliseconds since the thread started, as of the last sweep.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    /// Whether the thread answers what it has read, and reads no more.
    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Longest frame accepted now.
    pub(crate) fn frame_limit(&self) -> usize {
        self.shared.frame_limit.load(Ordering::Relaxed)
    }

    /// This thread's counters.
    pub(crate) fn metrics(&self) -> &ThreadMetrics {
        self.shared.metrics.thread(self.index)
    }

    /// How much earlier than the truth a time may be that was noted by [`Self::now`], in milliseconds.
    pub(crate) fn stamp_age(&self) -> u64 {
        self.stamp_age
    }

    /// Notes the time, and ends what has taken too long.
    pub(crate) fn sweep(&self, now: u64) {
        self.now.set(now);
        let memory_is_short = self.shared.budget.is_short();
        for pulse in self.pulses.borrow().values() {
            pulse.check(now, memory_is_short);
        }
    }

    /// Connections that have asked nothing since this moment of the thread's time are reset.
    pub(crate) fn silent_since(&self) -> u64 {
        self.silent_since.get()
    }

    /// Lets every connection see that the silent ones must end.
    pub(crate) fn reset_silent(&self, since: u64) {
        self.silent_since.set(since);
        self.wake_all();
    }

    /// Lets every connection see that the end has come.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.wake_all();
    }

    fn wake_all(&self) {
        self.pulses.borrow().values().for_each(|pulse| pulse.wake());
    }

    /// A connection begins.
    pub(crate) fn enter(&self, id: u64) -> Rc<Pulse> {
        let pulse = Rc::new(Pulse::new());
        self.pulses.borrow_mut().insert(id, Rc::clone(&pulse));
        pulse
    }

    /// A connection has ended.
    pub(crate) fn leave(&self, id: u64) {
        let mut pulses = self.pulses.borrow_mut();
        pulses.remove(&id);
        if pulses.is_empty() {
            self.emptied.notify_one();
        }
    }

    /// Ready when the last connection has ended; perhaps again later, so look at [`Self::is_empty`].
    pub(crate) async fn emptied(&self) {
        self.emptied.notified().await;
    }

    /// Whether no connection is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.pulses.borrow().is_empty()
    }
}

/// A quarter of the shortest limit is exact enough.
pub(crate) fn tick(limits: &Limits, idle: &IdleLimit) -> Duration {
    let shortest = limits
        .first_request
        .min(idle.duration())
        .min(limits.frame)
        .min(limits.write_stall);
    (shortest / 4).clamp(SHORTEST_TICK, LONGEST_TICK)
}

/// In the thread's own unit.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}
