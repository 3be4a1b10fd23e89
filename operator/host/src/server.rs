//! The gRPC service: parses, authenticates, finds the controller of the cluster, and passes on.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use control::proto::controller_server::{Controller, ControllerServer};
use control::proto::watch_metadata_response::Part;
use control::{
    AdminRequest, AlterPartition, ClusterRef, Heartbeat, MAX_MESSAGE_BYTES, MetadataEvent, Purged, Reason, Refusal,
    Registration, ReplicaReports, Session, Watch, proto,
};
use model::{BrokerId, Frame};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::ServerTlsConfig;
use tonic::transport::server::TcpIncoming;
use tonic::{Extensions, Request, Response, Status};

use crate::auth::{Authenticator, Claim};
use crate::guard::{Gate, Guarded, Proved};
use crate::handle::ControllerHandle;
use crate::message::MetadataWatch;

/// Messages of one stream that are made before the network takes them: what a slow reader costs.
const STREAM_BACKLOG: usize = 4;

/// A peer that vanished without a word is noticed within twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What open calls have to end after the shutdown began.
const GRACE: Duration = Duration::from_secs(1);

/// Calls of one connection that run side by side at most.
const CALLS_PER_CONNECTION: usize = 256;

/// Finds the controller of a cluster.
pub trait Resolver: Send + Sync + 'static {
    /// The controller, or a refusal that says where to ask ([`Refusal::not_controller`]).
    fn resolve(&self, cluster: &ClusterRef) -> Result<ControllerHandle, Refusal>;

    /// A broker shows the metadata on its disk, because the log is made anew (METADATA 24).
    fn offer(&self, _: &ClusterRef, _: BrokerId, _: Vec<u8>) -> Result<(), Refusal> {
        Err(Refusal::not_controller(None))
    }

    /// The failure domain of a broker, where somebody else knows it better than the broker.
    fn rack(&self, _: &ClusterRef, _: BrokerId) -> impl Future<Output = Option<String>> + Send {
        std::future::ready(None)
    }
}

impl<F> Resolver for F
where
    F: Fn(&ClusterRef) -> Result<ControllerHandle, Refusal> + Send + Sync + 'static,
{
    fn resolve(&self, cluster: &ClusterRef) -> Result<ControllerHandle, Refusal> {
        self(cluster)
    }
}

/// One controller, whatever the cluster is called: outside Kubernetes.
#[derive(Debug, Clone)]
pub struct Single(pub ControllerHandle);

impl Resolver for Single {
    fn resolve(&self, _: &ClusterRef) -> Result<ControllerHandle, Refusal> {
        Ok(self.0.clone())
    }
}

/// Serves the contract on a bound listener until `shutdown` is ready. Open calls then have a second to end: streams
/// end with their controller, so shut that down first.
///
/// Without `tls` it speaks plaintext: only for loopback, or with a shared token on a trusted network.
pub async fn serve_control(
    listener: TcpListener,
    tls: Option<ServerTlsConfig>,
    authenticator: impl Authenticator,
    resolver: impl Resolver,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
    let gate = Gate::default();
    let incoming = incoming.filter_map(move |accepted| accepted.map(|socket| gate.admit(socket)).transpose());
    let authenticator = Arc::new(authenticator);
    let service = Service {
        shared: Arc::new(Shared {
            authenticator: Arc::clone(&authenticator),
            resolver,
        }),
    };
    let service = ControllerServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let service = Guarded::new(authenticator, service);
    let mut server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION);
    if let Some(tls) = tls {
        server = server.tls_config(tls).map_err(io::Error::other)?;
    }
    let (begin_end, end_begun) = oneshot::channel();
    let shutdown = async {
        shutdown.await;
        let _ = begin_end.send(());
    };
    let grace_over = async {
        match end_begun.await {
            Ok(()) => tokio::time::sleep(GRACE).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        served = server.serve_with_incoming_shutdown(service, incoming, shutdown) => served.map_err(io::Error::other),
        () = grace_over => Ok(()),
    }
}

struct Shared<A, R> {
    authenticator: Arc<A>,
    resolver: R,
}

struct Service<A, R> {
    shared: Arc<Shared<A, R>>,
}

impl<A: Authenticator, R: Resolver> Service<A, R> {
    /// The controller of the cluster that a request names, if its caller may speak for that broker.
    fn admit(
        &self,
        extensions: &Extensions,
        cluster: Option<proto::ClusterRef>,
        broker: i32,
        pod_uid: Option<&str>,
    ) -> Result<ControllerHandle, Refusal> {
        let cluster = self.authorize(extensions, cluster, broker, pod_uid)?;
        self.shared.resolver.resolve(&cluster)
    }

    /// The cluster that a request names, if its caller may speak for that broker.
    fn authorize(
        &self,
        extensions: &Extensions,
        cluster: Option<proto::ClusterRef>,
        broker: i32,
        pod_uid: Option<&str>,
    ) -> Result<ClusterRef, Refusal> {
        let cluster = ClusterRef::try_from(cluster)?;
        let claim = Claim {
            cluster: &cluster,
            broker: BrokerId(broker),
            pod_uid: pod_uid.filter(|uid| !uid.is_empty()),
        };
        let Some(Proved(identity)) = extensions.get::<Proved<A::Identity>>() else {
            return Err(Refusal::new(Reason::Unauthenticated, "nobody was asked who calls"));
        };
        self.shared.authenticator.authorize(identity, &claim)?;
        Ok(cluster)
    }
}

macro_rules! admit {
    ($service:expr, $request:expr) => {
        admit!($service, $request, |_: &_| None::<String>)
    };
    ($service:expr, $request:expr, $pod_uid:expr) => {{
        let (_, extensions, mut message) = $request.into_parts();
        let cluster = message.cluster.take();
        let controller = $service.admit(&extensions, cluster, message.broker_id, $pod_uid(&message).as_deref())?;
        (controller, message)
    }};
}

#[tonic::async_trait]
impl<A: Authenticator, R: Resolver> Controller for Service<A, R> {
    type WatchMetadataStream = Pin<Box<dyn Stream<Item = Result<proto::WatchMetadataResponse, Status>> + Send>>;

    async fn register(
        &self,
        request: Request<proto::RegisterRequest>,
    ) -> Result<Response<proto::RegisterResponse>, Status> {
        let pod_uid = |message: &proto::RegisterRequest| Some(message.pod_uid.clone());
        let cluster = request.get_ref().cluster.clone();
        let (controller, message) = admit!(self, request, pod_uid);
        let mut registration = Registration::try_from(message).map_err(Refusal::from)?;
        let cluster = ClusterRef::try_from(cluster).map_err(Refusal::from)?;
        if let Some(rack) = self.shared.resolver.rack(&cluster, registration.broker_id).await {
            registration.rack = Some(rack);
        }
        Ok(Response::new(controller.register(registration).await?.into()))
    }

    async fn heartbeat(
        &self,
        request: Request<proto::HeartbeatRequest>,
    ) -> Result<Response<proto::HeartbeatResponse>, Status> {
        let (controller, message) = admit!(self, request);
        let heartbeat = Heartbeat::try_from(message).map_err(Refusal::from)?;
        Ok(Response::new(controller.heartbeat(heartbeat).await?.into()))
    }

    async fn watch_metadata(
        &self,
        request: Request<proto::WatchMetadataRequest>,
    ) -> Result<Response<Self::WatchMetadataStream>, Status> {
        let (controller, message) = admit!(self, request);
        let takes_suspicions = message.takes_suspicions;
        let watch = Watch::try_from(message).map_err(Refusal::from)?;
        let watch = controller.watch(watch).await?;
        let (sender, receiver) = mpsc::channel(STREAM_BACKLOG);
        tokio::spawn(stream(watch, takes_suspicions, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver).map(Ok))))
    }

    async fn forward(
        &self,
        request: Request<proto::ForwardRequest>,
    ) -> Result<Response<proto::ForwardResponse>, Status> {
        let (controller, message) = admit!(self, request);
        let request = AdminRequest::try_from(message).map_err(Refusal::from)?;
        Ok(Response::new(proto::ForwardResponse {
            body: controller.forward(request).await?,
        }))
    }

    async fn allocate_producer_ids(
        &self,
        request: Request<proto::AllocateProducerIdsRequest>,
    ) -> Result<Response<proto::AllocateProducerIdsResponse>, Status> {
        let (controller, message) = admit!(self, request);
        let session = Session::try_from(message).map_err(Refusal::from)?;
        Ok(Response::new(controller.allocate_producer_ids(session).await?.into()))
    }

    async fn report_purged(
        &self,
        request: Request<proto::ReportPurgedRequest>,
    ) -> Result<Response<proto::ReportPurgedResponse>, Status> {
        let (controller, message) = admit!(self, request);
        let purged = Purged::try_from(message).map_err(Refusal::from)?;
        controller.report_purged(purged).await?;
        Ok(Response::new(proto::ReportPurgedResponse {}))
    }

    async fn report_replicas(
        &self,
        request: Request<proto::ReportReplicasRequest>,
    ) -> Result<Response<proto::ReportReplicasResponse>, Status> {
        let (controller, message) = admit!(self, request);
        let reports = ReplicaReports::try_from(message).map_err(Refusal::from)?;
        controller.report_replicas(reports).await?;
        Ok(Response::new(proto::ReportReplicasResponse {}))
    }

    async fn alter_partition(
        &self,
        request: Request<proto::AlterPartitionRequest>,
    ) -> Result<Response<proto::AlterPartitionResponse>, Status> {
        let (controller, message) = admit!(self, request);
        let alter = AlterPartition::try_from(message).map_err(Refusal::from)?;
        let outcomes = controller.alter_partition(alter).await?;
        Ok(Response::new(control::outcomes_to_proto(outcomes)))
    }

    async fn offer_image(
        &self,
        request: Request<proto::OfferImageRequest>,
    ) -> Result<Response<proto::OfferImageResponse>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let cluster = self.authorize(&extensions, message.cluster.take(), message.broker_id, None)?;
        let broker = BrokerId(message.broker_id);
        self.shared.resolver.offer(&cluster, broker, message.image)?;
        Ok(Response::new(proto::OfferImageResponse {}))
    }
}

/// Sends what a watch brings until either side ends. Dropping the watch tells the controller.
async fn stream(mut watch: MetadataWatch, takes_suspicions: bool, sender: mpsc::Sender<proto::WatchMetadataResponse>) {
    let opening = proto::WatchMetadataResponse {
        part: Some(Part::Opening(watch.opening().into())),
    };
    if sender.send(opening).await.is_err() {
        return;
    }
    loop {
        let event = tokio::select! {
            event = watch.next() => event,
            () = sender.closed() => None,
        };
        let sent = match event {
            Some(MetadataEvent::Snapshot(image)) => send_all(&sender, control::snapshot_to_proto(&image)).await,
            Some(MetadataEvent::Frames(frames)) => {
                send_all(&sender, control::frames_to_proto(frames.iter().map(Frame::to_line))).await
            }
            Some(MetadataEvent::Suspicion(suspicion)) => {
                send_all(&sender, takes_suspicions.then(|| suspicion.into())).await
            }
            None => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn send_all(
    sender: &mpsc::Sender<proto::WatchMetadataResponse>,
    messages: impl IntoIterator<Item = proto::WatchMetadataResponse>,
) -> Result<(), ()> {
    for message in messages {
        sender.send(message).await.map_err(drop)?;
    }
    Ok(())
}
