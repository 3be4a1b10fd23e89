use std::time::Duration;

use broker_log::DataDir;
use broker_log::{OpenState, TopicPartition};
use broker_replication::ReplicaPeer;
use model::{BrokerEpoch, PartitionEpoch, ProducerId, TopicId};
use protocol::batch::BatchBuilder;

use super::*;
use crate::metrics::BrokerTopicMetrics;

const LOCAL: BrokerId = BrokerId(0);

fn peer(id: BrokerId) -> ReplicaPeer {
    ReplicaPeer {
        id,
        broker_epoch: Some(BrokerEpoch(1)),
        eligible: true,
    }
}

fn view(leader_epoch: i32) -> ReplicaView {
    ReplicaView {
        replicas: vec![peer(LOCAL)],
        isr: vec![LOCAL],
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(leader_epoch),
        min_insync_replicas: 1,
        next_producer_id: ProducerId(0),
    }
}

/// A partition that leads in epoch 5, in a directory that goes with the test.
fn leader() -> (tempfile::TempDir, PartitionHandle) {
    let temp = tempfile::tempdir().expect("temp");
    let (data, _) = DataDir::open(FsDir::new(temp.path())).expect("fresh");
    let topic = TopicName::new("t").expect("legal");
    let id = TopicId::from_random([9; 16]);
    let name = TopicPartition {
        topic: topic.clone(),
        partition: PartitionIndex(0),
    };
    let log = PartitionLog::open(&data, name, id, LogConfig::default(), OpenState::default(), 0).map(|(log, _)| log);
    let metrics = BrokerTopicMetrics::default().topic("t");
    let partition = PartitionHandle::new(topic, id, PartitionIndex(0), metrics, Arc::default(), 0, log);
    partition.lead(LOCAL, &view(5)).expect("leads");
    (temp, partition)
}

fn append(partition: &PartitionHandle, timestamp: i64) -> Result<i64, Refusal> {
    let mut batch = BatchBuilder::new().record(timestamp, None, Some(b"v")).build();
    let mut outcomes = Vec::new();
    partition.append_as_leader(&mut [batch.as_mut_slice()], true, timestamp, &mut outcomes);
    outcomes.remove(0).map(|info| info.base_offset)
}

fn append_of_producer(partition: &PartitionHandle, sequence: i32, now_ms: i64) -> Result<i64, ErrorCode> {
    let builder = BatchBuilder::new().producer(7, 0, sequence);
    let mut batch = builder.record(1, None, Some(b"v")).build();
    let mut outcomes = Vec::new();
    partition.append_as_leader(&mut [batch.as_mut_slice()], true, now_ms, &mut outcomes);
    let outcome = outcomes.remove(0);
    outcome.map(|info| info.base_offset).map_err(|refusal| refusal.code)
}

fn spec(offset: i64, current_leader_epoch: i32) -> ReadSpec {
    ReadSpec {
        reader: Reader::Consumer { anywhere: false },
        offset,
        max_bytes: 1 << 20,
        min_one_message: true,
        current_leader_epoch,
        last_fetched_epoch: -1,
    }
}

#[test]
fn what_is_appended_is_committed_and_read() {
    let (_temp, partition) = leader();
    assert_eq!(append(&partition, 1), Ok(0));
    assert_eq!(append(&partition, 2), Ok(1));
    let read = partition.read(spec(1, 5)).expect("reads");
    assert_eq!((read.slice.first_offset, read.high_watermark), (1, 2));
    assert!(read.slice.len > 0);
    assert!(
        partition
            .read(spec(2, 5))
            .expect("the end is in range")
            .slice
            .is_empty()
    );
    assert_eq!(
        partition.read(spec(3, 5)).err().map(|refusal| refusal.code),
        Some(ErrorCode::OffsetOutOfRange)
    );
}

#[test]
fn an_older_or_newer_leader_epoch_is_told_apart() {
    let (_temp, partition) = leader();
    let code = |epoch| partition.read(spec(0, epoch)).err().map(|refusal| refusal.code);
    assert_eq!(code(4), Some(ErrorCode::FencedLeaderEpoch));
    assert_eq!(code(6), Some(ErrorCode::UnknownLeaderEpoch));
    assert_eq!(code(5), None);
    assert_eq!(code(-1), None);
}

#[tokio::test]
async fn an_append_wakes_the_fetch_that_waits_for_it() {
    let (_temp, partition) = leader();
    let waiter = Arc::new(FetchWaiter::default());
    assert!(partition.wait_beyond(Reader::Consumer { anywhere: false }, 0, None, &waiter));
    append(&partition, 1).expect("appends");
    waiter.woken().await;
    assert!(
        !partition.wait_beyond(Reader::Consumer { anywhere: false }, 0, None, &waiter),
        "there is more already"
    );
}

#[tokio::test]
async fn a_leader_that_resigns_tells_those_who_wait() {
    let (_temp, partition) = leader();
    let waiter = Arc::new(FetchWaiter::default());
    assert!(partition.wait_beyond(Reader::Consumer { anywhere: false }, 0, None, &waiter));
    partition.resign();
    waiter.woken().await;
    assert_eq!(
        append(&partition, 1).err().map(|refusal| refusal.code),
        Some(ErrorCode::NotLeaderOrFollower)
    );
}

/// librdkafka through a change of leaders: what is in flight arrives before and after this broker leads.
#[test]
fn what_comes_after_a_refused_batch_is_refused_like_it_until_that_one_is_there() {
    let (_temp, partition) = leader();
    assert_eq!(append_of_producer(&partition, 0, 0), Ok(0));
    partition.resign();
    assert_eq!(
        append_of_producer(&partition, 1, 10),
        Err(ErrorCode::NotLeaderOrFollower)
    );
    partition.lead(LOCAL, &view(6)).expect("leads");
    assert_eq!(
        append_of_producer(&partition, 2, 11),
        Err(ErrorCode::NotLeaderOrFollower)
    );
    assert_eq!(append_of_producer(&partition, 1, 12), Ok(1));
    assert_eq!(append_of_producer(&partition, 2, 13), Ok(2));
    // A gap that nobody knows of is one, and what was refused long ago does not come again.
    assert_eq!(
        append_of_producer(&partition, 4, 14),
        Err(ErrorCode::OutOfOrderSequenceNumber)
    );
    partition.resign();
    assert_eq!(
        append_of_producer(&partition, 3, 15),
        Err(ErrorCode::NotLeaderOrFollower)
    );
    partition.lead(LOCAL, &view(7)).expect("leads");
    assert_eq!(
        append_of_producer(&partition, 4, 6000),
        Err(ErrorCode::OutOfOrderSequenceNumber)
    );
}

#[test]
fn offsets_are_found_by_their_special_names_and_by_time() {
    let (_temp, partition) = leader();
    for timestamp in [10, 30, 20] {
        append(&partition, timestamp).expect("appends");
    }
    let offset = |timestamp| partition.find_offset(timestamp, -1).map(|found| found.offset);
    assert_eq!(offset(-1), Ok(3), "latest");
    assert_eq!(offset(-2), Ok(0), "earliest");
    assert_eq!(offset(-3), Ok(1), "of the largest timestamp");
    assert_eq!(offset(-4), Ok(0), "earliest local");
    assert_eq!(offset(-5), Ok(-1), "nothing is tiered");
    assert_eq!(offset(11), Ok(1));
    assert_eq!(offset(31), Ok(-1));
    assert!(offset(-9).is_err());
    assert_eq!(partition.find_offset(-1, -1).map(|found| found.leader_epoch), Ok(5));
}

#[test]
fn a_closed_partition_refuses_and_says_where_its_log_ended() {
    let (_temp, partition) = leader();
    append(&partition, 1).expect("appends");
    let point = partition.close().expect("closes").expect("was open");
    assert_eq!((point.recovery_point, point.high_watermark), (1, 1));
    assert!(append(&partition, 2).is_err());
    assert!(partition.read(spec(0, -1)).is_err());
}

#[test]
fn rule_11_the_high_watermark_does_not_go_back_when_leadership_comes_again() {
    const SILENT: BrokerId = BrokerId(1);
    let (_temp, partition) = leader();
    append(&partition, 1).expect("appends");
    partition.resign();
    assert_eq!(partition.checkpoint().map(|point| point.high_watermark), Some(1));
    // In the new epoch another replica is in sync, of which nothing is known yet: the watermark stays where it was.
    let with_another = ReplicaView {
        replicas: vec![peer(LOCAL), peer(SILENT)],
        isr: vec![LOCAL, SILENT],
        ..view(6)
    };
    partition.lead(LOCAL, &with_another).expect("leads");
    assert_eq!(partition.read(spec(0, 6)).expect("reads").high_watermark, 1);
}

#[test]
fn a_read_that_would_wait_for_the_disk_says_so_and_succeeds_once_somebody_has_waited() {
    let (temp, partition) = leader();
    for timestamp in 0..500 {
        append(&partition, timestamp).expect("appends");
    }
    let file = std::fs::File::open(temp.path().join("t-0/00000000000000000000.log")).expect("opens");
    file.sync_all().expect("syncs");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advises");
    if partition.read_cached(spec(3, 5)).expect("reads").is_some() {
        // This file system cannot tell, and waits.
        return;
    }
    partition.cold_read(spec(3, 5)).expect("waits");
    let read = partition.read_cached(spec(3, 5)).expect("reads").expect("is in memory");
    let whole = partition.read(spec(3, 5)).expect("reads");
    assert_eq!((read.slice.first_offset, read.slice.len), (3, whole.slice.len));
}

const OTHER: BrokerId = BrokerId(1);

/// Both replicas are in sync, in epoch 5 of the leader.
fn with_follower(min_insync_replicas: usize) -> ReplicaView {
    ReplicaView {
        replicas: vec![peer(LOCAL), peer(OTHER)],
        isr: vec![LOCAL, OTHER],
        partition_epoch: PartitionEpoch(6),
        min_insync_replicas,
        ..view(5)
    }
}

fn follower_fetch(offset: i64) -> ReadSpec {
    ReadSpec {
        reader: Reader::Follower(FollowerReader {
            replica: OTHER,
            broker_epoch: BrokerEpoch(1),
            log_start_offset: 0,
        }),
        ..spec(offset, 5)
    }
}

/// Appends a record with `acks=all` and gives what it waits for.
fn append_all(partition: &Arc<PartitionHandle>) -> Option<Uncommitted> {
    let mut batch = BatchBuilder::new().record(1, None, Some(b"v")).build();
    let mut outcomes = Vec::new();
    let committing = partition.append_as_leader(&mut [batch.as_mut_slice()], true, 1, &mut outcomes);
    let info = outcomes.remove(0).expect("appends");
    Some(Uncommitted {
        partition: Arc::clone(partition),
        leader_epoch: committing.leader_epoch,
        required: committing.required(info.last_offset)?,
    })
}

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_write_is_committed_when_the_follower_fetches_beyond_it() {
    let (_temp, partition) = leader();
    let partition = Arc::new(partition);
    assert!(append_all(&partition).is_none(), "the sole replica commits at once");
    partition.lead(LOCAL, &with_follower(2)).expect("goes on leading");
    let first = append_all(&partition).expect("waits");
    let second = append_all(&partition).expect("waits");
    partition.read(follower_fetch(1)).expect("is served");
    assert_eq!(partition.committed(first.leader_epoch, first.required), Ok(false));
    let follower = async {
        let read = partition.read(follower_fetch(2)).expect("is served");
        assert_eq!(
            (read.high_watermark, read.slice.first_offset),
            (2, 2),
            "it reads beyond what is committed"
        );
    };
    let (committed, ()) = tokio::join!(first.committed(PATIENCE), follower);
    assert_eq!(committed, Ok(()));
    assert_eq!(partition.committed(second.leader_epoch, second.required), Ok(false));
}

#[tokio::test]
async fn an_append_wakes_followers_and_their_fetch_wakes_consumers() {
    let (_temp, partition) = leader();
    let partition = Arc::new(partition);
    partition.lead(LOCAL, &with_follower(1)).expect("goes on leading");
    partition.read(follower_fetch(0)).expect("is served");
    let (consumer, follower) = (Arc::new(FetchWaiter::default()), Arc::new(FetchWaiter::default()));
    assert!(partition.wait_beyond(Reader::Consumer { anywhere: false }, 0, None, &consumer));
    assert!(partition.wait_beyond(follower_fetch(0).reader, 0, None, &follower));
    append_all(&partition).expect("waits");
    follower.woken().await;
    assert!(
        tokio::time::timeout(Duration::ZERO, consumer.woken()).await.is_err(),
        "nothing is committed yet"
    );
    partition.read(follower_fetch(1)).expect("is served");
    consumer.woken().await;
}

#[tokio::test]
async fn who_waits_for_a_leader_that_resigns_is_told_at_once() {
    let (_temp, partition) = leader();
    let partition = Arc::new(partition);
    partition.lead(LOCAL, &with_follower(2)).expect("goes on leading");
    let waiting = append_all(&partition).expect("waits");
    let (committed, ()) = tokio::join!(waiting.committed(PATIENCE), async { partition.resign() });
    assert_eq!(
        committed.map_err(|refusal| refusal.code),
        Err(ErrorCode::NotLeaderOrFollower)
    );
    // The next leadership of this broker is another one.
    partition.lead(LOCAL, &view(7)).expect("leads");
    assert_eq!(
        partition
            .committed(waiting.leader_epoch, waiting.required)
            .map_err(|refusal| refusal.code),
        Err(ErrorCode::NotLeaderOrFollower)
    );
}

#[tokio::test]
async fn a_follower_that_stays_silent_costs_the_time_of_the_request() {
    let (_temp, partition) = leader();
    let partition = Arc::new(partition);
    partition.lead(LOCAL, &with_follower(2)).expect("goes on leading");
    let waiting = append_all(&partition).expect("waits");
    let committed = waiting.committed(Duration::from_millis(1)).await;
    assert_eq!(
        committed.map_err(|refusal| refusal.code),
        Err(ErrorCode::RequestTimedOut)
    );
    assert!(partition.inner.lock().writes.is_empty(), "nobody waits any more");
}

#[test]
fn below_min_isr_nothing_is_appended_for_all_replicas_and_everything_for_one() {
    let (_temp, partition) = leader();
    let mut alone = with_follower(2);
    alone.isr = vec![LOCAL];
    partition.lead(LOCAL, &alone).expect("goes on leading");
    assert_eq!(
        append(&partition, 1).map_err(|refusal| refusal.code),
        Err(ErrorCode::NotEnoughReplicas)
    );
    assert_eq!(partition.look().map(|look| look.log_end_offset), Some(0));
    let mut batch = BatchBuilder::new().record(1, None, Some(b"v")).build();
    let mut outcomes = Vec::new();
    partition.append_as_leader(&mut [batch.as_mut_slice()], false, 1, &mut outcomes);
    assert_eq!(outcomes.remove(0).map(|info| info.base_offset), Ok(0));
    let look = partition.look().expect("open");
    assert_eq!(
        (look.high_watermark, look.log_end_offset),
        (0, 1),
        "and it is not committed"
    );
}

#[test]
fn rule_13_a_new_leader_shows_nothing_before_its_epoch_start_is_committed() {
    let (_temp, partition) = leader();
    append(&partition, 1).expect("appends");
    let mut next = with_follower(2);
    next.leader_epoch = LeaderEpoch(6);
    partition.lead(LOCAL, &view(5)).expect("leads");
    let mut batch = BatchBuilder::new().record(2, None, Some(b"v")).build();
    let mut outcomes = Vec::new();
    let mut alone = with_follower(2);
    alone.isr = vec![LOCAL];
    partition.lead(LOCAL, &alone).expect("leads");
    partition.append_as_leader(&mut [batch.as_mut_slice()], false, 2, &mut outcomes);
    partition.lead(LOCAL, &next).expect("leads in the next epoch");
    let refused = |result: Result<(), Refusal>| result.map_err(|refusal| refusal.code);
    let latest = || partition.find_offset(-1, 6).map(|found| found.offset);
    assert_eq!(
        refused(partition.read(spec(0, 6)).map(drop)),
        Err(ErrorCode::OffsetNotAvailable)
    );
    assert_eq!(refused(latest().map(drop)), Err(ErrorCode::OffsetNotAvailable));
    assert_eq!(
        partition.find_offset(-2, 6).map(|found| found.offset),
        Ok(0),
        "the earliest is known"
    );
    let by_time = |timestamp: i64| partition.find_offset(timestamp, 6).map(|found| found.offset);
    assert_eq!(by_time(0), Ok(0), "what is below the watermark is");
    assert_eq!(refused(by_time(2).map(drop)), Err(ErrorCode::OffsetNotAvailable));
    assert_eq!(partition.awaited_epoch_start(), Some(2));
    let mut fetch = follower_fetch(2);
    fetch.current_leader_epoch = 6;
    partition.read(fetch).expect("is served");
    assert_eq!(latest(), Ok(2));
    assert_eq!(partition.read(spec(0, 6)).expect("reads").high_watermark, 2);
}

#[test]
fn a_follower_makes_room_by_itself_only_if_it_must() {
    let (_temp, partition) = leader();
    append(&partition, 1).expect("appends");
    assert!(partition.follow(OTHER, LeaderEpoch(6)));
    let much_later = 1 << 50;
    assert_eq!(partition.advance_log_start(much_later, false).expect("works"), None);
    assert_eq!(partition.advance_log_start(much_later, true).expect("works"), Some(1));
}

#[test]
fn what_is_deleted_already_waits_for_no_more_than_was_asked_for() {
    let (_temp, partition) = leader();
    for timestamp in 0..3 {
        append(&partition, timestamp).expect("appends");
    }
    assert_eq!(partition.delete_records(2), Ok(2));
    assert_eq!(partition.delete_records(1), Ok(1));
    assert_eq!(partition.log_start_offset(), Ok(2));
    assert_eq!(partition.delete_records(-1), Ok(3));
}

#[test]
fn clients_read_from_the_in_sync_follower_that_has_their_offset() {
    let (_temp, partition) = leader();
    append(&partition, 1).expect("appends");
    partition.lead(LOCAL, &with_follower(1)).expect("goes on leading");
    assert_eq!(
        partition.preferred_read_replica(5, 0, |_| true),
        None,
        "nothing is known of it"
    );
    partition.read(follower_fetch(1)).expect("is served");
    assert_eq!(partition.preferred_read_replica(5, 1, |id| id == OTHER), Some(OTHER));
    assert_eq!(partition.preferred_read_replica(5, 1, |id| id != OTHER), None);
    assert_eq!(
        partition.preferred_read_replica(5, 2, |_| true),
        None,
        "it has not that much"
    );
    assert_eq!(partition.preferred_read_replica(4, 1, |_| true), None, "another epoch");
}

#[tokio::test]
async fn a_follower_that_clients_read_from_is_told_of_a_watermark_that_moves() {
    let (_temp, partition) = leader();
    let partition = Arc::new(partition);
    partition.lead(LOCAL, &with_follower(1)).expect("goes on leading");
    append_all(&partition).expect("waits");
    let waiter = Arc::new(FetchWaiter::default());
    assert!(partition.wait_beyond(follower_fetch(1).reader, 1, Some(0), &waiter));
    partition.read(follower_fetch(1)).expect("is served");
    waiter.woken().await;
    assert!(
        !partition.wait_beyond(follower_fetch(1).reader, 1, Some(0), &waiter),
        "it has moved already"
    );
    partition.forget(follower_fetch(1).reader, &waiter);
    let inner = partition.inner.lock();
    assert!(inner.fetches.is_empty() && inner.follower_fetches.is_empty());
}
