//! Whole clusters on a bad day: operators, brokers, their disks, the API server, the network and clients in one loop.
//!
//! Everything that decides is the code of production: `controller`, `model`, `broker-replication`, `broker-log`. What is
//! simulated is what they stand on, and the few lines that carry a message from one to the other. A run is a function of
//! its seed and its [`Plan`]; the same seed gives the same trace.
//!
//! - [`agenda`], [`network`], [`kubernetes`], [`trace`]: the world. [`start`], [`run`]: how it begins, and what comes of it.
//! - [`operator`], [`broker`]: processes of the cluster. [`message`], [`outbox`], [`post`]: how they speak. [`short`]: in a word.
//! - [`producer`], [`consumer`], [`administrator`]: clients; [`directory`]: what they know.
//! - [`faults`]: what happens to all of them; [`scenarios`]: in what chance brings about too rarely; [`step`], [`stage`]: what comes next in either. [`pods`]: who runs where, on which disk.
//! - [`audit`]: what must hold at every step, seen from above.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::checker::Violation;
use crate::history::{History, check};
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
mod post;
mod producer;
mod run;
mod scenarios;
mod short;
mod stage;
mod start;
mod step;
mod trace;

pub use faults::{FaultCounts, FaultKind};
pub use plan::{Bugs, Plan};
pub use run::{Failure, Run};

use administrator::Administrator;
use agenda::Agenda;
use audit::Audit;
use broker::Broker;
use consumer::Consumer;
use faults::Faults;
use kubernetes::Kubernetes;
use message::{CallId, Message, ProcessId};
use network::{Host, Network};
use operator::Operator;
use outbox::{Note, Outbox};
use pods::Pods;
use producer::Producer;
use short::Short;
use trace::Trace;

const TICK: Duration = Duration::from_millis(50);
const OPERATORS: usize = 2;

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
    Fault(step::Step),
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

    /// What a process did besides, as the trace and the checker of the metadata log are told.
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
