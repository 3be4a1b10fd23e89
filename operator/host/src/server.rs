//! The gRPC service: parses, authenticates, finds the controller of the cluster, and passes on.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use control::proto::controller_server::{Controller, ControllerServer};
use control::proto::watch_metadata_response::Part;
use control::{
    AdminRequest, ClusterRef, Heartbeat, MAX_MESSAGE_BYTES, MetadataEvent, Purged, Refusal, Registration, Session,
    Watch, proto,
};
use model::{BrokerId, Frame};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::metadata::MetadataMap;
use tonic::transport::ServerTlsConfig;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::auth::{Authenticator, Caller};
use crate::handle::{ControllerHandle, MetadataWatch};

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
    let service = Service {
        shared: Arc::new(Shared {
            authenticator,
            resolver,
        }),
    };
    let service = ControllerServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
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
    authenticator: A,
    resolver: R,
}

struct Service<A, R> {
    shared: Arc<Shared<A, R>>,
}

impl<A: Authenticator, R: Resolver> Service<A, R> {
    /// The controller of the cluster that a request names, if its caller may speak for that broker.
    async fn admit(
        &self,
        metadata: &MetadataMap,
        peer: Option<SocketAddr>,
        cluster: Option<proto::ClusterRef>,
        broker: i32,
    ) -> Result<ControllerHandle, Refusal> {
        let cluster = ClusterRef::try_from(cluster)?;
        let caller = Caller::new(peer, metadata, &cluster, BrokerId(broker));
        self.shared.authenticator.authenticate(&caller).await?;
        self.shared.resolver.resolve(&cluster)
    }
}

macro_rules! admit {
    ($service:expr, $request:expr) => {{
        let peer = $request.remote_addr();
        let (metadata, _, mut message) = $request.into_parts();
        let controller = $service
            .admit(&metadata, peer, message.cluster.take(), message.broker_id)
            .await?;
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
        let (controller, message) = admit!(self, request);
        let registration = Registration::try_from(message).map_err(Refusal::from)?;
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
        let watch = Watch::try_from(message).map_err(Refusal::from)?;
        let watch = controller.watch(watch).await?;
        let (sender, receiver) = mpsc::channel(STREAM_BACKLOG);
        tokio::spawn(stream(watch, sender));
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
}

/// Sends what a watch brings until either side ends. Dropping the watch tells the controller.
async fn stream(mut watch: MetadataWatch, sender: mpsc::Sender<proto::WatchMetadataResponse>) {
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
