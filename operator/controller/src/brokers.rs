//! Brokers: registration, heartbeats, fencing, leaving.

use std::collections::BTreeSet;
use std::time::Duration;

use model::record::{BrokerFenced, BrokerRegistered, BrokerShutdownRequested, BrokerUnfenced, BrokerUnregistered};
use model::{BrokerId, BrokerRegistration, IncarnationId, MetadataImage, MetadataOffset};

use crate::append::Appender;
use crate::effect::{Effect, HeartbeatReply, Refusal, Registered, Reply};
use crate::input::{Heartbeat, ProbeAnswer, Proof, Registration};
use crate::liveness::Liveness;
use crate::partitions;
use crate::session::check_session;
use crate::settings::Settings;

/// What is known of brokers beside the image.
#[derive(Debug)]
pub(crate) struct Brokers {
    liveness: Liveness,
    /// Those that are to be emptied: they get nothing new. Who wants that says it again after a takeover.
    draining: BTreeSet<BrokerId>,
}

impl Brokers {
    /// METADATA 22: nobody is silent before the full time has passed since the takeover.
    pub(crate) fn taken_over(now: Duration, settings: &Settings, image: &MetadataImage) -> Self {
        let mut liveness = Liveness::new(settings.witnesses, settings.fence_after);
        for id in image.brokers().keys() {
            liveness.begin(now, *id);
        }
        liveness.look(now);
        Self {
            liveness,
            draining: BTreeSet::new(),
        }
    }

    /// The brokers that get no new replica.
    pub(crate) fn draining(&self) -> &BTreeSet<BrokerId> {
        &self.draining
    }

    /// Looks at the clock, before any input is judged by it.
    pub(crate) fn look(&mut self, now: Duration) {
        self.liveness.look(now);
    }

    /// Decides on a process that wants to be a broker. The reply is for after the commit.
    pub(crate) fn register(
        &mut self,
        now: Duration,
        registration: Registration,
        log: &mut Appender,
    ) -> Result<Reply, Refusal> {
        let id = registration.broker;
        check_registration(&registration, log.latest())?;
        let former = log.latest().broker(id).cloned();
        if let Some(former) = &former {
            if former.incarnation == registration.incarnation {
                // METADATA 16: the same incarnation again gets the same epoch.
                self.liveness.heartbeat(now, id, MetadataOffset::NONE);
                return Ok(Reply::Registered(registered(former, log.latest())?));
            }
            if !self.may_replace(now, former, &registration) {
                return Err(Refusal::DuplicateBroker(id));
            }
        }
        log.admit()?;
        let clean = former.is_some_and(|former| is_clean(&former, &registration));
        log.propose(BrokerRegistered {
            id,
            incarnation: registration.incarnation,
            directory_id: registration.directory_id,
            pod_uid: registration.pod_uid,
            boot_id: registration.boot_id,
            endpoints: registration.endpoints,
            rack: registration.rack,
            features: registration.features,
            clean,
        })?;
        self.liveness.begin(now, id);
        let known = log.latest().broker(id).cloned();
        let known = known.ok_or_else(|| Refusal::InvalidRequest(format!("broker {id} could not be registered")))?;
        Ok(Reply::Registered(registered(&known, log.latest())?))
    }

    /// Notes a sign of life and decides what follows from it. The reply tells committed facts only, at once.
    pub(crate) fn heartbeat(
        &mut self,
        now: Duration,
        heartbeat: &Heartbeat,
        log: &mut Appender,
    ) -> Result<Reply, Refusal> {
        let session = heartbeat.session;
        let id = session.broker;
        check_session(log.committed(), session)?;
        self.liveness.heartbeat(now, id, heartbeat.applied);
        let caught_up = heartbeat.applied.0 >= session.epoch.0;
        if let Some(broker) = log.latest().broker(id).filter(|broker| broker.epoch == session.epoch) {
            let fenced = broker.fenced;
            let leaving = broker.in_controlled_shutdown;
            if heartbeat.want_shutdown {
                if !fenced && !leaving {
                    log.propose(BrokerShutdownRequested {
                        id,
                        epoch: session.epoch,
                    })?;
                }
            } else if fenced && !leaving && heartbeat.ready && caught_up {
                // METADATA 19: one that was fenced although it lives comes back so, with its old epoch.
                log.propose(BrokerUnfenced {
                    id,
                    epoch: session.epoch,
                })?;
            }
        }
        let committed = log.committed();
        let broker = committed.broker(id);
        Ok(Reply::Heartbeat(HeartbeatReply {
            fenced: broker.is_none_or(|broker| broker.fenced),
            caught_up,
            // METADATA 3: what a process may do only once follows the commit of what it waits for.
            may_shutdown: broker.is_some_and(|broker| broker.fenced || broker.in_controlled_shutdown),
            metadata_offset: committed.offset(),
        }))
    }

    /// A Lease was renewed by the process that is registered.
    pub(crate) fn lease_seen(
        &mut self,
        now: Duration,
        id: BrokerId,
        incarnation: Option<IncarnationId>,
        image: &MetadataImage,
    ) {
        let registered = image.broker(id).map(|broker| broker.incarnation);
        if incarnation.is_none() || incarnation == registered {
            self.liveness.lease(now, id);
        }
    }

    /// A stream ended: one that may leave has left; any other is looked at (METADATA 20).
    pub(crate) fn session_ended(
        &mut self,
        now: Duration,
        id: BrokerId,
        incarnation: IncarnationId,
        log: &mut Appender,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let leaving = log
            .committed()
            .broker(id)
            .is_some_and(|broker| broker.in_controlled_shutdown);
        match log.latest().broker(id) {
            Some(broker) if leaving && broker.incarnation == incarnation && !broker.fenced => {
                let epoch = broker.epoch;
                self.liveness.gone(id, incarnation, Proof::Terminated);
                log.propose(BrokerFenced { id, epoch })?;
                Ok(())
            }
            Some(broker) if broker.incarnation == incarnation && !broker.fenced => {
                self.liveness.stream_broke(now, id);
                effects.push(Effect::Suspect {
                    broker: id,
                    epoch: broker.epoch,
                });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A process is dead: it is fenced, and another may take its place at once.
    pub(crate) fn gone(
        &mut self,
        now: Duration,
        id: BrokerId,
        incarnation: Option<IncarnationId>,
        proof: Proof,
        log: &mut Appender,
    ) -> Result<(), Refusal> {
        let Some(broker) = log.latest().broker(id) else {
            return Ok(());
        };
        if incarnation.is_some_and(|incarnation| incarnation != broker.incarnation) {
            return Ok(());
        }
        let (epoch, fenced) = (broker.epoch, broker.fenced);
        self.liveness.gone(id, broker.incarnation, proof);
        // METADATA 20: only the kubelet's word, or the process's own, needs no brake.
        let braked = proof != Proof::Terminated && self.liveness.allowance(now, unfenced(log.latest()).len()) == 0;
        if !fenced && !braked {
            if proof != Proof::Terminated {
                self.liveness.note_fence(now);
            }
            log.propose(BrokerFenced { id, epoch })?;
        }
        Ok(())
    }

    /// The answer to a probe.
    pub(crate) fn probed(
        &mut self,
        now: Duration,
        id: BrokerId,
        answer: ProbeAnswer,
        log: &mut Appender,
    ) -> Result<(), Refusal> {
        if self.liveness.probed(now, id, answer) {
            self.gone(now, id, None, Proof::Refused, log)?;
        }
        Ok(())
    }

    /// Forgets a broker for good, if no replica is on it and it is not unfenced.
    pub(crate) fn unregister(&mut self, id: BrokerId, log: &mut Appender) -> Result<Reply, Refusal> {
        let image = log.latest();
        let Some(broker) = image.broker(id) else {
            return Ok(Reply::Done);
        };
        let mut topics = image.topics().values();
        let holder = topics.find(|topic| {
            topic
                .partitions
                .iter()
                .any(|partition| partition.replicas.contains(&id))
        });
        if let Some(topic) = holder {
            let what = format!(
                "broker {id} cannot be forgotten: it holds replicas, for example of topic {}",
                topic.name
            );
            return Err(Refusal::Pending(what));
        }
        if !broker.fenced {
            return Err(Refusal::Pending(format!(
                "broker {id} cannot be forgotten while it is unfenced: stop it first"
            )));
        }
        let epoch = broker.epoch;
        log.admit()?;
        log.propose(BrokerUnregistered { id, epoch })?;
        self.liveness.forget(id);
        Ok(Reply::Done)
    }

    /// Moves replicas off brokers, and says how many are still there.
    pub(crate) fn drain(&mut self, ids: &[BrokerId], log: &mut Appender) -> Result<usize, Refusal> {
        let before = self.draining.clone();
        self.draining.extend(ids);
        let mut left = 0;
        for id in ids {
            match partitions::drain::drain(log, *id, &self.draining) {
                Ok(held) => left += held,
                Err(refusal) => {
                    // What cannot be done takes no place away from new topics.
                    self.draining = before;
                    return Err(refusal);
                }
            }
        }
        Ok(left)
    }

    /// So many brokers are wanted, with ids from 0: they stay.
    pub(crate) fn keep(&mut self, brokers: usize) {
        self.draining
            .retain(|id| usize::try_from(id.0).is_ok_and(|id| id >= brokers));
    }

    /// Fences who is silent, and asks to be woken when the next could be.
    pub(crate) fn pump(&mut self, now: Duration, log: &mut Appender, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        let verdict = self.liveness.judge(now, &unfenced(log.latest()));
        for id in verdict.fence {
            if let Some(epoch) = log.latest().broker(id).map(|broker| broker.epoch) {
                self.liveness.note_fence(now);
                log.propose(BrokerFenced { id, epoch })?;
            }
        }
        effects.extend(verdict.probe.into_iter().map(|broker| Effect::Probe { broker }));
        effects.extend(verdict.wake.map(Effect::WakeAt));
        Ok(())
    }

    /// METADATA 21: whether the former process is known to be out of the way.
    fn may_replace(&self, now: Duration, former: &BrokerRegistration, new: &Registration) -> bool {
        let same_pod = former.pod_uid.is_some() && former.pod_uid == new.pod_uid;
        // The directory is locked by its process: who holds the lock under the same kernel is alone with it.
        let same_lock =
            former.boot_id.is_some() && former.boot_id == new.boot_id && former.directory_id == new.directory_id;
        former.fenced
            || same_pod
            || same_lock
            || self.liveness.is_gone(former.id, former.incarnation)
            || self.liveness.is_silent(now, former.id)
    }
}

/// The brokers that are not fenced.
pub(crate) fn unfenced(image: &MetadataImage) -> Vec<BrokerId> {
    image
        .brokers()
        .values()
        .filter(|broker| !broker.fenced)
        .map(|broker| broker.id)
        .collect()
}

fn check_registration(registration: &Registration, image: &MetadataImage) -> Result<(), Refusal> {
    let id = registration.broker;
    if id.0 < 0 {
        return Err(Refusal::InvalidRegistration(format!("broker id {id} is negative")));
    }
    let listeners: Vec<_> = registration
        .endpoints
        .iter()
        .map(|endpoint| &endpoint.listener)
        .collect();
    if listeners.is_empty()
        || listeners
            .iter()
            .enumerate()
            .any(|(at, name)| listeners[..at].contains(name))
    {
        let what = format!("broker {id} must register at least one listener, and each name only once");
        return Err(Refusal::InvalidRegistration(what));
    }
    if let (Some(theirs), Some(ours)) = (&registration.cluster_id, image.cluster_id())
        && theirs != ours
    {
        return Err(Refusal::OtherCluster {
            theirs: theirs.clone(),
            ours: ours.clone(),
        });
    }
    // METADATA 9: a node that does not know a finalized level could not follow.
    for (feature, level) in image.features() {
        let known = registration
            .features
            .get(feature)
            .is_some_and(|range| (range.min..=range.max).contains(level));
        // `metadata.version` is advertised for tools alone: `apply` does not depend on it.
        if !known && feature == model::level::BARNABAS_VERSION {
            return Err(Refusal::UnsupportedFeature {
                broker: id,
                feature: feature.clone(),
                level: *level,
            });
        }
    }
    Ok(())
}

fn is_clean(former: &BrokerRegistration, new: &Registration) -> bool {
    former.lost_nothing(new.directory_id, new.boot_id.as_deref(), new.clean_shutdown_epoch)
}

fn registered(broker: &BrokerRegistration, image: &MetadataImage) -> Result<Registered, Refusal> {
    let cluster_id = image.cluster_id().cloned().ok_or(Refusal::NotReady)?;
    Ok(Registered {
        epoch: broker.epoch,
        cluster_id,
        metadata_offset: MetadataOffset(broker.epoch.0),
    })
}

#[cfg(test)]
mod tests;
