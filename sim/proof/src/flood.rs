//! All states within bounds, found once more without stateright: what says that its search was complete.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::search::Search;

/// How many states there are, the first included. Ends only when no state is left that was not looked at.
///
/// States are told apart by 64 bits of a digest other than stateright's.
pub fn flood(search: &Search) -> usize {
    use stateright::Model as _;
    let digest = RandomState::new();
    let mut known = HashSet::new();
    let mut left = search.init_states();
    let mut actions = Vec::new();
    known.extend(left.iter().map(|state| digest.hash_one(state)));
    while let Some(state) = left.pop() {
        search.actions(&state, &mut actions);
        for next in actions.drain(..).filter_map(|action| search.next_state(&state, action)) {
            if known.insert(digest.hash_one(&next)) {
                left.push(next);
            }
        }
    }
    known.len()
}
