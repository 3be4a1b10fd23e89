//! A folder, a controller, a server and a client: what a broker that joins goes through.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use control::{
    AlterPartition, ClusterRef, ControlClient, ControlError, ControlSettings, MetadataEvent, MetadataStream, Reason,
    Refusal, Registered, Registration, SERVER_NAME, StreamGuard,
};
use controller::Format;
use controller_host::{
    Authenticator, Caller, Claim, ControllerHandle, ControllerHost, Direct, FileStore, Loopback, Resolver, SharedToken,
    Single, advertised_addresses, serve_control,
};
use model::{BrokerId, ControllerEpoch, IncarnationId, IsrMember, IsrProposal, MetadataImage, PartitionIndex};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tonic::Request;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Identity, ServerTlsConfig};
use tonic_prost::ProstCodec;

use crate::support::{apply, create_topic, created, heartbeat, registration, session, settings, watch};

const PATIENCE: Duration = Duration::from_secs(20);

fn controller(folder: &Path) -> ControllerHandle {
    let formatted = if FileStore::exists(folder) {
        Format::Refuse
    } else {
        Format::New(None)
    };
    let settings = controller::Settings {
        format: formatted,
        ..settings()
    };
    ControllerHost::spawn(settings, FileStore::open(folder).unwrap(), Direct, advertised_addresses)
}

struct Server {
    address: SocketAddr,
    /// Dropping it stops the server.
    _stop: oneshot::Sender<()>,
}

fn serve(authenticator: impl Authenticator, resolver: impl Resolver, tls: Option<ServerTlsConfig>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let shutdown = async {
            let _ = stopped.await;
        };
        serve_control(listener, tls, authenticator, resolver, shutdown)
            .await
            .unwrap();
    });
    Server { address, _stop: stop }
}

fn client_settings(address: SocketAddr) -> ControlSettings {
    ControlSettings {
        cluster: ClusterRef::standalone(),
        target: address.to_string(),
        ca_file: None,
        server_name: None,
        token_file: None,
        incarnation: IncarnationId::from_random([5; 16]),
    }
}

fn client(address: SocketAddr) -> ControlClient {
    ControlClient::new(client_settings(address)).unwrap()
}

async fn follow(stream: &mut MetadataStream, image: &mut MetadataImage, enough: impl Fn(&MetadataImage) -> bool) {
    while !enough(image) {
        apply(image, stream.next().await.unwrap().expect("the stream goes on"));
    }
}

async fn join(client: &ControlClient, id: i32) -> (Registration, Registered) {
    let registration = registration(id);
    let registered = client.register(&registration, PATIENCE).await.unwrap();
    client.heartbeat(&heartbeat(&registration, &registered)).await.unwrap();
    (registration, registered)
}

#[tokio::test]
async fn a_broker_joins_follows_creates_a_topic_and_finds_all_of_it_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("metadata");
    let guard_file = directory.path().join("stream.json");
    let mut image = MetadataImage::empty();
    {
        let handle = controller(&folder);
        let server = serve(Loopback, Single(handle.clone()), None);
        let client = client(server.address);
        let (registration, registered) = join(&client, 1).await;
        assert_eq!(
            client.register(&registration, PATIENCE).await.unwrap(),
            registered,
            "the same incarnation again"
        );
        let mut guard = StreamGuard::open(&guard_file).unwrap();
        let mut stream = client
            .watch(&watch(&registration, None), &mut guard, PATIENCE)
            .await
            .unwrap();
        follow(&mut stream, &mut image, |image| image.is_eligible(BrokerId(1))).await;
        let session = session(&registration, &registered);
        let body = client.forward(create_topic(session, "mail"), PATIENCE).await.unwrap();
        assert_eq!(created(&body), 0);
        follow(&mut stream, &mut image, |image| image.topic_by_name("mail").is_some()).await;
        let topic = image.topic_by_name("mail").unwrap().clone();
        let proposal = IsrProposal {
            topic: topic.id,
            partition: PartitionIndex(0),
            leader_epoch: topic.partitions[0].leader_epoch,
            partition_epoch: topic.partitions[0].partition_epoch,
            isr: vec![IsrMember {
                broker: BrokerId(1),
                epoch: registered.broker_epoch,
            }],
        };
        let alter = AlterPartition {
            session,
            proposals: vec![proposal],
        };
        let outcomes = client.alter_partition(&alter).await.unwrap();
        assert_eq!(outcomes[0].error_code, 0);
        assert_eq!(outcomes[0].partition_epoch, topic.partitions[0].partition_epoch.next());
        let again = client.alter_partition(&alter).await.unwrap();
        assert_ne!(again[0].error_code, 0, "the partition epoch has moved on");
        let block = client.allocate_producer_ids(session, PATIENCE).await.unwrap();
        follow(&mut stream, &mut image, |image| {
            image.next_producer_id().0 >= block.first.0 + i64::from(block.count)
        })
        .await;
        assert_eq!(image, **handle.image().borrow());
        handle.shutdown().await;
        assert!(
            stream.next().await.unwrap().is_none(),
            "the stream ends with its controller"
        );
    }
    let handle = controller(&folder);
    handle.leading().await.unwrap();
    let server = serve(Loopback, Single(handle.clone()), None);
    let client = client(server.address);
    let mut guard = StreamGuard::open(&guard_file).unwrap();
    let registration = registration(1);
    let mut stream = client
        .watch(&watch(&registration, Some(&image)), &mut guard, PATIENCE)
        .await
        .unwrap();
    assert_eq!(stream.opening().identity.controller_epoch, ControllerEpoch(2));
    // The records since are enough, and the fold of both sides is one.
    follow(&mut stream, &mut image, |image| {
        image.controller_epoch() == ControllerEpoch(2)
    })
    .await;
    assert_eq!(image, **handle.image().borrow());
    assert_eq!(image.topic_by_name("mail").unwrap().partitions.len(), 3);
}

#[tokio::test]
async fn others_hear_at_once_that_a_broker_may_be_dead() {
    let directory = tempfile::tempdir().unwrap();
    let handle = controller(&directory.path().join("metadata"));
    let server = serve(Loopback, Single(handle.clone()), None);
    let client = client(server.address);
    let (survivor, _) = join(&client, 1).await;
    let (victim, registered) = join(&client, 2).await;
    let mut guards = ["one", "two"].map(|name| StreamGuard::open(directory.path().join(name)).unwrap());
    let [first, second] = &mut guards;
    let mut stream = client.watch(&watch(&survivor, None), first, PATIENCE).await.unwrap();
    let mut image = MetadataImage::empty();
    follow(&mut stream, &mut image, |image| image.is_eligible(BrokerId(2))).await;
    drop(client.watch(&watch(&victim, None), second, PATIENCE).await.unwrap());
    let suspicion = loop {
        match stream.next().await.unwrap().expect("the stream goes on") {
            MetadataEvent::Suspicion(suspicion) => break suspicion,
            other => apply(&mut image, other),
        }
    };
    assert_eq!(
        (suspicion.broker, suspicion.epoch),
        (BrokerId(2), registered.broker_epoch)
    );
    assert!(image.is_eligible(BrokerId(2)), "nothing is decided yet");
}

#[tokio::test]
async fn a_broker_with_an_old_epoch_is_told_to_register_anew() {
    let directory = tempfile::tempdir().unwrap();
    let handle = controller(&directory.path().join("metadata"));
    let server = serve(Loopback, Single(handle), None);
    let client = client(server.address);
    let (first, old) = join(&client, 1).await;
    let (_, new) = join(&client, 1).await;
    assert!(new.broker_epoch > old.broker_epoch);
    let refused = client.heartbeat(&heartbeat(&first, &old)).await.unwrap_err();
    assert!(
        matches!(
            refused,
            ControlError::Refused(Refusal {
                reason: Reason::StaleBrokerEpoch,
                ..
            })
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn who_does_not_hold_the_token_is_refused_before_anything_is_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let handle = controller(&directory.path().join("metadata"));
    let server = serve(SharedToken::new("secret").unwrap(), Single(handle.clone()), None);
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, "guess").unwrap();
    let guessing = ControlSettings {
        token_file: Some(token_file.clone()),
        ..client_settings(server.address)
    };
    for settings in [client_settings(server.address), guessing.clone()] {
        let refused = ControlClient::new(settings)
            .unwrap()
            .register(&registration(1), PATIENCE)
            .await
            .unwrap_err();
        let reason = match refused {
            ControlError::Refused(refusal) => refusal.reason,
            other => panic!("{other}"),
        };
        assert_eq!(reason, Reason::Unauthenticated);
    }
    assert!(handle.image().borrow().brokers().is_empty());
    std::fs::write(&token_file, "secret\n").unwrap();
    ControlClient::new(guessing)
        .unwrap()
        .register(&registration(1), PATIENCE)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_replica_that_is_not_the_controller_says_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let handle = controller(&directory.path().join("metadata"));
    let controller = serve(Loopback, Single(handle), None);
    let hint = controller.address.to_string();
    let elsewhere = move |_: &ClusterRef| Err(Refusal::not_controller(Some(hint.clone())));
    let replica = serve(Loopback, elsewhere, None);
    client(replica.address)
        .register(&registration(1), PATIENCE)
        .await
        .unwrap();
}

#[tokio::test]
async fn over_tls_only_the_ca_and_the_name_of_the_operator_are_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let handle = controller(&directory.path().join("metadata"));
    let certificate = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    };
    let (pem, key) = certificate(SERVER_NAME);
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(&pem, &key));
    let server = serve(Loopback, Single(handle.clone()), Some(tls));
    let ca_file = directory.path().join("ca.crt");
    let settings = ControlSettings {
        ca_file: Some(ca_file.clone()),
        ..client_settings(server.address)
    };
    std::fs::write(&ca_file, &pem).unwrap();
    let trusting = ControlClient::new(settings.clone()).unwrap();
    let registration = registration(1);
    let registered = trusting.register(&registration, PATIENCE).await.unwrap();

    let (foreign, foreign_key) = certificate("somebody-else");
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(&foreign, &foreign_key));
    let impostor = serve(Loopback, Single(handle), Some(tls));
    let heartbeat = heartbeat(&registration, &registered);
    for (ca, target) in [
        (&foreign, server.address),
        (&pem, impostor.address),
        (&foreign, impostor.address),
    ] {
        std::fs::write(&ca_file, ca).unwrap();
        let settings = ControlSettings {
            target: target.to_string(),
            ..settings.clone()
        };
        let refused = ControlClient::new(settings)
            .unwrap()
            .heartbeat(&heartbeat)
            .await
            .unwrap_err();
        assert!(matches!(refused, ControlError::Unreachable { .. }), "{refused}");
    }
    let plaintext = client(server.address).heartbeat(&heartbeat).await.unwrap_err();
    assert!(matches!(plaintext, ControlError::Unreachable { .. }), "{plaintext}");
}

#[tokio::test]
async fn a_controller_on_a_fresh_folder_leads_without_waiting_for_any_timer() {
    let directory = tempfile::tempdir().unwrap();
    let before = std::time::Instant::now();
    let handle = controller(&directory.path().join("metadata"));
    let registration = registration(0);
    let registered = handle.register(registration.clone()).await.unwrap();
    handle.heartbeat(heartbeat(&registration, &registered)).await.unwrap();
    handle
        .image()
        .wait_for(|image| image.is_eligible(BrokerId(0)))
        .await
        .unwrap();
    let body = handle
        .forward(create_topic(session(&registration, &registered), "mail"))
        .await
        .unwrap();
    assert_eq!(created(&body), 0);
    println!(
        "fresh folder to first topic: {:?}, {} appends",
        before.elapsed(),
        handle.metrics().appends()
    );
    assert!(handle.metrics().appends() <= 5);
}

/// Whoever shows `pod-N` is that pod.
struct Pods;

impl Authenticator for Pods {
    type Identity = String;

    async fn authenticate(&self, caller: &Caller<'_>) -> Result<String, Refusal> {
        let token = caller.token.filter(|token| token.starts_with("pod-"));
        token
            .map(str::to_owned)
            .ok_or_else(|| Refusal::new(Reason::Unauthenticated, "a pod is wanted"))
    }

    fn authorize(&self, identity: &String, claim: &Claim<'_>) -> Result<(), Refusal> {
        match claim.pod_uid {
            Some(uid) if uid != identity => Err(Refusal::new(Reason::Forbidden, "another pod")),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_registration_for_another_pod_than_that_of_the_token_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = serve(Pods, Single(controller(&directory.path().join("metadata"))), None);
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, "pod-1").unwrap();
    let settings = ControlSettings {
        token_file: Some(token_file),
        ..client_settings(server.address)
    };
    let client = ControlClient::new(settings).unwrap();
    let theirs = Registration {
        pod_uid: Some("pod-2".to_owned()),
        ..registration(1)
    };
    match client.register(&theirs, Duration::from_secs(2)).await {
        Err(ControlError::Refused(refusal)) => assert_eq!(refusal.reason, Reason::Forbidden),
        other => panic!("{other:?}"),
    }
    let ours = Registration {
        pod_uid: Some("pod-1".to_owned()),
        ..registration(1)
    };
    client.register(&ours, PATIENCE).await.unwrap();
}

/// A call as it comes over HTTP/2, whose message never arrives: who may not call is told so without it.
#[tokio::test]
async fn a_caller_without_a_token_is_refused_before_its_message_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let server = serve(
        SharedToken::new("secret").unwrap(),
        Single(controller(&directory.path().join("metadata"))),
        None,
    );
    let channel = Channel::from_shared(format!("http://{}", server.address))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/barnabas.control.v1.Controller/Forward");
    // A stream of messages of which the first is never finished: the service would wait for it.
    let never = tokio_stream::pending::<control::proto::ForwardRequest>();
    let answer = grpc.streaming(
        Request::new(never),
        path,
        ProstCodec::<_, control::proto::ForwardResponse>::default(),
    );
    let refused = tokio::time::timeout(PATIENCE, answer)
        .await
        .expect("it is answered at once");
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unauthenticated);
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_those_that_are_there_stay() {
    let directory = tempfile::tempdir().unwrap();
    let server = serve(Loopback, Single(controller(&directory.path().join("metadata"))), None);
    let client = client(server.address);
    let (registration, registered) = join(&client, 1).await;
    // More than an address may have: the last ones are closed in their faces.
    let mut crowd = Vec::new();
    for _ in 0..80 {
        crowd.push(TcpStream::connect(server.address).await.unwrap());
    }
    // A server that takes a connection speaks first: its settings.
    let mut byte = [0];
    let last = crowd.last_mut().unwrap();
    let read = tokio::time::timeout(PATIENCE, last.read(&mut byte))
        .await
        .expect("closed at once");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    client.heartbeat(&heartbeat(&registration, &registered)).await.unwrap();
    drop(crowd);
    // Places come free again.
    let mut next = ControlClient::new(client_settings(server.address)).unwrap();
    loop {
        if next.heartbeat(&heartbeat(&registration, &registered)).await.is_ok() {
            break;
        }
        next = ControlClient::new(client_settings(server.address)).unwrap();
    }
}
