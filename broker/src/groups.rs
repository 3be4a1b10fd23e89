//! The shell around the group coordinator: one [`Shard`] for each partition of `__consumer_offsets` that this broker leads.
//!
//! Requests are handled on the network threads, under the short lock of their shard. One thread of its own loads a shard
//! when leadership begins, ends it when leadership ends, and lets timers run out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use broker_groups::{GroupStats, Now, OFFSETS_TOPIC, OwnSettings, Request, Response, Topics, partition_for_key};
use model::{LeaderEpoch, MetadataImage, MetadataOffset, TopicName};
use parking_lot::{Condvar, Mutex, RwLock};
use protocol::ErrorCode;

use crate::clock::now_ms;
use crate::error::StartError;
use crate::metadata_cache::MetadataCache;
use crate::partition::{PartitionHandle, Wake};
use crate::replica_manager::ReplicaManager;

pub mod metrics;
mod offsets_log;
mod settings;
mod shard;

pub use shard::{Caller, Shard};

/// How long a shard that could not be loaded waits for the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// While shards are loaded, how often those that are there already are seen to.
const SERVED_WITHIN: Duration = Duration::from_millis(20);

/// Takes the answer, or why there is none.
pub type Answer = Box<dyn FnOnce(Result<Response, ErrorCode>) + Send>;

/// The group coordinators of one broker.
#[derive(Debug)]
pub struct GroupManager {
    metadata: Arc<MetadataCache>,
    replicas: Arc<ReplicaManager>,
    began: Instant,
    shards: RwLock<BTreeMap<i32, Arc<Shard>>>,
    known: RwLock<Known>,
    /// What the shards that are gone had counted: the sums must not go back.
    retired: Mutex<GroupStats>,
    bell: Arc<Bell>,
}

/// What wakes the thread. Rung from any thread, under any lock but its own.
#[derive(Debug, Default)]
pub struct Bell {
    agenda: Mutex<Agenda>,
    nudged: Condvar,
}

impl Wake for Bell {
    /// More is committed, or a leadership has ended.
    fn wake(&self) {
        self.agenda.lock().committed = true;
        self.nudged.notify_one();
    }
}

/// The cluster as the coordinators see it.
#[derive(Debug, Default)]
struct Known {
    /// Of the image that was looked at last.
    offset: Option<MetadataOffset>,
    cluster: Cluster,
}

/// What the coordinators know of the cluster.
#[derive(Debug, Clone, Default)]
struct Cluster {
    topics: Arc<Topics>,
    own_settings: Arc<OwnSettings>,
}

/// What the thread is told.
#[derive(Debug, Default)]
struct Agenda {
    /// Leaderships or topics may have changed.
    changed: bool,
    /// More is committed than was.
    committed: bool,
    /// When it wakes by itself; `None` is never.
    wakes_at: Option<Duration>,
    stopping: bool,
}

/// The thread. See [`GroupManager::stop`].
#[derive(Debug)]
pub struct GroupThread(JoinHandle<()>);

impl GroupManager {
    /// Coordinates nothing yet.
    pub fn new(metadata: Arc<MetadataCache>, replicas: Arc<ReplicaManager>) -> Self {
        Self {
            metadata,
            replicas,
            began: Instant::now(),
            shards: RwLock::default(),
            known: RwLock::default(),
            retired: Mutex::default(),
            bell: Arc::default(),
        }
    }

    /// Starts the thread.
    pub fn start(self: &Arc<Self>) -> Result<GroupThread, StartError> {
        let groups = Arc::clone(self);
        let work = move || groups.keep();
        let thread = thread::Builder::new().name("groups".to_owned()).spawn(work);
        thread.map(GroupThread).map_err(|source| StartError::System {
            what: "a thread for consumer groups",
            source,
        })
    }

    /// Metadata has changed: shards may have to begin or to end.
    pub fn nudge(&self) {
        self.bell.agenda.lock().changed = true;
        self.bell.nudged.notify_one();
    }

    /// Sends every member to the next coordinator, and ends the thread.
    pub fn stop(&self, thread: GroupThread) {
        self.bell.agenda.lock().stopping = true;
        self.bell.nudged.notify_one();
        if thread.0.join().is_err() {
            tracing::error!("the thread of the consumer groups had failed");
        }
        let shards = std::mem::take(&mut *self.shards.write());
        for shard in shards.into_values() {
            shard.resign();
        }
    }

    /// Handles a request to a group. `answer` is called once: now, or when its turn comes.
    pub fn submit(&self, caller: &Caller<'_>, group: &str, request: Request, answer: Answer) {
        match self.shard_of(group) {
            Ok(shard) => {
                let cluster = self.cluster();
                let deadline = shard.submit(self.now(), &cluster, caller, request, answer);
                self.wake_by(deadline);
                if shard.is_oversized() {
                    self.wake_by(Some(Duration::ZERO));
                }
            }
            Err(error) => answer(Err(error)),
        }
    }

    /// The shard of a group, if it is here and loaded.
    pub fn shard_of(&self, group: &str) -> Result<Arc<Shard>, ErrorCode> {
        let partitions = match self.metadata.image().topic_by_name(OFFSETS_TOPIC) {
            Some(topic) => topic.partitions.len() as i32,
            None => return Err(ErrorCode::NotCoordinator),
        };
        let index = partition_for_key(group, partitions).0;
        let led = self.led_partition(index).ok_or(ErrorCode::NotCoordinator)?;
        let shard = self.shards.read().get(&index).cloned();
        match shard {
            Some(shard) if shard.is_of(&led) => shard.is_loaded().then_some(shard),
            _ => {
                self.nudge();
                None
            }
        }
        .ok_or(ErrorCode::CoordinatorLoadInProgress)
    }

    /// Every shard that is here; `None` if one of them is still being loaded.
    pub fn loaded_shards(&self) -> Option<Vec<Arc<Shard>>> {
        let shards = self.shards();
        shards.iter().all(|shard| shard.is_loaded()).then_some(shards)
    }

    /// The topics and settings that there are now. A topic that was created a moment ago is among them: its consumer must not wait for the
    /// next heartbeat to learn of it.
    fn cluster(&self) -> Cluster {
        let image = self.metadata.image();
        {
            let known = self.known.read();
            if known.offset == Some(image.offset()) {
                return known.cluster.clone();
            }
        }
        let mut known = self.known.write();
        if known.offset.is_none_or(|offset| offset < image.offset()) {
            known.offset = Some(image.offset());
            let topics = topics_of(&image);
            // Most changes of the metadata are none of the topics; then everybody goes on sharing the one table.
            if topics != *known.cluster.topics {
                known.cluster.topics = Arc::new(topics);
            }
            let own = settings::own_settings(&image);
            if own != *known.cluster.own_settings {
                known.cluster.own_settings = Arc::new(own);
            }
        }
        known.cluster.clone()
    }

    /// Every shard that is here, whatever its state.
    pub fn shards(&self) -> Vec<Arc<Shard>> {
        self.shards.read().values().cloned().collect()
    }

    /// What the shards that are gone had counted.
    pub fn retired_stats(&self) -> GroupStats {
        *self.retired.lock()
    }

    fn now(&self) -> Now {
        Now {
            monotonic: self.began.elapsed(),
            wall_ms: now_ms(),
        }
    }

    /// Makes sure that the thread does not sleep beyond `deadline`.
    fn wake_by(&self, deadline: Option<Duration>) {
        let Some(deadline) = deadline else { return };
        let mut agenda = self.bell.agenda.lock();
        if agenda.wakes_at.is_none_or(|at| deadline < at) {
            agenda.wakes_at = Some(deadline);
            self.bell.nudged.notify_one();
        }
    }

    fn keep(&self) {
        let mut topics = topic_names(&self.metadata.image());
        let mut look = true;
        loop {
            if look {
                let loaded = self.follow();
                let known = topic_names(&self.metadata.image());
                for gone in topics.difference(&known) {
                    self.each_shard(|shard, now| shard.topic_deleted(now, gone.as_str()));
                }
                topics = known;
                let cluster = self.cluster();
                self.each_shard(|shard, _| shard.cluster_changed(&cluster));
                if !loaded {
                    self.wake_by(Some(self.began.elapsed() + RETRY));
                }
            }
            // What is asked for from here on is new, even if it is due already.
            self.bell.agenda.lock().wakes_at = None;
            let next = self.serve();
            self.condense();
            let mut agenda = self.bell.agenda.lock();
            agenda.wakes_at = match (agenda.wakes_at, next) {
                (Some(asked), Some(next)) => Some(asked.min(next)),
                (asked, next) => asked.or(next),
            };
            if !agenda.changed && !agenda.committed && !agenda.stopping {
                match agenda.wakes_at {
                    Some(at) => {
                        self.bell.nudged.wait_until(&mut agenda, self.began + at);
                    }
                    None => self.bell.nudged.wait(&mut agenda),
                }
            }
            if agenda.stopping {
                return;
            }
            agenda.committed = false;
            look = std::mem::take(&mut agenda.changed) || !self.all_loaded();
        }
    }

    /// Answers what is committed and does what is due; when something will be.
    fn serve(&self) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        self.each_shard(|shard, now| {
            shard.settle(now);
            if let Some(deadline) = shard.tick(now) {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
            }
        });
        next
    }

    /// Bounds the logs of the shards: what is alive is written anew, and what lies before that is deleted.
    fn condense(&self) {
        let mut deleted = Vec::new();
        for shard in self.shards().into_iter().filter(|shard| shard.is_oversized()) {
            deleted.extend(shard.condense(self.now()).map(Ok));
        }
        if deleted.is_empty() {
            return;
        }
        for refused in self
            .replicas
            .delete_records(deleted)
            .into_iter()
            .filter_map(Result::err)
        {
            // The next time takes it all.
            tracing::warn!(code = %refused.code, message = refused.message, "old records of groups are not deleted");
        }
    }

    fn each_shard(&self, mut then: impl FnMut(&Shard, Now)) {
        for shard in self.shards() {
            then(&shard, self.now());
        }
    }

    fn all_loaded(&self) -> bool {
        self.shards.read().values().all(|shard| shard.is_loaded())
    }

    /// Makes the shards be those that this broker leads, and loads the new ones. False if one could not be loaded.
    fn follow(&self) -> bool {
        let led = self.led_partitions();
        let mut ended = Vec::new();
        {
            let mut shards = self.shards.write();
            shards.retain(|index, shard| {
                let goes_on = led.get(index).is_some_and(|led| shard.is_of(led));
                if !goes_on {
                    ended.push(Arc::clone(shard));
                }
                goes_on
            });
            for (index, (partition, epoch)) in &led {
                let shard = || Arc::new(Shard::new(Arc::clone(partition), *epoch, Arc::clone(&self.bell)));
                shards.entry(*index).or_insert_with(shard);
            }
        }
        for shard in ended {
            *self.retired.lock() += shard.resign();
        }
        let mut all = true;
        let settings = settings::settings(self.metadata.image().cluster_config());
        let cluster = self.cluster();
        let mut served = self.began.elapsed();
        for shard in self.shards().into_iter().filter(|shard| !shard.is_loaded()) {
            match shard.load(&settings, &cluster, self.now()) {
                Ok(()) => {}
                // The leadership moved on meanwhile; the metadata that says so nudges.
                Err(error) if error.is_of_another_epoch() || error.is_early() => all = false,
                Err(error) => {
                    tracing::error!(?shard, %error, "consumer groups cannot be loaded, trying again");
                    all = false;
                }
            }
            // After a failover there are many to load: the groups that are here already go on meanwhile.
            if self.began.elapsed() >= served + SERVED_WITHIN {
                self.serve();
                served = self.began.elapsed();
            }
        }
        all
    }

    /// The partition of the offsets topic, if this broker leads it, and in which epoch.
    fn led_partition(&self, index: i32) -> Option<(Arc<PartitionHandle>, LeaderEpoch)> {
        let table = self.replicas.topics();
        let partition = table.by_name(OFFSETS_TOPIC)?.partition(index)?;
        Some((Arc::clone(partition), partition.leader_epoch()?))
    }

    fn led_partitions(&self) -> BTreeMap<i32, (Arc<PartitionHandle>, LeaderEpoch)> {
        let image = self.metadata.snapshot();
        let count = image
            .topic_by_name(OFFSETS_TOPIC)
            .map_or(0, |topic| topic.partitions.len() as i32);
        (0..count)
            .filter_map(|index| Some((index, self.led_partition(index)?)))
            .collect()
    }
}

fn topics_of(image: &MetadataImage) -> Topics {
    image
        .topics()
        .values()
        .map(|topic| (topic.name.as_str(), topic.id, topic.partitions.len() as i32))
        .collect()
}

fn topic_names(image: &MetadataImage) -> BTreeSet<TopicName> {
    image.topics().values().map(|topic| topic.name.clone()).collect()
}
