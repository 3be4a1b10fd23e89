//! Volumes that should be larger. The template of a StatefulSet cannot change, so its claims are grown one by one; one that
//! somebody grew further stays as it is.

use crds::Cluster;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use tracing::info;

use crate::context::Context;
use crate::error::{OperatorError, is_not_found};
use crate::names::{ClusterNames, FIELD_MANAGER};

/// How the volumes are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Volumes {
    /// Claims that were just asked to grow.
    pub(super) grown: Vec<String>,
    /// Claims whose volume is still smaller than asked.
    pub(super) growing: usize,
    /// What Kubernetes said to one that cannot grow.
    pub(super) refused: Option<String>,
}

/// Grows what is too small.
pub(super) async fn grow(context: &Context, names: &ClusterNames, cluster: &Cluster) -> Result<Volumes, OperatorError> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &names.namespace);
    let ours = ListParams::default().labels(&names.selector_text());
    let wanted = &cluster.spec.storage.size;
    let mut volumes = Volumes::default();
    for claim in claims.list(&ours).await? {
        let name = claim.metadata.name.clone().unwrap_or_default();
        if !names.is_claim(&name) {
            continue;
        }
        if is_smaller(requested(&claim), wanted) {
            let patch = json!({
                "metadata": {"uid": claim.metadata.uid},
                "spec": {"resources": {"requests": {"storage": wanted}}},
            });
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            match claims.patch(&name, &params, &Patch::Merge(&patch)).await {
                Ok(_) => {
                    info!(claim = name, size = wanted, "asked to grow");
                    volumes.grown.push(name);
                    volumes.growing += 1;
                }
                Err(error) if is_not_found(&error) => {}
                Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => {
                    volumes.refused = Some(status.message);
                }
                Err(error) => return Err(error.into()),
            }
        } else if capacity(&claim).is_some_and(|capacity| is_smaller(Some(capacity), wanted)) {
            volumes.growing += 1;
        }
    }
    Ok(volumes)
}

fn requested(claim: &PersistentVolumeClaim) -> Option<&str> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Some(&requests.get("storage")?.0)
}

fn capacity(claim: &PersistentVolumeClaim) -> Option<&str> {
    Some(&claim.status.as_ref()?.capacity.as_ref()?.get("storage")?.0)
}

/// What cannot be read is not touched.
fn is_smaller(there: Option<&str>, wanted: &str) -> bool {
    match (there.and_then(bytes), bytes(wanted)) {
        (Some(there), Some(wanted)) => there < wanted,
        _ => false,
    }
}

/// Bytes of a quantity such as `10Gi`, `1.5G` or `1e9`.
fn bytes(quantity: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 12] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("m", 1e-3),
        ("", 1.0),
    ];
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((quantity.strip_suffix(suffix)?, factor)))?;
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_compared_by_bytes() {
        assert!(is_smaller(Some("1Gi"), "1.5Gi"));
        assert!(is_smaller(Some("1G"), "1Gi"));
        assert!(!is_smaller(Some("1Gi"), "1G"));
        assert!(!is_smaller(Some("1024Mi"), "1Gi"));
        assert!(!is_smaller(Some("1e12"), "1Gi"));
        assert!(is_smaller(Some("1073741824"), "2Gi"));
    }

    #[test]
    fn a_volume_that_somebody_grew_further_is_left_alone() {
        assert!(!is_smaller(Some("20Gi"), "10Gi"));
        assert!(!is_smaller(Some("what"), "10Gi"));
        assert!(!is_smaller(None, "10Gi"));
    }
}
