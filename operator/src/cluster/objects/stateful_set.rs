//! The StatefulSet: ordinal = broker id, all started at once, each with its own volume.

use crds::Cluster;
use crds::cluster::{Listener, ListenerType, PodTemplate, PullPolicy, WhenDeleted};
use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::{Map, Value, json};

use super::{Shape, has_external_addresses, merge, object};
use crate::names::{CONTROL_AUDIENCE, ClusterNames, METRICS_PORT};
use crate::plan::Desired;
use crate::surroundings::Surroundings;

/// Unprivileged user of the container; the volume's group is the same number.
const USER: i64 = 65532;
/// SIGTERM is a hand-over: leaderships move, requests finish, logs are flushed.
const GRACE_SECONDS: i64 = 60;
/// The kubelet renews a token at four fifths of this.
const TOKEN_SECONDS: i64 = 3600;

const DATA: &str = "/data";
const TOKEN: &str = "/var/run/secrets/barnabas";
const CA: &str = "/var/run/secrets/barnabas-ca";
const ADDRESSES: &str = "/etc/barnabas/addresses";

pub(super) fn desired(cluster: &Cluster, names: &ClusterNames, shape: &Shape, template: &Value) -> Desired {
    let name = names.cluster.clone();
    let mut object = object("apps/v1", "StatefulSet", cluster, names, &name);
    let when_deleted = match cluster.spec.storage.when_deleted {
        WhenDeleted::Retain => "Retain",
        WhenDeleted::Delete => "Delete",
    };
    merge(
        &mut object,
        json!({"spec": {
            "replicas": shape.brokers,
            "serviceName": names.headless(),
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": shape.partition}},
            "selector": {"matchLabels": names.selector()},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted, "whenScaled": "Retain"},
            "template": template,
            "volumeClaimTemplates": [claim(cluster, names, shape)],
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

/// The pods as the Cluster wants them.
pub fn template(cluster: &Cluster, names: &ClusterNames, around: &Surroundings) -> Value {
    let nothing = PodTemplate::default();
    let template = cluster.spec.pod_template.as_ref().unwrap_or(&nothing);
    let mut metadata = metadata(template, names);
    let asked = cluster.metadata.annotations.as_ref();
    if let Some(asked) = asked.and_then(|annotations| annotations.get(crds::RESTARTED_ANNOTATION))
        && let Some(annotations) = metadata.get_mut("annotations")
    {
        merge(annotations, json!({crds::RESTARTED_ANNOTATION: asked}));
    }
    json!({"metadata": metadata, "spec": pod(cluster, template, names, around)})
}

/// Size of the volume claims of a StatefulSet.
pub fn claim_size(set: &StatefulSet) -> Option<String> {
    let claims = set.spec.as_ref()?.volume_claim_templates.as_ref()?;
    let requests = claims.first()?.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Some(requests.get("storage")?.0.clone())
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
    if let Some(digest) = wanted.and_then(|image| image.digest.as_deref()) {
        return format!("{repository}@{digest}");
    }
    let tag = wanted.and_then(|image| image.tag.as_deref()).unwrap_or(tag);
    format!("{repository}:{tag}")
}

/// Ours count more than the user's: CEL refuses the keys that could collide, apart from those of Prometheus.
fn metadata(template: &PodTemplate, names: &ClusterNames) -> Value {
    let mut labels = template.labels.clone();
    labels.extend(names.labels());
    let mut annotations: std::collections::BTreeMap<String, String> = [
        ("kubectl.kubernetes.io/default-container", "broker"),
        ("prometheus.io/scrape", "true"),
        ("prometheus.io/port", &METRICS_PORT.to_string()),
        ("prometheus.io/path", "/metrics"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    annotations.extend(template.annotations.clone());
    json!({"labels": labels, "annotations": annotations})
}

fn pod(cluster: &Cluster, template: &PodTemplate, names: &ClusterNames, around: &Surroundings) -> Value {
    let mut pod = json!({
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
        "topologySpreadConstraints": spread(cluster, template, names),
        "containers": [container(cluster, names, around)],
        "volumes": volumes(cluster, names),
    });
    if let Value::Object(pod) = &mut pod {
        // What is absent stays absent: the API server drops what is empty, and would be asked again for ever.
        let mut add = |key: &str, value: Value| {
            if !value.is_null() && value != json!({}) && value != json!([]) {
                pod.insert(key.to_owned(), value);
            }
        };
        add("nodeSelector", json!(template.node_selector));
        add("tolerations", json!(template.tolerations));
        add("affinity", json!(template.affinity));
        add("priorityClassName", json!(template.priority_class_name));
        add("imagePullSecrets", json!(template.image_pull_secrets));
    }
    pod
}

/// Over the nodes, and over the racks if there are any; or as the user says, whose constraints mean the brokers unless they
/// say otherwise.
fn spread(cluster: &Cluster, template: &PodTemplate, names: &ClusterNames) -> Vec<Value> {
    if !template.topology_spread_constraints.is_empty() {
        let constraints = template.topology_spread_constraints.iter().map(|constraint| {
            let mut constraint = json!(constraint);
            if constraint.get("labelSelector").is_none_or(Value::is_null) {
                merge(
                    &mut constraint,
                    json!({"labelSelector": {"matchLabels": names.selector()}}),
                );
            }
            constraint
        });
        return constraints.collect();
    }
    let racks = cluster.spec.rack.iter().map(|rack| rack.topology_key.as_str());
    let keys = racks.chain(["kubernetes.io/hostname"]);
    keys.map(|key| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": names.selector()},
        })
    })
    .collect()
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
    if has_external_addresses(cluster) {
        mounts.push(json!({"name": "addresses", "mountPath": ADDRESSES, "readOnly": true}));
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
        let mut amounts = Map::new();
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

/// Inside, brokers are known by the headless Service's names. Outside, by what their own Service got: a node port, or the
/// address of a load balancer. The template cannot name those, so a file does, unless the Cluster says them.
fn advertise(cluster: &Cluster, names: &ClusterNames) -> String {
    let advertised = cluster.spec.listeners.iter().map(|listener| match listener.kind {
        ListenerType::Internal => format!(
            "{}=$(BARNABAS_POD_NAME).{}.{}.svc:{}",
            listener.name,
            names.headless(),
            names.namespace,
            listener.port
        ),
        ListenerType::NodePort => {
            let host = advertised_host(listener).unwrap_or_else(|| "$(BARNABAS_HOST_IP)".to_owned());
            match listener.advertised_port {
                Some(port) => format!("{}={host}:{port}", listener.name),
                None => format!("{0}={host}:@{ADDRESSES}/$(BARNABAS_POD_NAME)-{0}", listener.name),
            }
        }
        ListenerType::LoadBalancer => match advertised_host(listener) {
            Some(host) => format!(
                "{}={host}:{}",
                listener.name,
                listener.advertised_port.unwrap_or(listener.port)
            ),
            None => format!("{0}=@{ADDRESSES}/$(BARNABAS_POD_NAME)-{0}", listener.name),
        },
    });
    advertised.collect::<Vec<_>>().join(",")
}

fn advertised_host(listener: &Listener) -> Option<String> {
    let host = listener.advertised_host.as_ref()?;
    Some(host.replace("{id}", "$(BARNABAS_ID)"))
}

fn volumes(cluster: &Cluster, names: &ClusterNames) -> Vec<Value> {
    let mut volumes = vec![
        json!({"name": "control-token", "projected": {"sources": [{"serviceAccountToken": {
            "audience": CONTROL_AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token",
        }}]}}),
        json!({"name": "control-ca", "configMap": {"name": names.control_ca()}}),
    ];
    if has_external_addresses(cluster) {
        volumes.push(json!({"name": "addresses", "configMap": {"name": names.addresses()}}));
    }
    volumes
}

fn claim(cluster: &Cluster, names: &ClusterNames, shape: &Shape) -> Value {
    let storage = &cluster.spec.storage;
    let size = shape.claim_size.as_ref().unwrap_or(&storage.size);
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
    });
    if let Some(class) = &storage.storage_class_name {
        merge(&mut spec, json!({"storageClassName": class}));
    }
    json!({"metadata": {"name": "data", "labels": names.selector()}, "spec": spec})
}
