//! Metadata: brokers, topics and leaders, and the creation of topics that a client mentions.

use std::collections::BTreeSet;

use broker_groups::coordinator::OFFSETS_TOPIC;
use broker_network::Responses;
use model::{BrokerId, MetadataImage, PartitionImage, PartitionIndex, TopicId, TopicImage, TopicName, config};
use protocol::ErrorCode;
use protocol::messages::create_topics::CreatableTopic;
use protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};

use super::call::{BadRequest, Call};
use super::find_coordinator;
use super::forward::{Client, create_and_wait};
use crate::context::{BrokerContext, ListedBroker};

/// The first version that asks for topics by their ids.
const BY_ID: i16 = 12;

/// The first version whose clients know that a leader may not listen where they are; before, there is none for them.
const KNOWS_LISTENER_NOT_FOUND: i16 = 6;

/// Everything is allowed as long as there is no authorizer: the operations that apply to a topic, a bit each
/// (read, write, create, delete, alter, describe, describe configs, alter configs).
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// As above for the cluster (create, alter, describe, cluster action, describe and alter configs, idempotent write).
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: MetadataRequest = call.decode()?;
    if let Some(refused) = refused(call.version(), &request) {
        return call.answer(responses, &refused);
    }
    let missing = topics_to_create(call.broker, call.version(), &request);
    if missing.is_empty() {
        let answer =
            move |broker: &BrokerContext, listener: &str, version| respond(broker, listener, version, &request);
        return call.answer_when_settled(responses, leaders, answer);
    }
    let slot = responses.push_later();
    let broker = call.broker.clone();
    let client = Client::of(call);
    let reply = call.reply;
    tokio::task::spawn_local(async move {
        let topics = missing.into_iter().map(created).collect();
        // A client that is told "not yet" comes back after its backoff; waiting a moment here spares it that.
        create_and_wait(&broker, &client, topics).await;
        let body = respond(&broker, &client.listener, reply.version, &request);
        reply.answer_later(slot, &body);
    });
    Ok(())
}

fn leaders(body: &MetadataResponse) -> Vec<BrokerId> {
    let partitions = body.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| BrokerId(partition.leader_id)).collect()
}

/// A topic as it is made for a client that only mentioned it.
fn created(name: String) -> CreatableTopic {
    if name == OFFSETS_TOPIC {
        return find_coordinator::offsets_topic();
    }
    CreatableTopic {
        name,
        num_partitions: -1,
        replication_factor: -1,
        ..CreatableTopic::default()
    }
}

/// The answer to a request that names its topics wrongly; nothing else of it is looked at (Kafka's
/// `handleTopicMetadataRequest`). Ids came into the request with version 10, but they count from version 12 on.
fn refused(version: i16, request: &MetadataRequest) -> Option<MetadataResponse> {
    let topics = request.topics.as_ref()?;
    let nameless = |topic: &MetadataRequestTopic| topic.name.is_none();
    let identified = |topic: &MetadataRequestTopic| !topic.topic_id.is_nil();
    let wrong = if version < BY_ID {
        topics.iter().any(|topic| nameless(topic) || identified(topic))
    } else {
        topics.iter().any(|topic| nameless(topic) && !identified(topic))
    };
    let refused = |topic: &MetadataRequestTopic| MetadataResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        // Before version 12 the response has no way to leave the name out.
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        topic_authorized_operations: i32::MIN,
        ..MetadataResponseTopic::default()
    };
    wrong.then(|| MetadataResponse {
        topics: topics.iter().map(refused).collect(),
        cluster_authorized_operations: i32::MIN,
        error_code: ErrorCode::InvalidRequest.code(),
        controller_id: -1,
        ..MetadataResponse::default()
    })
}

fn topics_to_create(broker: &BrokerContext, version: i16, request: &MetadataRequest) -> Vec<String> {
    let image = broker.metadata.image();
    let asked = version < 4 || request.allow_auto_topic_creation;
    let allowed = config::cluster_value(image.cluster_config(), "auto.create.topics.enable") == Some("true");
    if !(asked && allowed) {
        return Vec::new();
    }
    // A topic that is asked for by its id is known or gone.
    let by_name = request.topics.iter().flatten().filter(|topic| topic.topic_id.is_nil());
    let names = by_name.filter_map(|topic| topic.name.as_deref());
    let mut missing: Vec<String> = names
        .filter(|name| image.topic_by_name(name).is_none())
        .filter(|name| TopicName::new(name).is_ok_and(|legal| !legal.is_internal() || *name == OFFSETS_TOPIC))
        .map(str::to_owned)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn respond(broker: &BrokerContext, listener: &str, version: i16, request: &MetadataRequest) -> MetadataResponse {
    let image = broker.metadata.image();
    let brokers = broker.brokers(&image, listener);
    let view = View {
        broker,
        image: &image,
        brokers: &brokers,
        version,
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
        // A topic that is asked for twice is answered once.
        let mut seen = BTreeSet::new();
        let wanted = request.topics.iter().flatten();
        wanted
            .filter(|wanted| seen.insert((wanted.topic_id, wanted.name.as_deref())))
            .map(|wanted| view.wanted(wanted))
            .collect()
    };
    MetadataResponse {
        brokers: brokers.iter().filter(|broker| broker.listed).map(listed).collect(),
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
    version: i16,
    operations: bool,
}

impl View<'_> {
    fn wanted(&self, wanted: &MetadataRequestTopic) -> MetadataResponseTopic {
        // Where both are given the id counts.
        if !wanted.topic_id.is_nil() {
            return match self.image.topic(TopicId(wanted.topic_id)) {
                Some(topic) => self.topic(topic),
                None => self.refused(wanted, ErrorCode::UnknownTopicId),
            };
        }
        let name = wanted.name.as_deref().unwrap_or_default();
        match self.image.topic_by_name(name) {
            Some(topic) => self.topic(topic),
            None if TopicName::new(name).is_err() => self.refused(wanted, ErrorCode::InvalidTopicException),
            None => self.refused(wanted, ErrorCode::UnknownTopicOrPartition),
        }
    }

    fn refused(&self, wanted: &MetadataRequestTopic, error: ErrorCode) -> MetadataResponseTopic {
        MetadataResponseTopic {
            error_code: error.code(),
            // What was asked for by its id has no name that anybody knows.
            name: wanted.name.clone().filter(|_| wanted.topic_id.is_nil()),
            is_internal: wanted
                .name
                .as_deref()
                .is_some_and(|name| TopicName::new(name).is_ok_and(|name| name.is_internal())),
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
        let reachable = |id: i32| {
            let alive = |broker: &ListedBroker| broker.id.0 == id && !broker.fenced;
            self.brokers.iter().any(alive)
        };
        // What only we hold we serve, whatever the controller thinks of us (METADATA 18).
        let alone = self.broker.replicas.leads_alone(self.image, partition);
        let leader = if alone { Some(self.broker.id) } else { partition.leader };
        // A client could not look up the address of one that is not among the brokers.
        let (leader_id, error) = match leader {
            Some(leader) if reachable(leader.0) => (leader.0, 0),
            Some(_) if self.version >= KNOWS_LISTENER_NOT_FOUND => (-1, ErrorCode::ListenerNotFound.code()),
            Some(_) | None => (-1, ErrorCode::LeaderNotAvailable.code()),
        };
        MetadataResponsePartition {
            error_code: error,
            partition_index: index.0,
            leader_id,
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
