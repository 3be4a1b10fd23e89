//! Being a broker of the cluster: register, say that we live, follow the metadata, and do what it says.

use std::time::Duration;

use broker_replication::{Duty, Role, Standing};
use controller::{Heartbeat, Refusal, Registration, Reply, SessionId};
use model::level::BARNABAS_VERSION;
use model::{BrokerId, Endpoint, FeatureRange, Frame, MetadataImage, ReplicaReport};

use super::{Broker, Purpose, Stopping};
use crate::cluster::message::{ApiRequest, CallId, Message, Opening, Position, ProcessId, Request, Response, Start};
use crate::cluster::network::Host;
use crate::cluster::outbox::Outbox;

const CONTROL_TIMEOUT: Duration = Duration::from_millis(900);
const HEARTBEAT: Duration = Duration::from_millis(400);
const RENEW_LEASE: Duration = Duration::from_millis(700);
const BACKOFF: Duration = Duration::from_millis(150);

/// Where this process stands with its controller.
#[derive(Debug)]
pub(super) struct Membership {
    standing: Standing,
    /// Which operator is asked.
    turn: usize,
    stream: Option<Stream>,
    /// Frames that have overtaken the opening of their stream, as a connection never lets them.
    early: Vec<(CallId, u64, Vec<Frame>)>,
    /// The image does not follow: a snapshot is wanted (METADATA 6).
    estranged: bool,
    next_try: Duration,
    next_heartbeat: Duration,
    next_lease: Duration,
    may_stop: bool,
}

#[derive(Debug)]
struct Stream {
    from: ProcessId,
    call: CallId,
    received: u64,
}

impl Membership {
    pub(super) fn new(standing: Standing) -> Self {
        Self {
            standing,
            turn: 0,
            stream: None,
            early: Vec::new(),
            estranged: false,
            next_try: Duration::ZERO,
            next_heartbeat: Duration::ZERO,
            next_lease: Duration::ZERO,
            may_stop: false,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    pub(super) fn may_stop(&self) -> bool {
        self.may_stop
    }

    /// A bug planted by hand: the registration of the last life is taken for this one's.
    pub(super) fn resume(&mut self, image: &MetadataImage, id: BrokerId) {
        self.standing = image
            .broker(id)
            .map_or(Standing::Stranger, |broker| Standing::Registered(broker.epoch));
    }

    pub(super) fn stream_ended(&mut self, from: ProcessId, call: CallId) {
        if self
            .stream
            .as_ref()
            .is_some_and(|stream| stream.from == from && stream.call == call)
        {
            self.stream = None;
        }
    }
}

impl Broker {
    pub(super) fn keep_membership(&mut self, now: Duration, out: &mut Outbox) {
        let id = self.start.id;
        let incarnation = self.start.incarnation;
        if now >= self.membership.next_lease {
            self.membership.next_lease = now + RENEW_LEASE;
            let renew = ApiRequest::RenewBrokerLease {
                broker: id,
                incarnation,
            };
            self.calls.send(
                Host::KUBERNETES,
                Request::Api(renew),
                Purpose::RenewLease,
                now + CONTROL_TIMEOUT,
                out,
            );
        }
        if now < self.membership.next_try {
            return;
        }
        let Some(epoch) = self.session().filter(|_| !self.membership_is_unsure()) else {
            if !self.calls.any(|purpose| matches!(purpose, Purpose::Register)) {
                let registration = Request::Register(Box::new(self.registration()), Position::of(&self.image));
                self.ask(now, registration, Purpose::Register, out);
            }
            return;
        };
        if self.membership.stream.is_none() && !self.calls.any(|purpose| matches!(purpose, Purpose::Watch)) {
            let position = Position::of(&self.image).filter(|_| !self.membership.estranged);
            self.ask(now, Request::Watch(id, incarnation, position), Purpose::Watch, out);
        }
        if now >= self.membership.next_heartbeat {
            self.membership.next_heartbeat = now + HEARTBEAT;
            let heartbeat = Heartbeat {
                session: SessionId { broker: id, epoch },
                applied: self.applied(),
                want_shutdown: matches!(self.stopping, Some(Stopping::HandingOver { .. })),
                ready: true,
            };
            self.ask(now, Request::Heartbeat(heartbeat), Purpose::Heartbeat, out);
            self.report_replicas(now, out);
        }
    }

    /// METADATA 17: what only this broker knows, as long as its image asks for it.
    fn report_replicas(&mut self, now: Duration, out: &mut Outbox) {
        let (id, session) = (self.start.id, self.session());
        let reports: Vec<_> = self
            .replicas
            .iter()
            .filter_map(|(place, replica)| {
                let partition = self.image.partition(place.topic, place.partition)?;
                let log = broker_replication::report(id, session, &self.image, partition, replica.log_end())?;
                Some(ReplicaReport {
                    topic: place.topic,
                    partition: place.partition,
                    leader_epoch: partition.leader_epoch,
                    log,
                })
            })
            .collect();
        if let Some(epoch) = session.filter(|_| !reports.is_empty()) {
            let request = Request::ReportReplicas(SessionId { broker: id, epoch }, reports);
            self.ask(now, request, Purpose::ReportReplicas, out);
        }
    }

    /// With the planted bug a process believes in a session that nobody gave it; it still has to get one.
    fn membership_is_unsure(&self) -> bool {
        self.start.bugs.resumes_leadership
            && self
                .image
                .broker(self.start.id)
                .is_some_and(|broker| broker.incarnation != self.start.incarnation)
    }

    fn ask(&mut self, now: Duration, request: Request, purpose: Purpose, out: &mut Outbox) {
        let operators = &self.start.operators;
        let host = operators[self.membership.turn % operators.len()];
        self.calls.send(host, request, purpose, now + CONTROL_TIMEOUT, out);
    }

    pub(super) fn ask_controller(&mut self, now: Duration, request: Request, purpose: Purpose, out: &mut Outbox) {
        self.ask(now, request, purpose, out);
    }

    fn registration(&self) -> Registration {
        let start = &self.start;
        Registration {
            broker: start.id,
            incarnation: start.incarnation,
            directory_id: start.directory_id,
            boot_id: Some(start.boot_id.clone()),
            clean_shutdown_epoch: if start.bugs.always_clean {
                self.image.broker(start.id).map(|broker| broker.epoch)
            } else {
                self.clean_shutdown_epoch
            },
            pod_uid: Some(start.pod_uid.clone()),
            endpoints: vec![Endpoint {
                listener: "PLAIN".to_owned(),
                host: start.host.name(),
                port: 9092,
            }],
            rack: Some(start.rack.clone()),
            features: [(BARNABAS_VERSION.to_owned(), FeatureRange { min: 2, max: 2 })].into(),
            cluster_id: self.image.cluster_id().cloned(),
        }
    }

    /// The operator that was asked is not the controller, or does not answer: the next one is asked.
    fn turn_away(&mut self, now: Duration) {
        self.membership.turn += 1;
        self.membership.next_try = now + BACKOFF;
    }

    pub(super) fn registered(&mut self, now: Duration, response: Option<Response>, out: &mut Outbox) {
        match response {
            Some(Response::Controller(Reply::Registered(registered))) => {
                self.membership.standing = Standing::Registered(registered.epoch);
                self.membership.next_heartbeat = now;
                out.say(format!("registered with epoch {}", registered.epoch));
                let image = self.image.clone();
                self.do_duties(now, &image, out);
            }
            Some(Response::Controller(Reply::Refused(Refusal::DuplicateBroker(_)))) => {
                self.counts.duplicate_refusals += 1;
                self.membership.next_try = now + BACKOFF;
            }
            Some(Response::Controller(_)) => self.membership.next_try = now + BACKOFF,
            _ => self.turn_away(now),
        }
    }

    pub(super) fn heartbeat_answered(&mut self, now: Duration, response: Option<&Response>, out: &mut Outbox) {
        match response {
            Some(Response::Controller(Reply::Heartbeat(reply))) => {
                self.membership.may_stop |= reply.may_shutdown && self.stopping.is_some();
            }
            Some(Response::Controller(Reply::Refused(Refusal::StaleBrokerEpoch { epoch, .. }))) => {
                // An answer to an earlier registration says nothing about this one.
                if self.session() == Some(*epoch) {
                    self.counts.stale_epochs += 1;
                    self.membership.standing = Standing::Stranger;
                    self.membership.stream = None;
                    out.say("the registration is not known any more");
                    let image = self.image.clone();
                    self.do_duties(now, &image, out);
                }
            }
            Some(Response::Controller(_)) => {}
            _ => {
                // A connection that does not answer is given up, and the stream on it.
                self.membership.stream = None;
                self.turn_away(now);
            }
        }
    }

    pub(super) fn watch_answered(
        &mut self,
        now: Duration,
        from: ProcessId,
        call: CallId,
        response: Option<Response>,
        out: &mut Outbox,
    ) {
        match response {
            Some(Response::Opening(opening)) => self.open_stream(now, from, call, *opening, out),
            _ => self.turn_away(now),
        }
    }

    fn open_stream(&mut self, now: Duration, from: ProcessId, call: CallId, opening: Opening, out: &mut Outbox) {
        let known = self.seen.lineage != model::Lineage::default();
        // METADATA 7: never back to a lower controller epoch, nor to another controller of the same one.
        if known && !self.seen.accepts(&opening.identity) && !self.start.bugs.follows_any_controller {
            self.counts.refused_streams += 1;
            out.push(from, Message::StreamEnded(call));
            self.turn_away(now);
            return;
        }
        self.seen = opening.identity;
        self.membership.stream = Some(Stream {
            from,
            call,
            received: 0,
        });
        match opening.start {
            Start::Frames(frames) => self.apply_frames(now, frames, out),
            Start::Snapshot(image) => self.apply_snapshot(now, image, out),
        }
        let mut early = std::mem::take(&mut self.membership.early);
        early.sort_by_key(|(_, number, _)| *number);
        for (of, number, frames) in early {
            if of == call {
                self.frames(now, from, call, number, frames, out);
            }
        }
    }

    pub(super) fn frames(
        &mut self,
        now: Duration,
        from: ProcessId,
        call: CallId,
        number: u64,
        frames: Vec<Frame>,
        out: &mut Outbox,
    ) {
        if self.calls.awaits(call) {
            self.membership.early.push((call, number, frames));
            return;
        }
        let Some(stream) = &mut self.membership.stream else {
            return;
        };
        if stream.from != from || stream.call != call {
            return;
        }
        // A connection keeps order and loses nothing before its end: what comes out of turn is of one that broke.
        if number != stream.received + 1 {
            self.membership.stream = None;
            out.push(from, Message::StreamEnded(call));
            return;
        }
        stream.received = number;
        self.apply_frames(now, frames, out);
    }

    fn apply_frames(&mut self, now: Duration, frames: Vec<Frame>, out: &mut Outbox) {
        let mut next = self.image.clone();
        for frame in &frames {
            if frame.offset > next.offset()
                && let Err(error) = next.apply_frame(frame)
            {
                // METADATA 6: on a difference it stops until a snapshot hashes right.
                out.say(format!("the image differs: {error}"));
                self.membership.estranged = true;
                self.membership.stream = None;
                self.resign_all(now, out);
                return;
            }
        }
        let new: Vec<Frame> = frames
            .into_iter()
            .filter(|frame| frame.offset > self.image.offset())
            .collect();
        if !new.is_empty() {
            self.apply_image(now, next, &new, out);
        }
    }

    fn apply_snapshot(&mut self, now: Duration, image: MetadataImage, out: &mut Outbox) {
        // METADATA 7: within a lineage never an image at a lower offset.
        if self.image.offset() > image.offset() && self.image.lineage() == image.lineage() {
            self.membership.stream = None;
            return;
        }
        self.counts.snapshots_taken += 1;
        self.membership.estranged = false;
        self.apply_image(now, image, &[], out);
    }

    fn apply_image(&mut self, now: Duration, image: MetadataImage, frames: &[Frame], out: &mut Outbox) {
        // METADATA 8: persist before acting.
        let late = self.start.bugs.acts_before_persisting;
        if !late && let Err(error) = self.image_file.persist(self.seen, &image, frames) {
            self.failure.get_or_insert(error.to_string());
            return;
        }
        self.image = image;
        let image = self.image.clone();
        if let Err(error) = self.open_partitions(now, &image) {
            self.fail(&error);
            return;
        }
        for topic in image.topics().values() {
            let config = super::log_config(&image, topic);
            for (place, replica) in &mut self.replicas {
                if place.topic == topic.id && *replica.log().config() != config {
                    replica.log_mut().set_config(config.clone());
                }
            }
        }
        self.do_duties(now, &image, out);
    }

    /// Every replica takes the role that the image gives it.
    pub(super) fn do_duties(&mut self, now: Duration, image: &MetadataImage, out: &mut Outbox) {
        let (id, standing) = (self.start.id, self.membership.standing);
        let places: Vec<_> = self.replicas.keys().copied().collect();
        for place in places {
            let Some(topic) = image.topic(place.topic) else {
                continue;
            };
            let Some(partition) = topic.partition(place.partition) else {
                continue;
            };
            let duty = Duty::of(id, self.start.directory_id, standing, image, topic, partition);
            let led = self.led_epoch(place);
            self.take_duty(now, place, duty, out);
            let leads = self.led_epoch(place);
            if leads != led {
                self.counts.became_leader += u64::from(leads.is_some());
                out.say(format!("{place}: leads in epoch {leads:?}"));
            }
        }
        self.leading.check_waiting(&self.replicas, now, out);
    }

    fn resign_all(&mut self, now: Duration, out: &mut Outbox) {
        let places: Vec<_> = self.replicas.keys().copied().collect();
        for place in places {
            self.take_duty(now, place, Duty::Stand, out);
        }
        self.leading.check_waiting(&self.replicas, now, out);
    }

    fn led_epoch(&self, place: crate::history::Place) -> Option<i32> {
        match self.replicas.get(&place)?.role() {
            Role::Leader(leader) => Some(leader.leader_epoch().0),
            Role::Follower(_) => None,
        }
    }
}
