//! Whole clusters on a bad day: operators, brokers, their disks, the API server, the network and clients in one loop.
//!
//! Everything that decides is the code of production: `controller`, `model`, `broker-replication`, `broker-log`. What is
//! simulated is what they stand on, and the few lines that carry a message from one to the other. A run is a function of
//! its seed and its [`Plan`]; the same seed gives the same trace.
//!
//! - [`agenda`], [`network`], [`kubernetes`], [`trace`]: the world.
//! - [`operator`], [`broker`]: processes of the cluster. [`message`], [`outbox`]: how they speak.
//! - [`producer`], [`consumer`], [`administrator`]: clients; [`directory`]: what they know.
//! - [`faults`]: what happens to all of them; [`scenarios`]: in what chance brings about too rarely. [`pods`]: who runs where, on which disk.
//! - [`audit`]: what must hold at every step, seen from above.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use controller::{Settings, Witnesses};

use crate::checker::Violation;
use crate::history::{Guarantee, History, check};
use crate::random::Random;
use crate::store::Rules;

mod administrator;
mod agenda;
mod audit;
mod broker;
mod consumer;
mod directory;
mod faults;
mod kubernetes;
mod liveness;
mod message;
mod network;
mod operator;
mod outbox;
mod plan;
mod pods;
mod producer;
mod scenarios;
mod trace;

pub use faults::{FaultCounts, FaultKind};
pub use plan::{Bugs, Plan};

use administrator::Administrator;
use agenda::Agenda;
use audit::Audit;
use broker::Broker;
use consumer::Consumer;
use directory::Directory;
use faults::Faults;
use kubernetes::Kubernetes;
use message::{CallId, Message, ProcessId, Request, Response};
use network::{Host, Network};
use operator::Operator;
use outbox::{Note, Outbox, Target};
use pods::Pods;
use producer::{Producer, ProducerSettings};
use trace::Trace;

const TICK: Duration = Duration::from_millis(50);
/// After so long without an acknowledgement a connection is given up.
const STREAM_TIMEOUT: Duration = Duration::from_millis(1500);
const OPERATORS: usize = 2;

/// What one run did.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Equal for equal seeds, and hardly ever otherwise.
    pub trace_hash: u64,
    /// Events that the trace stands for.
    pub events: u64,
    /// Faults by kind.
    pub faults: FaultCounts,
    /// What clients did.
    pub extent: check::Extent,
    /// Leaderships that began.
    pub leaderships: u64,
    /// Times that a replica cut its log.
    pub truncations: u64,
    /// Committed changes of an ISR.
    pub isr_changes: u64,
    /// How often a partition got other replicas.
    pub moves: u64,
    /// Controllers that acted.
    pub takeovers: u64,
    /// Partitions whose last complete replica lost its disk, so that nothing is asked of them.
    pub excused: u64,
    /// Partitions that only METADATA 17 could bring back.
    pub waiting_for_rule_17: u64,
}

/// A broken promise, with what it takes to see it again.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
    /// Where the trace was then.
    pub trace_hash: u64,
    /// What happened, if that was asked for.
    pub lines: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "seed {}: {} (trace {:016x}; SIM_SEED={} shows it)",
            self.seed, self.what, self.trace_hash, self.seed
        )
    }
}

#[derive(Debug)]
enum Event {
    Deliver {
        from: ProcessId,
        to: ProcessId,
        message: Message,
    },
    Kubernetes {
        from: ProcessId,
        call: CallId,
        request: message::ApiRequest,
    },
    Tick(ProcessId),
    Fault(faults::Step),
    Sweep,
}

/// A process and what has not reached it yet.
#[derive(Debug)]
struct Slot {
    host: Host,
    what: Process,
    paused: bool,
    inbox: VecDeque<(ProcessId, Message)>,
}

#[derive(Debug)]
enum Process {
    Operator(Box<Operator>),
    Broker(Box<Broker>),
    Producer(Producer),
    Consumer(Consumer),
    Administrator(Administrator),
}

/// One bad day of a whole cluster.
#[derive(Debug)]
pub struct Cluster {
    plan: Plan,
    random: Random,
    now: Duration,
    agenda: Agenda<Event>,
    network: Network,
    kubernetes: Kubernetes,
    trace: Trace,
    slots: BTreeMap<ProcessId, Slot>,
    listening: BTreeMap<Host, ProcessId>,
    processes: u32,
    pods: Pods,
    faults: Faults,
    history: History,
    audit: Audit,
    takeovers: u64,
    administrator: ProcessId,
}

impl Cluster {
    /// Runs the history of a seed.
    pub fn run(seed: u64, plan: &Plan) -> Result<Run, Failure> {
        Self::run_with_text(seed, plan, false)
    }

    /// The same, and a failure tells everything that happened.
    pub fn run_with_text(seed: u64, plan: &Plan, with_text: bool) -> Result<Run, Failure> {
        let mut cluster = Self::new(seed, plan.clone(), with_text);
        match cluster.live() {
            Ok(()) => Ok(cluster.conclude()),
            Err(violation) => Err(Failure {
                seed,
                what: violation.0,
                trace_hash: cluster.trace.hash(),
                lines: cluster.trace.into_lines(),
            }),
        }
    }

    fn new(seed: u64, plan: Plan, with_text: bool) -> Self {
        let mut random = Random::new(seed ^ 0x5eed_0f00_c1a5_7e55);
        let plan = plan.drawn(&mut random);
        let rules = Rules {
            compare_and_swap: !plan.bugs.no_compare_and_swap,
        };
        let pods = Pods::new(plan.brokers);
        Self {
            random,
            now: Duration::ZERO,
            agenda: Agenda::default(),
            network: Network::default(),
            kubernetes: Kubernetes::new(rules),
            trace: Trace::new(with_text),
            slots: BTreeMap::new(),
            listening: BTreeMap::new(),
            processes: 0,
            pods,
            faults: Faults::default(),
            history: History::default(),
            audit: Audit::default(),
            takeovers: 0,
            administrator: ProcessId(0),
            plan,
        }
    }

    fn live(&mut self) -> Result<(), Violation> {
        for number in 0..OPERATORS {
            self.start_operator(number);
        }
        for number in 0..self.plan.brokers {
            self.start_pod(number)?;
        }
        self.start_clients();
        self.agenda.put(self.now, Event::Sweep);
        self.faults_begin();
        let faults_until = self.plan.calm_start + self.plan.faults_for;
        self.advance(faults_until)?;
        self.heal()?;
        self.come_right()
    }

    /// Everything that happens until `until`.
    fn advance(&mut self, until: Duration) -> Result<(), Violation> {
        while let Some((at, event)) = self.agenda.next() {
            if at > until {
                self.agenda.put(at, event);
                break;
            }
            self.now = at;
            self.happen(event)?;
        }
        self.now = until;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Deliver { from, to, message } => self.deliver(from, to, message),
            Event::Kubernetes { from, call, request } => self.at_kubernetes(from, call, request),
            Event::Tick(process) => self.tick(process),
            Event::Fault(step) => self.fault(step),
            Event::Sweep => {
                self.agenda.put(self.now + Duration::from_millis(250), Event::Sweep);
                self.sweep()
            }
        }
    }

    fn sweep(&mut self) -> Result<(), Violation> {
        let brokers = self.slots.iter().filter_map(|(process, slot)| match &slot.what {
            Process::Broker(broker) => Some((*process, &**broker)),
            _ => None,
        });
        self.audit.sweep(brokers, self.kubernetes.checker.image())
    }

    fn deliver(&mut self, from: ProcessId, to: ProcessId, message: Message) -> Result<(), Violation> {
        let Some(slot) = self.slots.get_mut(&to) else {
            // The process is gone, and its kernel says so.
            if let Message::Request(call, _) = message {
                self.post_refusal(from, to, call);
            }
            return Ok(());
        };
        if slot.paused {
            slot.inbox.push_back((from, message));
            return Ok(());
        }
        self.trace
            .note(self.now, format_args!("{}>{} {}", from.0, to.0, Short(&message)));
        let mut out = Outbox::default();
        match &mut slot.what {
            Process::Operator(operator) => operator.take(self.now, from, message, &mut out),
            Process::Broker(broker) => broker.take(self.now, from, message, &mut out),
            Process::Producer(producer) => producer.take(self.now, from, message, &mut out),
            Process::Consumer(consumer) => consumer.take(self.now, from, message, &mut out),
            Process::Administrator(administrator) => administrator.take(self.now, from, message, &mut out),
        }
        self.after_step(to, out)
    }

    fn tick(&mut self, process: ProcessId) -> Result<(), Violation> {
        let Some(slot) = self.slots.get_mut(&process) else {
            return Ok(());
        };
        self.agenda.put(self.now + TICK, Event::Tick(process));
        if slot.paused {
            return Ok(());
        }
        let mut out = Outbox::default();
        match &mut slot.what {
            Process::Operator(operator) => operator.tick(self.now, &mut out),
            Process::Broker(broker) => broker.tick(self.now, &mut out),
            Process::Producer(producer) => producer.tick(self.now, &mut out),
            Process::Consumer(consumer) => consumer.tick(self.now, &mut out),
            Process::Administrator(administrator) => administrator.tick(self.now, &mut out),
        }
        self.after_step(process, out)
    }

    /// A process has done something: the audit looks at it, and what it sent travels.
    fn after_step(&mut self, process: ProcessId, out: Outbox) -> Result<(), Violation> {
        if self.died_within(process) {
            // Power was lost in the middle of the step: nothing of it left the machine.
            return self.process_failed(process);
        }
        if let Some(Slot {
            what: Process::Broker(broker),
            ..
        }) = self.slots.get(&process)
        {
            self.audit.look(process, broker, self.kubernetes.checker.image())?;
            if self.audit.has_grown() {
                self.sweep()?;
            }
        }
        for note in out.notes {
            self.note(process, note)?;
        }
        for operation in out.operations {
            self.history.add(self.now, operation);
        }
        for (target, message) in out.sends {
            self.send(process, target, message)?;
        }
        if out.exits {
            self.process_exited(process);
        }
        Ok(())
    }

    fn note(&mut self, process: ProcessId, note: Note) -> Result<(), Violation> {
        match note {
            Note::Published(frames, image) => {
                self.trace.note(
                    self.now,
                    format_args!("{} published {} up to {}", process.0, frames.len(), image.offset()),
                );
                for frame in &frames {
                    self.trace
                        .tell(self.now, || format!("{} {:?}", frame.offset, frame.record));
                }
                self.kubernetes.checker.published(&frames, &image)
            }
            Note::Elected => {
                self.takeovers += 1;
                self.trace
                    .note(self.now, format_args!("{} is the controller", process.0));
                Ok(())
            }
            Note::SteppedDown(why) => {
                self.trace
                    .note(self.now, format_args!("{} is the controller no more: {why}", process.0));
                Ok(())
            }
            Note::Text(text) => {
                self.trace.note(self.now, format_args!("{}: {text}", process.0));
                Ok(())
            }
        }
    }

    fn send(&mut self, from: ProcessId, target: Target, message: Message) -> Result<(), Violation> {
        let Some(sender) = self.slots.get(&from).map(|slot| slot.host) else {
            return Ok(());
        };
        if let Message::Response(_, Response::Fetched(Ok(fetched))) = &message
            && let Target::Process(_) = target
        {
            self.audit.shown(fetched)?;
        }
        let (to_host, to) = match target {
            Target::Host(host) => {
                let host = self.resolved(host);
                (host, self.listening.get(&host).copied())
            }
            Target::Process(process) => match self.slots.get(&process) {
                Some(slot) => (slot.host, Some(process)),
                None => return Ok(()),
            },
        };
        let Some(arrival) = self.network.send(&mut self.random, self.now, sender, to_host) else {
            if let (Some(to), Message::Frames(call, ..) | Message::StreamEnded(call)) = (to, message) {
                self.break_stream(from, to, call);
            }
            return Ok(());
        };
        match (to, message) {
            (_, Message::Request(call, Request::Api(request))) => {
                self.agenda.put(arrival, Event::Kubernetes { from, call, request });
            }
            (Some(to), message) => self.agenda.put(arrival, Event::Deliver { from, to, message }),
            (None, Message::Request(call, _)) if self.pods.refuses(to_host) => {
                let message = Message::Refused(call);
                self.agenda.put(
                    arrival,
                    Event::Deliver {
                        from,
                        to: from,
                        message,
                    },
                );
            }
            (None, _) => {}
        }
        Ok(())
    }

    /// Where a name leads now.
    fn resolved(&mut self, host: Host) -> Host {
        if host != Host::BOOTSTRAP {
            return host;
        }
        let open: Vec<Host> = self.listening.keys().copied().filter(|host| host.is_pod()).collect();
        let at = self.random.below(open.len().max(1));
        open.get(at).copied().unwrap_or(Host::pod(0))
    }

    /// A connection loses nothing but its end: where something on a metadata stream does not arrive, both ends find out by
    /// their kernels' timeouts, whether anything follows it or not.
    fn break_stream(&mut self, one: ProcessId, other: ProcessId, call: CallId) {
        for (from, to) in [(one, other), (other, one)] {
            let message = Message::StreamEnded(call);
            self.agenda
                .put(self.now + STREAM_TIMEOUT, Event::Deliver { from, to, message });
        }
    }

    /// The machine of a process that is gone refuses a connection, if the machine itself lives.
    fn post_refusal(&mut self, caller: ProcessId, gone: ProcessId, call: CallId) {
        if self.pods.machine_lives(gone) && self.slots.contains_key(&caller) {
            let message = Message::Refused(call);
            self.agenda.put(
                self.now + Duration::from_millis(1),
                Event::Deliver {
                    from: gone,
                    to: caller,
                    message,
                },
            );
        }
    }

    fn at_kubernetes(&mut self, from: ProcessId, call: CallId, request: message::ApiRequest) -> Result<(), Violation> {
        self.trace
            .note(self.now, format_args!("{}>api {}", from.0, ShortApi(&request)));
        let before = self.kubernetes.checker.image().offset();
        let (response, renewed) = self.kubernetes.execute(from, request, &mut self.random)?;
        if self.kubernetes.checker.image().offset() != before {
            self.audit.committed(self.kubernetes.checker.image());
        }
        let Some(host) = self.slots.get(&from).map(|slot| slot.host) else {
            return Ok(());
        };
        let message = Message::Response(call, Response::Api(response));
        let lost = self.faults.loses_answers && self.random.chance(50);
        if !lost && let Some(at) = self.network.send(&mut self.random, self.now, Host::KUBERNETES, host) {
            self.agenda.put(
                at,
                Event::Deliver {
                    from,
                    to: from,
                    message,
                },
            );
        }
        if let Some((broker, incarnation)) = renewed {
            self.tell_operators(from, &Message::LeaseSeen(broker, incarnation));
        }
        Ok(())
    }

    /// What Kubernetes says to all operators, by their watches.
    fn tell_operators(&mut self, from: ProcessId, message: &Message) {
        for number in 0..OPERATORS {
            let host = Host::operator(number);
            let Some(to) = self.listening.get(&host).copied() else {
                continue;
            };
            if let Some(at) = self.network.send(&mut self.random, self.now, Host::KUBERNETES, host) {
                let message = message.clone();
                self.agenda.put(at, Event::Deliver { from, to, message });
            }
        }
    }

    fn add(&mut self, host: Host, process: ProcessId, what: Process) {
        self.slots.insert(
            process,
            Slot {
                host,
                what,
                paused: false,
                inbox: VecDeque::new(),
            },
        );
        self.listening.insert(host, process);
        let phase = Duration::from_micros(self.random.draw() % 50_000);
        self.agenda.put(self.now + phase, Event::Tick(process));
    }

    fn next_process(&mut self) -> ProcessId {
        self.processes += 1;
        ProcessId(self.processes)
    }

    fn start_operator(&mut self, number: usize) {
        let process = self.next_process();
        let mut settings = Settings::new("", self.random.bytes());
        settings.witnesses = Witnesses::HeartbeatsAndLeases;
        settings.fence_after = self.plan.fence_after;
        settings.expected_brokers = self.plan.brokers;
        settings.placement_patience = Duration::from_secs(3);
        let operator = Operator::new(process, settings, self.plan.bugs);
        self.add(Host::operator(number), process, Process::Operator(Box::new(operator)));
        self.trace
            .note(self.now, format_args!("operator {number} starts as {}", process.0));
    }

    fn start_clients(&mut self) {
        let mut client = 0;
        let mut next_host = || {
            client += 1;
            Host::client(client)
        };
        for (number, guarantee) in self.plan.producers.clone().into_iter().enumerate() {
            let settings = ProducerSettings {
                number: 1 + number as u32,
                guarantee,
                pace: self.plan.pace,
                max_in_flight: if guarantee == Guarantee::Idempotent {
                    1 + number % 5
                } else {
                    1
                },
            };
            let (process, random) = (self.next_process(), Random::new(self.random.draw()));
            let producer = Producer::new(settings, random, Directory::new());
            self.add(next_host(), process, Process::Producer(producer));
        }
        for number in 0..self.plan.consumers {
            let (process, random) = (self.next_process(), Random::new(self.random.draw()));
            let consumer = Consumer::new(number as u32, random, Directory::new());
            self.add(next_host(), process, Process::Consumer(consumer));
        }
        let process = self.next_process();
        let operators = (0..OPERATORS).map(Host::operator).collect();
        let mut administrator = Administrator::new(operators);
        for topic in &self.plan.topics {
            administrator.wish(plan::create(topic), Duration::MAX);
        }
        self.administrator = process;
        self.add(next_host(), process, Process::Administrator(administrator));
    }

    fn brokers(&self) -> impl Iterator<Item = (ProcessId, &Broker)> {
        self.slots.iter().filter_map(|(process, slot)| match &slot.what {
            Process::Broker(broker) => Some((*process, &**broker)),
            _ => None,
        })
    }

    fn administrator(&mut self) -> Option<&mut Administrator> {
        match &mut self.slots.get_mut(&self.administrator)?.what {
            Process::Administrator(administrator) => Some(administrator),
            _ => None,
        }
    }

    fn conclude(mut self) -> Run {
        let counts = self.pods.counts(self.brokers().map(|(_, broker)| broker.counts));
        self.faults.counts.dropped_messages = self.network.dropped;
        self.faults.counts.blocked_messages = self.network.blocked;
        self.faults.counts.reordered_messages = self.network.reordered;
        self.faults.counts.delayed_messages = self.network.delayed;
        self.faults.counts.stale_reads = self.kubernetes.stale_reads;
        self.faults.counts.conflicts = self.kubernetes.conflicts;
        let (_, extent) = check::check(&self.history, self.audit.excused());
        Run {
            trace_hash: self.trace.hash(),
            events: self.trace.events(),
            faults: self.faults.counts,
            extent,
            leaderships: counts.became_leader,
            truncations: counts.truncations,
            isr_changes: self.audit.isr_changes,
            moves: self.audit.moves,
            takeovers: self.takeovers,
            excused: self.audit.excused().len() as u64,
            waiting_for_rule_17: self.waiting_for_rule_17(),
        }
    }
}

/// A message in a word, for the trace.
struct Short<'a>(&'a Message);

impl std::fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Message::Request(call, request) => match request {
                Request::ReplicaFetch(fetch) => {
                    write!(f, "{call} ReplicaFetch {}", fetch.replica)?;
                    for place in &fetch.places {
                        write!(f, " {}@{}e{}", place.place, place.offset, place.leader_epoch)?;
                    }
                    Ok(())
                }
                Request::Produce(produce) => {
                    let header = protocol::batch::BatchHeader::parse(&produce.batch);
                    let sequence = header.map_or(-1, |header| header.base_sequence);
                    write!(f, "{call} Produce {} from sequence {sequence}", produce.place)
                }
                Request::Fetch(fetch) => write!(f, "{call} Fetch {}@{}", fetch.place, fetch.offset),
                Request::Heartbeat(beat) => write!(f, "{call} Heartbeat {}@{}", beat.session.broker, beat.applied),
                Request::Register(registration, _) => write!(f, "{call} Register {}", registration.broker),
                Request::AlterPartition(session, proposals) => {
                    write!(f, "{call} AlterPartition {} {proposals:?}", session.broker)
                }
                Request::ReportReplicas(session, reports) => {
                    write!(f, "{call} ReportReplicas {} {reports:?}", session.broker)
                }
                Request::Watch(broker, ..) => write!(f, "{call} Watch {broker}"),
                Request::Admin(_) => write!(f, "{call} Admin"),
                Request::Probe => write!(f, "{call} Probe"),
                Request::Metadata => write!(f, "{call} Metadata"),
                Request::Api(_) => write!(f, "{call} Api"),
            },
            Message::Response(call, response) => match response {
                Response::Controller(reply) => write!(f, "{call} = {reply:?}"),
                Response::Produced(outcome) => write!(f, "{call} = Produced {outcome:?}"),
                Response::Fetched(Ok(fetched)) => write!(
                    f,
                    "{call} = Fetched {} hw {}",
                    fetched.records.len(),
                    fetched.high_watermark
                ),
                Response::Fetched(Err(failure)) => write!(f, "{call} = Fetched {:?}", failure.code),
                Response::ReplicaFetched(places) => {
                    write!(f, "{call} = ReplicaFetched")?;
                    for place in places {
                        match &place.outcome {
                            Ok(records) => write!(
                                f,
                                " {}:{}b hw{} {:?}",
                                place.place,
                                records.records.len(),
                                records.high_watermark,
                                records.diverging
                            )?,
                            Err((code, _)) => write!(f, " {}:{code:?}", place.place)?,
                        }
                    }
                    Ok(())
                }
                Response::Api(_) => write!(f, "{call} = Api"),
                Response::Opening(opening) => write!(f, "{call} = Opening {}", opening.metadata_offset),
                Response::Regressed => write!(f, "{call} = Regressed"),
                Response::NotController => write!(f, "{call} = NotController"),
                Response::Alive => write!(f, "{call} = Alive"),
                Response::Metadata(..) => write!(f, "{call} = Metadata"),
            },
            Message::Refused(call) => write!(f, "{call} refused"),
            Message::Frames(call, number, frames) => write!(f, "{call} Frames {number} {}", frames.len()),
            Message::StreamEnded(call) => write!(f, "{call} StreamEnded"),
            Message::LeaseSeen(broker, _) => write!(f, "LeaseSeen {broker}"),
            Message::Terminated(broker, _) => write!(f, "Terminated {broker}"),
        }
    }
}

struct ShortApi<'a>(&'a message::ApiRequest);

impl std::fmt::Display for ShortApi<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            message::ApiRequest::Append { document, .. } => {
                write!(f, "append {} up to {}", document.append_id, document.end_offset)
            }
            message::ApiRequest::ReadLog { .. } => f.write_str("read"),
            message::ApiRequest::WriteSnapshot { name, .. } => write!(f, "snapshot {name}"),
            message::ApiRequest::DeleteSnapshots { name } => write!(f, "delete below {name}"),
            message::ApiRequest::ReadLease => f.write_str("read lease"),
            message::ApiRequest::TakeLease { expected } => write!(f, "take lease {expected}"),
            message::ApiRequest::ReleaseLease => f.write_str("release lease"),
            message::ApiRequest::RenewBrokerLease { broker, .. } => write!(f, "broker lease {broker}"),
        }
    }
}
