//! The way of an admin request from a Kafka client: a topic is written as a Topic resource first and then takes
//! the way of every Topic, so that there is one truth and nothing to synchronise.

mod change;
mod ownership;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use control::{Reason, Refusal};
use controller::DesiredTopic;
use controller::admin::{CreatePlan, DeletePlan, PlannedTopic};
use controller::topic_error::TopicError;
use controller::topics::NewTopic;
use controller_host::{ControllerHandle, Forwarded, TopicGateway};
use crds::topic::{ClusterRef, DeletionPolicy};
use crds::{CLUSTER_LABEL, INTERNAL_LABEL, ORIGIN_KAFKA, ORIGIN_LABEL, TOPIC_FINALIZER, Topic, TopicSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt as _};
use model::{TopicId, TopicName};
use protocol::{ApiKey, ErrorCode};
use tracing::{info, warn};

use crate::context::Context;
use crate::error::{is_already_exists, is_conflict, is_not_found, sentence};
use crate::names::{ClusterNames, KAFKA_API_MANAGER, hashed_topic_object, topic_object};

/// A client that creates a topic waits no longer than this for brokers that are still starting.
const PATIENCE: Duration = Duration::from_secs(5);
/// Topics that Kafka keeps for itself.
const INTERNAL: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// Writes Topic resources for Kafka clients.
pub struct Gateway {
    context: Context,
    names: ClusterNames,
}

impl Gateway {
    /// The gateway of one cluster.
    pub fn new(context: Context, names: ClusterNames) -> Self {
        Self { context, names }
    }

    fn topics(&self) -> Api<Topic> {
        Api::namespaced(self.context.client.clone(), &self.names.namespace)
    }

    /// What the object of a topic may be called: the topic's own name if that is legal, else or if it is taken one with a
    /// hash.
    fn object_names(&self, topic: &str) -> [String; 2] {
        let cluster = &self.names.cluster;
        [topic_object(cluster, topic), hashed_topic_object(cluster, topic)]
    }

    async fn create(&self, forwarded: Forwarded) -> Result<Bytes, Refusal> {
        let Forwarded { request, controller } = forwarded;
        let image = controller.image().borrow().clone();
        let plan = CreatePlan::decode(&image, request.api_version, &request.body).map_err(|error| invalid(&error))?;
        let mut outcomes = Vec::with_capacity(plan.topics.len());
        for topic in &plan.topics {
            outcomes.push(match &topic.plan {
                Err(error) => Err(error.clone()),
                Ok(_) if plan.validate_only => Ok(TopicId::default()),
                Ok(new) => self.create_one(&controller, topic, new, &request.principal).await,
            });
        }
        let image = controller.image().borrow().clone();
        Ok(plan.respond(&image, &outcomes).map_err(|error| invalid(&error))?.into())
    }

    async fn create_one(
        &self,
        controller: &ControllerHandle,
        planned: &PlannedTopic,
        new: &NewTopic,
        principal: &str,
    ) -> Result<TopicId, TopicError> {
        let resource = self.write(new, asked_factor(planned)).await?;
        info!(topic = %new.name, object = %resource.name_any(), principal, "a Kafka client created a topic");
        let desired = DesiredTopic {
            name: new.name.clone(),
            partitions: i32::try_from(new.assignment.partition_count()).ok(),
            replication_factor: asked_factor(planned),
            assignment: planned.assignment.clone(),
            config: new.config.clone(),
            patience: Some(PATIENCE),
        };
        match controller.desired_topic(desired).await {
            Ok(state) => Ok(state.id),
            Err(controller::Refusal::Kafka { code, message }) => {
                // Not possible after all: a resource that nobody asked for with kubectl must not stay behind.
                if let Err(error) = self.delete_resource(&resource).await {
                    warn!(topic = %new.name, %error, "the Topic resource of a refused topic stays");
                }
                Err(refused(code, message))
            }
            // It is on record now and comes when it can.
            Err(refusal) => Err(refused(ErrorCode::RequestTimedOut, refusal.to_string())),
        }
    }

    /// The resource, under the topic's own name or, if that is illegal or taken, one with a hash.
    async fn write(&self, new: &NewTopic, factor: Option<i16>) -> Result<Topic, TopicError> {
        let [own, hashed] = self.object_names(new.name.as_str());
        let post = PostParams {
            field_manager: Some(KAFKA_API_MANAGER.to_owned()),
            ..PostParams::default()
        };
        for object in [&own, &hashed] {
            match self.topics().create(&post, &self.resource(object, new, factor)).await {
                Ok(topic) => return Ok(topic),
                Err(error) if is_already_exists(&error) => {}
                Err(error) => return Err(unavailable(&error)),
            }
            let there = self
                .topics()
                .get_opt(object)
                .await
                .map_err(|error| unavailable(&error))?;
            if there.is_some_and(|there| {
                there.spec.cluster_ref.name == self.names.cluster && there.topic_name() == new.name.as_str()
            }) {
                let message = format!("Topic {object} asks for '{}' already and is not ready yet", new.name);
                return Err(refused(ErrorCode::TopicAlreadyExists, message));
            }
        }
        Err(refused(
            ErrorCode::TopicAlreadyExists,
            format!("the object names {own} and {hashed} are both taken"),
        ))
    }

    fn resource(&self, object: &str, new: &NewTopic, factor: Option<i16>) -> Topic {
        let internal = INTERNAL.contains(&new.name.as_str());
        let config = new
            .config
            .iter()
            .map(|(key, value)| (key.clone(), IntOrString::String(value.clone())));
        let mut topic = Topic::new(
            object,
            TopicSpec {
                cluster_ref: ClusterRef {
                    name: self.names.cluster.clone(),
                },
                topic_name: (object != new.name.as_str()).then(|| new.name.to_string()),
                partitions: i32::try_from(new.assignment.partition_count()).ok(),
                replication_factor: factor.map(i32::from),
                config: config.collect(),
                deletion_policy: if internal {
                    DeletionPolicy::Retain
                } else {
                    DeletionPolicy::Delete
                },
            },
        );
        let labels = topic.labels_mut();
        labels.insert(CLUSTER_LABEL.to_owned(), self.names.cluster.clone());
        labels.insert(ORIGIN_LABEL.to_owned(), ORIGIN_KAFKA.to_owned());
        if internal {
            labels.insert(INTERNAL_LABEL.to_owned(), "true".to_owned());
        } else {
            topic.metadata.finalizers = Some(vec![TOPIC_FINALIZER.to_owned()]);
        }
        topic
    }

    async fn delete(&self, forwarded: Forwarded) -> Result<Bytes, Refusal> {
        let Forwarded { request, controller } = forwarded;
        let image = controller.image().borrow().clone();
        let plan = DeletePlan::decode(&image, request.api_version, &request.body).map_err(|error| invalid(&error))?;
        let mut outcomes = Vec::with_capacity(plan.topics.len());
        for topic in &plan.topics {
            outcomes.push(match &topic.plan {
                Err(error) => Err(error.clone()),
                Ok((id, name)) => self.delete_one(&controller, *id, name, &request.principal).await,
            });
        }
        Ok(plan.respond(&outcomes).map_err(|error| invalid(&error))?.into())
    }

    async fn delete_one(
        &self,
        controller: &ControllerHandle,
        id: TopicId,
        name: &TopicName,
        principal: &str,
    ) -> Result<(), TopicError> {
        let owner = self.resource_of(id, name.as_str()).await?;
        let owner = may_delete(owner.as_ref(), name)?;
        self.delete_resource(owner).await.map_err(|error| unavailable(&error))?;
        info!(topic = %name, topic_id = %id, principal, "a Kafka client deleted a topic");
        // The reconciler comes to the same decision; whoever is first appends, the other finds nothing to do.
        controller
            .deleted_topic(id)
            .await
            .map_err(|refusal| refused(ErrorCode::RequestTimedOut, refusal.to_string()))
    }

    /// The Topic that describes a topic, if there is one.
    async fn resource_of(&self, id: TopicId, name: &str) -> Result<Option<Topic>, TopicError> {
        let topics = self.context.watches.topics_of(&self.names);
        if let Some(known) = topics.iter().find(|topic| self.describes(topic, id, name)) {
            return Ok(Some(Topic::clone(known)));
        }
        // One that was made a moment ago may not have been seen yet.
        for object in self.object_names(name) {
            let there = self.topics().get_opt(&object).await;
            let there = there.map_err(|error| unavailable(&error))?;
            if let Some(there) = there.filter(|there| self.describes(there, id, name)) {
                return Ok(Some(there));
            }
        }
        Ok(None)
    }

    async fn delete_resource(&self, topic: &Topic) -> Result<(), kube::Error> {
        let this = DeleteParams {
            preconditions: Some(Preconditions {
                uid: topic.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.topics().delete(&topic.name_any(), &this).await {
            Err(error) if !is_not_found(&error) && !is_conflict(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

impl TopicGateway for Gateway {
    fn forward(&self, forwarded: Forwarded) -> Pin<Box<dyn Future<Output = Result<Bytes, Refusal>> + Send + '_>> {
        let api = protocol::api::served_in(forwarded.request.api_key, forwarded.request.api_version);
        match api.map(|api| api.key) {
            Some(ApiKey::CreateTopics) => Box::pin(self.create(forwarded)),
            Some(ApiKey::DeleteTopics) => Box::pin(self.delete(forwarded)),
            Some(ApiKey::CreatePartitions) => Box::pin(self.grow(forwarded)),
            Some(api @ (ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs)) => {
                Box::pin(self.alter(forwarded, api))
            }
            _ => Box::pin(async move { forwarded.controller.admin(forwarded.request).await }),
        }
    }
}

/// A topic that was not made through Kafka is not deleted through Kafka.
fn may_delete<'a>(owner: Option<&'a Topic>, name: &TopicName) -> Result<&'a Topic, TopicError> {
    let violation = |message: String| Err(refused(ErrorCode::PolicyViolation, message));
    let Some(owner) = owner else {
        return violation(format!(
            "topic '{name}' has no Topic resource because its data was kept when that was deleted: create a Topic of that name and delete it with deletionPolicy Delete"
        ));
    };
    let object = owner.name_any();
    if owner.labels().get(ORIGIN_LABEL).map(String::as_str) != Some(ORIGIN_KAFKA) {
        return violation(format!(
            "topic '{name}' belongs to Topic {object}, which was not made through Kafka: delete that"
        ));
    }
    if owner.spec.deletion_policy == DeletionPolicy::Retain {
        return violation(format!("Topic {object} has deletionPolicy Retain"));
    }
    Ok(owner)
}

fn refused(code: ErrorCode, message: impl Into<String>) -> TopicError {
    TopicError {
        code,
        message: message.into(),
    }
}

/// The replication factor for the resource: absent where the client left it to the cluster, or assigned replicas itself.
fn asked_factor(planned: &PlannedTopic) -> Option<i16> {
    (planned.replication_factor > 0).then_some(planned.replication_factor)
}

fn invalid(refusal: &controller::Refusal) -> Refusal {
    Refusal::new(Reason::Invalid, refusal.to_string())
}

fn unavailable(error: &kube::Error) -> TopicError {
    refused(
        ErrorCode::RequestTimedOut,
        format!("the Topic resource could not be written: {}", sentence(error)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(origin: Option<&str>, policy: DeletionPolicy) -> Topic {
        let spec = serde_json::json!({"clusterRef": {"name": "castle"}});
        let mut topic = Topic::new("letters", serde_json::from_value(spec).unwrap());
        topic.spec.deletion_policy = policy;
        if let Some(origin) = origin {
            topic.labels_mut().insert(ORIGIN_LABEL.to_owned(), origin.to_owned());
        }
        topic
    }

    #[test]
    fn only_a_topic_made_through_kafka_is_deleted_through_kafka() {
        let name = TopicName::new("letters").unwrap();
        let refused = |topic: Option<&Topic>| {
            let error = may_delete(topic, &name).unwrap_err();
            assert_eq!(error.code, ErrorCode::PolicyViolation);
            error.message
        };
        assert!(may_delete(Some(&topic(Some("kafka"), DeletionPolicy::Delete)), &name).is_ok());
        assert!(refused(Some(&topic(None, DeletionPolicy::Delete))).contains("Topic letters"));
        assert!(refused(Some(&topic(Some("kafka"), DeletionPolicy::Retain))).contains("Retain"));
        assert!(refused(None).contains("no Topic resource"));
    }
}
