//! A Cluster and everything made for it: observe, plan, apply, and say how it is.

mod apply;
#[cfg(test)]
mod fixture;
pub mod objects;
mod report;
mod rollout;
mod scale;
mod status;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use controller_host::ControllerHandle;
use crds::cluster::WhenDeleted;
use crds::{Cluster, ClusterStatus, MetadataLog};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use model::{BrokerId, MetadataImage};
use serde_json::json;
use tracing::{error, info, warn};

use crate::conditions::{METADATA_REGRESSED, READY, Statement, reasons};
use crate::context::Context;
use crate::error::OperatorError;
use crate::hub::Kind;
use crate::names::{ClusterNames, FIELD_MANAGER};
use crate::store::KubernetesStore;

use self::apply::Care;
use self::objects::{Shape, Sheet};
use self::report::Told;
use self::rollout::Step;
use self::scale::Scale;
use self::status::View;
use self::volumes::Volumes;

/// Changes that come together are looked at together.
const SETTLE: Duration = Duration::from_millis(100);
/// All objects are compared again after this long, whether or not anything was heard of.
const RESYNC: Duration = Duration::from_mins(1);
/// How often the metadata log is looked for.
const LOG_CHECK: Duration = Duration::from_secs(15);
/// After a failure, and while something is on its way that is not watched.
const RETRY: Duration = Duration::from_secs(3);

/// Whether volumes and metadata go with the Cluster.
pub(crate) fn goes_with_cluster(cluster: &Cluster) -> bool {
    cluster.spec.storage.when_deleted == WhenDeleted::Delete
}

/// Whether somebody wants nothing of it changed.
pub(crate) fn is_paused(annotations: &BTreeMap<String, String>) -> bool {
    annotations
        .get(crds::PAUSED_ANNOTATION)
        .is_some_and(|paused| paused == "true")
}

/// Keeps the cluster's objects and status as they should be, until it is gone.
pub(crate) async fn reconcile(
    context: &Context,
    names: &ClusterNames,
    handle: &ControllerHandle,
    store: &KubernetesStore,
) {
    let mut changed = context.watches.hub.subscribe(names, Kind::Cluster);
    let mut brokers = context.watches.hub.subscribe(names, Kind::Brokers);
    let mut image = handle.image();
    let mut memory = Memory::default();
    loop {
        let Some(cluster) = context.watches.cluster(names) else {
            return;
        };
        store.delete_with_cluster(goes_with_cluster(&cluster));
        if log_is_gone(context, names, &mut memory).await {
            // The next reign says what that means: nothing is begun from empty.
            return;
        }
        let timer = context
            .metrics
            .reconcile_seconds
            .with_label_values(&["Cluster"])
            .start_timer();
        let looked = pass(context, names, handle, &cluster, &mut memory).await;
        timer.observe_duration();
        let pause = match looked {
            Ok(pause) => {
                context
                    .metrics
                    .reconciliations
                    .with_label_values(&["Cluster", "success"])
                    .inc();
                pause
            }
            Err(error) => {
                context
                    .metrics
                    .reconciliations
                    .with_label_values(&["Cluster", "error"])
                    .inc();
                warn!(namespace = %names.namespace, cluster = %names.cluster, %error, "the cluster could not be reconciled");
                RETRY
            }
        };
        tokio::select! {
            _ = changed.changed() => {}
            _ = brokers.changed() => {}
            _ = image.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// What need not be done twice.
#[derive(Default)]
struct Memory {
    /// What was applied last.
    applied: Option<Applied>,
    /// What the controller was last told, and what it said.
    told: Option<(BTreeMap<String, String>, i32)>,
    refused: Option<String>,
    volumes: Volumes,
    /// What people were last told.
    reported: Told,
    /// When the log was last seen.
    seen: Option<Instant>,
}

/// What was written last, and what came of it.
struct Applied {
    generation: i64,
    at: Instant,
    sheet: Sheet,
    addresses: objects::Addresses,
    /// Generation of the StatefulSet that this made.
    set_generation: i64,
}

/// An append would find out too; a cluster where nothing happens should not learn it only then.
async fn log_is_gone(context: &Context, names: &ClusterNames, memory: &mut Memory) -> bool {
    if memory.seen.is_some_and(|seen| seen.elapsed() < LOG_CHECK) {
        return false;
    }
    memory.seen = Some(Instant::now());
    let logs: Api<MetadataLog> = Api::namespaced(context.client.clone(), &names.namespace);
    matches!(logs.get_metadata_opt(&names.cluster).await, Ok(None))
}

/// Looks at the cluster once; gives the time until the next look if nothing changes.
async fn pass(
    context: &Context,
    names: &ClusterNames,
    handle: &ControllerHandle,
    cluster: &Cluster,
    memory: &mut Memory,
) -> Result<Duration, OperatorError> {
    if cluster.metadata.deletion_timestamp.is_some() {
        // Everything of it has an owner and goes by itself; volumes and log as `whenDeleted` says.
        return Ok(LOG_CHECK);
    }
    let paused = cluster.metadata.annotations.as_ref().is_some_and(is_paused);
    if !paused {
        tell_controller(handle, cluster, memory).await;
    }
    let image = handle.image().borrow().clone();
    context.metrics.observe(names, &image, handle.metrics().tail_bytes());
    let seen = Seen::look(context, names, cluster, &image, memory);

    // METADATA 23: the id is on record before anything that could hold data exists.
    let known = cluster.status.as_ref().and_then(|status| status.cluster_id.as_ref());
    if known.map(String::as_str) != image.cluster_id().map(model::ClusterId::as_str) {
        let status = seen.view(context, names, &image, memory, None).status(cluster);
        write_status(context, names, cluster, status).await?;
    }
    let mut failed = None;
    if !paused {
        // What is decided now may be over at the second look.
        report::tell(context, cluster, &image, &seen, &mut memory.reported);
        let changed = change(context, names, handle, cluster, &image, &seen, memory).await;
        if let Err(error) = changed {
            failed = Some(error);
        }
    }
    // What was just written counts.
    let seen = Seen::look(context, names, cluster, &image, memory);
    report::tell(context, cluster, &image, &seen, &mut memory.reported);
    report::tell_of_volumes(context, cluster, memory.volumes.refused.as_ref(), &mut memory.reported);
    let said = failed.as_ref().map(|error| (error.to_string(), !error.is_outage()));
    let view = seen.view(context, names, &image, memory, said);
    let waiting = view.waits_for_the_unwatched(cluster);
    write_status(context, names, cluster, view.status(cluster)).await?;
    match failed {
        Some(error) => Err(error),
        None => Ok(if waiting { RETRY } else { LOG_CHECK }),
    }
}

/// What is there, and what follows from it.
struct Seen {
    pods: Vec<(i32, Arc<Pod>)>,
    scale: Scale,
    /// `None` while there is no StatefulSet, or not the one that was written last.
    roll: Option<(rollout::Set, Step)>,
    claim_size: Option<String>,
    /// Whether what was written for this generation was seen by those whom it concerns.
    applied: bool,
    paused: bool,
}

impl Seen {
    fn look(
        context: &Context,
        names: &ClusterNames,
        cluster: &Cluster,
        image: &MetadataImage,
        memory: &Memory,
    ) -> Self {
        let set = context.watches.stateful_set(names);
        let there = set.as_ref().and_then(|set| rollout::Set::of(set));
        let pods = context.watches.broker_pods(names);
        let written = memory.applied.as_ref().map_or(0, |applied| applied.set_generation);
        let current = set.as_ref().and_then(|set| set.metadata.generation).unwrap_or(0) >= written;
        let roll = there.clone().filter(|_| current).map(|set| {
            let brokers: Vec<_> = pods.iter().map(|(id, pod)| rollout::Broker::of(*id, pod)).collect();
            let step = rollout::step(&set, &brokers, image);
            (set, step)
        });
        let generation = memory.applied.as_ref().map(|applied| applied.generation);
        let wanted = cluster.spec.replicas;
        Self {
            scale: scale::plan(wanted, there.as_ref().map_or(wanted, |set| set.replicas), image),
            applied: generation == cluster.metadata.generation
                && roll
                    .as_ref()
                    .is_some_and(|(set, step)| set.replicas == wanted && *step != Step::Unseen),
            roll,
            claim_size: set.as_ref().and_then(|set| objects::claim_size(set)),
            paused: cluster.metadata.annotations.as_ref().is_some_and(is_paused),
            pods,
        }
    }

    fn view<'a>(
        &self,
        context: &'a Context,
        names: &'a ClusterNames,
        image: &'a MetadataImage,
        memory: &'a Memory,
        failed: Option<(String, bool)>,
    ) -> View<'a> {
        View {
            names,
            image,
            controller: &context.pod,
            pods: self.pods.clone(),
            addresses: memory.applied.as_ref().map(|applied| &applied.addresses),
            failed,
            refused: memory.refused.clone(),
            applied: self.applied,
            step: self.roll.as_ref().map(|(_, step)| step.clone()),
            scale: self.scale.clone(),
            volumes: &memory.volumes,
            paused: self.paused,
        }
    }
}

/// Writes whatever differs from what should be.
async fn change(
    context: &Context,
    names: &ClusterNames,
    handle: &ControllerHandle,
    cluster: &Cluster,
    image: &MetadataImage,
    seen: &Seen,
    memory: &mut Memory,
) -> Result<(), OperatorError> {
    let generation = cluster.metadata.generation.unwrap_or_default();
    let fresh = memory
        .applied
        .as_ref()
        .is_none_or(|applied| applied.generation != generation);
    let late = memory.applied.as_ref().is_some_and(|applied| {
        let pending = objects::external_services(cluster).count() > applied.addresses.len();
        applied.at.elapsed() >= if pending { RETRY } else { RESYNC }
    });
    let missing = context.watches.stateful_set(names).is_none();

    let mut shape = Shape {
        brokers: seen.scale.brokers(),
        partition: seen.scale.brokers(),
        claim_size: seen.claim_size.clone(),
        disruptions: i32::from(rollout::any_may_go(image).is_ok()),
    };
    // A new template rolls from the beginning, behind the partition that keeps everything as it is.
    let template = objects::template(cluster, names, &context.around);
    let same_template = memory
        .applied
        .as_ref()
        .is_some_and(|applied| applied.sheet.template == template);
    if same_template && !fresh {
        shape.partition = match &seen.roll {
            Some((set, step)) => step.partition(set).min(shape.brokers),
            // What was written last is not seen yet.
            None => memory
                .applied
                .as_ref()
                .map_or(shape.brokers, |applied| applied.sheet.partition),
        };
    }
    let known = memory
        .applied
        .as_ref()
        .map(|applied| applied.addresses.clone())
        .unwrap_or_default();
    let sheet = Sheet::new(cluster, names, &context.around, &shape, template, &known);
    let differs = memory.applied.as_ref().is_none_or(|applied| applied.sheet != sheet);
    if fresh || late || missing || differs {
        let care = if fresh { Care::Everything } else { Care::Missing };
        memory.applied = Some(apply_objects(context, names, cluster, &shape, sheet, care).await?);
    }
    if fresh || late || memory.volumes.growing > 0 {
        memory.volumes = volumes::grow(context, names, cluster).await?;
        for claim in &memory.volumes.grown {
            let note = format!("{claim} grows to {}", cluster.spec.storage.size);
            context.events.normal(cluster, "VolumeExpanded", "Resize", note);
        }
    }
    let brokers = seen
        .roll
        .as_ref()
        .map_or(i32::MAX, |(set, _)| set.replicas.max(cluster.spec.replicas));
    let has_pod = |id| seen.pods.iter().any(|(of, _)| *of == id);
    if let Scale::Draining { keep, .. } = &seen.scale {
        let leaving = (cluster.spec.replicas..*keep).map(BrokerId).collect();
        if let Err(refusal) = handle.drain(leaving).await {
            warn!(cluster = %names.cluster, %refusal, "brokers that should go cannot be emptied yet");
        }
    }
    for id in scale::departed(image, brokers, has_pod) {
        match handle.unregister(id).await {
            Ok(()) => context.events.normal(
                cluster,
                "BrokerUnregistered",
                "ScaleDown",
                format!("broker {id} is gone for good"),
            ),
            Err(refusal) => warn!(cluster = %names.cluster, broker = %id, %refusal, "cannot be forgotten yet"),
        }
    }
    Ok(())
}

/// The configuration that a Cluster asks for, whole.
pub(crate) fn wanted_config(cluster: &Cluster) -> BTreeMap<String, String> {
    let mut config: BTreeMap<String, String> = cluster
        .spec
        .config
        .iter()
        .map(|(key, value)| (key.clone(), crate::config_value(value)))
        .collect();
    let defaults = &cluster.spec.topic_defaults;
    let mut insert = |key: &str, value: Option<i32>| {
        if let Some(value) = value {
            config.insert(key.to_owned(), value.to_string());
        }
    };
    insert("num.partitions", Some(defaults.partitions));
    insert("default.replication.factor", defaults.replication_factor);
    insert("min.insync.replicas", defaults.min_insync_replicas);
    config
}

async fn tell_controller(handle: &ControllerHandle, cluster: &Cluster, memory: &mut Memory) {
    let desired = (wanted_config(cluster), cluster.spec.replicas);
    if memory.told.as_ref() == Some(&desired) {
        return;
    }
    let brokers = usize::try_from(desired.1).unwrap_or(1);
    match handle.desired_cluster(desired.0.clone(), brokers).await {
        Ok(()) => {
            memory.refused = None;
            memory.told = Some(desired);
        }
        Err(refusal @ (controller::Refusal::Kafka { .. } | controller::Refusal::InvalidRequest(_))) => {
            memory.refused = Some(refusal.to_string());
            memory.told = Some(desired);
        }
        // Not now: the next pass says it again.
        Err(refusal) => warn!(%refusal, "the controller does not take the cluster's configuration yet"),
    }
}

/// Foundations first, so that the external addresses are known when the brokers start.
async fn apply_objects(
    context: &Context,
    names: &ClusterNames,
    cluster: &Cluster,
    shape: &Shape,
    mut sheet: Sheet,
    care: Care,
) -> Result<Applied, OperatorError> {
    let there = apply::apply(context, names, &sheet.foundations, care).await?;
    let mut addresses = objects::Addresses::new();
    for (id, listener) in objects::external_services(cluster) {
        let service = there.get(&("Service", names.external(id, &listener.name)));
        if let Some(address) = service.and_then(|service| objects::address(listener, service)) {
            addresses.insert((id, listener.name.clone()), address);
        } else {
            info!(service = %names.external(id, &listener.name), "has no external address yet");
        }
    }
    sheet.settle(cluster, names, shape, &addresses);
    let there = apply::apply(context, names, &sheet.brokers, care).await?;
    if care == Care::Everything {
        apply::tidy(context, names, cluster, &sheet).await?;
    }
    let set = there.get(&("StatefulSet", names.cluster.clone()));
    let set_generation = set.and_then(|set| set.pointer("/metadata/generation")?.as_i64());
    Ok(Applied {
        generation: cluster.metadata.generation.unwrap_or_default(),
        at: Instant::now(),
        sheet,
        addresses,
        set_generation: set_generation.unwrap_or(0),
    })
}

/// Writes the status if it says something new.
async fn write_status(
    context: &Context,
    names: &ClusterNames,
    cluster: &Cluster,
    status: ClusterStatus,
) -> Result<(), OperatorError> {
    if cluster.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let ready = |status: &ClusterStatus| {
        status
            .conditions
            .iter()
            .find(|c| c.type_ == READY)
            .map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
    };
    let (before, after) = (cluster.status.as_ref().and_then(ready), ready(&status));
    let clusters: Api<Cluster> = Api::namespaced(context.client.clone(), &names.namespace);
    let patch = json!({
        "apiVersion": format!("{}/{}", crds::GROUP, crds::VERSION),
        "kind": "Cluster",
        // This very Cluster: the id and state of one must not be written to another that took its name.
        "metadata": {"name": names.cluster, "uid": cluster.metadata.uid},
        "status": status,
    });
    clusters
        .patch_status(
            &names.cluster,
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(&patch),
        )
        .await?;
    context.metrics.status_writes.with_label_values(&["Cluster"]).inc();
    if let Some((ready, reason, message)) = after.filter(|_| before.as_ref().map(|b| &b.1) != status_reason(&status)) {
        info!(namespace = %names.namespace, cluster = %names.cluster, ready, reason, message, "the cluster's state changed");
    }
    Ok(())
}

fn status_reason(status: &ClusterStatus) -> Option<&String> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == READY)
        .map(|condition| &condition.reason)
}

/// Says that nothing is decided for the cluster, and why.
pub(crate) async fn report_regressed(context: &Context, names: &ClusterNames, reason: &str) {
    let Some(cluster) = context.watches.cluster(names) else {
        return;
    };
    let statements = [
        Statement::no(READY, reasons::METADATA_REGRESSED, reason),
        Statement::yes(METADATA_REGRESSED, reasons::METADATA_REGRESSED, reason),
    ];
    let status = status::with_statements(&cluster, &statements);
    if cluster.status.as_ref() != Some(&status) {
        error!(namespace = %names.namespace, cluster = %names.cluster, reason, "MetadataRegressed");
        context.events.warning(&*cluster, "MetadataRegressed", "Stop", reason);
    }
    if let Err(error) = write_status(context, names, &cluster, status).await {
        warn!(%error, "the condition could not be written");
    }
}
