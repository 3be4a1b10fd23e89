//! What the status of a Cluster says. Pure, but for the clock in the conditions.

use crds::cluster::{ControllerStatus, ListenerStatus, ListenerType, PartitionCounts};
use crds::{Cluster, ClusterStatus};
use k8s_openapi::jiff::Timestamp;
use model::MetadataImage;

use super::objects::NodePorts;
use crate::conditions::{self, METADATA_REGRESSED, READY, Statement, reasons};
use crate::context::Context;
use crate::names::ClusterNames;

/// Everything that the status is made of.
pub(super) struct View<'a> {
    names: &'a ClusterNames,
    image: &'a MetadataImage,
    controller: String,
    replicas: i32,
    ready_replicas: i32,
    /// Address of the node of each broker, by id.
    hosts: Vec<Option<String>>,
    /// Node ports, once they are known.
    pub(super) ports: NodePorts,
    /// An object that could not be written.
    pub(super) failed: Option<String>,
    /// What the controller said to the configuration.
    pub(super) refused: Option<String>,
}

impl<'a> View<'a> {
    pub(super) fn new(context: &Context, names: &'a ClusterNames, cluster: &Cluster, image: &'a MetadataImage) -> Self {
        let set = context.watches.stateful_set(names).and_then(|set| set.status.clone());
        let host = |id| {
            let pod = context.watches.pod(names, id)?;
            pod.status.as_ref().and_then(|status| status.host_ip.clone())
        };
        Self {
            names,
            image,
            controller: context.pod.clone(),
            replicas: set.as_ref().map_or(0, |set| set.replicas),
            ready_replicas: set.as_ref().and_then(|set| set.ready_replicas).unwrap_or(0),
            hosts: (0..cluster.spec.replicas).map(host).collect(),
            ports: NodePorts::new(),
            failed: None,
            refused: None,
        }
    }

    /// The whole status.
    pub(super) fn status(&self, cluster: &Cluster) -> ClusterStatus {
        let counts = counts(self.image);
        let mut status = with_statements(cluster, &[self.ready(cluster, counts)]);
        conditions::withdraw(&mut status.conditions, METADATA_REGRESSED);
        status.cluster_id = self.image.cluster_id().map(ToString::to_string).or(status.cluster_id);
        status.replicas = Some(self.replicas);
        status.ready_replicas = Some(self.ready_replicas);
        status.selector = Some(self.names.selector_text());
        status.controller = Some(ControllerStatus {
            pod: self.controller.clone(),
            epoch: self.image.controller_epoch().0,
        });
        status.partitions = Some(counts);
        status.listeners = self.listeners(cluster);
        status
    }

    fn ready(&self, cluster: &Cluster, counts: PartitionCounts) -> Statement {
        let wanted = cluster.spec.replicas;
        if let Some(why) = &self.failed {
            return Statement::no(READY, reasons::APPLY_FAILED, why);
        }
        if let Some(why) = &self.refused {
            return Statement::no(READY, reasons::INVALID_CONFIG, format!("spec.config: {why}"));
        }
        if self.ready_replicas < wanted {
            let message = format!("{} of {wanted} brokers are ready", self.ready_replicas);
            return Statement::no(READY, reasons::BROKERS_NOT_READY, message);
        }
        if counts.offline > 0 {
            let message = format!("{} of {} partitions have no leader", counts.offline, counts.total);
            return Statement::no(READY, reasons::OFFLINE_PARTITIONS, message);
        }
        Statement::yes(READY, reasons::AVAILABLE, format!("{wanted} brokers are ready"))
    }

    fn listeners(&self, cluster: &Cluster) -> Vec<ListenerStatus> {
        let listeners = cluster.spec.listeners.iter().map(|listener| {
            let inside = format!(
                "{}.{}.svc:{}",
                self.names.bootstrap(),
                self.names.namespace,
                listener.port
            );
            let bootstrap_servers = match listener.kind {
                ListenerType::Internal => inside,
                ListenerType::NodePort => {
                    let brokers = self.hosts.iter().enumerate().filter_map(|(id, host)| {
                        let port = self.ports.get(&(i32::try_from(id).ok()?, listener.name.clone()))?;
                        let host = listener.advertised_host.as_ref().or(host.as_ref())?;
                        Some(format!("{host}:{port}"))
                    });
                    brokers.collect::<Vec<_>>().join(",")
                }
            };
            ListenerStatus {
                name: listener.name.clone(),
                bootstrap_servers,
            }
        });
        listeners.collect()
    }
}

/// The status with other statements, and everything else as it is.
pub(super) fn with_statements(cluster: &Cluster, statements: &[Statement]) -> ClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    let generation = cluster.metadata.generation;
    status.observed_generation = generation;
    for statement in statements {
        status.conditions = conditions::state(status.conditions, statement, generation, Timestamp::now());
    }
    status
}

fn counts(image: &MetadataImage) -> PartitionCounts {
    let mut counts = PartitionCounts {
        topics: count(image.topics().len()),
        ..PartitionCounts::default()
    };
    for partition in image.topics().values().flat_map(|topic| &topic.partitions) {
        counts.total += 1;
        counts.offline += i32::from(partition.leader.is_none());
        counts.under_replicated += i32::from(partition.isr.len() < partition.replicas.len());
    }
    counts
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
