//! What partitions leave for whoever proposes in-sync replicas: [`crate::isr_proposals`].

use std::collections::BTreeSet;

use model::{PartitionIndex, TopicId};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Partitions for which other in-sync replicas may be wanted.
#[derive(Debug, Default)]
pub struct IsrWanted {
    partitions: Mutex<BTreeSet<(TopicId, PartitionIndex)>>,
    news: Notify,
}

impl IsrWanted {
    /// Says that a look at the partition is worth while. From any thread, under the partition's lock.
    pub fn note(&self, topic: TopicId, index: PartitionIndex) {
        if self.partitions.lock().insert((topic, index)) {
            self.news.notify_one();
        }
    }

    /// What was noted since the last call.
    pub fn take(&self) -> BTreeSet<(TopicId, PartitionIndex)> {
        std::mem::take(&mut *self.partitions.lock())
    }

    /// Ready when something is noted.
    pub async fn noted(&self) {
        self.news.notified().await;
    }
}
