//! After the faults: everything comes right again by itself, within a bounded time, and nothing is missing.

use std::fmt::Write as _;
use std::time::Duration;

use broker_replication::Role;
use model::BrokerId;

use super::{Cluster, Process};
use crate::checker::Violation;
use crate::history::{History, Place, check};

/// How long producers go on after the faults.
const GOING_ON: Duration = Duration::from_secs(4);
/// How long everything may take to come right.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Cluster {
    /// Waits until nothing is left to do, and holds the history against what was promised.
    pub(super) fn come_right(&mut self) -> Result<(), Violation> {
        let healed = self.now;
        let goes_on = healed + GOING_ON;
        self.advance(goes_on)?;
        for slot in self.slots.values_mut() {
            if let Process::Producer(producer) = &mut slot.what {
                producer.finishing = true;
            }
        }
        loop {
            let until = self.now + LOOK_EVERY;
            self.advance(until)?;
            let left = self.what_is_left();
            if left.is_empty() {
                break;
            }
            if self.now >= healed + PATIENCE {
                return Err(Violation(format!("LIVENESS: after {PATIENCE:?} of calm: {left}")));
            }
        }
        self.sweep()?;
        self.drained();
        let (anomalies, _) = check::check(&self.history, self.audit.excused());
        match anomalies.first() {
            None => Ok(()),
            Some(first) => Err(Violation(format!("HISTORY: {first} ({} in all)", anomalies.len()))),
        }
    }

    /// What is not right yet, in words; empty when everything is.
    fn what_is_left(&self) -> String {
        let mut left = String::new();
        let acting = self.slots.values().filter(|slot| match &slot.what {
            Process::Operator(operator) => operator.is_acting(),
            _ => false,
        });
        if acting.count() != 1 {
            left.push_str("there is not one controller; ");
        }
        let image = self.kubernetes.checker.image();
        for number in 0..self.plan.brokers {
            let id = BrokerId(number as i32);
            if !image.is_eligible(id) {
                let _ = write!(left, "broker {id} may not lead; ");
            }
        }
        for topic in &self.plan.topics {
            if image.topic_by_name(topic.name).is_none() {
                let _ = write!(left, "topic {} is not there; ", topic.name);
            }
        }
        for topic in image.topics().values() {
            for (index, partition) in topic.indexed() {
                let place = Place {
                    topic: topic.id,
                    partition: index,
                };
                if self.is_given_up(place) {
                    continue;
                }
                let whole = partition.isr.len() == partition.replicas.len() && !partition.is_reassigning();
                if !whole || partition.leader.is_none() {
                    let _ = write!(left, "{}-{index} is {partition:?}; ", topic.name);
                }
                self.replicas_left(place, &mut left);
            }
        }
        self.clients_left(&mut left);
        left
    }

    /// Replicas that are not equal to their leader yet.
    fn replicas_left(&self, place: Place, left: &mut String) {
        let end = self.audit.committed_end(place);
        for (process, broker) in self.brokers() {
            let Some(replica) = broker.replicas.get(&place) else {
                continue;
            };
            let (log_end, high_watermark) = (replica.log().log_end_offset(), replica.high_watermark());
            if log_end != end || high_watermark != end {
                let leads = matches!(replica.role(), Role::Leader(_));
                let _ = write!(
                    left,
                    "{place} is committed to {end}, at process {} (leads: {leads}) it ends at {log_end}, watermark {high_watermark}; ",
                    process.0
                );
            }
        }
    }

    fn clients_left(&self, left: &mut String) {
        for slot in self.slots.values() {
            match &slot.what {
                Process::Producer(producer) if !producer.is_idle() => {
                    let waiting: Vec<_> = producer
                        .waiting()
                        .into_iter()
                        .filter(|(place, _)| !self.is_given_up(*place))
                        .collect();
                    if !waiting.is_empty() {
                        let _ = write!(left, "a producer waits for {waiting:?}; ");
                    }
                }
                Process::Consumer(consumer) => {
                    for place in self.places() {
                        let (at, end) = (consumer.position(place), self.audit.committed_end(place));
                        if at != end && !self.is_given_up(place) {
                            let _ = write!(left, "a consumer of {place} is at {at} of {end}; ");
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether nothing may be waited for: the partition is excused, or everybody who was complete has restarted in doubt. The
    /// controller does not elect the longest of those yet (METADATA 17), so that such a partition waits, and loses nothing.
    fn is_given_up(&self, place: Place) -> bool {
        self.audit.excused().contains(&place) || self.waits_for_rule_17(place)
    }

    /// Partitions that only METADATA 17 can bring back.
    pub(super) fn waiting_for_rule_17(&self) -> u64 {
        self.places()
            .into_iter()
            .filter(|place| self.waits_for_rule_17(*place))
            .count() as u64
    }

    fn waits_for_rule_17(&self, place: Place) -> bool {
        let image = self.kubernetes.checker.image();
        !self.plan.elects_from_last_known_elr
            && image.partition(place.topic, place.partition).is_some_and(|partition| {
                partition.isr.is_empty() && partition.elr.is_empty() && !partition.last_known_elr.is_empty()
            })
    }

    /// Every partition that is in the metadata.
    fn places(&self) -> Vec<Place> {
        let topics = self.kubernetes.checker.image().topics().values();
        topics
            .flat_map(|topic| {
                topic.indexed().map(|(partition, _)| Place {
                    topic: topic.id,
                    partition,
                })
            })
            .collect()
    }

    fn drained(&mut self) {
        let mut places = self.places();
        places.retain(|place| !self.is_given_up(*place));
        let consumers = 0..self.plan.consumers as u32;
        let history: &mut History = &mut self.history;
        for consumer in consumers {
            for place in &places {
                history.add(
                    self.now,
                    crate::history::Operation::Drained {
                        consumer,
                        place: *place,
                    },
                );
            }
        }
    }
}
