//! FindCoordinator: who coordinates a group or a transaction.

use broker_groups::coordinator::{self, CoordinatorType, FindError, OFFSETS_TOPIC, OFFSETS_TOPIC_PARTITIONS};
use broker_network::Responses;
use model::{BrokerId, MetadataImage};
use protocol::ErrorCode;
use protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

use super::call::{BadRequest, Call};
use super::forward::{Client, create_and_wait};
use crate::context::BrokerContext;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: FindCoordinatorRequest = call.decode()?;
    let for_groups = CoordinatorType::try_from(request.key_type) == Ok(CoordinatorType::Group);
    let exists = call.broker.metadata.image().topic_by_name(OFFSETS_TOPIC).is_some();
    if !for_groups || exists {
        let answer =
            move |broker: &BrokerContext, listener: &str, version| respond(broker, listener, version, &request);
        return call.answer_when_settled(responses, coordinators, answer);
    }
    // The first group of the cluster: its place is made now.
    let slot = responses.push_later();
    let broker = call.broker.clone();
    let client = Client::of(call);
    let reply = call.reply;
    tokio::task::spawn_local(async move {
        create_and_wait(&broker, &client, vec![offsets_topic()]).await;
        let body = respond(&broker, &client.listener, reply.version, &request);
        reply.answer_later(slot, &body);
    });
    Ok(())
}

fn coordinators(body: &FindCoordinatorResponse) -> Vec<BrokerId> {
    let one = body.coordinators.is_empty().then_some(body.node_id);
    let many = body.coordinators.iter().map(|found| found.node_id);
    many.chain(one).map(BrokerId).collect()
}

/// `__consumer_offsets` as Kafka makes it, with its own segment size. It is never deleted from by age or size: what a
/// group commits is kept until it is replaced. Compaction, which drops what was replaced, is not served yet.
pub(super) fn offsets_topic() -> CreatableTopic {
    let config = |name: &str, value: &str| CreatableTopicConfig {
        name: name.to_owned(),
        value: Some(value.to_owned()),
    };
    CreatableTopic {
        name: OFFSETS_TOPIC.to_owned(),
        num_partitions: OFFSETS_TOPIC_PARTITIONS,
        replication_factor: -1,
        configs: vec![
            config("retention.ms", "-1"),
            config("retention.bytes", "-1"),
            config("segment.bytes", "104857600"),
        ],
        ..CreatableTopic::default()
    }
}

fn respond(
    broker: &BrokerContext,
    listener: &str,
    version: i16,
    request: &FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    // Version 4 asks for many keys and is answered per key; before, there is one of each.
    if version >= 4 {
        let keys = request.coordinator_keys.iter();
        return FindCoordinatorResponse {
            coordinators: keys.map(|key| find(broker, listener, request.key_type, key)).collect(),
            ..FindCoordinatorResponse::default()
        };
    }
    let found = find(broker, listener, request.key_type, &request.key);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    }
}

fn find(broker: &BrokerContext, listener: &str, key_type: i8, key: &str) -> Coordinator {
    let image = broker.metadata.image();
    let offsets = image.topic_by_name(OFFSETS_TOPIC);
    let partitions = offsets.map_or(0, |topic| topic.partitions.len() as i32);
    let leader_of = |index| {
        let partition = offsets?.partition(index)?;
        // What only we hold we serve, whatever the controller thinks of us (METADATA 18).
        if partition.replicas == [broker.id] {
            return Some(broker.id);
        }
        partition.leader
    };
    let found =
        CoordinatorType::try_from(key_type).and_then(|kind| coordinator::find(kind, key, partitions, leader_of));
    let refused = |error: ErrorCode, message: String| Coordinator {
        key: key.to_owned(),
        node_id: -1,
        port: -1,
        error_code: error.code(),
        error_message: Some(message),
        ..Coordinator::default()
    };
    match found {
        Ok(found) => reachable(broker, &image, listener, found.broker, key).unwrap_or_else(|| {
            refused(
                ErrorCode::CoordinatorNotAvailable,
                "the coordinator is not reachable by this listener".to_owned(),
            )
        }),
        Err(error @ FindError::NotAvailable(_)) => refused(ErrorCode::CoordinatorNotAvailable, error.to_string()),
        Err(error) => refused(ErrorCode::InvalidRequest, error.to_string()),
    }
}

fn reachable(
    broker: &BrokerContext,
    image: &MetadataImage,
    listener: &str,
    id: BrokerId,
    key: &str,
) -> Option<Coordinator> {
    let found = broker
        .brokers(image, listener)
        .into_iter()
        .find(|listed| listed.id == id)?;
    Some(Coordinator {
        key: key.to_owned(),
        node_id: found.id.0,
        host: found.host,
        port: i32::from(found.port),
        error_message: None,
        ..Coordinator::default()
    })
}
