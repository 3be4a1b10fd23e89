//! The goals, for arbitrary clusters.

use proptest::prelude::*;

use super::*;

fn candidate(id: i32, rack: Option<&str>) -> Candidate {
    Candidate {
        id: BrokerId(id),
        rack: rack.map(str::to_owned),
        up: true,
        leaders: 0,
        replicas: 0,
    }
}

fn numbers(lists: &[Vec<BrokerId>]) -> Vec<Vec<i32>> {
    lists.iter().map(|list| list.iter().map(|id| id.0).collect()).collect()
}

fn spread(counts: &BTreeMap<BrokerId, usize>) -> usize {
    counts.values().max().unwrap_or(&0) - counts.values().min().unwrap_or(&0)
}

#[test]
fn twelve_partitions_over_three_brokers_give_four_leaders_each() {
    let brokers: Vec<_> = (0..3).map(|id| candidate(id, None)).collect();
    let lists = place(&brokers, None, 12, 1).expect("enough brokers");
    for id in 0..3 {
        assert_eq!(lists.iter().filter(|list| list[0] == BrokerId(id)).count(), 4);
    }
}

#[test]
fn the_example_of_the_documentation_holds() {
    let brokers = [
        candidate(0, Some("a")),
        candidate(1, Some("a")),
        candidate(2, Some("b")),
        candidate(3, Some("b")),
    ];
    let lists = place(&brokers, None, 4, 2).expect("enough brokers");
    assert_eq!(numbers(&lists), [[0, 2], [1, 3], [3, 0], [2, 1]]);
}

#[test]
fn many_topics_with_one_partition_are_spread_too() {
    let mut brokers: Vec<_> = (0..3).map(|id| candidate(id, None)).collect();
    for _ in 0..30 {
        let lists = place(&brokers, None, 1, 1).expect("enough brokers");
        let broker = brokers
            .iter_mut()
            .find(|broker| broker.id == lists[0][0])
            .expect("a candidate");
        broker.leaders += 1;
        broker.replicas += 1;
    }
    assert!(brokers.iter().all(|broker| broker.leaders == 10), "{brokers:?}");
}

#[test]
fn a_broker_that_is_down_follows_only_where_it_must_and_leads_nothing() {
    let mut brokers: Vec<_> = (0..4).map(|id| candidate(id, None)).collect();
    brokers[1].up = false;
    let three = place(&brokers, None, 12, 3).expect("enough brokers");
    assert!(three.iter().all(|list| !list.contains(&BrokerId(1))), "{three:?}");
    let four = place(&brokers, None, 12, 4).expect("enough brokers");
    assert!(four.iter().all(|list| list[3] == BrokerId(1)), "{four:?}");
    for broker in &mut brokers {
        broker.up = false;
    }
    assert_eq!(place(&brokers, None, 1, 1), None, "nobody could lead");
}

#[test]
fn leaders_and_replicas_of_three_are_even_over_racks() {
    let racks = ["a", "b", "c"];
    let brokers: Vec<_> = (0..6).map(|id| candidate(id, Some(racks[id as usize % 3]))).collect();
    let lists = place(&brokers, None, 36, 3).expect("enough brokers");
    for broker in &brokers {
        let leads = lists.iter().filter(|list| list[0] == broker.id).count();
        let holds = lists.iter().filter(|list| list.contains(&broker.id)).count();
        assert_eq!((leads, holds), (6, 18), "{broker:?}");
    }
    for list in &lists {
        let mut used: Vec<_> = list.iter().map(|id| racks[id.0 as usize % 3]).collect();
        used.sort_unstable();
        assert_eq!(used, racks);
    }
}

#[test]
fn too_few_brokers_place_nothing() {
    assert_eq!(place(&[candidate(0, None)], None, 1, 2), None);
    assert_eq!(place(&[], None, 1, 1), None);
    assert_eq!(place(&[candidate(0, None)], None, 1, 0), None);
}

prop_compose! {
    fn clusters()(racks in 1usize..4, sizes in prop::collection::vec(0u8..4, 1..9), known in any::<bool>())
        -> Vec<Candidate> {
        let names = ["a", "b", "c"];
        let broker = |(id, rack): (usize, &u8)| candidate(id as i32, known.then(|| names[usize::from(*rack) % racks]));
        sizes.iter().enumerate().map(broker).collect()
    }
}

proptest! {
    #[test]
    fn the_goals_hold(brokers in clusters(), count in 1usize..40, factor in 1usize..5) {
        let placed = place(&brokers, None, count, factor);
        prop_assert_eq!(placed.is_some(), factor <= brokers.len());
        let Some(lists) = placed else { return Ok(()) };
        prop_assert_eq!(lists.len(), count);
        let mut leaders: BTreeMap<_, usize> = brokers.iter().map(|broker| (broker.id, 0)).collect();
        let mut replicas = leaders.clone();
        let rack_of = |id: &BrokerId| brokers.iter().find(|broker| broker.id == *id).and_then(|broker| broker.rack.clone());
        let racks: std::collections::BTreeSet<_> = brokers.iter().map(|broker| broker.rack.clone()).collect();
        for list in &lists {
            prop_assert_eq!(list.len(), factor);
            for (at, id) in list.iter().enumerate() {
                prop_assert!(!list[..at].contains(id));
                *replicas.entry(*id).or_default() += 1;
            }
            *leaders.entry(list[0]).or_default() += 1;
            if brokers.iter().all(|broker| broker.rack.is_some()) {
                let used: std::collections::BTreeSet<_> = list.iter().map(rack_of).collect();
                prop_assert_eq!(used.len(), factor.min(racks.len()));
            }
        }
        prop_assert!(spread(&leaders) <= 1, "{:?}", leaders);
        if racks.len() == 1 {
            prop_assert!(spread(&replicas) <= 2, "{:?}", replicas);
        }
        // The same request gives the same placement.
        prop_assert_eq!(place(&brokers, None, count, factor), Some(lists));
    }

    #[test]
    fn growing_a_topic_keeps_its_leaders_even(first in 1usize..10, more in 1usize..10, count in 1i32..6) {
        let brokers: Vec<_> = (0..count).map(|id| candidate(id, None)).collect();
        let before = place(&brokers, None, first, 1).expect("enough brokers");
        let topic = topic_of(&before);
        let after = place(&brokers, Some(&topic), more, 1).expect("enough brokers");
        let mut leaders: BTreeMap<_, usize> = brokers.iter().map(|broker| (broker.id, 0)).collect();
        for list in before.iter().chain(&after) {
            *leaders.entry(list[0]).or_default() += 1;
        }
        prop_assert!(spread(&leaders) <= 1, "{:?}", leaders);
    }
}

/// A topic with these replicas, through the records that make one.
fn topic_of(lists: &[Vec<BrokerId>]) -> TopicImage {
    use model::record::{ClusterFormatted, TopicCreated};
    let mut image = MetadataImage::empty();
    let formatted = ClusterFormatted {
        cluster_id: model::ClusterId::from_random([1; 16]),
        lineage: model::Lineage::default(),
        features: BTreeMap::from([(model::level::BARNABAS_VERSION.to_owned(), 2)]),
    };
    image.append(formatted.into()).expect("formatted");
    let created = TopicCreated {
        id: model::TopicId::from_random([1; 16]),
        name: model::TopicName::new("t").expect("a legal name"),
        assignment: model::Assignment::from_lists(lists).expect("even lists"),
        config: BTreeMap::new(),
    };
    image.append(created.into()).expect("created");
    let topic = image.topic_by_name("t").expect("the topic");
    (**topic).clone()
}
