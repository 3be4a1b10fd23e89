//! Each anomaly is found in a history made by hand, and none where there is none.

use std::time::Duration;

use model::{PartitionIndex, TopicId};

use super::*;

const P: Place = Place {
    topic: TopicId(uuid::Uuid::from_u128(1)),
    partition: PartitionIndex(0),
};

/// A history, written like a story.
#[derive(Default)]
struct Story(History);

impl Story {
    fn tell(mut self, operation: Operation) -> Self {
        self.0.add(Duration::ZERO, operation);
        self
    }

    fn sends(self, value: Value, guarantee: Guarantee) -> Self {
        self.tell(Operation::Send {
            producer: 1,
            place: P,
            value,
            guarantee,
        })
    }

    /// Sent by an idempotent producer and acknowledged.
    fn writes(self, value: Value, offset: i64) -> Self {
        self.sends(value, Guarantee::Idempotent).acknowledged(value, offset)
    }

    fn acknowledged(self, value: Value, offset: i64) -> Self {
        self.tell(Operation::Acknowledged {
            value,
            offset: Some(offset),
        })
    }

    fn polls(self, consumer: u32, records: &[(i64, Value)]) -> Self {
        self.tell(Operation::Poll {
            consumer,
            place: P,
            records: records.to_vec(),
        })
    }

    fn watermark(self, leader_epoch: i32, high_watermark: i64) -> Self {
        self.tell(Operation::Watermark {
            consumer: 1,
            place: P,
            leader_epoch,
            high_watermark,
        })
    }

    fn drained(self) -> Self {
        self.tell(Operation::Drained { consumer: 1, place: P })
    }

    fn anomalies(&self) -> Vec<Anomaly> {
        check(&self.0, &BTreeSet::new()).0
    }
}

fn story() -> Story {
    Story::default()
}

#[test]
fn a_sound_history_has_no_anomaly_and_its_extent_is_counted() {
    let story = story()
        .writes(10, 0)
        .writes(11, 1)
        .sends(12, Guarantee::AllReplicas)
        .watermark(0, 2)
        .polls(1, &[(0, 10), (1, 11)])
        .watermark(1, 3)
        .polls(1, &[(2, 12)])
        .drained();
    let (anomalies, extent) = check(&story.0, &BTreeSet::new());
    assert_eq!(anomalies, []);
    assert_eq!(
        extent,
        Extent {
            sent: 3,
            acknowledged: 2,
            failed: 0,
            polled: 3,
            drained: 1
        }
    );
}

#[test]
fn two_values_at_one_offset_are_inconsistent_between_polls_and_between_acknowledgement_and_poll() {
    let inconsistent = |story: Story| {
        story
            .anomalies()
            .iter()
            .any(|anomaly| matches!(anomaly, Anomaly::InconsistentOffset { offset: 0, .. }))
    };
    let sent = || {
        story()
            .sends(10, Guarantee::AllReplicas)
            .sends(11, Guarantee::AllReplicas)
    };
    assert!(inconsistent(sent().polls(1, &[(0, 10)]).polls(2, &[(0, 11)])));
    assert!(inconsistent(sent().acknowledged(10, 0).polls(2, &[(0, 11)])));
    assert!(inconsistent(sent().acknowledged(10, 0).acknowledged(11, 0)));
}

#[test]
fn an_acknowledged_record_that_polls_have_passed_is_lost() {
    let story = story()
        .writes(10, 0)
        .writes(11, 1)
        .writes(12, 2)
        .polls(1, &[(0, 10), (2, 12)]);
    assert!(story.anomalies().contains(&Anomaly::Lost { place: P, value: 11 }));
}

#[test]
fn an_acknowledged_record_that_nobody_has_seen_after_the_drain_is_unseen() {
    let story = story().writes(10, 0).writes(11, 1).polls(1, &[(0, 10)]);
    assert_eq!(story.anomalies(), [], "it may still come");
    assert_eq!(story.drained().anomalies(), [Anomaly::Unseen { place: P, value: 11 }]);
}

#[test]
fn a_record_in_doubt_may_come_or_not_and_a_failed_one_may_not() {
    let unsure = story().sends(10, Guarantee::AllReplicas);
    assert_eq!(unsure.drained().anomalies(), []);
    let failed = story()
        .sends(10, Guarantee::AllReplicas)
        .tell(Operation::Failed { value: 10 });
    assert_eq!(
        failed.polls(1, &[(0, 10)]).anomalies(),
        [Anomaly::Phantom { place: P, value: 10 }]
    );
}

#[test]
fn a_record_that_nobody_sent_is_a_phantom() {
    assert_eq!(
        story().polls(1, &[(0, 77)]).anomalies(),
        [Anomaly::Phantom { place: P, value: 77 }]
    );
}

#[test]
fn a_duplicate_is_an_anomaly_of_an_idempotent_producer_only() {
    let idempotent = story().writes(10, 0).polls(1, &[(0, 10), (1, 10)]);
    assert_eq!(
        idempotent.anomalies(),
        [Anomaly::Duplicate {
            value: 10,
            first: 0,
            second: 1
        }]
    );
    let retried = story()
        .sends(10, Guarantee::AllReplicas)
        .acknowledged(10, 1)
        .polls(1, &[(0, 10), (1, 10)]);
    assert_eq!(retried.anomalies(), []);
}

#[test]
fn records_of_an_idempotent_producer_lie_in_the_order_of_their_sends() {
    let story = story()
        .sends(10, Guarantee::Idempotent)
        .sends(11, Guarantee::Idempotent)
        .polls(1, &[(0, 11), (1, 10)]);
    assert_eq!(
        story.anomalies(),
        [Anomaly::Reordered {
            place: P,
            earlier: 10,
            later: 11
        }]
    );
}

#[test]
fn a_consumer_neither_goes_back_nor_skips_unless_it_seeks() {
    let written = || story().writes(10, 0).writes(11, 1).writes(12, 2);
    let back = written().polls(1, &[(0, 10), (1, 11)]).polls(1, &[(0, 10)]);
    assert_eq!(
        back.anomalies(),
        [Anomaly::NonMonotonicPoll {
            consumer: 1,
            place: P,
            from: 2,
            to: 0
        }]
    );
    let sought = written()
        .polls(1, &[(0, 10), (1, 11)])
        .tell(Operation::Seek {
            consumer: 1,
            place: P,
            offset: 0,
        })
        .polls(1, &[(0, 10)]);
    assert_eq!(sought.anomalies(), []);
    let skipped = written().polls(1, &[(0, 10), (2, 12)]).polls(2, &[(0, 10), (1, 11)]);
    assert_eq!(
        skipped.anomalies(),
        [Anomaly::SkippedPoll {
            consumer: 1,
            place: P,
            offset: 1
        }]
    );
}

#[test]
fn a_watermark_may_be_lower_only_from_a_leader_of_an_earlier_epoch() {
    assert_eq!(story().watermark(2, 5).watermark(1, 3).anomalies(), []);
    assert_eq!(
        story().watermark(1, 5).watermark(2, 3).anomalies(),
        [Anomaly::WatermarkWentBack {
            place: P,
            from: 5,
            to: 3
        }]
    );
    assert_eq!(
        story().watermark(1, 5).watermark(1, 4).anomalies(),
        [Anomaly::WatermarkWentBack {
            place: P,
            from: 5,
            to: 4
        }]
    );
}

#[test]
fn a_record_above_the_watermark_is_noticed() {
    let story = story().writes(10, 0).writes(11, 1).watermark(0, 1);
    assert_eq!(
        story.polls(1, &[(0, 10), (1, 11)]).anomalies(),
        [Anomaly::AboveWatermark {
            place: P,
            offset: 1,
            high_watermark: 1
        }]
    );
}

#[test]
fn acks_1_may_lose_what_it_acknowledged_and_still_an_offset_holds_one_polled_value() {
    let story = story()
        .sends(10, Guarantee::LeaderOnly)
        .acknowledged(10, 0)
        .writes(11, 0)
        .polls(1, &[(0, 11)])
        .drained();
    assert_eq!(story.anomalies(), []);
}

#[test]
fn of_an_excused_partition_nothing_is_asked() {
    let story = story().writes(10, 0).writes(11, 0).polls(1, &[(0, 11)]).drained();
    assert!(!story.anomalies().is_empty());
    assert_eq!(check(&story.0, &BTreeSet::from([P])).0, []);
}
