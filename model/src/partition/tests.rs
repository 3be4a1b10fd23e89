//! Corners of the transitions that whole histories reach rarely.

use super::*;

fn ids(list: &[i32]) -> Vec<BrokerId> {
    list.iter().copied().map(BrokerId).collect()
}

fn partition(replicas: &[i32], isr: &[i32], elr: &[i32], leader: Option<i32>) -> PartitionImage {
    PartitionImage {
        isr: ids(isr),
        elr: ids(elr),
        leader: leader.map(BrokerId),
        ..PartitionImage::created(ids(replicas), |_| true)
    }
}

#[test]
fn a_topic_made_while_every_broker_is_fenced_waits_with_all_replicas_in_sync() {
    let partition = PartitionImage::created(ids(&[0, 1]), |_| false);
    assert_eq!((partition.leader, partition.isr), (None, ids(&[0, 1])));
}

#[test]
fn an_elected_eligible_replica_becomes_the_isr_and_the_former_member_stays_eligible() {
    let mut partition = partition(&[0, 1, 2], &[0], &[2], Some(0));
    partition.leave(BrokerId(0), 2, |id| id == BrokerId(2));
    assert_eq!(
        (partition.leader, partition.isr, partition.elr),
        (Some(BrokerId(2)), ids(&[2]), ids(&[0]))
    );
}

#[test]
fn an_isr_that_is_large_enough_needs_no_eligible_replicas() {
    let mut partition = partition(&[0, 1, 2], &[0], &[1, 2], Some(0));
    partition.change(
        Change {
            isr: Some(ids(&[0, 1])),
            ..Change::default()
        },
        2,
        |_| true,
    );
    assert_eq!((partition.isr, partition.elr), (ids(&[0, 1]), vec![]));
}

#[test]
fn a_leader_outside_the_new_isr_is_replaced() {
    let mut partition = partition(&[0, 1], &[0, 1], &[], Some(0));
    partition.change(
        Change {
            isr: Some(ids(&[1])),
            ..Change::default()
        },
        1,
        |_| true,
    );
    assert_eq!(
        (partition.leader, partition.leader_epoch),
        (Some(BrokerId(1)), LeaderEpoch(1))
    );
}

#[test]
fn an_unclean_last_member_stays_only_where_no_other_replica_could_be_better() {
    let mut alone = partition(&[0], &[0], &[], None);
    alone.reincarnate(BrokerId(0), Restart::Unclean, 1, |_| false);
    assert_eq!(alone.isr, ids(&[0]));
    for elr in [ids(&[]), ids(&[1])] {
        let mut one_of_two = PartitionImage {
            elr: elr.clone(),
            ..partition(&[0, 1], &[0], &[], None)
        };
        one_of_two.reincarnate(BrokerId(0), Restart::Unclean, 2, |_| false);
        assert_eq!(
            (one_of_two.isr, one_of_two.elr, one_of_two.last_known_elr),
            (vec![], elr, ids(&[0]))
        );
    }
}

#[test]
fn a_lost_volume_is_nobody_to_wait_for() {
    let mut partition = partition(&[0, 1, 2], &[0], &[1], Some(0));
    partition.reincarnate(BrokerId(1), Restart::Unclean, 2, |_| false);
    assert_eq!(partition.last_known_elr, ids(&[1]));
    partition.reincarnate(BrokerId(1), Restart::VolumeLost, 2, |_| false);
    assert_eq!((partition.isr, partition.last_known_elr), (ids(&[0]), vec![]));
}

/// A sole replica leads whatever the controller says (METADATA 18): on another directory in another epoch.
#[test]
fn rule_18_a_sole_replica_on_another_directory_leads_in_another_epoch() {
    let mut sole = partition(&[0], &[0], &[], Some(0));
    for epoch in 1..4 {
        let before = sole.partition_epoch;
        sole.reincarnate(BrokerId(0), Restart::VolumeLost, 1, |_| false);
        assert_eq!((sole.leader, sole.leader_epoch), (None, LeaderEpoch(epoch)));
        assert!(sole.partition_epoch > before);
    }
    sole.reincarnate(BrokerId(0), Restart::Unclean, 1, |_| false);
    assert_eq!(sole.leader_epoch, LeaderEpoch(3));
}
