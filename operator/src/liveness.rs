//! The second witness of a broker's life: its Lease, and what the kubelet says of its container.

use std::collections::HashMap;

use controller::Proof;
use controller_host::ControllerHandle;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use model::{BrokerId, BrokerRegistration, IncarnationId};

use crate::context::Context;
use crate::hub::Kind;
use crate::names::ClusterNames;

/// Tells the controller of every change of a broker's Lease and of every container that ended.
pub(crate) async fn witness(context: &Context, names: &ClusterNames, handle: &ControllerHandle) {
    let mut leases = context.watches.hub.subscribe(names, Kind::BrokerLease);
    let mut pods = context.watches.hub.subscribe(names, Kind::Brokers);
    leases.mark_changed();
    pods.mark_changed();
    let mut seen: HashMap<i32, String> = HashMap::new();
    loop {
        tokio::select! {
            changed = leases.changed() => {
                if changed.is_err() { return }
                tell_of_leases(context, names, handle, &mut seen).await;
            }
            changed = pods.changed() => {
                if changed.is_err() { return }
                tell_of_containers(context, names, handle).await;
            }
        }
    }
}

async fn tell_of_leases(
    context: &Context,
    names: &ClusterNames,
    handle: &ControllerHandle,
    seen: &mut HashMap<i32, String>,
) {
    for lease in context
        .watches
        .leases
        .state_filter(|lease| lease.metadata.namespace.as_deref() == Some(&names.namespace))
    {
        let id = lease
            .metadata
            .name
            .as_deref()
            .and_then(|name| names.broker_of_lease(name));
        let (Some(id), Some(version)) = (id, lease.metadata.resource_version.clone()) else {
            continue;
        };
        let changed = seen.insert(id, version.clone()).is_none_or(|before| before != version);
        // A holder that gave its Lease back has left, and is no sign of life.
        let Some(holder) = holder(&lease).filter(|_| changed) else {
            continue;
        };
        handle.lease_seen(BrokerId(id), incarnation(holder)).await;
    }
}

async fn tell_of_containers(context: &Context, names: &ClusterNames, handle: &ControllerHandle) {
    let image = handle.image().borrow().clone();
    for registration in image.brokers().values().filter(|registration| !registration.fenced) {
        let Some(pod) = context.watches.pod(names, registration.id.0) else {
            continue;
        };
        if has_ended(&pod, registration) {
            handle
                .broker_gone(registration.id, Some(registration.incarnation), Proof::Terminated)
                .await;
        }
    }
}

/// Whether the kubelet says that the container of this registration's pod does not run.
fn has_ended(pod: &Pod, registration: &BrokerRegistration) -> bool {
    // Another pod of that name says nothing about the registered process.
    if pod.metadata.uid.is_none() || pod.metadata.uid != registration.pod_uid {
        return false;
    }
    let status = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    let broker = status.and_then(|all| all.iter().find(|container| container.name == "broker"));
    broker
        .and_then(|container| container.state.as_ref())
        .is_some_and(|state| state.terminated.is_some())
}

fn holder(lease: &Lease) -> Option<&str> {
    lease
        .spec
        .as_ref()?
        .holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}

/// The process in a holder `<pod uid>_<incarnation>`.
fn incarnation(holder: &str) -> Option<IncarnationId> {
    holder.rsplit_once('_')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(uid: &str, state: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "castle-1", "uid": uid},
            "status": {"containerStatuses": [{
                "name": "broker", "ready": false, "restartCount": 1, "image": "i", "imageID": "i", "state": state,
            }]},
        }))
        .unwrap()
    }

    fn registration(pod_uid: &str) -> BrokerRegistration {
        BrokerRegistration {
            id: BrokerId(1),
            epoch: model::BrokerEpoch(7),
            incarnation: IncarnationId(uuid::Uuid::from_u128(1)),
            directory_id: model::DirectoryId(uuid::Uuid::from_u128(2)),
            pod_uid: Some(pod_uid.to_owned()),
            boot_id: None,
            endpoints: Vec::new(),
            rack: None,
            features: std::collections::BTreeMap::default(),
            fenced: false,
            in_controlled_shutdown: false,
        }
    }

    #[test]
    fn a_terminated_container_of_the_registered_pod_is_proof() {
        let ended = json!({"terminated": {"exitCode": 137}});
        assert!(has_ended(&pod("a", &ended), &registration("a")));
    }

    #[test]
    fn rule_20_another_pod_or_a_running_container_proves_nothing() {
        let ended = json!({"terminated": {"exitCode": 137}});
        assert!(!has_ended(&pod("b", &ended), &registration("a")));
        assert!(!has_ended(&pod("a", &json!({"running": {}})), &registration("a")));
        assert!(!has_ended(&pod("a", &json!({"waiting": {}})), &registration("a")));
    }

    #[test]
    fn a_lease_names_the_process_that_holds_it() {
        let id = IncarnationId(uuid::Uuid::from_u128(42));
        assert_eq!(incarnation(&format!("4711_{id}")), Some(id));
        assert_eq!(incarnation("nobody"), None);
    }
}
