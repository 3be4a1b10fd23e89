//! Who may connect to a broker: clients at the listeners, Prometheus and the kubelet at the metrics, and other brokers.

use crds::Cluster;
use serde_json::{Value, json};

use super::{merge, object};
use crate::names::{ClusterNames, METRICS_PORT};
use crate::plan::Desired;

/// Nothing if the Cluster wants no NetworkPolicy.
pub(super) fn desired(cluster: &Cluster, names: &ClusterNames) -> Option<Desired> {
    if !cluster.spec.network_policy.enabled {
        return None;
    }
    let name = names.cluster.clone();
    let mut object = object("networking.k8s.io/v1", "NetworkPolicy", cluster, names, &name);
    merge(
        &mut object,
        json!({"spec": {
            "podSelector": {"matchLabels": names.selector()},
            // Where brokers go is theirs: the controller, the API server, each other, the cluster's DNS.
            "policyTypes": ["Ingress"],
            "ingress": ingress(cluster, names),
        }}),
    );
    Some(Desired {
        api_version: "networking.k8s.io/v1",
        kind: "NetworkPolicy",
        plural: "networkpolicies",
        name,
        object,
    })
}

fn ingress(cluster: &Cluster, names: &ClusterNames) -> Vec<Value> {
    let mut rules = Vec::new();
    for listener in &cluster.spec.listeners {
        let ports = json!([{"port": listener.port, "protocol": "TCP"}]);
        if listener.from.is_empty() {
            rules.push(json!({"ports": ports}));
            continue;
        }
        let mut from: Vec<Value> = listener.from.iter().map(|peer| json!(peer)).collect();
        from.push(json!({"podSelector": {"matchLabels": names.selector()}}));
        rules.push(json!({"ports": ports, "from": from}));
    }
    rules.push(json!({"ports": [{"port": METRICS_PORT, "protocol": "TCP"}]}));
    rules
}
