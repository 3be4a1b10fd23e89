use super::super::fixture::{fenced, image, with_topic};
use super::super::rollout::Obstacle;
use super::*;
use crds::ClusterSpec;
use serde_json::json;

fn cluster() -> Cluster {
    let mut cluster = Cluster::new("castle", ClusterSpec::default());
    cluster.metadata.generation = Some(7);
    cluster
}

fn pod(ready: bool) -> Arc<Pod> {
    let status = if ready { "True" } else { "False" };
    let pod = json!({
        "spec": {"containers": [], "nodeName": "node-1"},
        "status": {"hostIP": "192.0.2.1", "conditions": [{"type": "Ready", "status": status}]},
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

struct Case {
    names: ClusterNames,
    image: MetadataImage,
    volumes: Volumes,
}

impl Case {
    fn new(image: MetadataImage) -> Self {
        Self {
            names: ClusterNames::new("mail", "castle"),
            image,
            volumes: Volumes::default(),
        }
    }

    fn view(&self) -> View<'_> {
        View {
            names: &self.names,
            image: &self.image,
            controller: "operator-1",
            pods: (0..3).map(|id| (id, pod(true))).collect(),
            addresses: None,
            failed: None,
            refused: None,
            applied: true,
            step: Some(Step::Settled),
            scale: Scale::As(3),
            volumes: &self.volumes,
            paused: false,
        }
    }
}

/// `Ready/Available Reconciling=False/Settled ...`, as one line.
fn said(view: &View<'_>) -> String {
    let status = view.status(&cluster());
    let mut said: Vec<String> = status
        .conditions
        .iter()
        .map(|condition| {
            assert_eq!(condition.observed_generation, Some(7));
            format!("{}={}/{}", condition.type_, condition.status, condition.reason)
        })
        .collect();
    said.sort();
    assert_eq!(status.observed_generation, Some(7));
    said.join(" ")
}

fn replicated() -> MetadataImage {
    with_topic(image(3), "letters", 2, &[&[0, 1, 2]])
}

const FINE: &str = "InSync=True/AllInSync Ready=True/Available Reconciling=False/Settled Stalled=False/NoObstacle";

#[test]
fn a_cluster_that_is_as_asked_says_so_in_every_condition() {
    assert_eq!(said(&Case::new(replicated()).view()), FINE);
}

#[test]
fn a_change_that_is_not_at_work_yet_is_not_ready() {
    let case = Case::new(replicated());
    let mut view = case.view();
    view.applied = false;
    view.step = Some(Step::Unseen);
    assert_eq!(
        said(&view),
        "InSync=True/AllInSync Ready=False/Pending Reconciling=True/Applying Stalled=False/NoObstacle"
    );
}

#[test]
fn a_roll_is_reconciling_and_says_what_holds_it() {
    let case = Case::new(replicated());
    let mut view = case.view();
    view.step = Some(Step::Restarting(1));
    assert!(said(&view).contains("Reconciling=True/RollingUpdate"));
    assert_eq!(view.status(&cluster()).updated_replicas, Some(1));
    view.step = Some(Step::Hold(0, Obstacle::NotReady(2)));
    assert!(said(&view).contains("Ready=True/Available Reconciling=True/RollPaused"));
}

#[test]
fn what_needs_a_person_is_stalled() {
    let mut case = Case::new(replicated());
    case.volumes.refused = Some("the class does not allow it".to_owned());
    let mut view = case.view();
    assert!(said(&view).contains("Stalled=True/StorageNotExpandable"));
    view.scale = Scale::Refused {
        keep: 3,
        why: "no".to_owned(),
    };
    assert!(said(&view).contains("Stalled=True/ScaleDownBlocked"));
    view.failed = Some(("denied".to_owned(), true));
    assert!(said(&view).contains("Ready=False/ApplyFailed"));
    assert!(said(&view).contains("Stalled=True/ApplyFailed"));
    // An API server that does not answer needs patience only.
    view.failed = Some(("no answer".to_owned(), false));
    assert!(!said(&view).contains("Stalled=True/ApplyFailed"));
}

#[test]
fn a_broker_that_is_out_shows_in_in_sync() {
    let one = Case::new(fenced(replicated(), 2));
    assert!(said(&one.view()).contains("InSync=False/UnderReplicated"));
    let two = Case::new(fenced(fenced(replicated(), 2), 1));
    assert!(said(&two.view()).contains("InSync=False/UnderMinIsr"));
    let brokers = two.view().status(&cluster()).brokers;
    let states: Vec<_> = brokers.iter().map(|broker| broker.state.as_str()).collect();
    assert_eq!(states, ["Online", "Fenced", "Fenced"]);
}

#[test]
fn a_leader_elected_from_what_was_left_is_told_of_until_the_next_one() {
    let mut image = replicated();
    let (topic, partition) = {
        let topic = image.topics().values().next().unwrap();
        (topic.id, topic.indexed().next().unwrap().1.clone())
    };
    let leader = partition.replicas[0];
    let elected = model::record::PartitionChanged {
        isr: Some(vec![leader]),
        leader: Some(leader),
        unclean: true,
        ..model::record::PartitionChanged::of(topic, model::PartitionIndex(0))
    };
    let name = image.topic(topic).unwrap().name.clone();
    image.append(elected.into()).unwrap();
    let mut before = cluster();
    let status = Case::new(image.clone()).view().status(&before);
    let lost = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == POSSIBLE_LOSS);
    let lost = lost.unwrap();
    assert_eq!((lost.status.as_str(), lost.reason.as_str()), ("True", "UncleanLeader"));
    assert!(lost.message.contains(&format!("{name}-0")), "{}", lost.message);
    before.status = Some(status);
    let after = Case::new(fenced(image, leader.0));
    let said = after.view().status(&before).conditions;
    assert!(said.iter().all(|condition| condition.type_ != POSSIBLE_LOSS));
}

#[test]
fn a_pod_that_cannot_start_is_named_with_its_reason() {
    let case = Case::new(replicated());
    let mut view = case.view();
    let stuck = json!({"status": {"containerStatuses": [{
        "name": "broker", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
        "state": {"waiting": {"reason": "ImagePullBackOff"}},
    }]}});
    view.pods[1].1 = Arc::new(serde_json::from_value(stuck).unwrap());
    let status = view.status(&cluster());
    let ready = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == READY)
        .unwrap();
    assert_eq!(ready.message, "2 of 3 brokers are ready; broker 1: ImagePullBackOff");
}

#[test]
fn a_paused_cluster_says_so_and_only_then() {
    let case = Case::new(replicated());
    let mut view = case.view();
    view.paused = true;
    assert!(said(&view).contains("Paused=True/Asked"));
    let mut before = cluster();
    before.status = Some(view.status(&before));
    view.paused = false;
    assert!(
        view.status(&before)
            .conditions
            .iter()
            .all(|condition| condition.type_ != PAUSED)
    );
}

#[test]
fn an_external_address_is_not_taken_back_before_the_services_were_read() {
    let mut cluster = cluster();
    let external = json!({"name": "external", "port": 9094, "type": "NodePort"});
    cluster.spec.listeners = vec![serde_json::from_value(external).unwrap()];
    let case = Case::new(replicated());
    let addresses: Addresses = (0..3)
        .map(|id| ((id, "external".to_owned()), Address::NodePort(30_000 + id)))
        .collect();
    let known = View {
        addresses: Some(&addresses),
        ..case.view()
    };
    let before = known.status(&cluster);
    assert_eq!(
        before.listeners[0].bootstrap_servers,
        "192.0.2.1:30000,192.0.2.1:30001,192.0.2.1:30002"
    );
    cluster.status = Some(before.clone());
    assert_eq!(case.view().status(&cluster).listeners, before.listeners);
    cluster.status = None;
    assert_eq!(case.view().status(&cluster).listeners[0].bootstrap_servers, "");
}
