//! METADATA 23: a broker that knows what the log does not hold stops the controller, before it forks the history.

use control::Reason;
use controller_host::{ControllerHandle, Ending, MemoryStore};
use model::MetadataImage;

use crate::support::{create_topic, host, registration, session, unfenced_broker, watch};

/// A cluster whose log was restored from before its last topic: the older log's controller, and what the broker knows.
async fn restored() -> (ControllerHandle, control::Registration, MetadataImage) {
    let store = MemoryStore::new();
    let handle = host(&store);
    let (registration, registered) = unfenced_broker(&handle, 0).await;
    let older = store.backup();
    let body = create_topic(session(&registration, &registered), "mail");
    handle.forward(body).await.unwrap();
    let known = MetadataImage::clone(&handle.image().borrow());
    handle.shutdown().await;
    let handle = host(&older);
    handle.leading().await.unwrap();
    (handle, registration, known)
}

async fn ends_regressed(handle: &ControllerHandle) {
    let ending = handle.ended().await;
    let Ending::Regressed(what) = &ending else {
        panic!("{ending}");
    };
    assert!(what.starts_with("broker 0: the metadata log"), "{what}");
}

#[tokio::test(start_paused = true)]
async fn rule_23_a_broker_that_follows_with_later_records_stops_the_controller() {
    let (handle, registration, known) = restored().await;
    let refused = handle.watch(watch(&registration, Some(&known))).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Regressed);
    ends_regressed(&handle).await;
}

#[tokio::test(start_paused = true)]
async fn rule_23_a_broker_that_registers_with_later_records_stops_the_controller() {
    let (handle, mut registration, known) = restored().await;
    registration.position = Some(control::Position::of(&known));
    registration.cluster_id = known.cluster_id().cloned();
    let refused = handle.register(registration).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Regressed);
    ends_regressed(&handle).await;
}

#[tokio::test(start_paused = true)]
async fn rule_23_a_broker_of_another_cluster_stops_nobody() {
    let (handle, _, _) = restored().await;
    let other = host(&MemoryStore::new());
    let (stranger, _) = unfenced_broker(&other, 3).await;
    let elsewhere = MetadataImage::clone(&other.image().borrow());
    // Whatever it is told, the controller goes on.
    drop(handle.watch(watch(&stranger, Some(&elsewhere))).await);
    let mut stranger = registration(3);
    stranger.position = Some(control::Position::of(&elsewhere));
    stranger.cluster_id = elsewhere.cluster_id().cloned();
    assert_eq!(
        handle.register(stranger).await.unwrap_err().reason,
        Reason::OtherCluster
    );
    handle.register(registration(1)).await.unwrap();
}
