use super::super::fixture::{fenced, image, with_topic};
use super::*;

fn set(partition: i32) -> Set {
    Set {
        replicas: 3,
        partition,
        revision: Some("new".to_owned()),
    }
}

fn brokers(revisions: [&str; 3]) -> Vec<Broker> {
    (0..)
        .zip(revisions)
        .map(|(id, revision)| Broker {
            id,
            revision: revision.to_owned(),
            ready: true,
            terminating: false,
        })
        .collect()
}

fn replicated(min_isr: usize) -> MetadataImage {
    with_topic(image(3), "letters", min_isr, &[&[0, 1, 2], &[1, 2, 0]])
}

#[test]
fn nothing_restarts_by_itself_at_rest() {
    let step = step(&set(3), &brokers(["new"; 3]), &replicated(2));
    assert_eq!(step, Step::Settled);
    assert_eq!(step.partition(&set(0)), 3);
}

#[test]
fn a_roll_goes_from_the_highest_broker_down_one_at_a_time() {
    let image = replicated(2);
    assert_eq!(step(&set(3), &brokers(["old"; 3]), &image), Step::Restart(2));
    assert_eq!(step(&set(2), &brokers(["old"; 3]), &image), Step::Restarting(2));
    let mut there = brokers(["old", "old", "new"]);
    there[2].ready = false;
    assert_eq!(step(&set(2), &there, &image), Step::Hold(1, Obstacle::NotReady(2)));
    there[2].ready = true;
    assert_eq!(step(&set(2), &there, &image), Step::Restart(1));
    assert_eq!(step(&set(1), &brokers(["old", "new", "new"]), &image), Step::Restart(0));
    assert_eq!(step(&set(0), &brokers(["new"; 3]), &image), Step::Settled);
}

#[test]
fn a_missing_or_leaving_pod_holds_the_roll() {
    let image = replicated(2);
    let two = brokers(["old", "old", "new"])[1..].to_vec();
    assert_eq!(step(&set(2), &two, &image), Step::Hold(1, Obstacle::NotReady(0)));
    let mut leaving = brokers(["old", "old", "new"]);
    leaving[0].terminating = true;
    assert_eq!(step(&set(2), &leaving, &image), Step::Hold(1, Obstacle::NotReady(0)));
}

#[test]
fn a_template_that_no_broker_could_start_with_is_replaced_by_one_that_they_can() {
    let image = image(0);
    let mut there = brokers(["old"; 3]);
    for broker in &mut there {
        broker.ready = false;
    }
    assert_eq!(step(&set(3), &there, &image), Step::Restart(2));
    there[2] = Broker {
        revision: "new".to_owned(),
        ready: true,
        ..there[2].clone()
    };
    assert_eq!(step(&set(2), &there, &image), Step::Restart(1));
    // One that is ready is not risked for the sake of one that is not.
    there[1].ready = true;
    assert_eq!(step(&set(2), &there, &image), Step::Hold(1, Obstacle::NotReady(0)));
}

#[test]
fn a_template_that_the_stateful_sets_controller_has_not_seen_is_waited_for() {
    let unseen = Set {
        revision: None,
        ..set(1)
    };
    let step = step(&unseen, &brokers(["old"; 3]), &replicated(2));
    assert_eq!((step.partition(&unseen), step), (1, Step::Unseen));
}

#[test]
fn no_partition_falls_below_its_min_isr_by_a_restart() {
    // Broker 0 is out, so the other two are all that min.insync.replicas=2 has.
    let image = fenced(replicated(2), 0);
    let held = step(&set(3), &brokers(["old"; 3]), &image);
    let Step::Hold(2, obstacle) = held else {
        panic!("{held:?}")
    };
    assert_eq!(
        obstacle.to_string(),
        "partition 0 of topic letters would have 1 in-sync replicas left, and needs 2"
    );
    assert!(any_may_go(&image).is_err());
    assert!(any_may_go(&replicated(2)).is_ok());
}

#[test]
fn partitions_without_a_replica_to_spare_do_not_hold_a_roll_for_ever() {
    let single = with_topic(image(3), "single", 1, &[&[2], &[1]]);
    assert_eq!(may_go(&single, BrokerId(2)), Ok(()));
    let strict = with_topic(image(3), "strict", 3, &[&[0, 1, 2]]);
    assert_eq!(may_go(&strict, BrokerId(2)), Ok(()));
    // ... but all the others must be in sync.
    assert!(may_go(&fenced(strict, 1), BrokerId(2)).is_err());
}

#[test]
fn a_broker_that_is_out_of_sync_already_may_be_restarted() {
    assert_eq!(may_go(&fenced(replicated(2), 2), BrokerId(2)), Ok(()));
}

/// Whatever the order of events, at most one broker is down because of a roll, and the roll ends.
#[test]
fn every_roll_ends_with_one_broker_down_at_a_time() {
    for replicas in 1..6 {
        let assignment: Vec<i32> = (0..replicas.min(3)).collect();
        let image = with_topic(image(replicas), "letters", 2, &[&assignment]);
        let mut set = Set {
            replicas,
            partition: replicas,
            revision: Some("new".to_owned()),
        };
        let mut there: Vec<Broker> = (0..replicas)
            .map(|id| Broker {
                id,
                revision: "old".to_owned(),
                ready: true,
                terminating: false,
            })
            .collect();
        let mut restarts = 0;
        for _ in 0..replicas * 4 {
            set.partition = step(&set, &there, &image).partition(&set);
            // The StatefulSet's controller: the highest old pod at or above the partition, if all is well.
            if let Some(back) = there.iter_mut().find(|broker| !broker.ready) {
                back.ready = true;
            } else if let Some(next) = there
                .iter_mut()
                .rev()
                .find(|broker| broker.id >= set.partition && broker.revision == "old")
            {
                next.revision = "new".to_owned();
                next.ready = false;
                restarts += 1;
            }
            assert!(there.iter().filter(|broker| !broker.ready).count() <= 1);
        }
        assert_eq!(restarts, replicas);
        assert_eq!(step(&set, &there, &image), Step::Settled);
    }
}
