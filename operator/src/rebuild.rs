//! A metadata log that is gone, or older than what brokers know, is made anew from the images on their disks (METADATA 24).
//!
//! The decision is `model::rebuild`; here brokers are asked, people are told who is missing, and the new log is written by
//! the same compare-and-swap as every append: whoever restores the right log meanwhile has been quicker.

use std::collections::BTreeSet;
use std::time::Duration;

use control::ClusterRef;
use controller_host::{begin_with, entropy::random_bytes};
use crds::Cluster;
use kube::Api;
use model::rebuild::{Circumstances, rebuild};
use model::{BrokerId, Lineage, Nonce};
use tracing::{info, warn};

use crate::cluster::report_regressed;
use crate::context::Context;
use crate::error::OperatorError;
use crate::names::ClusterNames;
use crate::shown_images::ShownImages;
use crate::store::KubernetesStore;

/// Whether somebody waived a broker or restored the log is looked at this often.
const LOOK: Duration = Duration::from_secs(5);
/// Brokers that show their images at the same time are taken together.
const SETTLE: Duration = Duration::from_millis(500);

/// Returns when there is a log to lead on: a new one, or one that somebody has restored. Dropped, it leaves nothing behind.
pub(crate) async fn make_anew(context: &Context, names: &ClusterNames, what: &str) -> Result<(), OperatorError> {
    let reference = ClusterRef::new(&names.namespace, &names.cluster)
        .map_err(|error| OperatorError::Controller(error.to_string()))?;
    let asked = Asked {
        context,
        shown: context.seats.show_images(reference.clone()),
        reference,
    };
    let store = KubernetesStore::new(context.client.clone(), names.clone(), context.metrics.clone());
    let clusters: Api<Cluster> = Api::namespaced(context.client.clone(), &names.namespace);
    loop {
        // Either is as good: somebody has come, or it is time to look.
        drop(tokio::time::timeout(LOOK, asked.shown.came()).await);
        tokio::time::sleep(SETTLE).await;
        let Some(cluster) = clusters.get_opt(&names.cluster).await? else {
            return Ok(());
        };
        let remains = store
            .remains()
            .await
            .map_err(|error| OperatorError::Controller(error.to_string()))?;
        if remains.as_ref().is_some_and(|remains| !remains.regressed) {
            info!(cluster = %names.cluster, "the metadata log was restored");
            return Ok(());
        }
        let circumstances = Circumstances {
            lineage: Lineage::from_random(random()?),
            nonce: Nonce::from_random(random()?),
            waived: waived(&cluster),
            stored: remains
                .as_ref()
                .map(|remains| (remains.controller_epoch, remains.end_offset)),
            cluster_id: cluster
                .status
                .as_ref()
                .and_then(|status| status.cluster_id.as_ref()?.parse().ok()),
        };
        match rebuild(&asked.shown.all(), &circumstances) {
            Ok(image) => {
                begin_with(&store, &image, random()?, remains.map(|remains| remains.version))
                    .await
                    .map_err(OperatorError::Controller)?;
                let note = format!(
                    "the metadata log was made anew from the images of the brokers, epoch {}: {what}",
                    image.controller_epoch()
                );
                warn!(cluster = %names.cluster, note, "MetadataRebuilt");
                context.events.warning(&cluster, "MetadataRebuilt", "Rebuild", note);
                return Ok(());
            }
            Err(error) => {
                let said = format!(
                    "{what}; to make it anew: {error} (who is lost for good is given up with the annotation {}: \"ID,ID\")",
                    crds::WAIVED_ANNOTATION
                );
                report_regressed(context, names, &said).await;
            }
        }
    }
}

/// Asks for as long as it lives.
struct Asked<'a> {
    context: &'a Context,
    reference: ClusterRef,
    shown: std::sync::Arc<ShownImages>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.context.seats.collected(&self.reference);
    }
}

/// A named waiver: ids, with commas between them.
fn waived(cluster: &Cluster) -> BTreeSet<BrokerId> {
    let annotations = cluster.metadata.annotations.as_ref();
    let text = annotations.and_then(|annotations| annotations.get(crds::WAIVED_ANNOTATION));
    let ids = text.into_iter().flat_map(|text| text.split(','));
    ids.filter_map(|id| id.trim().parse().ok().map(BrokerId)).collect()
}

fn random<const N: usize>() -> Result<[u8; N], OperatorError> {
    random_bytes().map_err(|error| OperatorError::Controller(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiver_names_brokers_and_nothing_else() {
        let mut cluster = Cluster::new("castle", crds::ClusterSpec::default());
        assert!(waived(&cluster).is_empty());
        let annotation = (crds::WAIVED_ANNOTATION.to_owned(), "2, 4,all".to_owned());
        cluster.metadata.annotations = Some([annotation].into());
        assert_eq!(waived(&cluster), BTreeSet::from([BrokerId(2), BrokerId(4)]));
    }
}
