//! Parts of an answer that were made in two places, put together.

use std::collections::HashMap;
use std::hash::Hash;

/// Adds each of `more` to the entry of `known` that has its key, or behind them all: a topic of which only some partitions exist
/// is one topic in the answer. By a map: a request may name hundreds of thousands that do not exist.
pub(super) fn merge<T, K: Hash + Eq>(
    mut known: Vec<T>,
    more: Vec<T>,
    key: impl Fn(&T) -> K,
    add: impl Fn(&mut T, T),
) -> Vec<T> {
    if more.is_empty() {
        return known;
    }
    let mut places = HashMap::new();
    for (place, entry) in known.iter().enumerate() {
        places.entry(key(entry)).or_insert(place);
    }
    for entry in more {
        let place = *places.entry(key(&entry)).or_insert(known.len());
        match known.get_mut(place) {
            Some(other) => add(other, entry),
            None => known.push(entry),
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_one_key_become_one() {
        let entry = |name: &'static str, number| (name, vec![number]);
        let merged = merge(
            vec![entry("mail", 0), entry("news", 1)],
            vec![entry("none", 2), entry("mail", 9), entry("none", 3)],
            |(name, _)| *name,
            |(_, numbers), (_, more)| numbers.extend(more),
        );
        assert_eq!(merged, [("mail", vec![0, 9]), ("news", vec![1]), ("none", vec![2, 3])]);
    }
}
