use std::fs;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use model::record::{ClusterFormatted, ControllerElected};
use model::{
    BrokerEpoch, BrokerId, ClusterId, ControllerEpoch, Frame, IncarnationId, Lineage, MetadataImage, MetadataOffset,
    Nonce, Record,
};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::{ControlClient, ControlSettings};
use crate::messages::{Heartbeat, MetadataEvent, Opening, Position, Session, Watch};
use crate::proto::controller_server::{Controller, ControllerServer};
use crate::proto::watch_metadata_response::Part;
use crate::{ClusterRef, ControlError, GuardError, Reason, Refusal, StreamGuard, convert, proto};

const PATIENCE: Duration = Duration::from_secs(10);

/// A replica that answers from a script.
#[derive(Clone, Default)]
struct Replica {
    /// What every call is answered with, if anything.
    refusal: Arc<Mutex<Option<Refusal>>>,
    /// What `WatchMetadata` streams.
    stream: Arc<Mutex<Vec<proto::WatchMetadataResponse>>>,
    calls: Arc<AtomicUsize>,
    tokens: Arc<Mutex<Vec<Option<String>>>>,
}

impl Replica {
    async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = ControllerServer::new(self.clone());
        tokio::spawn(
            tonic::transport::Server::builder().serve_with_incoming(service, TcpListenerStream::new(listener)),
        );
        address
    }

    fn refuse(&self, refusal: Option<Refusal>) {
        *self.refusal.lock().unwrap() = refusal;
    }

    fn streaming(&self, parts: Vec<Part>) {
        let messages = parts
            .into_iter()
            .map(|part| proto::WatchMetadataResponse { part: Some(part) });
        *self.stream.lock().unwrap() = messages.collect();
    }

    fn answer<T>(&self, request: &Request<T>) -> Result<(), Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let token = request
            .metadata()
            .get("authorization")
            .map(|token| token.to_str().unwrap().to_owned());
        self.tokens.lock().unwrap().push(token);
        match self.refusal.lock().unwrap().clone() {
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl Controller for Replica {
    type WatchMetadataStream = Pin<Box<dyn Stream<Item = Result<proto::WatchMetadataResponse, Status>> + Send>>;

    async fn register(
        &self,
        request: Request<proto::RegisterRequest>,
    ) -> Result<Response<proto::RegisterResponse>, Status> {
        self.answer(&request)?;
        let cluster_id = ClusterId::from_random([1; 16]).to_string();
        Ok(Response::new(proto::RegisterResponse {
            broker_epoch: 3,
            cluster_id,
            metadata_offset: 3,
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<proto::HeartbeatRequest>,
    ) -> Result<Response<proto::HeartbeatResponse>, Status> {
        self.answer(&request)?;
        let answer = proto::HeartbeatResponse {
            fenced: true,
            caught_up: true,
            ..Default::default()
        };
        Ok(Response::new(answer))
    }

    async fn watch_metadata(
        &self,
        request: Request<proto::WatchMetadataRequest>,
    ) -> Result<Response<Self::WatchMetadataStream>, Status> {
        self.answer(&request)?;
        let script: Vec<_> = self.stream.lock().unwrap().iter().cloned().map(Ok).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(script))))
    }

    async fn forward(
        &self,
        request: Request<proto::ForwardRequest>,
    ) -> Result<Response<proto::ForwardResponse>, Status> {
        self.answer(&request)?;
        Ok(Response::new(proto::ForwardResponse {
            body: Bytes::from_static(b"done"),
        }))
    }

    async fn allocate_producer_ids(
        &self,
        request: Request<proto::AllocateProducerIdsRequest>,
    ) -> Result<Response<proto::AllocateProducerIdsResponse>, Status> {
        self.answer(&request)?;
        Ok(Response::new(proto::AllocateProducerIdsResponse {
            first: 1_000_000,
            count: 1_000_000,
        }))
    }

    async fn report_purged(
        &self,
        request: Request<proto::ReportPurgedRequest>,
    ) -> Result<Response<proto::ReportPurgedResponse>, Status> {
        self.answer(&request)?;
        Ok(Response::new(proto::ReportPurgedResponse {}))
    }

    async fn report_replicas(
        &self,
        request: Request<proto::ReportReplicasRequest>,
    ) -> Result<Response<proto::ReportReplicasResponse>, Status> {
        self.answer(&request)?;
        Ok(Response::new(proto::ReportReplicasResponse {}))
    }

    async fn offer_image(
        &self,
        _: Request<proto::OfferImageRequest>,
    ) -> Result<Response<proto::OfferImageResponse>, Status> {
        Err(Status::unimplemented("not part of this test"))
    }

    async fn alter_partition(
        &self,
        request: Request<proto::AlterPartitionRequest>,
    ) -> Result<Response<proto::AlterPartitionResponse>, Status> {
        self.answer(&request)?;
        Ok(Response::new(proto::AlterPartitionResponse::default()))
    }
}

fn settings(target: impl std::fmt::Display) -> ControlSettings {
    ControlSettings {
        cluster: ClusterRef::standalone(),
        target: target.to_string(),
        ca_file: None,
        server_name: None,
        token_file: None,
        incarnation: IncarnationId::from_random([8; 16]),
    }
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        session: Session {
            broker_id: BrokerId(1),
            broker_epoch: BrokerEpoch(3),
        },
        incarnation: IncarnationId::from_random([8; 16]),
        applied: MetadataOffset(3),
        chain_hash: None,
        want_shutdown: false,
        ready: true,
    }
}

/// Some history: an image after each record, and the frames that made them.
fn history() -> (Vec<MetadataImage>, Vec<Frame>) {
    let mut image = MetadataImage::empty();
    let records: Vec<Record> = vec![
        ClusterFormatted {
            cluster_id: ClusterId::from_random([1; 16]),
            lineage: Lineage::from_random([2; 16]),
            features: [("barnabas.version".to_owned(), 2)].into(),
        }
        .into(),
        elected(1),
        elected(2),
        elected(3),
    ];
    let (mut images, mut frames) = (Vec::new(), Vec::new());
    for record in records {
        frames.push(image.append(record).unwrap());
        images.push(image.clone());
    }
    (images, frames)
}

fn elected(epoch: i64) -> Record {
    let nonce = Nonce::from_random([epoch as u8; 16]);
    ControllerElected {
        epoch: ControllerEpoch(epoch),
        nonce,
        holder: "test".to_owned(),
    }
    .into()
}

fn opening(image: &MetadataImage) -> Part {
    Part::Opening((&opening_of(image)).into())
}

fn opening_of(image: &MetadataImage) -> Opening {
    Opening {
        identity: image.identity(),
        cluster_id: image.cluster_id().unwrap().clone(),
        metadata_offset: image.offset(),
    }
}

fn snapshot(image: &MetadataImage) -> Vec<Part> {
    convert::snapshot_to_proto(image)
        .filter_map(|message| message.part)
        .collect()
}

fn records(frames: &[Frame]) -> Part {
    Part::Frames(proto::Frames {
        lines: frames.iter().map(Frame::to_line).collect(),
    })
}

fn watch_from(image: Option<&MetadataImage>) -> Watch {
    Watch {
        broker_id: BrokerId(1),
        incarnation: IncarnationId::from_random([8; 16]),
        position: image.map(Position::of),
    }
}

struct Following {
    client: ControlClient,
    replica: Replica,
    guard: StreamGuard,
    _directory: tempfile::TempDir,
}

impl Following {
    async fn start(parts: Vec<Part>) -> Self {
        let replica = Replica::default();
        replica.streaming(parts);
        let client = ControlClient::new(settings(replica.start().await)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let guard = StreamGuard::open(directory.path().join("stream.json")).unwrap();
        Self {
            client,
            replica,
            guard,
            _directory: directory,
        }
    }

    async fn first_event(&mut self, from: Option<&MetadataImage>) -> Result<Option<MetadataEvent>, ControlError> {
        self.client
            .watch(&watch_from(from), &mut self.guard, PATIENCE)
            .await?
            .next()
            .await
    }
}

#[tokio::test]
async fn the_client_follows_the_hint_of_a_replica_that_is_not_the_controller() {
    let (follower, controller) = (Replica::default(), Replica::default());
    let hint = controller.start().await.to_string();
    follower.refuse(Some(Refusal::not_controller(Some(hint))));
    let client = ControlClient::new(settings(follower.start().await)).unwrap();
    let answer = client.heartbeat(&heartbeat()).await.unwrap();
    assert!(answer.fenced && answer.caught_up);
    client.heartbeat(&heartbeat()).await.unwrap();
    assert_eq!(
        follower.calls.load(Ordering::SeqCst),
        1,
        "the one who answered is asked first from then on"
    );
}

#[tokio::test]
async fn the_client_waits_for_a_controller_that_is_not_elected_yet() {
    let replica = Replica::default();
    replica.refuse(Some(Refusal::not_controller(None)));
    let client = ControlClient::new(settings(replica.start().await)).unwrap();
    let session = heartbeat().session;
    let patient = tokio::spawn(async move { client.allocate_producer_ids(session, PATIENCE).await });
    while replica.calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    replica.refuse(None);
    assert_eq!(patient.await.unwrap().unwrap().first.0, 1_000_000);
}

#[tokio::test]
async fn a_final_refusal_is_told_at_once() {
    let replica = Replica::default();
    replica.refuse(Some(Refusal::new(
        Reason::StaleBrokerEpoch,
        "broker 1 is registered with epoch 9",
    )));
    let client = ControlClient::new(settings(replica.start().await)).unwrap();
    let refused = client
        .allocate_producer_ids(heartbeat().session, PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(&refused, ControlError::Refused(refusal) if refusal.reason == Reason::StaleBrokerEpoch));
    assert!(refused.to_string().contains("epoch 9"));
    assert_eq!(replica.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = ControlClient::new(settings(address)).unwrap();
    let error = client.heartbeat(&heartbeat()).await.unwrap_err();
    assert!(error.is_retriable());
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn the_client_reconnects_when_the_controller_comes_back_elsewhere() {
    let first = Replica::default();
    let client = ControlClient::new(settings(first.start().await)).unwrap();
    client.heartbeat(&heartbeat()).await.unwrap();
    let second = Replica::default();
    let hint = second.start().await.to_string();
    first.refuse(Some(Refusal::not_controller(Some(hint))));
    client.heartbeat(&heartbeat()).await.unwrap();
    assert_eq!(second.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_token_is_read_again_for_each_call() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let replica = Replica::default();
    let settings = ControlSettings {
        token_file: Some(path.clone()),
        ..settings(replica.start().await)
    };
    let client = ControlClient::new(settings).unwrap();
    for token in ["one", "two"] {
        fs::write(&path, format!("{token}\n")).unwrap();
        client.heartbeat(&heartbeat()).await.unwrap();
    }
    let seen: Vec<_> = replica.tokens.lock().unwrap().iter().flatten().cloned().collect();
    assert_eq!(seen, ["Bearer one", "Bearer two"]);
    fs::remove_file(&path).unwrap();
    let missing = client.heartbeat(&heartbeat()).await.unwrap_err();
    assert!(missing.to_string().contains("token"), "{missing}");
}

#[tokio::test]
async fn a_target_without_a_port_is_refused_by_name() {
    for target in ["operator", ":9405", "operator:port"] {
        let refused = ControlClient::new(settings(target)).unwrap_err();
        assert!(refused.to_string().contains(target), "{refused}");
    }
}

#[tokio::test]
async fn a_broker_without_an_image_gets_a_snapshot_and_then_records() {
    let (images, frames) = history();
    let mut parts = vec![opening(&images[3])];
    parts.extend(snapshot(&images[2]));
    parts.push(records(&frames[3..]));
    let mut following = Following::start(parts).await;
    let mut stream = following
        .client
        .watch(&watch_from(None), &mut following.guard, PATIENCE)
        .await
        .unwrap();
    assert_eq!(stream.opening().metadata_offset, MetadataOffset(3));
    let Ok(Some(MetadataEvent::Snapshot(mut image))) = stream.next().await else {
        panic!("no snapshot")
    };
    assert_eq!(image, images[2]);
    let Ok(Some(MetadataEvent::Frames(frames))) = stream.next().await else {
        panic!("no records")
    };
    for frame in &frames {
        image.apply_frame(frame).unwrap();
    }
    assert_eq!(image, images[3]);
    assert!(matches!(stream.next().await, Ok(None)));
}

#[tokio::test]
async fn rule_07_an_image_at_a_lower_offset_is_refused_within_a_lineage() {
    let (images, _) = history();
    let mut parts = vec![opening(&images[3])];
    parts.extend(snapshot(&images[1]));
    let mut following = Following::start(parts).await;
    let refused = following.first_event(Some(&images[2])).await.unwrap_err();
    assert!(
        matches!(refused, ControlError::Guard(GuardError::Back { .. })),
        "{refused}"
    );
}

#[tokio::test]
async fn rule_07_records_that_do_not_follow_are_refused() {
    let (images, frames) = history();
    for (from, sent) in [(&images[1], &frames[3..]), (&images[2], &frames[2..])] {
        let mut following = Following::start(vec![opening(&images[3]), records(sent)]).await;
        let refused = following.first_event(Some(from)).await.unwrap_err();
        assert!(
            matches!(refused, ControlError::Guard(GuardError::Back { .. })),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn rule_07_a_controller_of_the_past_is_not_followed_after_a_later_one() {
    let (images, frames) = history();
    let mut following = Following::start(vec![opening(&images[3]), records(&frames[3..])]).await;
    following.first_event(Some(&images[2])).await.unwrap();
    following
        .replica
        .streaming(vec![opening(&images[2]), records(&frames[2..3])]);
    let refused = following.first_event(Some(&images[1])).await.unwrap_err();
    assert!(
        matches!(refused, ControlError::Guard(GuardError::Lower { .. })),
        "{refused}"
    );
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_an_opening_is_not_followed() {
    let (images, frames) = history();
    let mut following = Following::start(vec![records(&frames[3..])]).await;
    let refused = following.first_event(Some(&images[2])).await.unwrap_err();
    assert!(matches!(refused, ControlError::Contract(_)), "{refused}");
}

#[tokio::test]
async fn rule_09_a_record_of_a_later_version_stops_the_stream() {
    let (images, frames) = history();
    let line = frames[3].to_line().replace("ControllerElected", "ControllerCrowned");
    let later = Part::Frames(proto::Frames { lines: vec![line] });
    let mut following = Following::start(vec![opening(&images[3]), later]).await;
    let refused = following.first_event(Some(&images[2])).await.unwrap_err();
    assert!(refused.to_string().contains("ControllerCrowned"), "{refused}");
    assert!(!refused.is_retriable());
}

#[tokio::test]
async fn chunks_out_of_order_make_no_image() {
    let (images, _) = history();
    let mut parts = vec![opening(&images[3])];
    for part in snapshot(&images[3]) {
        let Part::Snapshot(chunk) = part else {
            panic!("not a chunk")
        };
        parts.push(Part::Snapshot(proto::SnapshotChunk {
            index: chunk.index + 1,
            ..chunk
        }));
    }
    let mut following = Following::start(parts).await;
    let refused = following.first_event(None).await.unwrap_err();
    assert!(matches!(refused, ControlError::Contract(_)), "{refused}");
}

#[tokio::test]
async fn rule_07_after_a_controller_of_the_past_another_address_is_asked() {
    let (images, frames) = history();
    let mut following = Following::start(vec![opening(&images[2]), records(&frames[2..3])]).await;
    let mut newest = opening_of(&images[3]);
    newest.metadata_offset = MetadataOffset(9);
    following.guard.admit(&newest).unwrap();
    let refused = following.first_event(Some(&images[1])).await.unwrap_err();
    assert!(
        matches!(refused, ControlError::Guard(GuardError::Lower { .. })) && refused.is_retriable(),
        "{refused}"
    );
    assert_eq!(following.replica.calls.load(Ordering::SeqCst), 1);
    // Only one address resolves, so it is asked again, last.
    assert!(following.first_event(Some(&images[1])).await.is_err());
    assert_eq!(following.replica.calls.load(Ordering::SeqCst), 2);
}
