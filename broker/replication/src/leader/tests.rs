use super::*;

const LEADER: BrokerId = BrokerId(0);
const FOLLOWER: BrokerId = BrokerId(1);
const THIRD: BrokerId = BrokerId(2);

fn view(replicas: &[BrokerId], isr: &[BrokerId], min_isr: usize, partition_epoch: i32) -> ReplicaView {
    ReplicaView {
        replicas: replicas.to_vec(),
        isr: isr.to_vec(),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(partition_epoch),
        min_insync_replicas: min_isr,
    }
}

#[test]
fn a_single_replica_commits_what_it_appends() {
    let mut leader = LeaderState::new(LEADER, &view(&[LEADER], &[LEADER], 1, 0), 0, 0);
    assert!(leader.appended(5));
    assert_eq!(leader.high_watermark(), 5);
    assert_eq!(leader.acks(5), Acks::Done);
}

#[test]
fn a_single_replica_shows_its_whole_log_after_a_restart() {
    // The checkpointed watermark may be behind the log; the only replica has everything there is.
    let leader = LeaderState::new(LEADER, &view(&[LEADER], &[LEADER], 1, 0), 9, 4);
    assert_eq!(leader.visible_high_watermark(), Some(9));
}

#[test]
fn min_insync_replicas_is_bounded_by_the_replica_count() {
    let leader = LeaderState::new(LEADER, &view(&[LEADER], &[LEADER], 2, 0), 0, 0);
    assert_eq!(leader.check_min_isr(), Ok(()));
}

#[test]
fn the_watermark_waits_for_the_slowest_in_sync_replica() {
    let both = [LEADER, FOLLOWER];
    let mut leader = LeaderState::new(LEADER, &view(&both, &both, 1, 0), 0, 0);
    assert!(!leader.appended(10));
    assert_eq!(leader.acks(10), Acks::Waiting);
    assert!(leader.follower_fetched(FOLLOWER, 7));
    assert_eq!(leader.high_watermark(), 7);
}

#[test]
fn rule_11_a_proposed_member_counts_before_it_is_committed() {
    let both = [LEADER, FOLLOWER];
    let mut leader = LeaderState::new(LEADER, &view(&both, &[LEADER], 1, 0), 0, 0);
    leader.appended(5);
    leader.follower_fetched(FOLLOWER, 5);
    leader.proposed(&both);
    leader.appended(9);
    assert_eq!(leader.high_watermark(), 5, "the joining follower has only 5");
    leader.follower_fetched(FOLLOWER, 9);
    assert_eq!(leader.high_watermark(), 9);
}

#[test]
fn rule_11_the_watermark_is_frozen_below_min_isr_and_never_goes_back() {
    let all = [LEADER, FOLLOWER, THIRD];
    let mut leader = LeaderState::new(LEADER, &view(&all, &[LEADER, FOLLOWER], 2, 0), 0, 0);
    leader.appended(4);
    leader.follower_fetched(FOLLOWER, 4);
    assert_eq!(leader.high_watermark(), 4);
    leader.update(&view(&all, &[LEADER], 2, 1));
    leader.appended(8);
    assert_eq!(leader.high_watermark(), 4);
    assert_eq!(leader.check_min_isr(), Err(NotEnoughReplicas { in_sync: 1, needed: 2 }));
    assert_eq!(leader.acks(4), Acks::TooFewAfterAppend);
    // A follower that comes back with less must not pull the watermark down.
    leader.update(&view(&all, &[LEADER, THIRD], 2, 2));
    leader.follower_fetched(THIRD, 1);
    assert_eq!(leader.high_watermark(), 4);
}

#[test]
fn rule_13_no_watermark_is_shown_before_the_epoch_start_is_committed() {
    let both = [LEADER, FOLLOWER];
    let mut leader = LeaderState::new(LEADER, &view(&both, &both, 1, 0), 6, 2);
    assert_eq!(leader.visible_high_watermark(), None);
    leader.follower_fetched(FOLLOWER, 6);
    assert_eq!(leader.visible_high_watermark(), Some(6));
}

#[test]
fn an_older_record_changes_nothing() {
    let both = [LEADER, FOLLOWER];
    let mut leader = LeaderState::new(LEADER, &view(&both, &both, 1, 5), 0, 0);
    leader.update(&view(&both, &[LEADER], 1, 4));
    leader.appended(3);
    assert_eq!(leader.high_watermark(), 0);
}
