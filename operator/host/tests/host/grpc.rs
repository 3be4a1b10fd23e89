//! A folder, a controller, a server and a client: what a broker that joins goes through.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use control::{
    ClusterRef, ControlClient, ControlError, ControlSettings, MetadataStream, Reason, Refusal, Registered,
    Registration, SERVER_NAME, StreamGuard,
};
use controller::Format;
use controller_host::{
    Authenticator, ControllerHandle, ControllerHost, Direct, FileStore, Loopback, Resolver, SharedToken, Single,
    serve_control,
};
use model::{BrokerId, ControllerEpoch, IncarnationId, MetadataImage};
use tokio::sync::oneshot;
use tonic::transport::{Identity, ServerTlsConfig};

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
    ControllerHost::spawn(settings, FileStore::open(folder).unwrap(), Direct)
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
