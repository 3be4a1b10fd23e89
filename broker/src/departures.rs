//! Brokers that went away a moment ago, and what clients are told of them meanwhile.
//!
//! A client whose leader dies asks for metadata within a millisecond, sooner than the controller can have proof of the death.
//! It would be sent to the dead leader again, and some look no further for a second (librdkafka scans its topics so often).
//! So an answer that names a leader whose connection to us broke is held for the moment that a verdict takes. Who fetches
//! nothing from that leader hears of it from the controller, whose connection broke, too.
//!
//! A dying process closes its connections one after the other: the client's may be closed tens of milliseconds before ours,
//! and the client has its answer before we can doubt anything. But it asks again at once, for each request that it lost. So
//! the answer to a question that is repeated so soon is held for a moment, too.
//!
//! And a broker that was fenced is listed a little longer. librdkafka takes down all it has for a broker that is listed no
//! more; where that meets the move of its partitions to another leader, they wait for the next scan.
//!
//! Pure but for its lock: the time is a parameter.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use model::{BrokerEpoch, BrokerId, MetadataImage};
use parking_lot::Mutex;

/// How long after the loss of a connection an answer may be held for the controller's verdict: several times what proof
/// takes. Nobody waits longer for one that does not come.
const VERDICT: Duration = Duration::from_millis(500);

/// A client that asks the very same again so soon has not come to terms with the answer. Less than the 100 ms after which
/// clients ask again when they were told "not yet".
const AGAIN: Duration = Duration::from_millis(50);

/// How long the answer to such a question is held at most, if nothing that it says changes: a little more than it takes until
/// a leader's death is known, or at least suspected.
pub const MOMENT: Duration = Duration::from_millis(100);

/// How long a fenced broker is still listed: time for its partitions to be led elsewhere, and for a restart.
const LISTED: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub struct Departures {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Brokers whose connection to us, or to the controller, broke and was not made again: which life of theirs, and when.
    lost: BTreeMap<BrokerId, (BrokerEpoch, Duration)>,
    /// Brokers that must not lead any more, and since when.
    left: BTreeMap<BrokerId, Duration>,
}

/// What a connection asked last.
#[derive(Debug, Default)]
pub struct LastQuestion(Option<(u64, Duration)>);

impl LastQuestion {
    /// Whether this was asked a moment ago. Remembers it. Of two questions of one hash the second costs a moment.
    pub fn is_repeated(&mut self, question: impl Hash, now: Duration) -> bool {
        let mut hasher = DefaultHasher::new();
        question.hash(&mut hasher);
        let hash = hasher.finish();
        let before = self.0.replace((hash, now));
        before.is_some_and(|(known, asked)| known == hash && now.saturating_sub(asked) < AGAIN)
    }
}

/// Leaders that may be dead. Made by [`Departures::doubt`].
#[derive(Debug, PartialEq, Eq)]
pub struct Doubt {
    /// How long a verdict may be waited for.
    pub patience: Duration,
    brokers: Vec<(BrokerId, BrokerEpoch)>,
}

impl Departures {
    /// The connection to this life of a broker broke, or none could be made. Only the first word of it counts.
    pub fn lost(&self, broker: BrokerId, epoch: BrokerEpoch, now: Duration) {
        let lost = &mut self.known.lock().lost;
        if lost.get(&broker).is_none_or(|(known, _)| *known != epoch) {
            lost.insert(broker, (epoch, now));
        }
    }

    /// The controller is about to find out whether this life of a broker is over.
    pub fn suspected(&self, broker: BrokerId, epoch: BrokerEpoch, now: Duration) {
        self.known.lock().lost.insert(broker, (epoch, now));
    }

    /// The broker answers.
    pub fn heard(&self, broker: BrokerId) {
        self.known.lock().lost.remove(&broker);
    }

    /// Whether one of these leaders may be dead, and the controller's word on it is still to be expected.
    pub fn doubt(&self, leaders: impl FnOnce() -> Vec<BrokerId>, now: Duration) -> Option<Doubt> {
        let lost = &self.known.lock().lost;
        let left = |since: &Duration| (*since + VERDICT).checked_sub(now).filter(|left| !left.is_zero());
        if !lost.values().any(|(_, since)| left(since).is_some()) {
            return None;
        }
        let mut doubted = BTreeMap::new();
        for leader in leaders() {
            if let Some((epoch, since)) = lost.get(&leader)
                && let Some(left) = left(since)
            {
                doubted.insert(leader, (*epoch, left));
            }
        }
        let patience = doubted.values().map(|(_, left)| *left).max()?;
        Some(Doubt {
            patience,
            brokers: doubted.into_iter().map(|(id, (epoch, _))| (id, epoch)).collect(),
        })
    }

    /// The metadata moved on.
    pub fn follow(&self, before: &MetadataImage, after: &MetadataImage, now: Duration) {
        let mut known = self.known.lock();
        for broker in after.brokers().values() {
            if broker.is_eligible() {
                known.left.remove(&broker.id);
            } else if before
                .broker(broker.id)
                .is_some_and(model::BrokerRegistration::is_eligible)
            {
                known.left.insert(broker.id, now);
            }
        }
        known
            .left
            .retain(|broker, since| after.broker(*broker).is_some() && *since + LISTED > now);
        known.lost.retain(|broker, _| after.broker(*broker).is_some());
    }

    /// Whether a broker that must not lead is listed all the same, because it could a moment ago.
    pub fn is_listed(&self, broker: BrokerId, now: Duration) -> bool {
        let left = &self.known.lock().left;
        left.get(&broker).is_some_and(|since| *since + LISTED > now)
    }
}

impl Doubt {
    /// Whether the doubted leaders are judged: they must not lead any more, or live again.
    pub fn is_settled(&self, image: &MetadataImage) -> bool {
        let judged = |(id, epoch): &(BrokerId, BrokerEpoch)| {
            image
                .broker(*id)
                .is_none_or(|broker| !broker.is_eligible() || broker.epoch != *epoch)
        };
        self.brokers.iter().all(judged)
    }
}

#[cfg(test)]
mod tests {
    use model::Record;
    use model::record::BrokerFenced;

    use super::*;
    use crate::replica_manager::tests::{LOCAL, OTHER, OTHERS_EPOCH, cluster};

    const SOON: Duration = Duration::from_millis(100);

    fn fenced(before: &MetadataImage) -> MetadataImage {
        let mut image = before.clone();
        let record: Record = BrokerFenced {
            id: OTHER,
            epoch: OTHERS_EPOCH,
        }
        .into();
        image.append(record).expect("applies");
        image
    }

    #[test]
    fn a_leader_that_was_lost_is_doubted_until_it_is_judged_or_the_verdict_is_late() {
        let departures = Departures::default();
        let image = cluster();
        let doubt = |now| departures.doubt(|| vec![LOCAL, OTHER], now);
        assert_eq!(doubt(SOON), None);
        departures.lost(OTHER, OTHERS_EPOCH, SOON);
        let doubted = doubt(SOON * 2).expect("doubted");
        assert_eq!(doubted.patience + SOON, VERDICT);
        assert!(!doubted.is_settled(&image));
        assert!(doubted.is_settled(&fenced(&image)));
        assert_eq!(departures.doubt(|| vec![LOCAL], SOON), None, "others lead as before");
        // Attempts to connect fail all the time; the verdict is not waited for again.
        departures.lost(OTHER, OTHERS_EPOCH, SOON * 3);
        assert_eq!(doubt(SOON + VERDICT), None);
    }

    #[test]
    fn a_suspicion_counts_each_time() {
        let departures = Departures::default();
        for now in [SOON, SOON + VERDICT] {
            departures.suspected(OTHER, OTHERS_EPOCH, now);
            let doubted = departures.doubt(|| vec![OTHER], now).expect("doubted");
            assert_eq!(doubted.patience, VERDICT);
        }
    }

    #[test]
    fn a_question_is_repeated_if_it_is_the_same_and_soon() {
        let mut last = LastQuestion::default();
        assert!(!last.is_repeated("letters", SOON));
        assert!(last.is_repeated("letters", SOON + AGAIN / 2));
        assert!(last.is_repeated("letters", SOON + AGAIN));
        assert!(!last.is_repeated("letters", SOON + AGAIN * 2), "later");
        assert!(!last.is_repeated("parcels", SOON + AGAIN * 2), "something else");
    }

    #[test]
    fn a_leader_that_answers_is_not_doubted() {
        let departures = Departures::default();
        departures.lost(OTHER, OTHERS_EPOCH, SOON);
        departures.heard(OTHER);
        assert_eq!(departures.doubt(|| vec![OTHER], SOON), None);
    }

    #[test]
    fn a_broker_that_was_just_fenced_is_listed_for_a_while() {
        let departures = Departures::default();
        let (before, after) = (cluster(), fenced(&cluster()));
        departures.follow(&MetadataImage::empty(), &before, SOON);
        assert!(!departures.is_listed(OTHER, SOON), "nobody left");
        departures.follow(&before, &after, SOON);
        assert!(departures.is_listed(OTHER, SOON * 2));
        departures.follow(&after, &after, SOON * 2);
        assert!(!departures.is_listed(OTHER, SOON + LISTED));
        departures.follow(&after, &before, SOON * 3);
        assert!(
            !departures.is_listed(OTHER, SOON * 3),
            "it is back, and listed by itself"
        );
    }

    #[test]
    fn a_broker_that_was_fenced_before_this_one_knew_it_is_not_listed() {
        let departures = Departures::default();
        departures.follow(&MetadataImage::empty(), &fenced(&cluster()), SOON);
        assert!(!departures.is_listed(OTHER, SOON));
    }
}
