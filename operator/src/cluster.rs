//! A Cluster and everything made for it: observe, plan, apply, and say how it is.

mod apply;
pub mod objects;
mod status;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use controller_host::ControllerHandle;
use crds::cluster::WhenDeleted;
use crds::{Cluster, ClusterStatus, MetadataLog};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tracing::{error, info, warn};

use crate::conditions::{METADATA_REGRESSED, READY, Statement, reasons};
use crate::context::Context;
use crate::error::OperatorError;
use crate::hub::Kind;
use crate::names::{ClusterNames, FIELD_MANAGER};
use crate::store::KubernetesStore;

use self::status::View;

/// Changes that come together are looked at together.
const SETTLE: Duration = Duration::from_millis(100);
/// All objects are compared again after this long, whether or not anything was heard of.
const RESYNC: Duration = Duration::from_mins(1);
/// How often the metadata log is looked for.
const LOG_CHECK: Duration = Duration::from_secs(15);
/// After a failure.
const RETRY: Duration = Duration::from_secs(3);

/// Whether volumes and metadata go with the Cluster.
pub(crate) fn goes_with_cluster(cluster: &Cluster) -> bool {
    cluster.spec.storage.when_deleted == WhenDeleted::Delete
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
        let pause = match pass(context, names, handle, &cluster, &mut memory).await {
            Ok(()) => {
                context
                    .metrics
                    .reconciliations
                    .with_label_values(&["Cluster", "success"])
                    .inc();
                LOG_CHECK
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
    /// Generation whose objects were applied, and when.
    applied: Option<(i64, Instant)>,
    /// What the controller was last told, and what it said.
    told: Option<(BTreeMap<String, String>, i32)>,
    refused: Option<String>,
    ports: objects::NodePorts,
    /// When the log was last seen.
    seen: Option<Instant>,
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

async fn pass(
    context: &Context,
    names: &ClusterNames,
    handle: &ControllerHandle,
    cluster: &Cluster,
    memory: &mut Memory,
) -> Result<(), OperatorError> {
    if cluster.metadata.deletion_timestamp.is_some() {
        // Everything of it has an owner and goes by itself; volumes and log as `whenDeleted` says.
        return Ok(());
    }
    tell_controller(handle, cluster, memory).await;
    let image = handle.image().borrow().clone();
    context.metrics.observe(names, &image, handle.metrics().tail_bytes());
    let mut view = View::new(context, names, cluster, &image);
    view.refused.clone_from(&memory.refused);

    // METADATA 23: the id is on record before anything that could hold data exists.
    let known = cluster.status.as_ref().and_then(|status| status.cluster_id.as_ref());
    if known.map(String::as_str) != image.cluster_id().map(model::ClusterId::as_str) {
        write_status(context, names, cluster, view.status(cluster)).await?;
    }

    let generation = cluster.metadata.generation.unwrap_or_default();
    let missing = context.watches.stateful_set(names).is_none();
    if missing
        || memory
            .applied
            .is_none_or(|(applied, at)| applied != generation || at.elapsed() >= RESYNC)
    {
        match apply_objects(context, names, cluster).await {
            Ok(ports) => {
                memory.applied = Some((generation, Instant::now()));
                memory.ports = ports;
            }
            Err(error) => {
                view.failed = Some(error.to_string());
                write_status(context, names, cluster, view.status(cluster)).await?;
                return Err(error);
            }
        }
    }
    view.ports.clone_from(&memory.ports);
    write_status(context, names, cluster, view.status(cluster)).await
}

async fn tell_controller(handle: &ControllerHandle, cluster: &Cluster, memory: &mut Memory) {
    let mut config: BTreeMap<String, String> = cluster
        .spec
        .config
        .iter()
        .map(|(key, value)| (key.clone(), crate::config_value(value)))
        .collect();
    config.insert(
        "num.partitions".to_owned(),
        cluster.spec.topic_defaults.partitions.to_string(),
    );
    let desired = (config, cluster.spec.replicas);
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

/// Foundations first, so that the node ports are known when the brokers start.
async fn apply_objects(
    context: &Context,
    names: &ClusterNames,
    cluster: &Cluster,
) -> Result<objects::NodePorts, OperatorError> {
    let foundations = objects::foundations(cluster, names, &context.around);
    let there = apply::apply(context, names, &foundations).await?;
    let mut ports = objects::NodePorts::new();
    for (id, listener) in objects::external_services(cluster) {
        let service = there.get(&("Service", names.external(id, &listener.name)));
        let port = service
            .and_then(|service| service.pointer("/spec/ports/0/nodePort"))
            .and_then(serde_json::Value::as_i64);
        if let Some(port) = port.and_then(|port| i32::try_from(port).ok()) {
            ports.insert((id, listener.name.clone()), port);
        } else {
            warn!(service = %names.external(id, &listener.name), "has no node port yet");
        }
    }
    apply::apply(
        context,
        names,
        &objects::brokers(cluster, names, &context.around, &ports),
    )
    .await?;
    Ok(ports)
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
