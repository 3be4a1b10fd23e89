//! The shell around the group coordinator: one [`Shard`] for each partition of `__consumer_offsets` that this broker leads.
//!
//! Requests are handled on the network threads, under the short lock of their shard. One thread of its own loads a shard
//! when leadership begins, ends it when leadership ends, and lets timers run out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use broker_groups::{GroupSettings, Now, OFFSETS_TOPIC, Request, Response, partition_for_key};
use model::{LeaderEpoch, TopicName};
use parking_lot::{Condvar, Mutex, RwLock};
use protocol::ErrorCode;

use crate::clock::now_ms;
use crate::context::BrokerContext;
use crate::error::StartError;
use crate::partition::PartitionHandle;

mod offsets_log;
mod shard;

pub use shard::{Caller, Shard};

/// How long a shard that could not be loaded waits for the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// Takes the answer, or why there is none.
pub type Answer = Box<dyn FnOnce(Result<Response, ErrorCode>) + Send>;

/// The group coordinators of one broker.
#[derive(Debug)]
pub struct GroupManager {
    settings: GroupSettings,
    began: Instant,
    shards: RwLock<BTreeMap<i32, Arc<Shard>>>,
    agenda: Mutex<Agenda>,
    nudged: Condvar,
}

/// What the thread is told.
#[derive(Debug, Default)]
struct Agenda {
    /// Leaderships or topics may have changed.
    changed: bool,
    /// When it wakes by itself; `None` is never.
    wakes_at: Option<Duration>,
    stopping: bool,
}

/// The thread. See [`GroupManager::stop`].
#[derive(Debug)]
pub struct GroupThread(JoinHandle<()>);

impl GroupManager {
    /// Coordinates nothing yet.
    pub fn new(settings: GroupSettings) -> Self {
        Self {
            settings,
            began: Instant::now(),
            shards: RwLock::default(),
            agenda: Mutex::default(),
            nudged: Condvar::new(),
        }
    }

    /// Starts the thread.
    pub fn start(broker: Arc<BrokerContext>) -> Result<GroupThread, StartError> {
        let work = move || broker.groups.keep(&broker);
        let thread = thread::Builder::new().name("groups".to_owned()).spawn(work);
        thread.map(GroupThread).map_err(|source| StartError::System {
            what: "a thread for consumer groups",
            source,
        })
    }

    /// Metadata has changed: shards may have to begin or to end.
    pub fn nudge(&self) {
        self.agenda.lock().changed = true;
        self.nudged.notify_one();
    }

    /// Sends every member to the next coordinator, and ends the thread.
    pub fn stop(&self, thread: GroupThread) {
        self.agenda.lock().stopping = true;
        self.nudged.notify_one();
        if thread.0.join().is_err() {
            tracing::error!("the thread of the consumer groups had failed");
        }
        let shards = std::mem::take(&mut *self.shards.write());
        for shard in shards.into_values() {
            shard.resign();
        }
    }

    /// Handles a request to a group. `answer` is called once: now, or when its turn comes.
    pub fn submit(&self, broker: &BrokerContext, caller: &Caller<'_>, group: &str, request: Request, answer: Answer) {
        match self.shard_of(broker, group) {
            Ok(shard) => {
                let deadline = shard.submit(self.now(), caller, request, answer);
                self.wake_by(deadline);
            }
            Err(error) => answer(Err(error)),
        }
    }

    /// The shard of a group, if it is here and loaded.
    pub fn shard_of(&self, broker: &BrokerContext, group: &str) -> Result<Arc<Shard>, ErrorCode> {
        let partitions = match broker.metadata.image().topic_by_name(OFFSETS_TOPIC) {
            Some(topic) => topic.partitions.len() as i32,
            None => return Err(ErrorCode::NotCoordinator),
        };
        let index = partition_for_key(group, partitions).0;
        let led = led_partition(broker, index).ok_or(ErrorCode::NotCoordinator)?;
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
        let shards: Vec<Arc<Shard>> = self.shards.read().values().cloned().collect();
        shards.iter().all(|shard| shard.is_loaded()).then_some(shards)
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
        let mut agenda = self.agenda.lock();
        if agenda.wakes_at.is_none_or(|at| deadline < at) {
            agenda.wakes_at = Some(deadline);
            self.nudged.notify_one();
        }
    }

    fn keep(&self, broker: &BrokerContext) {
        let mut topics = topic_names(broker);
        let mut look = true;
        loop {
            if look {
                let loaded = self.follow(broker);
                let known = topic_names(broker);
                for gone in topics.difference(&known) {
                    self.each_shard(|shard, now| shard.topic_deleted(now, gone.as_str()));
                }
                topics = known;
                if !loaded {
                    self.wake_by(Some(self.began.elapsed() + RETRY));
                }
            }
            let mut next: Option<Duration> = None;
            self.each_shard(|shard, now| {
                if let Some(deadline) = shard.tick(now) {
                    next = Some(next.map_or(deadline, |next| next.min(deadline)));
                }
            });
            let mut agenda = self.agenda.lock();
            agenda.wakes_at = match (agenda.wakes_at.filter(|at| *at > self.began.elapsed()), next) {
                (Some(asked), Some(next)) => Some(asked.min(next)),
                (asked, next) => asked.or(next),
            };
            if !agenda.changed && !agenda.stopping {
                match agenda.wakes_at {
                    Some(at) => {
                        self.nudged.wait_until(&mut agenda, self.began + at);
                    }
                    None => self.nudged.wait(&mut agenda),
                }
            }
            if agenda.stopping {
                return;
            }
            look = std::mem::take(&mut agenda.changed) || !self.all_loaded();
        }
    }

    fn each_shard(&self, mut then: impl FnMut(&Shard, Now)) {
        let shards: Vec<Arc<Shard>> = self.shards.read().values().cloned().collect();
        for shard in shards {
            then(&shard, self.now());
        }
    }

    fn all_loaded(&self) -> bool {
        self.shards.read().values().all(|shard| shard.is_loaded())
    }

    /// Makes the shards be those that this broker leads, and loads the new ones. False if one could not be loaded.
    fn follow(&self, broker: &BrokerContext) -> bool {
        let led = led_partitions(broker);
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
                let shard = || Arc::new(Shard::new(Arc::clone(partition), *epoch));
                shards.entry(*index).or_insert_with(shard);
            }
        }
        for shard in ended {
            shard.resign();
        }
        let mut all = true;
        self.each_shard(|shard, now| {
            match shard.load(&self.settings, now) {
                Ok(()) => {}
                // The leadership moved on meanwhile; the metadata that says so nudges.
                Err(error) if error.is_of_another_epoch() => all = false,
                Err(error) => {
                    tracing::error!(?shard, %error, "consumer groups cannot be loaded, trying again");
                    all = false;
                }
            }
        });
        all
    }
}

/// The partition of the offsets topic, if this broker leads it, and in which epoch.
fn led_partition(broker: &BrokerContext, index: i32) -> Option<(Arc<PartitionHandle>, LeaderEpoch)> {
    let table = broker.replicas.topics();
    let partition = table.by_name(OFFSETS_TOPIC)?.partition(index)?;
    Some((Arc::clone(partition), partition.leader_epoch()?))
}

fn led_partitions(broker: &BrokerContext) -> BTreeMap<i32, (Arc<PartitionHandle>, LeaderEpoch)> {
    let image = broker.metadata.snapshot();
    let count = image
        .topic_by_name(OFFSETS_TOPIC)
        .map_or(0, |topic| topic.partitions.len() as i32);
    (0..count)
        .filter_map(|index| Some((index, led_partition(broker, index)?)))
        .collect()
}

fn topic_names(broker: &BrokerContext) -> BTreeSet<TopicName> {
    broker
        .metadata
        .image()
        .topics()
        .values()
        .map(|topic| topic.name.clone())
        .collect()
}
