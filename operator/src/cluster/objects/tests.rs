use super::*;
use crds::ClusterSpec;
use crds::cluster::{Listener, ListenerType};

fn cluster() -> (Cluster, ClusterNames) {
    let mut cluster = Cluster::new("castle", ClusterSpec::default());
    cluster.metadata.namespace = Some("mail".to_owned());
    cluster.metadata.uid = Some("4711".to_owned());
    cluster.spec.listeners.push(Listener {
        name: "external".to_owned(),
        port: 9094,
        kind: ListenerType::NodePort,
        advertised_host: None,
    });
    (cluster, ClusterNames::new("mail", "castle"))
}

fn around() -> Surroundings {
    Surroundings {
        broker_image: "localhost/barnabas-broker:dev".to_owned(),
        control_address: "barnabas-operator-control.barnabas.svc:9405".to_owned(),
        control_ca: "PEM".to_owned(),
    }
}

fn find<'a>(desired: &'a [Desired], kind: &str, name: &str) -> &'a Value {
    let found = desired.iter().find(|d| d.kind == kind && d.name == name);
    &found.unwrap_or_else(|| panic!("no {kind} {name}")).object
}

fn variable(stateful_set: &Value, name: &str) -> String {
    let environment = stateful_set
        .pointer("/spec/template/spec/containers/0/env")
        .unwrap()
        .as_array()
        .unwrap();
    environment.iter().find(|v| v["name"] == name).unwrap()["value"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_broker_may_touch_the_leases_of_its_cluster_and_nothing_else() {
    let (cluster, names) = cluster();
    let desired = foundations(&cluster, &names, &around());
    let rules = &find(&desired, "Role", "castle")["rules"];
    assert_eq!(rules.as_array().unwrap().len(), 1);
    assert_eq!(
        rules[0]["resourceNames"],
        json!(["castle-broker-0", "castle-broker-1", "castle-broker-2"])
    );
    assert_eq!(rules[0]["verbs"], json!(["get", "update", "patch"]));
}

#[test]
fn each_broker_is_reached_from_outside_by_a_service_of_its_own() {
    let (cluster, names) = cluster();
    let desired = foundations(&cluster, &names, &around());
    let service = find(&desired, "Service", "castle-1-external");
    assert_eq!(service["spec"]["type"], "NodePort");
    assert_eq!(
        service["spec"]["selector"]["statefulset.kubernetes.io/pod-name"],
        "castle-1"
    );
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
}

#[test]
fn brokers_advertise_a_name_inside_and_a_node_port_outside() {
    let (cluster, names) = cluster();
    let ports = NodePorts::from([
        ((0, "external".to_owned()), 31_000),
        ((1, "external".to_owned()), 31_001),
    ]);
    let desired = brokers(&cluster, &names, &around(), &ports);
    let stateful_set = find(&desired, "StatefulSet", "castle");
    assert_eq!(
        variable(stateful_set, "BARNABAS_ADVERTISE"),
        "plain=$(BARNABAS_POD_NAME).castle-brokers.mail.svc:9092,\
         external=$(BARNABAS_HOST_IP):@/etc/barnabas/node-ports/$(BARNABAS_POD_NAME)-external"
    );
    assert_eq!(
        variable(stateful_set, "BARNABAS_LISTEN"),
        "plain=0.0.0.0:9092,external=0.0.0.0:9094"
    );
    assert_eq!(
        find(&desired, "ConfigMap", "castle-node-ports")["data"]["castle-1-external"],
        "31001"
    );
}

#[test]
fn brokers_start_together_and_volumes_outlive_the_cluster_unless_it_says_otherwise() {
    let (mut cluster, names) = cluster();
    let retention = |cluster: &Cluster| {
        let desired = brokers(cluster, &names, &around(), &NodePorts::new());
        let stateful_set = find(&desired, "StatefulSet", "castle").clone();
        assert_eq!(stateful_set["spec"]["podManagementPolicy"], "Parallel");
        stateful_set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"].clone()
    };
    assert_eq!(retention(&cluster), "Retain");
    cluster.spec.storage.when_deleted = crds::cluster::WhenDeleted::Delete;
    assert_eq!(retention(&cluster), "Delete");
}

#[test]
fn an_image_is_completed_part_by_part() {
    let (mut cluster, _) = cluster();
    let default = "registry:5000/barnabas/broker:0.1.0";
    assert_eq!(image(&cluster, default), default);
    cluster.spec.image = Some(crds::cluster::Image {
        tag: Some("edge".to_owned()),
        ..Default::default()
    });
    assert_eq!(image(&cluster, default), "registry:5000/barnabas/broker:edge");
    assert_eq!(
        image(&cluster, "registry:5000/barnabas/broker"),
        "registry:5000/barnabas/broker:edge"
    );
    cluster.spec.image = Some(crds::cluster::Image {
        repository: Some("mine".to_owned()),
        ..Default::default()
    });
    assert_eq!(image(&cluster, default), "mine:0.1.0");
}

#[test]
fn everything_goes_with_its_cluster() {
    let (cluster, names) = cluster();
    let mut desired = foundations(&cluster, &names, &around());
    desired.extend(brokers(&cluster, &names, &around(), &NodePorts::new()));
    for desired in desired {
        assert_eq!(
            desired.object["metadata"]["ownerReferences"][0]["uid"], "4711",
            "{}",
            desired.name
        );
    }
}
