//! Topics as resources describe them: created, grown, configured, removed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::record::{ConfigSet, PartitionsAdded, TopicRemoved};
use model::{BrokerId, ConfigScope, MetadataImage, PartitionIndex, TopicId, TopicImage, config};
use protocol::ErrorCode;

use super::{TopicRequest, create, plan};
use crate::append::Appender;
use crate::effect::{Refusal, TopicState};
use crate::entropy::Entropy;
use crate::input::DesiredTopic;
use crate::partitions;
use crate::topic_error::TopicError;

/// Lets new topics wait until the brokers are there that they should be spread over.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) expected_brokers: usize,
    pub(crate) patience: Duration,
    waiting_since: Option<Duration>,
}

impl Gate {
    pub(crate) fn new(expected_brokers: usize, patience: Duration) -> Self {
        Self {
            expected_brokers,
            patience,
            waiting_since: None,
        }
    }

    /// Whether a topic may be placed now. Brokers may be missing for long, so the wait is bounded.
    fn admit(&mut self, now: Duration, image: &MetadataImage, patience: Option<Duration>) -> Result<(), Refusal> {
        let there = image.brokers().values().filter(|broker| broker.is_eligible()).count();
        if there >= self.expected_brokers {
            self.waiting_since = None;
            return Ok(());
        }
        let since = *self.waiting_since.get_or_insert(now);
        let patience = patience.map_or(self.patience, |patience| patience.min(self.patience));
        if there > 0 && now >= since + patience {
            return Ok(());
        }
        Err(Refusal::Pending(format!(
            "{there} of {} brokers are up, the topic is placed when all are",
            self.expected_brokers
        )))
    }
}

/// Makes a topic as it should be.
pub(crate) fn desire(
    now: Duration,
    desired: &DesiredTopic,
    gate: &mut Gate,
    without: &BTreeSet<BrokerId>,
    log: &mut Appender,
    entropy: &mut Entropy,
) -> Result<TopicState, Refusal> {
    let existing = log.latest().topic_by_name(desired.name.as_str()).cloned();
    let id = if let Some(topic) = existing {
        change(desired, &topic, without, log)?;
        topic.id
    } else {
        let request = TopicRequest {
            name: desired.name.as_str(),
            partitions: if desired.assignment.is_some() {
                -1
            } else {
                desired.partitions.unwrap_or(-1)
            },
            replication_factor: if desired.assignment.is_some() {
                -1
            } else {
                desired.replication_factor.unwrap_or(-1)
            },
            assignment: desired.assignment.clone(),
            config: desired.config.clone(),
        };
        // What could never be is said at once, however many brokers are missing.
        check_static(log.latest(), &request, gate.expected_brokers)?;
        gate.admit(now, log.latest(), desired.patience)?;
        log.admit()?;
        let topic = plan(log.latest(), &request, without)?;
        create(log, entropy, topic)?
    };
    let unknown = || Refusal::InvalidRequest(format!("topic {} could not be made", desired.name));
    let topic = log.latest().topic(id).ok_or_else(unknown)?;
    Ok(TopicState {
        id,
        partitions: topic.partitions.len() as i32,
        replication_factor: topic.target_replication_factor() as i16,
    })
}

/// Removes a topic; a tombstone stays (METADATA 25). One that is not there is removed already.
pub(crate) fn remove(id: TopicId, log: &mut Appender) -> Result<(), Refusal> {
    if log.latest().topic(id).is_some() {
        log.admit()?;
        log.propose(TopicRemoved { id })?;
    }
    Ok(())
}

/// Makes the cluster's configuration as it should be, with the defaults of a cluster of so many brokers. They stay as long
/// as the brokers are there: a scale-down that cannot be done makes no acknowledgement weaker.
pub(crate) fn configure_cluster(
    wanted: &BTreeMap<String, String>,
    brokers: usize,
    log: &mut Appender,
) -> Result<(), Refusal> {
    let size = brokers.max(log.latest().brokers().len());
    configure_static(&config::defaults_of_size(size), log)?;
    let wanted = config::check_cluster(wanted).map_err(TopicError::from)?;
    set_config(
        ConfigScope::Cluster,
        &log.latest().dynamic_config().clone(),
        &wanted,
        log,
    )
}

/// Makes what the command line says for the whole cluster as it should be.
pub(crate) fn configure_static(wanted: &BTreeMap<String, String>, log: &mut Appender) -> Result<(), Refusal> {
    let wanted = config::check_cluster(wanted).map_err(TopicError::from)?;
    set_config(ConfigScope::Static, &log.latest().static_config().clone(), &wanted, log)
}

fn check_static(image: &MetadataImage, request: &TopicRequest<'_>, expected: usize) -> Result<(), TopicError> {
    config::check_topic(&request.config)?;
    if request.assignment.is_none() {
        let factor = super::resolve_replication_factor(image, request.name, request.replication_factor)?;
        let brokers = image.brokers().len().max(expected);
        if factor as usize > brokers {
            let message = format!("Replication factor was {factor}: the cluster has {brokers} broker(s).");
            return Err(TopicError::new(ErrorCode::InvalidReplicationFactor, message));
        }
        super::resolve_partitions(image, request.partitions)?;
    }
    Ok(())
}

fn change(
    desired: &DesiredTopic,
    topic: &TopicImage,
    without: &BTreeSet<BrokerId>,
    log: &mut Appender,
) -> Result<(), Refusal> {
    let wanted = config::check_topic(&desired.config).map_err(TopicError::from)?;
    let has = topic.partitions.len() as i32;
    let wants = match &desired.assignment {
        Some(lists) => lists.len() as i32,
        None => desired.partitions.unwrap_or(has),
    };
    let name = &topic.name;
    if wants < has {
        let message = format!("Topic {name} has {has} partitions, {wants} were asked for: partitions can only grow.");
        return Err(TopicError::new(ErrorCode::InvalidPartitions, message).into());
    }
    let factor = topic.target_replication_factor() as i16;
    // One that no topic may have is refused before anything changes.
    if let Some(asked) = desired.replication_factor.filter(|asked| *asked != factor) {
        super::resolve_replication_factor(log.latest(), name.as_str(), asked)?;
        let brokers = log.latest().brokers().keys().filter(|id| !without.contains(id)).count();
        if asked as usize > brokers {
            let message = format!("Replication factor was {asked}: the cluster has {brokers} broker(s).");
            return Err(TopicError::new(ErrorCode::InvalidReplicationFactor, message).into());
        }
    }
    if let Some(lists) = &desired.assignment {
        check_unmoved(topic, lists)?;
    }
    if wants > has {
        super::resolve_partitions(log.latest(), wants)?;
        log.admit()?;
        let added = (wants - has) as usize;
        let assignment = match &desired.assignment {
            Some(lists) => super::check_lists(log.latest(), lists.get(has as usize..).unwrap_or_default())?,
            None => super::place(log.latest(), Some(topic), added, factor.max(1) as usize, without)?,
        };
        log.propose(PartitionsAdded {
            topic: topic.id,
            assignment,
        })?;
    }
    set_config(ConfigScope::Topic(topic.id), &topic.config, &wanted, log)?;
    match desired.replication_factor {
        Some(asked) => partitions::factor::change(log, topic.id, asked as usize, without),
        None => Ok(()),
    }
}

fn check_unmoved(topic: &TopicImage, lists: &[Vec<BrokerId>]) -> Result<(), TopicError> {
    let moved = |(index, list): (usize, &Vec<BrokerId>)| {
        topic
            .partition(PartitionIndex(index as i32))
            .is_some_and(|partition| partition.replicas != *list)
    };
    match lists.iter().enumerate().position(moved) {
        Some(index) => {
            let message = format!(
                "Partition {index} of topic {} is assigned otherwise: what is there is moved by a reassignment.",
                topic.name
            );
            Err(TopicError::new(ErrorCode::InvalidReplicaAssignment, message))
        }
        None => Ok(()),
    }
}

fn set_config(
    scope: ConfigScope,
    has: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
    log: &mut Appender,
) -> Result<(), Refusal> {
    let changed = wanted.iter().filter(|(key, value)| has.get(*key) != Some(*value));
    let mut entries: BTreeMap<_, _> = changed.map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    entries.extend(
        has.keys()
            .filter(|key| !wanted.contains_key(*key))
            .map(|key| (key.clone(), None)),
    );
    if !entries.is_empty() {
        log.admit()?;
        log.propose(ConfigSet { scope, entries })?;
    }
    Ok(())
}
