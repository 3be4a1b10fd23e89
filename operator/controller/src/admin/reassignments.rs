//! AlterPartitionReassignments and ListPartitionReassignments (KIP-455).

use model::{BrokerId, PartitionImage, PartitionIndex, TopicImage};
use protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use protocol::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, OngoingPartitionReassignment,
    OngoingTopicReassignment,
};
use protocol::{ErrorCode, Message, Reader};

use crate::append::Appender;
use crate::effect::Refusal;
use crate::input::AdminRequest;
use crate::partitions::reassign;
use crate::topic_error::TopicError;

pub(super) fn alter(request: &AdminRequest, log: &mut Appender) -> Result<Vec<u8>, Refusal> {
    let version = request.api_version;
    let asked = AlterPartitionReassignmentsRequest::decode(&mut Reader::new(&request.body), version)?;
    let may_change_factor = asked.allow_replication_factor_change;
    let mut responses = Vec::with_capacity(asked.topics.len());
    for topic in &asked.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let outcome = alter_one(log, &topic.name, wanted, may_change_factor).map_err(TopicError::from);
            partitions.push(ReassignablePartitionResponse {
                partition_index: wanted.partition_index,
                error_code: outcome.as_ref().err().map_or(0, |error| error.code.code()),
                error_message: outcome.err().map(|error| error.message),
            });
        }
        responses.push(ReassignableTopicResponse {
            name: topic.name.clone(),
            partitions,
        });
    }
    let response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: may_change_factor,
        error_message: None,
        responses,
        ..AlterPartitionReassignmentsResponse::default()
    };
    let mut body = Vec::new();
    response.encode(&mut body, version)?;
    Ok(body)
}

fn alter_one(
    log: &mut Appender,
    name: &str,
    wanted: &ReassignablePartition,
    may_change_factor: bool,
) -> Result<(), Refusal> {
    let index = PartitionIndex(wanted.partition_index);
    let image = log.latest();
    let found = image
        .topic_by_name(name)
        .map(|topic| (topic.id, topic.partition(index)));
    let Some((topic, Some(partition))) = found else {
        let code = ErrorCode::UnknownTopicOrPartition;
        return Err(TopicError::new(code, code.text()).into());
    };
    let Some(replicas) = &wanted.replicas else {
        return reassign::cancel(log, topic, index);
    };
    let target: Vec<_> = replicas.iter().copied().map(BrokerId).collect();
    reassign::check_target(image, &target)?;
    let has = partition
        .replicas
        .iter()
        .filter(|id| !partition.adding.contains(id))
        .count();
    if !may_change_factor && target.len() != has {
        let message = format!(
            "Partition {index} has {has} replicas, {} were asked for, and the request allows no change of the replication factor.",
            target.len()
        );
        return Err(TopicError::new(ErrorCode::InvalidReplicationFactor, message).into());
    }
    log.admit()?;
    reassign::begin(log, topic, index, &target)
}

pub(super) fn list(request: &AdminRequest, log: &Appender) -> Result<Vec<u8>, Refusal> {
    let version = request.api_version;
    let asked = ListPartitionReassignmentsRequest::decode(&mut Reader::new(&request.body), version)?;
    let image = log.latest();
    let topics = match &asked.topics {
        None => image
            .topics()
            .values()
            .filter_map(|topic| ongoing(topic, |_| true))
            .collect(),
        Some(topics) => {
            let found = topics.iter().filter_map(|topic| {
                let image = image.topic_by_name(&topic.name)?;
                ongoing(image, |index| topic.partition_indexes.contains(&index.0))
            });
            found.collect()
        }
    };
    let response = ListPartitionReassignmentsResponse {
        error_message: None,
        topics,
        ..ListPartitionReassignmentsResponse::default()
    };
    let mut body = Vec::new();
    response.encode(&mut body, version)?;
    Ok(body)
}

fn ongoing(topic: &TopicImage, asked: impl Fn(PartitionIndex) -> bool) -> Option<OngoingTopicReassignment> {
    let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    let moving = topic
        .indexed()
        .filter(|(index, partition)| partition.is_reassigning() && asked(*index));
    let partitions: Vec<_> = moving
        .map(
            |(index, partition): (_, &PartitionImage)| OngoingPartitionReassignment {
                partition_index: index.0,
                replicas: numbers(&partition.replicas),
                adding_replicas: numbers(&partition.adding),
                removing_replicas: numbers(&partition.removing),
            },
        )
        .collect();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment {
        name: topic.name.to_string(),
        partitions,
    })
}
