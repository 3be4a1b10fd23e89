//! What a run is about: how large the cluster is, what clients do, which faults come, and which rule is taken out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use controller::append::Sabotage;
use controller::{DesiredTopic, Input};
use model::TopicName;

use super::message::AdminWish;
use crate::history::Guarantee;
use crate::random::Random;

/// What a run is about.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Pods of the StatefulSet; half of the seeds have one more.
    pub brokers: usize,
    /// One producer each.
    pub producers: Vec<Guarantee>,
    /// How many consumers read everything.
    pub consumers: usize,
    /// How often a producer sends, on the average.
    pub pace: Duration,
    /// Topics that are created at the beginning.
    pub topics: Vec<Topic>,
    /// A broker is fenced after this silence.
    pub fence_after: Duration,
    /// `replica.lag.time.max.ms`.
    pub max_lag: Duration,
    /// How long nothing happens at first.
    pub calm_start: Duration,
    /// How long faults come after that.
    pub faults_for: Duration,
    /// Between two faults, on the average.
    pub faults_every: Duration,
    /// Every record is on the disk before it is acknowledged or told to the leader, so that any power may fail.
    pub fsync: bool,
    /// The controller elects the longest log where only the last known ELR is left (METADATA 17).
    pub elects_from_last_known_elr: bool,
    /// Rules that are taken out, to see that the checkers notice.
    pub bugs: Bugs,
}

/// A topic.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas each.
    pub replication_factor: i16,
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `flush.messages=1`.
    pub fsync: bool,
}

/// Rules that are taken out of the glue between the real parts. Those of the parts themselves are taken out there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bugs {
    /// In the controller.
    pub controller: Sabotage,
    /// The API server takes every write.
    pub no_compare_and_swap: bool,
    /// A restarted broker leads what the image on its disk says (against METADATA 18).
    pub resumes_leadership: bool,
    /// A restarted broker follows in its old registration although records may be lost (against METADATA 18).
    pub always_heir: bool,
    /// Records are acted on and not written to the disk (against METADATA 8).
    pub acts_before_persisting: bool,
    /// A stream of an earlier controller is followed (against METADATA 7).
    pub follows_any_controller: bool,
    /// A controller serves a broker that knows what its log does not (against METADATA 23).
    pub hello_unchecked: bool,
    /// A broker whose volume is gone says that it stopped in good order, in the epoch that the controller knows.
    pub always_clean: bool,
    /// A broker with an empty volume registers with the directory id of the one that was lost.
    pub keeps_directory_id: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            brokers: 3,
            producers: vec![
                Guarantee::Idempotent,
                Guarantee::AllReplicas,
                Guarantee::Idempotent,
                Guarantee::LeaderOnly,
            ],
            consumers: 2,
            pace: Duration::from_millis(250),
            topics: vec![Topic::new("alpha", 2), Topic::new("beta", 1)],
            fence_after: Duration::from_secs(3),
            max_lag: Duration::from_secs(2),
            calm_start: Duration::from_secs(3),
            faults_for: Duration::from_secs(30),
            faults_every: Duration::from_millis(1500),
            fsync: false,
            elects_from_last_known_elr: true,
            bugs: Bugs::default(),
        }
    }
}

impl Topic {
    /// Three replicas, two of which must be in sync.
    pub fn new(name: &'static str, partitions: i32) -> Self {
        Self {
            name,
            partitions,
            replication_factor: 3,
            min_insync_replicas: 2,
            fsync: false,
        }
    }
}

impl Plan {
    /// The plan of a seed: what differs from run to run.
    pub(super) fn drawn(mut self, random: &mut Random) -> Self {
        self.fsync = random.chance(50);
        for topic in &mut self.topics {
            topic.fsync = self.fsync;
            if random.chance(20) {
                topic.min_insync_replicas = 1;
            }
        }
        self.faults_every = self.faults_every * (60 + random.below(120) as u32) / 100;
        // One that has no replica of some partitions, to move them to.
        self.brokers += usize::from(random.chance(50));
        self
    }
}

/// The wish for a topic.
pub(super) fn create(topic: &Topic) -> AdminWish {
    desire(topic, topic.min_insync_replicas)
}

/// The wish that a topic be as it is, but for its minimum of in-sync replicas.
pub(super) fn desire(topic: &Topic, min_insync_replicas: usize) -> AdminWish {
    let min_isr = min_insync_replicas.to_string();
    let mut config = BTreeMap::from([("min.insync.replicas".to_owned(), min_isr)]);
    if topic.fsync {
        config.insert("flush.messages".to_owned(), "1".to_owned());
    }
    let desired = TopicName::new(topic.name).ok().map(|name| DesiredTopic {
        name,
        partitions: Some(topic.partitions),
        replication_factor: Some(topic.replication_factor),
        assignment: None,
        config,
        patience: None,
    });
    AdminWish(Arc::new(move |request| match &desired {
        Some(topic) => Input::TopicDesired {
            request,
            topic: topic.clone(),
        },
        None => Input::Tick,
    }))
}
