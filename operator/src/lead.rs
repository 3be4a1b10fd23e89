//! What a replica does for a cluster while it holds its Lease: the controller, the reconcilers, the witnesses.

use std::sync::Arc;
use std::time::Duration;

use control::ClusterRef;
use controller::{Format, Settings, StepDown, Witnesses};
use controller_host::{ControllerHandle, ControllerHost, Ending, StoreError, entropy::random_bytes};
use crds::{Cluster, MetadataLog};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::ListParams;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cluster;
use crate::context::Context;
use crate::election::Election;
use crate::error::OperatorError;
use crate::gateway::Gateway;
use crate::liveness;
use crate::names::ClusterNames;
use crate::rebuild;
use crate::store::KubernetesStore;
use crate::topic;

/// How long a replica lets others go first, for each cluster that it leads.
const YIELD: Duration = Duration::from_millis(100);
/// Between two tries to lead.
const RETRY: Duration = Duration::from_secs(2);
/// How long a replica that cannot read the log lets the others try: longer than a Lease lasts.
const ABSTENTION: Duration = Duration::from_secs(15);
/// A new topic waits this long for brokers that are still starting.
const PLACEMENT_PATIENCE: Duration = Duration::from_mins(1);

/// Stands for the cluster until `stop`, and leads it while elected.
///
/// METADATA 9: a replica that cannot read the log gives the Lease back and abstains, so that one that can gets its turn.
pub async fn stand(context: Context, cluster: Arc<Cluster>, names: ClusterNames, stop: CancellationToken) {
    // Who leads much already lets others go first, so that clusters spread over the replicas.
    tokio::time::sleep(YIELD.saturating_mul(context.seats.count())).await;
    while !stop.is_cancelled() {
        let (leads, elected) = watch::channel(false);
        let election = Election::new(&context, &cluster, names.clone());
        let term = stop.child_token();
        let leader = tokio::spawn(lead_while_elected(
            context.clone(),
            names.clone(),
            elected,
            term.clone(),
        ));
        election.run(leads, async { drop(leader.await) }, term).await;
        tokio::select! {
            () = tokio::time::sleep(ABSTENTION) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Leads whenever elected. Cancels its `term` when it should not stand for now.
async fn lead_while_elected(
    context: Context,
    names: ClusterNames,
    mut elected: watch::Receiver<bool>,
    term: CancellationToken,
) {
    loop {
        tokio::select! {
            changed = elected.wait_for(|elected| *elected) => if changed.is_err() { return },
            () = term.cancelled() => return,
        }
        let over = over(elected.clone(), term.clone()).boxed();
        let labels = [names.namespace.as_str(), names.cluster.as_str()];
        context.metrics.leads.with_label_values(&labels).set(1);
        let result = reign(&context, &names, over).await;
        context.metrics.leads.with_label_values(&labels).set(0);
        let Err(error) = result else {
            // The Cluster is gone, or the reign is over: the watch or the Lease says so next.
            pause(&elected, &term).await;
            continue;
        };
        warn!(namespace = %names.namespace, cluster = %names.cluster, %error, "cannot lead the cluster");
        if let OperatorError::Regressed(reason) | OperatorError::Unreadable(reason) = &error {
            cluster::report_regressed(&context, &names, reason).await;
        }
        if let OperatorError::Regressed(reason) = &error {
            tokio::select! {
                made = rebuild::make_anew(&context, &names, reason) => match made {
                    Ok(()) => continue,
                    Err(error) => warn!(cluster = %names.cluster, %error, "the metadata log could not be made anew yet"),
                },
                () = self::over(elected.clone(), term.clone()) => {}
            }
        }
        if matches!(error, OperatorError::Unreadable(_)) {
            term.cancel();
            return;
        }
        pause(&elected, &term).await;
    }
}

/// Waits before the next try to lead, unless there is none.
async fn pause(elected: &watch::Receiver<bool>, term: &CancellationToken) {
    // Either end of the wait is as good.
    drop(tokio::time::timeout(RETRY, over(elected.clone(), term.clone())).await);
}

async fn over(mut elected: watch::Receiver<bool>, stop: CancellationToken) {
    tokio::select! {
        _ = elected.wait_for(|elected| !*elected) => {}
        () = stop.cancelled() => {}
    }
}

/// One controller from its takeover to its end.
async fn reign(context: &Context, names: &ClusterNames, mut over: BoxFuture<'_, ()>) -> Result<(), OperatorError> {
    let clusters: Api<Cluster> = Api::namespaced(context.client.clone(), &names.namespace);
    let Some(cluster) = clusters.get_opt(&names.cluster).await? else {
        return Ok(());
    };
    let store = KubernetesStore::new(context.client.clone(), names.clone(), context.metrics.clone());
    store.delete_with_cluster(cluster::goes_with_cluster(&cluster));
    // METADATA 23: what was found once holds until the log was made anew or put back, however often the controller changes.
    if let Some(what) = store.regressed().await.map_err(|error| unreadable(&error))? {
        return Err(OperatorError::Regressed(what));
    }

    let settings = Settings {
        format: format(context, names, &cluster).await?,
        witnesses: Witnesses::HeartbeatsAndLeases,
        expected_brokers: usize::try_from(cluster.spec.replicas).unwrap_or(1),
        placement_patience: PLACEMENT_PATIENCE,
        ..Settings::new(
            &context.identity,
            random_bytes().map_err(|error| OperatorError::Controller(error.to_string()))?,
        )
    };
    let gateway = Gateway::new(context.clone(), names.clone());
    let handle = ControllerHost::spawn(settings, store.clone(), gateway, liveness::addresses(context, names));

    let result = tokio::select! {
        result = rule(context, names, &cluster, &handle, &store) => result,
        () = &mut over => Ok(()),
    };
    if let Err(OperatorError::Regressed(what)) = &result {
        store.mark_regressed(what).await.map_err(|error| unreadable(&error))?;
    }
    if let Ok(cluster) = ClusterRef::new(&names.namespace, &names.cluster) {
        context.seats.leave(&cluster);
    }
    handle.shutdown().await;
    context.metrics.forget(names);
    result
}

async fn rule(
    context: &Context,
    names: &ClusterNames,
    cluster: &Cluster,
    handle: &ControllerHandle,
    store: &KubernetesStore,
) -> Result<(), OperatorError> {
    handle.leading().await.map_err(ended)?;
    let epoch = handle.image().borrow().controller_epoch();
    info!(namespace = %names.namespace, cluster = %names.cluster, controller_epoch = %epoch, "leads the cluster");
    context.events.normal(
        cluster,
        "ControllerElected",
        "Elect",
        format!("{} is the controller, epoch {epoch}", context.pod),
    );
    let reference = ClusterRef::new(&names.namespace, &names.cluster)
        .map_err(|error| OperatorError::Controller(error.to_string()))?;
    context.seats.take(reference, handle.clone());
    tokio::select! {
        () = cluster::reconcile(context, names, handle, store) => Ok(()),
        () = topic::reconcile(context, names, handle) => Ok(()),
        () = liveness::witness(context, names, handle) => Ok(()),
        ending = handle.ended() => Err(ended(ending)),
    }
}

/// Whether a log may be begun. Anything that shows that there was one forbids it: the operator never starts
/// from empty over data (METADATA 23).
async fn format(context: &Context, names: &ClusterNames, cluster: &Cluster) -> Result<Format, OperatorError> {
    let logs: Api<MetadataLog> = Api::namespaced(context.client.clone(), &names.namespace);
    if logs.get_metadata_opt(&names.cluster).await?.is_some() {
        return Ok(Format::Refuse);
    }
    if let Some(id) = cluster.status.as_ref().and_then(|status| status.cluster_id.as_ref()) {
        return Err(missing(names, &format!("status.clusterId is {id}")));
    }
    let sets: Api<StatefulSet> = Api::namespaced(context.client.clone(), &names.namespace);
    if sets.get_metadata_opt(&names.cluster).await?.is_some() {
        return Err(missing(names, &format!("StatefulSet {} exists", names.cluster)));
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &names.namespace);
    let ours = claims
        .list_metadata(&ListParams::default().labels(&names.selector_text()))
        .await?;
    if let Some(claim) = ours.items.first().and_then(|claim| claim.metadata.name.as_ref()) {
        return Err(missing(names, &format!("volume claim {claim} exists")));
    }
    Ok(Format::New(None))
}

fn missing(names: &ClusterNames, evidence: &str) -> OperatorError {
    OperatorError::Regressed(format!(
        "MetadataLog {} is missing, but {evidence}: nothing is decided until it is restored, because beginning from empty would lose the topics",
        names.cluster
    ))
}

fn unreadable(error: &StoreError) -> OperatorError {
    OperatorError::Controller(error.to_string())
}

fn ended(ending: Ending) -> OperatorError {
    match ending {
        Ending::SteppedDown(StepDown::Missing | StepDown::SnapshotLost(_)) | Ending::Regressed(_) => {
            OperatorError::Regressed(ending.to_string())
        }
        Ending::SteppedDown(StepDown::Unusable(_)) => OperatorError::Unreadable(ending.to_string()),
        other => OperatorError::Controller(other.to_string()),
    }
}
