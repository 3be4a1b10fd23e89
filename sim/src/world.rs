//! Controllers that take over, pause, wake and crash around one store, and clients that ask them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use controller::append::Sabotage;
use controller::{
    AppendId, Controller, DesiredTopic, Effect, Heartbeat, Input, LogDocument, ReadId, Registration, SessionId,
    Settings, SnapshotName, StoreVersion,
};
use model::{BrokerId, DirectoryId, Endpoint, FeatureRange, IncarnationId, MetadataOffset, TopicName};
use uuid::Uuid;

use crate::checker::{Asked, Checker, Violation};
use crate::random::Random;
use crate::store::{Rules, Store, Written};

const MAX_CONTROLLERS: usize = 3;
const BROKERS: i32 = 3;

/// What one run did, when nothing was violated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    /// Records committed.
    pub records: i64,
    /// Topics confirmed to their clients.
    pub confirmed: usize,
    /// Controllers that acted.
    pub takeovers: i64,
    /// Writes whose answer was lost or came before they landed.
    pub in_doubt: usize,
    /// Snapshots cut.
    pub snapshots: usize,
}

/// One bad day.
#[derive(Debug)]
pub struct World {
    random: Random,
    now: Duration,
    store: Store,
    checker: Checker,
    nodes: Vec<Node>,
    travelling: Vec<Travelling>,
    requests: u64,
    sabotage: Sabotage,
    run: Run,
}

#[derive(Debug)]
struct Node {
    number: u64,
    controller: Controller,
    paused: bool,
    stopped: bool,
    mailbox: VecDeque<Input>,
}

/// Something on its way to the store.
#[derive(Debug)]
struct Travelling {
    node: u64,
    what: Errand,
}

#[derive(Debug)]
enum Errand {
    Append {
        id: AppendId,
        expected: Option<StoreVersion>,
        document: LogDocument,
        given_up: bool,
    },
    Read {
        id: ReadId,
        with_snapshot: bool,
    },
    WriteSnapshot {
        name: SnapshotName,
        chunks: Vec<String>,
    },
    DeleteSnapshots {
        name: SnapshotName,
    },
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64, rules: Rules, sabotage: Sabotage) -> Self {
        Self {
            random: Random::new(seed),
            now: Duration::ZERO,
            store: Store::new(rules),
            checker: Checker::default(),
            nodes: Vec::new(),
            travelling: Vec::new(),
            requests: 0,
            sabotage,
            run: Run::default(),
        }
    }

    /// Lets `steps` things happen, then a calm in which everything must come right again.
    pub fn run(mut self, steps: usize) -> Result<Run, Violation> {
        self.start_controller()?;
        for _ in 0..steps {
            self.step()?;
        }
        self.calm()
    }

    fn step(&mut self) -> Result<(), Violation> {
        match self.random.below(1000) {
            0..=299 => self.errand(),
            300..=699 => self.deliver(),
            700..=779 => {
                self.now += Duration::from_millis(self.random.draw() % 400);
                self.post_all(&Input::Tick);
                Ok(())
            }
            780..=959 => {
                self.ask();
                Ok(())
            }
            960..=964 => {
                self.store.touch();
                Ok(())
            }
            965..=979 => {
                if let Some(at) = self.pick_node() {
                    self.nodes[at].paused = !self.nodes[at].paused;
                }
                Ok(())
            }
            980..=987 if self.nodes.len() < MAX_CONTROLLERS => self.start_controller(),
            988..=991 => {
                // A crash: what it has sent still travels.
                if let Some(at) = self.pick_node() {
                    self.nodes.remove(at);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// One errand reaches the store, or gets lost, or its sender gives up waiting for it.
    fn errand(&mut self) -> Result<(), Violation> {
        if self.travelling.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.travelling.len());
        let fate = self.random.below(100);
        let node = self.travelling[at].node;
        if let Errand::Append { id, given_up, .. } = &mut self.travelling[at].what
            && fate < 25
        {
            // The answer is given up, while the write may still land.
            let (id, first) = (*id, !*given_up);
            *given_up = true;
            if first {
                self.run.in_doubt += 1;
                self.post(node, Input::AppendUnknown { id });
            }
            if fate < 8 {
                self.travelling.swap_remove(at);
            }
            return Ok(());
        }
        let Travelling { node, what } = self.travelling.swap_remove(at);
        self.execute(node, what, fate)
    }

    fn execute(&mut self, node: u64, errand: Errand, fate: usize) -> Result<(), Violation> {
        let answer = match errand {
            Errand::Append {
                id,
                expected,
                document,
                given_up,
            } => {
                let written = self.store.replace(expected.as_ref(), &document, &mut self.checker)?;
                if given_up && fate < 80 {
                    return Ok(());
                }
                match written {
                    Written::Version(version) => Input::Appended { id, version },
                    Written::Conflict => Input::AppendConflict { id },
                }
            }
            Errand::Read { id, .. } if fate >= 90 => Input::ReadFailed {
                id,
                error: "no answer".to_owned(),
            },
            Errand::Read { id, with_snapshot } => Input::ReadDone {
                id,
                log: self.store.read(with_snapshot),
            },
            Errand::WriteSnapshot { name, .. } if fate >= 90 => Input::SnapshotFailed {
                name,
                error: "no answer".to_owned(),
            },
            Errand::WriteSnapshot { name, chunks } => {
                self.store.write_snapshot(name, chunks);
                Input::SnapshotWritten { name }
            }
            Errand::DeleteSnapshots { name } => {
                self.run.snapshots += 1;
                return self.store.delete_snapshots_below(name);
            }
        };
        self.post(node, answer);
        Ok(())
    }

    /// A controller takes one input from its mailbox.
    fn deliver(&mut self) -> Result<(), Violation> {
        let awake = |node: &Node| !node.paused && !node.mailbox.is_empty();
        let awake: Vec<_> = (0..self.nodes.len()).filter(|at| awake(&self.nodes[*at])).collect();
        if awake.is_empty() {
            return Ok(());
        }
        let at = awake[self.random.below(awake.len())];
        self.feed(at)
    }

    fn feed(&mut self, at: usize) -> Result<(), Violation> {
        let node = &mut self.nodes[at];
        let Some(input) = node.mailbox.pop_front() else {
            return Ok(());
        };
        let number = node.number;
        for effect in node.controller.step(self.now, input) {
            let what = match effect {
                Effect::Append { id, expected, document } => Errand::Append {
                    id,
                    expected,
                    document,
                    given_up: false,
                },
                Effect::Read { id, with_snapshot } => Errand::Read { id, with_snapshot },
                Effect::WriteSnapshot { name, chunks } => Errand::WriteSnapshot { name, chunks },
                Effect::DeleteSnapshotsBelow { name } => Errand::DeleteSnapshots { name },
                Effect::Elected { image } => {
                    self.run.takeovers += 1;
                    self.checker.published(&[], &image)?;
                    continue;
                }
                Effect::Publish { frames, image } => {
                    self.checker.published(&frames, &image)?;
                    continue;
                }
                Effect::Reply { request, reply } => {
                    self.checker.replied(request, &reply)?;
                    continue;
                }
                Effect::StepDown(_) => {
                    self.nodes[at].stopped = true;
                    continue;
                }
                Effect::Probe { .. } | Effect::Suspect { .. } | Effect::WakeAt(_) => continue,
            };
            self.travelling.push(Travelling { node: number, what });
        }
        Ok(())
    }

    fn start_controller(&mut self) -> Result<(), Violation> {
        self.nodes.retain(|node| !node.stopped);
        self.requests += 1;
        let mut settings = Settings::new(format!("controller {}", self.requests), self.random.bytes());
        settings.expected_brokers = 0;
        settings.placement_patience = Duration::ZERO;
        let controller = Controller::new(settings).sabotaged(self.sabotage);
        let mailbox = VecDeque::from([Input::Start]);
        self.nodes.push(Node {
            number: self.requests,
            controller,
            paused: false,
            stopped: false,
            mailbox,
        });
        self.feed(self.nodes.len() - 1)
    }

    /// A client or broker asks some controller for something.
    fn ask(&mut self) {
        let Some(at) = self.pick_node() else { return };
        self.requests += 1;
        let request = self.requests;
        let broker = BrokerId(self.random.below(BROKERS as usize) as i32);
        let image = self.nodes[at].controller.image();
        let session = image.broker(broker).map(|known| SessionId {
            broker,
            epoch: known.epoch,
        });
        let (asked, input) = match (self.random.below(10), session) {
            (0, Some(session)) => (Asked::ProducerIds, Input::AllocateProducerIds { request, session }),
            (1 | 2, Some(session)) => {
                let applied = MetadataOffset(i64::MAX);
                let heartbeat = Heartbeat {
                    session,
                    applied,
                    want_shutdown: false,
                    ready: true,
                };
                (Asked::Other, Input::Heartbeat { request, heartbeat })
            }
            (3, Some(_)) => match image.topics().keys().next() {
                Some(id) => (Asked::Other, Input::TopicDeleted { request, id: *id }),
                None => return,
            },
            (4, _) | (0..=3, None) => (
                Asked::Other,
                Input::Register {
                    request,
                    registration: registration(broker, request),
                },
            ),
            _ => {
                let Ok(name) = TopicName::new(&format!("topic-{request}")) else {
                    return;
                };
                let partitions = if self.random.chance(20) { 4000 } else { 3 };
                let topic = DesiredTopic {
                    name: name.clone(),
                    partitions: Some(partitions),
                    replication_factor: None,
                    assignment: None,
                    config: BTreeMap::new(),
                    patience: None,
                };
                (Asked::Topic(name), Input::TopicDesired { request, topic })
            }
        };
        self.checker.asks(request, asked);
        self.nodes[at].mailbox.push_back(input);
    }

    /// No more faults: what travels arrives, a new controller takes over, and finds exactly what was committed.
    fn calm(mut self) -> Result<Run, Violation> {
        self.nodes.retain(|node| !node.stopped);
        for node in &mut self.nodes {
            node.paused = false;
        }
        self.settle()?;
        self.nodes.clear();
        self.start_controller()?;
        self.settle()?;
        let controller = &self.nodes[0].controller;
        if !controller.is_acting() {
            return Err(Violation(
                "a controller alone in a calm world does not come to act".to_owned(),
            ));
        }
        if controller.image() != self.checker.image() {
            return Err(Violation(
                "snapshot and tail fold to another image than all records".to_owned(),
            ));
        }
        self.run.records = controller.image().offset().0 + 1;
        self.run.confirmed = self.checker.confirmed();
        Ok(self.run)
    }

    fn settle(&mut self) -> Result<(), Violation> {
        for _ in 0..60 {
            while !self.travelling.is_empty() {
                let Travelling { node, what } = self.travelling.swap_remove(0);
                self.execute(node, what, 85)?;
            }
            for at in 0..self.nodes.len() {
                while !self.nodes[at].mailbox.is_empty() {
                    self.feed(at)?;
                }
            }
            self.now += Duration::from_millis(100);
            self.post_all(&Input::Tick);
        }
        Ok(())
    }

    fn pick_node(&mut self) -> Option<usize> {
        if self.nodes.is_empty() {
            None
        } else {
            Some(self.random.below(self.nodes.len()))
        }
    }

    fn post(&mut self, number: u64, input: Input) {
        if let Some(node) = self.nodes.iter_mut().find(|node| node.number == number) {
            node.mailbox.push_back(input);
        }
    }

    fn post_all(&mut self, input: &Input) {
        for node in &mut self.nodes {
            node.mailbox.push_back(input.clone());
        }
    }
}

fn registration(broker: BrokerId, number: u64) -> Registration {
    Registration {
        broker,
        incarnation: IncarnationId(Uuid::from_u128(u128::from(number))),
        directory_id: DirectoryId(Uuid::from_u128(u128::from(broker.0 as u32))),
        boot_id: Some("boot".to_owned()),
        clean_shutdown_epoch: None,
        pod_uid: None,
        endpoints: vec![Endpoint {
            listener: "PLAIN".to_owned(),
            host: "localhost".to_owned(),
            port: 9092,
        }],
        rack: None,
        features: BTreeMap::from([(
            model::level::BARNABAS_VERSION.to_owned(),
            FeatureRange { min: 2, max: 2 },
        )]),
        cluster_id: None,
    }
}
