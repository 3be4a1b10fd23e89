//! DescribeConfigs: every setting of a topic or broker with its value, its source and what it means.

use std::collections::{BTreeMap, HashSet};

use broker_network::Responses;
use model::config::{self, ConfigKey, ConfigKind, ConfigSource, GROUP_KEYS, Setting, TOPIC_KEYS, Update};
use model::{BrokerId, MetadataImage, TopicName};
use protocol::ErrorCode;
use protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::call::{BadRequest, Call};
use crate::context::BrokerContext;

/// Kafka's `ConfigResource.Type`.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const GROUP: i8 = 32;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: DescribeConfigsRequest = call.decode()?;
    let image = call.broker.metadata.image();
    let description = Description {
        image: &image,
        broker: call.broker,
        request: &request,
    };
    // What is asked for twice is answered once: an answer is a hundred times longer than what asks for it.
    let mut seen = HashSet::new();
    let results = request
        .resources
        .iter()
        .filter(|resource| {
            seen.insert((
                resource.resource_type,
                &resource.resource_name,
                &resource.configuration_keys,
            ))
        })
        .map(|resource| description.of(resource))
        .collect();
    call.answer(
        responses,
        &DescribeConfigsResponse {
            results,
            ..DescribeConfigsResponse::default()
        },
    )
}

struct Description<'a> {
    image: &'a MetadataImage,
    broker: &'a BrokerContext,
    request: &'a DescribeConfigsRequest,
}

impl Description<'_> {
    fn of(&self, resource: &DescribeConfigsResource) -> DescribeConfigsResult {
        let configs = match resource.resource_type {
            TOPIC => self.topic(resource),
            BROKER => self.broker(resource),
            GROUP => self.group(resource),
            BROKER_LOGGER => Err((
                ErrorCode::InvalidRequest,
                "log levels are not shown through Kafka: they are given by --log or BARNABAS_LOG".to_owned(),
            )),
            _ => Err((
                ErrorCode::InvalidRequest,
                format!("resource type {} has no configs", resource.resource_type),
            )),
        };
        let (error_code, error_message, configs) = match configs {
            // No sentence, but not nothing: so Kafka answers.
            Ok(configs) => (0, Some(String::new()), configs),
            Err((code, message)) => (code.code(), Some(message), Vec::new()),
        };
        DescribeConfigsResult {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs,
        }
    }

    fn topic(
        &self,
        resource: &DescribeConfigsResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
        let name = &resource.resource_name;
        if let Err(error) = TopicName::new(name) {
            return Err((ErrorCode::InvalidTopicException, error.to_string()));
        }
        let Some(topic) = self.image.topic_by_name(name) else {
            return Err((ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name}")));
        };
        let described = |key: &&ConfigKey| is_wanted(resource, key.name);
        Ok(TOPIC_KEYS
            .iter()
            .filter(described)
            .map(|key| self.topic_key(key, &topic.config))
            .collect())
    }

    fn broker(
        &self,
        resource: &DescribeConfigsResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
        let name = &resource.resource_name;
        // The empty name means what was set for all brokers while they run, and nothing else (as in Kafka).
        if name.is_empty() {
            let set = self.image.dynamic_config();
            let described = config::cluster_keys()
                .filter(|key| is_wanted(resource, key.cluster_name))
                .filter(|key| key.update != Update::Restart && set.contains_key(key.cluster_name));
            return Ok(described.map(|key| self.cluster_key(key, None)).collect());
        }
        let id = match name.parse().map(BrokerId) {
            Ok(id) if id == self.broker.id || self.image.broker(id).is_some() => id,
            _ => {
                return Err((
                    ErrorCode::InvalidRequest,
                    format!("{name:?} is no broker of this cluster"),
                ));
            }
        };
        let described = config::cluster_keys().filter(|key| is_wanted(resource, key.cluster_name));
        let mut described: Vec<_> = described.map(|key| self.cluster_key(key, Some(id))).collect();
        if id == self.broker.id {
            let identity = self.identity().into_iter();
            described.extend(identity.filter(|config| is_wanted(resource, &config.name)));
        }
        described.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(described)
    }

    fn group(
        &self,
        resource: &DescribeConfigsResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
        if resource.resource_name.is_empty() {
            return Err((ErrorCode::InvalidRequest, "a group must be named".to_owned()));
        }
        let none = BTreeMap::new();
        let own = self
            .image
            .group_configs()
            .get(resource.resource_name.as_str())
            .unwrap_or(&none);
        let described = GROUP_KEYS.iter().filter(|key| is_wanted(resource, key.name));
        Ok(described
            .map(|key| {
                let mut settings = key.settings(self.image.layers(own, None));
                for setting in &mut settings {
                    if setting.source == ConfigSource::Topic {
                        setting.source = ConfigSource::Group;
                    }
                }
                self.result(key, key.name, &settings, false)
            })
            .collect())
    }

    /// What this broker is by its command line.
    fn identity(&self) -> Vec<DescribeConfigsResourceResult> {
        let id = self.broker.id.to_string();
        let listeners: Vec<String> = self
            .broker
            .endpoints
            .iter()
            .map(|endpoint| format!("{}://{}:{}", endpoint.listener, endpoint.host, endpoint.port))
            .collect();
        let listeners = listeners.join(",");
        let (int, string) = (ConfigKind::Int(0, i32::MAX), ConfigKind::Text);
        let each = [
            (
                "advertised.listeners",
                string,
                Some(listeners),
                "Where clients reach this broker, by listener.",
            ),
            ("broker.id", int, Some(id.clone()), "The number of this broker."),
            (
                "broker.rack",
                string,
                self.broker.rack.clone(),
                "The failure domain of this broker.",
            ),
            ("node.id", int, Some(id), "The number of this broker."),
        ];
        each.map(|(name, kind, value, documentation)| DescribeConfigsResourceResult {
            name: name.to_owned(),
            config_source: if value.is_some() {
                ConfigSource::Static
            } else {
                ConfigSource::Default
            }
            .code(),
            value,
            read_only: true,
            is_sensitive: false,
            synonyms: Vec::new(),
            config_type: kind.code(),
            documentation: self.request.include_documentation.then(|| documentation.to_owned()),
        })
        .into()
    }

    fn topic_key(&self, key: &ConfigKey, own: &BTreeMap<String, String>) -> DescribeConfigsResourceResult {
        // As it counts here: what this broker was told for itself hides what holds for the cluster.
        let settings = key.settings(self.image.layers(own, Some(self.broker.id)));
        self.result(key, key.name, &settings, false)
    }

    fn cluster_key(&self, key: &ConfigKey, broker: Option<BrokerId>) -> DescribeConfigsResourceResult {
        let none = BTreeMap::new();
        let mut settings = key.settings(self.image.layers(&none, broker));
        // Of what holds for all brokers only that is told.
        settings.retain(|setting| broker.is_some() || setting.source == ConfigSource::Cluster);
        self.result(key, key.cluster_name, &settings, key.update == Update::Restart)
    }

    fn result(
        &self,
        key: &ConfigKey,
        name: &str,
        settings: &[Setting<'_>],
        read_only: bool,
    ) -> DescribeConfigsResourceResult {
        let counts = settings.first();
        let synonyms = settings.iter().filter(|_| self.request.include_synonyms);
        DescribeConfigsResourceResult {
            name: name.to_owned(),
            value: counts.map(|counts| counts.in_own_unit().into_owned()),
            read_only,
            config_source: counts.map_or(ConfigSource::Default, |counts| counts.source).code(),
            is_sensitive: false,
            synonyms: synonyms.map(synonym).collect(),
            config_type: key.kind.code(),
            documentation: self.request.include_documentation.then(|| key.documentation.to_owned()),
        }
    }
}

fn is_wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    resource
        .configuration_keys
        .as_ref()
        .is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| key == name))
}

fn synonym(setting: &Setting<'_>) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym {
        name: setting.name.to_owned(),
        value: Some(setting.value.to_owned()),
        source: setting.source.code(),
    }
}
