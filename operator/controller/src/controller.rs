//! The controller: dispatches what comes in. What is decided stands in the modules of the nouns.

use std::time::Duration;

use model::{LogIdentity, MetadataImage};

use crate::admin;
use crate::append::{Appender, Sabotage};
use crate::brokers::Brokers;
use crate::effect::{Effect, Refusal, Reply, StepDown};
use crate::entropy::Entropy;
use crate::input::{Input, ReadId, RequestId};
use crate::log::StoredLog;
use crate::partitions::{self, Leaders, Recoveries};
use crate::producer_ids;
use crate::session::check_session;
use crate::settings::Settings;
use crate::snapshot::Snapshots;
use crate::takeover::{self, Takeover};
use crate::topics::desired::{self, Gate};
use crate::topics::purge::Purges;

/// After a read that failed at takeover.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// The controller of one cluster, from taking over until it steps down.
#[derive(Debug)]
pub struct Controller {
    settings: Settings,
    entropy: Entropy,
    takeover: Takeover,
    log: Appender,
    snapshots: Snapshots,
    brokers: Brokers,
    purges: Purges,
    leaders: Leaders,
    recoveries: Recoveries,
    gate: Gate,
    sabotage: Sabotage,
}

impl Controller {
    /// A controller that has not started.
    pub fn new(settings: Settings) -> Self {
        let image = MetadataImage::empty();
        Self {
            entropy: Entropy::new(settings.entropy),
            takeover: Takeover::ReadAgain(Duration::ZERO),
            brokers: Brokers::taken_over(Duration::ZERO, &settings, &image),
            log: Appender::new(image, None, model::Nonce::default()),
            snapshots: Snapshots::new(),
            purges: Purges::default(),
            leaders: Leaders::default(),
            recoveries: Recoveries::default(),
            gate: Gate::new(settings.expected_brokers, settings.placement_patience),
            settings,
            sabotage: Sabotage::None,
        }
    }

    /// Takes a rule out, so that a test can see its checker notice.
    #[doc(hidden)]
    pub fn sabotaged(mut self, sabotage: Sabotage) -> Self {
        self.sabotage = sabotage;
        self
    }

    /// Takes one input and says what is to be done. `now` is measured by any clock that does not go back.
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        if matches!(self.takeover, Takeover::Stopped) {
            refuse(&input, &mut effects);
            return effects;
        }
        self.brokers.look(now);
        let outcome = self
            .take(now, input, &mut effects)
            .and_then(|()| self.pump(now, &mut effects));
        if let Err(reason) = outcome {
            // Nothing that was decided but not sent leaves this controller; who waits is told by the shell.
            effects.retain(|effect| matches!(effect, Effect::Publish { .. } | Effect::Reply { .. }));
            effects.push(Effect::StepDown(reason));
            self.takeover = Takeover::Stopped;
        }
        effects
    }

    /// The committed image: what may be told to anybody (METADATA 1).
    pub fn image(&self) -> &MetadataImage {
        self.log.committed()
    }

    /// What a stream to a broker begins with, once this controller acts (METADATA 7).
    pub fn identity(&self) -> Option<LogIdentity> {
        self.is_acting().then(|| self.log.committed().identity())
    }

    /// Whether this controller decides: its `ControllerElected` is in the log.
    pub fn is_acting(&self) -> bool {
        matches!(self.takeover, Takeover::Acting)
    }

    /// Whether ordinary requests are refused until the next snapshot is stored: condition `MetadataLogFull` (METADATA 5).
    pub fn is_log_full(&self) -> bool {
        self.log.admit().is_err()
    }

    fn take(&mut self, now: Duration, input: Input, effects: &mut Vec<Effect>) -> Result<(), StepDown> {
        match input {
            Input::Start => self.read_log(effects),
            Input::Tick => {
                if matches!(self.takeover, Takeover::ReadAgain(at) if now >= at) {
                    self.read_log(effects);
                }
            }
            Input::ReadDone { id, log } => self.read_done(now, id, log, effects)?,
            Input::ReadFailed { id, .. } => self.read_failed(now, id, effects),
            Input::Appended { id, version } => {
                self.log.appended(id, version, effects);
                self.check_elected(now, effects);
            }
            // A refusal is settled as a conflict is: by what the log says.
            Input::AppendConflict { id } | Input::AppendRefused { id, .. } => self.log.conflict(id, effects),
            Input::AppendUnknown { id } => self.log.unknown(now, id, effects),
            Input::SnapshotWritten { name } => self.snapshots.written(name, &mut self.log),
            Input::SnapshotFailed { name, .. } => self.snapshots.failed(now, name),
            // METADATA 1: before its own `ControllerElected` is in the log, a controller decides nothing.
            other if !self.is_acting() => refuse(&other, effects),
            other => self.decide(now, other, effects),
        }
        Ok(())
    }

    fn decide(&mut self, now: Duration, input: Input, effects: &mut Vec<Effect>) {
        let log = &mut self.log;
        match input {
            Input::Register { request, registration } => {
                let reply = self.brokers.register(now, registration, log);
                self.answer(request, reply, effects);
            }
            Input::Heartbeat { request, heartbeat } => {
                let reply = self
                    .brokers
                    .heartbeat(now, &heartbeat, log)
                    .unwrap_or_else(Reply::Refused);
                effects.push(Effect::Reply { request, reply });
            }
            Input::LeaseSeen { broker, incarnation } => {
                self.brokers.lease_seen(now, broker, incarnation, log.committed());
            }
            // Nobody waits for these; a decision that cannot be applied was not proposed.
            Input::SessionEnded { broker, incarnation } => {
                let _ = self.brokers.session_ended(now, broker, incarnation, log, effects);
            }
            Input::BrokerGone {
                broker,
                incarnation,
                proof,
            } => {
                let _ = self.brokers.gone(now, broker, incarnation, proof, log);
            }
            Input::Probed { broker, answer } => {
                let _ = self.brokers.probed(now, broker, answer, log);
            }
            Input::Admin { request, admin } => {
                let reply = admin::handle(&admin, &self.recoveries, log, &mut self.entropy);
                self.answer(request, reply, effects);
            }
            Input::TopicDesired { request, topic } => {
                let state = desired::desire(
                    now,
                    &topic,
                    &mut self.gate,
                    self.brokers.draining(),
                    log,
                    &mut self.entropy,
                );
                self.answer(request, state.map(Reply::Topic), effects);
            }
            Input::TopicDeleted { request, id } => {
                let done = desired::remove(id, log);
                self.answer(request, done.map(|()| Reply::Done), effects);
            }
            Input::ClusterDesired {
                request,
                config,
                brokers,
            } => {
                self.gate.expected_brokers = brokers;
                self.brokers.keep(brokers);
                let done = desired::configure_cluster(&config, brokers, log);
                self.answer(request, done.map(|()| Reply::Done), effects);
            }
            Input::StaticConfig { request, config } => {
                let done = desired::configure_static(&config, log);
                self.answer(request, done.map(|()| Reply::Done), effects);
            }
            Input::AllocateProducerIds { request, session } => {
                let reply = producer_ids::allocate(log, session);
                self.answer(request, reply, effects);
            }
            Input::AlterPartition {
                request,
                session,
                proposals,
            } => {
                let reply = partitions::isr::alter(log, session, &proposals);
                self.answer(request, reply, effects);
            }
            Input::ReportPurged {
                request,
                session,
                topics,
            } => {
                let known = check_session(log.committed(), session);
                if known.is_ok() {
                    self.purges.report(session.broker, &topics, log);
                }
                self.answer(request, known.map(|()| Reply::Done), effects);
            }
            Input::ReportReplicas {
                request,
                session,
                reports,
            } => {
                let reply = self.recoveries.report(session, &reports, log);
                self.answer(request, reply, effects);
            }
            Input::Drain { request, brokers } => {
                let left = self.brokers.drain(&brokers, log);
                self.answer(request, left.map(|left| Reply::Draining { left }), effects);
            }
            Input::Unregister { request, broker } => {
                let reply = self.brokers.unregister(broker, log);
                self.answer(request, reply, effects);
            }
            // Taken care of before.
            Input::Start
            | Input::Tick
            | Input::ReadDone { .. }
            | Input::ReadFailed { .. }
            | Input::Appended { .. }
            | Input::AppendConflict { .. }
            | Input::AppendRefused { .. }
            | Input::AppendUnknown { .. }
            | Input::SnapshotWritten { .. }
            | Input::SnapshotFailed { .. } => {}
        }
    }

    /// What is due by itself, after every input.
    fn pump(&mut self, now: Duration, effects: &mut Vec<Effect>) -> Result<(), StepDown> {
        if self.is_acting() {
            let defect = |refusal: Refusal| StepDown::Defect(refusal.to_string());
            self.brokers.pump(now, &mut self.log, effects).map_err(defect)?;
            self.purges.pump(&mut self.log).map_err(defect)?;
            self.recoveries.pump(&mut self.log).map_err(defect)?;
            let recoveries = &self.recoveries;
            self.leaders
                .pump(now, recoveries, &mut self.log, effects)
                .map_err(defect)?;
            self.snapshots.pump(now, &mut self.log, &mut self.entropy, effects);
        }
        self.log.pump(now, effects);
        Ok(())
    }

    fn read_log(&mut self, effects: &mut Vec<Effect>) {
        let id = self.log.next_read();
        self.takeover = Takeover::Reading(id);
        effects.push(Effect::Read {
            id,
            with_snapshot: true,
        });
    }

    fn read_done(
        &mut self,
        now: Duration,
        id: ReadId,
        log: Option<StoredLog>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StepDown> {
        if matches!(self.takeover, Takeover::Reading(awaited) if awaited == id) {
            let reads = id;
            self.log = takeover::elect(log, &self.settings, &mut self.entropy)?;
            self.log.reads_begin_at(reads);
            self.log.sabotage(self.sabotage);
            self.takeover = Takeover::Electing;
            return Ok(());
        }
        self.snapshots.read_done(now, id, log.as_ref(), effects);
        self.log.read_done(now, id, log, effects)?;
        self.check_elected(now, effects);
        Ok(())
    }

    fn read_failed(&mut self, now: Duration, id: ReadId, effects: &mut Vec<Effect>) {
        if matches!(self.takeover, Takeover::Reading(awaited) if awaited == id) {
            self.takeover = Takeover::ReadAgain(now + READ_AGAIN);
            effects.push(Effect::WakeAt(now + READ_AGAIN));
        }
        self.snapshots.read_failed(now, id);
        self.log.read_failed(now, id, effects);
    }

    /// METADATA 1: acting begins when the own epoch is in the log.
    fn check_elected(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let committed = self.log.committed();
        if matches!(self.takeover, Takeover::Electing) && committed.controller_epoch() == self.log.epoch() {
            self.brokers = Brokers::taken_over(now, &self.settings, committed);
            self.takeover = Takeover::Acting;
            // The image comes whole, so the records that led to it need not be told.
            effects.retain(|effect| !matches!(effect, Effect::Publish { .. }));
            effects.push(Effect::Elected {
                image: committed.clone(),
            });
        }
    }

    fn answer(&mut self, request: RequestId, reply: Result<Reply, Refusal>, effects: &mut Vec<Effect>) {
        match reply {
            Ok(reply) => self.log.reply_when_committed(request, reply, effects),
            // Even a refusal can rest on what is not committed yet, such as "already exists".
            Err(refusal) => self.log.reply_when_committed(request, Reply::Refused(refusal), effects),
        }
    }
}

/// Answers a request without looking at it.
fn refuse(input: &Input, effects: &mut Vec<Effect>) {
    let request = match input {
        Input::Register { request, .. }
        | Input::Heartbeat { request, .. }
        | Input::Admin { request, .. }
        | Input::TopicDesired { request, .. }
        | Input::TopicDeleted { request, .. }
        | Input::ClusterDesired { request, .. }
        | Input::StaticConfig { request, .. }
        | Input::AllocateProducerIds { request, .. }
        | Input::AlterPartition { request, .. }
        | Input::ReportPurged { request, .. }
        | Input::ReportReplicas { request, .. }
        | Input::Drain { request, .. }
        | Input::Unregister { request, .. } => *request,
        _ => return,
    };
    effects.push(Effect::Reply {
        request,
        reply: Reply::Refused(Refusal::NotReady),
    });
}

#[cfg(test)]
mod tests;
