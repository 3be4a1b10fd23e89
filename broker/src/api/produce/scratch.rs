//! Memory that a connection keeps between its produce requests.

use broker_log::AppendInfo;

use crate::refusal::Refusal;

/// Batches of one wake-up whose memory is kept for the next: 3 KiB.
const KEPT_OUTCOMES: usize = 64;

/// What is kept between calls for its memory.
#[derive(Debug, Default)]
pub(in crate::api) struct Scratch {
    pub(super) outcomes: Vec<Result<AppendInfo, Refusal>>,
    pub(super) order: Vec<usize>,
}

impl Scratch {
    /// What a rare request of many partitions took is not kept for the life of its connection.
    pub(super) fn give_back(&mut self) {
        self.outcomes.shrink_to(KEPT_OUTCOMES);
        self.order.shrink_to(KEPT_OUTCOMES);
    }
}
