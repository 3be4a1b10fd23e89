//! A controller with a store that answers at once, or only when told to: what this crate's tests are built from.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{
    BrokerId, DirectoryId, Endpoint, FeatureRange, Frame, IncarnationId, MetadataImage, MetadataOffset, PartitionIndex,
    TopicName,
};
use protocol::{Message, Request};
use uuid::Uuid;

use crate::*;

/// The controller and all that it ever wanted.
pub(crate) struct Bench {
    pub(crate) controller: Controller,
    pub(crate) now: Duration,
    pub(crate) store: Option<(LogDocument, u64)>,
    pub(crate) snapshots: BTreeMap<SnapshotName, Vec<String>>,
    /// Store effects are kept here instead of being carried out, while `hold` is set.
    pub(crate) held: Vec<Effect>,
    pub(crate) hold: bool,
    pub(crate) snapshots_fail: bool,
    pub(crate) replies: BTreeMap<RequestId, Reply>,
    pub(crate) published: Vec<Frame>,
    pub(crate) probes: Vec<BrokerId>,
    pub(crate) wake: Option<Duration>,
    pub(crate) stepped_down: Option<StepDown>,
    pub(crate) appends: usize,
    pub(crate) order: Vec<&'static str>,
    next_request: RequestId,
}

impl Bench {
    /// A controller that has not started, on an empty store.
    pub(crate) fn idle() -> Self {
        Self::with(settings(1))
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self {
            controller: Controller::new(settings),
            now: Duration::from_secs(1000),
            store: None,
            snapshots: BTreeMap::new(),
            held: Vec::new(),
            hold: false,
            snapshots_fail: false,
            replies: BTreeMap::new(),
            published: Vec::new(),
            probes: Vec::new(),
            wake: None,
            stepped_down: None,
            appends: 0,
            order: Vec::new(),
            next_request: 0,
        }
    }

    /// A controller that acts, with so many unfenced brokers.
    pub(crate) fn cluster(brokers: i32) -> Self {
        let mut bench = Self::idle();
        bench.give(Input::Start);
        for id in 0..brokers {
            bench.join(id);
        }
        bench
    }

    /// Another controller on the same store.
    pub(crate) fn successor(&self, seed: u8) -> Self {
        let mut bench = Self::with(settings(seed));
        bench.store.clone_from(&self.store);
        bench.snapshots.clone_from(&self.snapshots);
        bench.now = self.now;
        bench
    }

    pub(crate) fn give(&mut self, input: Input) {
        let mut effects = self.controller.step(self.now, input);
        while !effects.is_empty() {
            let mut answers = Vec::new();
            for effect in effects {
                answers.extend(self.carry_out(effect));
            }
            effects = answers
                .into_iter()
                .flat_map(|answer| self.controller.step(self.now, answer))
                .collect();
        }
    }

    /// Carries out what was held, and everything from now on.
    pub(crate) fn release(&mut self) {
        self.hold = false;
        for effect in std::mem::take(&mut self.held) {
            if let Some(answer) = self.carry_out(effect) {
                self.give(answer);
            }
        }
    }

    /// The one append that is held.
    pub(crate) fn held_append(&mut self) -> (AppendId, Option<StoreVersion>, LogDocument) {
        let at = self
            .held
            .iter()
            .position(|effect| matches!(effect, Effect::Append { .. }));
        match self.held.remove(at.expect("an append is held")) {
            Effect::Append { id, expected, document } => (id, expected, document),
            _ => unreachable!("found above"),
        }
    }

    /// The store takes a write that it was told of earlier, and says nothing.
    pub(crate) fn land(&mut self, expected: Option<&StoreVersion>, document: &LogDocument) -> bool {
        let current = self
            .store
            .as_ref()
            .map(|(_, version)| StoreVersion(version.to_string()));
        let fits = current.as_ref() == expected;
        if fits {
            let version = self.store.as_ref().map_or(0, |(_, version)| *version) + 1;
            self.store = Some((document.clone(), version));
        }
        fits
    }

    /// Time passes, and the controller is woken every second as it wishes.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.pause(end.saturating_sub(self.now).min(Duration::from_secs(1)));
        }
    }

    /// Time passes, and the controller does not run.
    pub(crate) fn pause(&mut self, time: Duration) {
        self.now += time;
        self.give(Input::Tick);
    }

    pub(crate) fn request(&mut self) -> RequestId {
        self.next_request += 1;
        self.next_request
    }

    /// Asks, and gives the reply, which must have come.
    pub(crate) fn ask(&mut self, make: impl FnOnce(RequestId) -> Input) -> Reply {
        let request = self.request();
        self.give(make(request));
        // After many appends the next one waits for its turn.
        for _ in 0..4 {
            if self.hold || self.replies.contains_key(&request) {
                break;
            }
            self.pause(Duration::from_millis(50));
        }
        self.replies.get(&request).cloned().expect("a reply")
    }

    pub(crate) fn register(&mut self, registration: Registration) -> Reply {
        self.ask(|request| Input::Register { request, registration })
    }

    pub(crate) fn heartbeat(&mut self, id: i32) -> HeartbeatReply {
        let heartbeat = Heartbeat {
            session: self.session(id),
            applied: self.image().offset(),
            want_shutdown: false,
            ready: true,
        };
        match self.ask(|request| Input::Heartbeat { request, heartbeat }) {
            Reply::Heartbeat(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn join(&mut self, id: i32) {
        assert!(matches!(self.register(registration(id, 1)), Reply::Registered(_)));
        self.heartbeat(id);
        assert!(!self.heartbeat(id).fenced);
    }

    pub(crate) fn session(&self, id: i32) -> SessionId {
        let broker = BrokerId(id);
        SessionId {
            broker,
            epoch: self.image().broker(broker).expect("registered").epoch,
        }
    }

    pub(crate) fn topic(&mut self, name: &str, partitions: i32) -> Reply {
        let topic = desired(name, partitions);
        self.ask(|request| Input::TopicDesired { request, topic })
    }

    /// Sends a Kafka request and decodes the response.
    pub(crate) fn admin<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let mut body = Vec::new();
        request.encode(&mut body, version).expect("an encodable request");
        let admin = AdminRequest {
            principal: "User:ANONYMOUS".to_owned(),
            listener: "PLAIN".to_owned(),
            api_key: R::KEY as i16,
            api_version: version,
            body,
        };
        match self.ask(|request| Input::Admin { request, admin }) {
            Reply::Admin(body) => R::Response::decode(&mut protocol::Reader::new(&body), version).expect("a response"),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn image(&self) -> &MetadataImage {
        self.controller.image()
    }

    pub(crate) fn leaders(&self, topic: &str) -> Vec<Option<i32>> {
        let topic = self.image().topic_by_name(topic).expect("the topic");
        topic
            .partitions
            .iter()
            .map(|partition| partition.leader.map(|id| id.0))
            .collect()
    }

    pub(crate) fn leader(&self, topic: &str) -> Option<i32> {
        let topic = self.image().topic_by_name(topic).expect("the topic");
        topic
            .partition(PartitionIndex(0))
            .expect("a partition")
            .leader
            .map(|id| id.0)
    }

    pub(crate) fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        let store = matches!(
            effect,
            Effect::Append { .. }
                | Effect::Read { .. }
                | Effect::WriteSnapshot { .. }
                | Effect::DeleteSnapshotsBelow { .. }
        );
        self.order.push(name(&effect));
        self.appends += usize::from(matches!(effect, Effect::Append { .. }));
        if store && self.hold {
            self.held.push(effect);
            return None;
        }
        match effect {
            Effect::Append { id, expected, document } => {
                if self.land(expected.as_ref(), &document) {
                    let version = self.store.as_ref().map_or(0, |(_, version)| *version);
                    return Some(Input::Appended {
                        id,
                        version: StoreVersion(version.to_string()),
                    });
                }
                return Some(Input::AppendConflict { id });
            }
            Effect::Read { id, with_snapshot } => {
                return Some(Input::ReadDone {
                    id,
                    log: self.read(with_snapshot),
                });
            }
            Effect::WriteSnapshot { name, .. } if self.snapshots_fail => {
                return Some(Input::SnapshotFailed {
                    name,
                    error: "no room".to_owned(),
                });
            }
            Effect::WriteSnapshot { name, chunks } => {
                self.snapshots.insert(name, chunks);
                return Some(Input::SnapshotWritten { name });
            }
            Effect::DeleteSnapshotsBelow { name } => self.snapshots.retain(|other, _| other.offset >= name.offset),
            Effect::Publish { frames, .. } => self.published.extend(frames),
            Effect::Reply { request, reply } => {
                assert!(self.replies.insert(request, reply).is_none(), "one reply to a request");
            }
            Effect::Probe { broker } => self.probes.push(broker),
            Effect::WakeAt(at) => self.wake = Some(at),
            Effect::StepDown(reason) => self.stepped_down = Some(reason),
            Effect::Elected { .. } | Effect::Suspect { .. } => {}
        }
        None
    }

    pub(crate) fn read(&self, with_snapshot: bool) -> Option<StoredLog> {
        let (document, version) = self.store.clone()?;
        let reference = document.snapshot.as_ref().filter(|_| with_snapshot);
        let chunks = reference
            .and_then(|reference| self.snapshots.get(&reference.name))
            .cloned()
            .unwrap_or_default();
        Some(StoredLog {
            document,
            version: StoreVersion(version.to_string()),
            chunks,
        })
    }
}

fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::Read { .. } => "read",
        Effect::Append { .. } => "append",
        Effect::WriteSnapshot { .. } => "write snapshot",
        Effect::DeleteSnapshotsBelow { .. } => "delete snapshots",
        Effect::Elected { .. } => "elected",
        Effect::Publish { .. } => "publish",
        Effect::Reply { .. } => "reply",
        Effect::Probe { .. } => "probe",
        Effect::Suspect { .. } => "suspect",
        Effect::WakeAt(_) => "wake",
        Effect::StepDown(_) => "step down",
    }
}

pub(crate) fn settings(seed: u8) -> Settings {
    Settings::new("controller", [seed; 32])
}

pub(crate) fn registration(id: i32, incarnation: u128) -> Registration {
    Registration {
        broker: BrokerId(id),
        incarnation: IncarnationId(Uuid::from_u128(incarnation)),
        directory_id: DirectoryId(Uuid::from_u128(id as u128)),
        boot_id: None,
        clean_shutdown_epoch: None,
        pod_uid: None,
        endpoints: vec![Endpoint {
            listener: "PLAIN".to_owned(),
            host: format!("broker-{id}"),
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

pub(crate) fn desired(name: &str, partitions: i32) -> DesiredTopic {
    DesiredTopic {
        name: TopicName::new(name).expect("a legal name"),
        partitions: Some(partitions),
        replication_factor: None,
        assignment: None,
        config: BTreeMap::new(),
        patience: None,
    }
}

pub(crate) fn applied_everything() -> MetadataOffset {
    MetadataOffset(i64::MAX)
}
