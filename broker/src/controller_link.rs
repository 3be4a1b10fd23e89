//! The way to the controller: in the same process or over gRPC, with the same words.

use std::future::Future;
use std::time::Duration;

use broker_replication::Standing;
use bytes::Bytes;
use control::{
    AdminRequest, AlterPartition, ControlClient, ControlError, Heartbeat, HeartbeatAnswer, MetadataEvent,
    MetadataStream, Opening, ProducerIdBlock, Purged, Registered, Registration, ReplicaReports, Session, StreamGuard,
    Watch,
};
use controller_host::{ControllerHandle, MetadataWatch};
use model::{BrokerId, ImageDocument, IsrOutcome, IsrProposal};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Where the controller is.
#[derive(Debug, Clone)]
pub enum Controller {
    /// In this process.
    Local(ControllerHandle),
    /// In the operator, or in a standalone broker.
    Remote(ControlClient),
}

/// Metadata as it comes from either.
#[derive(Debug)]
pub enum MetadataSource {
    /// From this process.
    Local(Box<MetadataWatch>),
    /// Over gRPC.
    Remote(Box<MetadataStream>),
}

/// Why a request could not be handed to the controller.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// This process has no broker epoch yet, so it may ask for nothing.
    #[error("this broker is not registered with the controller yet")]
    NotRegistered,
    /// The controller said no, or nobody answered.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The process is stopping.
    #[error("this broker is stopping")]
    Stopping,
}

/// The controller, and who we are to it. Calls may come from any thread; they run on the control thread, so that a
/// network thread that ends takes no connection with it.
#[derive(Debug)]
pub struct ControllerLink {
    controller: Controller,
    runtime: Handle,
    id: BrokerId,
    standing: watch::Sender<Standing>,
}

impl ControllerLink {
    /// A link whose calls run on `runtime`, for a process that stands so to the broker `id` before it has registered.
    pub fn new(controller: Controller, runtime: Handle, id: BrokerId, standing: Standing) -> Self {
        Self {
            controller,
            runtime,
            id,
            standing: watch::Sender::new(standing),
        }
    }

    /// Whether the controller lives and dies with this process.
    pub fn is_local(&self) -> bool {
        matches!(self.controller, Controller::Local(_))
    }

    /// How this process stands to the registered broker.
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// The registration of this process, if it has one.
    pub fn session(&self) -> Option<Session> {
        self.session_of(self.standing())
    }

    /// Registers this process, trying for up to `patience`.
    pub async fn register(&self, registration: Registration, patience: Duration) -> Result<Registered, ControlError> {
        let registered = match &self.controller {
            Controller::Local(handle) => handle.register(registration.clone()).await?,
            Controller::Remote(client) => client.register(&registration, patience).await?,
        };
        self.standing
            .send_replace(Standing::Registered(registered.broker_epoch));
        Ok(registered)
    }

    /// The controller does not know this registration any more.
    pub fn forget_session(&self) {
        // Nor is it the heir of an earlier one: another process may be the broker now.
        self.standing.send_replace(Standing::Stranger);
    }

    /// "I live."
    pub async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatAnswer, ControlError> {
        match &self.controller {
            Controller::Local(handle) => Ok(handle.heartbeat(heartbeat).await?),
            Controller::Remote(client) => client.heartbeat(&heartbeat).await,
        }
    }

    /// Metadata from a position on. `guard` keeps a remote stream from leading back (METADATA 7).
    pub async fn watch(
        &self,
        watch: Watch,
        guard: &mut StreamGuard,
        patience: Duration,
    ) -> Result<MetadataSource, ControlError> {
        match &self.controller {
            Controller::Local(handle) => {
                let source = handle.watch(watch).await?;
                guard.admit(source.opening())?;
                Ok(MetadataSource::Local(Box::new(source)))
            }
            Controller::Remote(client) => {
                let stream = client.watch(&watch, guard, patience).await?;
                Ok(MetadataSource::Remote(Box::new(stream)))
            }
        }
    }

    /// Hands an admin request on; the answer is the body of the Kafka response.
    pub async fn forward(
        &self,
        request: impl FnOnce(Session) -> AdminRequest,
        patience: Duration,
    ) -> Result<Bytes, LinkError> {
        let request = request(self.registered(patience).await?);
        let controller = self.controller.clone();
        self.run(async move {
            match controller {
                Controller::Local(handle) => Ok(handle.forward(request).await?),
                Controller::Remote(client) => client.forward(request, patience).await,
            }
        })
        .await
    }

    /// Takes a block of producer ids.
    pub async fn allocate_producer_ids(&self, patience: Duration) -> Result<ProducerIdBlock, LinkError> {
        let session = self.registered(patience).await?;
        let controller = self.controller.clone();
        self.run(async move {
            match controller {
                Controller::Local(handle) => Ok(handle.allocate_producer_ids(session).await?),
                Controller::Remote(client) => client.allocate_producer_ids(session, patience).await,
            }
        })
        .await
    }

    /// Proposes in-sync replicas of partitions that this broker leads. The outcomes tell whether to ask again; a proposal
    /// ends by a record alone (METADATA 12).
    pub async fn alter_partition(&self, proposals: Vec<IsrProposal>) -> Result<Vec<IsrOutcome>, LinkError> {
        let session = self.session().ok_or(LinkError::NotRegistered)?;
        let alter = AlterPartition { session, proposals };
        let controller = self.controller.clone();
        self.run(async move {
            match controller {
                Controller::Local(handle) => Ok(handle.alter_partition(alter).await?),
                Controller::Remote(client) => client.alter_partition(&alter).await,
            }
        })
        .await
    }

    /// Shows the metadata on this broker's disk to whoever makes the log anew (METADATA 24).
    pub async fn offer_image(&self, broker_id: BrokerId, image: &ImageDocument) -> Result<(), ControlError> {
        match &self.controller {
            // A file is not made anew: whoever runs a standalone broker has a backup of its folder, or has lost it.
            Controller::Local(_) => Ok(()),
            Controller::Remote(client) => client.offer_image(broker_id, image).await,
        }
    }

    /// Reports purged topics (METADATA 25).
    pub async fn report_purged(&self, purged: Purged, patience: Duration) -> Result<(), ControlError> {
        match &self.controller {
            Controller::Local(handle) => Ok(handle.report_purged(purged).await?),
            Controller::Remote(client) => client.report_purged(&purged, patience).await,
        }
    }

    /// Says what there is of replicas (METADATA 17).
    pub async fn report_replicas(&self, said: ReplicaReports) -> Result<(), ControlError> {
        match &self.controller {
            Controller::Local(handle) => Ok(handle.report_replicas(said).await?),
            Controller::Remote(client) => client.report_replicas(&said).await,
        }
    }

    /// The registration, as soon as there is one: a client that comes during the start only waits a moment.
    async fn registered(&self, patience: Duration) -> Result<Session, LinkError> {
        let mut standing = self.standing.subscribe();
        let registered = standing.wait_for(|standing| standing.registered().is_some());
        let registered = tokio::time::timeout(patience, registered).await;
        let standing = registered.ok().and_then(|waited| waited.ok().map(|standing| *standing));
        standing
            .and_then(|standing| self.session_of(standing))
            .ok_or(LinkError::NotRegistered)
    }

    fn session_of(&self, standing: Standing) -> Option<Session> {
        standing.registered().map(|broker_epoch| Session {
            broker_id: self.id,
            broker_epoch,
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, ControlError>> + Send + 'static,
    ) -> Result<T, LinkError> {
        match self.runtime.spawn(call).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(LinkError::Stopping),
        }
    }
}

impl MetadataSource {
    /// How the stream began.
    pub fn opening(&self) -> &Opening {
        match self {
            Self::Local(source) => source.opening(),
            Self::Remote(stream) => stream.opening(),
        }
    }

    /// The next piece of metadata; `None` when the stream ended and another must be opened.
    pub async fn next(&mut self) -> Result<Option<MetadataEvent>, ControlError> {
        match self {
            Self::Local(source) => Ok(source.next().await),
            Self::Remote(stream) => stream.next().await,
        }
    }
}
