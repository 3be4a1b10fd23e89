//! The history checker: the rules of Jepsen's Kafka workload, restated for sends and polls.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Guarantee, History, Operation, Place, Value};

/// A broken promise, as a client can see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anomaly {
    /// One offset held two values.
    InconsistentOffset {
        /// The partition.
        place: Place,
        /// The offset.
        offset: i64,
        /// What it held first.
        first: Value,
        /// What it held then.
        second: Value,
    },
    /// An acknowledged record lies below what was polled, and nobody polled it.
    Lost {
        /// The partition.
        place: Place,
        /// The record.
        value: Value,
    },
    /// An acknowledged record was not polled although everything was drained.
    Unseen {
        /// The partition.
        place: Place,
        /// The record.
        value: Value,
    },
    /// An idempotent producer's record lies at two offsets.
    Duplicate {
        /// The record.
        value: Value,
        /// Where it was seen first.
        first: i64,
        /// Where it was seen then.
        second: i64,
    },
    /// A record was polled that nobody sent there, or whose send failed for certain.
    Phantom {
        /// The partition.
        place: Place,
        /// The record.
        value: Value,
    },
    /// Records of one idempotent producer lie in another order than they were sent in.
    Reordered {
        /// The partition.
        place: Place,
        /// Sent first, at the higher offset.
        earlier: Value,
        /// Sent later, at the lower offset.
        later: Value,
    },
    /// A consumer went back without wanting to.
    NonMonotonicPoll {
        /// Who.
        consumer: u32,
        /// The partition.
        place: Place,
        /// Where it was.
        from: i64,
        /// Where it got a record.
        to: i64,
    },
    /// A consumer never saw an offset that others saw.
    SkippedPoll {
        /// Who.
        consumer: u32,
        /// The partition.
        place: Place,
        /// The offset.
        offset: i64,
    },
    /// A watermark was lower than one that a leader of the same or an earlier epoch had shown to that consumer.
    WatermarkWentBack {
        /// The partition.
        place: Place,
        /// What was shown before.
        from: i64,
        /// What was shown then.
        to: i64,
    },
    /// A consumer got a record above the watermark that it was told.
    AboveWatermark {
        /// The partition.
        place: Place,
        /// The record.
        offset: i64,
        /// The watermark.
        high_watermark: i64,
    },
    /// The history contradicts itself: a defect of the test.
    Malformed(&'static str, Value),
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Numbers that show that a check was not made over nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Records sent.
    pub sent: u64,
    /// Of them acknowledged by all replicas.
    pub acknowledged: u64,
    /// Of them failed for certain.
    pub failed: u64,
    /// Records polled, each consumer's counted.
    pub polled: u64,
    /// Partitions that somebody drained.
    pub drained: u64,
}

struct Sent {
    producer: u32,
    place: Place,
    guarantee: Guarantee,
    acknowledged: bool,
    failed: bool,
}

#[derive(Default)]
struct Reader {
    /// The offset after the last record polled.
    position: Option<i64>,
    /// Offsets seen, of all lives.
    seen: BTreeSet<i64>,
    /// Watermarks by the epoch of the leader that told them.
    watermarks: BTreeMap<i32, i64>,
    drained: bool,
}

#[derive(Default)]
struct Checker {
    anomalies: Vec<Anomaly>,
    sent: BTreeMap<Value, Sent>,
    /// Values in the order in which each producer sent them first.
    order: BTreeMap<(u32, Place), Vec<Value>>,
    /// What each offset holds, by polls and acknowledgements.
    offsets: BTreeMap<(Place, i64), Value>,
    polled_at: BTreeMap<(Place, Value), i64>,
    readers: BTreeMap<(u32, Place), Reader>,
    excused: BTreeSet<Place>,
    extent: Extent,
}

/// Everything in a history that contradicts a promise. Of `excused` partitions records may be lost (the last replica that
/// was complete has lost its disk), so that nothing is asked of them.
pub fn check(history: &History, excused: &BTreeSet<Place>) -> (Vec<Anomaly>, Extent) {
    let mut checker = Checker {
        excused: excused.clone(),
        ..Checker::default()
    };
    for operation in history.operations() {
        checker.take(operation);
    }
    checker.conclude();
    (checker.anomalies, checker.extent)
}

impl Checker {
    fn take(&mut self, operation: &Operation) {
        match operation {
            Operation::Send {
                producer,
                place,
                value,
                guarantee,
            } => self.send(*producer, *place, *value, *guarantee),
            Operation::Acknowledged { value, offset } => self.acknowledged(*value, *offset),
            Operation::Failed { value } => {
                self.extent.failed += 1;
                match self.sent.get_mut(value) {
                    Some(sent) => sent.failed = true,
                    None => self
                        .anomalies
                        .push(Anomaly::Malformed("failed before it was sent", *value)),
                }
            }
            Operation::Poll {
                consumer,
                place,
                records,
            } => {
                for (offset, value) in records {
                    self.polled(*consumer, *place, *offset, *value);
                }
            }
            Operation::Watermark {
                consumer,
                place,
                leader_epoch,
                high_watermark,
            } => self.watermark(*consumer, *place, *leader_epoch, *high_watermark),
            Operation::Seek {
                consumer,
                place,
                offset,
            } => self.reader(*consumer, *place).position = Some(*offset),
            Operation::Drained { consumer, place } => {
                self.extent.drained += 1;
                self.reader(*consumer, *place).drained = true;
            }
        }
    }

    fn reader(&mut self, consumer: u32, place: Place) -> &mut Reader {
        self.readers.entry((consumer, place)).or_default()
    }

    fn send(&mut self, producer: u32, place: Place, value: Value, guarantee: Guarantee) {
        self.extent.sent += 1;
        let sent = Sent {
            producer,
            place,
            guarantee,
            acknowledged: false,
            failed: false,
        };
        if self.sent.insert(value, sent).is_some() {
            self.anomalies.push(Anomaly::Malformed("sent twice", value));
        }
        self.order.entry((producer, place)).or_default().push(value);
    }

    fn acknowledged(&mut self, value: Value, offset: Option<i64>) {
        let Some(sent) = self.sent.get_mut(&value) else {
            self.anomalies
                .push(Anomaly::Malformed("acknowledged before it was sent", value));
            return;
        };
        sent.acknowledged = true;
        if sent.guarantee == Guarantee::LeaderOnly {
            // Where it was written says nothing: another leader may have cut it off.
            return;
        }
        self.extent.acknowledged += 1;
        let place = sent.place;
        if let Some(offset) = offset {
            self.holds(place, offset, value);
        }
    }

    /// An offset was seen to hold a value.
    fn holds(&mut self, place: Place, offset: i64, value: Value) {
        let first = *self.offsets.entry((place, offset)).or_insert(value);
        if first != value && !self.excused.contains(&place) {
            self.anomalies.push(Anomaly::InconsistentOffset {
                place,
                offset,
                first,
                second: value,
            });
        }
    }

    fn polled(&mut self, consumer: u32, place: Place, offset: i64, value: Value) {
        self.extent.polled += 1;
        self.holds(place, offset, value);
        let known = self
            .sent
            .get(&value)
            .is_some_and(|sent| sent.place == place && !sent.failed);
        if !known {
            self.anomalies.push(Anomaly::Phantom { place, value });
        }
        let first = *self.polled_at.entry((place, value)).or_insert(offset);
        let idempotent = self
            .sent
            .get(&value)
            .is_some_and(|sent| sent.guarantee == Guarantee::Idempotent);
        if first != offset && idempotent && !self.excused.contains(&place) {
            self.anomalies.push(Anomaly::Duplicate {
                value,
                first,
                second: offset,
            });
        }
        let excused = self.excused.contains(&place);
        let reader = self.readers.entry((consumer, place)).or_default();
        if let Some(from) = reader.position.filter(|from| offset < *from)
            && !excused
        {
            self.anomalies.push(Anomaly::NonMonotonicPoll {
                consumer,
                place,
                from,
                to: offset,
            });
        }
        let told = reader.watermarks.values().max().copied();
        if let Some(high_watermark) = told.filter(|told| offset >= *told)
            && !excused
        {
            self.anomalies.push(Anomaly::AboveWatermark {
                place,
                offset,
                high_watermark,
            });
        }
        reader.position = Some(offset + 1);
        reader.seen.insert(offset);
    }

    fn watermark(&mut self, consumer: u32, place: Place, leader_epoch: i32, high_watermark: i64) {
        let excused = self.excused.contains(&place);
        let reader = self.readers.entry((consumer, place)).or_default();
        // A leader that was deposed without knowing it may tell an older one; its epoch gives it away.
        let before = reader.watermarks.range(..=leader_epoch).map(|(_, told)| *told).max();
        if let Some(from) = before.filter(|before| high_watermark < *before)
            && !excused
        {
            self.anomalies.push(Anomaly::WatermarkWentBack {
                place,
                from,
                to: high_watermark,
            });
        }
        let told = reader.watermarks.entry(leader_epoch).or_insert(high_watermark);
        *told = (*told).max(high_watermark);
    }

    /// What can be said only when everything is known.
    fn conclude(&mut self) {
        let mut drained: BTreeSet<Place> = BTreeSet::new();
        let mut highest: BTreeMap<Place, i64> = BTreeMap::new();
        for ((_, place), reader) in &self.readers {
            if reader.drained {
                drained.insert(*place);
            }
            if let Some(last) = reader.seen.last() {
                let highest = highest.entry(*place).or_insert(*last);
                *highest = (*highest).max(*last);
            }
        }
        let acknowledged_at: BTreeMap<Value, i64> = self
            .offsets
            .iter()
            .map(|((_, offset), value)| (*value, *offset))
            .collect();
        for (value, sent) in &self.sent {
            let place = sent.place;
            let promised = sent.acknowledged && sent.guarantee != Guarantee::LeaderOnly;
            if sent.acknowledged && sent.failed {
                self.anomalies
                    .push(Anomaly::Malformed("acknowledged and failed", *value));
            }
            if !promised || self.excused.contains(&place) || self.polled_at.contains_key(&(place, *value)) {
                continue;
            }
            let passed = acknowledged_at
                .get(value)
                .is_some_and(|offset| highest.get(&place).is_some_and(|highest| offset <= highest));
            if passed {
                self.anomalies.push(Anomaly::Lost { place, value: *value });
            } else if drained.contains(&place) {
                self.anomalies.push(Anomaly::Unseen { place, value: *value });
            }
        }
        self.skipped();
        self.reordered();
    }

    /// Offsets are dense: nobody may get past one without seeing it.
    fn skipped(&mut self) {
        for ((consumer, place), reader) in &self.readers {
            let (Some(first), Some(last)) = (reader.seen.first(), reader.seen.last()) else {
                continue;
            };
            if self.excused.contains(place) {
                continue;
            }
            if let Some(offset) = (*first..*last).find(|offset| !reader.seen.contains(offset)) {
                self.anomalies.push(Anomaly::SkippedPoll {
                    consumer: *consumer,
                    place: *place,
                    offset,
                });
            }
        }
    }

    fn reordered(&mut self) {
        for ((producer, place), values) in &self.order {
            let idempotent = |value: &Value| {
                self.sent
                    .get(value)
                    .is_some_and(|sent| sent.producer == *producer && sent.guarantee == Guarantee::Idempotent)
            };
            if self.excused.contains(place) {
                continue;
            }
            let mut before: Option<(i64, Value)> = None;
            for value in values.iter().filter(|value| idempotent(value)) {
                let Some(offset) = self.polled_at.get(&(*place, *value)) else {
                    continue;
                };
                if let Some((highest, earlier)) = before
                    && *offset < highest
                {
                    self.anomalies.push(Anomaly::Reordered {
                        place: *place,
                        earlier,
                        later: *value,
                    });
                }
                if before.is_none_or(|(highest, _)| *offset > highest) {
                    before = Some((*offset, *value));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
