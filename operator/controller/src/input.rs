//! What the controller is told.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{
    BrokerEpoch, BrokerId, ClusterId, DirectoryId, Endpoint, FeatureRange, IncarnationId, IsrProposal, MetadataOffset,
    ReplicaReport, TopicId, TopicName,
};

use crate::log::{AppendId, SnapshotName, StoreVersion, StoredLog};

/// The shell's number for a request; the reply carries it.
pub type RequestId = u64;

/// The controller's number for a read; the answer carries it, so that an old answer is not taken for a new one.
pub type ReadId = u64;

/// An API version of the Kafka protocol.
pub type Version = i16;

/// What the controller is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// The Lease is won (or there is none): take over. Once, first.
    Start,
    /// The time has come that was asked for, or simply some time has passed.
    Tick,
    /// A read is done; `None` if there is no log.
    ReadDone {
        /// Which read.
        id: ReadId,
        /// What was found.
        log: Option<StoredLog>,
    },
    /// A read failed; it will be asked for again.
    ReadFailed {
        /// Which read.
        id: ReadId,
        /// Why.
        error: String,
    },
    /// The append is in the log.
    Appended {
        /// Which append.
        id: AppendId,
        /// The version that it made.
        version: StoreVersion,
    },
    /// The log had another version than expected (409), or existed where it should be created.
    AppendConflict {
        /// Which append.
        id: AppendId,
    },
    /// No answer: the append may be in the log, may yet come, or may be lost. Only this is right after a timeout.
    AppendUnknown {
        /// Which append.
        id: AppendId,
    },
    /// The store said no for another reason and has certainly not written it.
    AppendRefused {
        /// Which append.
        id: AppendId,
        /// The store's words.
        error: String,
    },
    /// All chunks of a snapshot are stored.
    SnapshotWritten {
        /// Which snapshot.
        name: SnapshotName,
    },
    /// A snapshot could not be stored; it will be tried again.
    SnapshotFailed {
        /// Which snapshot.
        name: SnapshotName,
        /// Why.
        error: String,
    },
    /// A process asks to be a broker.
    Register {
        /// The shell's number.
        request: RequestId,
        /// Who.
        registration: Registration,
    },
    /// A broker says that it lives.
    Heartbeat {
        /// The shell's number.
        request: RequestId,
        /// What it says.
        heartbeat: Heartbeat,
    },
    /// A broker's Lease was renewed: its record *changed*, whatever its timestamps say.
    LeaseSeen {
        /// The broker.
        broker: BrokerId,
        /// The process that holds it, if the holder names one.
        incarnation: Option<IncarnationId>,
    },
    /// A broker's stream ended. Proves nothing, but one that was allowed to leave has left.
    SessionEnded {
        /// The broker.
        broker: BrokerId,
        /// The process.
        incarnation: IncarnationId,
    },
    /// A broker's process is dead.
    BrokerGone {
        /// The broker.
        broker: BrokerId,
        /// The process that is dead, if known; else the registered one.
        incarnation: Option<IncarnationId>,
        /// How that is known.
        proof: Proof,
    },
    /// The answer to [`crate::Effect::Probe`].
    Probed {
        /// The broker.
        broker: BrokerId,
        /// What became of the connection.
        answer: ProbeAnswer,
    },
    /// A client's admin request, decided and committed here (standalone; in the operator, the Topic resource comes first).
    Admin {
        /// The shell's number.
        request: RequestId,
        /// The request.
        admin: AdminRequest,
    },
    /// A topic should be so: create or change it.
    TopicDesired {
        /// The shell's number.
        request: RequestId,
        /// How it should be.
        topic: DesiredTopic,
    },
    /// A topic should not be.
    TopicDeleted {
        /// The shell's number.
        request: RequestId,
        /// Which: another topic of the same name is not meant.
        id: TopicId,
    },
    /// The cluster's own configuration, whole: keys that are absent go back to their defaults.
    ClusterDesired {
        /// The shell's number.
        request: RequestId,
        /// Values by Kafka's broker-side names.
        config: BTreeMap<String, String>,
        /// How many brokers there should be.
        brokers: usize,
    },
    /// What the command line says for the whole cluster: keys that are absent are not said any more.
    StaticConfig {
        /// The shell's number.
        request: RequestId,
        /// Values by Kafka's broker-side names.
        config: BTreeMap<String, String>,
    },
    /// A broker asks for a block of producer ids.
    AllocateProducerIds {
        /// The shell's number.
        request: RequestId,
        /// Who asks.
        session: SessionId,
    },
    /// The leader of partitions proposes their in-sync replicas.
    AlterPartition {
        /// The shell's number.
        request: RequestId,
        /// The leader.
        session: SessionId,
        /// At most one for a partition.
        proposals: Vec<IsrProposal>,
    },
    /// A broker has purged removed topics (METADATA 25). May be said again at any time.
    ReportPurged {
        /// The shell's number.
        request: RequestId,
        /// Who.
        session: SessionId,
        /// The removed topics of which it holds nothing.
        topics: Vec<TopicId>,
    },
    /// What a broker says of replicas of its own whose partitions wait for that, or whose logs have failed (METADATA 17).
    /// May be said again at any time.
    ReportReplicas {
        /// The shell's number.
        request: RequestId,
        /// Who.
        session: SessionId,
        /// At most one for a partition.
        reports: Vec<ReplicaReport>,
    },
    /// These brokers will go (scale-down): move their replicas to the others, as many at a time as is good. Said again until
    /// the answer is that nothing is left; after `ClusterDesired` with room for them, they stay.
    Drain {
        /// The shell's number.
        request: RequestId,
        /// The brokers, all of them: none is moved to another.
        brokers: Vec<BrokerId>,
    },
    /// A broker is gone for good (scale-down): forget it.
    Unregister {
        /// The shell's number.
        request: RequestId,
        /// The broker.
        broker: BrokerId,
    },
}

/// Which registered process speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId {
    /// The broker.
    pub broker: BrokerId,
    /// Its registration.
    pub epoch: BrokerEpoch,
}

/// A process asks to be a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The broker id.
    pub broker: BrokerId,
    /// Drawn anew by each process start.
    pub incarnation: IncarnationId,
    /// Its data directory.
    pub directory_id: DirectoryId,
    /// The boot of its node.
    pub boot_id: Option<String>,
    /// The broker epoch that the clean-shutdown mark names.
    pub clean_shutdown_epoch: Option<BrokerEpoch>,
    /// The pod it runs in.
    pub pod_uid: Option<String>,
    /// Where its listeners are reached.
    pub endpoints: Vec<Endpoint>,
    /// Its failure domain.
    pub rack: Option<String>,
    /// Feature levels that it knows.
    pub features: BTreeMap<String, FeatureRange>,
    /// The cluster its data directory belongs to; `None` if it is fresh.
    pub cluster_id: Option<ClusterId>,
}

/// A broker says that it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who.
    pub session: SessionId,
    /// The last record it has applied.
    pub applied: MetadataOffset,
    /// It asks to leave.
    pub want_shutdown: bool,
    /// Logs recovered and listeners open.
    pub ready: bool,
}

/// How a death is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The kubelet reports the container terminated, or the process told us itself: no brake.
    Terminated,
    /// The pod is gone from a node that is out of service.
    PodGone,
    /// Connections to its pod address are refused, twice, and its stream broke (METADATA 20).
    Refused,
}

/// What became of a connection to a broker's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// Something accepts connections there.
    Accepted,
    /// The host answers, and nothing listens: at every address of the process.
    Refused,
    /// Nothing came back in time, or the way there is broken: proves nothing by itself.
    Silent,
}

/// A client's admin request, as raw Kafka bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminRequest {
    /// As the broker authenticated the client.
    pub principal: String,
    /// The listener the client came by.
    pub listener: String,
    /// Kafka's number of the API.
    pub api_key: i16,
    /// The version of request and response.
    pub api_version: Version,
    /// The request body, without header.
    pub body: Vec<u8>,
}

/// How a topic should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredTopic {
    /// Its name.
    pub name: TopicName,
    /// How many partitions; `None` takes the cluster's default when it is created, and leaves them alone afterwards.
    pub partitions: Option<i32>,
    /// How many replicas; `None` likewise.
    pub replication_factor: Option<i16>,
    /// The replicas of each partition, if they are not to be placed.
    pub assignment: Option<Vec<Vec<BrokerId>>>,
    /// The whole configuration: keys that are absent go back to their defaults.
    pub config: BTreeMap<String, String>,
    /// Do not wait for the expected brokers longer than this, if it is less than the settings say.
    pub patience: Option<Duration>,
}
