//! Keeps one controller Lease: reads and writes it as the [`Elector`] says.

use std::time::{Duration, Instant};

use crds::{CLUSTER_LABEL, Cluster, OPERATOR_LABEL};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Resource as _};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::Context;
use crate::elector::{Elector, LEASE_DURATION, Record, Step};
use crate::error::{is_already_exists, is_conflict, sentence};
use crate::names::ClusterNames;

/// An answer that takes longer is no answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A cache that was behind is not asked for this long.
const DISTRUST: Duration = Duration::from_secs(30);

/// One replica's candidacy for one cluster.
pub struct Election {
    leases: Api<Lease>,
    context: Context,
    names: ClusterNames,
    owner: Option<OwnerReference>,
    elector: Elector,
    begun: Instant,
    /// Until then the Lease is read directly: the cache was found to be behind.
    distrust: Option<Duration>,
    /// The Lease as last read or written, whose fields a renewal keeps.
    lease: Option<Lease>,
    /// The other release that was last told of.
    told: Option<String>,
}

impl Election {
    /// A candidacy that has not looked yet.
    pub fn new(context: &Context, cluster: &Cluster, names: ClusterNames) -> Self {
        Self {
            leases: Api::namespaced(context.client.clone(), &names.namespace),
            owner: cluster.owner_ref(&()),
            names,
            elector: Elector::new(&context.identity, &context.home),
            context: context.clone(),
            told: None,
            begun: Instant::now(),
            distrust: None,
            lease: None,
        }
    }

    /// Stands until `stop`, saying in `leads` whether decisions may be made. Gives the Lease back at the end, after
    /// `idle` says that nothing is being decided any more.
    pub async fn run(mut self, leads: watch::Sender<bool>, idle: impl Future<Output = ()>, stop: CancellationToken) {
        let mut changes = self
            .context
            .watches
            .hub
            .subscribe(&self.names, crate::hub::Kind::ControllerLease);
        while !stop.is_cancelled() {
            let step = match self.elector.next(self.now()) {
                Some(step) => step,
                None => self.look().await,
            };
            self.tell_of_others();
            let pause = match step {
                Step::Take | Step::Renew => self.write(&leads).await,
                Step::Hold(pause) | Step::Wait(pause) => pause,
                Step::StepDown(lost) => {
                    warn!(cluster = %self.names.cluster, namespace = %self.names.namespace, ?lost, "no longer the controller");
                    leads.send_replace(false);
                    Duration::ZERO
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = changes.changed() => {}
                () = stop.cancelled() => {}
            }
        }
        leads.send_replace(false);
        idle.await;
        if self.elector.holds(self.now()) {
            self.release().await;
        }
    }

    /// Two releases over one cluster are a mistake that its owner should hear of, once.
    fn tell_of_others(&mut self) {
        let other = self.elector.other_release().map(str::to_owned);
        if other == self.told {
            return;
        }
        if let Some(other) = &other {
            let here = &self.context.home;
            warn!(cluster = %self.names.cluster, namespace = %self.names.namespace, other, "another operator decides for the cluster");
            if let Some(cluster) = self.context.watches.cluster(&self.names) {
                let note = format!(
                    "the operator in namespace {other} decides for this cluster, so the one in {here} does not: uninstall one of them, or give each its watchNamespace"
                );
                self.context.events.warning(&*cluster, "OtherOperator", "StandBy", note);
            }
        }
        self.told = other;
    }

    /// The cache says when to try; [`Self::write`] succeeds only on what was read.
    async fn look(&mut self) -> Step {
        let name = self.names.controller_lease();
        let direct = self.distrust.is_some_and(|until| self.now() < until);
        self.lease = if direct {
            let Ok(Ok(lease)) = timeout(ANSWER_WITHIN, self.leases.get_opt(&name)).await else {
                let now = self.now();
                return self.elector.failed(now);
            };
            lease
        } else {
            self.context
                .watches
                .lease(&self.names.namespace, &name)
                .map(|lease| (*lease).clone())
        };
        let record = self.lease.as_ref().map(record);
        let now = self.now();
        self.elector.observe(now, record)
    }

    async fn write(&mut self, leads: &watch::Sender<bool>) -> Duration {
        let held = self.elector.holds(self.now());
        let begun = self.now();
        let written = match timeout(ANSWER_WITHIN, self.put()).await {
            Ok(Ok(lease)) => lease,
            Ok(Err(error)) if is_conflict(&error) || is_already_exists(&error) => {
                return self.read_again(leads).await;
            }
            Ok(Err(error)) => return self.failed(leads, &sentence(&error)),
            Err(_) => return self.failed(leads, "no answer in time"),
        };
        self.elector
            .written(begun, written.metadata.resource_version.clone().unwrap_or_default());
        self.lease = Some(written);
        if !held {
            info!(cluster = %self.names.cluster, namespace = %self.names.namespace, "won the Lease");
        }
        leads.send_if_modified(|leads| !std::mem::replace(leads, true));
        Duration::from_millis(10)
    }

    /// Somebody wrote the Lease since: a quorum read tells who.
    async fn read_again(&mut self, leads: &watch::Sender<bool>) -> Duration {
        match timeout(ANSWER_WITHIN, self.leases.get_opt(&self.names.controller_lease())).await {
            Ok(Ok(lease)) => {
                self.lease = lease;
                self.distrust = Some(self.now() + DISTRUST);
                let record = self.lease.as_ref().map(record);
                let now = self.now();
                match self.elector.observe(now, record) {
                    Step::StepDown(lost) => {
                        warn!(cluster = %self.names.cluster, ?lost, "no longer the controller");
                        leads.send_replace(false);
                        Duration::ZERO
                    }
                    Step::Wait(pause) | Step::Hold(pause) => pause,
                    Step::Take | Step::Renew => Duration::from_millis(50),
                }
            }
            Ok(Err(error)) => self.failed(leads, &sentence(&error)),
            Err(_) => self.failed(leads, "no answer in time"),
        }
    }

    fn failed(&mut self, leads: &watch::Sender<bool>, why: &str) -> Duration {
        warn!(cluster = %self.names.cluster, namespace = %self.names.namespace, why, "the controller Lease could not be written");
        let now = self.now();
        match self.elector.failed(now) {
            Step::StepDown(_) => {
                leads.send_replace(false);
                Duration::from_millis(500)
            }
            Step::Wait(pause) | Step::Hold(pause) => pause,
            Step::Take | Step::Renew => Duration::from_millis(500),
        }
    }

    async fn put(&self) -> Result<Lease, kube::Error> {
        let name = self.names.controller_lease();
        let now = MicroTime(Timestamp::now());
        let Some(old) = &self.lease else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(name);
            let mut labels = self.names.labels();
            labels.insert(OPERATOR_LABEL.to_owned(), self.context.home.clone());
            lease.metadata.labels = Some(labels);
            lease.metadata.owner_references = self.owner.clone().map(|owner| vec![owner]);
            lease.spec = Some(self.spec(None, now));
            return self.leases.create(&PostParams::default(), &lease).await;
        };
        let mut lease = old.clone();
        lease.metadata.managed_fields = None;
        let labels = lease.metadata.labels.get_or_insert_default();
        labels.insert(CLUSTER_LABEL.to_owned(), self.names.cluster.clone());
        labels.insert(OPERATOR_LABEL.to_owned(), self.context.home.clone());
        lease.spec = Some(self.spec(old.spec.as_ref(), now));
        self.leases.replace(&name, &PostParams::default(), &lease).await
    }

    fn spec(&self, old: Option<&LeaseSpec>, now: MicroTime) -> LeaseSpec {
        let same = old.and_then(|old| old.holder_identity.as_deref()) == Some(self.context.identity.as_str());
        let transitions = old.and_then(|old| old.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.context.identity.clone()),
            lease_duration_seconds: Some(LEASE_DURATION.as_secs() as i32),
            acquire_time: if same {
                old.and_then(|old| old.acquire_time.clone())
            } else {
                Some(now.clone())
            },
            renew_time: Some(now),
            // For readers only: the controller epoch comes from the metadata log.
            lease_transitions: Some(if same {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }
    }

    /// Lets the next replica begin at once.
    async fn release(&self) {
        let Some(mut lease) = self.lease.clone() else { return };
        lease.metadata.managed_fields = None;
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let (name, post) = (self.names.controller_lease(), PostParams::default());
        match timeout(ANSWER_WITHIN, self.leases.replace(&name, &post, &lease)).await {
            Ok(Ok(_)) => info!(cluster = %self.names.cluster, namespace = %self.names.namespace, "gave the Lease back"),
            Ok(Err(error)) => warn!(%error, "the Lease could not be given back: the next controller waits for it"),
            Err(_) => warn!("the Lease could not be given back in time: the next controller waits for it"),
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }
}

fn record(lease: &Lease) -> Record {
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
    Record {
        holder: holder.unwrap_or_default(),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        release: lease
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(OPERATOR_LABEL).cloned()),
    }
}
