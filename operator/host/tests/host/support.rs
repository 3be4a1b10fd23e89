//! Brokers and requests for the tests.

use std::collections::BTreeMap;

use control::{AdminRequest, Heartbeat, MetadataEvent, Position, Refusal, Registered, Registration, Session, Watch};
use controller::{Settings, StoredLog};
use controller_host::entropy::random_bytes;
use controller_host::{
    ControllerHandle, ControllerHost, Direct, MemoryStore, MetadataStore, MetadataWatch, advertised_addresses,
};
use model::{BrokerId, DirectoryId, Endpoint, FeatureRange, IncarnationId, MetadataImage};
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse};
use protocol::{ApiKey, Message, Reader};

pub(crate) const CREATE_TOPICS_VERSION: i16 = 7;

pub(crate) fn settings() -> Settings {
    Settings::new("test", random_bytes().unwrap())
}

pub(crate) fn host(store: &MemoryStore) -> ControllerHandle {
    ControllerHost::spawn(settings(), store.clone(), Direct, advertised_addresses)
}

/// The image that the stored log gives, and the log.
pub(crate) async fn stored(store: &impl MetadataStore) -> Option<(MetadataImage, StoredLog)> {
    let log = store.read(true).await.unwrap()?;
    Some((log.fold().unwrap(), log))
}

pub(crate) fn registration(id: i32) -> Registration {
    Registration {
        broker_id: BrokerId(id),
        incarnation: IncarnationId::from_random(random_bytes().unwrap()),
        directory_id: DirectoryId::from_random([id as u8 + 1; 16]),
        boot_id: Some("this boot".to_owned()),
        clean_shutdown_epoch: None,
        pod_uid: None,
        endpoints: vec![Endpoint {
            listener: "PLAINTEXT".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 9092,
        }],
        rack: None,
        features: BTreeMap::from([("barnabas.version".to_owned(), FeatureRange { min: 2, max: 2 })]),
        position: None,
        cluster_id: None,
    }
}

pub(crate) fn heartbeat(registration: &Registration, registered: &Registered) -> Heartbeat {
    Heartbeat {
        session: session(registration, registered),
        incarnation: registration.incarnation,
        applied: registered.metadata_offset,
        chain_hash: None,
        want_shutdown: false,
        ready: true,
    }
}

pub(crate) fn session(registration: &Registration, registered: &Registered) -> Session {
    Session {
        broker_id: registration.broker_id,
        broker_epoch: registered.broker_epoch,
    }
}

pub(crate) fn watch(registration: &Registration, image: Option<&MetadataImage>) -> Watch {
    Watch {
        broker_id: registration.broker_id,
        incarnation: registration.incarnation,
        position: image.map(Position::of),
    }
}

/// Registers a broker and says that it is ready; returns when it is unfenced.
pub(crate) async fn unfenced_broker(handle: &ControllerHandle, id: i32) -> (Registration, Registered) {
    let registration = registration(id);
    let registered = handle.register(registration.clone()).await.unwrap();
    handle.heartbeat(heartbeat(&registration, &registered)).await.unwrap();
    let mut image = handle.image();
    image.wait_for(|image| image.is_eligible(BrokerId(id))).await.unwrap();
    (registration, registered)
}

pub(crate) fn create_topic(session: Session, name: &str) -> AdminRequest {
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: 3,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let mut body = Vec::new();
    let request = CreateTopicsRequest {
        topics: vec![topic],
        ..CreateTopicsRequest::default()
    };
    request.encode(&mut body, CREATE_TOPICS_VERSION).unwrap();
    AdminRequest {
        session,
        principal: "User:ANONYMOUS".to_owned(),
        listener: "PLAINTEXT".to_owned(),
        client_id: "test".to_owned(),
        client_host: "127.0.0.1".to_owned(),
        api_key: ApiKey::CreateTopics as i16,
        api_version: CREATE_TOPICS_VERSION,
        body: body.into(),
    }
}

/// The error code of the one topic in a response.
pub(crate) fn created(body: &[u8]) -> i16 {
    let mut reader = Reader::new(body);
    let response = CreateTopicsResponse::decode(&mut reader, CREATE_TOPICS_VERSION).unwrap();
    assert_eq!(response.topics.len(), 1);
    response.topics[0].error_code
}

/// Applies what a watch brings until `enough`.
pub(crate) async fn follow(
    watch: &mut MetadataWatch,
    image: &mut MetadataImage,
    enough: impl Fn(&MetadataImage) -> bool,
) -> Result<(), Refusal> {
    while !enough(image) {
        apply(image, watch.next().await.expect("the watch goes on"));
    }
    Ok(())
}

pub(crate) fn apply(image: &mut MetadataImage, event: MetadataEvent) {
    match event {
        MetadataEvent::Snapshot(snapshot) => *image = snapshot,
        MetadataEvent::Frames(frames) => {
            assert!(!frames.is_empty());
            for frame in &frames {
                image.apply_frame(frame).unwrap();
            }
        }
        MetadataEvent::Suspicion(_) => {}
    }
}
