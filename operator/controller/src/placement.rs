//! Which brokers hold the replicas of new partitions.
//!
//! Goals
//! 1. Leaders of a topic are spread evenly: 12 partitions over 3 brokers give 4 leaders each.
//! 2. Replicas of a partition lie on different brokers, and in as many racks as there are.
//! 3. Replicas of a topic, and then of the cluster, are spread evenly.
//!
//! Constraints
//! - The same image and request give the same placement (the controller may decide again).
//! - Racks are all known or ignored: with a rack missing somewhere, spreading by rack would overload the others.
//! - A broker that is fenced or about to leave follows only where there are too few others, and leads nothing: a topic can
//!   be made while a broker restarts. One that is being drained gets nothing.
//!
//! Algorithm: partition by partition, greedily. The leader is the broker with the fewest leaders of this topic, then in
//! the whole cluster, then the fewest replicas, then the next one in turn. Each follower is a broker not used by this
//! partition, first one that is up, then from a rack not used by it, then by the fewest replicas of this topic, then in the cluster, then the
//! next one after the leader in turn, where "in turn" walks through the racks by rotation.
//!
//! Example: brokers 0, 1 in rack a and 2, 3 in rack b; the turn is 0 2 1 3. Four partitions with two replicas:
//! ```text
//! partition 0: 0 (a) leads, 2 (b) follows
//! partition 1: 1 (a) leads, 3 (b) follows
//! partition 2: 3 (b) leads, 0 (a) follows
//! partition 3: 2 (b) leads, 1 (a) follows
//! ```

use std::collections::{BTreeMap, BTreeSet};

use model::{BrokerId, MetadataImage, TopicImage};

/// A broker that may get replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The broker.
    pub id: BrokerId,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether it can lead now.
    pub up: bool,
    /// Partitions that it would lead in the whole cluster (as preferred leader).
    pub leaders: usize,
    /// Replicas that it holds in the whole cluster.
    pub replicas: usize,
}

/// The brokers that may get replicas now, with what they hold. Those of `without` get none.
pub fn candidates(image: &MetadataImage, without: &BTreeSet<BrokerId>) -> Vec<Candidate> {
    let mut load: BTreeMap<BrokerId, (usize, usize)> = BTreeMap::new();
    for partition in image.topics().values().flat_map(|topic| &topic.partitions) {
        for (place, id) in partition.replicas.iter().enumerate() {
            let (leaders, replicas) = load.entry(*id).or_default();
            *leaders += usize::from(place == 0);
            *replicas += 1;
        }
    }
    let staying = image.brokers().values().filter(|broker| !without.contains(&broker.id));
    let candidates = staying.map(|broker| {
        let (leaders, replicas) = load.get(&broker.id).copied().unwrap_or_default();
        Candidate {
            id: broker.id,
            rack: broker.rack.clone(),
            up: broker.is_eligible(),
            leaders,
            replicas,
        }
    });
    candidates.collect()
}

/// Places `count` more partitions of a topic that has the partitions of `existing`.
///
/// `None` if there are fewer candidates than `replication_factor`, if that is 0, or if nobody is up.
pub fn place(
    candidates: &[Candidate],
    existing: Option<&TopicImage>,
    count: usize,
    replication_factor: usize,
) -> Option<Vec<Vec<BrokerId>>> {
    if replication_factor == 0 || candidates.len() < replication_factor {
        return None;
    }
    let mut slots = in_turn(candidates);
    for partition in existing.iter().flat_map(|topic| &topic.partitions) {
        for (place, id) in partition.replicas.iter().enumerate() {
            if let Some(slot) = slots.iter_mut().find(|slot| slot.id == *id) {
                slot.topic_leaders += usize::from(place == 0);
                slot.topic_replicas += 1;
            }
        }
    }
    let mut turn = 0;
    let mut placed = Vec::with_capacity(count);
    for _ in 0..count {
        let leader = pick_leader(&slots, turn)?;
        turn = (leader + 1) % slots.len();
        let mut replicas = vec![leader];
        while replicas.len() < replication_factor {
            replicas.push(pick_follower(&slots, &replicas, leader)?);
        }
        for (place, at) in replicas.iter().enumerate() {
            slots[*at].take(place == 0);
        }
        placed.push(replicas.iter().map(|at| slots[*at].id).collect());
    }
    Some(placed)
}

/// One more broker for a partition of `topic` that has the replicas `used`, by the same rules as a follower.
pub fn another(candidates: &[Candidate], topic: Option<&TopicImage>, used: &[BrokerId]) -> Option<BrokerId> {
    let mut slots = in_turn(candidates);
    for id in topic
        .iter()
        .flat_map(|topic| &topic.partitions)
        .flat_map(|partition| &partition.replicas)
    {
        if let Some(slot) = slots.iter_mut().find(|slot| slot.id == *id) {
            slot.topic_replicas += 1;
        }
    }
    let used: Vec<_> = (0..slots.len()).filter(|at| used.contains(&slots[*at].id)).collect();
    let beside = used.first().copied().unwrap_or_default();
    pick_follower(&slots, &used, beside).map(|at| slots[at].id)
}

#[derive(Debug)]
struct Slot {
    id: BrokerId,
    rack: usize,
    up: bool,
    topic_leaders: usize,
    topic_replicas: usize,
    leaders: usize,
    replicas: usize,
}

impl Slot {
    fn take(&mut self, leads: bool) {
        self.topic_leaders += usize::from(leads);
        self.leaders += usize::from(leads);
        self.topic_replicas += 1;
        self.replicas += 1;
    }
}

fn pick_leader(slots: &[Slot], turn: usize) -> Option<usize> {
    (0..slots.len()).filter(|at| slots[*at].up).min_by_key(|at| {
        let slot = &slots[*at];
        (
            slot.topic_leaders,
            slot.leaders,
            slot.replicas,
            distance(slots, turn, *at),
        )
    })
}

fn pick_follower(slots: &[Slot], used: &[usize], leader: usize) -> Option<usize> {
    let free = (0..slots.len()).filter(|at| !used.contains(at));
    free.min_by_key(|at| {
        let slot = &slots[*at];
        let rack_used = used.iter().any(|other| slots[*other].rack == slot.rack);
        (
            !slot.up,
            rack_used,
            slot.topic_replicas,
            slot.replicas,
            distance(slots, leader, *at),
        )
    })
}

fn distance(slots: &[Slot], from: usize, to: usize) -> usize {
    (to + slots.len() - from) % slots.len()
}

/// The candidates, one of each rack in rotation.
fn in_turn(candidates: &[Candidate]) -> Vec<Slot> {
    let racks_known = candidates.iter().all(|candidate| candidate.rack.is_some());
    let mut racks: BTreeMap<Option<&str>, Vec<&Candidate>> = BTreeMap::new();
    for candidate in candidates {
        let rack = if racks_known { candidate.rack.as_deref() } else { None };
        racks.entry(rack).or_default().push(candidate);
    }
    for members in racks.values_mut() {
        members.sort_by_key(|candidate| candidate.id);
    }
    let deepest = racks.values().map(Vec::len).max().unwrap_or(0);
    let mut slots = Vec::with_capacity(candidates.len());
    for depth in 0..deepest {
        for (at, members) in racks.values().enumerate() {
            if let Some(candidate) = members.get(depth) {
                slots.push(Slot {
                    id: candidate.id,
                    // Without racks every broker is a failure domain of its own.
                    rack: if racks_known { at } else { depth },
                    up: candidate.up,
                    topic_leaders: 0,
                    topic_replicas: 0,
                    leaders: candidate.leaders,
                    replicas: candidate.replicas,
                });
            }
        }
    }
    slots
}

#[cfg(test)]
mod tests;
