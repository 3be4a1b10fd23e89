//! The task that gives a controller its life.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use control::{Opening, Reason, Refusal, Registration, Suspicion, Watch};
use controller::{
    AppendId, Controller, Effect, Input, LogDocument, ProbeAnswer, ReadId, Reply, RequestId, Settings, SnapshotName,
    StepDown, StoreVersion,
};
use model::{BrokerId, BrokerRegistration, Frame, Lineage, MetadataImage};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::handle::{ControllerHandle, TopicGateway};
use crate::history::History;
use crate::message::{Message, MetadataWatch, News};
use crate::metrics::{HostMetrics, count};
use crate::refusal;
use crate::state::{Ending, HostState};
use crate::store::{AppendFailure, MetadataStore};

/// Messages that wait for the controller at most; senders wait when it is full.
const INBOX: usize = 1024;

/// Requests that wait for the takeover at most; more are told to come again.
const PARKED: usize = 1024;

/// Commits that a watcher may be behind before it is dropped. It comes back and gets a snapshot.
const WATCHER_BACKLOG: usize = 256;

/// How long a store may take for an append before its answer counts as lost (METADATA 2).
const APPEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a probed broker may take to accept a connection.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes a controller and the task that it lives in.
#[derive(Debug)]
pub struct ControllerHost;

/// Host name or address, and port, of one listener of a process.
pub type ProbeAddress = (String, u16);

/// Where the listeners of a process are advertised: that is where it listens, if nothing stands between.
pub fn advertised_addresses(broker: &BrokerRegistration) -> Vec<ProbeAddress> {
    let endpoints = broker.endpoints.iter();
    endpoints
        .map(|endpoint| (endpoint.host.clone(), endpoint.port))
        .collect()
}

impl ControllerHost {
    /// Starts a controller over `store`; it begins to take over at once. Needs a tokio runtime, of any kind.
    ///
    /// `addresses` says where to look for a registered process: places that it and nobody else listens at, or none
    /// (METADATA 20: the pod IP of the registered pod uid; without pods, [`advertised_addresses`]).
    pub fn spawn<S: MetadataStore>(
        settings: Settings,
        store: S,
        gateway: impl TopicGateway,
        addresses: impl Fn(&BrokerRegistration) -> Vec<ProbeAddress> + Send + 'static,
    ) -> ControllerHandle {
        let (inbox, messages) = mpsc::channel(INBOX);
        let (image, images) = watch::channel(Arc::new(MetadataImage::empty()));
        let (state, states) = watch::channel(HostState::TakingOver);
        let metrics = Arc::new(HostMetrics::default());
        let host = Host {
            controller: Controller::new(settings),
            store: Arc::new(store),
            started: Instant::now(),
            wake_at: None,
            done: mpsc::channel(4),
            appended: None,
            history: None,
            parked: VecDeque::new(),
            next_request: 0,
            waiting: HashMap::new(),
            watchers: Vec::new(),
            image,
            state,
            addresses: Box::new(addresses),
            metrics: Arc::clone(&metrics),
        };
        tokio::spawn(host.run(messages));
        ControllerHandle {
            inbox,
            image: images,
            state: states,
            gateway: Arc::new(gateway),
            metrics,
        }
    }
}

struct Host<S> {
    controller: Controller,
    store: Arc<S>,
    /// What `now` counts from.
    started: Instant,
    wake_at: Option<Instant>,
    /// Where the tasks that work on the store put their results.
    done: (mpsc::Sender<Input>, mpsc::Receiver<Input>),
    /// The last document sent to the store; its tail becomes the beginning of the history.
    appended: Option<LogDocument>,
    /// `None` until the controller has taken over.
    history: Option<History>,
    /// What came before that.
    parked: VecDeque<Message>,
    next_request: RequestId,
    waiting: HashMap<RequestId, oneshot::Sender<Result<Reply, Refusal>>>,
    watchers: Vec<mpsc::Sender<News>>,
    image: watch::Sender<Arc<MetadataImage>>,
    state: watch::Sender<HostState>,
    addresses: Addresses,
    metrics: Arc<HostMetrics>,
}

/// Where to look for a registered process.
type Addresses = Box<dyn Fn(&BrokerRegistration) -> Vec<ProbeAddress> + Send>;

/// Whether the task goes on.
type Flow = Result<(), Ending>;

impl<S: MetadataStore> Host<S> {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let ending = match self.live(&mut messages).await {
            Ok(()) => Ending::ShutDown,
            Err(ending) => ending,
        };
        match &ending {
            Ending::ShutDown | Ending::SteppedDown(StepDown::Deposed | StepDown::Changed) => {
                tracing::info!(%ending, "the controller has ended");
            }
            Ending::SteppedDown(_) | Ending::Regressed(_) => tracing::error!(%ending, "the controller has ended"),
        }
        self.state.send_replace(HostState::Ended(ending));
        // Dropping the inbox and whatever is in it answers everybody: "not the controller".
        messages.close();
        for (_, answer) in self.waiting.drain() {
            let _ = answer.send(Err(refusal::ended()));
        }
    }

    async fn live(&mut self, messages: &mut mpsc::Receiver<Message>) -> Flow {
        self.step(Input::Start)?;
        loop {
            let wake_at = self.wake_at;
            tokio::select! {
                // Results of the store first: they let others be answered.
                biased;
                Some(input) = self.done.1.recv() => self.step(input)?,
                message = messages.recv() => match message {
                    Some(message) => self.take(message)?,
                    // Nobody holds a handle any more.
                    None => return Ok(()),
                },
                () = sleep_until(wake_at) => {
                    self.wake_at = None;
                    self.step(Input::Tick)?;
                }
            }
            while self.history.is_some()
                && let Some(message) = self.parked.pop_front()
            {
                self.take(message)?;
            }
        }
    }

    fn take(&mut self, message: Message) -> Flow {
        if let Message::Shutdown = message {
            return Err(Ending::ShutDown);
        }
        let Some(history) = &self.history else {
            // METADATA 1: before its election is in the log, a controller tells nothing to anybody.
            if self.parked.len() < PARKED {
                self.parked.push_back(message);
            } else {
                refuse(message, &refusal::to_contract(&controller::Refusal::NotReady));
            }
            return Ok(());
        };
        match message {
            Message::Call { answer, .. } | Message::Register { answer, .. } if answer.is_closed() => Ok(()),
            Message::Call { make, answer } => {
                let request = self.expect_answer(answer);
                self.step(make(request))
            }
            Message::Register { registration, answer } => {
                // What a directory of another cluster knows says nothing about this log: the controller refuses it as that.
                let cluster = registration.cluster_id.as_ref();
                let ours = cluster.is_none() || cluster == history.image().cluster_id();
                let position = registration.position.as_ref().filter(|_| ours);
                if let Some(Err(refused)) = position.map(|position| history.check(position)) {
                    // Only who names this cluster says something about it.
                    let halted = cluster.map_or(Ok(()), |_| Err(regressed(registration.broker_id, &refused)));
                    let _ = answer.send(Err(refused));
                    return halted;
                }
                let request = self.expect_answer(answer);
                self.step(Input::Register {
                    request,
                    registration: to_controller(*registration),
                })
            }
            Message::Tell(input) => self.step(input),
            Message::Watch { watch, inbox, answer } => {
                let started = self.watch(&watch, inbox);
                // Of another lineage, the position may be of another cluster, which only a registration tells apart.
                let same_lineage = (watch.position.as_ref()).is_some_and(|position| position.lineage == self.lineage());
                let ending = match &started {
                    Err(refused) if refused.reason == Reason::Regressed && same_lineage => {
                        Err(regressed(watch.broker_id, refused))
                    }
                    _ => Ok(()),
                };
                let _ = answer.send(started);
                ending
            }
            Message::Shutdown => Err(Ending::ShutDown),
        }
    }

    fn expect_answer(&mut self, answer: oneshot::Sender<Result<Reply, Refusal>>) -> RequestId {
        self.next_request += 1;
        self.waiting.insert(self.next_request, answer);
        self.next_request
    }

    fn watch(&mut self, watch: &Watch, inbox: mpsc::Sender<Message>) -> Result<MetadataWatch, Refusal> {
        let Some(history) = &self.history else {
            return Err(refusal::ended());
        };
        let start = history.start(watch.position.as_ref())?;
        let image = history.image();
        let Some(cluster_id) = image.cluster_id().cloned() else {
            return Err(refusal::ended());
        };
        // METADATA 7: lineage, epoch and nonce come before any record.
        let opening = Opening {
            identity: image.identity(),
            cluster_id,
            metadata_offset: image.offset(),
        };
        let (sender, news) = mpsc::channel(WATCHER_BACKLOG);
        self.watchers.push(sender);
        self.count_watchers();
        let watcher = (watch.broker_id, watch.incarnation);
        Ok(MetadataWatch {
            opening,
            start: Some(start),
            news,
            watcher,
            inbox,
        })
    }

    fn lineage(&self) -> Lineage {
        self.controller.image().lineage()
    }

    fn step(&mut self, input: Input) -> Flow {
        let now = self.started.elapsed();
        for effect in self.controller.step(now, input) {
            self.perform(effect)?;
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Flow {
        match effect {
            Effect::Read { id, with_snapshot } => self.read(id, with_snapshot),
            Effect::Append { id, expected, document } => self.append(id, expected, document),
            Effect::WriteSnapshot { name, chunks } => self.write_snapshot(name, chunks),
            Effect::DeleteSnapshotsBelow { name } => self.delete_snapshots(name),
            Effect::Elected { image } => self.elected(image),
            Effect::Publish { frames, image } => self.publish(&frames, image),
            Effect::Reply { request, reply } => {
                if let Some(answer) = self.waiting.remove(&request) {
                    // Who no longer waits has given up: the record stands all the same.
                    let _ = answer.send(Ok(reply));
                }
            }
            Effect::Probe { broker } => self.probe(broker),
            Effect::Suspect { broker, epoch } => self.suspect(Suspicion { broker, epoch }),
            Effect::WakeAt(at) => {
                // The earliest wins: to be woken once too often costs nothing.
                let at = self.started + at;
                self.wake_at = Some(self.wake_at.map_or(at, |sooner| sooner.min(at)));
            }
            Effect::StepDown(reason) => return Err(reason.into()),
        }
        Ok(())
    }

    fn elected(&mut self, image: MetadataImage) {
        tracing::info!(
            controller_epoch = %image.controller_epoch(),
            offset = %image.offset(),
            lineage = %image.lineage(),
            "the controller has taken over"
        );
        let tail = self.appended.take().map(|document| document.tail).unwrap_or_default();
        let tail = tail
            .iter()
            .map(|line| Frame::from_line(line))
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        self.image.send_replace(Arc::new(image.clone()));
        self.history = Some(History::new(image, tail));
        self.state.send_replace(HostState::Leading);
    }

    // METADATA 1: the controller publishes only what is committed, and nobody is told anything else.
    fn publish(&mut self, frames: &[Frame], image: MetadataImage) {
        self.image.send_replace(Arc::new(image.clone()));
        if let Some(history) = &mut self.history {
            history.publish(frames, image);
        }
        let news = News::Frames(frames.into());
        let metrics = &self.metrics;
        self.watchers.retain(|watcher| match watcher.try_send(news.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            // It keeps what it has; nobody waits for the slowest.
            Err(mpsc::error::TrySendError::Full(_)) => {
                count(&metrics.dropped_watchers);
                false
            }
        });
        self.count_watchers();
    }

    /// Not of the metadata: who has no room for it goes without.
    fn suspect(&self, suspicion: Suspicion) {
        for watcher in &self.watchers {
            let _ = watcher.try_send(News::Suspicion(suspicion));
        }
    }

    fn read(&self, id: ReadId, with_snapshot: bool) {
        self.work(async move |store| match store.read(with_snapshot).await {
            Ok(log) => Some(Input::ReadDone { id, log }),
            Err(error) => {
                tracing::warn!(%error, "cannot read the metadata log");
                Some(Input::ReadFailed {
                    id,
                    error: error.to_string(),
                })
            }
        });
    }

    fn append(&mut self, id: AppendId, expected: Option<StoreVersion>, document: LogDocument) {
        let metrics = Arc::clone(&self.metrics);
        let tail_bytes = document.tail_bytes() as u64;
        metrics.tail_bytes.store(tail_bytes, Ordering::Relaxed);
        metrics.append_bytes.fetch_add(tail_bytes, Ordering::Relaxed);
        if self.history.is_none() {
            self.appended = Some(document.clone());
        }
        self.work(async move |store| {
            let failure = match tokio::time::timeout(APPEND_TIMEOUT, store.replace(document, expected)).await {
                Ok(Ok(version)) => {
                    count(&metrics.appends);
                    return Some(Input::Appended { id, version });
                }
                Ok(Err(failure)) => failure,
                Err(_) => AppendFailure::Unknown(format!("none within {APPEND_TIMEOUT:?}")),
            };
            count(&metrics.append_failures);
            tracing::warn!(append = %id, %failure, "the metadata log was not appended to for certain");
            Some(match failure {
                AppendFailure::Conflict => Input::AppendConflict { id },
                AppendFailure::Unknown(_) => Input::AppendUnknown { id },
                AppendFailure::Refused(error) => Input::AppendRefused { id, error },
            })
        });
    }

    fn write_snapshot(&self, name: SnapshotName, chunks: Vec<String>) {
        let metrics = Arc::clone(&self.metrics);
        self.work(async move |store| match store.write_snapshot(name, chunks).await {
            Ok(()) => {
                count(&metrics.snapshots);
                Some(Input::SnapshotWritten { name })
            }
            Err(error) => {
                tracing::warn!(snapshot = %name, %error, "cannot write the snapshot");
                Some(Input::SnapshotFailed {
                    name,
                    error: error.to_string(),
                })
            }
        });
    }

    fn delete_snapshots(&self, name: SnapshotName) {
        self.work(async move |store| {
            if let Err(error) = store.delete_snapshots_below(name).await {
                // Only garbage stays; the next snapshot's deletion takes it along.
                tracing::warn!(snapshot = %name, %error, "cannot delete the snapshots before it");
            }
            None
        });
    }

    /// Asks the addresses of a process whether anybody listens.
    fn probe(&self, broker: BrokerId) {
        let registered = self.controller.image().broker(broker);
        let addresses = registered.map(|broker| (self.addresses)(broker)).unwrap_or_default();
        self.work(async move |_| {
            let answer = probe(&addresses).await;
            Some(Input::Probed { broker, answer })
        });
    }

    /// Works on the store beside the task, which must stay able to answer heartbeats.
    fn work<W, F>(&self, work: W)
    where
        W: FnOnce(Arc<S>) -> F,
        F: Future<Output = Option<Input>> + Send + 'static,
    {
        let result = work(Arc::clone(&self.store));
        let done = self.done.0.clone();
        tokio::spawn(async move {
            if let Some(input) = result.await {
                // The task has ended: its controller decides nothing any more.
                let _ = done.send(input).await;
            }
        });
    }

    fn count_watchers(&self) {
        self.metrics
            .watchers
            .store(self.watchers.len() as u64, Ordering::Relaxed);
    }
}

fn to_controller(registration: Registration) -> controller::Registration {
    controller::Registration {
        broker: registration.broker_id,
        incarnation: registration.incarnation,
        directory_id: registration.directory_id,
        boot_id: registration.boot_id,
        clean_shutdown_epoch: registration.clean_shutdown_epoch,
        pod_uid: registration.pod_uid,
        endpoints: registration.endpoints,
        rack: registration.rack,
        features: registration.features,
        cluster_id: registration.cluster_id,
    }
}

fn regressed(broker: BrokerId, refused: &Refusal) -> Ending {
    Ending::Regressed(format!("broker {broker}: {}", refused.message))
}

fn refuse(message: Message, refused: &Refusal) {
    match message {
        Message::Call { answer, .. } | Message::Register { answer, .. } => {
            let _ = answer.send(Err(refused.clone()));
        }
        Message::Watch { answer, .. } => {
            let _ = answer.send(Err(refused.clone()));
        }
        Message::Tell(_) | Message::Shutdown => {}
    }
}

/// One that accepts is enough to live; only the host's own word, at every address, is a refusal.
async fn probe(addresses: &[ProbeAddress]) -> ProbeAnswer {
    let mut answer = ProbeAnswer::Refused;
    for (host, port) in addresses {
        let dialled = TcpStream::connect((host.as_str(), *port));
        match tokio::time::timeout(PROBE_TIMEOUT, dialled).await {
            Ok(Ok(_)) => return ProbeAnswer::Accepted,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Ok(Err(_)) | Err(_) => answer = ProbeAnswer::Silent,
        }
    }
    if addresses.is_empty() {
        ProbeAnswer::Silent
    } else {
        answer
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
