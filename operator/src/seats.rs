//! Which clusters this replica decides for, where the others are decided, and in which racks their brokers are.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use control::{ClusterRef, Reason, Refusal};
use controller_host::{ControllerHandle, Resolver};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use model::{BrokerId, ImageDocument};
use tokio::time::timeout;
use tracing::warn;

use crate::elector::parse_holder;
use crate::names::ClusterNames;
use crate::shown_images::ShownImages;
use crate::watches::Watches;

/// A broker that starts waits no longer than this for its node's labels.
const NODE_WITHIN: Duration = Duration::from_secs(2);

/// The controllers of this replica, by cluster.
#[derive(Clone)]
pub struct Seats {
    taken: Arc<RwLock<HashMap<ClusterRef, ControllerHandle>>>,
    /// Clusters whose log is made anew here.
    images: Arc<RwLock<HashMap<ClusterRef, Arc<ShownImages>>>>,
    client: Client,
    watches: Watches,
}

impl Seats {
    /// None yet.
    pub fn new(client: Client, watches: Watches) -> Self {
        Self {
            taken: Arc::default(),
            images: Arc::default(),
            client,
            watches,
        }
    }

    /// From now on this controller answers for the cluster.
    pub fn take(&self, cluster: ClusterRef, handle: ControllerHandle) {
        self.taken
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(cluster, handle);
    }

    /// Nobody answers for the cluster here any more.
    pub fn leave(&self, cluster: &ClusterRef) {
        self.taken
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(cluster);
    }

    /// From now on brokers of the cluster are asked for their images.
    pub(crate) fn show_images(&self, cluster: ClusterRef) -> Arc<ShownImages> {
        let shown = Arc::new(ShownImages::default());
        let mut images = self.images.write().unwrap_or_else(PoisonError::into_inner);
        images.insert(cluster, Arc::clone(&shown));
        shown
    }

    /// Nobody is asked any more.
    pub(crate) fn collected(&self, cluster: &ClusterRef) {
        self.images
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(cluster);
    }

    fn shown_images(&self, cluster: &ClusterRef) -> Option<Arc<ShownImages>> {
        let images = self.images.read().unwrap_or_else(PoisonError::into_inner);
        images.get(cluster).cloned()
    }

    /// How many clusters this replica decides for.
    pub fn count(&self) -> u32 {
        u32::try_from(self.taken.read().unwrap_or_else(PoisonError::into_inner).len()).unwrap_or(u32::MAX)
    }

    /// The label of the node that the broker's pod runs on: `None` if the Cluster has no racks.
    async fn rack_of_node(&self, names: &ClusterNames, broker: BrokerId) -> Option<Result<String, String>> {
        let cluster = self.watches.cluster(names)?;
        let key = &cluster.spec.rack.as_ref()?.topology_key;
        let pod = self.watches.pod(names, broker.0);
        let Some(node) = pod.as_ref().and_then(|pod| pod.spec.as_ref()?.node_name.as_ref()) else {
            return Some(Err(format!("pod {} has no node yet", names.pod(broker.0))));
        };
        let nodes: Api<Node> = Api::all(self.client.clone());
        Some(match timeout(NODE_WITHIN, nodes.get_metadata(node)).await {
            Ok(Ok(found)) => match found.metadata.labels.and_then(|mut labels| labels.remove(key)) {
                Some(rack) => Ok(rack),
                None => Err(format!("node {node} has no label {key}")),
            },
            Ok(Err(error)) => Err(format!("node {node}: {}", crate::error::sentence(&error))),
            Err(_) => Err(format!("node {node}: no answer within {NODE_WITHIN:?}")),
        })
    }

    fn hint(&self, cluster: &ClusterRef) -> Option<String> {
        let names = ClusterNames::new(&cluster.namespace, &cluster.name);
        let lease = self.watches.lease(&names.namespace, &names.controller_lease())?;
        let (_, address) = parse_holder(lease.spec.as_ref()?.holder_identity.as_deref()?)?;
        Some(address.to_owned())
    }
}

impl Resolver for Seats {
    fn resolve(&self, cluster: &ClusterRef) -> Result<ControllerHandle, Refusal> {
        if self.shown_images(cluster).is_some() {
            let message = "the metadata log is being made anew: show your image";
            return Err(Refusal::new(Reason::Regressed, message));
        }
        let taken = self.taken.read().unwrap_or_else(PoisonError::into_inner);
        taken
            .get(cluster)
            .cloned()
            .ok_or_else(|| Refusal::not_controller(self.hint(cluster)))
    }

    fn offer(&self, cluster: &ClusterRef, broker: BrokerId, image: Vec<u8>) -> Result<(), Refusal> {
        let shown = self
            .shown_images(cluster)
            .ok_or_else(|| Refusal::not_controller(self.hint(cluster)))?;
        let (document, _) = ImageDocument::decode(&image)
            .map_err(|error| Refusal::new(Reason::Invalid, format!("the image cannot be used: {error}")))?;
        shown.put(broker, document);
        Ok(())
    }

    async fn rack(&self, cluster: &ClusterRef, broker: BrokerId) -> Option<String> {
        let names = ClusterNames::new(&cluster.namespace, &cluster.name);
        match self.rack_of_node(&names, broker).await? {
            Ok(rack) => Some(rack),
            Err(reason) => {
                // Where it was before is a better guess than nowhere.
                let before = self.resolve(cluster).ok().map(|controller| controller.image());
                let before = before.and_then(|image| image.borrow().broker(broker)?.rack.clone());
                warn!(cluster = %names.cluster, %broker, reason, rack = before, "the broker's rack is not known");
                before
            }
        }
    }
}
