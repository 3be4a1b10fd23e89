//! How brokers are found: by name inside, by node port outside.

use crds::Cluster;
use crds::cluster::{Listener, ListenerType};
use serde_json::{Value, json};

use super::{Address, merge, object};
use crate::names::{ClusterNames, METRICS_PORT};
use crate::plan::Desired;

pub(super) fn desired(cluster: &Cluster, names: &ClusterNames, brokers: i32) -> Vec<Desired> {
    let mut desired = vec![headless(cluster, names), bootstrap(cluster, names)];
    for (id, listener) in external(cluster, brokers) {
        desired.push(of_broker(cluster, names, id, listener));
    }
    desired
}

/// Broker and listener of each Service that reaches outside.
pub fn external_services(cluster: &Cluster) -> impl Iterator<Item = (i32, &Listener)> {
    external(cluster, cluster.spec.replicas)
}

fn external(cluster: &Cluster, brokers: i32) -> impl Iterator<Item = (i32, &Listener)> {
    let outside = cluster.spec.listeners.iter().filter(|listener| listener.is_external());
    outside.flat_map(move |listener| (0..brokers).map(move |id| (id, listener)))
}

/// Where a broker is reached by its Service at this listener, once Kubernetes or the load balancer has said so.
pub fn address(listener: &Listener, service: &Value) -> Option<Address> {
    match listener.kind {
        ListenerType::Internal => None,
        ListenerType::NodePort => {
            let port = service.pointer("/spec/ports/0/nodePort")?.as_i64()?;
            Some(Address::NodePort(i32::try_from(port).ok()?))
        }
        ListenerType::LoadBalancer => {
            if let Some(host) = &listener.advertised_host {
                return Some(Address::LoadBalancer(host.clone()));
            }
            let ingress = service.pointer("/status/loadBalancer/ingress/0")?;
            let host = ingress.get("hostname").or_else(|| ingress.get("ip"))?.as_str()?;
            Some(Address::LoadBalancer(host.to_owned()))
        }
    }
}

/// One broker at a time may be taken away by a drain, and none while a partition could not spare it.
pub(super) fn disruption_budget(cluster: &Cluster, names: &ClusterNames, disruptions: i32) -> Desired {
    let name = names.cluster.clone();
    let mut object = object("policy/v1", "PodDisruptionBudget", cluster, names, &name);
    merge(
        &mut object,
        json!({"spec": {"maxUnavailable": disruptions, "selector": {"matchLabels": names.selector()}}}),
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

fn of_broker(cluster: &Cluster, names: &ClusterNames, id: i32, listener: &Listener) -> Desired {
    let kind = if listener.kind == ListenerType::LoadBalancer {
        "LoadBalancer"
    } else {
        "NodePort"
    };
    let mut spec = json!({"type": kind, "ports": [port(listener)]});
    if let Some(class) = &listener.load_balancer_class {
        merge(&mut spec, json!({"loadBalancerClass": class}));
    }
    if !listener.load_balancer_source_ranges.is_empty() {
        merge(
            &mut spec,
            json!({"loadBalancerSourceRanges": listener.load_balancer_source_ranges}),
        );
    }
    let mut desired = service(cluster, names, names.external(id, &listener.name), spec);
    if !listener.service_annotations.is_empty()
        && let Some(metadata) = desired.object.get_mut("metadata")
    {
        merge(metadata, json!({"annotations": listener.service_annotations}));
    }
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
