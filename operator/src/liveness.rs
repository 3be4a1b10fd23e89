//! The second witness of a broker's life: its Lease, and what the kubelet says of its container.

use std::collections::HashMap;

use controller::Proof;
use controller_host::{ControllerHandle, ProbeAddress};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use model::{BrokerId, BrokerRegistration, IncarnationId};

use crate::context::Context;
use crate::hub::Kind;
use crate::names::{ClusterNames, METRICS_PORT};

/// Where a registered process can be looked for: at the IP of the pod that registered, at the port that it opens first and
/// closes last. A pod of another uid is another process, whose refusals say nothing.
// METADATA 20.
pub(crate) fn addresses(
    context: &Context,
    names: &ClusterNames,
) -> impl Fn(&BrokerRegistration) -> Vec<ProbeAddress> + Send + use<> {
    let (context, names) = (context.clone(), names.clone());
    move |broker| {
        let pod = context.watches.pod(&names, broker.id.0);
        let pod = pod.filter(|pod| pod.metadata.uid.is_some() && pod.metadata.uid == broker.pod_uid);
        let ip = pod.and_then(|pod| pod.status.as_ref()?.pod_ip.clone());
        ip.map(|ip| (ip, METRICS_PORT)).into_iter().collect()
    }
}

/// Tells the controller of every change of a broker's Lease and of every container that ended.
pub(crate) async fn witness(context: &Context, names: &ClusterNames, handle: &ControllerHandle) {
    let mut leases = context.watches.hub.subscribe(names, Kind::BrokerLease);
    let mut pods = context.watches.hub.subscribe(names, Kind::Brokers);
    leases.mark_changed();
    pods.mark_changed();
    let mut seen: HashMap<i32, String> = HashMap::new();
    let mut ended: HashMap<BrokerId, String> = HashMap::new();
    loop {
        tokio::select! {
            changed = leases.changed() => {
                if changed.is_err() { return }
                tell_of_leases(context, names, handle, &mut seen).await;
            }
            changed = pods.changed() => {
                if changed.is_err() { return }
                tell_of_containers(context, names, handle, &mut ended).await;
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

/// Each container that ended is told of once. Until the kubelet reports its successor it stands in the pod's status, and by
/// then the process in that successor may have registered.
async fn tell_of_containers(
    context: &Context,
    names: &ClusterNames,
    handle: &ControllerHandle,
    told: &mut HashMap<BrokerId, String>,
) {
    let image = handle.image().borrow().clone();
    for registration in image.brokers().values() {
        let Some(pod) = context.watches.pod(names, registration.id.0) else {
            continue;
        };
        let Some(container) = ended(&pod, registration) else {
            continue;
        };
        let is_new = told.insert(registration.id, container.clone()) != Some(container);
        if is_new && !registration.fenced {
            handle
                .broker_gone(registration.id, Some(registration.incarnation), Proof::Terminated)
                .await;
        }
    }
}

/// The container of this registration's pod that the kubelet says does not run any more.
fn ended(pod: &Pod, registration: &BrokerRegistration) -> Option<String> {
    // Another pod of that name says nothing about the registered process.
    if pod.metadata.uid.is_none() || pod.metadata.uid != registration.pod_uid {
        return None;
    }
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let broker = statuses.iter().find(|container| container.name == "broker")?;
    let ended = broker.state.as_ref()?.terminated.as_ref()?;
    let id = ended.container_id.as_deref().unwrap_or_default();
    Some(format!(
        "{}/{}/{id}",
        registration.pod_uid.as_deref()?,
        broker.restart_count
    ))
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
        assert!(super::ended(&pod("a", &ended), &registration("a")).is_some());
    }

    #[test]
    fn rule_20_another_pod_or_a_running_container_proves_nothing() {
        let ended = json!({"terminated": {"exitCode": 137}});
        assert_eq!(super::ended(&pod("b", &ended), &registration("a")), None);
        assert_eq!(
            super::ended(&pod("a", &json!({"running": {}})), &registration("a")),
            None
        );
        assert_eq!(
            super::ended(&pod("a", &json!({"waiting": {}})), &registration("a")),
            None
        );
    }

    #[test]
    fn the_same_container_is_the_same_proof_and_its_successor_another() {
        let state = |id: &str| json!({"terminated": {"exitCode": 137, "containerID": id}});
        let proof = |id: &str| super::ended(&pod("a", &state(id)), &registration("a"));
        assert_eq!(proof("one"), proof("one"));
        assert_ne!(proof("one"), proof("two"));
    }

    #[test]
    fn a_lease_names_the_process_that_holds_it() {
        let id = IncarnationId(uuid::Uuid::from_u128(42));
        assert_eq!(incarnation(&format!("4711_{id}")), Some(id));
        assert_eq!(incarnation("nobody"), None);
    }
}
