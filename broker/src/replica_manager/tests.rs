use std::fs;

use model::record::{
    BrokerRegistered, BrokerUnfenced, ClusterFormatted, ControllerElected, PartitionChanged, TopicCreated, TopicRemoved,
};
use model::{Assignment, BrokerEpoch, ControllerEpoch, DirectoryId, IncarnationId, Lineage, Nonce, Record};
use prometheus::Registry;
use protocol::batch::BatchBuilder;

use super::*;
use crate::clock::now_ms;
use crate::disk::Disk;

pub(crate) const LOCAL: BrokerId = BrokerId(0);
pub(crate) const OTHER: BrokerId = BrokerId(1);
/// The registration of the other broker in [`cluster`].
pub(crate) const OTHERS_EPOCH: BrokerEpoch = BrokerEpoch(4);
/// The registration of the local broker in [`cluster`].
const REGISTERED: Standing = Standing::Registered(BrokerEpoch(2));

/// A cluster of two unfenced brokers without topics.
pub(crate) fn cluster() -> MetadataImage {
    let mut image = MetadataImage::empty();
    let mut add = |record: Record| {
        image.append(record).expect("applies");
    };
    add(ClusterFormatted {
        cluster_id: "AAAAAAAAAAAAAAAAAAAAAQ".parse().expect("22 characters"),
        lineage: Lineage::from_random([1; 16]),
        features: [("barnabas.version".to_owned(), 2)].into(),
    }
    .into());
    let nonce = Nonce::from_random([2; 16]);
    add(ControllerElected {
        epoch: ControllerEpoch(1),
        nonce,
        holder: "test".to_owned(),
    }
    .into());
    for (at, id) in [(2, LOCAL), (4, OTHER)] {
        add(BrokerRegistered {
            id,
            incarnation: IncarnationId::from_random([3; 16]),
            directory_id: DirectoryId::from_random([id.0 as u8; 16]),
            pod_uid: None,
            boot_id: None,
            endpoints: Vec::new(),
            rack: None,
            features: [("barnabas.version".to_owned(), model::FeatureRange { min: 2, max: 2 })].into(),
            clean: true,
        }
        .into());
        add(BrokerUnfenced {
            id,
            epoch: BrokerEpoch(at),
        }
        .into());
    }
    image
}

fn create(image: &mut MetadataImage, name: &str, id: u8, replicas: &[BrokerId]) -> TopicId {
    create_with(image, name, id, replicas, &[])
}

fn create_with(
    image: &mut MetadataImage,
    name: &str,
    id: u8,
    replicas: &[BrokerId],
    config: &[(&str, &str)],
) -> TopicId {
    let id = TopicId::from_random([id; 16]);
    let assignment = Assignment {
        replication_factor: replicas.len() as u16,
        replicas: replicas.to_vec(),
    };
    let name = TopicName::new(name).expect("legal");
    image
        .append(
            TopicCreated {
                id,
                name,
                assignment,
                config: config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            }
            .into(),
        )
        .expect("applies");
    id
}

fn manager(path: &std::path::Path) -> ReplicaManager {
    let (log_dir, left) = LogDir::open(FsDir::new(path)).expect("opens");
    let metrics = BrokerMetrics::new(Registry::new()).expect("registers");
    let disk = Disk::new(path, 100, metrics.disk.clone());
    let directory_id = DirectoryId::from_random([LOCAL.0 as u8; 16]);
    ReplicaManager::new(LOCAL, directory_id, log_dir, disk, left, metrics, Arc::default())
}

fn leads(manager: &ReplicaManager, topic: &str) -> bool {
    manager
        .topics()
        .by_name(topic)
        .and_then(|topic| topic.partition(0)?.leader_epoch())
        .is_some()
}

fn names(path: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("lists");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn rule_18_before_registration_only_sole_replicas_are_led() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    create(&mut image, "mine", 10, &[LOCAL]);
    create(&mut image, "ours", 11, &[LOCAL, OTHER]);
    create(&mut image, "theirs", 12, &[OTHER]);
    let manager = manager(temp.path());
    manager.apply(&image, Standing::Stranger);
    assert!(leads(&manager, "mine"));
    assert!(!leads(&manager, "ours"));
    assert!(manager.topics().by_name("theirs").is_none());
    manager.apply(&image, REGISTERED);
    assert!(leads(&manager, "ours"));
}

#[test]
fn rule_06_whoever_differs_leads_nothing_until_the_next_image() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    create(&mut image, "mine", 10, &[LOCAL]);
    let manager = manager(temp.path());
    manager.apply(&image, REGISTERED);
    manager.resign_all();
    assert!(!leads(&manager, "mine"));
    manager.apply(&image, REGISTERED);
    assert!(leads(&manager, "mine"));
}

#[test]
fn rule_25_data_goes_only_by_a_tombstone_and_the_purge_is_reported_afterwards() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    let id = create(&mut image, "t", 10, &[LOCAL]);
    let manager = manager(temp.path());
    manager.apply(&image, REGISTERED);
    manager.sweep(&image);
    image.append(TopicRemoved { id }.into()).expect("applies");
    manager.apply(&image, REGISTERED);
    assert!(manager.topics().by_name("t").is_none());
    assert!(
        names(temp.path())
            .iter()
            .any(|name| name.starts_with("t-0.") && name.ends_with("-delete"))
    );
    assert_eq!(manager.purged(&image), [], "file.delete.delay.ms is not over");
    manager.deletion.lock().due.values_mut().for_each(|at| *at = 0);
    manager.purge_due();
    assert!(!names(temp.path()).iter().any(|name| name.starts_with("t-0")));
    assert_eq!(manager.purged(&image), [id]);
}

#[test]
fn rule_25_no_purge_is_reported_while_data_could_not_be_removed() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    let id = create(&mut image, "t", 10, &[LOCAL]);
    let manager = manager(temp.path());
    manager.apply(&image, REGISTERED);
    manager.sweep(&image);
    // Checkpoints cannot be written, as on a full disk: a directory stands where one of them belongs.
    let checkpoint = temp.path().join("recovery-point-offset-checkpoint");
    manager.write_checkpoints();
    std::fs::remove_file(&checkpoint).expect("a checkpoint");
    std::fs::create_dir(&checkpoint).expect("a directory");
    image.append(TopicRemoved { id }.into()).expect("applies");
    manager.apply(&image, REGISTERED);
    assert!(names(temp.path()).contains(&"t-0".to_owned()));
    assert_eq!(manager.purged(&image), [], "its data is still there");
    std::fs::remove_dir(&checkpoint).expect("the disk has room again");
    manager.sweep(&image);
    assert!(!names(temp.path()).contains(&"t-0".to_owned()), "tried again");
}

#[test]
fn rule_25_a_directory_of_an_unknown_topic_is_kept_and_opened_by_nobody() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    create(&mut image, "t", 10, &[LOCAL]);
    manager(temp.path()).apply(&image, REGISTERED);
    // The same volume under metadata that has never heard of the topic.
    let manager = manager(temp.path());
    manager.apply(&cluster(), REGISTERED);
    manager.sweep(&cluster());
    manager.purge_due();
    assert!(manager.topics().by_name("t").is_none());
    assert!(names(temp.path()).contains(&"t-0".to_owned()));
}

#[test]
fn rule_25_a_tombstone_that_came_while_the_broker_was_down_is_obeyed_at_the_start() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    let id = create(&mut image, "t", 10, &[LOCAL]);
    manager(temp.path()).apply(&image, REGISTERED);
    image.append(TopicRemoved { id }.into()).expect("applies");
    let manager = manager(temp.path());
    manager.apply(&image, REGISTERED);
    assert_eq!(manager.purged(&image), [], "nobody has looked yet");
    manager.sweep(&image);
    assert!(!names(temp.path()).contains(&"t-0".to_owned()));
}

/// The replica of partition 0 leaves the local broker.
fn reassign_away(image: &mut MetadataImage, topic: TopicId) {
    let change = PartitionChanged {
        topic,
        partition: model::PartitionIndex(0),
        isr: Some(vec![OTHER]),
        leader: Some(OTHER),
        replicas: Some(vec![OTHER]),
        adding: None,
        removing: None,
        unclean: false,
    };
    image.append(change.into()).expect("applies");
}

#[test]
fn a_replica_that_leaves_is_closed_and_its_data_goes_after_the_delay() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    let id = create_with(
        &mut image,
        "ours",
        11,
        &[LOCAL, OTHER],
        &[("file.delete.delay.ms", "0")],
    );
    let manager = manager(temp.path());
    manager.apply(&image, REGISTERED);
    let partition = Arc::clone(
        manager
            .topics()
            .by_name("ours")
            .expect("open")
            .partition(0)
            .expect("here"),
    );
    reassign_away(&mut image, id);
    manager.apply(&image, REGISTERED);
    assert!(manager.topics().by_name("ours").is_none());
    assert!(partition.look().is_none(), "closed");
    assert!(!names(temp.path()).contains(&"ours-0".to_owned()));
    manager.purge_due();
    assert!(!names(temp.path()).iter().any(|name| name.starts_with("ours-0")));
}

#[test]
fn a_replica_that_leaves_keeps_its_data_until_the_record_is_meant_for_this_process() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    let id = create(&mut image, "ours", 11, &[LOCAL, OTHER]);
    let manager = manager(temp.path());
    manager.apply(&image, REGISTERED);
    reassign_away(&mut image, id);
    manager.apply(&image, Standing::Stranger);
    assert!(manager.topics().by_name("ours").is_none());
    assert!(names(temp.path()).contains(&"ours-0".to_owned()));
    // After the registration the directory is looked through.
    manager.apply(&image, REGISTERED);
    manager.sweep(&image);
    assert!(!names(temp.path()).contains(&"ours-0".to_owned()));
}

/// The in-sync replicas of partition 0 change; the other broker leads.
fn led_by_other(image: &mut MetadataImage, topic: TopicId, isr: &[BrokerId]) {
    let change = PartitionChanged {
        isr: Some(isr.to_vec()),
        leader: Some(OTHER),
        ..PartitionChanged::of(topic, model::PartitionIndex(0))
    };
    image.append(change.into()).expect("applies");
}

#[test]
fn a_log_that_lost_records_is_copied_anew_once_nobody_counts_on_it() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    let id = create(&mut image, "ours", 11, &[LOCAL, OTHER]);
    {
        let manager = manager(temp.path());
        manager.apply(&image, REGISTERED);
        let topics = manager.topics();
        let partition = topics.by_name("ours").expect("open").partition(0).expect("here");
        let mut batch = BatchBuilder::new().record(1, None, Some(b"v")).build();
        partition.append_as_leader(&mut [&mut batch], false, now_ms(), &mut Vec::new());
        manager.close(None);
    }
    fs::write(temp.path().join("ours-0/00000000000000000000.log"), b"").expect("writes");
    let manager = manager(temp.path());
    let look = || {
        let topics = manager.topics();
        topics.by_name("ours")?.partition(0)?.look()
    };
    led_by_other(&mut image, id, &[LOCAL, OTHER]);
    manager.apply(&image, REGISTERED);
    assert!(look().is_none(), "it could be elected for what it has lost");
    led_by_other(&mut image, id, &[OTHER]);
    manager.apply(&image, REGISTERED);
    assert_eq!(look().map(|look| look.log_end_offset), Some(0));
    assert!(
        names(temp.path())
            .iter()
            .any(|name| name.starts_with("ours-0.") && name.ends_with("-stray"))
    );
}

#[test]
fn whom_a_partition_follows_is_told_once_and_again_in_another_epoch() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    create(&mut image, "ours", 11, &[OTHER, LOCAL]);
    let manager = manager(temp.path());
    assert!(
        manager.apply(&image, Standing::Stranger).followed.is_empty(),
        "not before the registration"
    );
    let following = manager.apply(&image, REGISTERED);
    assert_eq!(following.changed, [OTHER].into());
    assert_eq!(following.followed[&OTHER].len(), 1);
    let following = manager.apply(&image, REGISTERED);
    assert!(following.changed.is_empty());
    assert_eq!(following.followed[&OTHER].len(), 1);
    manager.resign_all();
    assert_eq!(manager.apply(&image, REGISTERED).changed, [OTHER].into());
}

#[test]
fn rule_18_an_heir_follows_whom_its_image_names() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    create(&mut image, "theirs", 11, &[OTHER, LOCAL]);
    create(&mut image, "ours", 12, &[LOCAL, OTHER]);
    let manager = manager(temp.path());
    let heir = Standing::Heir(BrokerEpoch(2));
    let following = manager.apply(&image, heir);
    assert_eq!(following.followed[&OTHER].len(), 1);
    assert!(!leads(&manager, "ours"));
    // Of an earlier registration than the image knows.
    let former = Standing::Heir(BrokerEpoch(1));
    assert!(manager.apply(&image, former).followed.is_empty());
}

#[test]
fn rule_25_a_directory_of_another_topic_of_that_name_is_renamed_aside() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    let old = create(&mut image, "t", 10, &[LOCAL]);
    manager(temp.path()).apply(&image, REGISTERED);
    let mut image = cluster();
    let new = create(&mut image, "t", 20, &[LOCAL]);
    let manager = manager(temp.path());
    manager.apply(&image, REGISTERED);
    assert!(leads(&manager, "t"));
    assert_eq!(manager.topics().by_name("t").map(|topic| topic.id), Some(new));
    assert!(
        names(temp.path()).contains(&format!("t-0.{old}-stray")),
        "{:?}",
        names(temp.path())
    );
}

#[test]
fn a_clean_stop_leaves_a_mark_with_the_broker_epoch_and_what_was_known() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    create(&mut image, "t", 10, &[LOCAL]);
    let first = manager(temp.path());
    first.apply(&image, REGISTERED);
    first.close(Some(BrokerEpoch(7)));
    let (_, left) = LogDir::open(FsDir::new(temp.path())).expect("opens");
    assert_eq!(left.clean_shutdown, Some(BrokerEpoch(7)));
    assert_eq!(left.recovery_points.len(), 1);
}

#[test]
fn old_segments_go_from_clients_at_once_from_the_disk_after_the_delay_and_never_come_back() {
    let temp = tempfile::tempdir().expect("temp");
    let mut image = cluster();
    let config = [
        ("segment.ms", "1"),
        ("retention.ms", "1000"),
        ("file.delete.delay.ms", "60000"),
    ];
    create_with(&mut image, "t", 10, &[LOCAL], &config);
    create_with(&mut image, "__consumer_offsets", 11, &[LOCAL], &config);
    let first = manager(temp.path());
    first.apply(&image, REGISTERED);
    let names_of = |topic: &str| {
        let mut names = names(&temp.path().join(format!("{topic}-0")));
        names.retain(|name| name.contains(".log"));
        names
    };
    for topic in ["t", "__consumer_offsets"] {
        let topics = first.topics();
        let partition = topics
            .by_name(topic)
            .and_then(|topic| topic.partition(0))
            .expect("open");
        let mut outcomes = Vec::new();
        for timestamp in [10, 20, now_ms()] {
            let mut batch = BatchBuilder::new().record(timestamp, None, Some(b"v")).build();
            partition.append_as_leader(&mut [batch.as_mut_slice()], true, now_ms(), &mut outcomes);
            assert!(outcomes[0].is_ok(), "{outcomes:?}");
        }
    }

    first.apply_retention();
    let start = |manager: &ReplicaManager| {
        let topics = manager.topics();
        let partition = topics.by_name("t").and_then(|topic| topic.partition(0)).expect("open");
        partition.find_offset(-2, -1).expect("leads").offset
    };
    assert_eq!(start(&first), 2);
    assert_eq!(
        names_of("t"),
        [
            "00000000000000000000.log.deleted",
            "00000000000000000001.log.deleted",
            "00000000000000000002.log"
        ]
    );
    assert_eq!(names_of("__consumer_offsets").len(), 3, "groups forget nothing by age");
    first.free_removed();
    assert_eq!(names_of("t").len(), 3, "file.delete.delay.ms is not over");
    first.removed.lock().iter_mut().for_each(|one| one.at_ms = 0);
    first.free_removed();
    assert_eq!(names_of("t"), ["00000000000000000002.log"]);

    // Killed, not stopped.
    drop(first);
    let second = manager(temp.path());
    second.apply(&image, REGISTERED);
    assert_eq!(start(&second), 2);
}
