use super::*;
use crds::ClusterSpec;
use crds::cluster::{Listener, ListenerType};
use k8s_openapi::api::apps::v1::StatefulSet;

fn cluster() -> (Cluster, ClusterNames) {
    let mut cluster = Cluster::new("castle", ClusterSpec::default());
    cluster.metadata.namespace = Some("mail".to_owned());
    cluster.metadata.uid = Some("4711".to_owned());
    cluster.spec.listeners.push(Listener {
        name: "external".to_owned(),
        port: 9094,
        kind: ListenerType::NodePort,
        ..Listener::default()
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

fn foundations(cluster: &Cluster, names: &ClusterNames, around: &Surroundings) -> Vec<Desired> {
    super::foundations(cluster, names, around, &shape(cluster))
}

fn brokers(cluster: &Cluster, names: &ClusterNames, around: &Surroundings, addresses: &Addresses) -> Vec<Desired> {
    super::brokers(
        cluster,
        names,
        &shape(cluster),
        &template(cluster, names, around),
        addresses,
    )
}

fn shape(cluster: &Cluster) -> Shape {
    Shape {
        brokers: cluster.spec.replicas,
        partition: cluster.spec.replicas,
        claim_size: None,
        disruptions: 1,
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
    let ports = Addresses::from([
        ((0, "external".to_owned()), Address::NodePort(31_000)),
        ((1, "external".to_owned()), Address::NodePort(31_001)),
    ]);
    let desired = brokers(&cluster, &names, &around(), &ports);
    let stateful_set = find(&desired, "StatefulSet", "castle");
    assert_eq!(
        variable(stateful_set, "BARNABAS_ADVERTISE"),
        "plain=$(BARNABAS_POD_NAME).castle-brokers.mail.svc:9092,\
         external=$(BARNABAS_HOST_IP):@/etc/barnabas/addresses/$(BARNABAS_POD_NAME)-external"
    );
    assert_eq!(
        variable(stateful_set, "BARNABAS_LISTEN"),
        "plain=0.0.0.0:9092,external=0.0.0.0:9094"
    );
    assert_eq!(
        find(&desired, "ConfigMap", "castle-addresses")["data"]["castle-1-external"],
        "31001"
    );
}

#[test]
fn brokers_start_together_and_volumes_outlive_the_cluster_unless_it_says_otherwise() {
    let (mut cluster, names) = cluster();
    let retention = |cluster: &Cluster| {
        let desired = brokers(cluster, &names, &around(), &Addresses::new());
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
    desired.extend(brokers(&cluster, &names, &around(), &Addresses::new()));
    for desired in desired {
        assert_eq!(
            desired.object["metadata"]["ownerReferences"][0]["uid"], "4711",
            "{}",
            desired.name
        );
    }
}

fn pod_spec(cluster: &Cluster, names: &ClusterNames) -> Value {
    let desired = brokers(cluster, names, &around(), &Addresses::new());
    find(&desired, "StatefulSet", "castle")["spec"]["template"].clone()
}

#[test]
fn brokers_behind_load_balancers_advertise_what_those_say_unless_the_cluster_does() {
    let (mut cluster, names) = cluster();
    cluster.spec.replicas = 1;
    cluster.spec.listeners[1].kind = ListenerType::LoadBalancer;
    cluster.spec.listeners[1].load_balancer_source_ranges = vec!["192.0.2.0/24".to_owned()];
    let service = find(
        &foundations(&cluster, &names, &around()),
        "Service",
        "castle-0-external",
    )
    .clone();
    assert_eq!(service["spec"]["type"], "LoadBalancer");
    assert_eq!(service["spec"]["loadBalancerSourceRanges"], json!(["192.0.2.0/24"]));

    let listener = &cluster.spec.listeners[1];
    assert_eq!(address(listener, &service), None);
    let mut there = service;
    there["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}});
    let found = address(listener, &there).unwrap();
    assert_eq!(found, Address::LoadBalancer("192.0.2.7".to_owned()));
    let addresses = Addresses::from([((0, "external".to_owned()), found)]);
    let desired = brokers(&cluster, &names, &around(), &addresses);
    assert_eq!(
        find(&desired, "ConfigMap", "castle-addresses")["data"]["castle-0-external"],
        "192.0.2.7:9094"
    );
    let told = |cluster: &Cluster| {
        let desired = brokers(cluster, &names, &around(), &Addresses::new());
        variable(find(&desired, "StatefulSet", "castle"), "BARNABAS_ADVERTISE")
    };
    assert!(told(&cluster).ends_with(",external=@/etc/barnabas/addresses/$(BARNABAS_POD_NAME)-external"));
    cluster.spec.listeners[1].advertised_host = Some("b{id}.example.org".to_owned());
    assert!(told(&cluster).ends_with(",external=b$(BARNABAS_ID).example.org:9094"));
    cluster.spec.listeners[1].advertised_port = Some(443);
    assert!(told(&cluster).ends_with(",external=b$(BARNABAS_ID).example.org:443"));
}

#[test]
fn a_pod_gets_what_its_template_says_and_keeps_what_is_the_operators() {
    let (mut cluster, names) = cluster();
    let template = json!({
        "labels": {"team": "post"},
        "annotations": {"prometheus.io/scrape": "false"},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}},
        ]}},
        "priorityClassName": "high",
        "imagePullSecrets": [{"name": "registry"}],
    });
    cluster.spec.pod_template = Some(serde_json::from_value(template.clone()).unwrap());
    let pod = pod_spec(&cluster, &names);
    assert_eq!(pod["metadata"]["labels"]["team"], "post");
    assert_eq!(pod["metadata"]["labels"][crds::CLUSTER_LABEL], "castle");
    assert_eq!(pod["metadata"]["annotations"]["prometheus.io/scrape"], "false");
    for field in [
        "nodeSelector",
        "tolerations",
        "affinity",
        "priorityClassName",
        "imagePullSecrets",
    ] {
        assert_eq!(pod["spec"][field], template[field], "{field}");
    }
    assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
}

#[test]
fn pods_are_spread_over_nodes_and_racks_unless_the_cluster_says_how() {
    let (mut cluster, names) = cluster();
    let keys = |cluster: &Cluster| -> Vec<Value> {
        let pod = pod_spec(cluster, &names);
        let constraints = pod["spec"]["topologySpreadConstraints"].as_array().unwrap().clone();
        for constraint in &constraints {
            assert_eq!(constraint["labelSelector"]["matchLabels"], json!(names.selector()));
        }
        constraints.iter().map(|c| c["topologyKey"].clone()).collect()
    };
    assert_eq!(keys(&cluster), ["kubernetes.io/hostname"]);
    cluster.spec.rack = Some(crds::cluster::Rack {
        topology_key: "zone".to_owned(),
    });
    assert_eq!(keys(&cluster), ["zone", "kubernetes.io/hostname"]);
    let own = json!({"topologySpreadConstraints": [
        {"maxSkew": 2, "topologyKey": "room", "whenUnsatisfiable": "DoNotSchedule"},
    ]});
    cluster.spec.pod_template = Some(serde_json::from_value(own).unwrap());
    assert_eq!(keys(&cluster), ["room"]);
}

#[test]
fn a_network_policy_lets_in_clients_where_the_listener_says_and_brokers_everywhere() {
    let (mut cluster, names) = cluster();
    let peers = json!([{"podSelector": {"matchLabels": {"app": "shop"}}}]);
    cluster.spec.listeners[0].from = serde_json::from_value(peers.clone()).unwrap();
    let desired = foundations(&cluster, &names, &around());
    let rules = &find(&desired, "NetworkPolicy", "castle")["spec"]["ingress"];
    assert_eq!(rules[0]["ports"][0]["port"], 9092);
    assert_eq!(rules[0]["from"][0], peers[0]);
    assert_eq!(
        rules[0]["from"][1]["podSelector"]["matchLabels"],
        json!(names.selector())
    );
    assert_eq!(rules[1]["ports"][0]["port"], 9094);
    assert!(rules[1].get("from").is_none());
    assert_eq!(rules[2]["ports"][0]["port"], 9404);
    cluster.spec.network_policy.enabled = false;
    let desired = foundations(&cluster, &names, &around());
    assert!(desired.iter().all(|desired| desired.kind != "NetworkPolicy"));
}

#[test]
fn a_digest_counts_more_than_a_tag() {
    let (mut cluster, _) = cluster();
    let digest = format!("sha256:{}", "0".repeat(64));
    cluster.spec.image = Some(crds::cluster::Image {
        tag: Some("edge".to_owned()),
        digest: Some(digest.clone()),
        ..Default::default()
    });
    assert_eq!(
        image(&cluster, "barnabas/broker:0.1.0"),
        format!("barnabas/broker@{digest}")
    );
}

#[test]
fn what_the_cluster_wants_no_longer_is_left_over_and_what_is_not_ours_never() {
    let (mut cluster, names) = cluster();
    cluster.spec.listeners.pop();
    let (shape, template) = (shape(&cluster), template(&cluster, &names, &around()));
    let sheet = Sheet::new(&cluster, &names, &around(), &shape, template, &Addresses::new());
    let meta = |name: &str, owner: &str| -> ObjectMeta {
        let owner = json!({"apiVersion": "v1", "kind": "Cluster", "name": "castle", "uid": owner});
        serde_json::from_value(json!({"name": name, "ownerReferences": [owner]})).unwrap()
    };
    let goes = |kind, name, owner| is_left_over(&cluster, &names, &sheet, kind, &meta(name, owner));
    assert!(goes("Service", "castle-1-external", "4711"));
    assert!(!goes("Service", "castle-1-external", "4712"));
    assert!(!goes("Service", "castle-bootstrap", "4711"));
    assert!(goes("Lease", "castle-broker-3", "4711"));
    assert!(!goes("Lease", "castle-controller", "4711"));
}

#[test]
fn a_volume_claim_template_keeps_the_size_it_was_made_with() {
    let (mut cluster, names) = cluster();
    cluster.spec.storage.size = "20Gi".to_owned();
    let mut shape = shape(&cluster);
    shape.claim_size = Some("10Gi".to_owned());
    let desired = super::brokers(&cluster, &names, &shape, &json!({}), &Addresses::new());
    let set = find(&desired, "StatefulSet", "castle");
    let size = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
    assert_eq!(set.pointer(size).unwrap(), "10Gi");
    let found: StatefulSet = serde_json::from_value(set.clone()).unwrap();
    assert_eq!(claim_size(&found).as_deref(), Some("10Gi"));
}

#[test]
fn an_annotation_asks_for_a_restart() {
    let (mut cluster, names) = cluster();
    let before = template(&cluster, &names, &around());
    let asked = [(crds::RESTARTED_ANNOTATION.to_owned(), "now".to_owned())];
    cluster.metadata.annotations = Some(asked.into());
    assert_ne!(template(&cluster, &names, &around()), before);
}
