//! One connection: receive, hand over, send, as often as it is woken.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use crate::budget::Waiting;
use crate::frames::{Assembly, BadLength, Bounds, Handed};
use crate::io::Stream;
use crate::metrics::ThreadMetrics;
use crate::pulse::{Deadline, Pulse};
use crate::thread::Thread;
use crate::{ConnectionInfo, RequestHandler, Responses};

/// Rounds of receive and send before other connections have their turn.
const ROUNDS: usize = 8;
/// Bytes sent before other connections have their turn.
const SEND_SHARE: u64 = 4 << 20;
/// How fast a frame must arrive after its grace, in bytes a millisecond: 16 KiB a second.
const FRAME_BYTES_PER_MS: u64 = 16;
/// The same while other frames wait for the memory that it holds: 1 MiB a second.
const HURRIED_BYTES_PER_MS: u64 = 1 << 10;
/// How long a connection that was closed by us waits for the client to have read what was sent. Closing
/// while its bytes arrive would reset the connection and could destroy them.
const LINGER_MS: u64 = 250;

/// One connection and everything that it owns.
pub(crate) struct Connection<H: RequestHandler> {
    stream: Stream,
    info: ConnectionInfo,
    state: H::Connection,
    responses: Responses,
    assembly: Assembly,
    /// The budget is exhausted, and the large frame waits for memory.
    waiting: Option<Waiting>,
    phase: Phase,
    pulse: Rc<Pulse>,
    thread: Rc<Thread<H>>,
    times: Times,
    /// What the gauge of unsent bytes counts for this connection.
    unsent: usize,
}

/// How far the connection's life has come.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Requests are read.
    Serving,
    /// The client sends nothing more; what is ready still leaves.
    Ended,
    /// Everything was sent; waiting for the client to close.
    Lingering { until: u64, reason: &'static str },
}

/// Moments in the thread's time, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    accepted: u64,
    /// When requests were handled last; `None` before the first.
    request: Option<u64>,
    /// When the frame that is arriving began.
    frame: u64,
    /// When the client last took bytes, or had nothing to take.
    sent: u64,
}

/// Why a connection ended.
#[derive(Debug)]
enum End {
    Client,
    Broken(io::Error),
    Refused(&'static str),
    BadLength(BadLength),
}

/// What a round of receiving found.
enum Received {
    /// Frames or parts of them.
    Bytes,
    /// Nothing, and the task is woken when that changes.
    Nothing,
    /// The client closed its side.
    End,
}

impl<H: RequestHandler> Connection<H> {
    pub(crate) fn new(stream: Stream, info: ConnectionInfo, thread: Rc<Thread<H>>, pulse: Rc<Pulse>) -> Self {
        let now = thread.now();
        Self {
            stream,
            state: thread.shared.handler.connected(&info),
            info,
            responses: Responses::new(&thread.shared.limits, thread.spares.clone()),
            assembly: Assembly::default(),
            waiting: None,
            phase: Phase::Serving,
            pulse,
            thread,
            times: Times {
                accepted: now,
                request: None,
                frame: now,
                sent: now,
            },
            unsent: 0,
        }
    }

    /// Serves the connection to its end.
    pub(crate) async fn run(mut self) {
        let end = poll_fn(|context| self.poll(context)).await;
        let ConnectionInfo { listener, peer, .. } = &self.info;
        match end {
            End::Client => tracing::debug!(%listener, %peer, "the client closed the connection"),
            End::Broken(error) => tracing::debug!(%listener, %peer, %error, "the connection broke"),
            End::Refused(reason) => tracing::debug!(%listener, %peer, reason, "closed the connection"),
            End::BadLength(bad) => self.complain(bad),
        }
    }

    /// A client that is cut off for what it sends learns nothing by that: somebody must be able to read it here.
    fn complain(&self, BadLength { declared, limit }: BadLength) {
        if let Some(connections) = self.thread.shared.bad_lengths.due() {
            let ConnectionInfo { listener, peer, .. } = &self.info;
            tracing::warn!(
                %listener, %peer, declared, limit, connections,
                "closed connections: a request is longer than it may be, or what came is no request"
            );
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.pulse.register(context.waker());
        if let Some(reason) = self.pulse.expired() {
            return Poll::Ready(End::Refused(reason));
        }
        let polled = self.poll_rounds(context);
        if polled.is_pending() && self.times.request.unwrap_or(self.times.accepted) < self.thread.silent_since() {
            self.stream.reset_at_end();
            return Poll::Ready(End::Refused("nothing came while this host was cut off"));
        }
        if polled.is_pending() {
            self.account();
            let deadline = self.deadline();
            let hurried = self.hurried_deadline();
            self.pulse.set(deadline, hurried);
        }
        polled
    }

    fn poll_rounds(&mut self, context: &mut Context<'_>) -> Poll<End> {
        for _ in 0..ROUNDS {
            self.responses.collect(context.waker());
            let sent_all = match self.send(context) {
                Ok(sent_all) => sent_all,
                Err(error) => return Poll::Ready(End::Broken(error)),
            };
            if sent_all && let Some(end) = self.nothing_left() {
                return Poll::Ready(end);
            }
            match self.receive(context) {
                Ok(Received::Bytes) => {}
                Ok(Received::End) => match self.phase {
                    Phase::Serving => self.phase = Phase::Ended,
                    Phase::Ended => return Poll::Pending,
                    Phase::Lingering { reason, .. } => return Poll::Ready(End::Refused(reason)),
                },
                Ok(Received::Nothing) => {
                    // An answer may have been delivered since the last look, or its waker never left.
                    if !self.responses.collect(context.waker()) {
                        return Poll::Pending;
                    }
                }
                Err(end) => return Poll::Ready(end),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what is ready. Returns whether all of it has left.
    fn send(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let outbox = self.responses.outbox();
        if outbox.is_empty() {
            return Ok(true);
        }
        let mut sent = 0;
        let polled = outbox.poll_send(&mut self.stream, context, SEND_SHARE, &mut sent);
        if sent > 0 {
            self.times.sent = self.thread.now();
            ThreadMetrics::add(&self.thread.metrics().bytes_out, sent);
        }
        match polled {
            Poll::Ready(result) => result?,
            Poll::Pending => return Ok(false),
        }
        let sent_all = outbox.is_empty();
        if !sent_all {
            // The share is used up although the socket takes more.
            context.waker().wake_by_ref();
        }
        Ok(sent_all)
    }

    /// Everything ready has left: whether that was the end.
    fn nothing_left(&mut self) -> Option<End> {
        if let Phase::Ended = self.phase {
            // The client is gone; whatever is still to come has nobody to read it.
            return Some(End::Client);
        }
        if let Phase::Serving = self.phase {
            let reason = match self.responses.closing() {
                Some(reason) => reason,
                None if self.thread.draining() && self.responses.is_idle() => "the broker is shutting down",
                None => return None,
            };
            self.stream.finish();
            self.assembly = Assembly::default();
            self.waiting = None;
            self.phase = Phase::Lingering {
                until: self.thread.now() + LINGER_MS,
                reason,
            };
        }
        None
    }

    fn receive(&mut self, context: &mut Context<'_>) -> Result<Received, End> {
        match self.phase {
            Phase::Serving => {}
            Phase::Ended => return Ok(Received::Nothing),
            Phase::Lingering { .. } => return self.discard(context),
        }
        if self.thread.draining() || self.must_wait() {
            return Ok(Received::Nothing);
        }
        if self.assembly.stopped() {
            self.hand_over(|assembly, bounds, hand_over| assembly.resume(bounds, hand_over))?;
            return Ok(Received::Bytes);
        }
        if self.assembly.large().is_some() {
            return self.receive_large(context);
        }
        let thread = Rc::clone(&self.thread);
        let mut scratch = thread.scratch();
        let headroom = self.assembly.headroom();
        let room = scratch.get_mut(headroom..).unwrap_or_default();
        let count = match self.stream.poll_receive(context, room) {
            Poll::Pending => return Ok(Received::Nothing),
            Poll::Ready(Err(error)) => return Err(End::Broken(error)),
            Poll::Ready(Ok(0)) => return Ok(Received::End),
            Poll::Ready(Ok(count)) => count,
        };
        ThreadMetrics::add(&thread.metrics().bytes_in, count as u64);
        if headroom == 0 {
            self.times.frame = thread.now();
        }
        let received = scratch.get_mut(..headroom + count).unwrap_or_default();
        self.hand_over(|assembly, bounds, hand_over| assembly.receive(received, bounds, hand_over))?;
        Ok(Received::Bytes)
    }

    /// Receives the rest of a large frame into its own buffer.
    fn receive_large(&mut self, context: &mut Context<'_>) -> Result<Received, End> {
        let Some(large) = self.assembly.large() else {
            return Ok(Received::Nothing);
        };
        let polled = loop {
            if let Some(waiting) = &mut self.waiting {
                let Poll::Ready(grant) = waiting.as_mut().poll(context) else {
                    return Ok(Received::Nothing);
                };
                self.waiting = None;
                // The client could not send while there was no memory.
                self.times.frame = self.thread.now();
                large.grow(grant);
            }
            match large.room() {
                Ok((buffer, room)) => break self.stream.poll_receive_into(context, buffer, room),
                Err(waiting) => self.waiting = Some(waiting),
            }
        };
        let count = match polled {
            Poll::Pending => return Ok(Received::Nothing),
            Poll::Ready(Err(error)) => return Err(End::Broken(error)),
            Poll::Ready(Ok(0)) => return Ok(Received::End),
            Poll::Ready(Ok(count)) => count,
        };
        ThreadMetrics::add(&self.thread.metrics().bytes_in, count as u64);
        self.hand_over(|assembly, _, hand_over| {
            assembly.finish_large(hand_over);
            Ok(())
        })?;
        Ok(Received::Bytes)
    }

    /// Throws away what a client sends after we have said goodbye.
    fn discard(&mut self, context: &mut Context<'_>) -> Result<Received, End> {
        match self.stream.poll_receive(context, &mut self.thread.scratch()) {
            Poll::Pending => Ok(Received::Nothing),
            Poll::Ready(Err(error)) => Err(End::Broken(error)),
            Poll::Ready(Ok(0)) => Ok(Received::End),
            Poll::Ready(Ok(_)) => Ok(Received::Bytes),
        }
    }

    /// Lets `feed` hand whole frames to the handler.
    fn hand_over(
        &mut self,
        feed: impl FnOnce(
            &mut Assembly,
            Bounds<'_>,
            &mut dyn FnMut(&mut [crate::Frame<'_>]) -> Handed,
        ) -> Result<(), BadLength>,
    ) -> Result<(), End> {
        let Self {
            assembly,
            thread,
            state,
            responses,
            times,
            ..
        } = self;
        let mut hand_over = |frames: &mut [crate::Frame<'_>]| {
            let handled = thread.shared.handler.handle(state, frames, responses);
            let full = responses.is_full();
            if handled == 0 && !full {
                responses.close("the broker made no progress with a request");
            }
            ThreadMetrics::add(&thread.metrics().frames, handled as u64);
            times.request = Some(thread.now());
            times.frame = thread.now();
            Handed {
                handled,
                stop: full || handled < frames.len(),
            }
        };
        let limit = thread.frame_limit();
        let bounds = Bounds {
            limit,
            limit_of: &|start| thread.shared.handler.frame_limit(start, limit),
            budget: &thread.shared.budget,
        };
        match feed(assembly, bounds, &mut hand_over) {
            Ok(()) => Ok(()),
            // Answers to what came before still leave.
            Err(bad) if self.responses.has_something_to_say() => {
                self.complain(bad);
                self.responses.close("a frame's length is negative or above the limit");
                Ok(())
            }
            Err(bad) => Err(End::BadLength(bad)),
        }
    }

    /// Whether the client must take responses before its requests are read.
    fn must_wait(&self) -> bool {
        if self.responses.is_full() {
            return true;
        }
        // Many clients that leave a little each are as bad as one that leaves much.
        self.responses.in_memory() > 0 && self.thread.shared.metrics.unsent_bytes() > self.thread.shared.unsent_limit
    }

    /// Keeps the gauge of unsent bytes.
    fn account(&mut self) {
        let unsent = self.responses.in_memory();
        if unsent != self.unsent {
            let gauge = &self.thread.shared.metrics.unsent_bytes;
            gauge.fetch_add(unsent, Ordering::Relaxed);
            gauge.fetch_sub(self.unsent, Ordering::Relaxed);
            self.unsent = unsent;
        }
    }

    /// What the client must have done, and by when.
    fn deadline(&mut self) -> Deadline {
        let limits = &self.thread.limits;
        let times = &self.times;
        let mut deadline = Deadline::NEVER;
        if let Phase::Lingering { until, reason } = self.phase {
            return deadline.or(until, reason);
        }
        if !self.responses.outbox().is_empty() {
            deadline = deadline.or(
                times.sent + limits.write_stall,
                "the client does not take its responses",
            );
        } else if self.responses.unanswered() == 0 {
            deadline = match times.request {
                // The limit may have come after the pace of the sweeps was set, and be shorter than it.
                Some(request) => {
                    let idle = self.thread.shared.idle_limit.ms() + self.thread.stamp_age();
                    deadline.or(request + idle, "the connection was idle")
                }
                None => deadline.or(times.accepted + limits.first_request, "no first request came"),
            };
        }
        if self.frame_is_due() {
            let earned = self.assembly.kept() as u64 / FRAME_BYTES_PER_MS;
            deadline = deadline.or(times.frame + limits.frame + earned, "a request arrived too slowly");
        }
        deadline
    }

    /// What a client must have done, and by when, that holds memory which others wait for.
    fn hurried_deadline(&mut self) -> Deadline {
        if !self.frame_is_due() || self.assembly.large().is_none() {
            return Deadline::NEVER;
        }
        let earned = self.assembly.kept() as u64 / HURRIED_BYTES_PER_MS;
        let at = self.times.frame + self.thread.limits.frame + earned;
        Deadline::NEVER.or(at, "a request arrived too slowly while others waited for its memory")
    }

    /// Whether a frame has begun and nothing but the client keeps it from arriving.
    fn frame_is_due(&self) -> bool {
        self.assembly.kept() > 0 && !self.assembly.stopped() && self.waiting.is_none() && !self.responses.is_full()
    }
}

impl<H: RequestHandler> Drop for Connection<H> {
    fn drop(&mut self) {
        self.thread
            .shared
            .metrics
            .unsent_bytes
            .fetch_sub(self.unsent, Ordering::Relaxed);
    }
}
