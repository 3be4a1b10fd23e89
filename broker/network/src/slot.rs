//! A place in a connection's responses whose answer comes later, from any thread.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::Response;

/// The promise of one response, kept in its place among the connection's responses.
///
/// It may be completed on any thread. Dropping it uncompleted closes the connection, because the client
/// would wait for its answer for ever.
#[derive(Debug)]
pub struct Slot {
    /// `None` once the slot was settled.
    mailbox: Option<Arc<Mailbox>>,
    sequence: u64,
}

impl Slot {
    pub(crate) fn new(mailbox: Arc<Mailbox>, sequence: u64) -> Self {
        Self {
            mailbox: Some(mailbox),
            sequence,
        }
    }

    /// Answers the request. The response leaves as soon as every earlier one has.
    pub fn complete(mut self, response: Response) {
        self.settle(Outcome::Respond(response));
    }

    /// Closes the connection instead of answering.
    pub fn close(mut self) {
        self.settle(Outcome::Close);
    }

    /// Whether the connection has ended, so that nobody wants the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.mailbox.as_ref().is_none_or(|mailbox| mailbox.lock().abandoned)
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Some(mailbox) = self.mailbox.take() {
            mailbox.deliver(self.sequence, outcome);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.settle(Outcome::Close);
    }
}

/// How a slot ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Respond(Response),
    Close,
}

/// Where slots leave their outcomes for the connection's thread: one for each connection.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    delivered: Vec<(u64, Outcome)>,
    /// Set while the connection sleeps. Taken by the first delivery, so that a burst wakes once.
    waker: Option<Waker>,
    abandoned: bool,
}

impl Mailbox {
    /// Takes what was delivered into `into`, or leaves `waker` to be woken by the next delivery.
    /// Returns whether anything was taken.
    pub(crate) fn take_or_register(&self, into: &mut Vec<(u64, Outcome)>, waker: &Waker) -> bool {
        let mut state = self.lock();
        if state.delivered.is_empty() {
            match &state.waker {
                Some(registered) if registered.will_wake(waker) => {}
                _ => state.waker = Some(waker.clone()),
            }
            return false;
        }
        mem::swap(&mut state.delivered, into);
        true
    }

    /// The connection has ended: later outcomes are dropped where they are made.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        state.waker = None;
        // Dropped after the lock: a response may hold anything.
        let delivered = mem::take(&mut state.delivered);
        drop(state);
        drop(delivered);
    }

    fn deliver(&self, sequence: u64, outcome: Outcome) {
        let mut state = self.lock();
        if state.abandoned {
            return;
        }
        state.delivered.push((sequence, outcome));
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements above, so a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
