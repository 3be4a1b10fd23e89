//! Which replica a client should read from: one in its own rack, if there is any (KIP-392).

use model::{BrokerId, MetadataImage};

use super::Ask;
use crate::context::BrokerContext;
use crate::fetch_sessions::Wanted;
use crate::partition::PartitionHandle;

/// The selector that Kafka brings along.
const RACK_AWARE: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// Whether the cluster lets clients read from followers (`replica.selector.class`).
pub(super) fn is_rack_aware(image: &MetadataImage) -> bool {
    model::config::cluster_value(image.cluster_config(), "replica.selector.class") == Some(RACK_AWARE)
}

/// The follower that the client should rather ask, if this broker leads the partition and is of another rack.
pub(super) fn preferred(
    broker: &BrokerContext,
    listener: &str,
    partition: &PartitionHandle,
    ask: &Ask,
    wanted: &Wanted,
) -> Option<BrokerId> {
    let rack = ask.rack.as_deref()?;
    if broker.rack.as_deref() == Some(rack) {
        return None;
    }
    let image = broker.metadata.image();
    let suits = |id: BrokerId| {
        image.broker(id).is_some_and(|other| {
            other.rack.as_deref() == Some(rack) && other.is_eligible() && other.endpoint(listener).is_some()
        })
    };
    partition.preferred_read_replica(wanted.current_leader_epoch, wanted.fetch_offset, suits)
}
