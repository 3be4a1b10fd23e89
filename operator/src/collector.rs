//! Removes the metadata of clusters whose volumes went with them. A `MetadataLog` has no owner: it lives exactly
//! as long as the volumes, so it goes when `whenDeleted: Delete` was said and nothing of the cluster is left.

use std::time::Duration;

use crds::{CLUSTER_LABEL, Cluster, MetadataLog, MetadataSnapshot};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, ResourceExt as _};
use tracing::{info, warn};

use crate::context::Context;
use crate::error::{OperatorError, is_conflict, is_not_found};
use crate::names::ClusterNames;
use crate::store::WHEN_DELETED;
use crate::watches::within;

const EVERY: Duration = Duration::from_secs(15);

/// Collects for as long as the operator runs. Every replica may: each deletion names the very object it saw.
pub(crate) async fn collect(context: Context) {
    loop {
        if let Err(error) = pass(&context).await {
            warn!(%error, "metadata of deleted clusters could not be collected");
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn pass(context: &Context) -> Result<(), OperatorError> {
    let logs: Api<MetadataLog> = within(&context.client, context.namespace.as_deref());
    for log in logs.list_metadata(&ListParams::default().labels(CLUSTER_LABEL)).await? {
        let names = ClusterNames::new(&log.namespace().unwrap_or_default(), &log.name_any());
        let goes = log.annotations().get(WHEN_DELETED).is_some_and(|fate| fate == "Delete");
        if !goes || context.watches.cluster(&names).is_some() || !is_gone(context, &names).await? {
            continue;
        }
        // METADATA 3: this very object as it was read before the looks at everything else.
        let this = DeleteParams {
            preconditions: Some(Preconditions {
                uid: log.uid(),
                resource_version: log.resource_version(),
            }),
            ..DeleteParams::default()
        };
        let api: Api<MetadataLog> = Api::namespaced(context.client.clone(), &names.namespace);
        match api.delete(&names.cluster, &this).await {
            Ok(_) => {
                info!(namespace = %names.namespace, cluster = %names.cluster, "the metadata went with the volumes");
            }
            Err(error) if is_not_found(&error) || is_conflict(&error) => continue,
            Err(error) => return Err(error.into()),
        }
        let snapshots: Api<MetadataSnapshot> = Api::namespaced(context.client.clone(), &names.namespace);
        let ours = ListParams::default().labels(&names.selector_text());
        snapshots.delete_collection(&DeleteParams::default(), &ours).await?;
    }
    Ok(())
}

/// Whether Cluster, StatefulSet and volume claims are all gone, by quorum reads.
async fn is_gone(context: &Context, names: &ClusterNames) -> Result<bool, OperatorError> {
    let clusters: Api<Cluster> = Api::namespaced(context.client.clone(), &names.namespace);
    let sets: Api<StatefulSet> = Api::namespaced(context.client.clone(), &names.namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &names.namespace);
    let ours = ListParams::default().labels(&names.selector_text());
    Ok(clusters.get_metadata_opt(&names.cluster).await?.is_none()
        && sets.get_metadata_opt(&names.cluster).await?.is_none()
        && claims.list_metadata(&ours).await?.items.is_empty())
}
