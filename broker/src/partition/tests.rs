use broker_log::DataDir;
use broker_log::{OpenState, TopicPartition};
use model::{PartitionEpoch, TopicId};
use protocol::batch::BatchBuilder;

use super::*;
use crate::metrics::BrokerTopicMetrics;

const LOCAL: BrokerId = BrokerId(0);

fn view(leader_epoch: i32) -> ReplicaView {
    ReplicaView {
        replicas: vec![LOCAL],
        isr: vec![LOCAL],
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(leader_epoch),
        min_insync_replicas: 1,
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
    let partition = PartitionHandle::new(topic, id, PartitionIndex(0), metrics, log);
    partition.lead(LOCAL, &view(5), 0).expect("leads");
    (temp, partition)
}

fn append(partition: &PartitionHandle, timestamp: i64) -> Result<i64, Refusal> {
    let mut batch = BatchBuilder::new().record(timestamp, None, Some(b"v")).build();
    let mut outcomes = Vec::new();
    partition.append_as_leader(&mut [batch.as_mut_slice()], true, timestamp, &mut outcomes);
    outcomes.remove(0).map(|info| info.base_offset)
}

fn spec(offset: i64, current_leader_epoch: i32) -> ReadSpec {
    ReadSpec {
        offset,
        max_bytes: 1 << 20,
        min_one_message: true,
        current_leader_epoch,
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
    assert!(partition.wait_beyond(0, &waiter));
    append(&partition, 1).expect("appends");
    waiter.woken().await;
    assert!(!partition.wait_beyond(0, &waiter), "there is more already");
}

#[tokio::test]
async fn a_leader_that_resigns_tells_those_who_wait() {
    let (_temp, partition) = leader();
    let waiter = Arc::new(FetchWaiter::default());
    assert!(partition.wait_beyond(0, &waiter));
    partition.resign();
    waiter.woken().await;
    assert_eq!(
        append(&partition, 1).err().map(|refusal| refusal.code),
        Some(ErrorCode::NotLeaderOrFollower)
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
    assert_eq!((point.recovery_point, point.high_watermark), (1, Some(1)));
    assert!(append(&partition, 2).is_err());
    assert!(partition.read(spec(0, -1)).is_err());
}
