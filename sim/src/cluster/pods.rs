//! Who runs where and on which disk: pods, nodes, volumes.

use std::time::Duration;

use broker_log::dir::sim::SimDir;
use model::{BrokerId, DirectoryId, IncarnationId};
use uuid::Uuid;

use super::broker::{Broker, BrokerStart, Counts};
use super::message::{Message, ProcessId};
use super::network::Host;
use super::step::Step;
use super::{Cluster, Event, Process};
use crate::checker::Violation;

/// A pod: an address, a volume, and at most one process at a time.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) broker: BrokerId,
    pub(super) volume: usize,
    /// The machine that it runs on.
    node: usize,
    /// Counts pods of this name.
    uid: u32,
    pub(super) process: Option<ProcessId>,
    /// The node has power.
    powered: bool,
    /// Deleted for good.
    pub(super) gone: bool,
}

/// A volume.
#[derive(Debug)]
struct Volume {
    dir: SimDir,
    directory_id: DirectoryId,
}

/// All pods and volumes that ever were.
#[derive(Debug)]
pub(super) struct Pods {
    pub(super) all: Vec<Pod>,
    volumes: Vec<Volume>,
    /// How often each node has booted.
    boots: Vec<u32>,
    /// What processes did that are gone.
    past: Counts,
    dead: std::collections::BTreeMap<ProcessId, usize>,
}

impl Pods {
    pub(super) fn new(brokers: usize) -> Self {
        let mut pods = Self {
            all: Vec::new(),
            volumes: Vec::new(),
            boots: Vec::new(),
            past: Counts::default(),
            dead: std::collections::BTreeMap::new(),
        };
        for number in 0..brokers {
            let volume = pods.new_volume();
            pods.add(BrokerId(number as i32), volume);
        }
        pods
    }

    /// Another pod on a node of its own; returns its number.
    pub(super) fn add(&mut self, broker: BrokerId, volume: usize) -> usize {
        let node = self.new_node();
        self.add_on(node, broker, volume)
    }

    /// Another pod of the same broker beside this one, on its node and its volume; returns its number.
    pub(super) fn add_beside(&mut self, pod: usize) -> usize {
        let Pod {
            broker, volume, node, ..
        } = self.all[pod];
        self.add_on(node, broker, volume)
    }

    fn new_node(&mut self) -> usize {
        self.boots.push(0);
        self.boots.len() - 1
    }

    fn add_on(&mut self, node: usize, broker: BrokerId, volume: usize) -> usize {
        let number = self.all.len();
        self.all.push(Pod {
            broker,
            volume,
            node,
            uid: 0,
            process: None,
            powered: true,
            gone: false,
        });
        number
    }

    /// An empty volume.
    pub(super) fn new_volume(&mut self) -> usize {
        let number = self.volumes.len();
        self.volumes.push(Volume {
            dir: SimDir::new(),
            directory_id: DirectoryId(Uuid::from_u128(0xd15c_0000 + number as u128)),
        });
        number
    }

    pub(super) fn dir(&self, pod: usize) -> &SimDir {
        &self.volumes[self.all[pod].volume].dir
    }

    /// Whether the machine at an address answers that nobody listens there.
    pub(super) fn refuses(&self, host: Host) -> bool {
        match host.0.checked_sub(Host::pod(0).0) {
            Some(number) => match self.all.get(number as usize) {
                Some(pod) => pod.powered && !pod.gone,
                None => false,
            },
            None => true,
        }
    }

    /// Whether the machine that a dead process ran on lives.
    pub(super) fn machine_lives(&self, process: ProcessId) -> bool {
        self.dead.get(&process).is_none_or(|pod| self.all[*pod].powered)
    }

    /// The pod of a process.
    pub(super) fn pod_of(&self, process: ProcessId) -> Option<usize> {
        self.all.iter().position(|pod| pod.process == Some(process))
    }

    /// Pods with a process.
    pub(super) fn running(&self) -> Vec<usize> {
        (0..self.all.len())
            .filter(|number| self.all[*number].process.is_some())
            .collect()
    }

    /// Everything that brokers did, those that are gone and those that live.
    pub(super) fn counts(&self, living: impl Iterator<Item = Counts>) -> Counts {
        living.fold(self.past, Counts::plus)
    }
}

/// What a process's end leaves of its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// The process only: the page cache lives.
    Killed,
    /// The machine lost power.
    PowerLost,
    /// The process ended itself in good order.
    Exited,
}

impl Cluster {
    /// Starts a process in a pod. If somebody holds the directory, it is tried again later.
    pub(super) fn start_pod(&mut self, number: usize) -> Result<(), Violation> {
        let pod = &self.pods.all[number];
        if pod.process.is_some() || pod.gone {
            return Ok(());
        }
        let locked = self
            .pods
            .all
            .iter()
            .any(|other| other.process.is_some() && other.volume == pod.volume);
        if locked {
            self.faults.counts.locked_directories += 1;
            self.later(Duration::from_millis(500), Step::Start(number));
            return Ok(());
        }
        let process = self.next_process();
        let incarnation = IncarnationId(Uuid::from_u128(u128::from(process.0)));
        self.pods.all[number].powered = true;
        let pod = &self.pods.all[number];
        let start = BrokerStart {
            process,
            id: pod.broker,
            host: Host::pod(number),
            incarnation,
            directory_id: if self.plan.bugs.keeps_directory_id {
                DirectoryId(Uuid::from_u128(0xd15c_0000 + u128::from(pod.broker.0.unsigned_abs())))
            } else {
                self.pods.volumes[pod.volume].directory_id
            },
            boot_id: format!("boot-{}-{}", pod.node, self.pods.boots[pod.node]),
            pod_uid: format!("pod-{number}-{}", pod.uid),
            rack: format!("rack-{}", pod.broker.0 % 3),
            operators: (0..super::OPERATORS).map(Host::operator).collect(),
            max_lag: self.plan.max_lag,
            bugs: self.plan.bugs,
        };
        let dir = self.pods.dir(number).clone();
        self.trace.note(
            self.now,
            format_args!("broker {} starts in pod {number} as {}", start.id, process.0),
        );
        match Broker::open(self.now, start, dir.clone()) {
            Ok(broker) => {
                self.pods.all[number].process = Some(process);
                self.audit.started(process, &broker)?;
                self.add(Host::pod(number), process, Process::Broker(Box::new(broker)));
                Ok(())
            }
            Err(_) if dir.is_crashed() => {
                self.faults.counts.crashes_at_start += 1;
                self.lose_power_of(number);
                self.later(Duration::from_millis(700), Step::Start(number));
                Ok(())
            }
            Err(error) => Err(Violation(format!("pod {number} cannot open its directory: {error}"))),
        }
    }

    /// A process ends, from without.
    pub(super) fn kill(&mut self, number: usize, death: Death) {
        let Some(process) = self.pods.all[number].process.take() else {
            return;
        };
        self.trace
            .note(self.now, format_args!("pod {number}, process {}: {death:?}", process.0));
        let seed = self.random.draw();
        let dir = self.pods.dir(number).clone();
        if death == Death::Killed {
            dir.kill(seed);
        }
        let Some(slot) = self.slots.remove(&process) else {
            return;
        };
        self.listening.remove(&slot.host);
        let Process::Broker(broker) = slot.what else { return };
        self.pods.past = self.pods.past.plus(broker.counts);
        self.pods.dead.insert(process, number);
        self.audit.ended(process);
        let (id, incarnation) = (broker.start.id, broker.start.incarnation);
        drop(broker);
        if death == Death::PowerLost {
            self.lose_power_of(number);
            return;
        }
        // Connections break with the process, and soon the kubelet knows, too.
        for operator in 0..super::OPERATORS {
            let host = Host::operator(operator);
            if let Some(to) = self.listening.get(&host).copied() {
                self.end_streams(process, to);
            }
        }
        if self.random.chance(60) {
            let delay = Duration::from_millis(100 + self.random.draw() % 1500);
            self.later(delay, Step::Terminated(id, incarnation));
        }
    }

    /// The node of a pod loses power: what was not synced may be lost, and another boot follows.
    pub(super) fn lose_power_of(&mut self, number: usize) {
        let seed = self.random.draw();
        self.pods.dir(number).crash(seed);
        let pod = &mut self.pods.all[number];
        self.pods.boots[pod.node] += 1;
        pod.powered = false;
        if !self.plan.fsync {
            let broker = pod.broker;
            self.audit.lost_data(broker, self.kubernetes.checker.image());
        }
    }

    /// The pod gets an empty volume on another node.
    pub(super) fn lose_volume_of(&mut self, number: usize) {
        let (volume, node) = (self.pods.new_volume(), self.pods.new_node());
        let pod = &mut self.pods.all[number];
        pod.volume = volume;
        pod.node = node;
        pod.uid += 1;
        let broker = pod.broker;
        self.audit.lost_data(broker, self.kubernetes.checker.image());
    }

    /// The disk lost power in the middle of a step, or the process cannot go on.
    pub(super) fn died_within(&self, process: ProcessId) -> bool {
        match self.slots.get(&process).map(|slot| &slot.what) {
            Some(Process::Broker(broker)) => {
                let crashed = self
                    .pods
                    .pod_of(process)
                    .is_some_and(|pod| self.pods.dir(pod).is_crashed());
                crashed || broker.failure.is_some()
            }
            _ => false,
        }
    }

    pub(super) fn process_failed(&mut self, process: ProcessId) -> Result<(), Violation> {
        let Some(number) = self.pods.pod_of(process) else {
            return Ok(());
        };
        if self.pods.dir(number).is_crashed() {
            self.kill(number, Death::PowerLost);
            self.later(Duration::from_millis(900), Step::Start(number));
            return Ok(());
        }
        let failure = match self.slots.get(&process).map(|slot| &slot.what) {
            Some(Process::Broker(broker)) => broker.failure.clone(),
            _ => None,
        };
        let failure = failure.unwrap_or_default();
        Err(Violation(format!("pod {number} fails on a sound disk: {failure}")))
    }

    /// A process has stopped in good order; its pod starts another one.
    pub(super) fn process_exited(&mut self, process: ProcessId) {
        if let Some(number) = self.pods.pod_of(process) {
            self.kill(number, Death::Exited);
            let delay = Duration::from_millis(200 + self.random.draw() % 1500);
            self.later(delay, Step::Start(number));
        }
    }

    fn end_streams(&mut self, process: ProcessId, operator: ProcessId) {
        let Some(slot) = self.slots.get(&operator) else { return };
        let Process::Operator(running) = &slot.what else { return };
        for call in running.streams_of(process) {
            let message = Message::StreamEnded(call);
            let at = self.now + Duration::from_millis(2);
            self.agenda.put(
                at,
                Event::Deliver {
                    from: process,
                    to: operator,
                    message,
                },
            );
        }
    }

    /// How the kubelet's word reaches the operators.
    pub(super) fn container_terminated(&mut self, broker: BrokerId, incarnation: IncarnationId) {
        self.faults.counts.proofs_of_death += 1;
        self.tell_operators(ProcessId(0), &Message::Terminated(broker, incarnation));
    }
}
