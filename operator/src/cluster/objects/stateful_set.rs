//! The StatefulSet: ordinal = broker id, all started at once, each with its own volume.

use crds::Cluster;
use crds::cluster::{ListenerType, PullPolicy, WhenDeleted};
use serde_json::{Value, json};

use super::{Surroundings, has_node_ports, merge, object};
use crate::names::{CONTROL_AUDIENCE, ClusterNames, METRICS_PORT};
use crate::plan::Desired;

/// Unprivileged user of the container; the volume's group is the same number.
const USER: i64 = 65532;
/// SIGTERM is a hand-over: leaderships move, requests finish, logs are flushed.
const GRACE_SECONDS: i64 = 60;
/// The kubelet renews a token at four fifths of this.
const TOKEN_SECONDS: i64 = 3600;

const DATA: &str = "/data";
const TOKEN: &str = "/var/run/secrets/barnabas";
const CA: &str = "/var/run/secrets/barnabas-ca";
const NODE_PORTS: &str = "/etc/barnabas/node-ports";

pub(super) fn desired(cluster: &Cluster, names: &ClusterNames, around: &Surroundings) -> Desired {
    let name = names.cluster.clone();
    let mut object = object("apps/v1", "StatefulSet", cluster, names, &name);
    let when_deleted = match cluster.spec.storage.when_deleted {
        WhenDeleted::Retain => "Retain",
        WhenDeleted::Delete => "Delete",
    };
    merge(
        &mut object,
        json!({"spec": {
            "replicas": cluster.spec.replicas,
            "serviceName": names.headless(),
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": names.selector()},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted, "whenScaled": "Retain"},
            "template": {
                "metadata": {
                    "labels": names.labels(),
                    "annotations": {
                        "kubectl.kubernetes.io/default-container": "broker",
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": METRICS_PORT.to_string(),
                        "prometheus.io/path": "/metrics",
                    },
                },
                "spec": pod(cluster, names, around),
            },
            "volumeClaimTemplates": [claim(cluster, names)],
        }}),
    );
    Desired {
        api_version: "apps/v1",
        kind: "StatefulSet",
        plural: "statefulsets",
        name,
        object,
    }
}

/// Image of the cluster's brokers: what the Cluster says, else the operator's default, part by part.
pub fn image(cluster: &Cluster, default: &str) -> String {
    let wanted = cluster.spec.image.as_ref();
    // A colon before the last slash belongs to the registry's port.
    let (repository, tag) = match default.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (default, "latest"),
    };
    let repository = wanted
        .and_then(|image| image.repository.as_deref())
        .unwrap_or(repository);
    let tag = wanted.and_then(|image| image.tag.as_deref()).unwrap_or(tag);
    format!("{repository}:{tag}")
}

fn pod(cluster: &Cluster, names: &ClusterNames, around: &Surroundings) -> Value {
    json!({
        "serviceAccountName": names.cluster,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": names.selector()},
        }],
        "containers": [container(cluster, names, around)],
        "volumes": volumes(cluster, names),
    })
}

fn container(cluster: &Cluster, names: &ClusterNames, around: &Surroundings) -> Value {
    let pull_policy = match cluster
        .spec
        .image
        .as_ref()
        .map(|image| image.pull_policy)
        .unwrap_or_default()
    {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    };
    let mut ports: Vec<Value> = cluster
        .spec
        .listeners
        .iter()
        .map(|listener| json!({"name": format!("tcp-{}", listener.name), "containerPort": listener.port, "protocol": "TCP"}))
        .collect();
    ports.push(json!({"name": "tcp-prometheus", "containerPort": METRICS_PORT, "protocol": "TCP"}));
    let mut mounts = vec![
        json!({"name": "data", "mountPath": DATA}),
        json!({"name": "control-token", "mountPath": TOKEN, "readOnly": true}),
        json!({"name": "control-ca", "mountPath": CA, "readOnly": true}),
    ];
    if has_node_ports(cluster) {
        mounts.push(json!({"name": "node-ports", "mountPath": NODE_PORTS, "readOnly": true}));
    }
    let mut container = json!({
        "name": "broker",
        "image": image(cluster, &around.broker_image),
        "imagePullPolicy": pull_policy,
        "args": ["run"],
        "env": environment(cluster, names, around),
        "ports": ports,
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "livenessProbe": probe("/healthz", 10, 5, 6),
        "readinessProbe": probe("/readyz", 2, 2, 3),
    });
    if let Some(resources) = &cluster.spec.resources {
        let mut amounts = serde_json::Map::new();
        if !resources.requests.is_empty() {
            amounts.insert("requests".to_owned(), json!(resources.requests));
        }
        if !resources.limits.is_empty() {
            amounts.insert("limits".to_owned(), json!(resources.limits));
        }
        merge(&mut container, json!({"resources": amounts}));
    }
    container
}

fn probe(path: &str, period: i32, timeout: i32, failures: i32) -> Value {
    json!({
        "httpGet": {"path": path, "port": METRICS_PORT},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    })
}

/// Variables that others refer to come first: Kubernetes expands `$(NAME)` only backwards.
fn environment(cluster: &Cluster, names: &ClusterNames, around: &Surroundings) -> Vec<Value> {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path, "apiVersion": "v1"}}});
    let value = |name: &str, value: String| json!({"name": name, "value": value});
    vec![
        field("BARNABAS_POD_NAME", "metadata.name"),
        field("BARNABAS_POD_UID", "metadata.uid"),
        field("BARNABAS_NAMESPACE", "metadata.namespace"),
        field("BARNABAS_HOST_IP", "status.hostIP"),
        field("BARNABAS_ID", "metadata.labels['apps.kubernetes.io/pod-index']"),
        value("BARNABAS_CLUSTER", format!("{}/{}", names.namespace, names.cluster)),
        value("BARNABAS_CONTROLLER", around.control_address.clone()),
        value("BARNABAS_DATA_DIR", DATA.to_owned()),
        value("BARNABAS_LISTEN", listen(cluster)),
        value("BARNABAS_ADVERTISE", advertise(cluster, names)),
        value("BARNABAS_METRICS", format!("0.0.0.0:{METRICS_PORT}")),
        value("BARNABAS_LEASE", format!("{}-broker-$(BARNABAS_ID)", names.cluster)),
        value("BARNABAS_CONTROL_TOKEN_FILE", format!("{TOKEN}/token")),
        value("BARNABAS_CONTROL_CA_FILE", format!("{CA}/ca.crt")),
    ]
}

fn listen(cluster: &Cluster) -> String {
    let listeners = cluster.spec.listeners.iter();
    listeners
        .map(|listener| format!("{}=0.0.0.0:{}", listener.name, listener.port))
        .collect::<Vec<_>>()
        .join(",")
}

/// Inside, brokers are known by the headless Service's names. Outside, by the node's address and the port
/// that Kubernetes chose for the broker's own Service; the template cannot name it, so a file does.
fn advertise(cluster: &Cluster, names: &ClusterNames) -> String {
    let advertised = cluster.spec.listeners.iter().map(|listener| match listener.kind {
        ListenerType::Internal => format!(
            "{}=$(BARNABAS_POD_NAME).{}.{}.svc:{}",
            listener.name,
            names.headless(),
            names.namespace,
            listener.port
        ),
        ListenerType::NodePort => format!(
            "{0}={1}:@{NODE_PORTS}/$(BARNABAS_POD_NAME)-{0}",
            listener.name,
            listener.advertised_host.as_deref().unwrap_or("$(BARNABAS_HOST_IP)"),
        ),
    });
    advertised.collect::<Vec<_>>().join(",")
}

fn volumes(cluster: &Cluster, names: &ClusterNames) -> Vec<Value> {
    let mut volumes = vec![
        json!({"name": "control-token", "projected": {"sources": [{"serviceAccountToken": {
            "audience": CONTROL_AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token",
        }}]}}),
        json!({"name": "control-ca", "configMap": {"name": names.control_ca()}}),
    ];
    if has_node_ports(cluster) {
        volumes.push(json!({"name": "node-ports", "configMap": {"name": names.node_ports()}}));
    }
    volumes
}

fn claim(cluster: &Cluster, names: &ClusterNames) -> Value {
    let storage = &cluster.spec.storage;
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size}},
    });
    if let Some(class) = &storage.storage_class_name {
        merge(&mut spec, json!({"storageClassName": class}));
    }
    json!({"metadata": {"name": "data", "labels": names.selector()}, "spec": spec})
}
