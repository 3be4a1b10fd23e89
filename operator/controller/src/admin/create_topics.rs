//! CreateTopics.

use std::collections::{BTreeMap, BTreeSet};

use model::config::TOPIC_KEYS;
use model::record::TopicCreated;
use model::{BrokerId, MetadataImage, TopicId};
use protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use protocol::{ErrorCode, Message, Reader};

use crate::append::Appender;
use crate::effect::Refusal;
use crate::entropy::Entropy;
use crate::input::{AdminRequest, Version};
use crate::topic_error::TopicError;
use crate::topics::{self, NewTopic, TopicRequest};

/// Partitions of all topics of one request at most (Kafka's `ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`): the
/// controller does nothing else while it places them, and its answer is many times longer than the request.
const MOST_PARTITIONS: usize = 10_000;

/// A decoded request, with what would happen to each topic.
#[derive(Debug, Clone)]
pub struct CreatePlan {
    /// The request's version, and the response's.
    pub version: Version,
    /// How long the client wants to wait, in milliseconds.
    pub timeout_ms: i32,
    /// Nothing is to be created, only checked.
    pub validate_only: bool,
    /// The topics in the request's order, those named twice only once.
    pub topics: Vec<PlannedTopic>,
}

/// One topic of a plan.
#[derive(Debug, Clone)]
pub struct PlannedTopic {
    /// The name in the request.
    pub name: String,
    /// Whether it can be created.
    pub plan: Result<NewTopic, TopicError>,
    /// As asked for (with -1 for a default): what a Topic resource is to say.
    pub partitions: i32,
    /// As asked for.
    pub replication_factor: i16,
    /// As asked for.
    pub assignment: Option<Vec<Vec<BrokerId>>>,
}

/// What became of one topic of a plan.
pub type Outcome = Result<TopicId, TopicError>;

fn partitions_of(image: &MetadataImage, request: &CreateTopicsRequest) -> usize {
    let count = |topic: &CreatableTopic| match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len(),
        // One that will be refused, for it has no partition, costs about as much.
        wanted => topics::resolve_partitions(image, wanted).map_or(wanted.max(1) as usize, |count| count as usize),
    };
    request.topics.iter().map(count).fold(0, usize::saturating_add)
}

impl CreatePlan {
    /// Decodes a request and checks each topic against the image and against those before it in the request.
    pub fn decode(image: &MetadataImage, version: Version, body: &[u8]) -> Result<Self, Refusal> {
        let request = CreateTopicsRequest::decode(&mut Reader::new(body), version)?;
        let too_many = partitions_of(image, &request) > MOST_PARTITIONS;
        let mut scratch = image.clone();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *counts.entry(&topic.name).or_default() += 1;
        }
        let mut seen = BTreeSet::new();
        let mut planned = Vec::with_capacity(counts.len());
        for (at, topic) in request.topics.iter().enumerate() {
            if !seen.insert(topic.name.as_str()) {
                continue;
            }
            let assignment = assignment(topic);
            let plan = if too_many {
                let message =
                    format!("The request is for more than {MOST_PARTITIONS} partitions: ask for fewer at a time.");
                Err(TopicError::new(ErrorCode::PolicyViolation, message))
            } else if counts.get(topic.name.as_str()).is_some_and(|count| *count > 1) {
                Err(TopicError::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
            } else {
                assignment
                    .clone()
                    .and_then(|assignment| plan_one(&scratch, topic, assignment))
            };
            if let Ok(new) = &plan {
                stand_in(&mut scratch, at, new);
            }
            planned.push(PlannedTopic {
                name: topic.name.clone(),
                plan,
                partitions: topic.num_partitions,
                replication_factor: topic.replication_factor,
                assignment: assignment.ok().flatten(),
            });
        }
        Ok(Self {
            version,
            timeout_ms: request.timeout_ms,
            validate_only: request.validate_only,
            topics: planned,
        })
    }

    /// Encodes the response: an outcome for each topic of the plan, in its order. Where the plan itself has an error, that
    /// is what counts; with `validate_only`, outcomes are not looked at.
    pub fn respond(&self, image: &MetadataImage, outcomes: &[Outcome]) -> Result<Vec<u8>, Refusal> {
        let missing = Err(TopicError::new(
            ErrorCode::UnknownServerError,
            "The topic was not created.",
        ));
        let results = self.topics.iter().enumerate().map(|(at, topic)| {
            let outcome = match (&topic.plan, self.validate_only) {
                (Err(error), _) => Err(error.clone()),
                (Ok(_), true) => Ok(TopicId::default()),
                (Ok(_), false) => outcomes.get(at).unwrap_or(&missing).clone(),
            };
            result(image, topic, outcome)
        });
        let response = CreateTopicsResponse {
            topics: results.collect(),
            ..CreateTopicsResponse::default()
        };
        let mut body = Vec::new();
        response.encode(&mut body, self.version)?;
        Ok(body)
    }
}

pub(super) fn handle(request: &AdminRequest, log: &mut Appender, entropy: &mut Entropy) -> Result<Vec<u8>, Refusal> {
    let plan = CreatePlan::decode(log.latest(), request.api_version, &request.body)?;
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(plan.topics.len());
    if !plan.validate_only {
        if plan.topics.iter().any(|topic| topic.plan.is_ok()) {
            log.admit()?;
        }
        for topic in &plan.topics {
            outcomes.push(match &topic.plan {
                Ok(new) => topics::create(log, entropy, new.clone()).map_err(TopicError::from),
                Err(error) => Err(error.clone()),
            });
        }
    }
    plan.respond(log.latest(), &outcomes)
}

fn plan_one(
    image: &MetadataImage,
    topic: &CreatableTopic,
    assignment: Option<Vec<Vec<BrokerId>>>,
) -> Result<NewTopic, TopicError> {
    let mut config = BTreeMap::new();
    for entry in &topic.configs {
        let Some(value) = entry.value.clone() else {
            let message = format!("Null value not supported for topic configs: {}", entry.name);
            return Err(TopicError::new(ErrorCode::InvalidConfig, message));
        };
        config.insert(entry.name.clone(), value);
    }
    let request = TopicRequest {
        name: &topic.name,
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignment,
        config,
    };
    topics::plan(image, &request, &BTreeSet::new())
}

/// The manual assignment: partitions from 0 on without a gap, in whatever order they came.
fn assignment(topic: &CreatableTopic) -> Result<Option<Vec<Vec<BrokerId>>>, TopicError> {
    if topic.assignments.is_empty() {
        return Ok(None);
    }
    let mut by_index = BTreeMap::new();
    for entry in &topic.assignments {
        let replicas: Vec<_> = entry.broker_ids.iter().copied().map(BrokerId).collect();
        if by_index.insert(entry.partition_index, replicas).is_some() {
            let message = format!(
                "Found multiple manual partition assignments for partition {}",
                entry.partition_index
            );
            return Err(TopicError::new(ErrorCode::InvalidReplicaAssignment, message));
        }
    }
    if by_index.keys().copied().ne(0..by_index.len() as i32) {
        let message = "Partitions should be a consecutive 0-based integer sequence.";
        return Err(TopicError::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    Ok(Some(by_index.into_values().collect()))
}

/// Puts a planned topic into the scratch image, so that the next one is checked and placed beside it.
fn stand_in(scratch: &mut MetadataImage, at: usize, new: &NewTopic) {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(at as u64).to_be_bytes());
    let created = TopicCreated {
        id: TopicId::from_random(id),
        name: new.name.clone(),
        assignment: new.assignment.clone(),
        config: new.config.clone(),
    };
    // An error leaves the image as it was; what was planned was checked on it.
    let _ = scratch.append(created.into());
}

fn result(image: &MetadataImage, topic: &PlannedTopic, outcome: Outcome) -> CreatableTopicResult {
    let mut result = CreatableTopicResult {
        name: topic.name.clone(),
        error_message: None,
        configs: Some(Vec::new()),
        ..CreatableTopicResult::default()
    };
    match (&topic.plan, outcome) {
        (Ok(new), Ok(id)) => {
            let made = image.topic(id);
            let partitions = made.map_or(new.assignment.partition_count(), |made| made.partitions.len());
            result.topic_id = id.as_uuid();
            result.num_partitions = partitions as i32;
            result.replication_factor = new.assignment.replication_factor as i16;
            result.configs = Some(configs(image, &new.config));
        }
        (Err(error), Ok(_)) => {
            result.error_code = error.code as i16;
            result.error_message = Some(error.message.clone());
        }
        (_, Err(error)) => {
            result.error_code = error.code as i16;
            result.error_message = Some(error.message);
        }
    }
    result
}

fn configs(image: &MetadataImage, topic: &BTreeMap<String, String>) -> Vec<CreatableTopicConfigs> {
    let each = TOPIC_KEYS.iter().filter_map(|key| {
        let settings = key.settings(image.layers(topic, None));
        let counts = settings.first()?;
        Some(CreatableTopicConfigs {
            name: key.name.to_owned(),
            value: Some(counts.in_own_unit().into_owned()),
            config_source: counts.source.code(),
            ..CreatableTopicConfigs::default()
        })
    });
    each.collect()
}
