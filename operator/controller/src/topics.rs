//! Topics: what is legal, how it is made, changed and removed.

pub(crate) mod desired;
pub(crate) mod purge;

use std::collections::{BTreeMap, BTreeSet};

use model::config;
use model::record::TopicCreated;
use model::{Assignment, BrokerId, MetadataImage, TopicId, TopicName};
use protocol::ErrorCode;

use crate::append::Appender;
use crate::effect::Refusal;
use crate::entropy::Entropy;
use crate::placement;
use crate::topic_error::TopicError;

/// More partitions than this in one topic are refused: each costs every broker memory.
pub const MAX_PARTITIONS: i32 = 10_000;

/// What somebody wants to create; -1 takes the cluster's default, as in Kafka.
#[derive(Debug, Clone)]
pub struct TopicRequest<'a> {
    /// Its name, not yet checked.
    pub name: &'a str,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each.
    pub replication_factor: i16,
    /// The replicas of each partition, if they are not to be placed.
    pub assignment: Option<Vec<Vec<BrokerId>>>,
    /// Configuration, not yet checked.
    pub config: BTreeMap<String, String>,
}

/// A topic that can be created: everything checked, defaults resolved, replicas placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// Replicas of every partition.
    pub assignment: Assignment,
    /// Configuration in canonical form.
    pub config: BTreeMap<String, String>,
}

/// Checks a request against an image, in Kafka's order (`ReplicationControlManager.createTopic`). Brokers of `without` get
/// no replica that is placed here.
pub fn plan(
    image: &MetadataImage,
    request: &TopicRequest<'_>,
    without: &BTreeSet<BrokerId>,
) -> Result<NewTopic, TopicError> {
    let name = TopicName::new(request.name)?;
    if image.topic_by_name(name.as_str()).is_some() {
        let message = format!("Topic '{name}' already exists.");
        return Err(TopicError::new(ErrorCode::TopicAlreadyExists, message));
    }
    check_collision(image, &name)?;
    let config = config::check_topic(&request.config)?;
    let assignment = match &request.assignment {
        Some(lists) => manual(image, request, lists)?,
        None => automatic(image, request, without)?,
    };
    Ok(NewTopic {
        name,
        assignment,
        config,
    })
}

/// Proposes a topic that was planned on the latest image.
pub(crate) fn create(log: &mut Appender, entropy: &mut Entropy, topic: NewTopic) -> Result<TopicId, Refusal> {
    let id = TopicId::from_random(entropy.draw());
    log.propose(TopicCreated {
        id,
        name: topic.name,
        assignment: topic.assignment,
        config: topic.config,
    })?;
    Ok(id)
}

/// The partition count for `wanted`, where -1 means the cluster's default.
pub(crate) fn resolve_partitions(image: &MetadataImage, wanted: i32) -> Result<i32, TopicError> {
    let count = if wanted == -1 {
        cluster_default(image, "num.partitions")
    } else {
        wanted
    };
    if count <= 0 {
        let message = format!("Number of partitions was {count}: it must be positive, or -1 for the default.");
        return Err(TopicError::new(ErrorCode::InvalidPartitions, message));
    }
    if count > MAX_PARTITIONS {
        let message = format!("Number of partitions was {count}: the limit is {MAX_PARTITIONS} for a topic.");
        return Err(TopicError::new(ErrorCode::InvalidPartitions, message));
    }
    Ok(count)
}

/// The replication factor for `wanted`, where -1 means the cluster's default for a topic of this name.
pub(crate) fn resolve_replication_factor(image: &MetadataImage, name: &str, wanted: i16) -> Result<i16, TopicError> {
    let key = match name {
        "__consumer_offsets" => "offsets.topic.replication.factor",
        _ => "default.replication.factor",
    };
    let default = || i16::try_from(cluster_default(image, key)).unwrap_or(i16::MAX);
    let factor = if wanted == -1 { default() } else { wanted };
    if factor <= 0 {
        let message = format!("Replication factor was {factor}: it must be positive, or -1 for the default.");
        return Err(TopicError::new(ErrorCode::InvalidReplicationFactor, message));
    }
    Ok(factor)
}

/// Kafka's rule: names that differ only in `.` and `_` would share metric names.
fn check_collision(image: &MetadataImage, name: &TopicName) -> Result<(), TopicError> {
    // Two names collide only if they agree up to the first '.' or '_', so only those that share that much are looked at.
    let prefix = &name.as_str()[..name.as_str().find(['.', '_']).unwrap_or(name.as_str().len())];
    let prefix_name = std::ops::Bound::Included(prefix);
    let near = image
        .topic_ids()
        .range::<str, _>((prefix_name, std::ops::Bound::Unbounded));
    let mut near = near
        .map(|(other, _)| other)
        .take_while(|other| other.as_str().starts_with(prefix));
    match near.find(|other| *other != name && other.collides_with(name)) {
        Some(other) => {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            Err(TopicError::new(ErrorCode::InvalidTopicException, message))
        }
        None => Ok(()),
    }
}

fn automatic(
    image: &MetadataImage,
    request: &TopicRequest<'_>,
    without: &BTreeSet<BrokerId>,
) -> Result<Assignment, TopicError> {
    // Kafka checks the factor before the count.
    let factor = resolve_replication_factor(image, request.name, request.replication_factor)?;
    let count = resolve_partitions(image, request.partitions)?;
    place(image, None, count as usize, factor as usize, without)
}

/// Places partitions on the brokers of the image.
pub(crate) fn place(
    image: &MetadataImage,
    topic: Option<&model::TopicImage>,
    count: usize,
    factor: usize,
    without: &BTreeSet<BrokerId>,
) -> Result<Assignment, TopicError> {
    let candidates = placement::candidates(image, without);
    let lists = placement::place(&candidates, topic, count, factor);
    lists.and_then(|lists| Assignment::from_lists(&lists)).ok_or_else(|| {
        let message = format!(
            "Unable to replicate the partition {factor} time(s): only {} of {} registered broker(s) can take replicas now, {} of them unfenced.",
            candidates.len(),
            image.brokers().len(),
            candidates.iter().filter(|candidate| candidate.up).count()
        );
        TopicError::new(ErrorCode::InvalidReplicationFactor, message)
    })
}

fn manual(
    image: &MetadataImage,
    request: &TopicRequest<'_>,
    lists: &[Vec<BrokerId>],
) -> Result<Assignment, TopicError> {
    let invalid = |message: &str| TopicError::new(ErrorCode::InvalidRequest, message);
    if request.partitions != -1 {
        return Err(invalid(
            "A manual partition assignment was specified, so the number of partitions must be -1.",
        ));
    }
    if request.replication_factor != -1 {
        return Err(invalid(
            "A manual partition assignment was specified, so the replication factor must be -1.",
        ));
    }
    check_lists(image, lists)
}

/// Checks replica lists that somebody wrote.
pub(crate) fn check_lists(image: &MetadataImage, lists: &[Vec<BrokerId>]) -> Result<Assignment, TopicError> {
    let error = |message: String| Err(TopicError::new(ErrorCode::InvalidReplicaAssignment, message));
    if lists.len() > MAX_PARTITIONS as usize {
        let message = format!(
            "{} partitions were assigned: the limit is {MAX_PARTITIONS} for a topic.",
            lists.len()
        );
        return Err(TopicError::new(ErrorCode::InvalidPartitions, message));
    }
    for (index, list) in lists.iter().enumerate() {
        if list.is_empty() {
            return error(format!(
                "The manual partition assignment for partition {index} is empty."
            ));
        }
        for (at, id) in list.iter().enumerate() {
            if list[..at].contains(id) {
                return error(format!(
                    "The manual partition assignment for partition {index} has broker {id} twice."
                ));
            }
            if image.broker(*id).is_none() {
                return error(format!(
                    "The manual partition assignment for partition {index} has the unknown broker {id}."
                ));
            }
        }
    }
    if let Some(index) = lists
        .iter()
        .position(|list| !list.iter().any(|id| image.is_eligible(*id)))
    {
        return error(format!(
            "All brokers of the manual partition assignment for partition {index} are fenced or about to leave."
        ));
    }
    let Some(assignment) = Assignment::from_lists(lists) else {
        return error("The manual partition assignment must have as many replicas for each partition.".to_owned());
    };
    Ok(assignment)
}

fn cluster_default(image: &MetadataImage, name: &str) -> i32 {
    let value = config::cluster_value(image.cluster_config(), name);
    value.and_then(|value| value.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests;
