//! A broker process: the real replicas, logs, fold and image on a simulated disk, and the little that connects them.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_log::dir::sim::SimDir;
use broker_log::{Checkpoint, DataDir, LogConfig, LogError, Offsets, OpenState, PartitionLog, TopicPartition};
use broker_replication::{IsrProposed, Replica, Standing};
use model::{
    BrokerEpoch, BrokerId, DirectoryId, IncarnationId, LogIdentity, MetadataImage, MetadataOffset, PartitionIndex,
    TopicImage,
};

use super::message::{Message, ProcessId, Request, Response};
use super::network::Host;
use super::outbox::{Calls, Outbox};
use crate::history::Place;

mod following;
mod image_file;
mod leading;
mod membership;

use image_file::ImageFile;

/// What a broker process is started with.
#[derive(Debug, Clone)]
pub(super) struct BrokerStart {
    pub(super) process: ProcessId,
    pub(super) id: BrokerId,
    pub(super) host: Host,
    pub(super) incarnation: IncarnationId,
    pub(super) directory_id: DirectoryId,
    pub(super) boot_id: String,
    pub(super) pod_uid: String,
    pub(super) rack: String,
    pub(super) operators: Vec<Host>,
    /// `replica.lag.time.max.ms`.
    pub(super) max_lag: Duration,
    pub(super) bugs: super::Bugs,
}

/// A broker process.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) start: BrokerStart,
    data: DataDir<SimDir>,
    image_file: ImageFile,
    /// What the last life said, and what this one has said since: recovery points, log starts, high watermarks.
    checkpoints: [Offsets; 3],
    /// The last life left its mark.
    clean: bool,
    clean_shutdown_epoch: Option<BrokerEpoch>,
    pub(super) image: MetadataImage,
    /// The highest controller ever followed.
    pub(super) seen: LogIdentity,
    membership: membership::Membership,
    calls: Calls<Purpose>,
    pub(super) replicas: BTreeMap<Place, Replica<SimDir>>,
    /// How often a replica was removed with its data: one step may remove it and make it anew.
    pub(super) removals: BTreeMap<Place, u32>,
    names: BTreeMap<Place, TopicPartition>,
    leading: leading::Leading,
    following: following::Following,
    next_flush: Duration,
    /// What ended this process from within, such as a disk that failed.
    pub(super) failure: Option<String>,
    pub(super) stopping: Option<Stopping>,
    pub(super) counts: Counts,
}

/// What a broker did, to see that the world was not empty.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) became_leader: u64,
    pub(super) truncations: u64,
    pub(super) isr_proposals: u64,
    pub(super) snapshots_taken: u64,
    pub(super) refused_streams: u64,
    pub(super) stale_epochs: u64,
    pub(super) duplicate_refusals: u64,
    pub(super) not_enough_replicas: u64,
    pub(super) replica_records: u64,
    pub(super) diverged: u64,
}

impl Counts {
    /// The sum of both.
    #[must_use]
    pub(super) fn plus(mut self, other: Self) -> Self {
        self.became_leader += other.became_leader;
        self.truncations += other.truncations;
        self.isr_proposals += other.isr_proposals;
        self.snapshots_taken += other.snapshots_taken;
        self.refused_streams += other.refused_streams;
        self.stale_epochs += other.stale_epochs;
        self.duplicate_refusals += other.duplicate_refusals;
        self.not_enough_replicas += other.not_enough_replicas;
        self.replica_records += other.replica_records;
        self.diverged += other.diverged;
        self
    }
}

/// A stop in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    /// Leaderships are being handed over.
    HandingOver { until: Duration },
    /// Everything is closed.
    Done,
}

#[derive(Debug)]
enum Purpose {
    Register,
    Heartbeat,
    ReportReplicas,
    Watch,
    AlterPartition(Vec<(Place, IsrProposed)>),
    RenewLease,
    ReplicaFetch(BrokerId),
}

const FILES: [Checkpoint; 3] = [
    Checkpoint::RecoveryPoint,
    Checkpoint::LogStartOffset,
    Checkpoint::HighWatermark,
];

impl Broker {
    /// Opens the directory and everything in it, as the image on it says.
    pub(super) fn open(now: Duration, start: BrokerStart, dir: SimDir) -> Result<Self, String> {
        let (data, left) = DataDir::open(dir.clone()).map_err(|error| error.to_string())?;
        let (image_file, document) = ImageFile::open(dir).map_err(|error| format!("reading the image: {error}"))?;
        let image = document.as_ref().map(|document| document.image.clone());
        let seen = document.map(|document| document.seen);
        let image = image.unwrap_or_default();
        let seen = seen.unwrap_or_else(|| image.identity());
        let boot_id = Some(start.boot_id.as_str());
        let standing = match image.broker(start.id) {
            Some(former) if start.bugs.always_heir => Standing::Heir(former.epoch),
            _ => Standing::at_start(&image, start.id, start.directory_id, boot_id, left.clean_shutdown),
        };
        let mut broker = Self {
            data,
            image_file,
            clean: left.clean_shutdown.is_some(),
            clean_shutdown_epoch: left.clean_shutdown,
            checkpoints: [left.recovery_points, left.log_start_offsets, left.high_watermarks],
            image: image.clone(),
            seen,
            membership: membership::Membership::new(standing),
            calls: Calls::default(),
            replicas: BTreeMap::new(),
            removals: BTreeMap::new(),
            names: BTreeMap::new(),
            leading: leading::Leading::default(),
            following: following::Following::default(),
            next_flush: now,
            failure: None,
            stopping: None,
            counts: Counts::default(),
            start,
        };
        let opened = broker.open_partitions(now, &image);
        opened.map_err(|error| error.to_string())?;
        // METADATA 18: nothing that others replicate is led before the registration, nor followed but by an heir.
        if broker.start.bugs.resumes_leadership {
            broker.membership.resume(&image, broker.start.id);
        }
        broker.do_duties(now, &image, &mut Outbox::default());
        Ok(broker)
    }

    /// How this process stands to the registered broker.
    pub(super) fn standing(&self) -> Standing {
        self.membership.standing()
    }

    /// The registration of this process, if it has one.
    pub(super) fn session(&self) -> Option<BrokerEpoch> {
        self.standing().registered()
    }

    pub(super) fn take(&mut self, now: Duration, from: ProcessId, message: Message, out: &mut Outbox) {
        match message {
            Message::Request(call, request) => match request {
                Request::ReplicaFetch(fetch) => self.replica_fetch(now, from, call, fetch, out),
                Request::Produce(produce) => self.produce(now, from, call, produce, out),
                Request::Fetch(fetch) => self.fetch(now, from, call, fetch, out),
                Request::Metadata => out.respond(from, call, Response::Metadata(self.hosts(), self.leaders())),
                Request::Probe => out.respond(from, call, Response::Alive),
                _ => {}
            },
            Message::Response(call, response) => {
                if let Some(purpose) = self.calls.answered(call) {
                    self.answered(now, from, call, purpose, Some(response), out);
                }
            }
            Message::Refused(call) => {
                if let Some(purpose) = self.calls.answered(call) {
                    self.answered(now, from, call, purpose, None, out);
                }
            }
            Message::Frames(call, number, frames) => self.frames(now, from, call, number, frames, out),
            // A stream may end before its opening arrives here, where messages overtake each other.
            Message::StreamEnded(call) => match self.calls.answered(call) {
                Some(purpose) => self.answered(now, from, call, purpose, None, out),
                None => self.membership.stream_ended(from, call),
            },
            Message::LeaseSeen(..) | Message::Terminated(..) => {}
        }
        self.settle(now, out);
    }

    pub(super) fn tick(&mut self, now: Duration, out: &mut Outbox) {
        for purpose in self.calls.expired(now) {
            self.answered(now, self.start.process, 0, purpose, None, out);
        }
        self.keep_membership(now, out);
        self.lead_on(now, out);
        self.follow_on(now, out);
        if now >= self.next_flush {
            self.next_flush = now + Duration::from_millis(900);
            self.flush(now);
        }
        self.settle(now, out);
        self.stop_on(now, out);
    }

    fn answered(
        &mut self,
        now: Duration,
        from: ProcessId,
        call: u64,
        purpose: Purpose,
        response: Option<Response>,
        out: &mut Outbox,
    ) {
        match purpose {
            Purpose::Register => self.registered(now, response, out),
            Purpose::Heartbeat => self.heartbeat_answered(now, response.as_ref(), out),
            Purpose::Watch => self.watch_answered(now, from, call, response, out),
            Purpose::AlterPartition(places) => self.alter_answered(now, &places, response.as_ref()),
            // What it has not heard, the controller hears with the next heartbeat.
            Purpose::RenewLease | Purpose::ReportReplicas => {}
            Purpose::ReplicaFetch(leader) => self.replica_fetched(now, leader, response, out),
        }
    }

    /// SIGTERM.
    pub(super) fn stop(&mut self, now: Duration) {
        if self.stopping.is_none() {
            self.stopping = Some(Stopping::HandingOver {
                until: now + Duration::from_secs(3),
            });
        }
    }

    fn stop_on(&mut self, now: Duration, out: &mut Outbox) {
        let Some(Stopping::HandingOver { until }) = self.stopping else {
            return;
        };
        if now < until && !self.membership.may_stop() {
            return;
        }
        self.close(now);
        self.stopping = Some(Stopping::Done);
        out.exits = true;
    }

    /// Closes every log and leaves the mark of a clean stop, which names the broker epoch (METADATA 16).
    fn close(&mut self, now: Duration) {
        self.leading.forget_everything();
        let mut clean = self.failure.is_none();
        for (place, replica) in std::mem::take(&mut self.replicas) {
            let high_watermark = replica.high_watermark();
            match (self.names.get(&place), replica.into_log().close()) {
                (Some(name), Ok(end)) => {
                    self.checkpoints[0].insert(name.clone(), end);
                    self.checkpoints[2].insert(name.clone(), high_watermark);
                }
                _ => clean = false,
            }
        }
        clean &= self.write_checkpoints(now);
        if let Some(epoch) = self.standing().epoch().filter(|_| clean) {
            let _ = self.data.write_clean_shutdown(epoch);
        }
    }

    /// Opens what the image wants here, and closes what it does not want any more.
    fn open_partitions(&mut self, now: Duration, image: &MetadataImage) -> Result<(), LogError> {
        let id = self.start.id;
        let mut wanted = BTreeMap::new();
        for topic in image.topics().values() {
            for (index, partition) in topic.indexed() {
                if partition.replicas.contains(&id) {
                    let place = Place {
                        topic: topic.id,
                        partition: index,
                    };
                    wanted.insert(place, (topic.clone(), index));
                }
            }
        }
        let gone: Vec<Place> = self
            .replicas
            .keys()
            .filter(|place| !wanted.contains_key(place))
            .copied()
            .collect();
        for place in gone {
            self.remove(now, image, place)?;
        }
        for (place, (topic, index)) in wanted {
            if !self.replicas.contains_key(&place) {
                self.open_partition(now, image, place, &topic, index)?;
            }
        }
        Ok(())
    }

    fn open_partition(
        &mut self,
        now: Duration,
        image: &MetadataImage,
        place: Place,
        topic: &TopicImage,
        index: PartitionIndex,
    ) -> Result<(), LogError> {
        let name = TopicPartition {
            topic: topic.name.clone(),
            partition: index,
        };
        let of = |offsets: &Offsets| offsets.get(&name).copied().unwrap_or(0);
        let state = OpenState {
            clean: self.clean,
            recovery_point: of(&self.checkpoints[0]),
            log_start_offset: of(&self.checkpoints[1]),
        };
        let config = log_config(image, topic);
        let (log, _) = PartitionLog::open(&self.data, name.clone(), topic.id, config, state, millis(now))?;
        let high_watermark = of(&self.checkpoints[2]).min(log.log_end_offset());
        self.replicas.insert(place, Replica::new(log, high_watermark));
        self.names.insert(place, name);
        Ok(())
    }

    /// The replica is not wanted here: its data goes, as a tombstone or a reassignment says to the process that it is meant for.
    fn remove(&mut self, now: Duration, image: &MetadataImage, place: Place) -> Result<(), LogError> {
        let Some(replica) = self.replicas.remove(&place) else {
            return Ok(());
        };
        drop(replica.into_log());
        let Some(name) = self.names.remove(&place) else {
            return Ok(());
        };
        let meant = self.standing().is_registered_in(image, self.start.id);
        let moved = meant && image.topic(place.topic).is_some();
        if moved || image.tombstones().contains_key(&place.topic) {
            for offsets in &mut self.checkpoints {
                offsets.remove(&name);
            }
            self.write_checkpoints(now);
            self.data.delete(&name, place.topic)?;
            *self.removals.entry(place).or_default() += 1;
        }
        Ok(())
    }

    /// What the operating system writes back by itself, and the checkpoints.
    fn flush(&mut self, now: Duration) {
        let mut failed = None;
        for replica in self.replicas.values_mut() {
            if let Err(error) = replica.log_mut().flush() {
                failed = Some(error);
            }
        }
        if let Some(error) = failed {
            self.fail(&error);
        }
        for (place, replica) in &self.replicas {
            if let Some(name) = self.names.get(place) {
                let point = replica.checkpoint();
                self.checkpoints[0].insert(name.clone(), point.recovery_point);
                if point.log_start_offset > 0 {
                    self.checkpoints[1].insert(name.clone(), point.log_start_offset);
                }
                self.checkpoints[2].insert(name.clone(), point.high_watermark);
            }
        }
        self.write_checkpoints(now);
    }

    fn write_checkpoints(&mut self, _now: Duration) -> bool {
        for (file, offsets) in FILES.into_iter().zip(&self.checkpoints) {
            if let Err(error) = self.data.write(file, offsets) {
                let error = error.to_string();
                self.failure.get_or_insert(error);
                return false;
            }
        }
        true
    }

    /// A disk that is not what the log thinks it is: this process ends, and the next one recovers.
    fn fail(&mut self, error: &LogError) {
        self.failure.get_or_insert(error.to_string());
    }

    /// The offset of the record that a process must have applied to be unfenced.
    fn applied(&self) -> MetadataOffset {
        self.image.offset()
    }
}

/// Milliseconds since 1970, as far as this world has any.
pub(super) fn millis(now: Duration) -> i64 {
    now.as_millis() as i64
}

/// Segments are small, so that they are rolled.
fn log_config(image: &MetadataImage, topic: &TopicImage) -> LogConfig {
    let config = image.topic_config(topic);
    LogConfig {
        // Far below what a topic may ask for.
        segment_bytes: 8192,
        max_message_bytes: 4096,
        flush_messages: config.flush_messages as u64,
        index_interval_bytes: 512,
        timestamp_after_max_ms: i64::MAX,
        ..LogConfig::default()
    }
}
