//! Which clusters this replica decides for, and where the others are decided.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use control::{ClusterRef, Refusal};
use controller_host::{ControllerHandle, Resolver};

use crate::election::parse_holder;
use crate::names::ClusterNames;
use crate::watches::Watches;

/// The controllers of this replica, by cluster.
#[derive(Clone)]
pub struct Seats {
    taken: Arc<RwLock<HashMap<ClusterRef, ControllerHandle>>>,
    watches: Watches,
}

impl Seats {
    /// None yet.
    pub fn new(watches: Watches) -> Self {
        Self {
            taken: Arc::default(),
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

    /// How many clusters this replica decides for.
    pub fn count(&self) -> u32 {
        u32::try_from(self.taken.read().unwrap_or_else(PoisonError::into_inner).len()).unwrap_or(u32::MAX)
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
        let taken = self.taken.read().unwrap_or_else(PoisonError::into_inner);
        taken
            .get(cluster)
            .cloned()
            .ok_or_else(|| Refusal::not_controller(self.hint(cluster)))
    }
}
