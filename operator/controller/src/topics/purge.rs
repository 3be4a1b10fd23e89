//! Which brokers have purged which removed topics (METADATA 25).

use std::collections::{BTreeMap, BTreeSet};

use model::record::TopicPurged;
use model::{BrokerId, TopicId};

use crate::append::Appender;
use crate::effect::Refusal;

/// Reports so far. Soft: a broker reports again for as long as the tombstone is in its image.
#[derive(Debug, Default)]
pub(crate) struct Purges {
    reported: BTreeMap<TopicId, BTreeSet<BrokerId>>,
}

impl Purges {
    /// Notes a report.
    pub(crate) fn report(&mut self, broker: BrokerId, topics: &[TopicId], log: &Appender) {
        for id in topics.iter().filter(|id| log.latest().tombstones().contains_key(id)) {
            self.reported.entry(*id).or_default().insert(broker);
        }
    }

    /// Drops the tombstones that every registered broker, fenced or not, has reported.
    pub(crate) fn pump(&mut self, log: &mut Appender) -> Result<(), Refusal> {
        if self.reported.is_empty() || log.admit().is_err() {
            return Ok(());
        }
        let complete: Vec<_> = {
            let image = log.latest();
            let all = |brokers: &BTreeSet<BrokerId>| image.brokers().keys().all(|id| brokers.contains(id));
            self.reported
                .iter()
                .filter(|(_, brokers)| all(brokers))
                .map(|(id, _)| *id)
                .collect()
        };
        for id in complete {
            self.reported.remove(&id);
            if log.latest().tombstones().contains_key(&id) {
                log.propose(TopicPurged { id })?;
            }
        }
        Ok(())
    }
}
