//! Everybody gets as many partitions as the subscriptions allow, and keeps what it had as far as that allows.
//!
//! Three steps: each keeps what it had and still subscribes to; what nobody has goes to the subscriber with the fewest; then
//! partitions move one by one from a member to one of their other subscribers that has at least two fewer, until there are
//! none such. Each move lowers the sum of the squares of the members' shares, so the moves end. With equal subscriptions the
//! shares differ by one at most, and no partition moves that need not.

use std::collections::BTreeMap;

use model::TopicId;

use super::Subscriptions;
use crate::partitions::Partitions;

/// By the places of the members.
pub(super) fn assign(subscriptions: &Subscriptions) -> Vec<Partitions> {
    let mut shares = Shares::kept(subscriptions);
    shares.give_out();
    shares.balance();
    shares.into_assigned()
}

/// Topics with the same subscribers: among them any partition is as good as another.
#[derive(Debug)]
struct Pool {
    /// Places, in order.
    members: Vec<usize>,
    /// What each of them has, beside `members`.
    shares: Vec<Vec<(TopicId, i32)>>,
    /// What nobody has.
    free: Vec<(TopicId, i32)>,
}

#[derive(Debug)]
struct Shares {
    pools: Vec<Pool>,
    /// How many partitions each member has, of all pools.
    counts: Vec<usize>,
}

impl Shares {
    fn kept(subscriptions: &Subscriptions) -> Self {
        // Of two that had the same partition, which no valid target says, the first keeps it.
        let mut had: BTreeMap<(TopicId, i32), usize> = BTreeMap::new();
        for (place, member) in subscriptions.members.iter().enumerate() {
            for partition in member.had.iter() {
                had.entry(partition).or_insert(place);
            }
        }
        let mut pools: BTreeMap<&[usize], Pool> = BTreeMap::new();
        let mut counts = vec![0; subscriptions.members.len()];
        for (topic, subscribed) in &subscriptions.topics {
            let pool = pools.entry(&subscribed.members).or_insert_with(|| Pool {
                members: subscribed.members.clone(),
                shares: vec![Vec::new(); subscribed.members.len()],
                free: Vec::new(),
            });
            for index in 0..subscribed.partitions {
                let owner = had.get(&(*topic, index)).copied();
                match owner.and_then(|owner| pool.members.binary_search(&owner).ok().map(|at| (owner, at))) {
                    Some((owner, at)) => {
                        pool.shares[at].push((*topic, index));
                        counts[owner] += 1;
                    }
                    None => pool.free.push((*topic, index)),
                }
            }
        }
        let mut pools: Vec<Pool> = pools.into_values().collect();
        // Those with the fewest takers first: the others can still make up for what they cannot.
        pools.sort_by_key(|pool| pool.members.len());
        Self { pools, counts }
    }

    fn give_out(&mut self) {
        for pool in &mut self.pools {
            for partition in std::mem::take(&mut pool.free) {
                let Some(at) = pool.fewest(&self.counts) else { continue };
                pool.shares[at].push(partition);
                self.counts[pool.members[at]] += 1;
            }
        }
    }

    fn balance(&mut self) {
        loop {
            let mut moved = false;
            for pool in &mut self.pools {
                while let (Some(to), Some(from)) = (pool.fewest(&self.counts), pool.most(&self.counts)) {
                    let (poor, rich) = (pool.members[to], pool.members[from]);
                    if self.counts[rich] < self.counts[poor] + 2 {
                        break;
                    }
                    let Some(partition) = pool.shares[from].pop() else {
                        break;
                    };
                    pool.shares[to].push(partition);
                    self.counts[rich] -= 1;
                    self.counts[poor] += 1;
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn into_assigned(self) -> Vec<Partitions> {
        let mut assigned = vec![Partitions::default(); self.counts.len()];
        for pool in self.pools {
            for (member, share) in pool.members.into_iter().zip(pool.shares) {
                assigned[member].extend(share);
            }
        }
        assigned
    }
}

impl Pool {
    /// Which of its members has the fewest partitions in all; the first of those that have equally few.
    fn fewest(&self, counts: &[usize]) -> Option<usize> {
        (0..self.members.len()).min_by_key(|at| counts[self.members[*at]])
    }

    /// Which of its members that have a partition of this pool has the most in all.
    fn most(&self, counts: &[usize]) -> Option<usize> {
        (0..self.members.len())
            .filter(|at| !self.shares[*at].is_empty())
            .max_by_key(|at| counts[self.members[*at]])
    }
}
