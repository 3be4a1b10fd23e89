//! Who lives: signs of life by the controller's own clock, and the brake on mass fencing.
//!
//! Goals: a dead broker is fenced within seconds; a fault of the controller itself fences nobody.
//!
//! Constraints: no timestamp of anybody else is looked at. Being wrong costs availability, never data.
//!
//! Algorithm: a broker is silent when each witness it has was silent for `fence_after`. If more than `max(1, n/3)` of `n`
//! unfenced brokers are silent together, suspect yourself: hold, and probe each; a probe that fails for 30 s is proof
//! (METADATA 20). Without proof or own request, at most `max(1, n/3)` are fenced in any `fence_after`. Time in which the
//! controller itself did not run (a paused process, a starved machine) is nobody's silence and is taken out again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::{BrokerId, IncarnationId, MetadataOffset};

use crate::settings::Witnesses;

/// A probe that fails for so long, while everything else works, is proof.
const PROBE_PROOF: Duration = Duration::from_secs(30);

/// Between two probes of one broker.
const PROBE_EVERY: Duration = Duration::from_secs(3);

/// Between two looks at the clock at most. A longer gap means that this process did not run.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Signs of life of all registered brokers. Soft: a new controller begins anew (METADATA 22).
#[derive(Debug)]
pub(crate) struct Liveness {
    witnesses: Witnesses,
    fence_after: Duration,
    signs: BTreeMap<BrokerId, Signs>,
    fences: VecDeque<Duration>,
    /// The last look at the clock.
    looked: Option<Duration>,
}

#[derive(Debug, Clone)]
struct Signs {
    heartbeat: Duration,
    lease: Duration,
    applied: MetadataOffset,
    gone: Option<IncarnationId>,
    probed: Option<Duration>,
    unanswered_since: Option<Duration>,
}

/// What to do about brokers that are silent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) fence: Vec<BrokerId>,
    pub(crate) probe: Vec<BrokerId>,
    pub(crate) wake: Option<Duration>,
}

impl Liveness {
    pub(crate) fn new(witnesses: Witnesses, fence_after: Duration) -> Self {
        Self {
            witnesses,
            fence_after,
            signs: BTreeMap::new(),
            fences: VecDeque::new(),
            looked: None,
        }
    }

    /// Looks at the clock, before anything is judged by it. Signs of life wait unread while this process does not run, so
    /// the time it missed says nothing about anybody (METADATA 22: as after a takeover).
    pub(crate) fn look(&mut self, now: Duration) {
        let since = self
            .looked
            .replace(now)
            .map_or(Duration::ZERO, |last| now.saturating_sub(last));
        let missed = since.saturating_sub(LOOK_EVERY);
        if missed.is_zero() {
            return;
        }
        for signs in self.signs.values_mut() {
            signs.heartbeat = (signs.heartbeat + missed).min(now);
            signs.lease = (signs.lease + missed).min(now);
            signs.unanswered_since = signs.unanswered_since.map(|since| (since + missed).min(now));
        }
    }

    /// METADATA 22: after a takeover, and after a registration, the full time begins anew.
    pub(crate) fn begin(&mut self, now: Duration, broker: BrokerId) {
        let signs = Signs {
            heartbeat: now,
            lease: now,
            applied: MetadataOffset::NONE,
            gone: None,
            probed: None,
            unanswered_since: None,
        };
        self.signs.insert(broker, signs);
    }

    pub(crate) fn forget(&mut self, broker: BrokerId) {
        self.signs.remove(&broker);
    }

    pub(crate) fn heartbeat(&mut self, now: Duration, broker: BrokerId, applied: MetadataOffset) {
        if let Some(signs) = self.signs.get_mut(&broker) {
            signs.heartbeat = now;
            signs.applied = applied;
            signs.unanswered_since = None;
        }
    }

    pub(crate) fn lease(&mut self, now: Duration, broker: BrokerId) {
        if let Some(signs) = self.signs.get_mut(&broker) {
            signs.lease = now;
        }
    }

    pub(crate) fn gone(&mut self, broker: BrokerId, incarnation: IncarnationId) {
        if let Some(signs) = self.signs.get_mut(&broker) {
            signs.gone = Some(incarnation);
        }
    }

    pub(crate) fn is_gone(&self, broker: BrokerId, incarnation: IncarnationId) -> bool {
        self.signs
            .get(&broker)
            .is_some_and(|signs| signs.gone == Some(incarnation))
    }

    pub(crate) fn probed(&mut self, now: Duration, broker: BrokerId, alive: bool) {
        if let Some(signs) = self.signs.get_mut(&broker) {
            signs.unanswered_since = if alive {
                None
            } else {
                signs.unanswered_since.or(Some(now))
            };
        }
    }

    /// Whether each witness was silent for the full time.
    pub(crate) fn is_silent(&self, now: Duration, broker: BrokerId) -> bool {
        self.silent_from(broker).is_some_and(|from| now >= from)
    }

    /// Judges the unfenced brokers of a cluster.
    pub(crate) fn judge(&mut self, now: Duration, unfenced: &[BrokerId]) -> Verdict {
        let mut verdict = Verdict::default();
        let silent: Vec<_> = unfenced.iter().copied().filter(|id| self.is_silent(now, *id)).collect();
        let limit = Self::limit(unfenced.len());
        if silent.len() > limit {
            for id in silent {
                let Some(signs) = self.signs.get_mut(&id) else { continue };
                if signs.unanswered_since.is_some_and(|since| now >= since + PROBE_PROOF) {
                    verdict.fence.push(id);
                } else if signs.probed.is_none_or(|at| now >= at + PROBE_EVERY) {
                    signs.probed = Some(now);
                    verdict.probe.push(id);
                }
            }
            verdict.wake = Some(now + PROBE_EVERY);
        } else {
            verdict.fence = silent;
            let next = unfenced
                .iter()
                .filter_map(|id| self.silent_from(*id))
                .filter(|from| *from > now)
                .min();
            verdict.wake = next;
        }
        let allowed = self.allowance(now, unfenced.len());
        if verdict.fence.len() > allowed {
            verdict.fence.truncate(allowed);
            verdict.wake = Some(
                verdict
                    .wake
                    .map_or(now + PROBE_EVERY, |wake| wake.min(now + PROBE_EVERY)),
            );
        }
        verdict.wake = verdict.wake.map(|wake| wake.min(now + LOOK_EVERY));
        verdict
    }

    /// METADATA 20: how many may be fenced now without proof that needs no brake.
    pub(crate) fn allowance(&mut self, now: Duration, unfenced: usize) -> usize {
        while self.fences.front().is_some_and(|at| now >= *at + self.fence_after) {
            self.fences.pop_front();
        }
        // Those fenced just now count among the `n` that the limit is a third of.
        Self::limit(unfenced + self.fences.len()).saturating_sub(self.fences.len())
    }

    pub(crate) fn note_fence(&mut self, now: Duration) {
        self.fences.push_back(now);
    }

    fn limit(brokers: usize) -> usize {
        (brokers / 3).max(1)
    }

    fn silent_from(&self, broker: BrokerId) -> Option<Duration> {
        let signs = self.signs.get(&broker)?;
        let last = match self.witnesses {
            Witnesses::Heartbeats => signs.heartbeat,
            Witnesses::HeartbeatsAndLeases => signs.heartbeat.max(signs.lease),
        };
        Some(last + self.fence_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NINE: Duration = Duration::from_secs(9);

    fn brokers(count: i32) -> Vec<BrokerId> {
        (0..count).map(BrokerId).collect()
    }

    fn cluster(count: i32, witnesses: Witnesses) -> Liveness {
        let mut liveness = Liveness::new(witnesses, NINE);
        for id in brokers(count) {
            liveness.begin(Duration::ZERO, id);
        }
        liveness
    }

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn one_silent_broker_is_fenced_after_the_full_time_and_not_before() {
        let mut liveness = cluster(3, Witnesses::Heartbeats);
        for id in [0, 2] {
            liveness.heartbeat(second(8), BrokerId(id), MetadataOffset(0));
        }
        assert_eq!(liveness.judge(second(8), &brokers(3)).fence, []);
        assert_eq!(liveness.judge(second(8), &brokers(3)).wake, Some(second(9)));
        assert_eq!(liveness.judge(second(9), &brokers(3)).fence, [BrokerId(1)]);
    }

    #[test]
    fn either_witness_keeps_a_broker_alive() {
        let mut liveness = cluster(3, Witnesses::HeartbeatsAndLeases);
        liveness.lease(second(8), BrokerId(0));
        liveness.heartbeat(second(8), BrokerId(1), MetadataOffset(0));
        assert_eq!(liveness.judge(second(10), &brokers(3)).fence, [BrokerId(2)]);
    }

    #[test]
    fn when_most_fall_silent_together_nobody_is_fenced_before_probes_failed_for_30_seconds() {
        let mut liveness = cluster(3, Witnesses::Heartbeats);
        let verdict = liveness.judge(second(10), &brokers(3));
        assert_eq!((verdict.fence, verdict.probe), (vec![], brokers(3)));
        liveness.probed(second(10), BrokerId(0), false);
        liveness.probed(second(10), BrokerId(1), true);
        liveness.probed(second(10), BrokerId(2), false);
        assert_eq!(liveness.judge(second(39), &brokers(3)).fence, []);
        assert_eq!(
            liveness.judge(second(40), &brokers(3)).fence,
            [BrokerId(0)],
            "one of three in nine seconds"
        );
    }

    #[test]
    fn no_more_than_a_third_is_fenced_in_nine_seconds() {
        let mut liveness = cluster(9, Witnesses::Heartbeats);
        for id in 3..9 {
            liveness.heartbeat(second(9), BrokerId(id), MetadataOffset(0));
        }
        let fenced = liveness.judge(second(9), &brokers(9)).fence;
        assert_eq!(fenced.len(), 3);
        for _ in fenced {
            liveness.note_fence(second(9));
        }
        let rest: Vec<_> = (3..9).map(BrokerId).collect();
        assert_eq!(liveness.allowance(second(10), rest.len()), 0);
        assert_eq!(liveness.allowance(second(18), rest.len()), 2);
    }
}
