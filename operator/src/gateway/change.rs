//! Changes of what is there: partitions and configuration, written into the resource that describes them and then made
//! the way of every such resource. A field that somebody else owns is not changed.

use bytes::Bytes;
use control::{AdminRequest, Refusal};
use controller::admin::{AlterPlan, Alteration, GrowPlan, Growth};
use controller::topic_error::TopicError;
use controller_host::{ControllerHandle, Forwarded};
use crds::{Cluster, Topic};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use model::{ConfigScope, GroupName, TopicId};
use protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use protocol::{ApiKey, ErrorCode, Message as _, Reader, Request as _};
use serde_json::{Map, Value, json};
use tracing::info;

use super::ownership::owner;
use super::{Gateway, PATIENCE, invalid, refused, unavailable};
use crate::error::is_conflict;
use crate::names::KAFKA_API_MANAGER;

/// Somebody else may change the resource at the same time; more often than this it is left to the client.
const ATTEMPTS: usize = 4;

impl Gateway {
    pub(super) async fn grow(&self, forwarded: Forwarded) -> Result<Bytes, Refusal> {
        let Forwarded { request, controller } = forwarded;
        let image = controller.image().borrow().clone();
        let plan = GrowPlan::decode(&image, request.api_version, &request.body).map_err(|error| invalid(&error))?;
        let mut outcomes = Vec::with_capacity(plan.topics.len());
        for topic in &plan.topics {
            outcomes.push(match &topic.plan {
                Err(error) => Err(error.clone()),
                Ok(_) if plan.validate_only => Ok(()),
                Ok(growth) => self.grow_one(&controller, growth, &request.principal).await,
            });
        }
        Ok(plan.respond(&outcomes).map_err(|error| invalid(&error))?.into())
    }

    async fn grow_one(
        &self,
        controller: &ControllerHandle,
        growth: &Growth,
        principal: &str,
    ) -> Result<(), TopicError> {
        let name = growth.name.as_str();
        let spec = json!({"partitions": growth.count});
        let changed = self
            .change_topic(growth.id, name, spec, |topic| {
                check_owner(topic, name, &["spec", "partitions"], "the number of partitions")
            })
            .await?;
        info!(
            topic = name,
            partitions = growth.count,
            principal,
            "a Kafka client added partitions"
        );
        self.ensure(controller, &changed, growth.assignment.clone()).await
    }

    pub(super) async fn alter(&self, forwarded: Forwarded, api: ApiKey) -> Result<Bytes, Refusal> {
        let Forwarded { request, controller } = forwarded;
        let image = controller.image().borrow().clone();
        let plan =
            AlterPlan::decode(&image, api, request.api_version, &request.body).map_err(|error| invalid(&error))?;
        let mut outcomes = Vec::with_capacity(plan.resources.len());
        for resource in &plan.resources {
            outcomes.push(match &resource.plan {
                Err(error) => Err(error.clone()),
                Ok(_) if plan.validate_only => Ok(()),
                // What is so already needs nobody's permission.
                Ok(alteration) if alteration.entries.is_empty() => Ok(()),
                Ok(alteration) => match &alteration.scope {
                    // No resource describes a group: what clients say of it is the whole truth.
                    ConfigScope::Group(group) => alter_group(&controller, &request, group, alteration).await,
                    _ => self.alter_one(&controller, alteration, &request.principal).await,
                },
            });
        }
        Ok(plan.respond(&outcomes).map_err(|error| invalid(&error))?.into())
    }

    async fn alter_one(
        &self,
        controller: &ControllerHandle,
        alteration: &Alteration,
        principal: &str,
    ) -> Result<(), TopicError> {
        let spec = json!({"config": entries(alteration)});
        match alteration.scope {
            ConfigScope::Topic(id) => {
                let image = controller.image().borrow().clone();
                let Some(topic) = image.topic(id) else {
                    let code = ErrorCode::UnknownTopicOrPartition;
                    return Err(refused(code, code.text()));
                };
                let name = topic.name.as_str();
                let changed = self
                    .change_topic(id, name, spec, |topic| {
                        alteration
                            .entries
                            .keys()
                            .try_for_each(|key| check_owner(topic, name, &["spec", "config", key], key))
                    })
                    .await?;
                info!(topic = name, principal, "a Kafka client changed a configuration");
                self.ensure(controller, &changed, None).await
            }
            ConfigScope::Cluster => {
                let changed = self.change_cluster(alteration, spec).await?;
                info!(principal, "a Kafka client changed the configuration of the cluster");
                let brokers = usize::try_from(changed.spec.replicas).unwrap_or(1);
                let config = crate::cluster::wanted_config(&changed);
                let done = controller.desired_cluster(config, brokers).await;
                done.map_err(|refusal| refused(ErrorCode::RequestTimedOut, refusal.to_string()))
            }
            ConfigScope::Broker(_) | ConfigScope::Group(_) | ConfigScope::Static => Err(refused(
                ErrorCode::PolicyViolation,
                "the brokers of a cluster on Kubernetes are configured together: change the default of all brokers, or spec.config of the Cluster",
            )),
        }
    }

    /// The topic as its resource now says; whoever is first appends, the reconciler or this.
    async fn ensure(
        &self,
        controller: &ControllerHandle,
        topic: &Topic,
        assignment: Option<Vec<Vec<model::BrokerId>>>,
    ) -> Result<(), TopicError> {
        let Some(mut desired) = crate::topic::desired(topic) else {
            return Err(refused(
                ErrorCode::InvalidTopicException,
                "the resource has no legal topic name",
            ));
        };
        desired.assignment = assignment;
        desired.patience = Some(PATIENCE);
        match controller.desired_topic(desired).await {
            Ok(_) => Ok(()),
            Err(controller::Refusal::Kafka { code, message }) => Err(refused(code, message)),
            // It is on record now and comes when it can.
            Err(refusal) => Err(refused(ErrorCode::RequestTimedOut, refusal.to_string())),
        }
    }

    /// Writes into the spec of the Topic that describes a topic, if `check` allows it for the Topic as it is at that moment.
    async fn change_topic(
        &self,
        id: TopicId,
        name: &str,
        spec: Value,
        check: impl Fn(&Topic) -> Result<(), TopicError>,
    ) -> Result<Topic, TopicError> {
        let object = self.object_of(id, name).await?;
        for _ in 0..ATTEMPTS {
            let there = self
                .topics()
                .get_opt(&object)
                .await
                .map_err(|error| unavailable(&error))?;
            let Some(there) = there.filter(|there| self.describes(there, id, name)) else {
                break;
            };
            check(&there)?;
            let patch = json!({
                "metadata": {"resourceVersion": there.resource_version()},
                "spec": spec,
            });
            match self.topics().patch(&object, &by_kafka(), &Patch::Merge(&patch)).await {
                Ok(changed) => return Ok(changed),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(refused(
            ErrorCode::RequestTimedOut,
            format!("Topic {object} is being changed by somebody else: try again"),
        ))
    }

    async fn change_cluster(&self, alteration: &Alteration, spec: Value) -> Result<Cluster, TopicError> {
        let clusters: Api<Cluster> = Api::namespaced(self.context.client.clone(), &self.names.namespace);
        let object = &self.names.cluster;
        for _ in 0..ATTEMPTS {
            let there = clusters.get(object).await.map_err(|error| unavailable(&error))?;
            for key in alteration.entries.keys() {
                if let Some(owner) = owner(&there.metadata, &["spec", "config", key]) {
                    let message = format!("{key} is set in Cluster {object} by {owner}: change it there");
                    return Err(refused(ErrorCode::PolicyViolation, message));
                }
            }
            let patch = json!({
                "metadata": {"resourceVersion": there.resource_version()},
                "spec": spec,
            });
            match clusters.patch(object, &by_kafka(), &Patch::Merge(&patch)).await {
                Ok(changed) => return Ok(changed),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(refused(
            ErrorCode::RequestTimedOut,
            format!("Cluster {object} is being changed by somebody else: try again"),
        ))
    }

    /// The name of the object that describes a topic.
    async fn object_of(&self, id: TopicId, name: &str) -> Result<String, TopicError> {
        if let Some(known) = self.resource_of(id, name).await? {
            return Ok(known.name_any());
        }
        Err(refused(
            ErrorCode::PolicyViolation,
            format!(
                "topic '{name}' has no Topic resource because its data was kept when that was deleted: create a Topic of that name"
            ),
        ))
    }

    pub(super) fn describes(&self, topic: &Topic, id: TopicId, name: &str) -> bool {
        let known = topic.status.as_ref().and_then(|status| status.topic_id.as_deref());
        topic.spec.cluster_ref.name == self.names.cluster
            && topic.topic_name() == name
            && known.is_none_or(|known| known == id.to_string())
    }
}

/// The design's rule of ownership: what Git or kubectl says is not changed behind their back.
fn check_owner(topic: &Topic, name: &str, path: &[&str], what: &str) -> Result<(), TopicError> {
    match owner(&topic.metadata, path) {
        Some(owner) => {
            let object = topic.name_any();
            let message = format!("{what} of topic '{name}' is set in Topic {object} by {owner}: change it there");
            Err(refused(ErrorCode::PolicyViolation, message))
        }
        None => Ok(()),
    }
}

/// Decided by the controller itself: there is no other truth of a group.
async fn alter_group(
    controller: &ControllerHandle,
    request: &AdminRequest,
    group: &GroupName,
    alteration: &Alteration,
) -> Result<(), TopicError> {
    /// Kafka's `ConfigResource.Type`.
    const GROUP: i8 = 32;
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    let changes = alteration.entries.iter().map(|(name, value)| AlterableConfig {
        name: name.clone(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.clone(),
    });
    let change = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: GROUP,
            resource_name: group.as_str().to_owned(),
            configs: changes.collect(),
        }],
        validate_only: false,
    };
    let version = IncrementalAlterConfigsRequest::VERSIONS.max;
    let mut body = Vec::new();
    let unspeakable = |error: &dyn std::fmt::Display| refused(ErrorCode::UnknownServerError, error.to_string());
    change.encode(&mut body, version).map_err(|error| unspeakable(&error))?;
    let request = AdminRequest {
        api_key: ApiKey::IncrementalAlterConfigs.code(),
        api_version: version,
        body: body.into(),
        ..request.clone()
    };
    let answer = controller.admin(request).await;
    let answer = answer.map_err(|refusal| refused(ErrorCode::RequestTimedOut, refusal.to_string()))?;
    let answer = IncrementalAlterConfigsResponse::decode(&mut Reader::new(&answer), version);
    let answer = answer.map_err(|error| unspeakable(&error))?;
    let refusal = answer.responses.into_iter().find(|one| one.error_code != 0);
    refusal.map_or(Ok(()), |one| {
        let code = ErrorCode::from_code(one.error_code).unwrap_or(ErrorCode::UnknownServerError);
        Err(refused(code, one.error_message.unwrap_or_default()))
    })
}

/// As JSON merge patch has it: null takes a key away.
fn entries(alteration: &Alteration) -> Map<String, Value> {
    let each = alteration
        .entries
        .iter()
        .map(|(key, value)| (key.clone(), value.clone().map_or(Value::Null, Value::String)));
    each.collect()
}

fn by_kafka() -> PatchParams {
    PatchParams {
        field_manager: Some(KAFKA_API_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_owner_and_the_object() {
        let mut topic: Topic = Topic::new(
            "letters",
            serde_json::from_value(json!({"clusterRef": {"name": "castle"}})).unwrap(),
        );
        assert_eq!(
            check_owner(&topic, "letters", &["spec", "config", "flush.ms"], "flush.ms"),
            Ok(())
        );
        topic.metadata.managed_fields = serde_json::from_value(json!([
            {"manager": "argocd", "fieldsV1": {"f:spec": {"f:config": {"f:flush.ms": {}}}}},
        ]))
        .unwrap();
        let error = check_owner(&topic, "letters", &["spec", "config", "flush.ms"], "flush.ms").unwrap_err();
        assert_eq!(error.code, ErrorCode::PolicyViolation);
        assert_eq!(
            error.message,
            "flush.ms of topic 'letters' is set in Topic letters by argocd: change it there"
        );
        assert_eq!(
            check_owner(&topic, "letters", &["spec", "partitions"], "partitions"),
            Ok(())
        );
    }

    #[test]
    fn a_key_that_goes_back_to_its_default_is_null_in_the_patch() {
        let alteration = Alteration {
            scope: ConfigScope::Cluster,
            entries: [("a".to_owned(), Some("1".to_owned())), ("b".to_owned(), None)].into(),
        };
        assert_eq!(Value::Object(entries(&alteration)), json!({"a": "1", "b": null}));
    }
}
