//! The objects of a cluster as they should be. Pure: from the Cluster to what Kubernetes is asked for.

mod access;
mod services;
mod stateful_set;

use std::collections::BTreeMap;

use crds::Cluster;
use serde_json::{Value, json};

use crate::names::ClusterNames;
use crate::plan::Desired;

/// What the objects need to know beside the Cluster itself.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Image of a broker if the Cluster names none, `repository:tag`.
    pub broker_image: String,
    /// `host:port` where brokers find the controller.
    pub control_address: String,
    /// Certificate authority of the control port, PEM.
    pub control_ca: String,
}

/// Node port by broker and listener name.
pub type NodePorts = BTreeMap<(i32, String), i32>;

/// Everything that must be there before the first broker starts, in order of creation.
pub fn foundations(cluster: &Cluster, names: &ClusterNames, around: &Surroundings) -> Vec<Desired> {
    let mut desired = access::desired(cluster, names);
    desired.push(config_map(
        cluster,
        names,
        names.control_ca(),
        &json!({"ca.crt": around.control_ca}),
    ));
    desired.extend(services::desired(cluster, names));
    desired
}

/// The brokers, once their Services have their node ports.
pub fn brokers(cluster: &Cluster, names: &ClusterNames, around: &Surroundings, ports: &NodePorts) -> Vec<Desired> {
    let mut desired = Vec::new();
    if has_node_ports(cluster) {
        let data: serde_json::Map<String, Value> = ports
            .iter()
            .map(|((id, listener), port)| {
                (
                    format!("{}-{listener}", names.pod(*id)),
                    Value::String(port.to_string()),
                )
            })
            .collect();
        desired.push(config_map(cluster, names, names.node_ports(), &Value::Object(data)));
    }
    desired.push(services::disruption_budget(cluster, names));
    desired.push(stateful_set::desired(cluster, names, around));
    desired
}

pub use services::external_services;
pub use stateful_set::image;

/// Whether a listener is reachable from outside.
pub fn has_node_ports(cluster: &Cluster) -> bool {
    cluster
        .spec
        .listeners
        .iter()
        .any(|listener| listener.kind == crds::cluster::ListenerType::NodePort)
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
