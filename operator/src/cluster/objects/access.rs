//! Who a broker is to the API server: a ServiceAccount that may renew its cluster's broker Leases and
//! nothing else, and the Leases themselves, made beforehand so that no broker needs the right to create.

use crds::Cluster;
use serde_json::json;

use super::{merge, object};
use crate::names::ClusterNames;
use crate::plan::Desired;

pub(super) fn desired(cluster: &Cluster, names: &ClusterNames, brokers: i32) -> Vec<Desired> {
    let mut desired = vec![
        service_account(cluster, names),
        role(cluster, names, brokers),
        role_binding(cluster, names),
    ];
    desired.extend((0..brokers).map(|id| lease(cluster, names, id)));
    desired
}

fn service_account(cluster: &Cluster, names: &ClusterNames) -> Desired {
    let name = names.cluster.clone();
    let object = object("v1", "ServiceAccount", cluster, names, &name);
    Desired {
        api_version: "v1",
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        name,
        object,
    }
}

fn role(cluster: &Cluster, names: &ClusterNames, brokers: i32) -> Desired {
    let name = names.cluster.clone();
    let leases: Vec<String> = (0..brokers).map(|id| names.broker_lease(id)).collect();
    let mut object = object("rbac.authorization.k8s.io/v1", "Role", cluster, names, &name);
    merge(
        &mut object,
        json!({"rules": [{
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": leases,
            "verbs": ["get", "update", "patch"],
        }]}),
    );
    Desired {
        api_version: "rbac.authorization.k8s.io/v1",
        kind: "Role",
        plural: "roles",
        name,
        object,
    }
}

fn role_binding(cluster: &Cluster, names: &ClusterNames) -> Desired {
    let name = names.cluster.clone();
    let mut object = object("rbac.authorization.k8s.io/v1", "RoleBinding", cluster, names, &name);
    merge(
        &mut object,
        json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": names.namespace}],
        }),
    );
    Desired {
        api_version: "rbac.authorization.k8s.io/v1",
        kind: "RoleBinding",
        plural: "rolebindings",
        name,
        object,
    }
}

/// Only the head: the holder and its times belong to the broker.
fn lease(cluster: &Cluster, names: &ClusterNames, id: i32) -> Desired {
    let name = names.broker_lease(id);
    let object = object("coordination.k8s.io/v1", "Lease", cluster, names, &name);
    Desired {
        api_version: "coordination.k8s.io/v1",
        kind: "Lease",
        plural: "leases",
        name,
        object,
    }
}
