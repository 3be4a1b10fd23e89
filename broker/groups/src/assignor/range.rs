//! Each topic is cut into as many ranges as it has subscribers. Source: Kafka's `RangeAssignor`.

use super::Subscriptions;
use crate::partitions::Partitions;

/// By the places of the members.
pub(super) fn assign(subscriptions: &Subscriptions) -> Vec<Partitions> {
    let mut assigned = vec![Partitions::default(); subscriptions.members.len()];
    for (topic, subscribed) in &subscriptions.topics {
        let members = subscribed.members.len();
        let partitions = usize::try_from(subscribed.partitions).unwrap_or(0);
        let (each, more) = (partitions / members, partitions % members);
        let mut next = 0..subscribed.partitions;
        for (place, member) in subscribed.members.iter().enumerate() {
            let share = each + usize::from(place < more);
            assigned[*member].extend(next.by_ref().take(share).map(|index| (*topic, index)));
        }
    }
    assigned
}
