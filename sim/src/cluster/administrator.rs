//! Whoever makes and changes topics: each wish is asked for until a controller says that it is done.

use std::collections::VecDeque;
use std::time::Duration;

use controller::{Refusal, Reply};

use super::message::{AdminWish, Message, ProcessId, Request, Response};
use super::network::Host;
use super::outbox::{Calls, Outbox};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
const BACKOFF: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(super) struct Administrator {
    operators: Vec<Host>,
    turn: usize,
    calls: Calls<()>,
    wishes: VecDeque<(AdminWish, Duration)>,
    next: Duration,
    /// Wishes that were granted.
    pub(super) granted: u64,
    /// What was refused for good, for people.
    pub(super) refused: Vec<String>,
}

impl Administrator {
    pub(super) fn new(operators: Vec<Host>) -> Self {
        Self {
            operators,
            ..Self::default()
        }
    }

    /// Something to be asked for until this time.
    pub(super) fn wish(&mut self, wish: AdminWish, until: Duration) {
        self.wishes.push_back((wish, until));
    }

    pub(super) fn take(&mut self, now: Duration, _from: ProcessId, message: Message, _out: &mut Outbox) {
        let (call, response) = match message {
            Message::Response(call, response) => (call, Some(response)),
            Message::Refused(call) => (call, None),
            _ => return,
        };
        if self.calls.answered(call).is_none() {
            return;
        }
        match response {
            Some(Response::Controller(Reply::Refused(refusal))) => {
                let passes = matches!(refusal, Refusal::NotReady | Refusal::LogFull | Refusal::Pending(_));
                if !passes {
                    self.refused.push(refusal.to_string());
                    self.wishes.pop_front();
                }
            }
            Some(Response::Controller(_)) => {
                self.granted += 1;
                self.wishes.pop_front();
            }
            _ => self.turn += 1,
        }
        self.next = now + BACKOFF;
    }

    pub(super) fn tick(&mut self, now: Duration, out: &mut Outbox) {
        if !self.calls.expired(now).is_empty() {
            self.turn += 1;
        }
        if self.wishes.front().is_some_and(|(_, until)| now >= *until) {
            self.wishes.pop_front();
        }
        let Some((wish, _)) = self.wishes.front() else { return };
        if now < self.next || self.calls.any(|()| true) {
            return;
        }
        let operator = self.operators[self.turn % self.operators.len()];
        self.calls
            .send(operator, Request::Admin(wish.clone()), (), now + REQUEST_TIMEOUT, out);
    }
}
