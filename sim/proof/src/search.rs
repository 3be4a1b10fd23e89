//! The model as stateright sees it.

use stateright::{Model, Property};

use crate::action::Action;
use crate::bounds::Bounds;
use crate::cluster::Cluster;
use crate::rule::Rules;

/// Everything that can happen within bounds.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// What may happen.
    pub bounds: Bounds,
    /// What is obeyed.
    pub rules: Rules,
}

impl Search {
    /// What holds in every state.
    pub const PROMISES: &str = "every promise is kept";
    /// What must be reached, or nothing was looked at.
    pub const COMMITS: &str = "a record is committed";
    /// As above, after a change of leader.
    pub const COMMITS_AGAIN: &str = "a record is committed in a later epoch";
    /// As above, after a departure.
    pub const REJOINS: &str = "a broker that had left is in sync again";
}

impl Model for Search {
    type State = Cluster;
    type Action = Action;

    fn init_states(&self) -> Vec<Cluster> {
        vec![Cluster::new(self.bounds, self.rules)]
    }

    fn actions(&self, state: &Cluster, actions: &mut Vec<Action>) {
        if state.violation.is_none() && !state.beyond_promise {
            actions.extend(state.actions(self.rules, false));
        }
    }

    fn next_state(&self, state: &Cluster, action: Action) -> Option<Cluster> {
        let mut next = state.clone();
        next.step(&action, self.rules);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(Self::PROMISES, |_, state: &Cluster| {
                state.violation.is_none() || state.beyond_promise
            }),
            Property::sometimes(Self::COMMITS, |_, state: &Cluster| state.committed() > 0),
            Property::sometimes(Self::COMMITS_AGAIN, |_, state: &Cluster| state.committed_after(1)),
            Property::sometimes(Self::REJOINS, |_, state: &Cluster| {
                let partitions = &state.log.image.partitions;
                // Two records at least: who left, and who came back.
                partitions
                    .iter()
                    .any(|partition| partition.isr == partition.replicas && partition.partition_epoch > 2)
            }),
        ]
    }
}
