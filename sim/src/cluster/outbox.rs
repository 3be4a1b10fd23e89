//! What a process does to the world in one step.

use std::time::Duration;

use model::{Frame, MetadataImage};

use super::message::{CallId, Message, ProcessId, Request, Response};
use super::network::Host;
use crate::history::Operation;

/// Messages and operations, in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) sends: Vec<(Target, Message)>,
    pub(super) operations: Vec<Operation>,
    pub(super) notes: Vec<Note>,
    /// The process ends itself.
    pub(super) exits: bool,
}

/// Who is to get a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// Whatever listens at the address now.
    Host(Host),
    /// The process at the other end of a connection.
    Process(ProcessId),
}

/// What the audit must hear.
#[derive(Debug)]
pub(super) enum Note {
    /// A controller told these records.
    Published(Vec<Frame>, Box<MetadataImage>),
    /// A controller began to act.
    Elected,
    /// A controller stopped.
    SteppedDown(String),
    /// Something for the reader of a trace.
    Text(String),
}

/// Numbers of calls, with who waits for what until when.
#[derive(Debug)]
pub(super) struct Calls<P> {
    next: CallId,
    waiting: std::collections::BTreeMap<CallId, (Duration, P)>,
}

impl<P> Default for Calls<P> {
    fn default() -> Self {
        Self {
            next: 0,
            waiting: std::collections::BTreeMap::new(),
        }
    }
}

impl<P> Calls<P> {
    /// Sends a request whose answer is awaited until `deadline`.
    pub(super) fn send(
        &mut self,
        to: Host,
        request: Request,
        purpose: P,
        deadline: Duration,
        out: &mut Outbox,
    ) -> CallId {
        self.next += 1;
        self.waiting.insert(self.next, (deadline, purpose));
        out.sends.push((Target::Host(to), Message::Request(self.next, request)));
        self.next
    }

    /// An answer has come: what it is the answer to, if anybody still waits for it.
    pub(super) fn answered(&mut self, call: CallId) -> Option<P> {
        self.waiting.remove(&call).map(|(_, purpose)| purpose)
    }

    /// Calls that nobody waits for any longer.
    pub(super) fn expired(&mut self, now: Duration) -> Vec<P> {
        let due: Vec<CallId> = self
            .waiting
            .iter()
            .filter(|(_, (deadline, _))| *deadline <= now)
            .map(|(call, _)| *call)
            .collect();
        due.into_iter().filter_map(|call| self.answered(call)).collect()
    }

    /// Whether the answer to a call is still awaited.
    pub(super) fn awaits(&self, call: CallId) -> bool {
        self.waiting.contains_key(&call)
    }

    /// Whether a call with such a purpose is under way.
    pub(super) fn any(&self, mut is: impl FnMut(&P) -> bool) -> bool {
        self.waiting.values().any(|(_, purpose)| is(purpose))
    }
}

impl Outbox {
    /// Answers a call.
    pub(super) fn respond(&mut self, to: ProcessId, call: CallId, response: Response) {
        self.sends
            .push((Target::Process(to), Message::Response(call, response)));
    }

    /// Sends something that is no answer.
    pub(super) fn push(&mut self, to: ProcessId, message: Message) {
        self.sends.push((Target::Process(to), message));
    }

    /// Tells the reader of a trace.
    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.notes.push(Note::Text(text.into()));
    }
}
