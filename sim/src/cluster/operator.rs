//! An operator replica: stands for the controller's Lease, and gives a controller its life while it holds it.
//!
//! What `operator/host` is to the real process, without sockets: requests in, effects carried out. The Lease decides who
//! tries; whether a controller acts is for the metadata log to say.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use controller::{AppendId, Controller, Effect, Input, ProbeAnswer, ReadId, RequestId, Settings, SnapshotName};
use model::{BrokerId, Frame, IncarnationId, MetadataImage};

use super::message::{
    ApiRequest, ApiResponse, CallId, LeaseView, Message, Opening, Position, ProcessId, Request, Response, Start,
};
use super::network::Host;
use super::outbox::{Calls, Note, Outbox};
use super::plan::Bugs;
use crate::store::Written;

/// The Lease is taken from a holder that has not renewed it for so long.
const LEASE_DURATION: Duration = Duration::from_secs(4);
/// A holder that could not renew it for so long stops.
const RENEW_DEADLINE: Duration = Duration::from_millis(2500);
const RENEW_EVERY: Duration = Duration::from_millis(700);
/// How long an answer of the API server is awaited.
const API_TIMEOUT: Duration = Duration::from_millis(1500);
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// Records kept for brokers that are almost current.
const HISTORY: usize = 64;

/// An operator replica.
#[derive(Debug)]
pub(super) struct Operator {
    process: ProcessId,
    calls: Calls<Purpose>,
    elector: Elector,
    hosted: Option<Hosted>,
    settings: Settings,
    bugs: Bugs,
    /// Makes each controller's ids its own.
    controllers: u8,
    /// Gave the Lease up on SIGTERM.
    pub(super) leaving: bool,
}

#[derive(Debug)]
struct Elector {
    /// The Lease as last seen, and since when it has looked so by this process's clock.
    observed: Option<(LeaseView, Duration)>,
    /// The version that is ours, and when it was confirmed.
    held: Option<(u64, Duration)>,
    next: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Purpose {
    ReadLease,
    /// Asked at this time.
    TakeLease(Duration),
    Append(AppendId),
    Read(ReadId),
    WriteSnapshot(SnapshotName),
    DeleteSnapshots,
    Probe(BrokerId),
}

#[derive(Debug)]
struct Hosted {
    controller: Controller,
    wake_at: Option<Duration>,
    next_request: RequestId,
    waiting: BTreeMap<RequestId, (ProcessId, CallId)>,
    /// `None` until it acts.
    image: Option<MetadataImage>,
    frames: VecDeque<Frame>,
    streams: BTreeMap<StreamId, Stream>,
    acting: bool,
}

/// A broker's process, and its call that opened the stream.
pub(super) type StreamId = (ProcessId, CallId);

#[derive(Debug)]
struct Stream {
    broker: BrokerId,
    incarnation: IncarnationId,
    sent: u64,
}

impl Operator {
    pub(super) fn new(process: ProcessId, settings: Settings, bugs: Bugs) -> Self {
        Self {
            process,
            calls: Calls::default(),
            elector: Elector {
                observed: None,
                held: None,
                next: Duration::ZERO,
            },
            hosted: None,
            settings,
            bugs,
            controllers: 0,
            leaving: false,
        }
    }

    /// Whether its controller acts, as far as it knows.
    pub(super) fn is_acting(&self) -> bool {
        self.hosted.as_ref().is_some_and(|hosted| hosted.acting)
    }

    /// The metadata streams of a broker's process.
    pub(super) fn streams_of(&self, process: ProcessId) -> Vec<CallId> {
        let streams = self.streams().into_iter();
        streams.filter(|(of, _)| *of == process).map(|(_, call)| call).collect()
    }

    /// All metadata streams.
    pub(super) fn streams(&self) -> Vec<StreamId> {
        let streams = self.hosted.iter().flat_map(|hosted| hosted.streams.keys());
        streams.copied().collect()
    }

    pub(super) fn take(&mut self, now: Duration, from: ProcessId, message: Message, out: &mut Outbox) {
        match message {
            Message::Request(call, request) => self.request(now, from, call, request, out),
            Message::Response(call, response) => {
                if let Some(purpose) = self.calls.answered(call) {
                    self.response(now, purpose, response, out);
                }
            }
            Message::Refused(call) => match self.calls.answered(call) {
                Some(Purpose::Probe(broker)) => {
                    let answer = ProbeAnswer::Refused;
                    self.step(now, Input::Probed { broker, answer }, out);
                }
                Some(purpose) => self.unanswered(now, purpose, out),
                None => {}
            },
            Message::LeaseSeen(broker, incarnation) => {
                let incarnation = Some(incarnation);
                self.step(now, Input::LeaseSeen { broker, incarnation }, out);
            }
            Message::Terminated(broker, incarnation) => {
                let gone = Input::BrokerGone {
                    broker,
                    incarnation: Some(incarnation),
                    proof: controller::Proof::Terminated,
                };
                self.step(now, gone, out);
            }
            Message::StreamEnded(call) => self.stream_ended(now, (from, call), out),
            Message::Frames(..) => {}
        }
    }

    pub(super) fn tick(&mut self, now: Duration, out: &mut Outbox) {
        for purpose in self.calls.expired(now) {
            self.unanswered(now, purpose, out);
        }
        if self
            .elector
            .held
            .is_some_and(|(_, confirmed)| now >= confirmed + RENEW_DEADLINE)
        {
            self.elector.held = None;
            self.step_down("the Lease could not be renewed", out);
        }
        if now >= self.elector.next && !self.leaving {
            self.elector.next = now + RENEW_EVERY;
            let stale = self
                .elector
                .observed
                .is_some_and(|(seen, since)| seen.holder.is_none() || now >= since + LEASE_DURATION);
            match (self.elector.held, self.elector.observed) {
                (Some((version, _)), _) => self.take_lease(now, version, out),
                (None, Some((seen, _))) if stale => self.take_lease(now, seen.version, out),
                _ => self.ask(Request::Api(ApiRequest::ReadLease), Purpose::ReadLease, now, out),
            }
        }
        let due = self.hosted.as_ref().and_then(|hosted| hosted.wake_at);
        if due.is_some_and(|at| now >= at) {
            if let Some(hosted) = &mut self.hosted {
                hosted.wake_at = None;
            }
            self.step(now, Input::Tick, out);
        }
    }

    /// SIGTERM: gives the Lease up, so that the other replica need not wait.
    pub(super) fn leave(&mut self, now: Duration, out: &mut Outbox) {
        self.leaving = true;
        self.hosted = None;
        if self.elector.held.take().is_some() {
            self.ask(
                Request::Api(ApiRequest::ReleaseLease),
                Purpose::DeleteSnapshots,
                now,
                out,
            );
        }
    }

    fn ask(&mut self, request: Request, purpose: Purpose, now: Duration, out: &mut Outbox) {
        self.calls
            .send(Host::KUBERNETES, request, purpose, now + API_TIMEOUT, out);
    }

    fn take_lease(&mut self, now: Duration, expected: u64, out: &mut Outbox) {
        let request = Request::Api(ApiRequest::TakeLease { expected });
        self.ask(request, Purpose::TakeLease(now), now, out);
    }

    fn request(&mut self, now: Duration, from: ProcessId, call: CallId, request: Request, out: &mut Outbox) {
        let Some(hosted) = self.hosted.as_mut().filter(|hosted| hosted.acting) else {
            out.respond(from, call, Response::NotController);
            return;
        };
        let number = hosted.next_request + 1;
        let input = match request {
            Request::Register(registration, position) => {
                let known = position.filter(|_| !self.bugs.hello_unchecked);
                if let Some(why) = known.and_then(|position| hosted.regressed(position)) {
                    self.halt(now, from, call, &why, out);
                    return;
                }
                Input::Register {
                    request: number,
                    registration: *registration,
                }
            }
            Request::Heartbeat(heartbeat) => Input::Heartbeat {
                request: number,
                heartbeat,
            },
            Request::AlterPartition(session, proposals) => Input::AlterPartition {
                request: number,
                session,
                proposals,
            },
            Request::ReportReplicas(session, reports) => Input::ReportReplicas {
                request: number,
                session,
                reports,
            },
            Request::Admin(wish) => (wish.0)(number),
            Request::Watch(broker, incarnation, position) => {
                let known = position.filter(|_| !self.bugs.hello_unchecked);
                if let Some(why) = known.and_then(|position| hosted.regressed(position)) {
                    self.halt(now, from, call, &why, out);
                    return;
                }
                let stream = Stream {
                    broker,
                    incarnation,
                    sent: 0,
                };
                out.respond(from, call, hosted.open(position));
                hosted.streams.insert((from, call), stream);
                return;
            }
            _ => return,
        };
        hosted.next_request = number;
        hosted.waiting.insert(number, (from, call));
        self.step(now, input, out);
    }

    fn response(&mut self, now: Duration, purpose: Purpose, response: Response, out: &mut Outbox) {
        let input = match (purpose, response) {
            (Purpose::ReadLease, Response::Api(ApiResponse::Lease(view))) => {
                self.observe(now, view);
                return;
            }
            (Purpose::TakeLease(asked), Response::Api(ApiResponse::LeaseTaken(taken))) => {
                self.lease_taken(now, asked, taken, out);
                return;
            }
            (Purpose::Append(id), Response::Api(ApiResponse::Appended(Written::Version(version)))) => {
                Input::Appended { id, version }
            }
            (Purpose::Append(id), Response::Api(ApiResponse::Appended(Written::Conflict))) => {
                Input::AppendConflict { id }
            }
            (Purpose::Read(id), Response::Api(ApiResponse::Log(log))) => Input::ReadDone {
                id,
                log: log.map(|log| *log),
            },
            (Purpose::WriteSnapshot(name), Response::Api(ApiResponse::Done)) => Input::SnapshotWritten { name },
            (Purpose::Probe(broker), Response::Alive) => Input::Probed {
                broker,
                answer: ProbeAnswer::Accepted,
            },
            (purpose, _) => return self.unanswered(now, purpose, out),
        };
        self.step(now, input, out);
    }

    fn unanswered(&mut self, now: Duration, purpose: Purpose, out: &mut Outbox) {
        let error = String::from("no answer");
        let input = match purpose {
            Purpose::ReadLease | Purpose::TakeLease(_) | Purpose::DeleteSnapshots => return,
            Purpose::Append(id) => Input::AppendUnknown { id },
            Purpose::Read(id) => Input::ReadFailed { id, error },
            Purpose::WriteSnapshot(name) => Input::SnapshotFailed { name, error },
            Purpose::Probe(broker) => Input::Probed {
                broker,
                answer: ProbeAnswer::Silent,
            },
        };
        self.step(now, input, out);
    }

    /// Judged by when the record was seen to change, on the own clock, and by nothing in it.
    fn observe(&mut self, now: Duration, view: LeaseView) {
        if self.elector.observed.is_none_or(|(seen, _)| seen != view) {
            self.elector.observed = Some((view, now));
        }
    }

    fn lease_taken(&mut self, now: Duration, asked: Duration, taken: Option<u64>, out: &mut Outbox) {
        let Some(version) = taken else {
            // Somebody else has it: what we hold is not ours any more.
            self.elector.observed = None;
            if self.elector.held.take().is_some() {
                self.step_down("another replica took the Lease", out);
            }
            return;
        };
        self.elector.held = Some((version, asked));
        let holder = Some(self.process);
        self.observe(now, LeaseView { version, holder });
        if self.hosted.is_none() {
            self.host(now, out);
        }
    }

    fn host(&mut self, now: Duration, out: &mut Outbox) {
        let mut settings = self.settings.clone();
        self.controllers = self.controllers.wrapping_add(1);
        settings.entropy[0] ^= self.controllers;
        settings.holder = format!("operator {}", self.process.0);
        self.hosted = Some(Hosted {
            controller: Controller::new(settings).sabotaged(self.bugs.controller),
            wake_at: None,
            next_request: 0,
            waiting: BTreeMap::new(),
            image: None,
            frames: VecDeque::new(),
            streams: BTreeMap::new(),
            acting: false,
        });
        self.step(now, Input::Start, out);
    }

    fn step_down(&mut self, why: &str, out: &mut Outbox) {
        if let Some(hosted) = self.hosted.take() {
            out.notes.push(Note::SteppedDown(why.to_owned()));
            for (process, call) in hosted.streams.into_keys() {
                out.push(process, Message::StreamEnded(call));
            }
        }
    }

    /// METADATA 23: a broker knows what this log does not. Either this controller is deposed and does not know it, or the log
    /// is another one: it ends, and the next one of this replica reads the log anew.
    fn halt(&mut self, now: Duration, from: ProcessId, call: CallId, why: &str, out: &mut Outbox) {
        self.step_down(why, out);
        out.respond(from, call, Response::Regressed);
        if self.elector.held.is_some() {
            self.host(now, out);
        }
    }

    fn stream_ended(&mut self, now: Duration, stream: StreamId, out: &mut Outbox) {
        let ended = self.hosted.as_mut().and_then(|hosted| hosted.streams.remove(&stream));
        if let Some(Stream {
            broker, incarnation, ..
        }) = ended
        {
            self.step(now, Input::SessionEnded { broker, incarnation }, out);
        }
    }

    fn step(&mut self, now: Duration, input: Input, out: &mut Outbox) {
        let Some(hosted) = &mut self.hosted else { return };
        for effect in hosted.controller.step(now, input) {
            self.perform(now, effect, out);
        }
    }

    fn perform(&mut self, now: Duration, effect: Effect, out: &mut Outbox) {
        let Some(hosted) = &mut self.hosted else { return };
        match effect {
            Effect::Read { id, with_snapshot } => {
                let request = Request::Api(ApiRequest::ReadLog { with_snapshot });
                self.ask(request, Purpose::Read(id), now, out);
            }
            Effect::Append { id, expected, document } => {
                let document = Box::new(document);
                let request = Request::Api(ApiRequest::Append { expected, document });
                self.ask(request, Purpose::Append(id), now, out);
            }
            Effect::WriteSnapshot { name, chunks } => {
                let request = Request::Api(ApiRequest::WriteSnapshot { name, chunks });
                self.ask(request, Purpose::WriteSnapshot(name), now, out);
            }
            Effect::DeleteSnapshotsBelow { name } => {
                let request = Request::Api(ApiRequest::DeleteSnapshots { name });
                self.ask(request, Purpose::DeleteSnapshots, now, out);
            }
            Effect::Elected { image } => {
                hosted.acting = true;
                hosted.image = Some(image.clone());
                out.notes.push(Note::Elected);
                out.notes.push(Note::Published(Vec::new(), Box::new(image)));
            }
            Effect::Publish { frames, image } => {
                for ((process, call), stream) in &mut hosted.streams {
                    stream.sent += 1;
                    out.push(*process, Message::Frames(*call, stream.sent, frames.clone()));
                }
                hosted.frames.extend(frames.iter().cloned());
                while hosted.frames.len() > HISTORY {
                    hosted.frames.pop_front();
                }
                hosted.image = Some(image.clone());
                out.notes.push(Note::Published(frames, Box::new(image)));
            }
            Effect::Reply { request, reply } => {
                if let Some((process, call)) = hosted.waiting.remove(&request) {
                    out.respond(process, call, Response::Controller(reply));
                }
            }
            Effect::Probe { broker } => {
                let known = hosted.image.as_ref().and_then(|image| image.broker(broker));
                let host = known.and_then(|broker| Host::from_name(&broker.endpoints.first()?.host));
                if let Some(host) = host {
                    self.calls
                        .send(host, Request::Probe, Purpose::Probe(broker), now + PROBE_TIMEOUT, out);
                }
            }
            // Only clients feel it, of which there are none here.
            Effect::Suspect { .. } => {}
            Effect::WakeAt(at) => hosted.wake_at = Some(hosted.wake_at.map_or(at, |sooner| sooner.min(at))),
            Effect::StepDown(reason) => {
                // The Lease is kept: the next controller of this replica reads the log anew.
                self.step_down(&reason.to_string(), out);
                if self.elector.held.is_some() && !self.leaving {
                    self.host(now, out);
                }
            }
        }
    }
}

impl Hosted {
    /// METADATA 23: what a broker knows must be a prefix of the log.
    fn regressed(&self, position: Position) -> Option<String> {
        let image = self.image.as_ref()?;
        let chain = if position.offset == image.offset() {
            Some(image.chain_hash())
        } else {
            let next = position.offset.next();
            let next = self.frames.iter().find(|frame| frame.offset == next);
            next.map(|frame| frame.chain_hash)
        };
        let differs = chain.is_some_and(|chain| chain != position.chain_hash);
        let ahead = position.offset > image.offset() || position.controller_epoch > image.controller_epoch();
        (differs || ahead || position.lineage != image.lineage())
            .then(|| format!("{position:?} is not of the log at {}", image.offset()))
    }

    fn open(&self, position: Option<Position>) -> Response {
        let Some(image) = &self.image else {
            return Response::NotController;
        };
        let missing: Option<Vec<Frame>> = position.and_then(|position| {
            let after = |frame: &&Frame| frame.offset > position.offset;
            let missing: Vec<Frame> = self.frames.iter().filter(after).cloned().collect();
            let gapless = missing.first().map_or(position.offset == image.offset(), |first| {
                first.offset == position.offset.next()
            });
            gapless.then_some(missing)
        });
        Response::Opening(Box::new(Opening {
            identity: image.identity(),
            metadata_offset: image.offset(),
            start: missing.map_or_else(|| Start::Snapshot(image.clone()), Start::Frames),
        }))
    }
}
