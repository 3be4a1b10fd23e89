//! What processes say to each other.

use std::time::Duration;

use controller::{Heartbeat, Input, LogDocument, Registration, Reply, SnapshotName, StoreVersion, StoredLog};
use model::{
    BrokerEpoch, BrokerId, ControllerEpoch, Digest, Frame, IncarnationId, IsrProposal, LeaderEpoch, Lineage,
    LogIdentity, MetadataImage, MetadataOffset, ReplicaReport,
};
use protocol::ErrorCode;

use super::network::Host;
use crate::history::{Place, Value};
use crate::store::Written;

/// A process: each start is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ProcessId(pub(super) u32);

/// The sender's number of a call.
pub(super) type CallId = u64;

/// What travels.
#[derive(Debug, Clone)]
pub(super) enum Message {
    /// A call.
    Request(CallId, Request),
    /// Its answer.
    Response(CallId, Response),
    /// Nobody listens at the address.
    Refused(CallId),
    /// More records on a metadata stream: the call that opened it, and a number without gaps.
    Frames(CallId, u64, Vec<Frame>),
    /// The other end of a metadata stream is gone.
    StreamEnded(CallId),
    /// A watch of Kubernetes saw that a broker renewed its Lease.
    LeaseSeen(BrokerId, IncarnationId),
    /// The kubelet says that a broker's container has terminated.
    Terminated(BrokerId, IncarnationId),
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) enum Request {
    /// Of Kubernetes.
    Api(ApiRequest),
    /// Of a controller, by a process that wants to be a broker.
    Register(Box<Registration>, Option<Position>),
    /// Of a controller, by a broker.
    Heartbeat(Heartbeat),
    /// Of a controller, by a leader.
    AlterPartition(controller::SessionId, Vec<IsrProposal>),
    /// Of a controller, by a broker: what there is of its replicas.
    ReportReplicas(controller::SessionId, Vec<ReplicaReport>),
    /// Of a controller, by a broker.
    Watch(BrokerId, IncarnationId, Option<Position>),
    /// Of a controller, by an administrator: the input is made with the controller's number of the request.
    Admin(AdminWish),
    /// Of a broker, by a controller that suspects itself.
    Probe,
    /// Of a leader, by a follower.
    ReplicaFetch(ReplicaFetch),
    /// Of any broker.
    Metadata,
    /// Of a leader.
    Produce(Produce),
    /// Of a leader.
    Fetch(Fetch),
}

/// What is answered.
#[derive(Debug, Clone)]
pub(super) enum Response {
    /// By Kubernetes.
    Api(ApiResponse),
    /// By a controller.
    Controller(Reply),
    /// By a controller: a metadata stream begins.
    Opening(Box<Opening>),
    /// By a controller: the broker knows what the log does not.
    Regressed,
    /// By who is not the controller.
    NotController,
    /// By a broker that lives.
    Alive,
    /// By a leader, for each partition of the request.
    ReplicaFetched(Vec<ReplicaFetched>),
    /// By a broker: which brokers there are, and who leads what.
    Metadata(Vec<Host>, Vec<PlaceLeader>),
    /// By a leader.
    Produced(Result<i64, ErrorCode>),
    /// By a leader.
    Fetched(Result<Fetched, FetchFailure>),
}

/// A request to the API server.
#[derive(Debug, Clone)]
pub(super) enum ApiRequest {
    ReadLog {
        with_snapshot: bool,
    },
    Append {
        expected: Option<StoreVersion>,
        document: Box<LogDocument>,
    },
    WriteSnapshot {
        name: SnapshotName,
        chunks: Vec<String>,
    },
    DeleteSnapshots {
        name: SnapshotName,
    },
    ReadLease,
    /// Takes or renews the controller's Lease, if it still has this version.
    TakeLease {
        expected: u64,
    },
    /// Gives the Lease up.
    ReleaseLease,
    RenewBrokerLease {
        broker: BrokerId,
        incarnation: IncarnationId,
    },
}

/// Its answer.
#[derive(Debug, Clone)]
pub(super) enum ApiResponse {
    Log(Option<Box<StoredLog>>),
    Appended(Written),
    Lease(LeaseView),
    LeaseTaken(Option<u64>),
    Done,
}

/// The controller's Lease, as somebody sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeaseView {
    pub(super) version: u64,
    pub(super) holder: Option<ProcessId>,
}

/// Where somebody stands in the history of the log (METADATA 23).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) lineage: Lineage,
    pub(super) controller_epoch: ControllerEpoch,
    pub(super) offset: MetadataOffset,
    pub(super) chain_hash: Digest,
}

impl Position {
    pub(super) fn of(image: &MetadataImage) -> Option<Self> {
        (image.offset() > MetadataOffset::NONE).then(|| Self {
            lineage: image.lineage(),
            controller_epoch: image.controller_epoch(),
            offset: image.offset(),
            chain_hash: image.chain_hash(),
        })
    }
}

/// How a metadata stream begins (METADATA 7).
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub(super) identity: LogIdentity,
    pub(super) metadata_offset: MetadataOffset,
    pub(super) start: Start,
}

/// What leads a broker to the committed image.
#[derive(Debug, Clone)]
pub(super) enum Start {
    Snapshot(MetadataImage),
    Frames(Vec<Frame>),
}

/// What an administrator wants; made into an [`Input`] by the operator that gets it.
#[derive(Clone)]
pub(super) struct AdminWish(pub(super) std::sync::Arc<dyn Fn(u64) -> Input + Send + Sync>);

impl std::fmt::Debug for AdminWish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", (self.0)(0))
    }
}

/// A follower's fetch, of all partitions that it has from one leader.
#[derive(Debug, Clone)]
pub(super) struct ReplicaFetch {
    pub(super) replica: BrokerId,
    pub(super) broker_epoch: BrokerEpoch,
    pub(super) max_wait: Duration,
    pub(super) places: Vec<ReplicaFetchPlace>,
}

/// One partition of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReplicaFetchPlace {
    pub(super) place: Place,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) offset: i64,
    /// The epoch of the last record that the follower has; -1 if it has none.
    pub(super) last_fetched_epoch: i32,
    pub(super) log_start_offset: i64,
    /// What the follower knows to be committed.
    pub(super) high_watermark: i64,
}

/// What a follower gets for one partition.
#[derive(Debug, Clone)]
pub(super) struct ReplicaFetched {
    pub(super) place: Place,
    /// Or why not, and where the leader's log starts.
    pub(super) outcome: Result<ReplicaRecords, (ErrorCode, i64)>,
}

/// Records for a follower.
#[derive(Debug, Clone)]
pub(super) struct ReplicaRecords {
    pub(super) records: Vec<u8>,
    pub(super) high_watermark: i64,
    pub(super) log_start_offset: i64,
    pub(super) diverging: Option<(LeaderEpoch, i64)>,
    /// Worth an answer although there are no records.
    pub(super) is_news: bool,
}

/// Who leads a partition, as some broker knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlaceLeader {
    pub(super) place: Place,
    pub(super) leader: Option<Host>,
    pub(super) leader_epoch: LeaderEpoch,
}

/// One batch.
#[derive(Debug, Clone)]
pub(super) struct Produce {
    pub(super) place: Place,
    pub(super) all_replicas: bool,
    pub(super) batch: Vec<u8>,
    pub(super) timeout: Duration,
}

/// A consumer's fetch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetch {
    pub(super) place: Place,
    pub(super) offset: i64,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) max_wait: Duration,
}

/// What a consumer gets.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    pub(super) place: Place,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) high_watermark: i64,
    pub(super) records: Vec<(i64, Value)>,
}

/// What a consumer does not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FetchFailure {
    pub(super) code: ErrorCode,
    pub(super) log_start_offset: i64,
}
