//! The objects of a cluster as they should be. Pure: from the Cluster to what Kubernetes is asked for.

mod access;
mod network;
mod services;
mod stateful_set;

use std::collections::BTreeMap;

use crds::Cluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::names::ClusterNames;
use crate::plan::Desired;
use crate::surroundings::Surroundings;

/// Where a broker is reached at an external listener, by broker and listener name.
pub type Addresses = BTreeMap<(i32, String), Address>;

/// Where a broker is reached at an external listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// At this port of its node.
    NodePort(i32),
    /// At this host, the one of its load balancer.
    LoadBalancer(String),
}

/// What the objects depend on beside what the Cluster says: how far a change may go now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// How many brokers there may be.
    pub brokers: i32,
    /// Pods below this number keep the template that they have.
    pub partition: i32,
    /// Size of the volume claims in the StatefulSet that is there: its template cannot change.
    pub claim_size: Option<String>,
    /// How many brokers a drain may take away at once.
    pub disruptions: i32,
}

/// All objects of a cluster as they should be now.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// What must be there before the first broker starts, in order of creation.
    pub foundations: Vec<Desired>,
    /// The brokers, once their Services have their addresses.
    pub brokers: Vec<Desired>,
    /// Template of the pods.
    pub template: Value,
    /// Pods below this number keep the template that they have.
    pub partition: i32,
}

impl Sheet {
    /// From the Cluster, what is allowed now, and the addresses known so far.
    pub fn new(
        cluster: &Cluster,
        names: &ClusterNames,
        around: &Surroundings,
        shape: &Shape,
        template: Value,
        addresses: &Addresses,
    ) -> Self {
        let mut sheet = Self {
            foundations: foundations(cluster, names, around, shape),
            brokers: Vec::new(),
            template,
            partition: shape.partition,
        };
        sheet.settle(cluster, names, shape, addresses);
        sheet
    }

    /// The brokers again, with the addresses that are known now.
    pub fn settle(&mut self, cluster: &Cluster, names: &ClusterNames, shape: &Shape, addresses: &Addresses) {
        self.brokers = brokers(cluster, names, shape, &self.template, addresses);
    }

    /// Whether an object is among them.
    fn has(&self, kind: &str, name: &str) -> bool {
        let mut all = self.foundations.iter().chain(&self.brokers);
        all.any(|desired| desired.kind == kind && desired.name == name)
    }
}

fn foundations(cluster: &Cluster, names: &ClusterNames, around: &Surroundings, shape: &Shape) -> Vec<Desired> {
    let mut desired = access::desired(cluster, names, shape.brokers);
    desired.push(config_map(
        cluster,
        names,
        names.control_ca(),
        &json!({"ca.crt": around.control_ca}),
    ));
    desired.extend(services::desired(cluster, names, shape.brokers));
    desired.extend(network::desired(cluster, names));
    desired
}

fn brokers(
    cluster: &Cluster,
    names: &ClusterNames,
    shape: &Shape,
    template: &Value,
    addresses: &Addresses,
) -> Vec<Desired> {
    let mut desired = Vec::new();
    if has_external_addresses(cluster) {
        let listener = |name: &str| cluster.spec.listeners.iter().find(|listener| listener.name == name);
        let text = |name: &str, address: &Address| match address {
            Address::NodePort(port) => Some(port.to_string()),
            Address::LoadBalancer(host) => {
                // What the Cluster says itself needs no file.
                let found = listener(name).filter(|listener| listener.advertised_host.is_none())?;
                Some(format!("{host}:{}", found.port))
            }
        };
        let data: serde_json::Map<String, Value> = addresses
            .iter()
            .filter_map(|((id, listener), address)| {
                let text = text(listener, address)?;
                Some((format!("{}-{listener}", names.pod(*id)), Value::String(text)))
            })
            .collect();
        desired.push(config_map(cluster, names, names.addresses(), &Value::Object(data)));
    }
    desired.push(services::disruption_budget(cluster, names, shape.disruptions));
    desired.push(stateful_set::desired(cluster, names, shape, template));
    desired
}

/// Names of objects that the operator may have made for the cluster as it was, by kind: what is not among the desired ones goes.
pub const MADE_BY_KIND: [(&str, &str, &str); 3] = [
    ("v1", "Service", "services"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ("coordination.k8s.io/v1", "Lease", "leases"),
];

/// Whether an object that was found is one that the operator made for this Cluster and that it wants no longer.
pub fn is_left_over(cluster: &Cluster, names: &ClusterNames, sheet: &Sheet, kind: &str, found: &ObjectMeta) -> bool {
    let mut owners = found.owner_references.iter().flatten();
    let ours = owners.any(|owner| Some(&owner.uid) == cluster.metadata.uid.as_ref());
    let name = found.name.as_deref().unwrap_or_default();
    // The controller's Lease is made by who stands for it.
    ours && name != names.controller_lease() && !sheet.has(kind, name)
}

pub use services::{address, external_services};
pub use stateful_set::{claim_size, image, template};

/// Whether a listener is reachable from outside at an address that only its Service knows.
pub fn has_external_addresses(cluster: &Cluster) -> bool {
    cluster.spec.listeners.iter().any(crds::cluster::Listener::is_external)
}

fn config_map(cluster: &Cluster, names: &ClusterNames, name: String, data: &Value) -> Desired {
    let mut object = object("v1", "ConfigMap", cluster, names, &name);
    merge(&mut object, json!({"data": data}));
    Desired {
        api_version: "v1",
        kind: "ConfigMap",
        plural: "configmaps",
        name,
        object,
    }
}

/// Head of an object that goes when its Cluster goes.
fn object(api_version: &str, kind: &str, cluster: &Cluster, names: &ClusterNames, name: &str) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": names.namespace,
            "labels": names.labels(),
            "ownerReferences": [{
                "apiVersion": format!("{}/{}", crds::GROUP, crds::VERSION),
                "kind": "Cluster",
                "name": names.cluster,
                "uid": cluster.metadata.uid,
                "controller": true,
            }],
        },
    })
}

fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

#[cfg(test)]
mod tests;
