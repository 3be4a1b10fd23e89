//! What the controller wants done.

use std::time::Duration;

use model::{BrokerEpoch, BrokerId, ClusterId, Frame, IsrOutcome, MetadataImage, MetadataOffset, ProducerId, TopicId};
use protocol::ErrorCode;

use crate::input::{ReadId, RequestId};
use crate::log::{AppendId, LogDocument, SnapshotName, StoreVersion};

/// What the controller wants done, in this order.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Read the log, not from a cache; answer with `ReadDone` or `ReadFailed`. If a chunk of its snapshot is missing, read
    /// the log again before giving up (METADATA 4).
    Read {
        /// To be told in the answer.
        id: ReadId,
        /// Whether the chunks of its snapshot are wanted.
        with_snapshot: bool,
    },
    /// Replace the document if it still has the expected version; `None` creates it and must fail if there is one.
    /// Answer with one of the `Append...` inputs. There is never a second one before that answer.
    Append {
        /// To be told in the answer.
        id: AppendId,
        /// The version to replace.
        expected: Option<StoreVersion>,
        /// The new contents.
        document: LogDocument,
    },
    /// Store the chunks of a snapshot; answer with `SnapshotWritten` or `SnapshotFailed`.
    WriteSnapshot {
        /// Its name.
        name: SnapshotName,
        /// Its chunks in order.
        chunks: Vec<String>,
    },
    /// Delete all snapshots with a lower offset than this one, which was read back from the log (METADATA 3, 4).
    DeleteSnapshotsBelow {
        /// The snapshot that stays.
        name: SnapshotName,
    },
    /// This controller acts from now on: its `ControllerElected` is in the log. Answer brokers, serve the image.
    Elected {
        /// The committed image.
        image: MetadataImage,
    },
    /// Tell brokers: these records are committed (METADATA 1). Never empty, never with a gap.
    Publish {
        /// The records.
        frames: Vec<Frame>,
        /// The committed image after them.
        image: MetadataImage,
    },
    /// Answer a request.
    Reply {
        /// Which.
        request: RequestId,
        /// With what.
        reply: Reply,
    },
    /// Too many brokers fell silent at once: see for yourself whether this one answers, and say `Probed`.
    Probe {
        /// The broker.
        broker: BrokerId,
    },
    /// Tell brokers: this one's stream broke, and it is looked at. Nothing is decided.
    Suspect {
        /// The broker.
        broker: BrokerId,
        /// Which life of it.
        epoch: BrokerEpoch,
    },
    /// Send `Tick` at this time (since the start of the same clock as `now`), if nothing comes before.
    WakeAt(Duration),
    /// Stop at once: answer everything that waits as "not the controller", give up the Lease. This controller does
    /// nothing more; another try needs a new one.
    StepDown(StepDown),
}

/// Why a controller stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepDown {
    /// Another one has taken over.
    #[error("another controller has taken over")]
    Deposed,
    /// Somebody else changed the log: begin again from what is there.
    #[error("the metadata log was changed by somebody else")]
    Changed,
    /// There is no log, though there must have been one: a person or a rebuild is needed (METADATA 23).
    #[error("the metadata log is missing, but this cluster had one: it is not begun from empty")]
    Missing,
    /// What the log begins with is gone, so that it says nothing: the same case (METADATA 24).
    #[error("the metadata log says nothing any more: {0}")]
    SnapshotLost(String),
    /// The log cannot be folded: a person is needed, or a version that knows more.
    #[error("the metadata log cannot be used: {0}")]
    Unusable(String),
    /// A decision could not be applied: a defect. Nothing of it was written.
    #[error("a decision could not be applied: {0}")]
    Defect(String),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To `Register`.
    Registered(Registered),
    /// To `Heartbeat`.
    Heartbeat(HeartbeatReply),
    /// To `AllocateProducerIds`: `count` ids from `first` on.
    ProducerIds {
        /// The lowest.
        first: ProducerId,
        /// How many.
        count: i32,
    },
    /// To `AlterPartition`: one for each proposal, in the same order.
    AlterPartition(Vec<IsrOutcome>),
    /// To `Admin`: the Kafka response body, without header.
    Admin(Vec<u8>),
    /// To `TopicDesired`: the topic is so.
    Topic(TopicState),
    /// To `Drain`: so many replicas are still on those brokers.
    Draining {
        /// How many.
        left: usize,
    },
    /// To everything else: done, and committed.
    Done,
    /// To anything: no.
    Refused(Refusal),
}

/// The answer to a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Carried by everything this process says from now on.
    pub epoch: BrokerEpoch,
    /// The cluster it belongs to.
    pub cluster_id: ClusterId,
    /// To be applied before it can be unfenced.
    pub metadata_offset: MetadataOffset,
}

/// The answer to a heartbeat. From the committed image, and never waiting for an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// It may not lead.
    pub fenced: bool,
    /// It has applied what it needs to be unfenced.
    pub caught_up: bool,
    /// What could be handed over has been, and that is committed (METADATA 3).
    pub may_shutdown: bool,
    /// The last committed record.
    pub metadata_offset: MetadataOffset,
}

/// A topic as it is after a `TopicDesired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicState {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not the controller, or not yet: ask another one, or again.
    #[error("this is not the controller (yet)")]
    NotReady,
    /// The metadata log is full until its snapshot is written; try again (METADATA 5). Condition `MetadataLogFull`.
    #[error("the metadata log is full until its next snapshot is stored: try again")]
    LogFull,
    /// Something must happen first; try again. The sentence says what.
    #[error("{0}")]
    Pending(String),
    /// Another process with this id seems to live; try again (METADATA 21).
    #[error("broker {0} is registered by another process that was heard of recently")]
    DuplicateBroker(BrokerId),
    /// The registration that the caller speaks for is not the current one: register again.
    #[error("broker {broker} has no registration with epoch {epoch}: register again")]
    StaleBrokerEpoch {
        /// The broker.
        broker: BrokerId,
        /// The epoch that was said.
        epoch: BrokerEpoch,
    },
    /// The data directory belongs to another cluster.
    #[error("the data directory belongs to cluster {theirs}, this is {ours}")]
    OtherCluster {
        /// The directory's cluster.
        theirs: ClusterId,
        /// This cluster.
        ours: ClusterId,
    },
    /// The broker does not know a finalized feature level (METADATA 9).
    #[error("feature {feature} is finalized at level {level}, which broker {broker} does not know: upgrade it")]
    UnsupportedFeature {
        /// The broker.
        broker: BrokerId,
        /// The feature.
        feature: String,
        /// Its finalized level.
        level: i16,
    },
    /// The broker's registration contradicts itself.
    #[error("{0}")]
    InvalidRegistration(String),
    /// What is wanted is not possible: Kafka's error, and a sentence.
    #[error("{message}")]
    Kafka {
        /// Kafka's error.
        code: ErrorCode,
        /// What is wrong and what to do.
        message: String,
    },
    /// No such API here, or not in that version, or not decodable.
    #[error("{0}")]
    InvalidRequest(String),
}

impl From<model::ApplyError> for Refusal {
    /// A decision that cannot be applied was never proposed: nothing of it is anywhere.
    fn from(cause: model::ApplyError) -> Self {
        Self::InvalidRequest(cause.to_string())
    }
}
