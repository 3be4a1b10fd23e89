//! Producer ids for idempotent producers.
//!
//! The controller hands out blocks of [`BLOCK_SIZE`] ids, durable in the metadata log before anybody sees them, and a
//! block is never given twice. The manager asks for the next block when half of the current one is used, so that new
//! producers start through an outage of the controller that lasts for half a million of them. Ids left in a block at a
//! crash are lost, which is cheap: there are 2^63.

use model::ProducerId;

/// Ids in a block.
pub const BLOCK_SIZE: i64 = 1_000_000;

/// A range of ids that belongs to this broker alone: `start .. start + len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// First id.
    pub start: ProducerId,
    /// How many ids follow, the first included.
    pub len: i64,
}

/// The answer to "give me an id".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextId {
    /// An id nobody else has.
    Id {
        /// The id.
        id: ProducerId,
        /// The caller should now fetch a block and hand it to [`ProducerIdManager::install`]; said once per block.
        fetch: bool,
    },
    /// Nothing is left: the caller waits for a block. `fetch` as above.
    Empty {
        /// As in [`NextId::Id`].
        fetch: bool,
    },
}

/// Two blocks and a cursor. `used <= current.len`.
#[derive(Debug, Default)]
pub struct ProducerIdManager {
    current: Option<ProducerIdBlock>,
    /// Ids of `current` handed out.
    used: i64,
    next: Option<ProducerIdBlock>,
    /// A fetch is on its way; a second one would waste a block.
    fetching: bool,
}

impl ProducerIdManager {
    /// Without a block yet: the first call asks for one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next id.
    pub fn next_id(&mut self) -> NextId {
        if self.current.is_none_or(|block| self.used >= block.len) {
            self.current = self.next.take();
            self.used = 0;
        }
        let Some(block) = self.current else {
            return NextId::Empty { fetch: self.ask() };
        };
        let id = ProducerId(block.start.0 + self.used);
        self.used += 1;
        let half_used = self.used * 2 >= block.len && self.next.is_none();
        NextId::Id {
            id,
            fetch: half_used && self.ask(),
        }
    }

    /// A block that the controller allocated to us.
    pub fn install(&mut self, block: ProducerIdBlock) {
        self.fetching = false;
        if block.len <= 0 {
            return;
        }
        if self.current.is_some() {
            self.next = Some(block);
        } else {
            self.current = Some(block);
            self.used = 0;
        }
    }

    /// The fetch failed: the next call may ask again.
    pub fn fetch_failed(&mut self) {
        self.fetching = false;
    }

    fn ask(&mut self) -> bool {
        !std::mem::replace(&mut self.fetching, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(start: i64, len: i64) -> ProducerIdBlock {
        ProducerIdBlock {
            start: ProducerId(start),
            len,
        }
    }

    #[test]
    fn an_empty_manager_asks_once_and_then_waits() {
        let mut ids = ProducerIdManager::new();
        assert_eq!(ids.next_id(), NextId::Empty { fetch: true });
        assert_eq!(ids.next_id(), NextId::Empty { fetch: false });
        ids.fetch_failed();
        assert_eq!(ids.next_id(), NextId::Empty { fetch: true });
    }

    #[test]
    fn the_next_block_is_fetched_at_half_and_ids_never_repeat() {
        let mut ids = ProducerIdManager::new();
        ids.install(block(0, 4));
        let mut seen = Vec::new();
        let mut fetches = 0;
        for _ in 0..20 {
            match ids.next_id() {
                NextId::Id { id, fetch } => {
                    if fetch {
                        assert_eq!(seen.len() % 4, 1, "asked when the second of four was handed out");
                        fetches += 1;
                        ids.install(block(fetches * 100, 4));
                    }
                    seen.push(id);
                }
                NextId::Empty { .. } => unreachable!("a block was installed at each half"),
            }
        }
        let mut unique = seen.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), seen.len());
        assert_eq!(fetches, 5);
    }

    #[test]
    fn an_outage_is_bridged_by_the_rest_of_the_block() {
        let mut ids = ProducerIdManager::new();
        ids.install(block(10, 4));
        let given: Vec<_> = (0..4).map(|_| ids.next_id()).collect();
        assert!(given.iter().all(|next| matches!(next, NextId::Id { .. })));
        assert_eq!(ids.next_id(), NextId::Empty { fetch: false });
        ids.install(block(50, 4));
        assert!(matches!(ids.next_id(), NextId::Id { id, .. } if id == ProducerId(50)));
    }
}
