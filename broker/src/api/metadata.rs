//! Metadata: brokers, topics and leaders, and the creation of topics that a client mentions.

use broker_network::Responses;
use model::{MetadataImage, PartitionImage, PartitionIndex, TopicId, TopicImage, TopicName, config};
use protocol::ErrorCode;
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};

use super::forward::{Client, create_and_wait};
use super::{BadRequest, Call};
use crate::context::{BrokerContext, ListedBroker};

/// Everything is allowed as long as there is no authorizer: the operations that apply to a topic, a bit each
/// (read, write, create, delete, alter, describe, describe configs, alter configs).
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// As above for the cluster (create, alter, describe, cluster action, describe and alter configs, idempotent write).
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: MetadataRequest = call.decode()?;
    let missing = topics_to_create(call.broker, call.version(), &request);
    if missing.is_empty() {
        let listener = &call.connection.listener;
        let body = respond(call.broker, listener, call.version(), &request);
        return call.answer(responses, &body);
    }
    let slot = responses.push_later();
    let broker = call.broker.clone();
    let client = Client::of(call);
    let reply = call.reply;
    tokio::task::spawn_local(async move {
        let topics = missing
            .into_iter()
            .map(|name| CreatableTopic {
                name,
                num_partitions: -1,
                replication_factor: -1,
                ..CreatableTopic::default()
            })
            .collect();
        // A client that is told "not yet" comes back after its backoff; waiting a moment here spares it that.
        create_and_wait(
            &broker,
            &client,
            CreateTopicsRequest {
                topics,
                ..CreateTopicsRequest::default()
            },
        )
        .await;
        let body = respond(&broker, &client.listener, reply.version, &request);
        reply.answer_later(slot, &body);
    });
    Ok(())
}

fn topics_to_create(broker: &BrokerContext, version: i16, request: &MetadataRequest) -> Vec<String> {
    let image = broker.metadata.image();
    let asked = version < 4 || request.allow_auto_topic_creation;
    let allowed = config::cluster_value(image.cluster_config(), "auto.create.topics.enable") == Some("true");
    if !(asked && allowed) {
        return Vec::new();
    }
    let names = request
        .topics
        .iter()
        .flatten()
        .filter_map(|topic| topic.name.as_deref());
    let mut missing: Vec<String> = names
        .filter(|name| image.topic_by_name(name).is_none())
        .filter(|name| TopicName::new(name).is_ok_and(|name| !name.is_internal()))
        .map(str::to_owned)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn respond(broker: &BrokerContext, listener: &str, version: i16, request: &MetadataRequest) -> MetadataResponse {
    let image = broker.metadata.image();
    let brokers: Vec<ListedBroker> = broker
        .brokers(&image, listener)
        .into_iter()
        .filter(|broker| !broker.fenced)
        .collect();
    let view = View {
        broker,
        image: &image,
        brokers: &brokers,
        operations: request.include_topic_authorized_operations,
    };
    let all = match &request.topics {
        None => true,
        Some(topics) => version == 0 && topics.is_empty(),
    };
    let topics = if all {
        image
            .topic_ids()
            .values()
            .filter_map(|id| image.topic(*id))
            .map(|topic| view.topic(topic))
            .collect()
    } else {
        request
            .topics
            .iter()
            .flatten()
            .map(|wanted| view.wanted(version, wanted))
            .collect()
    };
    MetadataResponse {
        brokers: brokers.iter().map(listed).collect(),
        cluster_id: Some(broker.cluster_id(&image)),
        // Any broker takes admin requests and passes them on.
        controller_id: broker.id.0,
        topics,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            i32::MIN
        },
        ..MetadataResponse::default()
    }
}

struct View<'a> {
    broker: &'a BrokerContext,
    image: &'a MetadataImage,
    /// Those that this listener's clients can reach.
    brokers: &'a [ListedBroker],
    operations: bool,
}

impl View<'_> {
    fn wanted(&self, version: i16, wanted: &MetadataRequestTopic) -> MetadataResponseTopic {
        if let Some(name) = &wanted.name {
            return match self.image.topic_by_name(name) {
                Some(topic) => self.topic(topic),
                None if TopicName::new(name).is_err() => self.refused(wanted, ErrorCode::InvalidTopicException),
                None => self.refused(wanted, ErrorCode::UnknownTopicOrPartition),
            };
        }
        // Topics by id: version 12 and later.
        match self.image.topic(TopicId(wanted.topic_id)) {
            Some(topic) if version >= 12 => self.topic(topic),
            Some(_) => self.refused(wanted, ErrorCode::InvalidRequest),
            None => self.refused(wanted, ErrorCode::UnknownTopicId),
        }
    }

    fn refused(&self, wanted: &MetadataRequestTopic, error: ErrorCode) -> MetadataResponseTopic {
        MetadataResponseTopic {
            error_code: error.code(),
            name: wanted.name.clone(),
            topic_id: wanted.topic_id,
            topic_authorized_operations: self.topic_operations(),
            ..MetadataResponseTopic::default()
        }
    }

    fn topic(&self, topic: &TopicImage) -> MetadataResponseTopic {
        MetadataResponseTopic {
            error_code: 0,
            name: Some(topic.name.as_str().to_owned()),
            topic_id: topic.id.as_uuid(),
            is_internal: topic.name.is_internal(),
            partitions: topic
                .indexed()
                .map(|(index, partition)| self.partition(index, partition))
                .collect(),
            topic_authorized_operations: self.topic_operations(),
        }
    }

    fn partition(&self, index: PartitionIndex, partition: &PartitionImage) -> MetadataResponsePartition {
        let reachable = |id: i32| self.brokers.iter().any(|broker| broker.id.0 == id);
        // What only we hold we serve, whatever the controller thinks of us (METADATA 18).
        let sole = partition.replicas == [self.broker.id];
        let leader = if sole { Some(self.broker.id) } else { partition.leader };
        let error = match leader {
            None => ErrorCode::LeaderNotAvailable.code(),
            Some(leader) if !reachable(leader.0) => ErrorCode::ListenerNotFound.code(),
            Some(_) => 0,
        };
        MetadataResponsePartition {
            error_code: error,
            partition_index: index.0,
            leader_id: leader.map_or(-1, |leader| leader.0),
            leader_epoch: partition.leader_epoch.0,
            replica_nodes: partition.replicas.iter().map(|id| id.0).collect(),
            isr_nodes: partition.isr.iter().map(|id| id.0).collect(),
            offline_replicas: partition
                .replicas
                .iter()
                .map(|id| id.0)
                .filter(|id| !reachable(*id))
                .collect(),
        }
    }

    fn topic_operations(&self) -> i32 {
        if self.operations { TOPIC_OPERATIONS } else { i32::MIN }
    }
}

fn listed(broker: &ListedBroker) -> MetadataResponseBroker {
    MetadataResponseBroker {
        node_id: broker.id.0,
        host: broker.host.clone(),
        port: i32::from(broker.port),
        rack: broker.rack.clone(),
    }
}
