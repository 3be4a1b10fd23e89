//! Topics whose Cluster is not there. Nobody leads them, so every replica looks after them; what it does can be
//! done twice without harm, and never touches data.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crds::{Cluster, TOPIC_FINALIZER, Topic};
use futures::{FutureExt as _, StreamExt as _};
use kube::{Api, ResourceExt as _};
use tracing::warn;

use super::status::with_statement;
use super::{SIDE_BY_SIDE, release, write_status};
use crate::conditions::{READY, Statement, reasons};
use crate::context::Context;
use crate::error::OperatorError;
use crate::names::ClusterNames;
use crate::watches::topic_cluster;

/// A Cluster that comes in the same `kubectl apply` is given this long to appear.
const SETTLE: Duration = Duration::from_millis(500);
const RESYNC: Duration = Duration::from_mins(1);

/// Looks after them for as long as the operator runs.
pub(crate) async fn reconcile(context: Context) {
    let mut population = context.watches.population.subscribe();
    loop {
        pass(&context).await;
        tokio::select! {
            _ = population.changed() => {}
            () = tokio::time::sleep(RESYNC) => {}
        }
        tokio::time::sleep(SETTLE).await;
    }
}

async fn pass(context: &Context) {
    // One look for each missing Cluster, however many Topics it has.
    let mut missing: HashMap<ClusterNames, Vec<Arc<Topic>>> = HashMap::new();
    for topic in context.watches.topics.state() {
        let names = topic_cluster(&topic);
        let going = topic.metadata.deletion_timestamp.is_some();
        if context.watches.cluster(&names).is_none() && (going || !is_reported(&topic)) {
            missing.entry(names).or_default().push(topic);
        }
    }
    for (names, topics) in missing {
        match is_there(context, &names).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                warn!(cluster = %names.cluster, %error, "whether the Cluster exists could not be found out");
                continue;
            }
        }
        let work: Vec<_> = topics.iter().map(|topic| one(context, &names, topic).boxed()).collect();
        for result in futures::stream::iter(work)
            .buffer_unordered(SIDE_BY_SIDE)
            .collect::<Vec<_>>()
            .await
        {
            if let Err(error) = result {
                warn!(cluster = %names.cluster, %error, "a Topic without Cluster could not be reconciled");
            }
        }
    }
}

/// The cache may be behind: only a quorum read says that a Cluster is not there.
async fn is_there(context: &Context, names: &ClusterNames) -> Result<bool, OperatorError> {
    let clusters: Api<Cluster> = Api::namespaced(context.client.clone(), &names.namespace);
    Ok(clusters.get_metadata_opt(&names.cluster).await?.is_some())
}

/// Whether its status says so already, of this generation.
fn is_reported(topic: &Topic) -> bool {
    let conditions = topic.status.iter().flat_map(|status| &status.conditions);
    conditions
        .filter(|condition| condition.observed_generation == topic.metadata.generation)
        .any(|condition| condition.reason == reasons::CLUSTER_NOT_FOUND)
}

async fn one(context: &Context, names: &ClusterNames, topic: &Topic) -> Result<(), OperatorError> {
    if topic.metadata.deletion_timestamp.is_some() {
        // A deletion never waits for a Cluster that is not there, and takes no data along.
        if topic.finalizers().iter().any(|finalizer| finalizer == TOPIC_FINALIZER) {
            release(context, topic).await?;
        }
        return Ok(());
    }
    let message = format!("there is no Cluster {} in namespace {}", names.cluster, names.namespace);
    let statement = Statement::no(READY, reasons::CLUSTER_NOT_FOUND, message);
    let status = with_statement(topic, topic.status.clone().unwrap_or_default(), &statement);
    write_status(context, topic, status).await
}
