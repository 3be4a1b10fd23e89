//! A Topic: from the resource to the metadata log, and back into its status.

mod decision;
pub(crate) mod orphans;
mod status;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use controller_host::ControllerHandle;
use crds::{TOPIC_FINALIZER, Topic, TopicStatus};
use futures::{FutureExt as _, StreamExt as _};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use model::MetadataImage;
use serde_json::json;
use tracing::{info, warn};

use crate::conditions::{Statement, reasons};
use crate::context::Context;
use crate::error::{OperatorError, is_conflict, is_not_found};
use crate::hub::Kind;
use crate::names::{ClusterNames, FIELD_MANAGER};

pub(crate) use self::decision::desired;
use self::decision::{Decision, decide};
use self::status::Outcome;

/// Changes that come together are looked at together; the controller commits them in one append.
const SETTLE: Duration = Duration::from_millis(20);
/// Topics that are worked on side by side.
const SIDE_BY_SIDE: usize = 64;
/// What has to wait is tried again after this long.
const PENDING_RETRY: Duration = Duration::from_secs(1);
/// What was refused is tried again after this long: the cluster may have changed.
const REFUSED_RETRY: Duration = Duration::from_secs(30);
/// Everything is looked at again after this long.
const RESYNC: Duration = Duration::from_mins(5);

/// Keeps the topics of a cluster as their resources say, until the cluster is gone.
pub(crate) async fn reconcile(context: &Context, names: &ClusterNames, handle: &ControllerHandle) {
    let mut topics = context.watches.hub.subscribe(names, Kind::Topic);
    let mut cluster = context.watches.hub.subscribe(names, Kind::Cluster);
    let mut image = handle.image();
    let mut memory: HashMap<String, Remembered> = HashMap::new();
    loop {
        if context.watches.cluster(names).is_none() {
            return;
        }
        let wake = pass(context, names, handle, &mut memory).await;
        tokio::select! {
            _ = topics.changed() => {}
            _ = cluster.changed() => {}
            _ = image.changed() => {}
            () = tokio::time::sleep(wake) => {}
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// What the controller said of a Topic, so that it is not asked again for nothing.
#[derive(Debug, Clone)]
struct Remembered {
    generation: i64,
    at: Instant,
    outcome: Outcome,
}

/// Looks at every Topic of the cluster once; gives the time until the next look if nothing changes.
async fn pass(
    context: &Context,
    names: &ClusterNames,
    handle: &ControllerHandle,
    memory: &mut HashMap<String, Remembered>,
) -> Duration {
    let _timer = context
        .metrics
        .reconcile_seconds
        .with_label_values(&["Topic"])
        .start_timer();
    let topics = context.watches.topics_of(names);
    memory.retain(|uid, _| topics.iter().any(|topic| topic.uid().as_ref() == Some(uid)));
    let going = context
        .watches
        .cluster(names)
        .is_none_or(|cluster| cluster.metadata.deletion_timestamp.is_some());
    let image = handle.image().borrow().clone();
    let owners = owners(&topics);
    let work = topics.iter().map(|topic| {
        let remembered = topic.uid().and_then(|uid| memory.get(&uid).cloned());
        let rival = owners
            .get(topic.topic_name())
            .filter(|owner| **owner != topic.name_any())
            .cloned();
        one(context, handle, &image, topic, going, rival, remembered).boxed()
    });
    let work: Vec<_> = work.collect();
    let results: Vec<_> = futures::stream::iter(work)
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await;
    let mut wake = RESYNC;
    for (uid, result) in results {
        match result {
            Ok(Some(remembered)) => {
                wake = wake.min(remembered.outcome.retry_after());
                if let Some(uid) = uid {
                    memory.insert(uid, remembered);
                }
            }
            Ok(None) => {}
            Err(error) => {
                context
                    .metrics
                    .reconciliations
                    .with_label_values(&["Topic", "error"])
                    .inc();
                warn!(namespace = %names.namespace, cluster = %names.cluster, %error, "a topic could not be reconciled");
                wake = wake.min(PENDING_RETRY);
            }
        }
    }
    wake
}

/// The Topic that owns each topic name: the oldest.
fn owners(topics: &[Arc<Topic>]) -> BTreeMap<String, String> {
    let mut oldest: BTreeMap<String, (Option<k8s_openapi::jiff::Timestamp>, String)> = BTreeMap::new();
    for topic in topics {
        let age = (
            topic.metadata.creation_timestamp.as_ref().map(|time| time.0),
            topic.name_any(),
        );
        oldest
            .entry(topic.topic_name().to_owned())
            .and_modify(|owner| {
                if age < *owner {
                    owner.clone_from(&age);
                }
            })
            .or_insert(age);
    }
    oldest.into_iter().map(|(name, (_, owner))| (name, owner)).collect()
}

async fn one(
    context: &Context,
    handle: &ControllerHandle,
    image: &MetadataImage,
    topic: &Topic,
    going: bool,
    rival: Option<String>,
    remembered: Option<Remembered>,
) -> (Option<String>, Result<Option<Remembered>, OperatorError>) {
    let result = act(context, handle, image, topic, going, rival, remembered).await;
    (topic.uid(), result)
}

async fn act(
    context: &Context,
    handle: &ControllerHandle,
    image: &MetadataImage,
    topic: &Topic,
    going: bool,
    rival: Option<String>,
    remembered: Option<Remembered>,
) -> Result<Option<Remembered>, OperatorError> {
    let generation = topic.metadata.generation.unwrap_or_default();
    match decide(topic, going, rival.as_deref(), image) {
        Decision::Nothing => Ok(None),
        Decision::Release(why) => {
            release(context, topic).await?;
            context.events.normal(topic, "Released", "Delete", why);
            Ok(None)
        }
        Decision::Purge(id) => {
            // METADATA 3: the finalizer goes only after the removal is in the log.
            match handle.deleted_topic(id).await {
                Ok(()) => {}
                Err(refusal) => return Err(OperatorError::Controller(refusal.to_string())),
            }
            info!(topic = topic.topic_name(), topic_id = %id, "removed");
            context.events.normal(
                topic,
                "Deleted",
                "Delete",
                format!("topic {} was removed with its data", topic.topic_name()),
            );
            release(context, topic).await?;
            Ok(None)
        }
        Decision::Unguard => {
            release(context, topic).await?;
            Ok(None)
        }
        Decision::Guard => {
            guard(context, topic).await?;
            Ok(None)
        }
        Decision::Conflict(owner) => {
            let message = format!("topic {} belongs to Topic {owner}, which is older", topic.topic_name());
            let outcome = Outcome::Refused(Statement::no(
                crate::conditions::READY,
                reasons::TOPIC_NAME_CONFLICT,
                message,
            ));
            report(context, topic, image, &outcome).await?;
            Ok(Some(Remembered {
                generation,
                at: Instant::now(),
                outcome,
            }))
        }
        Decision::Ensure(desired) => {
            let remembered = match remembered {
                Some(before) if before.generation == generation && !before.outcome.is_stale(before.at, image) => before,
                _ => {
                    let outcome = Outcome::of(handle.desired_topic(desired).await);
                    tell(context, topic, &outcome);
                    Remembered {
                        generation,
                        at: Instant::now(),
                        outcome,
                    }
                }
            };
            // The answer came with the commit: the image in hand may be older.
            let image = handle.image().borrow().clone();
            report(context, topic, &image, &remembered.outcome).await?;
            Ok(Some(remembered))
        }
    }
}

fn tell(context: &Context, topic: &Topic, outcome: &Outcome) {
    match outcome {
        Outcome::There(state) => {
            let known = topic.status.as_ref().and_then(|status| status.topic_id.as_deref());
            let id = state.id.to_string();
            if known != Some(id.as_str()) {
                context.events.normal(
                    topic,
                    "Created",
                    "Create",
                    format!(
                        "topic {} has id {id} and {} partitions",
                        topic.topic_name(),
                        state.partitions
                    ),
                );
            }
        }
        Outcome::Refused(statement) => {
            let same = topic.status.as_ref().is_some_and(|status| {
                status
                    .conditions
                    .iter()
                    .any(|condition| condition.message == statement.message)
            });
            if !same {
                context
                    .events
                    .warning(topic, statement.reason, "Refuse", &statement.message);
            }
        }
        Outcome::Pending(_) => {}
    }
}

/// Writes the status if it says something new.
async fn report(
    context: &Context,
    topic: &Topic,
    image: &MetadataImage,
    outcome: &Outcome,
) -> Result<(), OperatorError> {
    write_status(context, topic, status::status(topic, image, outcome)).await
}

pub(crate) async fn write_status(context: &Context, topic: &Topic, status: TopicStatus) -> Result<(), OperatorError> {
    if topic.status.as_ref() == Some(&status) {
        context
            .metrics
            .reconciliations
            .with_label_values(&["Topic", "noop"])
            .inc();
        return Ok(());
    }
    let patch = json!({
        "apiVersion": format!("{}/{}", crds::GROUP, crds::VERSION),
        "kind": "Topic",
        "metadata": {"name": topic.name_any(), "uid": topic.uid()},
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api(context, topic)
        .patch_status(&topic.name_any(), &params, &Patch::Apply(&patch))
        .await
    {
        Ok(_) => {
            context.metrics.status_writes.with_label_values(&["Topic"]).inc();
            context
                .metrics
                .reconciliations
                .with_label_values(&["Topic", "success"])
                .inc();
            Ok(())
        }
        // Gone, or another one of that name by now: it says for itself how it is.
        Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Adds our finalizer, before the topic exists: from then on its data goes with the resource.
async fn guard(context: &Context, topic: &Topic) -> Result<(), OperatorError> {
    let mut finalizers = topic.metadata.finalizers.clone().unwrap_or_default();
    finalizers.push(TOPIC_FINALIZER.to_owned());
    set_finalizers(context, topic, finalizers).await
}

/// Removes our finalizer.
pub(crate) async fn release(context: &Context, topic: &Topic) -> Result<(), OperatorError> {
    let mut finalizers = topic.metadata.finalizers.clone().unwrap_or_default();
    finalizers.retain(|finalizer| finalizer != TOPIC_FINALIZER);
    set_finalizers(context, topic, finalizers).await
}

/// METADATA 3: on this very object, unchanged since the decision.
async fn set_finalizers(context: &Context, topic: &Topic, finalizers: Vec<String>) -> Result<(), OperatorError> {
    let patch = json!({"metadata": {
        "uid": topic.uid(),
        "resourceVersion": topic.resource_version(),
        "finalizers": finalizers,
    }});
    match api(context, topic)
        .patch(&topic.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
        .await
    {
        Ok(_) => Ok(()),
        // Changed or gone since: the watch brings what it is now.
        Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn api(context: &Context, topic: &Topic) -> Api<Topic> {
    Api::namespaced(context.client.clone(), &topic.namespace().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_topic_owns_the_name() {
        let topic = |object: &str, second: i64| {
            let mut topic = Topic::new(
                object,
                crds::TopicSpec {
                    cluster_ref: crds::topic::ClusterRef {
                        name: "castle".to_owned(),
                    },
                    topic_name: Some("letters".to_owned()),
                    partitions: None,
                    replication_factor: None,
                    config: BTreeMap::new(),
                    deletion_policy: crds::topic::DeletionPolicy::Delete,
                },
            );
            let time = k8s_openapi::jiff::Timestamp::from_second(second).unwrap();
            topic.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
            Arc::new(topic)
        };
        let owners = owners(&[topic("a", 20), topic("b", 10), topic("c", 10)]);
        assert_eq!(owners["letters"], "b");
    }
}
