//! How operators and clients start.

use std::collections::VecDeque;
use std::time::Duration;

use controller::{Settings, Witnesses};

use super::administrator::Administrator;
use super::consumer::Consumer;
use super::directory::Directory;
use super::message::ProcessId;
use super::network::Host;
use super::operator::Operator;
use super::producer::{Producer, ProducerSettings};
use super::{Cluster, Event, OPERATORS, Process, Slot, plan};
use crate::history::Guarantee;
use crate::random::Random;

impl Cluster {
    pub(super) fn add(&mut self, host: Host, process: ProcessId, what: Process) {
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

    pub(super) fn next_process(&mut self) -> ProcessId {
        self.processes += 1;
        ProcessId(self.processes)
    }

    pub(super) fn start_operator(&mut self, number: usize) {
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

    pub(super) fn start_clients(&mut self) {
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
}
