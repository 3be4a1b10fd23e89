//! Where partitions are led that a client looked for in the wrong place or with an old epoch (KIP-951).

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{BrokerId, MetadataImage, PartitionIndex, TopicId};
use protocol::ErrorCode;
use protocol::leader::{CurrentLeader, NodeEndpoint};
use protocol::topic::Topic;

use crate::context::{BrokerContext, ListedBroker};

/// The hints of one response. Looks at the metadata only if there is something to hint at.
#[derive(Debug)]
pub struct LeaderHints<'b> {
    broker: &'b BrokerContext,
    listener: &'b str,
    looked: Option<Looked>,
}

#[derive(Debug)]
struct Looked {
    image: Arc<MetadataImage>,
    brokers: Vec<ListedBroker>,
    /// Leaders that were told of.
    named: BTreeSet<BrokerId>,
}

impl<'b> LeaderHints<'b> {
    /// No hints yet, for a client of `listener`.
    pub fn new(broker: &'b BrokerContext, listener: &'b str) -> Self {
        Self {
            broker,
            listener,
            looked: None,
        }
    }

    /// The leader of a partition that was refused with `code`, if that is worth telling and known.
    pub fn leader(&mut self, code: ErrorCode, topic: Topic<'_>, index: i32) -> Option<CurrentLeader> {
        if !matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
            return None;
        }
        let looked = self.looked.get_or_insert_with(|| {
            let image = self.broker.metadata.snapshot();
            Looked {
                brokers: self.broker.brokers(&image, self.listener),
                image,
                named: BTreeSet::new(),
            }
        });
        let topic = match topic {
            Topic::Name(name) => looked.image.topic_by_name(name),
            Topic::Id(id) => looked.image.topic(TopicId(id)),
        }?;
        let partition = topic.partition(PartitionIndex(index))?;
        let leader = partition.leader?;
        // The image is ahead of what this broker has taken up: whoever comes back at once would only hear the same.
        if code == ErrorCode::NotLeaderOrFollower && leader == self.broker.id {
            return None;
        }
        looked.named.insert(leader);
        Some(CurrentLeader {
            leader_id: leader.0,
            leader_epoch: partition.leader_epoch.0,
        })
    }

    /// Where the leaders listen that were told of, each once.
    pub fn endpoints(&self) -> Vec<NodeEndpoint<'_>> {
        let Some(looked) = &self.looked else { return Vec::new() };
        looked
            .brokers
            .iter()
            .filter(|broker| looked.named.contains(&broker.id))
            .map(|broker| NodeEndpoint {
                node_id: broker.id.0,
                host: &broker.host,
                port: broker.port,
                rack: broker.rack.as_deref(),
            })
            .collect()
    }
}
