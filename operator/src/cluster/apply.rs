//! Observe, plan, apply: reads each desired object, and writes those that differ, as one field manager.

use std::collections::BTreeMap;

use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::Value;
use tracing::info;

use crate::context::Context;
use crate::error::OperatorError;
use crate::names::{ClusterNames, FIELD_MANAGER};
use crate::plan::{Desired, foreign, plan};

/// Objects as they are now, by kind and name.
pub(super) type Present = BTreeMap<(&'static str, String), Value>;

/// Brings every desired object about, in order.
pub(super) async fn apply(
    context: &Context,
    names: &ClusterNames,
    desired: &[Desired],
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
    for wanted in plan(desired, &observed) {
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

fn api(context: &Context, names: &ClusterNames, wanted: &Desired) -> Api<DynamicObject> {
    let (group, version) = wanted.api_version.split_once('/').unwrap_or(("", wanted.api_version));
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: wanted.api_version.to_owned(),
        kind: wanted.kind.to_owned(),
        plural: wanted.plural.to_owned(),
    };
    Api::namespaced_with(context.client.clone(), &names.namespace, &resource)
}
