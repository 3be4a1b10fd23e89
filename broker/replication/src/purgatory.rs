//! Requests that wait for an offset of one partition.
//!
//! An ordered map from the offset to the waiters: a change drains a prefix, an idle partition costs an empty map, and
//! nothing is ever scanned.

use std::collections::BTreeMap;

/// Waiters by the offset they wait for.
#[derive(Debug)]
pub struct Purgatory<T> {
    waiting: BTreeMap<i64, Vec<T>>,
}

impl<T> Default for Purgatory<T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
        }
    }
}

impl<T> Purgatory<T> {
    /// `waiter` is due as soon as the watched offset is at least `offset`.
    pub fn wait_for(&mut self, offset: i64, waiter: T) {
        self.waiting.entry(offset).or_default().push(waiter);
    }

    /// The watched offset is now `offset`: all that are due, lowest first.
    pub fn reached(&mut self, offset: i64) -> Vec<T> {
        if self.waiting.first_key_value().is_none_or(|(first, _)| *first > offset) {
            return Vec::new();
        }
        let later = offset
            .checked_add(1)
            .map(|next| self.waiting.split_off(&next))
            .unwrap_or_default();
        std::mem::replace(&mut self.waiting, later)
            .into_values()
            .flatten()
            .collect()
    }

    /// Everybody, because the partition goes away or changes hands.
    pub fn drain(&mut self) -> Vec<T> {
        std::mem::take(&mut self.waiting).into_values().flatten().collect()
    }

    /// Forgets the waiters for which `keep` is false: those that timed out.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.waiting.retain(|_, waiters| {
            waiters.retain(&mut keep);
            !waiters.is_empty()
        });
    }

    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaching_an_offset_releases_it_and_all_below() {
        let mut purgatory = Purgatory::default();
        purgatory.wait_for(5, "five");
        purgatory.wait_for(7, "seven");
        purgatory.wait_for(5, "five too");
        assert!(purgatory.reached(4).is_empty());
        assert_eq!(purgatory.reached(6), vec!["five", "five too"]);
        assert_eq!(purgatory.reached(i64::MAX), vec!["seven"]);
        assert!(purgatory.is_empty());
    }

    #[test]
    fn those_that_gave_up_leave_nothing_behind() {
        let mut purgatory = Purgatory::default();
        purgatory.wait_for(1, 1);
        purgatory.wait_for(2, 2);
        purgatory.retain(|waiter| *waiter != 1);
        assert_eq!(purgatory.drain(), vec![2]);
        purgatory.wait_for(3, 3);
        purgatory.retain(|_| false);
        assert!(purgatory.is_empty());
    }
}
