//! One network thread: a single-threaded runtime and the connections that live on it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::accepted::{Accepted, Inbox};
use crate::acceptor::Acceptor;
use crate::connection::Connection;
use crate::io::Stream;
use crate::metrics::ThreadMetrics;
use crate::thread::{SHORTEST_TICK, Shared, Thread, milliseconds, tick};
use crate::{NetworkMetrics, RequestHandler};

/// Threads that wait for the disk on behalf of a network thread. They come when needed and end when idle.
const COLD_READERS: usize = 4;

/// A handle on one thread.
#[derive(Debug)]
pub(crate) struct Worker {
    commands: mpsc::UnboundedSender<Command>,
    inbox: Inbox,
    finished: Option<oneshot::Receiver<()>>,
}

/// What a thread is told.
#[derive(Debug)]
enum Command {
    Accept(Acceptor),
    Drain,
    Abort,
}

impl Worker {
    /// Starts thread `index`.
    pub(crate) fn start<H: RequestHandler>(index: usize, shared: Arc<Shared<H>>) -> io::Result<Self> {
        let runtime = runtime(index, &shared.metrics)?;
        let (sender, commands) = mpsc::unbounded_channel();
        let (inbox, arrivals) = Inbox::new();
        let (finish, finished) = oneshot::channel();
        thread::Builder::new().name(format!("network-{index}")).spawn(move || {
            let local = LocalSet::new();
            runtime.block_on(local.run_until(serve(index, shared, commands, arrivals)));
            // Connections that are left close here, inside the runtime that they belong to.
            let entered = runtime.enter();
            drop(local);
            drop(entered);
            drop(runtime);
            let _ = finish.send(());
        })?;
        Ok(Self {
            commands: sender,
            inbox,
            finished: Some(finished),
        })
    }

    pub(crate) fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// Accepts on this thread.
    pub(crate) fn accept(&self, acceptor: Acceptor) {
        self.tell(Command::Accept(acceptor));
    }

    /// Stops accepting and reading, and ends when the last response has left.
    pub(crate) fn drain(&self) {
        self.tell(Command::Drain);
    }

    /// Ends at once.
    pub(crate) fn abort(&self) {
        self.tell(Command::Abort);
    }

    fn tell(&self, command: Command) {
        // A stopped thread has no use for commands, and what they carry is closed by dropping it.
        let _ = self.commands.send(command);
    }

    /// Waits for the thread's end.
    pub(crate) async fn finished(&mut self) {
        if let Some(finished) = &mut self.finished {
            let _ = finished.await;
            self.finished = None;
        }
    }
}

/// Serves the thread's connections until it is told to stop.
async fn serve<H: RequestHandler>(
    index: usize,
    shared: Arc<Shared<H>>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    mut arrivals: mpsc::UnboundedReceiver<Accepted>,
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
                Some(Command::Drain) => {
                    acceptors.drain(..).for_each(|acceptor| acceptor.abort());
                    // What was accepted before ends as every connection does, not by a reset.
                    while let Ok(accepted) = arrivals.try_recv() {
                        open(&thread, accepted);
                    }
                    // Farewells are short: look more often, from a time that is right.
                    thread.sweep(started.elapsed().as_millis() as u64);
                    tick = interval(SHORTEST_TICK);
                    thread.drain();
                    if thread.is_empty() {
                        return;
                    }
                }
                Some(Command::Abort) | None => return,
            },
            Some(accepted) = arrivals.recv() => if !thread.draining() {
                open(&thread, accepted);
            },
            _ = tick.tick() => thread.sweep(started.elapsed().as_millis() as u64),
            Ok(()) = silent.changed() => if let Some(since) = *silent.borrow_and_update() {
                thread.reset_silent(milliseconds(since.saturating_duration_since(started)));
            },
            // It may tell of connections that ended before the draining began.
            () = thread.emptied(), if thread.draining() => if thread.is_empty() {
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
    let pulse = thread.enter(id);
    let connection = Connection::new(stream, info, Rc::clone(thread), pulse);
    let thread = Rc::clone(thread);
    tokio::task::spawn_local(async move {
        connection.run().await;
        drop(place);
        thread.leave(id);
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
