//! What the status of a Cluster says. Pure, but for the clock in the conditions.

use std::sync::Arc;

use crds::cluster::{BrokerStatus, ControllerStatus, ListenerStatus, ListenerType, PartitionCounts};
use crds::{Cluster, ClusterStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use model::{BrokerId, MetadataImage};

use super::objects::{Address, Addresses};
use super::rollout::{Step, is_ready};
use super::scale::Scale;
use super::volumes::Volumes;
use crate::conditions::{
    self, IN_SYNC, METADATA_REGRESSED, PAUSED, POSSIBLE_LOSS, READY, RECONCILING, STALLED, Statement, reasons,
};
use crate::names::ClusterNames;

/// Everything that the status is made of.
pub(super) struct View<'a> {
    pub(super) names: &'a ClusterNames,
    pub(super) image: &'a MetadataImage,
    /// Operator pod that decides.
    pub(super) controller: &'a str,
    /// The pods that exist, by broker.
    pub(super) pods: Vec<(i32, Arc<Pod>)>,
    /// External addresses, once they are known.
    pub(super) addresses: Option<&'a Addresses>,
    /// An object that could not be written, and whether that needs somebody's help.
    pub(super) failed: Option<(String, bool)>,
    /// What the controller said to the configuration.
    pub(super) refused: Option<String>,
    /// Whether what was written last was seen at work.
    pub(super) applied: bool,
    pub(super) step: Option<Step>,
    pub(super) scale: Scale,
    pub(super) volumes: &'a Volumes,
    pub(super) paused: bool,
}

impl View<'_> {
    /// The whole status.
    pub(super) fn status(&self, cluster: &Cluster) -> ClusterStatus {
        let counts = counts(self.image);
        let statements = [
            self.ready(cluster, counts),
            self.reconciling(cluster),
            self.stalled(),
            in_sync(counts),
        ];
        let mut status = with_statements(cluster, &statements);
        conditions::withdraw(&mut status.conditions, METADATA_REGRESSED);
        match possible_loss(self.image) {
            Some(message) => {
                let lost = Statement::yes(POSSIBLE_LOSS, reasons::UNCLEAN_LEADER, message);
                status = state(status, cluster, &lost);
            }
            None => conditions::withdraw(&mut status.conditions, POSSIBLE_LOSS),
        }
        if self.paused {
            let paused = Statement::yes(PAUSED, reasons::ASKED, "the annotation barnabas.dev/paused is true");
            status = state(status, cluster, &paused);
        } else {
            conditions::withdraw(&mut status.conditions, PAUSED);
        }
        status.cluster_id = self.image.cluster_id().map(ToString::to_string).or(status.cluster_id);
        status.replicas = Some(count(self.pods.len()));
        status.ready_replicas = Some(self.ready_replicas());
        status.updated_replicas = Some(self.updated_replicas());
        status.selector = Some(self.names.selector_text());
        status.controller = Some(ControllerStatus {
            pod: self.controller.to_owned(),
            epoch: self.image.controller_epoch().0,
        });
        status.partitions = Some(counts);
        status.listeners = self.listeners(cluster);
        status.brokers = self.brokers(cluster);
        status
    }

    fn ready_replicas(&self) -> i32 {
        count(self.pods.iter().filter(|(_, pod)| is_ready(pod)).count())
    }

    fn updated_replicas(&self) -> i32 {
        let outdated = match self.step {
            Some(Step::Restart(id) | Step::Restarting(id) | Step::Hold(id, _)) => id + 1,
            _ => 0,
        };
        count(self.pods.iter().filter(|(id, _)| *id >= outdated).count())
    }

    fn ready(&self, cluster: &Cluster, counts: PartitionCounts) -> Statement {
        let wanted = cluster.spec.replicas;
        if let Some((why, _)) = &self.failed {
            return Statement::no(READY, reasons::APPLY_FAILED, why);
        }
        if let Some(why) = &self.refused {
            return Statement::no(READY, reasons::INVALID_CONFIG, format!("the configuration: {why}"));
        }
        let ready = self.ready_replicas();
        if ready < wanted {
            let mut message = format!("{ready} of {wanted} brokers are ready");
            if let Some((id, trouble)) = self.pods.iter().find_map(|(id, pod)| Some((id, trouble(pod)?))) {
                message = format!("{message}; broker {id}: {trouble}");
            }
            return Statement::no(READY, reasons::BROKERS_NOT_READY, message);
        }
        if counts.offline > 0 {
            let message = format!("{} of {} partitions have no leader", counts.offline, counts.total);
            return Statement::no(READY, reasons::OFFLINE_PARTITIONS, message);
        }
        if !self.paused && !self.applied {
            return Statement::no(READY, reasons::PENDING, "what was asked for is being applied");
        }
        Statement::yes(READY, reasons::AVAILABLE, format!("{wanted} brokers are ready"))
    }

    fn reconciling(&self, cluster: &Cluster) -> Statement {
        let yes = |reason, message: String| Statement::yes(RECONCILING, reason, message);
        if let Scale::Draining { broker, left, .. } = &self.scale {
            return yes(
                reasons::DRAINING,
                format!("broker {broker} goes when its {left} replicas have moved"),
            );
        }
        match &self.step {
            Some(Step::Restart(id) | Step::Restarting(id)) => {
                let message = format!(
                    "broker {id} restarts; {} of {} run the current template",
                    self.updated_replicas(),
                    self.pods.len()
                );
                return yes(reasons::ROLLING_UPDATE, message);
            }
            Some(Step::Hold(id, obstacle)) => {
                return yes(
                    reasons::ROLL_PAUSED,
                    format!("broker {id} restarts next, but not now: {obstacle}"),
                );
            }
            Some(Step::Settled | Step::Unseen) | None => {}
        }
        if count(self.pods.len()) < cluster.spec.replicas {
            let message = format!("{} of {} brokers are there", self.pods.len(), cluster.spec.replicas);
            return yes(reasons::SCALING_UP, message);
        }
        if self.volumes.growing > 0 {
            return yes(
                reasons::RESIZING_STORAGE,
                format!("{} volumes grow to {}", self.volumes.growing, cluster.spec.storage.size),
            );
        }
        if let Some(listener) = self.without_address(cluster) {
            let message = format!("the Services of listener {listener} have no external address yet");
            return yes(reasons::ADDRESS_PENDING, message);
        }
        if !self.paused && (!self.applied || self.step == Some(Step::Unseen)) {
            return yes(reasons::APPLYING, "what was asked for is being applied".to_owned());
        }
        Statement::no(RECONCILING, reasons::SETTLED, "everything is as asked")
    }

    fn stalled(&self) -> Statement {
        let yes = |reason, message: &str| Statement::yes(STALLED, reason, message);
        if let Some((why, true)) = &self.failed {
            return yes(reasons::APPLY_FAILED, why);
        }
        if let Some(why) = &self.refused {
            return yes(reasons::INVALID_CONFIG, why);
        }
        if let Scale::Refused { why, .. } = &self.scale {
            return yes(reasons::SCALE_DOWN_BLOCKED, why);
        }
        if let Some(why) = &self.volumes.refused {
            return yes(reasons::STORAGE_NOT_EXPANDABLE, why);
        }
        Statement::no(STALLED, reasons::NO_OBSTACLE, "nothing stands in the way")
    }

    /// Whether something is on its way that no watch tells of.
    pub(super) fn waits_for_the_unwatched(&self, cluster: &Cluster) -> bool {
        self.volumes.growing > 0 || self.without_address(cluster).is_some()
    }

    fn address(&self, id: i32, listener: &str) -> Option<&Address> {
        self.addresses?.get(&(id, listener.to_owned()))
    }

    fn without_address(&self, cluster: &Cluster) -> Option<String> {
        let mut services = super::objects::external_services(cluster);
        let (_, listener) = services.find(|(id, listener)| {
            let said = listener.kind == ListenerType::LoadBalancer && listener.advertised_host.is_some();
            !said && self.address(*id, &listener.name).is_none()
        })?;
        Some(listener.name.clone())
    }

    fn brokers(&self, cluster: &Cluster) -> Vec<BrokerStatus> {
        let registered = self.image.brokers().keys().map(|id| id.0);
        let mut ids: Vec<i32> = registered.chain(self.pods.iter().map(|(id, _)| *id)).collect();
        ids.sort_unstable();
        ids.dedup();
        let broker = |id: i32| {
            let pod = self.pods.iter().find(|(of, _)| *of == id);
            let registration = self.image.broker(BrokerId(id));
            let state = match registration {
                None => "Unregistered",
                Some(registration) if registration.fenced => "Fenced",
                Some(registration) if registration.in_controlled_shutdown => "ShuttingDown",
                Some(_) if id >= cluster.spec.replicas => "Draining",
                Some(_) => "Online",
            };
            BrokerStatus {
                id,
                node: pod.and_then(|(_, pod)| pod.spec.as_ref()?.node_name.clone()),
                rack: registration.and_then(|registration| registration.rack.clone()),
                state: state.to_owned(),
            }
        };
        ids.into_iter().take(200).map(broker).collect()
    }

    fn listeners(&self, cluster: &Cluster) -> Vec<ListenerStatus> {
        let listeners = cluster.spec.listeners.iter().map(|listener| {
            let bootstrap_servers = if listener.kind == ListenerType::Internal {
                format!(
                    "{}.{}.svc:{}",
                    self.names.bootstrap(),
                    self.names.namespace,
                    listener.port
                )
            } else if let Some(former) = self.former_addresses(cluster, &listener.name) {
                former
            } else {
                let brokers = (0..cluster.spec.replicas).filter_map(|id| {
                    let said = listener.advertised_host.as_ref();
                    let said = said.map(|host| host.replace("{id}", &id.to_string()));
                    let (host, port) = match self.address(id, &listener.name) {
                        Some(Address::NodePort(port)) => (said.or_else(|| self.node_address(id))?, *port),
                        Some(Address::LoadBalancer(host)) => (said.unwrap_or_else(|| host.clone()), listener.port),
                        None => (
                            said.filter(|_| listener.kind == ListenerType::LoadBalancer)?,
                            listener.port,
                        ),
                    };
                    Some(format!("{host}:{}", listener.advertised_port.unwrap_or(port)))
                });
                brokers.collect::<Vec<_>>().join(",")
            };
            ListenerStatus {
                name: listener.name.clone(),
                bootstrap_servers,
            }
        });
        listeners.collect()
    }

    /// What the status says of an external listener while the Services have not been read, as after a takeover: an address
    /// is not taken back because nobody has looked.
    fn former_addresses(&self, cluster: &Cluster, listener: &str) -> Option<String> {
        if self.addresses.is_some() {
            return None;
        }
        let former = &cluster.status.as_ref()?.listeners;
        let former = former.iter().find(|former| former.name == listener)?;
        Some(former.bootstrap_servers.clone())
    }

    fn node_address(&self, id: i32) -> Option<String> {
        let (_, pod) = self.pods.iter().find(|(of, _)| *of == id)?;
        pod.status.as_ref()?.host_ip.clone()
    }
}

/// What keeps a pod from running, if Kubernetes says so.
fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let waiting = status.container_statuses.iter().flatten().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        (reason != "ContainerCreating").then(|| reason.to_owned())
    });
    let unscheduled = || {
        let conditions = status.conditions.iter().flatten();
        let mut unscheduled =
            conditions.filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
        unscheduled.next()?.message.clone()
    };
    waiting.or_else(unscheduled)
}

/// The status with other statements, and everything else as it is.
pub(super) fn with_statements(cluster: &Cluster, statements: &[Statement]) -> ClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    status.observed_generation = cluster.metadata.generation;
    for statement in statements {
        status = state(status, cluster, statement);
    }
    status
}

fn state(mut status: ClusterStatus, cluster: &Cluster, statement: &Statement) -> ClusterStatus {
    let generation = cluster.metadata.generation;
    status.conditions = conditions::state(status.conditions, statement, generation, Timestamp::now());
    status
}

fn in_sync(counts: PartitionCounts) -> Statement {
    if counts.under_min_isr > 0 {
        let message = format!(
            "{} of {} partitions have fewer replicas in sync than min.insync.replicas",
            counts.under_min_isr, counts.total
        );
        return Statement::no(IN_SYNC, reasons::UNDER_MIN_ISR, message);
    }
    if counts.under_replicated > 0 {
        let message = format!(
            "{} of {} partitions have fewer replicas in sync than replicas",
            counts.under_replicated, counts.total
        );
        return Statement::no(IN_SYNC, reasons::UNDER_REPLICATED, message);
    }
    Statement::yes(IN_SYNC, reasons::ALL_IN_SYNC, "every replica is in sync")
}

/// Which partitions have a leader that may lack acknowledged records, in a sentence.
fn possible_loss(image: &MetadataImage) -> Option<String> {
    const NAMED: usize = 5;
    let topics = image.topics().values();
    let each = topics.flat_map(|topic| topic.indexed().map(move |(index, partition)| (topic, index, partition)));
    let concerned: Vec<_> = each
        .filter(|(_, _, partition)| partition.may_have_lost_records())
        .map(|(topic, index, _)| format!("{}-{index}", topic.name))
        .collect();
    let named = concerned.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = if concerned.len() > NAMED { " and others" } else { "" };
    (!concerned.is_empty()).then(|| {
        format!(
            "{} partitions are led by the longest log that was left and may lack acknowledged records: {named}{more}",
            concerned.len()
        )
    })
}

fn counts(image: &MetadataImage) -> PartitionCounts {
    let mut counts = PartitionCounts {
        topics: count(image.topics().len()),
        ..PartitionCounts::default()
    };
    for topic in image.topics().values() {
        for partition in &topic.partitions {
            counts.total += 1;
            counts.offline += i32::from(partition.leader.is_none());
            counts.under_replicated += i32::from(partition.isr.len() < partition.replicas.len());
            let min_isr = image.min_insync_replicas(topic, partition);
            counts.under_min_isr += i32::from(partition.leader.is_none() || partition.isr.len() < min_isr);
        }
    }
    counts
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
