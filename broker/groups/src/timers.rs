//! Deadlines as data: what is due is asked for, nothing calls back.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::exchange::{Ticket, WriteId};
use crate::ids::{GroupId, MemberId};

/// Something that happens if nothing else does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    /// The member has been silent for its session timeout, or never came back for the id that it was given.
    Session(GroupId, MemberId),
    /// The join phase is over, whoever is there.
    Join(GroupId),
    /// Members that have not asked for their assignment are gone.
    Sync(GroupId),
    /// A member of a consumer group has not given back its partitions.
    Revocation(GroupId, MemberId),
    /// A classic member of a consumer group was told to join again, and has not.
    ClassicJoin(GroupId, MemberId),
    /// A classic member of a consumer group has joined, and has not asked for its assignment.
    ClassicSync(GroupId, MemberId),
    /// Time to look for offsets that have expired.
    Expiry,
    /// An append has not been committed: whoever waits for it is told.
    Commit(WriteId),
    /// An answer has waited too long for an append that others wrote.
    Answer(WriteId, Ticket),
}

/// The deadlines of one coordinator, by the monotonic clock of the shell.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    in_order: BTreeSet<(Duration, Timer)>,
    deadlines: HashMap<Timer, Duration>,
}

impl Timers {
    /// Sets the one deadline of `timer`; an earlier one is forgotten.
    pub(crate) fn schedule(&mut self, timer: Timer, deadline: Duration) {
        if let Some(before) = self.deadlines.insert(timer.clone(), deadline) {
            if before == deadline {
                return;
            }
            self.in_order.remove(&(before, timer.clone()));
        }
        self.in_order.insert((deadline, timer));
    }

    /// Forgets `timer`.
    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(deadline) = self.deadlines.remove(&timer) {
            self.in_order.remove(&(deadline, timer));
        }
    }

    /// Whether `timer` has a deadline.
    pub(crate) fn is_scheduled(&self, timer: &Timer) -> bool {
        self.deadlines.contains_key(timer)
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.in_order.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out the earliest timer that is due.
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<Timer> {
        if self.next_deadline()? > now {
            return None;
        }
        let (_, timer) = self.in_order.pop_first()?;
        self.deadlines.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_timer_set_again_is_due_once_at_its_last_deadline() {
        let mut timers = Timers::default();
        let join = Timer::Join(GroupId::from("g"));
        timers.schedule(join.clone(), ms(5));
        timers.schedule(Timer::Expiry, ms(7));
        timers.schedule(join.clone(), ms(9));
        assert_eq!(timers.next_deadline(), Some(ms(7)));
        assert_eq!(timers.pop_due(ms(6)), None);
        assert_eq!(timers.pop_due(ms(20)), Some(Timer::Expiry));
        assert_eq!(timers.pop_due(ms(20)), Some(join));
        assert_eq!(timers.pop_due(ms(20)), None);
        assert!(timers.deadlines.is_empty());
    }

    #[test]
    fn a_cancelled_timer_is_never_due() {
        let mut timers = Timers::default();
        timers.schedule(Timer::Expiry, ms(1));
        timers.cancel(Timer::Expiry);
        timers.cancel(Timer::Expiry);
        assert_eq!(timers.pop_due(ms(10)), None);
        assert_eq!(timers.next_deadline(), None);
    }
}
