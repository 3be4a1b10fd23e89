//! Random walks: further than an exhaustive search gets. A seed gives the same walk always.

use crate::action::Action;
use crate::bounds::Bounds;
use crate::cluster::Cluster;
use crate::message::Message;
use crate::promise::Violation;
use crate::rule::Rules;
use crate::set::Set;

/// Steps of a walk before everything heals.
const STEPS: usize = 150;

/// Steps in which a healed cluster must have committed something.
const PATIENCE: usize = 3_000;

/// A walk and what it came to.
#[derive(Debug, Clone)]
pub struct Walk {
    /// All steps before the healing.
    pub steps: Vec<Action>,
    /// The broken promise.
    pub violation: Option<Violation>,
    /// Records committed before the healing.
    pub committed: usize,
    /// One of them in a later leader epoch than the first.
    pub led_again: bool,
    /// An ISR grew: a broker that had left came back.
    pub rejoined: bool,
    /// It ended where nothing is promised.
    pub beyond: bool,
}

/// Numbers that depend on the seed alone (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn pick(&mut self, mut actions: Vec<Action>) -> Action {
        let total = actions.iter().map(weight).sum();
        let mut left = self.below(total);
        let at = actions.iter().position(|action| {
            let here = weight(action);
            let found = left < here;
            left = left.saturating_sub(here);
            found
        });
        actions.swap_remove(at.unwrap_or(0))
    }
}

/// Work is likelier than failure, or nothing would ever be committed.
fn weight(action: &Action) -> usize {
    match action {
        Action::Fetch { .. } | Action::ElectLastKnown { .. } => 32,
        Action::Propose { .. }
        | Action::Append { .. }
        | Action::Deliver(Message::Fetch { .. } | Message::Fetched { .. }) => 24,
        Action::Deliver(_) | Action::Handle { .. } | Action::Follow { .. } | Action::Register { .. } => 20,
        Action::Unfence { .. } | Action::SetReplicas { .. } => 16,
        Action::Produce { .. } | Action::Start { .. } | Action::Settle { .. } | Action::Stop { .. } => 12,
        Action::Persist { .. } => 8,
        _ => 1,
    }
}

/// Walks, then heals.
pub fn walk(seed: u64, bounds: Bounds, rules: Rules) -> Walk {
    let mut random = Random(seed);
    let mut cluster = Cluster::new(bounds, rules);
    let mut steps = Vec::new();
    let mut rejoined = false;
    while steps.len() < STEPS && cluster.violation.is_none() && !cluster.beyond_promise {
        let actions = cluster.actions(rules, false);
        if actions.is_empty() {
            break;
        }
        let action = random.pick(actions);
        let before = in_sync(&cluster);
        cluster.step(&action, rules);
        let grew = |(before, after): (Set, Set)| before != after && before.minus(after).is_empty();
        rejoined |= before.into_iter().zip(in_sync(&cluster)).any(grew);
        steps.push(action);
    }
    let committed = cluster.committed();
    let led_again = cluster.committed_after(1);
    if cluster.violation.is_none() && !cluster.beyond_promise {
        heal(&mut cluster, &mut random, rules);
    }
    let violation = cluster.violation.filter(|_| !cluster.beyond_promise);
    Walk {
        steps,
        violation,
        committed,
        led_again,
        rejoined,
        beyond: cluster.beyond_promise,
    }
}

/// Every partition's committed ISR.
fn in_sync(cluster: &Cluster) -> Vec<Set> {
    let partitions = cluster.log.image.partitions.iter();
    partitions.map(|partition| partition.isr).collect()
}

/// Nothing fails any more: everybody must come to the newest image, and every partition must commit a new record.
fn heal(cluster: &mut Cluster, random: &mut Random, rules: Rules) {
    let first_new = cluster.next_value;
    // A value for each of the records that the healing sends: they must not run out.
    for step in 0..PATIENCE {
        let mut actions = cluster.actions(rules, true);
        let (produce, mut work): (Vec<_>, Vec<_>) = actions
            .drain(..)
            .partition(|action| matches!(action, Action::Produce { .. }));
        let produces = step % 25 == 0 && !produce.is_empty() && cluster.next_value < 120 + first_new.min(100);
        if produces || work.is_empty() {
            work = produce;
        }
        if work.is_empty() {
            break;
        }
        let action = random.pick(work);
        cluster.step(&action, rules);
        if cluster.violation.is_some() {
            return;
        }
        let regular = cluster.processes.iter().take(3);
        let together = regular
            .clone()
            .all(|process| process.up && process.image == cluster.log.image);
        let new = |seen: &crate::promise::Seen| seen.committed.iter().any(|entry| entry.value >= first_new);
        if together && cluster.seen.iter().all(new) {
            return;
        }
    }
    cluster.violation = Some(Violation::Stuck);
}

/// The same history with as few steps as still break the promise.
pub fn shorten(steps: &[Action], bounds: Bounds, rules: Rules) -> Vec<Action> {
    let breaks = |steps: &[Action]| {
        let mut cluster = Cluster::new(bounds, rules);
        for action in steps {
            if cluster.violation.is_some() {
                return true;
            }
            if !cluster.actions(rules, false).contains(action) {
                return false;
            }
            cluster.step(action, rules);
        }
        cluster.violation.is_some() && !cluster.beyond_promise
    };
    let mut steps = steps.to_vec();
    let mut at = steps.len();
    while at > 0 {
        at -= 1;
        let mut fewer = steps.clone();
        fewer.remove(at);
        // What the removed step made possible goes with it.
        if breaks(&fewer) {
            steps = fewer;
            at = at.min(steps.len());
        } else {
            let mut possible = Vec::new();
            let mut cluster = Cluster::new(bounds, rules);
            for action in fewer {
                if cluster.actions(rules, false).contains(&action) {
                    cluster.step(&action, rules);
                    possible.push(action);
                }
            }
            if breaks(&possible) {
                steps = possible;
                at = at.min(steps.len());
            }
        }
    }
    steps
}
