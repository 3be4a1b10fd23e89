//! What one append knows of its batches between their check and their write.

use model::ProducerId;
use protocol::batch::BatchHeader;

use crate::producer_state::ProducerEntry;

/// Batches of one append whose memory is kept for the next.
const KEPT_BATCHES: usize = 16;

/// Buffers kept from call to call, so that the steady path allocates nothing.
#[derive(Default)]
pub(super) struct Scratch {
    /// Batches accepted but not written yet.
    pub(super) accepted: Vec<Accepted>,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Producers as they were before those batches.
    pub(super) before: Vec<(ProducerId, Option<ProducerEntry>)>,
}

impl Scratch {
    /// Empty, for the next call.
    pub(super) fn clear(&mut self) {
        self.accepted.clear();
        self.accepted.shrink_to(KEPT_BATCHES);
        self.bytes = 0;
        self.before.clear();
        self.before.shrink_to(KEPT_BATCHES);
    }
}

/// A batch that will be written.
pub(super) struct Accepted {
    /// Place in the call's batches and outcomes; of fetched batches, where it begins in their bytes.
    pub(super) index: usize,
    /// The header as it is written.
    pub(super) header: BatchHeader,
    /// The bytes to write, if they are not those that were sent.
    pub(super) rewritten: Option<Vec<u8>>,
}
