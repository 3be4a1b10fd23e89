//! AlterConfigs and IncrementalAlterConfigs: two requests, one plan of changes.

use std::collections::{BTreeMap, BTreeSet};

use model::config::{self, ConfigKey, Update};
use model::record::ConfigSet;
use model::{BrokerId, ConfigScope, GroupName, MetadataImage, TopicName};
use protocol::messages::{alter_configs as legacy, incremental_alter_configs as incremental};
use protocol::{ApiKey, ErrorCode, Message, Reader};

use crate::append::Appender;
use crate::effect::Refusal;
use crate::input::{AdminRequest, Version};
use crate::topic_error::TopicError;

/// Kafka's `ConfigResource.Type`.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const GROUP: i8 = 32;

/// A decoded request, with what would happen to each resource.
#[derive(Debug, Clone)]
pub struct AlterPlan {
    api: ApiKey,
    version: Version,
    /// Nothing is to be changed, only checked.
    pub validate_only: bool,
    /// The resources in the request's order.
    pub resources: Vec<PlannedAlteration>,
}

/// One resource of a plan.
#[derive(Debug, Clone)]
pub struct PlannedAlteration {
    resource_type: i8,
    name: String,
    /// What is to be changed, or why it cannot be.
    pub plan: Result<Alteration, TopicError>,
}

/// A change of one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alteration {
    /// Whose.
    pub scope: ConfigScope,
    /// Only what differs from now, in canonical form; `None` takes a key back to its default.
    pub entries: BTreeMap<String, Option<String>>,
}

impl Alteration {
    /// Whether the image is as this wants it.
    pub fn is_done(&self, image: &MetadataImage) -> bool {
        let nothing = BTreeMap::new();
        let has = match &self.scope {
            ConfigScope::Topic(id) => image.topic(*id).map(|topic| &topic.config),
            ConfigScope::Broker(id) => Some(image.broker_config(*id).unwrap_or(&nothing)),
            ConfigScope::Group(group) => Some(image.group_configs().get(group).unwrap_or(&nothing)),
            ConfigScope::Cluster => Some(image.dynamic_config()),
            ConfigScope::Static => Some(image.static_config()),
        };
        // Of a topic that is gone nothing is wanted any more.
        has.is_none_or(|has| self.entries.iter().all(|(key, value)| has.get(key) == value.as_ref()))
    }
}

/// A resource as either request names it.
struct Asked {
    resource_type: i8,
    name: String,
    changes: Vec<Change>,
}

/// One key of a resource.
struct Change {
    name: String,
    operation: Result<Operation, i8>,
    value: Option<String>,
}

/// Kafka's `AlterConfigOp.OpType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Set,
    Delete,
    Append,
    Subtract,
}

impl AlterPlan {
    /// Decodes a request of either kind and checks each resource against the image.
    pub fn decode(image: &MetadataImage, api: ApiKey, version: Version, body: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(body);
        let (asked, validate_only) = if api == ApiKey::AlterConfigs {
            let request = legacy::AlterConfigsRequest::decode(&mut reader, version)?;
            let asked = request.resources.into_iter().map(Asked::whole).collect();
            (asked, request.validate_only)
        } else {
            let request = incremental::IncrementalAlterConfigsRequest::decode(&mut reader, version)?;
            let asked: Vec<_> = request.resources.into_iter().map(Asked::piecewise).collect();
            (asked, request.validate_only)
        };
        let mut counts: BTreeMap<(i8, &str), usize> = BTreeMap::new();
        for resource in &asked {
            *counts.entry(resource.id()).or_default() += 1;
        }
        let plans: Vec<_> = asked
            .iter()
            .map(|resource| {
                if counts.get(&resource.id()).is_some_and(|count| *count > 1) {
                    return invalid("Each resource may be in a request only once.");
                }
                resource.plan(image, api == ApiKey::AlterConfigs)
            })
            .collect();
        let resources = asked.into_iter().zip(plans).map(|(asked, plan)| PlannedAlteration {
            resource_type: asked.resource_type,
            name: asked.name,
            plan,
        });
        Ok(Self {
            api,
            version,
            validate_only,
            resources: resources.collect(),
        })
    }

    /// Encodes the response: an outcome for each resource of the plan, in its order. Where the plan itself has an error,
    /// that is what counts; with `validate_only`, outcomes are not looked at.
    pub fn respond(&self, outcomes: &[Result<(), TopicError>]) -> Result<Vec<u8>, Refusal> {
        let missing = Err(TopicError::new(
            ErrorCode::UnknownServerError,
            "The configuration was not changed.",
        ));
        let results = self.resources.iter().enumerate().map(|(at, resource)| {
            let error = match (&resource.plan, self.validate_only) {
                (Err(error), _) => Some(error),
                (Ok(_), true) => None,
                (Ok(_), false) => outcomes.get(at).unwrap_or(&missing).as_ref().err(),
            };
            let code = error.map_or(0, |error| error.code.code());
            let message = error.map(|error| error.message.clone());
            (code, message, resource.resource_type, resource.name.clone())
        });
        let mut body = Vec::new();
        if self.api == ApiKey::AlterConfigs {
            let responses = results.map(|(error_code, error_message, resource_type, resource_name)| {
                legacy::AlterConfigsResourceResponse {
                    error_code,
                    error_message,
                    resource_type,
                    resource_name,
                }
            });
            let response = legacy::AlterConfigsResponse {
                responses: responses.collect(),
                ..legacy::AlterConfigsResponse::default()
            };
            response.encode(&mut body, self.version)?;
        } else {
            let responses = results.map(|(error_code, error_message, resource_type, resource_name)| {
                incremental::AlterConfigsResourceResponse {
                    error_code,
                    error_message,
                    resource_type,
                    resource_name,
                }
            });
            let response = incremental::IncrementalAlterConfigsResponse {
                responses: responses.collect(),
                ..incremental::IncrementalAlterConfigsResponse::default()
            };
            response.encode(&mut body, self.version)?;
        }
        Ok(body)
    }
}

pub(super) fn handle(request: &AdminRequest, api: ApiKey, log: &mut Appender) -> Result<Vec<u8>, Refusal> {
    let plan = AlterPlan::decode(log.latest(), api, request.api_version, &request.body)?;
    let mut outcomes = Vec::with_capacity(plan.resources.len());
    if !plan.validate_only {
        for resource in &plan.resources {
            outcomes.push(match &resource.plan {
                Ok(alteration) => alter(log, alteration).map_err(TopicError::from),
                Err(error) => Err(error.clone()),
            });
        }
    }
    plan.respond(&outcomes)
}

fn alter(log: &mut Appender, alteration: &Alteration) -> Result<(), Refusal> {
    // What is so already needs no record.
    if !alteration.entries.is_empty() {
        log.admit()?;
        log.propose(ConfigSet {
            scope: alteration.scope.clone(),
            entries: alteration.entries.clone(),
        })?;
    }
    Ok(())
}

impl Asked {
    fn whole(resource: legacy::AlterConfigsResource) -> Self {
        let changes = resource.configs.into_iter().map(|config| Change {
            name: config.name,
            operation: Ok(Operation::Set),
            value: config.value,
        });
        Self {
            resource_type: resource.resource_type,
            changes: changes.collect(),
            name: resource.resource_name,
        }
    }

    fn piecewise(resource: incremental::AlterConfigsResource) -> Self {
        let changes = resource.configs.into_iter().map(|config| Change {
            name: config.name,
            operation: Operation::of(config.config_operation),
            value: config.value,
        });
        Self {
            resource_type: resource.resource_type,
            changes: changes.collect(),
            name: resource.resource_name,
        }
    }

    fn id(&self) -> (i8, &str) {
        (self.resource_type, &self.name)
    }

    /// Checks in Kafka's order: first the form of the request, then the values, then whether there is such a resource.
    fn plan(&self, image: &MetadataImage, whole: bool) -> Result<Alteration, TopicError> {
        self.check_form()?;
        match self.resource_type {
            TOPIC => self.plan_topic(image, whole),
            BROKER => self.plan_broker(image, whole),
            BROKER_LOGGER => {
                invalid("Log levels are not changed through Kafka: start the broker with --log or BARNABAS_LOG.")
            }
            GROUP => self.plan_group(image, whole),
            other => invalid(format!("Resources of type {other} have no configuration here.")),
        }
    }

    fn check_form(&self) -> Result<(), TopicError> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.changes.iter().find(|change| !seen.insert(&change.name)) {
            return invalid(format!("Config {} is in the request more than once.", twice.name));
        }
        for change in &self.changes {
            match change.operation {
                Err(unknown) => return invalid(format!("There is no config operation {unknown}.")),
                Ok(Operation::Delete) => {}
                Ok(_) if change.value.is_none() => {
                    return invalid(format!("Config {} has no value.", change.name));
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    fn plan_topic(&self, image: &MetadataImage, whole: bool) -> Result<Alteration, TopicError> {
        if self.name.is_empty() {
            return invalid("A topic must be named: there is no default of all topics here.");
        }
        TopicName::new(&self.name)?;
        let topic = image.topic_by_name(&self.name);
        let nothing = BTreeMap::new();
        let has = topic.map_or(&nothing, |topic| &topic.config);
        let entries = self.entries(has, whole, config::topic_key, |change, value| {
            Ok(config::check_topic_entry(&change.name, value)?)
        })?;
        config::check_topic_as_a_whole(&after(has, &entries))?;
        let Some(topic) = topic else {
            return Err(TopicError::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("There is no topic '{}'.", self.name),
            ));
        };
        Ok(Alteration {
            scope: ConfigScope::Topic(topic.id),
            entries,
        })
    }

    fn plan_broker(&self, image: &MetadataImage, whole: bool) -> Result<Alteration, TopicError> {
        let nothing = BTreeMap::new();
        let (scope, has) = if self.name.is_empty() {
            (ConfigScope::Cluster, image.dynamic_config())
        } else {
            match self.name.parse().map(BrokerId) {
                Ok(id) if image.broker(id).is_some() => {
                    (ConfigScope::Broker(id), image.broker_config(id).unwrap_or(&nothing))
                }
                Ok(id) => return invalid(format!("Broker {id} is not registered.")),
                Err(_) => return invalid(format!("{:?} is no broker id.", self.name)),
            }
        };
        let entries = self.entries(has, whole, config::cluster_key, |change, value| {
            self.check_broker_entry(change, value)
        })?;
        Ok(Alteration { scope, entries })
    }

    fn plan_group(&self, image: &MetadataImage, whole: bool) -> Result<Alteration, TopicError> {
        let Some(group) = GroupName::new(&self.name) else {
            return invalid("A group must be named: the default of all groups is that of the brokers.");
        };
        let nothing = BTreeMap::new();
        let has = image.group_configs().get(&group).unwrap_or(&nothing);
        let entries = self.entries(has, whole, config::group_key, |change, value| {
            let Some(key) = config::group_key(&change.name) else {
                return Err(config::unknown_group_key(&change.name).into());
            };
            Ok((key.name.to_owned(), key.check(value)?))
        })?;
        config::check_group(image.cluster_config(), &after(has, &entries))?;
        Ok(Alteration {
            scope: ConfigScope::Group(group),
            entries,
        })
    }

    fn check_broker_entry(&self, change: &Change, value: &str) -> Result<(String, String), TopicError> {
        let Some(key) = config::cluster_key(&change.name) else {
            return Err(config::unknown_cluster_key(&change.name).into());
        };
        match key.update {
            Update::Restart => {
                return invalid(format!(
                    "Config {} does not change while a broker runs: set it where the broker is started.",
                    change.name
                ));
            }
            Update::Cluster if !self.name.is_empty() => {
                let message = format!(
                    "Config {} belongs to the whole cluster, not to one broker.",
                    change.name
                );
                return Err(TopicError::new(ErrorCode::InvalidConfig, message));
            }
            Update::Cluster | Update::Broker => {}
        }
        // Kafka calls a wrong value of a broker an invalid request; that it cannot be here yet is another thing.
        key.check_default(value)
            .map(|value| (key.cluster_name.to_owned(), value))
            .map_err(|error| match error {
                config::ConfigError::Invalid { .. } => TopicError::new(ErrorCode::InvalidRequest, error.to_string()),
                other => other.into(),
            })
    }

    /// What differs from `has` afterwards.
    fn entries(
        &self,
        has: &BTreeMap<String, String>,
        whole: bool,
        find: impl Fn(&str) -> Option<&'static ConfigKey>,
        check: impl Fn(&Change, &str) -> Result<(String, String), TopicError>,
    ) -> Result<BTreeMap<String, Option<String>>, TopicError> {
        let mut entries = BTreeMap::new();
        for change in &self.changes {
            let value = change.value.as_deref().unwrap_or_default();
            let wanted = match change.operation {
                Ok(Operation::Set) | Err(_) => Some(value.to_owned()),
                Ok(Operation::Delete) => None,
                Ok(Operation::Append) => Some(appended(&list(change, has, &find)?, value)),
                Ok(Operation::Subtract) => Some(subtracted(&list(change, has, &find)?, value)),
            };
            match wanted {
                Some(wanted) => {
                    let (name, value) = check(change, &wanted)?;
                    entries.insert(name, Some(value));
                }
                None => {
                    entries.insert(change.name.clone(), None);
                }
            }
        }
        if whole {
            let absent = has.keys().filter(|key| !entries.contains_key(*key)).cloned();
            let absent: Vec<_> = absent.map(|key| (key, None)).collect();
            entries.extend(absent);
        }
        entries.retain(|key, value| has.get(key) != value.as_ref());
        Ok(entries)
    }
}

impl Operation {
    fn of(code: i8) -> Result<Self, i8> {
        match code {
            0 => Ok(Self::Set),
            1 => Ok(Self::Delete),
            2 => Ok(Self::Append),
            3 => Ok(Self::Subtract),
            other => Err(other),
        }
    }
}

/// The list that an element is added to or taken from: what is set, else the default.
fn list(
    change: &Change,
    has: &BTreeMap<String, String>,
    find: impl Fn(&str) -> Option<&'static ConfigKey>,
) -> Result<Vec<String>, TopicError> {
    let Some(key) = find(&change.name).filter(|key| key.kind.is_list()) else {
        let message = format!("Config {} is no list: set it as a whole.", change.name);
        return Err(TopicError::new(ErrorCode::InvalidConfig, message));
    };
    let value = has.get(&change.name).map_or(key.default, String::as_str);
    Ok(elements(value))
}

/// What a resource has when the entries are set, or removed where they have no value.
fn after(has: &BTreeMap<String, String>, entries: &BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
    let mut after = has.clone();
    for (key, value) in entries {
        match value {
            Some(value) => after.insert(key.clone(), value.clone()),
            None => after.remove(key),
        };
    }
    after
}

fn elements(value: &str) -> Vec<String> {
    let words = value.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

fn appended(has: &[String], more: &str) -> String {
    let mut all = has.to_vec();
    all.extend(elements(more).into_iter().filter(|word| !has.contains(word)));
    all.join(",")
}

fn subtracted(has: &[String], less: &str) -> String {
    let less = elements(less);
    let left: Vec<_> = has.iter().filter(|word| !less.contains(word)).cloned().collect();
    left.join(",")
}

fn invalid<T>(message: impl Into<String>) -> Result<T, TopicError> {
    Err(TopicError::new(ErrorCode::InvalidRequest, message))
}

#[cfg(test)]
mod tests;
