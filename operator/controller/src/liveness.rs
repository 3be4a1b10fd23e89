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

use crate::input::{ProbeAnswer, Proof};
use crate::settings::Witnesses;

/// A probe that fails for so long, while everything else works, is proof.
const PROBE_PROOF: Duration = Duration::from_secs(30);

/// Between two probes of one broker.
const PROBE_EVERY: Duration = Duration::from_secs(3);

/// Between two probes of a broker whose stream broke.
const SUSPECT_AGAIN: Duration = Duration::from_millis(50);

/// The same when the first one was accepted: a process that is being killed may still accept for a moment.
const SUSPECT_LATER: Duration = Duration::from_millis(250);

/// So many refusals, together with a broken stream, are proof (METADATA 20).
const REFUSALS: u32 = 2;

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
    gone: Option<(IncarnationId, Proof)>,
    probed: Option<Duration>,
    unanswered_since: Option<Duration>,
    /// Its stream broke, and no sign of life has come since.
    suspicion: Option<Suspicion>,
}

/// A broker whose stream broke is probed until it refuses, or gives a sign of life.
#[derive(Debug, Clone, Copy)]
struct Suspicion {
    refusals: u32,
    /// When to probe next; `None` while a probe is under way.
    due: Option<Duration>,
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
            suspicion: None,
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
            signs.suspicion = None;
            if signs.gone.is_some_and(|(_, proof)| proof == Proof::Refused) {
                // It was proved dead and lives: an address of its own refuses us. METADATA 19: it comes back, and stays.
                signs.gone = None;
            }
        }
    }

    pub(crate) fn lease(&mut self, now: Duration, broker: BrokerId) {
        if let Some(signs) = self.signs.get_mut(&broker) {
            signs.lease = now;
        }
    }

    pub(crate) fn gone(&mut self, broker: BrokerId, incarnation: IncarnationId, proof: Proof) {
        if let Some(signs) = self.signs.get_mut(&broker) {
            signs.gone = Some((incarnation, proof));
        }
    }

    pub(crate) fn is_gone(&self, broker: BrokerId, incarnation: IncarnationId) -> bool {
        self.signs
            .get(&broker)
            .is_some_and(|signs| signs.gone.is_some_and(|(gone, _)| gone == incarnation))
    }

    /// The stream of a registered process ended without its having asked to leave.
    pub(crate) fn stream_broke(&mut self, now: Duration, broker: BrokerId) {
        if let Some(signs) = self.signs.get_mut(&broker) {
            signs.suspicion.get_or_insert(Suspicion {
                refusals: 0,
                due: Some(now),
            });
        }
    }

    /// Takes the answer to a probe. True if the process is proved dead by it.
    // METADATA 20: refusal counts twice, together with a broken stream.
    pub(crate) fn probed(&mut self, now: Duration, broker: BrokerId, answer: ProbeAnswer) -> bool {
        let Some(signs) = self.signs.get_mut(&broker) else {
            return false;
        };
        signs.unanswered_since = if answer == ProbeAnswer::Accepted {
            None
        } else {
            signs.unanswered_since.or(Some(now))
        };
        let Some(suspicion) = &mut signs.suspicion else {
            return false;
        };
        let again = match answer {
            ProbeAnswer::Refused => {
                suspicion.refusals += 1;
                SUSPECT_AGAIN
            }
            ProbeAnswer::Accepted => {
                suspicion.refusals = 0;
                SUSPECT_LATER
            }
            ProbeAnswer::Silent => PROBE_EVERY,
        };
        suspicion.due = Some(now + again);
        suspicion.refusals >= REFUSALS
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
        self.judge_suspects(now, unfenced, &mut verdict);
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

    /// Whoever is proved dead goes first, as soon as the brake allows; whose stream broke is probed.
    fn judge_suspects(&mut self, now: Duration, unfenced: &[BrokerId], verdict: &mut Verdict) {
        for id in unfenced {
            let Some(signs) = self.signs.get_mut(id) else { continue };
            if signs.gone.is_some() {
                if !verdict.fence.contains(id) {
                    verdict.fence.insert(0, *id);
                }
                continue;
            }
            let Some(suspicion) = &mut signs.suspicion else {
                continue;
            };
            match suspicion.due {
                Some(due) if due <= now => {
                    suspicion.due = None;
                    if !verdict.probe.contains(id) {
                        verdict.probe.push(*id);
                    }
                }
                Some(due) => verdict.wake = Some(verdict.wake.map_or(due, |wake| wake.min(due))),
                None => {}
            }
        }
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
        liveness.probed(second(10), BrokerId(0), ProbeAnswer::Silent);
        liveness.probed(second(10), BrokerId(1), ProbeAnswer::Accepted);
        liveness.probed(second(10), BrokerId(2), ProbeAnswer::Silent);
        assert_eq!(liveness.judge(second(39), &brokers(3)).fence, []);
        assert_eq!(
            liveness.judge(second(40), &brokers(3)).fence,
            [BrokerId(0)],
            "one of three in nine seconds"
        );
    }

    fn milliseconds(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn rule_20_a_broken_stream_and_two_refusals_are_proof_and_one_is_not() {
        let mut liveness = cluster(3, Witnesses::HeartbeatsAndLeases);
        liveness.stream_broke(milliseconds(100), BrokerId(1));
        assert_eq!(liveness.judge(milliseconds(100), &brokers(3)).probe, [BrokerId(1)]);
        assert!(!liveness.probed(milliseconds(101), BrokerId(1), ProbeAnswer::Refused));
        let verdict = liveness.judge(milliseconds(101), &brokers(3));
        assert_eq!((verdict.probe, verdict.wake), (vec![], Some(milliseconds(151))));
        assert_eq!(liveness.judge(milliseconds(151), &brokers(3)).probe, [BrokerId(1)]);
        assert!(liveness.probed(milliseconds(152), BrokerId(1), ProbeAnswer::Refused));
    }

    #[test]
    fn a_process_that_accepts_or_is_silent_is_not_proved_dead_by_its_stream() {
        for answer in [ProbeAnswer::Accepted, ProbeAnswer::Silent] {
            let mut liveness = cluster(3, Witnesses::Heartbeats);
            liveness.stream_broke(Duration::ZERO, BrokerId(1));
            for at in 1..8 {
                liveness.judge(second(at), &brokers(3));
                assert!(!liveness.probed(second(at), BrokerId(1), answer));
            }
        }
    }

    #[test]
    fn refusals_without_a_broken_stream_prove_nothing() {
        let mut liveness = cluster(3, Witnesses::Heartbeats);
        for at in 1..8 {
            assert!(!liveness.probed(second(at), BrokerId(1), ProbeAnswer::Refused));
        }
        // A sign of life after the stream broke ends the suspicion.
        liveness.stream_broke(second(8), BrokerId(1));
        assert!(!liveness.probed(second(8), BrokerId(1), ProbeAnswer::Refused));
        liveness.heartbeat(second(8), BrokerId(1), MetadataOffset(0));
        assert!(!liveness.probed(second(8), BrokerId(1), ProbeAnswer::Refused));
        assert_eq!(liveness.judge(second(8), &brokers(3)).probe, []);
    }

    #[test]
    fn who_is_proved_dead_while_the_brake_holds_is_fenced_as_soon_as_it_allows() {
        let mut liveness = cluster(3, Witnesses::Heartbeats);
        liveness.note_fence(second(1));
        liveness.gone(BrokerId(2), IncarnationId::from_random([2; 16]), Proof::PodGone);
        for id in [0, 1] {
            liveness.heartbeat(second(5), BrokerId(id), MetadataOffset(0));
        }
        assert_eq!(liveness.judge(second(5), &brokers(3)).fence, []);
        for id in [0, 1] {
            liveness.heartbeat(second(10), BrokerId(id), MetadataOffset(0));
        }
        assert_eq!(liveness.judge(second(10), &brokers(3)).fence, [BrokerId(2)]);
    }

    #[test]
    fn rule_19_who_lives_although_its_address_refused_is_not_fenced_for_that_again() {
        let incarnation = IncarnationId::from_random([1; 16]);
        for (proof, again) in [(Proof::Refused, false), (Proof::Terminated, true)] {
            let mut liveness = cluster(3, Witnesses::Heartbeats);
            liveness.gone(BrokerId(1), incarnation, proof);
            for id in 0..3 {
                liveness.heartbeat(second(1), BrokerId(id), MetadataOffset(0));
            }
            assert_eq!(liveness.is_gone(BrokerId(1), incarnation), again, "{proof:?}");
            assert_eq!(
                liveness.judge(second(2), &brokers(3)).fence.len(),
                usize::from(again),
                "{proof:?}"
            );
        }
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
