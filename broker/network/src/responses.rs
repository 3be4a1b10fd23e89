//! Answers in the order of their requests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use crate::outbox::{Outbox, Spares, TooLong};
use crate::slot::{Mailbox, Outcome};
use crate::{Limits, Response, Slot};

/// Most pieces that may wait for the socket before requests stay unread: pieces of files count no
/// bytes, but each holds an open file.
const WAITING_CHUNKS: usize = 256;

/// The responses of one connection: those that are ready leave at the end of the wake-up, those behind
/// an unanswered [`Slot`] wait for it.
#[derive(Debug)]
pub struct Responses {
    /// What waits behind the first unanswered slot, beginning with it; empty if all are answered.
    ring: VecDeque<Entry>,
    /// The sequence number of the ring's first entry.
    first: u64,
    /// Slots in the ring without an answer.
    unanswered: usize,
    /// Bytes of the ring's answers that are in memory.
    held: usize,
    outbox: Outbox,
    mailbox: Arc<Mailbox>,
    /// Taken from the mailbox; kept for its memory.
    delivered: Vec<(u64, Outcome)>,
    /// Why the connection shall be closed once what is in the outbox has left.
    closing: Option<&'static str>,
    waiting_limit: usize,
    bytes_limit: usize,
}

#[derive(Debug)]
enum Entry {
    Unanswered,
    Ready(Response),
}

impl Responses {
    pub(crate) fn new(limits: &Limits, spares: Spares) -> Self {
        Self {
            ring: VecDeque::new(),
            first: 0,
            unanswered: 0,
            held: 0,
            outbox: Outbox::new(spares),
            mailbox: Arc::default(),
            delivered: Vec::new(),
            closing: None,
            waiting_limit: limits.waiting_requests,
            bytes_limit: limits.unsent_bytes,
        }
    }

    /// Answers the next request now.
    pub fn push(&mut self, response: Response) {
        if self.closing.is_some() {
            return;
        }
        if self.ring.is_empty() {
            let pushed = self.outbox.push(response);
            self.close_if_too_long(pushed);
        } else {
            self.held += memory_of(&response);
            self.ring.push_back(Entry::Ready(response));
        }
    }

    /// Answers the next request now with what `fill` appends to the buffer it gets, which may hold
    /// earlier responses: the way without any allocation.
    pub fn push_with(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        if self.closing.is_some() {
            return;
        }
        if self.ring.is_empty() {
            let pushed = self.outbox.push_with(fill);
            self.close_if_too_long(pushed);
        } else {
            let mut bytes = Vec::new();
            fill(&mut bytes);
            self.push(Response::owned(bytes));
        }
    }

    /// Answers the next request later, through the slot, from this thread or any other.
    pub fn push_later(&mut self) -> Slot {
        let slot = Slot::new(Arc::clone(&self.mailbox), self.first + self.ring.len() as u64);
        if self.closing.is_none() {
            self.ring.push_back(Entry::Unanswered);
            self.unanswered += 1;
        }
        slot
    }

    /// The next request has no answer, as Produce with `acks=0`.
    #[allow(clippy::unused_self, reason = "every handled frame is answered by exactly one push")]
    pub fn push_nothing(&mut self) {}

    /// Closes the connection once the responses that are ready now have left. Later pushes and slots
    /// that are still unanswered are dropped. `reason` goes to the log.
    pub fn close(&mut self, reason: &'static str) {
        if self.closing.is_none() {
            self.closing = Some(reason);
            self.ring.clear();
            self.unanswered = 0;
            self.held = 0;
            self.mailbox.abandon();
        }
    }

    /// Whether the client has left so much unanswered or untaken that it must wait before it is served
    /// further, or is being closed.
    pub fn is_full(&self) -> bool {
        self.closing.is_some()
            || self.ring.len() >= self.waiting_limit
            || self.in_memory() >= self.bytes_limit
            || self.outbox.chunks() >= WAITING_CHUNKS
    }

    /// Whether no response waits to become ready or to leave.
    pub(crate) fn is_idle(&self) -> bool {
        self.ring.is_empty() && self.outbox.is_empty()
    }

    /// Whether ready responses wait to leave.
    pub(crate) fn has_something_to_say(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Slots without an answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Bytes in memory that wait for their turn or for the client.
    pub(crate) fn in_memory(&self) -> usize {
        self.held + self.outbox.in_memory()
    }

    pub(crate) fn closing(&self) -> Option<&'static str> {
        self.closing
    }

    pub(crate) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Moves answers that were delivered to their places and what is ready to the outbox. If nothing was
    /// delivered, `waker` is woken by the next delivery; returns whether anything was.
    pub(crate) fn collect(&mut self, waker: &Waker) -> bool {
        if self.unanswered == 0 {
            return false;
        }
        let mut delivered = std::mem::take(&mut self.delivered);
        let any = self.mailbox.take_or_register(&mut delivered, waker);
        for (sequence, outcome) in delivered.drain(..) {
            self.place(sequence, outcome);
        }
        if delivered.capacity() <= 64 {
            self.delivered = delivered;
        }
        self.release();
        any
    }

    fn place(&mut self, sequence: u64, outcome: Outcome) {
        let entry = sequence
            .checked_sub(self.first)
            .and_then(|index| self.ring.get_mut(index as usize));
        let Some(entry) = entry else {
            return;
        };
        match outcome {
            Outcome::Respond(response) => {
                self.held += memory_of(&response);
                self.unanswered -= 1;
                *entry = Entry::Ready(response);
            }
            Outcome::Close => {
                // What came before has its answers and may still leave.
                self.release();
                self.close("a request could not be answered");
            }
        }
    }

    /// Moves the answered front of the ring to the outbox.
    fn release(&mut self) {
        while let Some(Entry::Ready(_)) = self.ring.front() {
            let Some(Entry::Ready(response)) = self.ring.pop_front() else {
                return;
            };
            self.first += 1;
            self.held -= memory_of(&response);
            let pushed = self.outbox.push(response);
            self.close_if_too_long(pushed);
        }
        if self.ring.is_empty() && self.ring.capacity() > 64 {
            self.ring.shrink_to(8);
        }
    }

    fn close_if_too_long(&mut self, pushed: Result<(), TooLong>) {
        if pushed.is_err() {
            self.close("a response was longer than 2 GiB");
        }
    }
}

impl Drop for Responses {
    fn drop(&mut self) {
        self.mailbox.abandon();
    }
}

/// What a waiting response costs: a piece of a file costs no memory to speak of.
fn memory_of(response: &Response) -> usize {
    response.in_memory() as usize
}
