//! What the operator sees of Kubernetes: one watch for each kind, kept as a cache, over all namespaces or one.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crds::{CLUSTER_LABEL, Cluster, Topic};
use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tracing::warn;

use crate::hub::{Hub, Kind};
use crate::metrics::Metrics;
use crate::names::ClusterNames;

/// Caches of everything that is watched.
#[derive(Clone)]
pub struct Watches {
    /// All Clusters.
    pub clusters: Store<Cluster>,
    /// All Topics.
    pub topics: Store<Topic>,
    /// All Leases of our clusters.
    pub leases: Store<Lease>,
    /// All StatefulSets of our clusters.
    pub stateful_sets: Store<StatefulSet>,
    /// All broker pods.
    pub pods: Store<Pod>,
    /// Wakes whoever works on a cluster.
    pub hub: Arc<Hub>,
    /// Wakes when a Cluster or Topic came or went.
    pub population: Arc<tokio::sync::watch::Sender<()>>,
}

impl Watches {
    /// Begins to watch; the tasks live as long as `tasks`.
    pub fn start(client: &Client, namespace: Option<&str>, metrics: &Metrics, tasks: &mut JoinSet<()>) -> Self {
        let scope = Scope { client, namespace };
        let hub = Arc::new(Hub::default());
        let population = Arc::new(tokio::sync::watch::Sender::new(()));
        let ours = watcher::Config::default().labels(CLUSTER_LABEL);
        let all = watcher::Config::default();

        let (clusters, topics) = ((hub.clone(), population.clone()), (hub.clone(), population.clone()));
        let (leases, sets, pods) = (hub.clone(), hub.clone(), hub.clone());
        Self {
            clusters: watch(&scope, all.clone(), metrics, tasks, move |cluster: &Cluster| {
                clusters.0.touch(&cluster_names(cluster), Kind::Cluster);
                clusters.1.send_replace(());
            }),
            topics: watch(&scope, all, metrics, tasks, move |topic: &Topic| {
                topics.0.touch(&topic_cluster(topic), Kind::Topic);
                topics.1.send_replace(());
            }),
            leases: watch(&scope, ours.clone(), metrics, tasks, move |lease: &Lease| {
                if let Some(names) = labelled(lease) {
                    let controller = lease.name_any() == names.controller_lease();
                    leases.touch(
                        &names,
                        if controller {
                            Kind::ControllerLease
                        } else {
                            Kind::BrokerLease
                        },
                    );
                }
            }),
            stateful_sets: watch(&scope, ours.clone(), metrics, tasks, move |set: &StatefulSet| {
                if let Some(names) = labelled(set) {
                    sets.touch(&names, Kind::Brokers);
                }
            }),
            pods: watch(&scope, ours, metrics, tasks, move |pod: &Pod| {
                if let Some(names) = labelled(pod) {
                    pods.touch(&names, Kind::Brokers);
                }
            }),
            hub,
            population,
        }
    }

    /// Waits until every cache holds what was there when it began.
    pub async fn ready(&self) {
        let _ = self.clusters.wait_until_ready().await;
        let _ = self.topics.wait_until_ready().await;
        let _ = self.leases.wait_until_ready().await;
        let _ = self.stateful_sets.wait_until_ready().await;
        let _ = self.pods.wait_until_ready().await;
    }

    /// The Cluster of that name.
    pub fn cluster(&self, names: &ClusterNames) -> Option<Arc<Cluster>> {
        self.clusters
            .get(&ObjectRef::new(&names.cluster).within(&names.namespace))
    }

    /// All Topics that refer to that cluster.
    pub fn topics_of(&self, names: &ClusterNames) -> Vec<Arc<Topic>> {
        self.topics.state_filter(|topic| topic_cluster(topic) == *names)
    }

    /// The Lease of that name.
    pub fn lease(&self, namespace: &str, name: &str) -> Option<Arc<Lease>> {
        self.leases.get(&ObjectRef::new(name).within(namespace))
    }

    /// The StatefulSet of that cluster.
    pub fn stateful_set(&self, names: &ClusterNames) -> Option<Arc<StatefulSet>> {
        self.stateful_sets
            .get(&ObjectRef::new(&names.cluster).within(&names.namespace))
    }

    /// The pods of that cluster's brokers, by broker.
    pub fn broker_pods(&self, names: &ClusterNames) -> Vec<(i32, Arc<Pod>)> {
        let ours = self.pods.state_filter(|pod| labelled(pod).as_ref() == Some(names));
        let number = |pod: &Pod| -> Option<i32> {
            let name = pod.metadata.name.as_deref()?;
            name.strip_prefix(&names.cluster)?.strip_prefix('-')?.parse().ok()
        };
        let mut pods: Vec<_> = ours.into_iter().filter_map(|pod| Some((number(&pod)?, pod))).collect();
        pods.sort_by_key(|(id, _)| *id);
        pods
    }

    /// The pod of that broker.
    pub fn pod(&self, names: &ClusterNames, id: i32) -> Option<Arc<Pod>> {
        self.pods.get(&ObjectRef::new(&names.pod(id)).within(&names.namespace))
    }
}

/// A broken watch is tried again soon: after an outage of the API server the first Topic should not wait long.
struct Patience(Duration);

impl Patience {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(3);
    /// A watch that lived so long was a good one.
    const GOOD: Duration = Duration::from_secs(30);

    fn fresh() -> ResetTimerBackoff<Self> {
        ResetTimerBackoff::new(Self(Self::FIRST), Self::GOOD)
    }
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.0;
        self.0 = (wait * 2).min(Self::LONGEST);
        Some(wait)
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.0 = Self::FIRST;
    }
}

/// Names of a Cluster's objects.
pub fn cluster_names(cluster: &Cluster) -> ClusterNames {
    ClusterNames::new(&cluster.namespace().unwrap_or_default(), &cluster.name_any())
}

/// The cluster that a Topic refers to.
pub fn topic_cluster(topic: &Topic) -> ClusterNames {
    ClusterNames::new(&topic.namespace().unwrap_or_default(), &topic.spec.cluster_ref.name)
}

fn labelled<K: Resource>(object: &K) -> Option<ClusterNames> {
    let cluster = object.meta().labels.as_ref()?.get(CLUSTER_LABEL)?;
    Some(ClusterNames::new(object.meta().namespace.as_deref()?, cluster))
}

/// Objects of one namespace, or of all.
pub fn within<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Where to look.
struct Scope<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
}

fn watch<K>(
    scope: &Scope<'_>,
    config: watcher::Config,
    metrics: &Metrics,
    tasks: &mut JoinSet<()>,
    touched: impl Fn(&K) + Send + 'static,
) -> Store<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    let (reader, writer) = store();
    let restarts = metrics.watch_restarts.with_label_values(&[K::kind(&()).as_ref()]);
    let api: Api<K> = within(scope.client, scope.namespace);
    let stream = watcher(api, config)
        .backoff(Patience::fresh())
        // Half of every object, and nothing here reads it.
        .modify(|object| object.meta_mut().managed_fields = None)
        .reflect(writer);
    tasks.spawn(async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            match event {
                Ok(
                    watcher::Event::Apply(object) | watcher::Event::Delete(object) | watcher::Event::InitApply(object),
                ) => {
                    touched(&object);
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
                Err(error) => {
                    restarts.inc();
                    warn!(kind = %K::kind(&()), %error, "a watch broke and begins again");
                }
            }
        }
    });
    reader
}
