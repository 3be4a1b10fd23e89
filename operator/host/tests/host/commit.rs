//! Commit, then publish, over a store that loses, delays and refuses.

use std::sync::Arc;
use std::time::Duration;

use control::Reason;
use controller::StepDown;
use controller_host::store::Fault;
use controller_host::{ControllerHost, Direct, Ending, HostState, MemoryStore, advertised_addresses};
use model::{BrokerId, ControllerEpoch, MetadataImage};

use crate::support::{
    create_topic, created, follow, heartbeat, host, registration, session, settings, stored, unfenced_broker, watch,
};

#[tokio::test(start_paused = true)]
async fn rule_01_nobody_is_told_anything_before_the_election_is_in_the_log() {
    let store = MemoryStore::new();
    store.inject([Fault::LoseRequest, Fault::LoseRequest, Fault::LoseRequest]);
    let handle = host(&store);
    let early = tokio::spawn({
        let handle = handle.clone();
        async move { handle.register(registration(0)).await }
    });
    let mut state = handle.state();
    while *state.borrow_and_update() == HostState::TakingOver {
        assert!(handle.image().borrow().cluster_id().is_none());
        state.changed().await.unwrap();
    }
    let (image, _) = stored(&store).await.unwrap();
    assert_eq!(image.controller_epoch(), ControllerEpoch(1));
    assert!(store.appends() > 3, "the lost ones were sent again");
    early.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn rule_01_what_is_answered_or_published_is_in_the_log() {
    let store = MemoryStore::new();
    let handle = host(&store);
    let (registration, registered) = unfenced_broker(&handle, 0).await;
    let mut watching = handle.watch(watch(&registration, None)).await.unwrap();
    let mut image = MetadataImage::empty();
    follow(&mut watching, &mut image, |image| image.is_eligible(BrokerId(0)))
        .await
        .unwrap();
    for name in ["a", "b", "c"] {
        store.inject([Fault::LoseAnswer]);
        let body = handle
            .forward(create_topic(session(&registration, &registered), name))
            .await
            .unwrap();
        assert_eq!(created(&body), 0);
        let (committed, _) = stored(&store).await.unwrap();
        assert!(
            committed.topic_by_name(name).is_some(),
            "{name} was answered before it was in the log"
        );
        follow(&mut watching, &mut image, |image| image.topic_by_name(name).is_some())
            .await
            .unwrap();
        assert!(
            image.offset() <= committed.offset(),
            "{name} was published before it was in the log"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn rule_02_a_lost_answer_is_settled_by_a_later_append() {
    for fault in [
        Fault::LoseAnswer,
        Fault::LoseRequest,
        Fault::Delay,
        Fault::EditLabel,
        Fault::Refuse,
    ] {
        let store = MemoryStore::new();
        let handle = host(&store);
        let (registration, registered) = unfenced_broker(&handle, 0).await;
        store.inject([fault]);
        let body = handle
            .forward(create_topic(session(&registration, &registered), "mail"))
            .await
            .unwrap();
        assert_eq!(created(&body), 0, "{fault:?}");
        // What was delayed arrives after all, and finds another version.
        assert_eq!(store.land_delayed(), 0, "{fault:?}");
        let (committed, _) = stored(&store).await.unwrap();
        assert_eq!(committed, **handle.image().borrow(), "{fault:?}");
        assert_eq!(*handle.state().borrow(), HostState::Leading, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_02_a_delayed_write_that_lands_first_is_found_and_not_repeated() {
    let store = MemoryStore::new();
    let handle = host(&store);
    let (registration, registered) = unfenced_broker(&handle, 0).await;
    let appends = store.appends();
    store.inject([Fault::Delay]);
    let request = create_topic(session(&registration, &registered), "mail");
    let asked = tokio::spawn({
        let handle = handle.clone();
        async move { handle.forward(request).await }
    });
    while store.appends() == appends {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.land_delayed(), 1);
    assert_eq!(created(&asked.await.unwrap().unwrap()), 0);
    let (committed, _) = stored(&store).await.unwrap();
    assert_eq!(committed.topics().len(), 1);
    assert_eq!(committed, **handle.image().borrow());
}

#[tokio::test(start_paused = true)]
async fn producer_ids_are_never_given_twice_whatever_the_store_does() {
    const FAULTS: [Option<Fault>; 6] = [
        None,
        Some(Fault::LoseAnswer),
        Some(Fault::LoseRequest),
        Some(Fault::Delay),
        Some(Fault::EditLabel),
        None,
    ];
    for seed in 0..40u128 {
        let mut jitter = control::Jitter::seeded(seed);
        let store = MemoryStore::new();
        let handle = host(&store);
        let (registration, registered) = unfenced_broker(&handle, 0).await;
        let session = session(&registration, &registered);
        let mut given = Vec::new();
        for _ in 0..8 {
            let draw = jitter.next_wait().as_millis() as usize;
            store.inject(FAULTS[draw % FAULTS.len()]);
            let mut together = tokio::task::JoinSet::new();
            for _ in 0..3 {
                let handle = handle.clone();
                together.spawn(async move { handle.allocate_producer_ids(session).await });
            }
            if draw.is_multiple_of(2) {
                store.land_delayed();
            }
            given.extend(together.join_all().await.into_iter().map(|block| block.unwrap()));
            store.land_delayed();
        }
        given.sort_by_key(|block| block.first);
        let apart = given
            .windows(2)
            .all(|pair| pair[0].first.0 + i64::from(pair[0].count) <= pair[1].first.0);
        assert!(apart, "seed {seed}: {given:?}");
        let (committed, _) = stored(&store).await.unwrap();
        let last = given.last().unwrap();
        assert!(
            committed.next_producer_id().0 >= last.first.0 + i64::from(last.count),
            "seed {seed}"
        );
        assert_eq!(*handle.state().borrow(), HostState::Leading, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_was_overtaken_ends_and_says_so() {
    let store = MemoryStore::new();
    let old = host(&store);
    let (registration, registered) = unfenced_broker(&old, 0).await;
    let mut watching = old.watch(watch(&registration, None)).await.unwrap();
    let new = host(&store);
    new.leading().await.unwrap();
    assert_eq!(new.image().borrow().controller_epoch(), ControllerEpoch(2));
    let refused = old
        .forward(create_topic(session(&registration, &registered), "mail"))
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::NotController { hint: None });
    assert_eq!(old.ended().await, Ending::SteppedDown(StepDown::Deposed));
    let refused = old.heartbeat(heartbeat(&registration, &registered)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::NotController { hint: None });
    while watching.next().await.is_some() {}
    let (committed, _) = stored(&store).await.unwrap();
    assert!(committed.topics().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_sleeps_is_dropped_and_can_come_back() {
    let store = MemoryStore::new();
    let handle = host(&store);
    let (registration, registered) = unfenced_broker(&handle, 0).await;
    let mut watching = handle.watch(watch(&registration, None)).await.unwrap();
    while handle.metrics().dropped_watchers() == 0 {
        handle
            .allocate_producer_ids(session(&registration, &registered))
            .await
            .unwrap();
    }
    let mut image = MetadataImage::empty();
    while let Some(event) = watching.next().await {
        crate::support::apply(&mut image, event);
    }
    let now = MetadataImage::clone(&handle.image().borrow());
    assert!(image.offset() < now.offset());
    let mut watching = handle.watch(watch(&registration, Some(&image))).await.unwrap();
    follow(&mut watching, &mut image, |image| image.offset() == now.offset())
        .await
        .unwrap();
    assert_eq!(image, now);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_outgrows_its_tail_is_cut_behind_a_snapshot() {
    let store = MemoryStore::new();
    let handle = host(&store);
    let (registration, registered) = unfenced_broker(&handle, 0).await;
    while store.document().is_none_or(|document| document.snapshot.is_none()) {
        handle
            .allocate_producer_ids(session(&registration, &registered))
            .await
            .unwrap();
    }
    handle.shutdown().await;
    let before = MetadataImage::clone(&handle.image().borrow());
    let successor = host(&store);
    successor.leading().await.unwrap();
    let after = MetadataImage::clone(&successor.image().borrow());
    assert_eq!(after.next_producer_id(), before.next_producer_id());
    assert_eq!(after.controller_epoch(), ControllerEpoch(2));
    assert_eq!(after.brokers(), before.brokers());
}

#[tokio::test(start_paused = true)]
async fn rule_23_a_broker_that_knows_more_than_the_log_is_not_registered() {
    let (old, new) = (MemoryStore::new(), MemoryStore::new());
    let first = host(&old);
    let (mut registration, _) = unfenced_broker(&first, 0).await;
    registration.position = Some(control::Position::of(&first.image().borrow()));
    let second = host(&new);
    let refused = second.register(registration.clone()).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Regressed, "{refused}");
    first.register(registration).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_directory_of_another_cluster_is_called_that_and_not_a_lost_log() {
    let (theirs, ours) = (MemoryStore::new(), MemoryStore::new());
    let other = host(&theirs);
    let (mut registration, registered) = unfenced_broker(&other, 0).await;
    registration.position = Some(control::Position::of(&other.image().borrow()));
    registration.cluster_id = Some(registered.cluster_id);
    let refused = host(&ours).register(registration).await.unwrap_err();
    assert_eq!(refused.reason, Reason::OtherCluster, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_broker_is_fenced_and_unfenced_by_its_next_heartbeat() {
    let store = MemoryStore::new();
    let handle = host(&store);
    let (registration, registered) = unfenced_broker(&handle, 0).await;
    let mut image = handle.image();
    image.wait_for(|image| !image.is_eligible(BrokerId(0))).await.unwrap();
    // METADATA 19: with its old epoch, without a restart.
    handle.heartbeat(heartbeat(&registration, &registered)).await.unwrap();
    image.wait_for(|image| image.is_eligible(BrokerId(0))).await.unwrap();
    assert_eq!(
        image.borrow().broker(BrokerId(0)).unwrap().epoch,
        registered.broker_epoch
    );
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_had_a_log_is_not_begun_from_empty() {
    let settings = controller::Settings {
        format: controller::Format::Refuse,
        ..settings()
    };
    let store = MemoryStore::new();
    let handle = ControllerHost::spawn(settings, store.clone(), Direct, advertised_addresses);
    assert_eq!(handle.leading().await, Err(Ending::SteppedDown(StepDown::Missing)));
    assert!(store.document().is_none());
    let refused = handle.register(registration(0)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::NotController { hint: None });
}

#[tokio::test(start_paused = true)]
async fn shutdown_refuses_what_waits() {
    let store = MemoryStore::new();
    store.fail_reads(usize::MAX);
    let handle = host(&store);
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.register(registration(0)).await }
    });
    tokio::task::yield_now().await;
    handle.shutdown().await;
    assert!(waiting.await.unwrap().is_err());
    assert_eq!(handle.ended().await, Ending::ShutDown);
}

/// METADATA 20: a stream that breaks and a port that refuses are proof, long before silence would be.
#[tokio::test]
async fn rule_20_a_killed_process_is_fenced_at_once_and_one_that_still_listens_is_not() {
    let handle = host(&MemoryStore::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut living = registration(1);
    living.endpoints[0].port = listener.local_addr().unwrap().port();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut killed = registration(2);
    killed.endpoints[0].port = closed.local_addr().unwrap().port();
    drop(closed);

    let mut streams = Vec::new();
    for broker in [&living, &killed] {
        let registered = handle.register(broker.clone()).await.unwrap();
        handle.heartbeat(heartbeat(broker, &registered)).await.unwrap();
        streams.push(handle.watch(watch(broker, None)).await.unwrap());
    }
    let mut image = handle.image();
    let both = |image: &Arc<MetadataImage>| [1, 2].iter().all(|id| image.is_eligible(BrokerId(*id)));
    image.wait_for(both).await.unwrap();

    let broke = std::time::Instant::now();
    drop(streams);
    image.wait_for(|image| !image.is_eligible(BrokerId(2))).await.unwrap();
    assert!(broke.elapsed() < Duration::from_secs(3), "{:?}", broke.elapsed());
    assert!(image.borrow().is_eligible(BrokerId(1)));
}
