//! What the status of a Topic says.

use std::time::{Duration, Instant};

use controller::{Refusal, TopicState};
use crds::topic::TopicHealth;
use crds::{Topic, TopicStatus};
use k8s_openapi::jiff::Timestamp;
use model::{MetadataImage, TopicImage};
use protocol::ErrorCode;

use super::{PENDING_RETRY, REFUSED_RETRY, RESYNC};
use crate::conditions::{self, READY, Statement, reasons};

/// What the controller said.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// The topic is as asked.
    There(TopicState),
    /// Not yet, for this reason.
    Pending(String),
    /// Not so.
    Refused(Statement),
}

impl Outcome {
    /// From the controller's answer.
    pub(super) fn of(answer: Result<TopicState, Refusal>) -> Self {
        match answer {
            Ok(state) => Self::There(state),
            Err(Refusal::Kafka { code, message }) => Self::Refused(Statement::no(READY, reason(code), message)),
            Err(refusal @ Refusal::InvalidRequest(_)) => {
                Self::Refused(Statement::no(READY, reasons::REFUSED, refusal.to_string()))
            }
            Err(refusal) => Self::Pending(refusal.to_string()),
        }
    }

    /// Whether the controller should be asked again.
    pub(super) fn is_stale(&self, at: Instant, image: &MetadataImage) -> bool {
        match self {
            // A topic that is gone from under its resource is made again.
            Self::There(state) => image.topic(state.id).is_none(),
            Self::Pending(_) => at.elapsed() >= PENDING_RETRY / 2,
            Self::Refused(_) => at.elapsed() >= REFUSED_RETRY / 2,
        }
    }

    /// When to look again if nothing changes.
    pub(super) fn retry_after(&self) -> Duration {
        match self {
            Self::There(_) => RESYNC,
            Self::Pending(_) => PENDING_RETRY,
            Self::Refused(_) => REFUSED_RETRY,
        }
    }
}

/// The whole status.
pub(super) fn status(topic: &Topic, image: &MetadataImage, outcome: &Outcome) -> TopicStatus {
    let mut status = topic.status.clone().unwrap_or_default();
    let found = match outcome {
        Outcome::There(state) => image.topic(state.id),
        // What was refused was a change; what was there before is still shown.
        Outcome::Pending(_) | Outcome::Refused(_) => {
            let id = status.topic_id.as_ref().and_then(|id| id.parse().ok());
            id.and_then(|id| image.topic(id))
        }
    };
    if let Some(found) = found {
        status.topic_name = Some(found.name.to_string());
        status.topic_id = Some(found.id.to_string());
        status.partitions = i32::try_from(found.partitions.len()).ok();
        status.replication_factor = i32::try_from(found.replication_factor()).ok();
        status.health = Some(health(found));
    }
    let statement = match outcome {
        Outcome::There(_) => found.map_or_else(
            || Statement::unknown(READY, reasons::PENDING, "the topic was just made"),
            |found| ready(found),
        ),
        Outcome::Pending(why) => Statement::unknown(READY, reasons::PENDING, why),
        Outcome::Refused(statement) => statement.clone(),
    };
    with_statement(topic, status, &statement)
}

/// The status with that one statement.
pub(super) fn with_statement(topic: &Topic, mut status: TopicStatus, statement: &Statement) -> TopicStatus {
    let generation = topic.metadata.generation;
    status.observed_generation = generation;
    status.conditions = conditions::state(status.conditions, statement, generation, Timestamp::now());
    status
}

fn ready(topic: &TopicImage) -> Statement {
    let health = health(topic);
    let total = topic.partitions.len();
    if health.offline > 0 {
        return Statement::no(
            READY,
            reasons::OFFLINE_PARTITIONS,
            format!("{} of {total} partitions have no leader", health.offline),
        );
    }
    Statement::yes(READY, reasons::RECONCILED, format!("{total} partitions have leaders"))
}

fn health(topic: &TopicImage) -> TopicHealth {
    let mut health = TopicHealth::default();
    for partition in &topic.partitions {
        if partition.leader.is_some() {
            health.online += 1;
        } else {
            health.offline += 1;
        }
        health.under_replicated += i32::from(partition.isr.len() < partition.replicas.len());
    }
    health
}

fn reason(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidConfig => reasons::INVALID_CONFIG,
        ErrorCode::InvalidTopicException | ErrorCode::TopicAlreadyExists => reasons::TOPIC_NAME_CONFLICT,
        _ => reasons::REFUSED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_sentence_and_gets_a_reason() {
        let refused = Outcome::of(Err(Refusal::Kafka {
            code: ErrorCode::InvalidConfig,
            message: "cleanup.policy=compact is not supported yet".to_owned(),
        }));
        let Outcome::Refused(statement) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(statement.reason, reasons::INVALID_CONFIG);
        assert_eq!(statement.message, "cleanup.policy=compact is not supported yet");
    }

    #[test]
    fn what_can_still_come_is_pending_and_asked_again_soon() {
        let pending = Outcome::of(Err(Refusal::LogFull));
        assert!(matches!(pending, Outcome::Pending(_)));
        assert!(pending.retry_after() <= Duration::from_secs(1));
    }
}
