//! Start and stop of a broker, in one function, in order.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker_log::DataDir as LogDir;
use broker_log::dir::fs::FsDir;
use broker_network::{DEFAULT_FRAME_LIMIT, NetworkConfig, Server, raise_descriptor_limit};
use broker_replication::Standing;
use control::StreamGuard;
use controller_host::entropy::random_bytes;
use model::{BrokerId, DirectoryId, IncarnationId};
use prometheus::Registry;

use crate::api::ApiHandler;
use crate::args::BrokerArgs;
use crate::background::Background;
use crate::context::BrokerContext;
use crate::controller_link::{Controller, ControllerLink};
use crate::data_dir::DataDir;
use crate::disk::Disk;
use crate::error::StartError;
use crate::fetches;
use crate::groups;
use crate::health::{self, Readiness};
use crate::isr_proposals;
use crate::lease::{self, LeaseSettings};
use crate::listeners::{self, BoundListener};
use crate::membership::{self, Membership, Process};
use crate::metadata_cache::ImageFile;
use crate::metrics::BrokerMetrics;
use crate::network_metrics;
use crate::partition_metrics;
use crate::replica_manager::ReplicaManager;

mod assembly;

use assembly::Assembly;

/// How long leaderships may take to move when the broker stops. A node that is drained may take the controller along, so
/// that another must succeed it first; until then this broker serves as before.
const HAND_OVER: Duration = Duration::from_secs(5);

/// How long answers may take to leave when the broker stops.
const FAREWELL: Duration = Duration::from_millis(500);

/// A file beside the image: the highest controller that was ever followed.
const GUARD_FILE: &str = "metadata.guard";

/// What the two ways of running a broker tell apart.
#[derive(Debug)]
pub struct Role {
    /// Who this broker is.
    pub id: BrokerId,
    /// Its failure domain.
    pub rack: Option<String>,
    /// Its pod.
    pub pod_uid: Option<String>,
    /// The Lease to renew.
    pub lease: Option<String>,
}

/// What is opened before anything is started, so that every refusal comes while nothing has happened yet.
#[derive(Debug)]
pub struct Opened {
    /// Under our lock.
    pub data_dir: DataDir,
    listeners: Vec<BoundListener>,
    metrics: BrokerMetrics,
    readiness: Arc<Readiness>,
}

impl Opened {
    /// Locks the directory, binds every address, and answers who asks after our health: logs may take their time.
    pub fn open(args: &BrokerArgs, id: BrokerId) -> Result<Self, StartError> {
        let data_dir = DataDir::open(&args.data_dir, id)?;
        let listeners = listeners::bind(&args.listen, &args.advertise)?;
        let health = health::bind(&args.metrics)?;
        let metrics = BrokerMetrics::new(Registry::new()).map_err(|error| StartError::System {
            what: "metrics",
            source: std::io::Error::other(error),
        })?;
        let readiness = Arc::new(Readiness::default());
        if let Some(listener) = health {
            tokio::spawn(health::serve(listener, metrics.clone(), Arc::clone(&readiness)));
        }
        Ok(Self {
            data_dir,
            listeners,
            metrics,
            readiness,
        })
    }
}

/// Opens the logs that the image on disk names. Gigabytes may have to be read for it, while this thread has others to answer.
async fn recover(broker: &Arc<BrokerContext>) -> Result<(), StartError> {
    let broker = Arc::clone(broker);
    let recovered = tokio::task::spawn_blocking(move || broker.apply(&broker.metadata.snapshot())).await;
    recovered.map_err(|error| StartError::System {
        what: "a thread to open the logs",
        source: std::io::Error::other(error),
    })
}

/// Runs a broker until `stop` is ready. `connect` makes the way to the controller for this incarnation.
pub async fn run(
    args: &BrokerArgs,
    role: Role,
    opened: Opened,
    connect: impl FnOnce(IncarnationId) -> Result<Controller, StartError>,
    stop: impl Future<Output = ()>,
) -> Result<(), StartError> {
    // What this process may use, and who it is.
    let descriptors = raise_descriptor_limit();
    let incarnation = IncarnationId::from_random(random("an incarnation id")?);
    let new_directory = DirectoryId::from_random(random("a directory id")?);
    let Opened {
        data_dir,
        listeners,
        metrics,
        readiness,
    } = opened;
    let directory_id = data_dir
        .identity()
        .map_or(new_directory, |identity| identity.directory_id);

    // What the disk knows.
    let (image_file, image) = ImageFile::open(data_dir.path())?;
    let guard = open_guard(data_dir.path())?;
    let (log_dir, left) = LogDir::open(FsDir::new(data_dir.path())).map_err(|error| StartError::Image {
        path: data_dir.path().to_path_buf(),
        reason: error.to_string(),
    })?;
    let clean_shutdown_epoch = left.clean_shutdown;
    let frame_limit = Arc::new(AtomicUsize::new(DEFAULT_FRAME_LIMIT));
    let known = image.offset() >= model::MetadataOffset(0);

    // The broker itself. Partitions that nobody else holds are served from here on, and the others are followed if nothing
    // of them was lost (METADATA 18).
    let standing = Standing::at_start(
        &image,
        role.id,
        directory_id,
        membership::boot_id().as_deref(),
        clean_shutdown_epoch,
    );
    if let Standing::Heir(broker_epoch) = standing {
        tracing::info!(%broker_epoch, "nothing was lost since the last registration: following in it until there is a new one");
    }
    let runtime = tokio::runtime::Handle::current();
    let controller = ControllerLink::new(connect(incarnation)?, runtime, role.id, standing);
    let disk = Disk::new(data_dir.path(), args.disk_limit, metrics.disk.clone());
    let replicas = ReplicaManager::new(
        role.id,
        directory_id,
        log_dir,
        disk,
        left,
        metrics.clone(),
        Arc::clone(&frame_limit),
    );
    let broker = Arc::new(
        Assembly {
            id: role.id,
            rack: role.rack.clone(),
            endpoints: listeners.iter().map(BoundListener::endpoint).collect(),
            inter_broker_listener: args.inter_broker_listener.clone(),
            image,
            replicas,
            controller,
            descriptors,
            metrics,
        }
        .assemble(),
    );
    fetches::register(&broker.metrics, &broker.fetches);
    groups::metrics::register(&broker.metrics, &broker.groups);
    partition_metrics::register(&broker.metrics, &broker);
    recover(&broker).await?;
    readiness.logs_recovered();

    // Signs of life.
    if let Some(name) = role.lease {
        let pod_uid = role.pod_uid.clone().unwrap_or_default();
        lease::start(
            LeaseSettings {
                name,
                pod_uid,
                incarnation,
            },
            broker.metrics.clone(),
        )?;
    }
    let process = Process {
        id: role.id,
        incarnation,
        directory_id,
        pod_uid: role.pod_uid,
        rack: role.rack,
        clean_shutdown_epoch,
    };
    let membership = Membership::new(
        Arc::clone(&broker),
        process,
        data_dir,
        image_file,
        guard,
        Arc::clone(&readiness),
    );
    let _directory_lock = membership.data_dir();
    let mut joined = membership.joined();
    let mut membership = std::pin::pin!(membership.keep());
    let mut stop = std::pin::pin!(stop);
    if !known {
        // A fresh directory has nothing to serve, not even a cluster id: clients wait in the backlog for a moment.
        tokio::select! {
            fatal = &mut membership => return Err(fatal),
            _ = joined.wait_for(|joined| *joined) => {}
            () = &mut stop => return Ok(()),
        }
    }

    // Clients.
    let names: Vec<String> = listeners.iter().map(BoundListener::to_string).collect();
    let mut network = NetworkConfig::new(listeners.into_iter().flat_map(|listener| listener.sockets).collect());
    network.threads = args.threads.map_or(network.threads, usize::from);
    network.max_connections = broker.max_connections.clone();
    network.memory_budget_bytes = args.request_memory;
    network.frame_limit = frame_limit;
    network.idle_limit = broker.idle_limit.clone();
    network.silent_connections = broker.silent_connections.clone();
    let server = Server::start(network, Arc::new(ApiHandler::new(Arc::clone(&broker))))?;
    network_metrics::register(
        &broker.metrics,
        server.metrics(),
        args.request_memory,
        &broker.max_connections,
    );
    let background = Background::start(Arc::clone(&broker))?;
    let groups = broker.groups.start()?;
    broker.groups.nudge();
    let proposals = tokio::spawn(isr_proposals::keep(Arc::clone(&broker)));
    tracing::info!(broker_id = %role.id, listeners = names.join(" "), version = crate::VERSION, "serving");
    let ended = tokio::select! {
        fatal = &mut membership => Err(fatal),
        () = &mut stop => Ok(()),
    };

    // The way back: hand over, stop listening, answer what is open, close the logs, say that all is well.
    tracing::info!("stopping");
    readiness.stopping();
    let epoch = broker.controller.standing().epoch();
    // A membership that has ended has nobody to hand over to.
    if ended.is_ok() {
        tokio::select! {
            // Records go on arriving meanwhile: that is how leaderships move.
            _ = &mut membership => {}
            () = membership::hand_over(&broker, incarnation, HAND_OVER) => {}
        }
    }
    proposals.abort();
    broker.stopping.store(true, Ordering::Release);
    broker.fetchers.stop();
    broker.groups.stop(groups);
    broker.replicas.wake_fetches();
    server.shutdown(FAREWELL).await;
    background.stop();
    broker.replicas.close(epoch);
    tracing::info!("stopped");
    ended
}

pub(crate) fn open_guard(directory: &Path) -> Result<StreamGuard, StartError> {
    let path = directory.join(GUARD_FILE);
    StreamGuard::open(&path).map_err(|error| StartError::Image {
        path,
        reason: error.to_string(),
    })
}

pub(crate) fn random<const N: usize>(what: &'static str) -> Result<[u8; N], StartError> {
    random_bytes().map_err(|source| StartError::System { what, source })
}
