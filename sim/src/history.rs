//! What clients saw: the operations of one run in the order of real time, and nothing of what went on inside.
//!
//! A record's value is a number that nobody else writes, so that a poll tells which send it came from. [`check`] holds
//! the history against what was promised; it knows nothing of brokers, so that it judges a simulated cluster and real
//! processes alike.

use std::time::Duration;

use model::{PartitionIndex, TopicId};

pub mod check;

/// One partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let topic = self.topic.to_string();
        write!(f, "{}-{}", topic.get(..4).unwrap_or_default(), self.partition)
    }
}

/// A record's value: unique in a history.
pub type Value = u64;

/// What a producer promises and is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// `acks=all`, idempotent: once, in order, never lost.
    Idempotent,
    /// `acks=all`: never lost.
    AllReplicas,
    /// `acks=1`: nothing but that an offset holds one value.
    LeaderOnly,
}

/// Something that a client did or saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A record goes out for the first time.
    Send {
        /// Who sends.
        producer: u32,
        /// Where to.
        place: Place,
        /// What.
        value: Value,
        /// What is promised.
        guarantee: Guarantee,
    },
    /// The send succeeded.
    Acknowledged {
        /// What was sent.
        value: Value,
        /// Where it is said to be; `None` where the answer does not say.
        offset: Option<i64>,
    },
    /// The send failed and was never written.
    Failed {
        /// What was sent.
        value: Value,
    },
    /// A consumer got records, in this order.
    Poll {
        /// Who.
        consumer: u32,
        /// Where from.
        place: Place,
        /// Offsets and values.
        records: Vec<(i64, Value)>,
    },
    /// A consumer was told a high watermark.
    Watermark {
        /// Who.
        consumer: u32,
        /// Where.
        place: Place,
        /// By a leader of this epoch.
        leader_epoch: i32,
        /// How far records are committed.
        high_watermark: i64,
    },
    /// A consumer begins anew at an offset, on purpose.
    Seek {
        /// Who.
        consumer: u32,
        /// Where.
        place: Place,
        /// Where it goes on.
        offset: i64,
    },
    /// All faults are healed and this consumer has read the partition to its end.
    Drained {
        /// Who.
        consumer: u32,
        /// Where.
        place: Place,
    },
}

/// Operations in the order of real time.
#[derive(Debug, Default, Clone)]
pub struct History {
    operations: Vec<(Duration, Operation)>,
}

impl History {
    /// Something happened at this time.
    pub fn add(&mut self, now: Duration, operation: Operation) {
        self.operations.push((now, operation));
    }

    /// Everything so far.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.iter().map(|(_, operation)| operation)
    }

    /// Everything so far, with the times.
    pub fn timed(&self) -> &[(Duration, Operation)] {
        &self.operations
    }
}
