//! Batches of idempotent producers that were refused a moment ago, and will come again.
//!
//! A producer has several batches in flight. If this broker does not lead yet when the first of them arrives, and does when
//! the second arrives, the second is out of order. librdkafka takes that for a gap in what it sent: it begins a new epoch,
//! in which nobody knows the batches that wait to be sent again, and those that are in some log already are written twice.
//! So what comes after a refused batch is refused for the same reason, until that one is there. Kafka does not do so.

use std::collections::VecDeque;

use protocol::batch::BatchHeader;
use protocol::error::ErrorCode;

/// Of so many batches it is known that they were refused: those that a few producers have in flight.
const REMEMBERED: usize = 32;

/// For so long, in milliseconds: what is in flight with a refused batch comes within a round trip.
const MEMORY_MS: i64 = 5_000;

/// The newest batches that were refused.
#[derive(Debug, Default)]
pub(super) struct RefusedBatches(VecDeque<RefusedBatch>);

#[derive(Debug)]
struct RefusedBatch {
    producer_id: i64,
    base_sequence: i32,
    code: ErrorCode,
    at_ms: i64,
}

impl RefusedBatches {
    /// These were refused.
    pub(super) fn note(&mut self, batches: &[&mut [u8]], code: ErrorCode, now_ms: i64) {
        for batch in batches {
            let Ok(header) = BatchHeader::parse(batch) else {
                continue;
            };
            if header.producer_id < 0 {
                continue;
            }
            if self.0.len() == REMEMBERED {
                self.0.pop_front();
            }
            self.0.push_back(RefusedBatch {
                producer_id: header.producer_id,
                base_sequence: header.base_sequence,
                code,
                at_ms: now_ms,
            });
        }
    }

    /// Why a batch was refused that is missing before the one that begins at `found`.
    pub(super) fn reason(&self, producer_id: i64, expected: i32, found: i32, now_ms: i64) -> Option<ErrorCode> {
        let missing = self.0.iter().find(|batch| {
            batch.producer_id == producer_id
                && (expected..found).contains(&batch.base_sequence)
                && (0..MEMORY_MS).contains(&(now_ms - batch.at_ms))
        });
        missing.map(|batch| batch.code)
    }
}
