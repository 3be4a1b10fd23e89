use super::super::fixture::{image, with_topic};
use super::*;

#[test]
fn more_brokers_come_at_once() {
    assert_eq!(plan(5, 3, &image(3)), Scale::As(5));
}

#[test]
fn a_broker_goes_only_when_it_holds_nothing() {
    let image = with_topic(image(5), "letters", 1, &[&[0, 1], &[3, 1], &[2, 3]]);
    let drained = plan(3, 5, &image);
    // Broker 4 is empty and may go; 3 is not.
    assert_eq!(
        drained,
        Scale::Draining {
            keep: 4,
            broker: 3,
            left: 2
        }
    );
    assert_eq!(drained.brokers(), 4);
    assert_eq!(plan(4, 5, &image), Scale::As(4));
}

#[test]
fn fewer_brokers_than_a_topic_has_replicas_is_refused_by_its_name() {
    let image = with_topic(image(3), "letters", 1, &[&[0, 1, 2]]);
    let Scale::Refused { keep: 3, why } = plan(2, 3, &image) else {
        panic!("not refused")
    };
    assert!(why.contains("topic letters has 3 replicas"), "{why}");
}

#[test]
fn a_departed_broker_has_neither_pod_nor_replica() {
    let image = with_topic(image(4), "letters", 1, &[&[0, 2]]);
    assert_eq!(departed(&image, 2, |_| false), vec![BrokerId(3)]);
    assert_eq!(departed(&image, 2, |id| id == 3), vec![]);
    assert_eq!(departed(&image, 4, |_| false), vec![]);
}
