//! What everybody else holds of a controller.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use control::{
    AdminRequest, AlterPartition, Heartbeat, HeartbeatAnswer, ProducerIdBlock, Purged, Reason, Refusal, Registered,
    Registration, ReplicaReports, Session, Watch,
};
use controller::{DesiredTopic, Input, Proof, Reply, RequestId, SessionId, TopicState};
use model::{BrokerId, IncarnationId, IsrOutcome, MetadataImage, TopicId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::message::{Message, MetadataWatch};
use crate::metrics::HostMetrics;
use crate::refusal;
use crate::state::{Ending, HostState};

/// Decides which way a forwarded admin request takes: [`Direct`](crate::Direct) to the controller, or, in the operator, through the
/// Topic resource first, so that there is one source of truth.
pub trait TopicGateway: Send + Sync + 'static {
    /// Answers with the Kafka response body.
    fn forward(&self, forwarded: Forwarded) -> Pin<Box<dyn Future<Output = Result<Bytes, Refusal>> + Send + '_>>;
}

/// A request on its way.
#[derive(Debug)]
pub struct Forwarded {
    /// What the client asks for.
    pub request: AdminRequest,
    /// Whom a broker has forwarded it to.
    pub controller: ControllerHandle,
}

/// A controller from outside. Cheap to clone; calls may run side by side and are answered after their records are
/// committed (METADATA 1). Before the controller has taken over they wait; after it has ended they are refused.
#[derive(Clone)]
pub struct ControllerHandle {
    pub(crate) inbox: mpsc::Sender<Message>,
    pub(crate) image: watch::Receiver<Arc<MetadataImage>>,
    pub(crate) state: watch::Receiver<HostState>,
    pub(crate) gateway: Arc<dyn TopicGateway>,
    pub(crate) metrics: Arc<HostMetrics>,
}

impl ControllerHandle {
    /// Registers a broker process.
    pub async fn register(&self, registration: Registration) -> Result<Registered, Refusal> {
        match self
            .ask(|answer| Message::Register {
                registration: Box::new(registration),
                answer,
            })
            .await?
        {
            Reply::Registered(registered) => Ok(Registered {
                broker_epoch: registered.epoch,
                cluster_id: registered.cluster_id,
                metadata_offset: registered.metadata_offset,
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// A broker lives.
    pub async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatAnswer, Refusal> {
        let heartbeat = controller::Heartbeat {
            session: session_id(heartbeat.session),
            applied: heartbeat.applied,
            want_shutdown: heartbeat.want_shutdown,
            ready: heartbeat.ready,
        };
        match self
            .call(move |request| Input::Heartbeat { request, heartbeat })
            .await?
        {
            Reply::Heartbeat(reply) => Ok(HeartbeatAnswer {
                fenced: reply.fenced,
                caught_up: reply.caught_up,
                may_shutdown: reply.may_shutdown,
                metadata_offset: reply.metadata_offset,
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Committed metadata from a position on.
    pub async fn watch(&self, watch: Watch) -> Result<MetadataWatch, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Watch {
            watch,
            inbox: self.inbox.clone(),
            answer,
        })
        .await?;
        answered.await.unwrap_or_else(|_| Err(refusal::ended()))
    }

    /// A client's admin request, by the way that the [`TopicGateway`] gives it.
    pub async fn forward(&self, request: AdminRequest) -> Result<Bytes, Refusal> {
        let gateway = Arc::clone(&self.gateway);
        gateway
            .forward(Forwarded {
                request,
                controller: self.clone(),
            })
            .await
    }

    /// A client's admin request, decided and committed here.
    pub async fn admin(&self, request: AdminRequest) -> Result<Bytes, Refusal> {
        let admin = controller::AdminRequest {
            principal: request.principal,
            listener: request.listener,
            api_key: request.api_key,
            api_version: request.api_version,
            body: request.body.into(),
        };
        match self.call(move |request| Input::Admin { request, admin }).await? {
            Reply::Admin(body) => Ok(body.into()),
            other => Err(unexpected(&other)),
        }
    }

    /// A block of producer ids.
    pub async fn allocate_producer_ids(&self, session: Session) -> Result<ProducerIdBlock, Refusal> {
        let session = session_id(session);
        match self
            .call(move |request| Input::AllocateProducerIds { request, session })
            .await?
        {
            Reply::ProducerIds { first, count } => Ok(ProducerIdBlock { first, count }),
            other => Err(unexpected(&other)),
        }
    }

    /// The leader of partitions proposes their in-sync replicas.
    pub async fn alter_partition(&self, alter: AlterPartition) -> Result<Vec<IsrOutcome>, Refusal> {
        let session = session_id(alter.session);
        let proposals = alter.proposals;
        let call = self.call(move |request| Input::AlterPartition {
            request,
            session,
            proposals,
        });
        match call.await? {
            Reply::AlterPartition(outcomes) => Ok(outcomes),
            other => Err(unexpected(&other)),
        }
    }

    /// A broker has purged removed topics (METADATA 25).
    pub async fn report_purged(&self, purged: Purged) -> Result<(), Refusal> {
        let session = session_id(purged.session);
        let topics = purged.topic_ids;
        done(
            self.call(move |request| Input::ReportPurged {
                request,
                session,
                topics,
            })
            .await?,
        )
    }

    /// A broker says what there is of its replicas (METADATA 17).
    pub async fn report_replicas(&self, said: ReplicaReports) -> Result<(), Refusal> {
        let session = session_id(said.session);
        let reports = said.reports;
        done(
            self.call(move |request| Input::ReportReplicas {
                request,
                session,
                reports,
            })
            .await?,
        )
    }

    /// A topic should be so.
    pub async fn desired_topic(&self, topic: DesiredTopic) -> Result<TopicState, controller::Refusal> {
        match self
            .decide(move |request| Input::TopicDesired { request, topic })
            .await?
        {
            Reply::Topic(state) => Ok(state),
            other => Err(controller::Refusal::InvalidRequest(format!(
                "unexpected answer {other:?}"
            ))),
        }
    }

    /// A topic should not be. Answered after its removal is committed (METADATA 3).
    pub async fn deleted_topic(&self, id: TopicId) -> Result<(), controller::Refusal> {
        self.decide(move |request| Input::TopicDeleted { request, id })
            .await
            .map(drop)
    }

    /// The cluster's own configuration, whole, and how many brokers it should have.
    pub async fn desired_cluster(
        &self,
        config: BTreeMap<String, String>,
        brokers: usize,
    ) -> Result<(), controller::Refusal> {
        self.decide(move |request| Input::ClusterDesired {
            request,
            config,
            brokers,
        })
        .await
        .map(drop)
    }

    /// What the command line says for the whole cluster. Answered after that is committed.
    pub async fn static_config(&self, config: BTreeMap<String, String>) -> Result<(), controller::Refusal> {
        self.decide(move |request| Input::StaticConfig { request, config })
            .await
            .map(drop)
    }

    /// Brokers will go: their replicas move to the others. How many are still there; ask again until it is none.
    pub async fn drain(&self, brokers: Vec<BrokerId>) -> Result<usize, controller::Refusal> {
        match self.decide(move |request| Input::Drain { request, brokers }).await? {
            Reply::Draining { left } => Ok(left),
            other => Err(controller::Refusal::InvalidRequest(format!(
                "unexpected answer {other:?}"
            ))),
        }
    }

    /// A broker is gone for good. Answered after that is committed.
    pub async fn unregister(&self, broker: BrokerId) -> Result<(), controller::Refusal> {
        self.decide(move |request| Input::Unregister { request, broker })
            .await
            .map(drop)
    }

    /// A broker's Lease has changed.
    pub async fn lease_seen(&self, broker: BrokerId, incarnation: Option<IncarnationId>) {
        self.tell(Input::LeaseSeen { broker, incarnation }).await;
    }

    /// A broker's process is dead.
    pub async fn broker_gone(&self, broker: BrokerId, incarnation: Option<IncarnationId>, proof: Proof) {
        self.tell(Input::BrokerGone {
            broker,
            incarnation,
            proof,
        })
        .await;
    }

    /// The committed image, now and as it changes. Empty until the controller has taken over.
    pub fn image(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.image.clone()
    }

    /// What the controller is doing, now and as it changes.
    pub fn state(&self) -> watch::Receiver<HostState> {
        self.state.clone()
    }

    /// Returns when the controller has taken over, or with its end.
    pub async fn leading(&self) -> Result<(), Ending> {
        let mut state = self.state.clone();
        match state.wait_for(|state| *state != HostState::TakingOver).await.as_deref() {
            Ok(HostState::Ended(ending)) => Err(ending.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(Ending::ShutDown),
        }
    }

    /// Returns when the controller has ended, and why.
    pub async fn ended(&self) -> Ending {
        let mut state = self.state.clone();
        match state
            .wait_for(|state| matches!(state, HostState::Ended(_)))
            .await
            .as_deref()
        {
            Ok(HostState::Ended(ending)) => ending.clone(),
            _ => Ending::ShutDown,
        }
    }

    /// What the host counts.
    pub fn metrics(&self) -> &HostMetrics {
        &self.metrics
    }

    /// Ends the controller: what waits is refused, nothing more is appended. An append on its way may still land.
    pub async fn shutdown(&self) {
        if self.inbox.send(Message::Shutdown).await.is_ok() {
            self.inbox.closed().await;
        }
    }

    async fn tell(&self, input: Input) {
        // An ended controller needs to know nothing.
        let _ = self.inbox.send(Message::Tell(input)).await;
    }

    /// A request of a broker.
    async fn call(&self, make: impl FnOnce(RequestId) -> Input + Send + 'static) -> Result<Reply, Refusal> {
        self.ask(|answer| Message::Call {
            make: Box::new(make),
            answer,
        })
        .await
    }

    async fn ask(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<Reply, Refusal>>) -> Message,
    ) -> Result<Reply, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.send(message(answer)).await?;
        match answered.await {
            Ok(Ok(Reply::Refused(refused))) => Err(refusal::to_contract(&refused)),
            Ok(answer) => answer,
            Err(_) => Err(refusal::ended()),
        }
    }

    /// A request of a reconciler, who acts on the controller's own reasons.
    async fn decide(
        &self,
        make: impl FnOnce(RequestId) -> Input + Send + 'static,
    ) -> Result<Reply, controller::Refusal> {
        let (answer, answered) = oneshot::channel();
        let message = Message::Call {
            make: Box::new(make),
            answer,
        };
        self.send(message).await.map_err(|_| controller::Refusal::NotReady)?;
        match answered.await {
            Ok(Ok(Reply::Refused(refused))) => Err(refused),
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) | Err(_) => Err(controller::Refusal::NotReady),
        }
    }

    async fn send(&self, message: Message) -> Result<(), Refusal> {
        self.inbox.send(message).await.map_err(|_| refusal::ended())
    }
}

impl std::fmt::Debug for ControllerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControllerHandle")
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}

fn session_id(session: Session) -> SessionId {
    SessionId {
        broker: session.broker_id,
        epoch: session.broker_epoch,
    }
}

fn done(reply: Reply) -> Result<(), Refusal> {
    match reply {
        Reply::Done => Ok(()),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(reply: &Reply) -> Refusal {
    Refusal::new(
        Reason::Invalid,
        format!("the controller gave another answer than was asked for: {reply:?}"),
    )
}
