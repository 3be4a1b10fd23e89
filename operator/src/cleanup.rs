//! `operator cleanup`: stops the operator and lets every Topic go.

use std::time::Duration;

use crds::{TOPIC_FINALIZER, Topic};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tracing::info;

use crate::args::CleanupArgs;
use crate::error::{OperatorError, is_not_found};
use crate::watches::within;

/// Replicas get this long to end.
const TRIES: usize = 120;

/// Scales the operator to nothing, waits until it is gone, and removes our finalizer everywhere.
pub async fn cleanup(args: &CleanupArgs) -> Result<(), OperatorError> {
    let client = Client::try_default().await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &args.namespace);
    let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
    match deployments
        .patch_scale(&args.deployment, &PatchParams::default(), &none)
        .await
    {
        Ok(_) => wait_for_end(&deployments, &args.deployment).await?,
        Err(error) if is_not_found(&error) => {}
        Err(error) => return Err(error.into()),
    }
    let all: Api<Topic> = within(&client, args.watch_namespace.as_deref());
    for topic in all.list(&ListParams::default()).await? {
        let mut finalizers = topic.metadata.finalizers.clone().unwrap_or_default();
        if !finalizers.iter().any(|finalizer| finalizer == TOPIC_FINALIZER) {
            continue;
        }
        finalizers.retain(|finalizer| finalizer != TOPIC_FINALIZER);
        let topics: Api<Topic> = Api::namespaced(client.clone(), &topic.namespace().unwrap_or_default());
        let patch = Patch::Merge(json!({"metadata": {"uid": topic.uid(), "finalizers": finalizers}}));
        match topics.patch(&topic.name_any(), &PatchParams::default(), &patch).await {
            Ok(_) => info!(namespace = ?topic.namespace(), topic = %topic.name_any(), "let go; its data stays"),
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn wait_for_end(deployments: &Api<Deployment>, name: &str) -> Result<(), OperatorError> {
    for _ in 0..TRIES {
        let running = deployments
            .get_opt(name)
            .await?
            .and_then(|deployment| deployment.status)
            .and_then(|s| s.replicas);
        if running.unwrap_or(0) == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Err(OperatorError::Controller(format!(
        "Deployment {name} still has replicas after a minute"
    )))
}
