//! One network thread: a single-threaded runtime and the connections that live on it.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::acceptor::{Accepted, Acceptor};
use crate::budget::MemoryBudget;
use crate::complaints::Complaints;
use crate::connection::Connection;
use crate::io::Stream;
use crate::metrics::ThreadMetrics;
use crate::outbox::Spares;
use crate::pulse::Pulse;
use crate::{IdleLimit, Limits, NetworkMetrics, RequestHandler, SilentConnections};

/// What one receive may bring: larger than a wake-up's frames usually are, and small enough to stay in
/// the processor's own cache.
const SCRATCH: usize = 128 << 10;
/// Threads that wait for the disk on behalf of a network thread. They come when needed and end when idle.
const COLD_READERS: usize = 4;
/// Bounds of the time between two sweeps over the deadlines.
const TICK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

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

/// A handle on one thread.
#[derive(Debug)]
pub(crate) struct Worker {
    inbox: Inbox,
    finished: Option<oneshot::Receiver<()>>,
}

/// The way to a thread.
#[derive(Debug, Clone)]
pub(crate) struct Inbox(mpsc::UnboundedSender<Command>);

#[derive(Debug)]
enum Command {
    Accept(Acceptor),
    Connection(Accepted),
    Drain,
    Abort,
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

impl Inbox {
    /// Hands a connection over. If the thread has stopped, the connection closes.
    pub(crate) fn connection(&self, accepted: Accepted) {
        self.send(Command::Connection(accepted));
    }

    fn send(&self, command: Command) {
        // A stopped thread has no use for commands, and what they carry is closed by dropping it.
        let _ = self.0.send(command);
    }
}

impl Worker {
    /// Starts thread `index`.
    pub(crate) fn start<H: RequestHandler>(index: usize, shared: Arc<Shared<H>>) -> io::Result<Self> {
        let runtime = runtime(index, &shared.metrics)?;
        let (sender, commands) = mpsc::unbounded_channel();
        let (finish, finished) = oneshot::channel();
        thread::Builder::new().name(format!("network-{index}")).spawn(move || {
            let local = LocalSet::new();
            runtime.block_on(local.run_until(serve(index, shared, commands)));
            // Connections that are left close here, inside the runtime that they belong to.
            let entered = runtime.enter();
            drop(local);
            drop(entered);
            drop(runtime);
            let _ = finish.send(());
        })?;
        Ok(Self {
            inbox: Inbox(sender),
            finished: Some(finished),
        })
    }

    pub(crate) fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// Accepts on this thread.
    pub(crate) fn accept(&self, acceptor: Acceptor) {
        self.inbox.send(Command::Accept(acceptor));
    }

    /// Stops accepting and reading, and ends when the last response has left.
    pub(crate) fn drain(&self) {
        self.inbox.send(Command::Drain);
    }

    /// Ends at once.
    pub(crate) fn abort(&self) {
        self.inbox.send(Command::Abort);
    }

    /// Waits for the thread's end.
    pub(crate) async fn finished(&mut self) {
        if let Some(finished) = &mut self.finished {
            let _ = finished.await;
            self.finished = None;
        }
    }
}

impl<H> Thread<H> {
    fn new(index: usize, shared: Arc<Shared<H>>) -> Self {
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

    fn sweep(&self, now: u64) {
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
    fn reset_silent(&self, since: u64) {
        self.silent_since.set(since);
        self.wake_all();
    }

    /// Lets every connection see that the end has come.
    fn drain(&self) {
        self.draining.set(true);
        self.wake_all();
    }

    fn wake_all(&self) {
        self.pulses.borrow().values().for_each(|pulse| pulse.wake());
    }

    fn is_empty(&self) -> bool {
        self.pulses.borrow().is_empty()
    }
}

/// Serves the thread's connections until it is told to stop.
async fn serve<H: RequestHandler>(
    index: usize,
    shared: Arc<Shared<H>>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let started = Instant::now();
    let mut tick = interval(tick(&shared.limits, &shared.idle_limit));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent = shared.silent_connections.subscribe();
    let thread = Rc::new(Thread::new(index, shared));
    let mut acceptors: Vec<JoinHandle<()>> = Vec::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Accept(acceptor)) => acceptors.push(tokio::task::spawn_local(acceptor.run())),
                Some(Command::Connection(accepted)) if !thread.draining() => open(&thread, accepted),
                Some(Command::Connection(refused)) => drop(refused),
                Some(Command::Drain) => {
                    acceptors.drain(..).for_each(|acceptor| acceptor.abort());
                    // Farewells are short: look more often, from a time that is right.
                    thread.sweep(started.elapsed().as_millis() as u64);
                    tick = interval(TICK.0);
                    thread.drain();
                    if thread.is_empty() {
                        return;
                    }
                }
                Some(Command::Abort) | None => return,
            },
            _ = tick.tick() => thread.sweep(started.elapsed().as_millis() as u64),
            Ok(()) = silent.changed() => if let Some(since) = *silent.borrow_and_update() {
                thread.reset_silent(milliseconds(since.saturating_duration_since(started)));
            },
            // It may tell of connections that ended before the draining began.
            () = thread.emptied.notified(), if thread.draining() => if thread.is_empty() {
                return;
            },
        }
    }
}

/// Starts serving an accepted connection.
fn open<H: RequestHandler>(thread: &Rc<Thread<H>>, accepted: Accepted) {
    let Accepted { socket, info, place } = accepted;
    let stream = match Stream::new(socket) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(listener = %info.listener, peer = %info.peer, %error, "lost a connection");
            return;
        }
    };
    let id = info.id;
    let pulse = Rc::new(Pulse::new());
    thread.pulses.borrow_mut().insert(id, Rc::clone(&pulse));
    let connection = Connection::new(stream, info, Rc::clone(thread), pulse);
    let thread = Rc::clone(thread);
    tokio::task::spawn_local(async move {
        connection.run().await;
        drop(place);
        let mut pulses = thread.pulses.borrow_mut();
        pulses.remove(&id);
        if pulses.is_empty() {
            thread.emptied.notify_one();
        }
    });
}

/// A runtime that measures its own idleness.
fn runtime(index: usize, metrics: &Arc<NetworkMetrics>) -> io::Result<Runtime> {
    let started = Instant::now();
    let parked_at = Arc::new(AtomicU64::new(0));
    let (park, unpark) = (Arc::clone(&parked_at), parked_at);
    let metrics = Arc::clone(metrics);
    let nanoseconds = move || started.elapsed().as_nanos() as u64;
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(COLD_READERS)
        .thread_name(format!("cold-reads-{index}"))
        .on_thread_park(move || park.store(nanoseconds(), Ordering::Relaxed))
        .on_thread_unpark(move || {
            let idle = nanoseconds().saturating_sub(unpark.load(Ordering::Relaxed));
            ThreadMetrics::add(&metrics.thread(index).idle_nanoseconds, idle);
        })
        .build()
}

/// A quarter of the shortest limit is exact enough.
fn tick(limits: &Limits, idle: &IdleLimit) -> Duration {
    let shortest = limits
        .first_request
        .min(idle.duration())
        .min(limits.frame)
        .min(limits.write_stall);
    (shortest / 4).clamp(TICK.0, TICK.1)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}
