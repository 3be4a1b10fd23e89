//! How brokers are found: by name inside, by node port outside.

use crds::Cluster;
use crds::cluster::{Listener, ListenerType};
use serde_json::{Value, json};

use super::{merge, object};
use crate::names::{ClusterNames, METRICS_PORT};
use crate::plan::Desired;

pub(super) fn desired(cluster: &Cluster, names: &ClusterNames) -> Vec<Desired> {
    let mut desired = vec![headless(cluster, names), bootstrap(cluster, names)];
    for (id, listener) in external_services(cluster) {
        desired.push(external(cluster, names, id, listener));
    }
    desired
}

/// Broker and listener of each Service that reaches outside.
pub fn external_services(cluster: &Cluster) -> impl Iterator<Item = (i32, &Listener)> {
    let outside = cluster
        .spec
        .listeners
        .iter()
        .filter(|listener| listener.kind == ListenerType::NodePort);
    outside.flat_map(|listener| (0..cluster.spec.replicas).map(move |id| (id, listener)))
}

/// One broker at a time may be taken away by a drain.
pub(super) fn disruption_budget(cluster: &Cluster, names: &ClusterNames) -> Desired {
    let name = names.cluster.clone();
    let mut object = object("policy/v1", "PodDisruptionBudget", cluster, names, &name);
    merge(
        &mut object,
        json!({"spec": {"maxUnavailable": 1, "selector": {"matchLabels": names.selector()}}}),
    );
    Desired {
        api_version: "policy/v1",
        kind: "PodDisruptionBudget",
        plural: "poddisruptionbudgets",
        name,
        object,
    }
}

fn headless(cluster: &Cluster, names: &ClusterNames) -> Desired {
    let mut ports = listener_ports(cluster);
    ports.push(json!({"name": "tcp-prometheus", "port": METRICS_PORT, "targetPort": METRICS_PORT, "protocol": "TCP"}));
    let spec = json!({"clusterIP": "None", "ports": ports});
    service(cluster, names, names.headless(), spec)
}

fn bootstrap(cluster: &Cluster, names: &ClusterNames) -> Desired {
    service(
        cluster,
        names,
        names.bootstrap(),
        json!({"type": "ClusterIP", "ports": listener_ports(cluster)}),
    )
}

fn external(cluster: &Cluster, names: &ClusterNames, id: i32, listener: &Listener) -> Desired {
    let mut desired = service(
        cluster,
        names,
        names.external(id, &listener.name),
        json!({"type": "NodePort", "ports": [port(listener)]}),
    );
    if let Some(selector) = desired
        .object
        .pointer_mut("/spec/selector")
        .and_then(Value::as_object_mut)
    {
        selector.insert(
            "statefulset.kubernetes.io/pod-name".to_owned(),
            Value::String(names.pod(id)),
        );
    }
    desired
}

/// Every Service publishes brokers that are not ready: one that waits for the controller still serves
/// what is its own, and during an outage of the API server nobody marks anything ready.
fn service(cluster: &Cluster, names: &ClusterNames, name: String, mut spec: Value) -> Desired {
    merge(
        &mut spec,
        json!({"publishNotReadyAddresses": true, "selector": names.selector()}),
    );
    let mut object = object("v1", "Service", cluster, names, &name);
    merge(&mut object, json!({"spec": spec}));
    Desired {
        api_version: "v1",
        kind: "Service",
        plural: "services",
        name,
        object,
    }
}

fn listener_ports(cluster: &Cluster) -> Vec<Value> {
    cluster.spec.listeners.iter().map(port).collect()
}

fn port(listener: &Listener) -> Value {
    json!({"name": format!("tcp-{}", listener.name), "port": listener.port, "targetPort": listener.port, "protocol": "TCP"})
}
