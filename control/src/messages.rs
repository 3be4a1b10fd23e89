//! What is said over the contract, parsed.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::{
    BrokerEpoch, BrokerId, ClusterId, ControllerEpoch, Digest, DirectoryId, Endpoint, FeatureRange, Frame,
    IncarnationId, IsrProposal, Lineage, LogIdentity, MetadataImage, MetadataOffset, ProducerId, ReplicaReport,
    TopicId,
};

/// Where in which history a node stands; the controller checks that it is a prefix of the log (METADATA 23).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The unbroken history.
    pub lineage: Lineage,
    /// Of the controller last obeyed.
    pub controller_epoch: ControllerEpoch,
    /// The last applied record.
    pub offset: MetadataOffset,
    /// The chain hash after it.
    pub chain_hash: Digest,
}

impl Position {
    /// The position of a node that holds `image`.
    pub fn of(image: &MetadataImage) -> Self {
        Self {
            lineage: image.lineage(),
            controller_epoch: image.controller_epoch(),
            offset: image.offset(),
            chain_hash: image.chain_hash(),
        }
    }
}

/// A process asks to be broker `id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The broker id.
    pub broker_id: BrokerId,
    /// Drawn anew by each process start; the same incarnation again gets the same broker epoch.
    pub incarnation: IncarnationId,
    /// From `meta.json`.
    pub directory_id: DirectoryId,
    /// The kernel's boot id, if it can be read.
    pub boot_id: Option<String>,
    /// The broker epoch that the clean-shutdown mark names.
    pub clean_shutdown_epoch: Option<BrokerEpoch>,
    /// The pod, in Kubernetes.
    pub pod_uid: Option<String>,
    /// What clients and other brokers are told to dial, at least one.
    pub endpoints: Vec<Endpoint>,
    /// For the placement of replicas.
    pub rack: Option<String>,
    /// The levels that this binary knows.
    pub features: BTreeMap<String, FeatureRange>,
    /// Where the image on the volume stands.
    pub position: Option<Position>,
    /// From `meta.json`; `None` on a fresh volume.
    pub cluster_id: Option<ClusterId>,
}

/// The answer to a registration, told after its record was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Carried by everything that this process says from now on.
    pub broker_epoch: BrokerEpoch,
    /// To be written to `meta.json`, or compared with it.
    pub cluster_id: ClusterId,
    /// To be applied before the broker can be unfenced.
    pub metadata_offset: MetadataOffset,
}

/// Which registered process speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The broker id.
    pub broker_id: BrokerId,
    /// From [`Registered`].
    pub broker_epoch: BrokerEpoch,
}

/// "I live", once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who.
    pub session: Session,
    /// Of this process.
    pub incarnation: IncarnationId,
    /// The last applied record.
    pub applied: MetadataOffset,
    /// The chain hash after it, if the broker tells it.
    pub chain_hash: Option<Digest>,
    /// SIGTERM came.
    pub want_shutdown: bool,
    /// Logs recovered and listeners open.
    pub ready: bool,
}

/// What the controller thinks of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// It may not lead or count.
    pub fenced: bool,
    /// It has applied all that it needs to be unfenced.
    pub caught_up: bool,
    /// What could be handed over has been, and that is committed (METADATA 3).
    pub may_shutdown: bool,
    /// The last committed record.
    pub metadata_offset: MetadataOffset,
}

/// Asks for metadata from a position on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// Who watches.
    pub broker_id: BrokerId,
    /// Which process of it.
    pub incarnation: IncarnationId,
    /// Where its image stands; `None` wants a snapshot.
    pub position: Option<Position>,
}

/// How a metadata stream begins (METADATA 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The history, and the controller that serves the stream.
    pub identity: LogIdentity,
    /// Of the log.
    pub cluster_id: ClusterId,
    /// The last committed record when the stream began.
    pub metadata_offset: MetadataOffset,
}

/// What follows an opening.
#[derive(Debug, Clone)]
pub enum MetadataEvent {
    /// The image at some record, instead of the records up to there.
    Snapshot(MetadataImage),
    /// Records in offset order without a gap, never empty.
    Frames(Vec<Frame>),
    /// A broker may have died.
    Suspicion(Suspicion),
}

/// The controller is about to find out whether a broker is dead: its stream broke. Decides nothing; the fence, if it comes,
/// comes as a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspicion {
    /// The broker.
    pub broker: BrokerId,
    /// Which life of it.
    pub epoch: BrokerEpoch,
}

/// A client's admin request on its way to the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminRequest {
    /// The broker that forwards.
    pub session: Session,
    /// As that broker authenticated the client, for example `User:ANONYMOUS`.
    pub principal: String,
    /// The listener that the client came through.
    pub listener: String,
    /// From the request header; empty if none.
    pub client_id: String,
    /// The client's address without port.
    pub client_host: String,
    /// Kafka's number of the API.
    pub api_key: i16,
    /// The version of request and response.
    pub api_version: i16,
    /// The request body, without header.
    pub body: Bytes,
}

/// Producer ids `first .. first + count`, of which no other broker hands out any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The lowest.
    pub first: ProducerId,
    /// How many.
    pub count: i32,
}

/// The directories of removed topics are gone from a volume (METADATA 25).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// Whose volume.
    pub session: Session,
    /// The removed topics.
    pub topic_ids: Vec<TopicId>,
}

/// What there is of replicas whose partitions wait for that word, or whose logs have failed (METADATA 17).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaReports {
    /// Whose replicas.
    pub session: Session,
    /// At most one for a partition.
    pub reports: Vec<ReplicaReport>,
}

/// The leader of partitions proposes their in-sync replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterPartition {
    /// The leader.
    pub session: Session,
    /// At most one for a partition.
    pub proposals: Vec<IsrProposal>,
}
