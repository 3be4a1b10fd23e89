//! Being a broker of the cluster: register, say every second that we live, follow the metadata.
//!
//! All of it may fail for hours without hurting a client: what this broker serves comes from its own disk and image. The
//! loops here only ever wait and try again, except when the controller's cluster is another one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use control::{
    ControlError, Heartbeat, HeartbeatAnswer, Jitter, MetadataEvent, Position, Purged, Reason, Registration,
    ReplicaReports, StreamGuard, Suspicion, Watch,
};
use model::{
    BrokerEpoch, BrokerId, BrokerRegistration, ClusterId, DirectoryId, FeatureRange, Frame, ImageDocument,
    IncarnationId, MetadataImage, MetadataOffset,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::monotonic;
use crate::context::BrokerContext;
use crate::controller_link::MetadataSource;
use crate::data_dir::DataDir;
use crate::error::StartError;
use crate::features;
use crate::health::Readiness;
use crate::metadata_cache::{ImageFile, fold};

/// How often the controller hears that we live.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Who is fenced after so long a silence was cut off, or stood still. So may clients have been.
const CUT_OFF: Duration = Duration::from_secs(3);

/// Partitions in one report.
const REPORTS_AT_ONCE: usize = 1000;

/// How long one call may look for a controller before its caller looks around itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who this process is.
#[derive(Debug, Clone)]
pub struct Process {
    /// The broker id.
    pub id: BrokerId,
    /// Drawn at this start.
    pub incarnation: IncarnationId,
    /// Of the data directory.
    pub directory_id: DirectoryId,
    /// Of the pod, if there is one.
    pub pod_uid: Option<String>,
    /// The failure domain.
    pub rack: Option<String>,
    /// What the mark of the last clean stop says.
    pub clean_shutdown_epoch: Option<BrokerEpoch>,
}

/// Keeps this broker in its cluster.
#[derive(Debug)]
pub struct Membership {
    broker: Arc<BrokerContext>,
    process: Process,
    data_dir: Arc<Mutex<DataDir>>,
    image_file: Arc<Mutex<ImageFile>>,
    guard: StreamGuard,
    readiness: Arc<Readiness>,
    jitter: Jitter,
    /// Set when this broker was first known to its controller; clients may come then at the latest.
    joined: watch::Sender<bool>,
    /// When the controller answered last.
    heard: Arc<Mutex<Instant>>,
    /// The controller's offset that this registration must reach before it can be unfenced.
    wanted: MetadataOffset,
    /// The image does not follow: a snapshot is wanted (METADATA 6).
    estranged: bool,
}

/// Why the metadata was not followed further.
enum Interrupted {
    /// The stream ended or broke: open another.
    Stream(String),
    /// The registration is not valid any more.
    Stale,
}

impl Membership {
    /// Of a broker whose image is what its disk says.
    pub fn new(
        broker: Arc<BrokerContext>,
        process: Process,
        data_dir: DataDir,
        image_file: ImageFile,
        guard: StreamGuard,
        readiness: Arc<Readiness>,
    ) -> Self {
        let jitter = Jitter::seeded(process.incarnation.as_uuid().as_u128());
        Self {
            broker,
            process,
            data_dir: Arc::new(Mutex::new(data_dir)),
            image_file: Arc::new(Mutex::new(image_file)),
            guard,
            readiness,
            jitter,
            joined: watch::Sender::new(false),
            heard: Arc::new(Mutex::new(Instant::now())),
            wanted: MetadataOffset::NONE,
            estranged: false,
        }
    }

    /// True once the first registration and its metadata are here.
    pub fn joined(&self) -> watch::Receiver<bool> {
        self.joined.subscribe()
    }

    /// The data directory, whose lock must be held until the end.
    pub fn data_dir(&self) -> Arc<Mutex<DataDir>> {
        Arc::clone(&self.data_dir)
    }

    /// Runs until the process ends; returns only with an error that no waiting mends.
    pub async fn keep(mut self) -> StartError {
        loop {
            if let Err(fatal) = self.register().await {
                return fatal;
            }
            self.act_again().await;
            loop {
                match self.follow().await {
                    Interrupted::Stale => {
                        tracing::warn!("the controller does not know this registration any more, registering anew");
                        self.broker.controller.forget_session();
                        // METADATA 18: another process may be the broker now.
                        self.act_again().await;
                        break;
                    }
                    Interrupted::Stream(reason) => {
                        self.readiness.set_metadata_caught_up(false);
                        tracing::info!(reason, "metadata stream ended, opening another");
                        tokio::time::sleep(self.jitter.next_wait()).await;
                    }
                }
            }
        }
    }

    async fn register(&mut self) -> Result<(), StartError> {
        let mut told = String::new();
        loop {
            let registration = self.registration();
            match self.broker.controller.register(registration, PATIENCE).await {
                Ok(registered) => {
                    self.claim(&registered.cluster_id)?;
                    self.wanted = registered.metadata_offset;
                    self.jitter.succeeded();
                    *self.heard.lock() = Instant::now();
                    tracing::info!(
                        broker_id = %self.process.id,
                        broker_epoch = %registered.broker_epoch,
                        cluster_id = %registered.cluster_id,
                        "registered"
                    );
                    return Ok(());
                }
                Err(ControlError::Refused(refusal)) if refusal.reason == Reason::OtherCluster => {
                    return Err(StartError::Controller(refusal.message));
                }
                Err(error) => {
                    offer_if_asked(&self.broker, &self.guard, &error).await;
                    // The same reason every second is one line, not a thousand.
                    let reason = error.to_string();
                    if reason != told {
                        tracing::warn!(%reason, "not registered yet, trying again");
                        told = reason;
                    }
                }
            }
            tokio::time::sleep(self.jitter.next_wait()).await;
        }
    }

    /// What the image says is meant for the registered process: who that is has changed.
    async fn act_again(&self) {
        let broker = Arc::clone(&self.broker);
        let file = Arc::clone(&self.image_file);
        let done = tokio::task::spawn_blocking(move || {
            let _step = file.lock();
            broker.apply(&broker.metadata.snapshot());
            broker.groups.nudge();
        });
        if let Err(error) = done.await {
            tracing::error!(%error, "metadata was not applied");
        }
    }

    fn claim(&self, cluster_id: &ClusterId) -> Result<(), StartError> {
        self.data_dir
            .lock()
            .claim(cluster_id, self.process.directory_id)
            .map(drop)
    }

    fn registration(&self) -> Registration {
        let image = self.broker.metadata.snapshot();
        Registration {
            broker_id: self.process.id,
            incarnation: self.process.incarnation,
            directory_id: self.process.directory_id,
            boot_id: boot_id(),
            clean_shutdown_epoch: self.process.clean_shutdown_epoch,
            pod_uid: self.process.pod_uid.clone(),
            endpoints: self.broker.endpoints.clone(),
            rack: self.process.rack.clone(),
            features: features::SUPPORTED
                .iter()
                .map(|feature| {
                    (
                        feature.name.to_owned(),
                        FeatureRange {
                            min: feature.min,
                            max: feature.max,
                        },
                    )
                })
                .collect(),
            position: position(&image),
            cluster_id: self
                .data_dir
                .lock()
                .identity()
                .map(|identity| identity.cluster_id.clone()),
        }
    }

    /// Follows one metadata stream, with heartbeats beside it.
    async fn follow(&mut self) -> Interrupted {
        let image = self.broker.metadata.snapshot();
        let watch = Watch {
            broker_id: self.process.id,
            incarnation: self.process.incarnation,
            position: if self.estranged { None } else { position(&image) },
        };
        drop(image);
        let heartbeats = Heartbeats {
            broker: Arc::clone(&self.broker),
            incarnation: self.process.incarnation,
            wanted: self.wanted,
            readiness: Arc::clone(&self.readiness),
            heard: Arc::clone(&self.heard),
        };
        let heartbeats = heartbeats.run();
        let stream = async {
            match self.broker.controller.watch(watch, &mut self.guard, PATIENCE).await {
                Ok(source) => {
                    self.jitter.succeeded();
                    let follower = Follower {
                        broker: &self.broker,
                        image_file: &self.image_file,
                        readiness: &self.readiness,
                        joined: &self.joined,
                        wanted: self.wanted,
                        estranged: &mut self.estranged,
                    };
                    follower.run(source).await
                }
                Err(error) => {
                    offer_if_asked(&self.broker, &self.guard, &error).await;
                    error.to_string()
                }
            }
        };
        tokio::select! {
            reason = stream => Interrupted::Stream(reason),
            () = heartbeats => Interrupted::Stale,
        }
    }
}

/// METADATA 24: who is told that the log has regressed shows what it knows; the log is made anew from all of that. It may be
/// asked for again, and is shown again.
async fn offer_if_asked(broker: &BrokerContext, guard: &StreamGuard, error: &ControlError) {
    if !matches!(error, ControlError::Refused(refusal) if refusal.reason == Reason::Regressed) {
        return;
    }
    let image = (*broker.metadata.snapshot()).clone();
    let seen = guard.highest().unwrap_or_else(|| image.identity());
    match broker
        .controller
        .offer_image(broker.id, &ImageDocument { seen, image })
        .await
    {
        Ok(()) => tracing::warn!("the metadata log is made anew: this broker has shown its image"),
        Err(error) => tracing::debug!(%error, "nobody wants this broker's image"),
    }
}

/// Applies what a stream brings.
struct Follower<'a> {
    broker: &'a Arc<BrokerContext>,
    image_file: &'a Arc<Mutex<ImageFile>>,
    readiness: &'a Readiness,
    joined: &'a watch::Sender<bool>,
    wanted: MetadataOffset,
    estranged: &'a mut bool,
}

impl Follower<'_> {
    async fn run(mut self, mut source: MetadataSource) -> String {
        let caught_up_at = source.opening().metadata_offset.max(self.wanted);
        self.observe(caught_up_at);
        loop {
            let step = match source.next().await {
                Ok(Some(MetadataEvent::Frames(frames))) => self.frames(frames).await,
                Ok(Some(MetadataEvent::Snapshot(image))) => self.snapshot(image).await,
                Ok(Some(MetadataEvent::Suspicion(Suspicion { broker, epoch }))) => {
                    self.broker.departures.suspected(broker, epoch, monotonic());
                    continue;
                }
                Ok(None) => return "the controller closed it".to_owned(),
                Err(error) => {
                    if !error.is_retriable() {
                        // METADATA 9: what is not understood is not skipped.
                        tracing::error!(%error, "metadata is not understood, leading nothing that others replicate");
                        self.broker.replicas.resign_all();
                        self.broker.groups.nudge();
                    }
                    return error.to_string();
                }
            };
            if let Err(reason) = step {
                return reason;
            }
            self.observe(caught_up_at);
        }
    }

    async fn snapshot(&mut self, image: MetadataImage) -> Result<(), String> {
        let held = self.broker.metadata.snapshot();
        // METADATA 7: within a lineage never an image at a lower offset.
        if held.offset() > image.offset() && held.lineage() == image.lineage() {
            return Err(format!(
                "a snapshot at {} came, the image stands at {}",
                image.offset(),
                held.offset()
            ));
        }
        *self.estranged = false;
        self.take(&held, image, Vec::new()).await
    }

    async fn frames(&mut self, frames: Vec<Frame>) -> Result<(), String> {
        let image = self.broker.metadata.snapshot();
        match fold(&image, &frames) {
            Ok(next) if next.offset() == image.offset() => Ok(()),
            Ok(next) => self.take(&image, next, frames).await,
            Err(error) => {
                // METADATA 6: on a difference it stops leading and following until a snapshot hashes right.
                tracing::error!(%error, "this broker's metadata differs from the controller's, asking for a snapshot");
                self.broker.replicas.resign_all();
                self.broker.groups.nudge();
                *self.estranged = true;
                Err(error.to_string())
            }
        }
    }

    /// Persists, acts, shows: in this order. `held` is the image that the step was made on.
    async fn take(&self, held: &MetadataImage, image: MetadataImage, frames: Vec<Frame>) -> Result<(), String> {
        let broker = Arc::clone(self.broker);
        let file = Arc::clone(self.image_file);
        let made_on = held.chain_hash();
        // Off the control thread: opening partitions takes as long as the disk does.
        let taken = tokio::task::spawn_blocking(move || {
            let image = Arc::new(image);
            // Held to the end: a step whose stream has broken meanwhile goes on without anybody who waits for it, and must be
            // whole before the next stream's first step begins (METADATA 7).
            let mut file = file.lock();
            if broker.metadata.image().chain_hash() != made_on {
                return Err("another step was taken meanwhile".to_owned());
            }
            // METADATA 8: persist before acting.
            file.persist(&image, &frames).map_err(|error| {
                format!(
                    "the metadata image cannot be written: {}",
                    crate::error::disk_advice(&error)
                )
            })?;
            broker.apply(&image);
            broker.replicas.sweep(&image);
            broker.metrics.metadata_offset.set(image.offset().0);
            broker.metadata.publish(image);
            broker.groups.nudge();
            Ok(())
        });
        let taken = taken.await.unwrap_or_else(|error| Err(error.to_string()));
        if let Err(reason) = &taken {
            tracing::error!(reason, "metadata was not applied");
        }
        taken
    }

    fn observe(&self, caught_up_at: MetadataOffset) {
        let image = self.broker.metadata.image();
        let caught_up = image.offset() >= caught_up_at;
        self.readiness.set_metadata_caught_up(caught_up);
        let epoch = self.broker.controller.session().map(|session| session.broker_epoch);
        let ours = image
            .broker(self.broker.id)
            .filter(|broker| Some(broker.epoch) == epoch);
        self.readiness
            .set_unfenced(ours.is_some_and(BrokerRegistration::is_eligible));
        if caught_up && !*self.joined.borrow() {
            self.joined.send_replace(true);
        }
    }
}

fn session_epoch(broker: &BrokerContext) -> Option<BrokerEpoch> {
    broker.controller.session().map(|session| session.broker_epoch)
}

/// "I live", once a second, and at once when there is news.
struct Heartbeats {
    broker: Arc<BrokerContext>,
    incarnation: IncarnationId,
    wanted: MetadataOffset,
    readiness: Arc<Readiness>,
    heard: Arc<Mutex<Instant>>,
}

impl Heartbeats {
    /// Ends when the controller does not know the registration any more.
    async fn run(self) {
        // The first says that we may be unfenced, so it must not be early: a second would pass until the next.
        self.broker
            .metadata
            .wait_for(HEARTBEAT, |image| image.offset() >= self.wanted)
            .await;
        loop {
            match self.beat().await {
                Ok(answer) => {
                    let heard = std::mem::replace(&mut *self.heard.lock(), Instant::now());
                    if answer.is_some_and(|answer| answer.fenced) && heard.elapsed() >= CUT_OFF {
                        // What came until the next heartbeat was due may have been the last before the cut.
                        self.broker.silent_connections.reset(heard + 2 * HEARTBEAT);
                    }
                }
                Err(ControlError::Refused(refusal)) if refusal.reason == Reason::StaleBrokerEpoch => return,
                Err(error) => tracing::debug!(%error, "a heartbeat got no answer"),
            }
            self.report_purged().await;
            let reported = self.report_replicas().await;
            // A partition that waits for a word of this broker does not wait for the next heartbeat.
            let asked = |image: &MetadataImage| image.offset() > reported && self.broker.replicas.is_asked(image);
            self.broker.metadata.wait_for(HEARTBEAT, asked).await;
        }
    }

    /// The answer; none if there is no registration to speak for.
    async fn beat(&self) -> Result<Option<HeartbeatAnswer>, ControlError> {
        let Some(session) = self.broker.controller.session() else {
            return Ok(None);
        };
        let (applied, chain_hash) = {
            let image = self.broker.metadata.image();
            (image.offset(), image.chain_hash())
        };
        let heartbeat = Heartbeat {
            session,
            incarnation: self.incarnation,
            applied,
            chain_hash: Some(chain_hash),
            want_shutdown: false,
            ready: self.readiness.has_recovered_logs(),
        };
        self.broker.controller.heartbeat(heartbeat).await.map(Some)
    }

    /// METADATA 17: what only this broker knows. Returns up to where the metadata was looked at for it.
    async fn report_replicas(&self) -> MetadataOffset {
        let image = self.broker.metadata.snapshot();
        let epoch = session_epoch(&self.broker);
        let reports = self.broker.replicas.reports(&image, epoch);
        let Some(session) = self
            .broker
            .controller
            .session()
            .filter(|session| Some(session.broker_epoch) == epoch)
        else {
            return image.offset();
        };
        for reports in reports.chunks(REPORTS_AT_ONCE) {
            let reports = reports.to_vec();
            let said = self
                .broker
                .controller
                .report_replicas(ReplicaReports { session, reports });
            if let Err(error) = said.await {
                tracing::debug!(%error, "what there is of replicas was not reported");
                break;
            }
        }
        image.offset()
    }

    /// METADATA 25: tombstones wait until every broker has said that nothing is left.
    async fn report_purged(&self) {
        let topic_ids = {
            let image = self.broker.metadata.image();
            self.broker.replicas.purged(&image)
        };
        let Some(session) = self.broker.controller.session().filter(|_| !topic_ids.is_empty()) else {
            return;
        };
        if let Err(error) = self
            .broker
            .controller
            .report_purged(Purged { session, topic_ids }, PATIENCE)
            .await
        {
            tracing::debug!(%error, "the purge of removed topics was not reported");
        }
    }
}

/// Tells the controller that this broker leaves, and waits until leaderships have moved or `patience` is over.
pub async fn hand_over(broker: &BrokerContext, incarnation: IncarnationId, patience: Duration) {
    const AGAIN: Duration = Duration::from_millis(50);
    let leaving = async {
        let mut unheard = false;
        while let Some(session) = broker.controller.session() {
            let (applied, chain_hash) = {
                let image = broker.metadata.image();
                (image.offset(), image.chain_hash())
            };
            let heartbeat = Heartbeat {
                session,
                incarnation,
                applied,
                chain_hash: Some(chain_hash),
                want_shutdown: true,
                ready: true,
            };
            match broker.controller.heartbeat(heartbeat).await {
                Ok(answer) if answer.may_shutdown => {
                    tracing::info!("leaderships have moved");
                    return;
                }
                // A controller in this process has no successor, and other words do not change.
                Err(error) if broker.controller.is_local() || !error.is_retriable() => return,
                Err(error) if !unheard => {
                    unheard = true;
                    tracing::info!(%error, "no word from the controller, leaving later");
                }
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    if tokio::time::timeout(patience, leaving).await.is_err() {
        tracing::info!("leaving although leaderships have not moved");
    }
}

pub(crate) fn position(image: &MetadataImage) -> Option<Position> {
    (image.offset() > MetadataOffset::NONE).then(|| Position::of(image))
}

/// The kernel's id of this boot: with it the same, the page cache has survived (METADATA 16).
pub(crate) fn boot_id() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .map(|text| text.trim().to_owned())
}
