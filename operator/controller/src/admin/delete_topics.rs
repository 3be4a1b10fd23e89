//! DeleteTopics: by name up to version 5, by name or id from version 6 on.

use std::collections::{BTreeMap, BTreeSet};

use model::{MetadataImage, TopicId, TopicName};
use protocol::messages::delete_topics::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use protocol::{ErrorCode, Message, Reader};

use crate::append::Appender;
use crate::effect::Refusal;
use crate::input::{AdminRequest, Version};
use crate::topic_error::TopicError;
use crate::topics::desired;

/// The first version that names topics by id.
const BY_ID: Version = 6;

/// A decoded request, with what would happen to each topic.
#[derive(Debug, Clone)]
pub struct DeletePlan {
    /// The request's version, and the response's.
    pub version: Version,
    /// How long the client wants to wait, in milliseconds.
    pub timeout_ms: i32,
    /// The topics in the request's order.
    pub topics: Vec<PlannedDeletion>,
}

/// One topic of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedDeletion {
    /// The name in the request, if it was asked for by name.
    pub name: Option<String>,
    /// The id in the request; zero if it was asked for by name.
    pub id: TopicId,
    /// The topic that is meant.
    pub plan: Result<(TopicId, TopicName), TopicError>,
}

impl DeletePlan {
    /// Decodes a request and finds each topic in the image.
    pub fn decode(image: &MetadataImage, version: Version, body: &[u8]) -> Result<Self, Refusal> {
        let request = DeleteTopicsRequest::decode(&mut Reader::new(body), version)?;
        let asked: Vec<(Option<String>, TopicId)> = if version >= BY_ID {
            request
                .topics
                .into_iter()
                .map(|topic| (topic.name, TopicId::from(topic.topic_id)))
                .collect()
        } else {
            request
                .topic_names
                .into_iter()
                .map(|name| (Some(name), TopicId::default()))
                .collect()
        };
        let mut topics: Vec<_> = asked
            .into_iter()
            .map(|(name, id)| PlannedDeletion {
                plan: find(image, name.as_deref(), id),
                name,
                id,
            })
            .collect();
        refuse_doubles(&mut topics);
        Ok(Self {
            version,
            timeout_ms: request.timeout_ms,
            topics,
        })
    }

    /// Encodes the response: an outcome for each topic of the plan, in its order. Where the plan itself has an error, that
    /// is what counts.
    pub fn respond(&self, outcomes: &[Result<(), TopicError>]) -> Result<Vec<u8>, Refusal> {
        let missing = Err(TopicError::new(
            ErrorCode::UnknownServerError,
            "The topic was not deleted.",
        ));
        let results = self.topics.iter().enumerate().map(|(at, topic)| {
            let outcome = match &topic.plan {
                Ok(_) => outcomes.get(at).unwrap_or(&missing).clone(),
                Err(error) => Err(error.clone()),
            };
            let (id, name) = match &topic.plan {
                Ok((id, name)) => (*id, Some(name.to_string())),
                Err(_) => (topic.id, topic.name.clone()),
            };
            let mut result = DeletableTopicResult {
                name,
                topic_id: id.as_uuid(),
                ..DeletableTopicResult::default()
            };
            if let Err(error) = outcome {
                result.error_code = error.code as i16;
                result.error_message = Some(error.message);
            }
            result
        });
        let response = DeleteTopicsResponse {
            responses: results.collect(),
            ..DeleteTopicsResponse::default()
        };
        let mut body = Vec::new();
        response.encode(&mut body, self.version)?;
        Ok(body)
    }
}

pub(super) fn handle(request: &AdminRequest, log: &mut Appender) -> Result<Vec<u8>, Refusal> {
    let plan = DeletePlan::decode(log.latest(), request.api_version, &request.body)?;
    let mut outcomes = Vec::with_capacity(plan.topics.len());
    for topic in &plan.topics {
        outcomes.push(match &topic.plan {
            Ok((id, _)) => desired::remove(*id, log).map_err(TopicError::from),
            Err(error) => Err(error.clone()),
        });
    }
    plan.respond(&outcomes)
}

fn find(image: &MetadataImage, name: Option<&str>, id: TopicId) -> Result<(TopicId, TopicName), TopicError> {
    let by_id = id != TopicId::default();
    let invalid = |message: &str| Err(TopicError::new(ErrorCode::InvalidRequest, message));
    match name {
        Some(_) if by_id => invalid("You may not specify both topic name and topic id."),
        None if !by_id => invalid("Neither topic name nor id were specified."),
        Some(name) => match image.topic_by_name(name) {
            Some(topic) => Ok((topic.id, topic.name.clone())),
            None => Err(TopicError::new(
                ErrorCode::UnknownTopicOrPartition,
                ErrorCode::UnknownTopicOrPartition.text(),
            )),
        },
        None => match image.topic(id) {
            Some(topic) => Ok((topic.id, topic.name.clone())),
            None => Err(TopicError::new(
                ErrorCode::UnknownTopicId,
                ErrorCode::UnknownTopicId.text(),
            )),
        },
    }
}

/// A topic that is named twice, even once by name and once by id, is not deleted at all, and answered once.
fn refuse_doubles(topics: &mut Vec<PlannedDeletion>) {
    let id_of = |topic: &PlannedDeletion| topic.plan.as_ref().map_or(topic.id, |(id, _)| *id);
    let name_of = |topic: &PlannedDeletion| topic.name.clone();
    let mut counts: BTreeMap<(TopicId, Option<String>), usize> = BTreeMap::new();
    // What is not there has no id: its name tells it apart.
    let key = |topic: &PlannedDeletion| match id_of(topic) {
        id if id == TopicId::default() => (id, name_of(topic)),
        id => (id, None),
    };
    for topic in topics.iter() {
        *counts.entry(key(topic)).or_default() += 1;
    }
    let mut seen = BTreeSet::new();
    topics.retain(|topic| seen.insert(key(topic)));
    for topic in topics {
        if counts.get(&key(topic)).is_some_and(|count| *count > 1) && is_named(topic) {
            if let Ok((id, name)) = &topic.plan {
                topic.id = *id;
                topic.name = Some(name.to_string());
            }
            topic.plan = Err(TopicError::new(
                ErrorCode::InvalidRequest,
                "The topic is in the request more than once.",
            ));
        }
    }
}

/// One that gives neither a name nor an id is wrong for that.
fn is_named(topic: &PlannedDeletion) -> bool {
    topic.name.is_some() || topic.id != TopicId::default()
}
