//! Who may try to be the controller of a cluster: a Lease, judged by the local clock alone.
//!
//! Pure: the caller reads and writes the Lease and brings the time. A record is alive while it keeps
//! *changing*; the timestamps inside are for readers and are never compared, so no two clocks need to
//! agree. The Lease decides who tries. Who succeeds is decided by the append to the metadata log.

use std::time::Duration;

/// How long a record that does not change is believed.
pub const LEASE_DURATION: Duration = Duration::from_secs(10);
/// How often a holder renews.
pub const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How long the Lease of another release's replicas is left to them, even when nobody holds it: that release may be restarting, and
/// a change of release restarts every broker.
pub const OTHERS_FOR: Duration = Duration::from_mins(5);
/// A holder that could not renew for this long stops deciding, well before another may begin.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(7);

/// The Lease as read: who holds it and which write of it this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Identity of the holder; empty after a release.
    pub holder: String,
    /// Changes with every write. Opaque.
    pub version: String,
    /// Namespace of the operator whose replicas hold it, if it says so.
    pub release: Option<String>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Somebody else holds it: look again after this time, or when it changes.
    Wait(Duration),
    /// Write the Lease with our identity: it is missing, free, or its holder has gone silent.
    Take,
    /// Write the Lease again: it is ours.
    Renew,
    /// It is ours and fresh: come back after this time.
    Hold(Duration),
    /// It was ours and is not, or could not be renewed in time: stop deciding now.
    StepDown(Lost),
}

/// Why a holder stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// Somebody else wrote it.
    Taken {
        /// Who.
        by: String,
    },
    /// No renewal succeeded for [`GIVE_UP_AFTER`].
    Silent,
}

/// One replica's view of one Lease.
#[derive(Debug)]
pub struct Elector {
    identity: String,
    release: String,
    /// Last record seen and when it was seen to change.
    seen: Option<(Record, Duration)>,
    /// When the last successful write of ours was *begun*, while we hold it.
    renewed: Option<Duration>,
}

impl Elector {
    /// An elector that holds nothing. `identity` must differ between any two processes; `release` is the namespace of the operator.
    pub fn new(identity: impl Into<String>, release: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            release: release.into(),
            seen: None,
            renewed: None,
        }
    }

    /// Whether decisions may be made at `now`.
    pub fn holds(&self, now: Duration) -> bool {
        self.renewed
            .is_some_and(|renewed| now.saturating_sub(renewed) < GIVE_UP_AFTER)
    }

    /// The other release whose replicas decide, if the Lease says that one does.
    pub fn other_release(&self) -> Option<&str> {
        let (record, _) = self.seen.as_ref()?;
        record.release.as_deref().filter(|release| *release != self.release)
    }

    /// A read of the Lease arrived; `None` means that there is none.
    pub fn observe(&mut self, now: Duration, record: Option<Record>) -> Step {
        let Some(record) = record else {
            self.seen = None;
            return self.lost_or(String::new(), Step::Take);
        };
        let changed = match &self.seen {
            Some((seen, at)) if *seen == record => *at,
            _ => now,
        };
        let holder = record.holder.clone();
        let theirs = record.release.as_ref().is_some_and(|release| *release != self.release);
        self.seen = Some((record, changed));
        if holder == self.identity {
            // A former process of the same pod cannot be alive beside this one.
            return self.next(now).unwrap_or(Step::Renew);
        }
        let silent = now.saturating_sub(changed);
        let patience = match (theirs, holder.is_empty()) {
            (true, _) => OTHERS_FOR,
            (false, true) => Duration::ZERO,
            (false, false) => LEASE_DURATION,
        };
        let step = if silent >= patience {
            Step::Take
        } else {
            Step::Wait(patience.saturating_sub(silent).min(RENEW_EVERY))
        };
        self.lost_or(holder, step)
    }

    /// A write of ours succeeded; `begun` is when it was sent, which is when the others' clocks may start.
    pub fn written(&mut self, begun: Duration, version: String) {
        self.seen = Some((
            Record {
                holder: self.identity.clone(),
                version,
                release: Some(self.release.clone()),
            },
            begun,
        ));
        self.renewed = Some(begun);
    }

    /// No answer, or a refusal that says nothing about the holder: what now?
    pub fn failed(&mut self, now: Duration) -> Step {
        if self.renewed.is_some() && !self.holds(now) {
            self.renewed = None;
            return Step::StepDown(Lost::Silent);
        }
        Step::Wait(RENEW_EVERY / 4)
    }

    /// What a holder does at `now`; `None` if it holds nothing.
    pub fn next(&mut self, now: Duration) -> Option<Step> {
        let renewed = self.renewed?;
        let age = now.saturating_sub(renewed);
        Some(if age >= GIVE_UP_AFTER {
            self.renewed = None;
            Step::StepDown(Lost::Silent)
        } else if age >= RENEW_EVERY {
            Step::Renew
        } else {
            Step::Hold(RENEW_EVERY.saturating_sub(age))
        })
    }

    /// The version to write over, if a Lease was seen.
    #[cfg(test)]
    fn version(&self) -> Option<&str> {
        self.seen.as_ref().map(|(record, _)| record.version.as_str())
    }

    fn lost_or(&mut self, by: String, step: Step) -> Step {
        if self.renewed.take().is_some() {
            Step::StepDown(Lost::Taken { by })
        } else {
            step
        }
    }
}

/// `host:port` in a holder's identity `<pod>_<pod uid>_<host:port>`, and the pod.
pub fn parse_holder(holder: &str) -> Option<(&str, &str)> {
    let mut parts = holder.splitn(3, '_');
    let pod = parts.next()?;
    let _uid = parts.next()?;
    let address = parts.next()?;
    address.contains(':').then_some((pod, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str, version: u32) -> Record {
        Record {
            holder: holder.to_owned(),
            version: version.to_string(),
            release: Some("here".to_owned()),
        }
    }

    fn elector(identity: &str) -> Elector {
        Elector::new(identity, "here")
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_missing_or_released_lease_is_taken_at_once() {
        assert_eq!(elector("a").observe(at(0), None), Step::Take);
        assert_eq!(elector("a").observe(at(0), Some(record("", 7))), Step::Take);
    }

    #[test]
    fn a_lease_is_taken_only_after_it_has_not_changed_for_its_whole_duration() {
        let mut elector = self::elector("a");
        assert!(matches!(elector.observe(at(100), Some(record("b", 1))), Step::Wait(_)));
        assert!(matches!(elector.observe(at(109), Some(record("b", 1))), Step::Wait(_)));
        assert_eq!(elector.observe(at(110), Some(record("b", 1))), Step::Take);
    }

    #[test]
    fn each_change_starts_the_wait_anew() {
        let mut elector = self::elector("a");
        for second in 0..60 {
            assert!(matches!(
                elector.observe(at(second), Some(record("b", second as u32 / 9))),
                Step::Wait(_)
            ));
        }
    }

    #[test]
    fn the_lease_of_another_release_is_left_to_it_even_while_nobody_holds_it() {
        for holder in ["b", ""] {
            let theirs = || Record {
                release: Some("there".to_owned()),
                ..record(holder, 1)
            };
            let mut elector = elector("a");
            assert!(matches!(elector.observe(at(100), Some(theirs())), Step::Wait(_)));
            assert_eq!(elector.other_release(), Some("there"));
            assert!(matches!(elector.observe(at(399), Some(theirs())), Step::Wait(_)));
            assert_eq!(elector.observe(at(400), Some(theirs())), Step::Take);
            elector.written(at(400), "2".to_owned());
            assert_eq!(elector.other_release(), None);
        }
        // One from before Leases said whose they are.
        let nobodys = Record {
            release: None,
            ..record("", 1)
        };
        assert_eq!(elector("a").observe(at(0), Some(nobodys)), Step::Take);
    }

    #[test]
    fn a_holder_renews_in_time_and_gives_up_before_another_may_begin() {
        let mut elector = self::elector("a");
        elector.written(at(0), "1".to_owned());
        assert!(matches!(elector.next(at(1)), Some(Step::Hold(_))));
        assert_eq!(elector.next(at(2)), Some(Step::Renew));
        assert!(elector.holds(at(6)));
        assert!(!elector.holds(at(7)));
        assert_eq!(elector.next(at(7)), Some(Step::StepDown(Lost::Silent)));
        assert!(GIVE_UP_AFTER < LEASE_DURATION);
    }

    #[test]
    fn a_holder_that_reads_another_name_stops() {
        let mut elector = self::elector("a");
        elector.written(at(0), "1".to_owned());
        let step = elector.observe(at(1), Some(record("b", 2)));
        assert_eq!(step, Step::StepDown(Lost::Taken { by: "b".to_owned() }));
        assert!(!elector.holds(at(1)));
    }

    #[test]
    fn a_paused_holder_does_not_hold_when_it_wakes() {
        let mut elector = self::elector("a");
        elector.written(at(0), "1".to_owned());
        assert!(!elector.holds(at(3600)));
        assert_eq!(elector.failed(at(3600)), Step::StepDown(Lost::Silent));
    }

    #[test]
    fn a_lease_that_somebody_deleted_ends_the_reign() {
        let mut elector = self::elector("a");
        elector.written(at(0), "1".to_owned());
        assert!(matches!(elector.observe(at(1), None), Step::StepDown(_)));
        assert_eq!(elector.observe(at(1), None), Step::Take);
    }

    proptest::proptest! {
        /// Two replicas over one compare-and-swap cell, with pauses and lost answers: they never hold at once,
        /// as long as their clocks run at the same rate.
        #[test]
        fn two_replicas_never_hold_at_the_same_time(script in proptest::collection::vec((0usize..2, 1u64..4000, 0u8..4), 1..400)) {
            let mut now = Duration::ZERO;
            let mut lease: Option<Record> = None;
            let mut version = 0u32;
            let mut electors = [elector("a"), elector("b")];
            for (who, pause, fate) in script {
                now += Duration::from_millis(pause);
                let elector = &mut electors[who];
                // fate 3: the replica cannot read at all.
                if fate == 3 {
                    let _ = elector.failed(now);
                } else {
                    let step = elector.observe(now, lease.clone());
                    if matches!(step, Step::Take | Step::Renew) {
                        let expected = elector.version().map(str::to_owned);
                        let stored = lease.as_ref().map(|record| record.version.clone());
                        if expected == stored {
                            version += 1;
                            lease = Some(Record { holder: elector.identity.clone(), ..record("", version) });
                            // fate 2: the write lands and its answer is lost.
                            if fate != 2 {
                                elector.written(now, version.to_string());
                            }
                        }
                    }
                }
                proptest::prop_assert!(!(electors[0].holds(now) && electors[1].holds(now)));
            }
        }
    }

    #[test]
    fn a_holder_says_where_its_controller_listens() {
        assert_eq!(
            parse_holder("operator-0_4711_10.1.2.3:9405"),
            Some(("operator-0", "10.1.2.3:9405"))
        );
        assert_eq!(
            parse_holder("operator-0_4711_[fd00::1]:9405"),
            Some(("operator-0", "[fd00::1]:9405"))
        );
        assert_eq!(parse_holder("somebody"), None);
        assert_eq!(parse_holder(""), None);
    }
}
