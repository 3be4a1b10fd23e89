use super::*;

const LEADER: BrokerId = BrokerId(0);
const FOLLOWER: BrokerId = BrokerId(1);
const THIRD: BrokerId = BrokerId(2);
const LAG: i64 = 30_000;

fn peer(id: BrokerId, broker_epoch: i64) -> ReplicaPeer {
    ReplicaPeer {
        id,
        broker_epoch: Some(BrokerEpoch(broker_epoch)),
        eligible: true,
    }
}

/// A fetch at `offset`, in the registration that [`peer`] gives by default.
fn fetch(leader: &mut LeaderState, replica: BrokerId, offset: i64, now_ms: i64) -> bool {
    let fetch = FollowerFetch {
        replica,
        broker_epoch: BrokerEpoch(1),
        log_end_offset: offset,
        log_start_offset: 0,
    };
    leader.follower_fetched(&fetch, now_ms).expect("a replica")
}

fn view(replicas: &[BrokerId], isr: &[BrokerId], min_isr: usize, partition_epoch: i32) -> ReplicaView {
    ReplicaView {
        replicas: replicas.iter().map(|id| peer(*id, 1)).collect(),
        isr: isr.to_vec(),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(partition_epoch),
        min_insync_replicas: min_isr,
        next_producer_id: ProducerId(0),
    }
}

#[test]
fn a_single_replica_commits_what_it_appends() {
    let mut leader = LeaderState::new(LEADER, &view(&[LEADER], &[LEADER], 1, 0), 0, 0, 0);
    assert!(leader.appended(5));
    assert_eq!(leader.high_watermark(), 5);
    assert_eq!(leader.acks(5), Acks::Done);
}

#[test]
fn a_single_replica_shows_its_whole_log_after_a_restart() {
    // The checkpointed watermark may be behind the log; the only replica has everything there is.
    let leader = LeaderState::new(LEADER, &view(&[LEADER], &[LEADER], 1, 0), 9, 4, 0);
    assert_eq!(leader.visible_high_watermark(), Some(9));
}

#[test]
fn min_insync_replicas_is_bounded_by_the_replica_count() {
    let leader = LeaderState::new(LEADER, &view(&[LEADER], &[LEADER], 2, 0), 0, 0, 0);
    assert_eq!(leader.check_min_isr(), Ok(()));
}

#[test]
fn the_watermark_waits_for_the_slowest_in_sync_replica() {
    let both = [LEADER, FOLLOWER];
    let mut leader = LeaderState::new(LEADER, &view(&both, &both, 1, 0), 0, 0, 0);
    assert!(!leader.appended(10));
    assert_eq!(leader.acks(10), Acks::Waiting);
    assert!(fetch(&mut leader, FOLLOWER, 7, 0));
    assert_eq!(leader.high_watermark(), 7);
}

#[test]
fn rule_11_a_proposed_member_counts_before_it_is_committed() {
    let both = [LEADER, FOLLOWER];
    let mut leader = LeaderState::new(LEADER, &view(&both, &[LEADER], 1, 0), 0, 0, 0);
    leader.appended(5);
    fetch(&mut leader, FOLLOWER, 5, 0);
    assert!(leader.propose(0, LAG).is_some(), "the follower has caught up");
    leader.appended(9);
    assert_eq!(leader.high_watermark(), 5, "the joining follower has only 5");
    fetch(&mut leader, FOLLOWER, 9, 0);
    assert_eq!(leader.high_watermark(), 9);
}

#[test]
fn rule_11_the_watermark_is_frozen_below_min_isr_and_never_goes_back() {
    let all = [LEADER, FOLLOWER, THIRD];
    let mut leader = LeaderState::new(LEADER, &view(&all, &[LEADER, FOLLOWER], 2, 0), 0, 0, 0);
    leader.appended(4);
    fetch(&mut leader, FOLLOWER, 4, 0);
    assert_eq!(leader.high_watermark(), 4);
    leader.update(&view(&all, &[LEADER], 2, 1), 0);
    leader.appended(8);
    assert_eq!(leader.high_watermark(), 4);
    assert_eq!(leader.check_min_isr(), Err(NotEnoughReplicas { in_sync: 1, needed: 2 }));
    assert_eq!(leader.acks(4), Acks::TooFewAfterAppend);
    // A follower that comes back with less must not pull the watermark down.
    leader.update(&view(&all, &[LEADER, THIRD], 2, 2), 0);
    fetch(&mut leader, THIRD, 1, 0);
    assert_eq!(leader.high_watermark(), 4);
}

#[test]
fn rule_13_no_watermark_is_shown_before_the_epoch_start_is_committed() {
    let both = [LEADER, FOLLOWER];
    let mut leader = LeaderState::new(LEADER, &view(&both, &both, 1, 0), 6, 2, 0);
    assert_eq!(leader.visible_high_watermark(), None);
    fetch(&mut leader, FOLLOWER, 6, 0);
    assert_eq!(leader.visible_high_watermark(), Some(6));
}

#[test]
fn an_older_record_changes_nothing() {
    let both = [LEADER, FOLLOWER];
    let mut leader = LeaderState::new(LEADER, &view(&both, &both, 1, 5), 0, 0, 0);
    leader.update(&view(&both, &[LEADER], 1, 4), 0);
    leader.appended(3);
    assert_eq!(leader.high_watermark(), 0);
}

fn ids(proposed: Option<&crate::IsrProposed>) -> Vec<BrokerId> {
    let members = proposed.into_iter().flat_map(|proposed| &proposed.isr);
    members.map(|member| member.broker).collect()
}

#[test]
fn a_follower_that_lags_too_long_is_proposed_out_and_counts_until_the_record() {
    let both = [LEADER, FOLLOWER];
    let mut leader = LeaderState::new(LEADER, &view(&both, &both, 1, 0), 0, 0, 0);
    leader.appended(5);
    assert_eq!(leader.propose(LAG, LAG), None, "it has the full time to be heard from");
    assert_eq!(ids(leader.propose(LAG + 1, LAG).as_ref()), vec![LEADER]);
    leader.appended(9);
    assert_eq!(leader.high_watermark(), 0);
    leader.update(&view(&both, &[LEADER], 1, 1), LAG + 2);
    assert_eq!(leader.high_watermark(), 9);
}

#[test]
fn a_busy_follower_that_is_always_one_fetch_behind_keeps_up() {
    let both = [LEADER, FOLLOWER];
    let mut leader = LeaderState::new(LEADER, &view(&both, &both, 1, 0), 0, 0, 0);
    for step in 1..10 {
        leader.appended(step * 10);
        fetch(&mut leader, FOLLOWER, (step - 1) * 10, step * LAG);
        assert_eq!(leader.propose(step * LAG, LAG), None, "step {step}");
    }
    fetch(&mut leader, FOLLOWER, 85, 10 * LAG);
    fetch(&mut leader, FOLLOWER, 86, 11 * LAG);
    assert_eq!(
        ids(leader.propose(11 * LAG, LAG).as_ref()),
        vec![LEADER],
        "now it does not"
    );
}

#[test]
fn rule_12_a_proposal_in_doubt_is_made_again_even_if_nothing_is_wanted_any_more() {
    let both = [LEADER, FOLLOWER];
    let mut leader = LeaderState::new(LEADER, &view(&both, &[LEADER], 1, 4), 0, 0, 0);
    leader.appended(5);
    fetch(&mut leader, FOLLOWER, 5, 0);
    let first = leader.propose(0, LAG);
    assert_eq!(ids(first.as_ref()), both);
    assert_eq!(leader.propose(1, LAG), None, "it is under way");
    leader.proposal_failed(&first.expect("proposed"), 2, 10);
    assert_eq!(leader.propose(11, LAG), None, "it waits");
    // The follower's broker was fenced meanwhile: nothing differs from the record, and still the old proposal must die.
    let mut fenced = view(&both, &[LEADER], 1, 4);
    fenced.replicas[1].eligible = false;
    leader.update(&fenced, 12);
    let second = leader.propose(12, LAG);
    assert_eq!(ids(second.as_ref()), vec![LEADER]);
    assert_eq!(second.map(|proposed| proposed.partition_epoch), Some(PartitionEpoch(4)));
    leader.appended(9);
    assert_eq!(leader.high_watermark(), 5, "the first may still be taken");
    leader.update(&view(&both, &[LEADER], 1, 5), 13);
    assert_eq!(leader.high_watermark(), 9);
    assert!(!leader.isr_is_in_doubt());
}

#[test]
fn rule_13_what_a_former_registration_fetched_counts_no_more() {
    let both = [LEADER, FOLLOWER];
    let mut leader = LeaderState::new(LEADER, &view(&both, &[LEADER], 1, 0), 0, 0, 0);
    leader.appended(5);
    fetch(&mut leader, FOLLOWER, 5, 0);
    let mut registered_again = view(&both, &[LEADER], 1, 0);
    registered_again.replicas[1].broker_epoch = Some(BrokerEpoch(2));
    leader.update(&registered_again, 1);
    assert!(!leader.may_join(FOLLOWER));
    assert_eq!(leader.propose(1, LAG), None);
    let late = FollowerFetch {
        replica: FOLLOWER,
        broker_epoch: BrokerEpoch(1),
        log_end_offset: 5,
        log_start_offset: 0,
    };
    assert!(leader.follower_fetched(&late, 2).is_err());
}

#[test]
fn rule_13_a_follower_joins_from_the_leaders_epoch_start_on() {
    let both = [LEADER, FOLLOWER];
    let mut leader = LeaderState::new(LEADER, &view(&both, &[LEADER], 2, 0), 6, 2, 0);
    fetch(&mut leader, FOLLOWER, 5, 0);
    assert!(
        !leader.may_join(FOLLOWER),
        "it has the watermark, but not all that this leader began with"
    );
    fetch(&mut leader, FOLLOWER, 6, 0);
    assert_eq!(ids(leader.propose(0, LAG).as_ref()), both);
}

#[test]
fn the_low_watermark_is_that_of_all_live_replicas() {
    let all = [LEADER, FOLLOWER, THIRD];
    let mut live = view(&all, &all, 1, 0);
    let mut leader = LeaderState::new(LEADER, &live, 9, 9, 0);
    fetch(&mut leader, FOLLOWER, 9, 0);
    assert_eq!(leader.low_watermark(4), None, "one has not been heard of");
    live.replicas[2].eligible = false;
    leader.update(&live, 0);
    assert_eq!(leader.low_watermark(4), Some(0));
    let fetch = FollowerFetch {
        replica: FOLLOWER,
        broker_epoch: BrokerEpoch(1),
        log_end_offset: 9,
        log_start_offset: 7,
    };
    leader.follower_fetched(&fetch, 0).expect("a replica");
    assert_eq!(leader.low_watermark(4), Some(4));
}
