//! What happens next: events by their time, and in the order in which they were put down where the times are equal.

use std::collections::BTreeMap;
use std::time::Duration;

/// Events to come.
#[derive(Debug)]
pub(super) struct Agenda<E> {
    events: BTreeMap<(Duration, u64), E>,
    numbered: u64,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self {
            events: BTreeMap::new(),
            numbered: 0,
        }
    }
}

impl<E> Agenda<E> {
    /// The event happens at this time, after all others that were put down for it before.
    pub(super) fn put(&mut self, at: Duration, event: E) {
        self.numbered += 1;
        self.events.insert((at, self.numbered), event);
    }

    /// The next event and its time.
    pub(super) fn next(&mut self) -> Option<(Duration, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}
