//! CreatePartitions: more partitions of a topic, placed or as the client assigns them.

use std::collections::{BTreeMap, BTreeSet};

use model::record::PartitionsAdded;
use model::{Assignment, BrokerId, MetadataImage, TopicId, TopicImage, TopicName};
use protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use protocol::{ErrorCode, Message, Reader};

use crate::append::Appender;
use crate::effect::Refusal;
use crate::input::{AdminRequest, Version};
use crate::topic_error::TopicError;
use crate::topics;

/// A decoded request, with what would happen to each topic.
#[derive(Debug, Clone)]
pub struct GrowPlan {
    /// The request's version, and the response's.
    pub version: Version,
    /// How long the client wants to wait, in milliseconds.
    pub timeout_ms: i32,
    /// Nothing is to be added, only checked.
    pub validate_only: bool,
    /// The topics in the request's order, those named twice only once.
    pub topics: Vec<PlannedGrowth>,
}

/// One topic of a plan.
#[derive(Debug, Clone)]
pub struct PlannedGrowth {
    /// The name in the request.
    pub name: String,
    /// Whether it can grow, and how.
    pub plan: Result<Growth, TopicError>,
}

/// What is added to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// The topic.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// How many partitions it has afterwards.
    pub count: i32,
    /// Replicas of the new partitions.
    pub added: Assignment,
    /// The replicas of all partitions, if the client assigned the new ones: what a Topic resource cannot say.
    pub assignment: Option<Vec<Vec<BrokerId>>>,
}

impl GrowPlan {
    /// Decodes a request and checks each topic against the image.
    pub fn decode(image: &MetadataImage, version: Version, body: &[u8]) -> Result<Self, Refusal> {
        let request = CreatePartitionsRequest::decode(&mut Reader::new(body), version)?;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *counts.entry(&topic.name).or_default() += 1;
        }
        let mut seen = BTreeSet::new();
        let first = request.topics.iter().filter(|topic| seen.insert(topic.name.as_str()));
        let planned = first.map(|topic| PlannedGrowth {
            name: topic.name.clone(),
            plan: if counts.get(topic.name.as_str()).is_some_and(|count| *count > 1) {
                Err(TopicError::new(
                    ErrorCode::InvalidRequest,
                    format!("Topic '{}' is in the request more than once.", topic.name),
                ))
            } else {
                plan_one(image, topic)
            },
        });
        Ok(Self {
            version,
            timeout_ms: request.timeout_ms,
            validate_only: request.validate_only,
            topics: planned.collect(),
        })
    }

    /// Encodes the response: an outcome for each topic of the plan, in its order. Where the plan itself has an error, that
    /// is what counts; with `validate_only`, outcomes are not looked at.
    pub fn respond(&self, outcomes: &[Result<(), TopicError>]) -> Result<Vec<u8>, Refusal> {
        let missing = Err(TopicError::new(
            ErrorCode::UnknownServerError,
            "The partitions were not created.",
        ));
        let results = self.topics.iter().enumerate().map(|(at, topic)| {
            let outcome = match (&topic.plan, self.validate_only) {
                (Err(error), _) => Err(error),
                (Ok(_), true) => Ok(()),
                (Ok(_), false) => outcomes.get(at).unwrap_or(&missing).as_ref().copied(),
            };
            CreatePartitionsTopicResult {
                name: topic.name.clone(),
                error_code: outcome.err().map_or(0, |error| error.code.code()),
                error_message: outcome.err().map(|error| error.message.clone()),
            }
        });
        let response = CreatePartitionsResponse {
            results: results.collect(),
            ..CreatePartitionsResponse::default()
        };
        let mut body = Vec::new();
        response.encode(&mut body, self.version)?;
        Ok(body)
    }
}

pub(super) fn handle(request: &AdminRequest, log: &mut Appender) -> Result<Vec<u8>, Refusal> {
    let plan = GrowPlan::decode(log.latest(), request.api_version, &request.body)?;
    let mut outcomes = Vec::with_capacity(plan.topics.len());
    if !plan.validate_only {
        for topic in &plan.topics {
            outcomes.push(match &topic.plan {
                Ok(growth) => grow(log, growth).map_err(TopicError::from),
                Err(error) => Err(error.clone()),
            });
        }
    }
    plan.respond(&outcomes)
}

fn grow(log: &mut Appender, growth: &Growth) -> Result<(), Refusal> {
    log.admit()?;
    log.propose(PartitionsAdded {
        topic: growth.id,
        assignment: growth.added.clone(),
    })?;
    Ok(())
}

/// Checks one topic, in Kafka's order (`ReplicationControlManager.createPartitions`).
fn plan_one(image: &MetadataImage, asked: &CreatePartitionsTopic) -> Result<Growth, TopicError> {
    let Some(topic) = image.topic_by_name(&asked.name) else {
        let code = ErrorCode::UnknownTopicOrPartition;
        return Err(TopicError::new(code, code.text()));
    };
    let has = topic.partitions.len() as i32;
    if asked.count <= has {
        let message = format!(
            "Topic {} has {has} partition(s), {} were asked for: partitions can only grow.",
            topic.name, asked.count
        );
        return Err(TopicError::new(ErrorCode::InvalidPartitions, message));
    }
    let more = asked.count - has;
    let lists = manual(asked, more)?;
    topics::resolve_partitions(image, asked.count)?;
    let factor = topic.target_replication_factor().max(1);
    let added = match &lists {
        Some(lists) => check_manual(image, topic, lists)?,
        None => topics::place(image, Some(topic), more as usize, factor, &BTreeSet::new())?,
    };
    let assignment = lists.map(|lists| {
        let present = topic.partitions.iter().map(|partition| partition.replicas.clone());
        present.chain(lists).collect()
    });
    Ok(Growth {
        id: topic.id,
        name: topic.name.clone(),
        count: asked.count,
        added,
        assignment,
    })
}

/// The client's own assignment of the new partitions; none is the same as an absent one in Kafka only if it is absent.
fn manual(asked: &CreatePartitionsTopic, more: i32) -> Result<Option<Vec<Vec<BrokerId>>>, TopicError> {
    let Some(assignments) = &asked.assignments else {
        return Ok(None);
    };
    if assignments.len() != more as usize {
        let message = format!(
            "{more} partition(s) would be added, but {} are assigned.",
            assignments.len()
        );
        return Err(TopicError::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    let lists = assignments
        .iter()
        .map(|one| one.broker_ids.iter().copied().map(BrokerId).collect());
    Ok(Some(lists.collect()))
}

fn check_manual(image: &MetadataImage, topic: &TopicImage, lists: &[Vec<BrokerId>]) -> Result<Assignment, TopicError> {
    let error = |message: String| Err(TopicError::new(ErrorCode::InvalidReplicaAssignment, message));
    let added = match topics::check_lists(image, lists) {
        // There is a factor already, so what Kafka finds wrong is the assignment.
        Err(wrong) if wrong.code == ErrorCode::InvalidReplicationFactor => return error(wrong.message),
        other => other?,
    };
    let factor = topic.target_replication_factor();
    if usize::from(added.replication_factor) != factor {
        return error(format!(
            "Topic {} has {factor} replica(s) of each partition, {} were assigned.",
            topic.name, added.replication_factor
        ));
    }
    Ok(added)
}

#[cfg(test)]
mod tests;
