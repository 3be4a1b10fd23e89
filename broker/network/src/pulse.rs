//! Deadlines of connections, kept by one sweep per thread instead of a timer each: moving a deadline is
//! a store, and an idle connection costs no timer.

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// One connection's deadline and the way to wake it.
#[derive(Debug)]
pub(crate) struct Pulse {
    waker: RefCell<Option<Waker>>,
    deadline: Cell<Deadline>,
    /// The deadline that counts while others wait for what this connection holds.
    hurried: Cell<Deadline>,
    expired: Cell<bool>,
}

/// A moment in the thread's time, in milliseconds, and what it means if it passes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: u64,
    pub(crate) reason: &'static str,
}

impl Deadline {
    /// No deadline.
    pub(crate) const NEVER: Self = Self {
        at: u64::MAX,
        reason: "",
    };

    /// The earlier of the two.
    pub(crate) fn or(self, at: u64, reason: &'static str) -> Self {
        if at < self.at { Self { at, reason } } else { self }
    }
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            waker: RefCell::new(None),
            deadline: Cell::new(Deadline::NEVER),
            hurried: Cell::new(Deadline::NEVER),
            expired: Cell::new(false),
        }
    }

    /// Remembers whom to wake.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut registered = self.waker.borrow_mut();
        if !registered
            .as_ref()
            .is_some_and(|registered| registered.will_wake(waker))
        {
            *registered = Some(waker.clone());
        }
    }

    /// Sets the deadline anew, and the one that counts while memory is short.
    pub(crate) fn set(&self, deadline: Deadline, hurried: Deadline) {
        self.deadline.set(deadline);
        self.hurried.set(hurried);
    }

    /// Why the connection must end, once its deadline has passed.
    pub(crate) fn expired(&self) -> Option<&'static str> {
        self.expired.get().then(|| self.deadline.get().reason)
    }

    /// Expires the connection if its deadline has passed at `now`.
    pub(crate) fn check(&self, now: u64, memory_is_short: bool) {
        if memory_is_short && now >= self.hurried.get().at {
            self.deadline.set(self.hurried.get());
        }
        if now >= self.deadline.get().at {
            self.expired.set(true);
            self.wake();
        }
    }

    /// Wakes the connection to look around.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
