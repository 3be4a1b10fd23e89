//! Observe, plan, apply: reads each desired object, and writes those that differ, as one field manager.

use std::collections::BTreeMap;

use crds::Cluster;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions};
use serde_json::Value;
use tracing::info;

use crate::context::Context;
use crate::error::{OperatorError, is_conflict, is_not_found};
use crate::names::{ClusterNames, FIELD_MANAGER};
use crate::plan::{Desired, foreign, plan};

use super::objects::{MADE_BY_KIND, Sheet, is_left_over};

/// How objects are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// What lacks a desired field is written.
    Missing,
    /// All are written, because a field may have to go: the API server writes nothing where nothing changes.
    Everything,
}

/// Objects as they are now, by kind and name.
pub(super) type Present = BTreeMap<(&'static str, String), Value>;

/// Brings every desired object about, in order.
pub(super) async fn apply(
    context: &Context,
    names: &ClusterNames,
    desired: &[Desired],
    care: Care,
) -> Result<Present, OperatorError> {
    let mut observed = Vec::with_capacity(desired.len());
    for wanted in desired {
        observed.push(api(context, names, wanted).get_opt(&wanted.name).await?);
    }
    if let Some(taken) = foreign(desired, &observed, &names.cluster) {
        return Err(OperatorError::Foreign {
            kind: taken.kind,
            name: taken.name.clone(),
            cluster: names.cluster.clone(),
        });
    }
    let mut present = Present::new();
    for (wanted, found) in desired.iter().zip(&observed) {
        if let Some(found) = found {
            present.insert(
                (wanted.kind, wanted.name.clone()),
                serde_json::to_value(found).unwrap_or_default(),
            );
        }
    }
    let differing = match care {
        Care::Missing => plan(desired, &observed),
        Care::Everything => desired.iter().collect(),
    };
    for wanted in differing {
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let written = api(context, names, wanted)
            .patch(&wanted.name, &params, &Patch::Apply(&wanted.object))
            .await?;
        info!(kind = wanted.kind, name = %wanted.name, namespace = %names.namespace, "applied");
        present.insert(
            (wanted.kind, wanted.name.clone()),
            serde_json::to_value(&written).unwrap_or_default(),
        );
    }
    Ok(present)
}

/// Deletes what was made for the Cluster as it was before.
pub(super) async fn tidy(
    context: &Context,
    names: &ClusterNames,
    cluster: &Cluster,
    sheet: &Sheet,
) -> Result<(), OperatorError> {
    let ours = ListParams::default().labels(&names.selector_text());
    for (api_version, kind, plural) in MADE_BY_KIND {
        let api = api_of(context, names, api_version, kind, plural);
        for found in api.list_metadata(&ours).await? {
            if !is_left_over(cluster, names, sheet, kind, &found.metadata) {
                continue;
            }
            let name = found.metadata.name.unwrap_or_default();
            let this = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: found.metadata.uid,
                    resource_version: None,
                }),
                ..DeleteParams::default()
            };
            match api.delete(&name, &this).await {
                Ok(_) => info!(kind, name, namespace = %names.namespace, "deleted: the Cluster wants it no longer"),
                Err(error) if is_not_found(&error) || is_conflict(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn api(context: &Context, names: &ClusterNames, wanted: &Desired) -> Api<DynamicObject> {
    api_of(context, names, wanted.api_version, wanted.kind, wanted.plural)
}

fn api_of(context: &Context, names: &ClusterNames, api_version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    Api::namespaced_with(context.client.clone(), &names.namespace, &resource)
}
