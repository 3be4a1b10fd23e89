//! DescribeConfigs: every setting of a topic or broker with its value, its source and what it means.

use std::collections::BTreeMap;

use broker_network::Responses;
use model::config::{CLUSTER_KEYS, ConfigKey, ConfigKind, ConfigSource, TOPIC_KEYS};
use model::{BrokerId, MetadataImage, TopicName};
use protocol::ErrorCode;
use protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::{BadRequest, Call};

/// Kafka's `ConfigResource.Type`.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Kafka's `ConfigSource`.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_CLUSTER: i8 = 3;
const SOURCE_DEFAULT: i8 = 5;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: DescribeConfigsRequest = call.decode()?;
    let image = call.broker.metadata.image();
    let description = Description {
        image: &image,
        this: call.broker.id,
        request: &request,
    };
    let results = request
        .resources
        .iter()
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
    this: BrokerId,
    request: &'a DescribeConfigsRequest,
}

impl Description<'_> {
    fn of(&self, resource: &DescribeConfigsResource) -> DescribeConfigsResult {
        let configs = match resource.resource_type {
            TOPIC => self.topic(resource),
            BROKER => self.broker(resource),
            _ => Err((
                ErrorCode::InvalidRequest,
                format!("resource type {} has no configs", resource.resource_type),
            )),
        };
        let (error_code, error_message, configs) = match configs {
            Ok(configs) => (0, None, configs),
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
        // The empty name means the cluster's defaults, which are all there is.
        let name = &resource.resource_name;
        if !name.is_empty() {
            match name.parse() {
                Ok(id) if BrokerId(id) == self.this || self.image.broker(BrokerId(id)).is_some() => {}
                _ => {
                    return Err((
                        ErrorCode::InvalidRequest,
                        format!("{name:?} is no broker of this cluster"),
                    ));
                }
            }
        }
        let described = |key: &&ConfigKey| is_wanted(resource, key.cluster_name);
        Ok(TOPIC_KEYS
            .iter()
            .chain(CLUSTER_KEYS)
            .filter(described)
            .map(|key| self.cluster_key(key))
            .collect())
    }

    fn topic_key(&self, key: &ConfigKey, own: &BTreeMap<String, String>) -> DescribeConfigsResourceResult {
        let (value, source) = key.value(self.image.cluster_config(), own);
        let mut synonyms = Vec::new();
        if let Some(value) = own.get(key.name) {
            synonyms.push(synonym(key.name, value, SOURCE_TOPIC));
        }
        synonyms.extend(self.cluster_synonyms(key));
        self.result(key, key.name, value, source, synonyms)
    }

    fn cluster_key(&self, key: &ConfigKey) -> DescribeConfigsResourceResult {
        let none = BTreeMap::new();
        let (value, source) = key.value(self.image.cluster_config(), &none);
        self.result(key, key.cluster_name, value, source, self.cluster_synonyms(key))
    }

    fn cluster_synonyms(&self, key: &ConfigKey) -> Vec<DescribeConfigsSynonym> {
        let set = self.image.cluster_config().get(key.cluster_name);
        let set = set.map(|value| synonym(key.cluster_name, value, SOURCE_CLUSTER));
        set.into_iter()
            .chain([synonym(key.cluster_name, key.default, SOURCE_DEFAULT)])
            .collect()
    }

    fn result(
        &self,
        key: &ConfigKey,
        name: &str,
        value: &str,
        source: ConfigSource,
        synonyms: Vec<DescribeConfigsSynonym>,
    ) -> DescribeConfigsResourceResult {
        DescribeConfigsResourceResult {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            // Settings belong to topics and to the cluster; none is changed on one broker.
            read_only: false,
            config_source: match source {
                ConfigSource::Topic => SOURCE_TOPIC,
                ConfigSource::Cluster => SOURCE_CLUSTER,
                ConfigSource::Default => SOURCE_DEFAULT,
            },
            is_sensitive: false,
            synonyms: if self.request.include_synonyms {
                synonyms
            } else {
                Vec::new()
            },
            config_type: config_type(key.kind),
            documentation: self.request.include_documentation.then(|| key.documentation.to_owned()),
        }
    }
}

fn is_wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    resource
        .configuration_keys
        .as_ref()
        .is_none_or(|keys| keys.iter().any(|key| key == name))
}

fn synonym(name: &str, value: &str, source: i8) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        source,
    }
}

/// Kafka's `ConfigType`.
fn config_type(kind: ConfigKind) -> i8 {
    match kind {
        ConfigKind::Boolean => 1,
        ConfigKind::Choice(..) => 2,
        ConfigKind::Int(..) => 3,
        ConfigKind::Long(..) => 5,
        ConfigKind::Double(..) => 6,
    }
}
