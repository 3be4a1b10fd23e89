use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn topic(number: u128) -> TopicId {
    TopicId(Uuid::from_u128(number))
}

/// Members with the topics that they subscribe to, and what they had; topics with their sizes.
fn subscriptions(sizes: &[i32], members: &[(&[usize], Partitions)]) -> Subscriptions {
    let mut all = Subscriptions::default();
    for (place, (topics, had)) in members.iter().enumerate() {
        for number in *topics {
            let subscribed = all.topics.entry(topic(*number as u128)).or_default();
            subscribed.partitions = sizes[*number];
            subscribed.members.push(place);
        }
        all.members.push(Subscriber {
            id: MemberId::from(format!("m{place}").as_str()),
            had: had.clone(),
        });
    }
    all
}

fn indexes(assigned: &Partitions, number: u128) -> Vec<i32> {
    assigned
        .iter()
        .filter(|(of, _)| *of == topic(number))
        .map(|(_, index)| index)
        .collect()
}

#[test]
fn range_gives_the_first_members_one_more() {
    let none = Partitions::default;
    let assigned = range::assign(&subscriptions(
        &[5, 3],
        &[(&[0, 1], none()), (&[0, 1], none()), (&[0], none())],
    ));
    assert_eq!(indexes(&assigned[0], 0), [0, 1]);
    assert_eq!(indexes(&assigned[1], 0), [2, 3]);
    assert_eq!(indexes(&assigned[2], 0), [4]);
    assert_eq!(indexes(&assigned[0], 1), [0, 1]);
    assert_eq!(indexes(&assigned[1], 1), [2]);
}

#[test]
fn uniform_moves_only_what_a_newcomer_needs() {
    let had = |of: &[i32]| of.iter().map(|index| (topic(0), *index)).collect::<Partitions>();
    let before = [had(&[0, 1, 2]), had(&[3, 4, 5])];
    let assigned = uniform::assign(&subscriptions(
        &[6],
        &[
            (&[0], before[0].clone()),
            (&[0], before[1].clone()),
            (&[0], Partitions::default()),
        ],
    ));
    assert_eq!(assigned.iter().map(Partitions::len).collect::<Vec<_>>(), [2, 2, 2]);
    assert!(assigned[0].is_within(&before[0]) && assigned[1].is_within(&before[1]));
}

#[test]
fn uniform_balances_over_topics_that_only_some_subscribe_to() {
    let none = Partitions::default;
    // Who alone reads the second topic leaves the first to the other.
    let assigned = uniform::assign(&subscriptions(&[4, 4], &[(&[0], none()), (&[0, 1], none())]));
    assert_eq!(assigned.iter().map(Partitions::len).collect::<Vec<_>>(), [4, 4]);
}

proptest! {
    #[test]
    fn every_partition_goes_to_one_subscriber_and_shares_are_as_equal_as_they_can_be(
        sizes in prop::collection::vec(1..7_i32, 1..4),
        members in prop::collection::vec(prop::collection::btree_set(0..4_usize, 0..4), 1..6),
        had in prop::collection::vec((0..4_usize, 0..9_i32, 0..6_usize), 0..20),
        all_equal in any::<bool>(),
    ) {
        let mut of_each: Vec<Vec<usize>> = members
            .iter()
            .map(|topics| topics.iter().copied().filter(|topic| *topic < sizes.len()).collect())
            .collect();
        if all_equal {
            of_each.fill((0..sizes.len()).collect());
        }
        // A valid target before: a partition is one member's, and may be of a topic that is gone.
        let mut before = vec![Partitions::default(); of_each.len()];
        let mut taken = BTreeSet::new();
        for (number, index, member) in had {
            if taken.insert((number, index)) {
                let member = member % before.len();
                before[member].insert(topic(number as u128), index);
            }
        }
        let members: Vec<(&[usize], Partitions)> =
            of_each.iter().map(Vec::as_slice).zip(before.iter().cloned()).collect();
        let subscriptions = subscriptions(&sizes, &members);
        for assigned in [uniform::assign(&subscriptions), range::assign(&subscriptions)] {
            let mut owners = BTreeSet::new();
            for (place, assigned) in assigned.iter().enumerate() {
                for (id, index) in assigned.iter() {
                    prop_assert!(owners.insert((id, index)), "two owners");
                    prop_assert!(subscriptions.topics[&id].members.contains(&place), "not subscribed");
                }
            }
            let wanted: usize = subscriptions.topics.values().map(|subscribed| subscribed.partitions as usize).sum();
            prop_assert_eq!(owners.len(), wanted);
        }
        let assigned = uniform::assign(&subscriptions);
        for (place, rich) in assigned.iter().enumerate() {
            for (id, _) in rich.iter() {
                for other in &subscriptions.topics[&id].members {
                    prop_assert!(rich.len() <= assigned[*other].len() + 1, "{place} has too much beside {other}");
                }
            }
        }
        // Nothing has changed: nothing moves.
        let again: Vec<(&[usize], Partitions)> =
            of_each.iter().map(Vec::as_slice).zip(assigned.iter().cloned()).collect();
        prop_assert_eq!(uniform::assign(&self::subscriptions(&sizes, &again)), assigned);
    }
}
