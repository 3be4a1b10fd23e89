//! Between the types of the contract and those of [`crate::messages`]: everything is checked here, once.

use std::collections::BTreeMap;

use model::{
    BrokerEpoch, BrokerId, ControllerEpoch, Digest, Endpoint, FeatureRange, Frame, FrameError, IsrMember, IsrOutcome,
    IsrProposal, LeaderEpoch, Lineage, LogEnd, LogIdentity, MetadataImage, MetadataOffset, Nonce, PartitionEpoch,
    PartitionIndex, ProducerId, ReplicaReport, ReportedLog, SnapshotError, TopicId,
};
use uuid::Uuid;

use crate::cluster::{ClusterRef, ClusterRefError};
use crate::messages::{
    AdminRequest, AlterPartition, Heartbeat, HeartbeatAnswer, Opening, Position, ProducerIdBlock, Purged, Registered,
    Registration, ReplicaReports, Session, Suspicion, Watch,
};
use crate::proto;
use crate::refusal::{Reason, Refusal};

/// Records in one message: as many as fit in about so many bytes, at least one.
const FRAMES_BYTES: usize = 256 * 1024;

/// A message that is not what the contract says.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ContractError {
    /// A field is absent that has no meaning when absent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field has a value that means nothing.
    #[error("{field} is {value}")]
    Invalid {
        /// The field's name in the contract.
        field: &'static str,
        /// What was found.
        value: String,
    },
    /// The cluster's name is none.
    #[error(transparent)]
    Cluster(#[from] ClusterRefError),
    /// A record that this version cannot apply: stop rather than skip (METADATA 9).
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The chunks of a snapshot make no image.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Parts of the stream came in another order than the contract's.
    #[error("the metadata stream is out of order: {0}")]
    Order(String),
}

impl From<ContractError> for Refusal {
    fn from(error: ContractError) -> Self {
        Refusal::new(Reason::Invalid, error.to_string())
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "numbers and format_args! read better as they are"
)]
fn invalid(field: &'static str, value: impl ToString) -> ContractError {
    ContractError::Invalid {
        field,
        value: value.to_string(),
    }
}

fn uuid(field: &'static str, bytes: &[u8]) -> Result<Uuid, ContractError> {
    Uuid::from_slice(bytes).map_err(|_| invalid(field, format_args!("{} bytes instead of 16", bytes.len())))
}

fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, ContractError> {
    bytes
        .try_into()
        .map(Digest::from_bytes)
        .map_err(|_| invalid(field, format_args!("{} bytes instead of 16", bytes.len())))
}

fn broker_id(id: i32) -> Result<BrokerId, ContractError> {
    if id < 0 {
        Err(invalid("broker_id", id))
    } else {
        Ok(BrokerId(id))
    }
}

fn session(id: i32, epoch: i64) -> Result<Session, ContractError> {
    Ok(Session {
        broker_id: broker_id(id)?,
        broker_epoch: BrokerEpoch(epoch),
    })
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// The cluster that a request means.
impl TryFrom<Option<proto::ClusterRef>> for ClusterRef {
    type Error = ContractError;

    fn try_from(cluster: Option<proto::ClusterRef>) -> Result<Self, ContractError> {
        let cluster = cluster.ok_or(ContractError::Missing("cluster"))?;
        Ok(ClusterRef::new(cluster.namespace, cluster.name)?)
    }
}

impl From<&ClusterRef> for proto::ClusterRef {
    fn from(cluster: &ClusterRef) -> Self {
        Self {
            namespace: cluster.namespace.clone(),
            name: cluster.name.clone(),
        }
    }
}

impl From<Position> for proto::Position {
    fn from(position: Position) -> Self {
        Self {
            lineage: position.lineage.0.as_bytes().to_vec(),
            controller_epoch: position.controller_epoch.0,
            offset: position.offset.0,
            chain_hash: position.chain_hash.as_bytes().to_vec(),
        }
    }
}

impl TryFrom<proto::Position> for Position {
    type Error = ContractError;

    fn try_from(position: proto::Position) -> Result<Self, ContractError> {
        if position.offset < 0 {
            return Err(invalid("position.offset", position.offset));
        }
        Ok(Self {
            lineage: Lineage(uuid("position.lineage", &position.lineage)?),
            controller_epoch: ControllerEpoch(position.controller_epoch),
            offset: MetadataOffset(position.offset),
            chain_hash: digest("position.chain_hash", &position.chain_hash)?,
        })
    }
}

pub(crate) fn registration_to_proto(cluster: &ClusterRef, registration: &Registration) -> proto::RegisterRequest {
    let endpoint = |endpoint: &Endpoint| proto::Endpoint {
        listener: endpoint.listener.clone(),
        host: endpoint.host.clone(),
        port: u32::from(endpoint.port),
    };
    let feature = |(name, range): (&String, &FeatureRange)| proto::FeatureRange {
        name: name.clone(),
        min: i32::from(range.min),
        max: i32::from(range.max),
    };
    proto::RegisterRequest {
        cluster: Some(cluster.into()),
        broker_id: registration.broker_id.0,
        incarnation: registration.incarnation.0.as_bytes().to_vec(),
        directory_id: registration.directory_id.0.as_bytes().to_vec(),
        boot_id: registration.boot_id.clone().unwrap_or_default(),
        clean_shutdown_epoch: registration.clean_shutdown_epoch.map(|epoch| epoch.0),
        pod_uid: registration.pod_uid.clone().unwrap_or_default(),
        endpoints: registration.endpoints.iter().map(endpoint).collect(),
        rack: registration.rack.clone().unwrap_or_default(),
        features: registration.features.iter().map(feature).collect(),
        position: registration.position.map(Into::into),
        cluster_id: registration
            .cluster_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

impl TryFrom<proto::RegisterRequest> for Registration {
    type Error = ContractError;

    fn try_from(request: proto::RegisterRequest) -> Result<Self, ContractError> {
        if request.endpoints.is_empty() {
            return Err(ContractError::Missing("endpoints"));
        }
        let cluster_id = match non_empty(request.cluster_id) {
            Some(id) => Some(id.parse().map_err(|error| invalid("cluster_id", error))?),
            None => None,
        };
        Ok(Self {
            broker_id: broker_id(request.broker_id)?,
            incarnation: uuid("incarnation", &request.incarnation)?.into(),
            directory_id: uuid("directory_id", &request.directory_id)?.into(),
            boot_id: non_empty(request.boot_id),
            clean_shutdown_epoch: request.clean_shutdown_epoch.map(BrokerEpoch),
            pod_uid: non_empty(request.pod_uid),
            endpoints: request.endpoints.into_iter().map(endpoint).collect::<Result<_, _>>()?,
            rack: non_empty(request.rack),
            features: request
                .features
                .into_iter()
                .map(feature)
                .collect::<Result<BTreeMap<_, _>, _>>()?,
            position: request.position.map(TryInto::try_into).transpose()?,
            cluster_id,
        })
    }
}

fn endpoint(endpoint: proto::Endpoint) -> Result<Endpoint, ContractError> {
    let port = u16::try_from(endpoint.port).ok().filter(|port| *port > 0);
    Ok(Endpoint {
        listener: non_empty(endpoint.listener).ok_or(ContractError::Missing("endpoints.listener"))?,
        host: non_empty(endpoint.host).ok_or(ContractError::Missing("endpoints.host"))?,
        port: port.ok_or_else(|| invalid("endpoints.port", endpoint.port))?,
    })
}

fn feature(range: proto::FeatureRange) -> Result<(String, FeatureRange), ContractError> {
    let level = |level: i32| i16::try_from(level).map_err(|_| invalid("features", level));
    let (min, max) = (level(range.min)?, level(range.max)?);
    if min > max {
        return Err(invalid("features", format_args!("{} from {min} to {max}", range.name)));
    }
    Ok((range.name, FeatureRange { min, max }))
}

impl From<Registered> for proto::RegisterResponse {
    fn from(registered: Registered) -> Self {
        Self {
            broker_epoch: registered.broker_epoch.0,
            cluster_id: registered.cluster_id.to_string(),
            metadata_offset: registered.metadata_offset.0,
        }
    }
}

impl TryFrom<proto::RegisterResponse> for Registered {
    type Error = ContractError;

    fn try_from(response: proto::RegisterResponse) -> Result<Self, ContractError> {
        Ok(Self {
            broker_epoch: BrokerEpoch(response.broker_epoch),
            cluster_id: response
                .cluster_id
                .parse()
                .map_err(|error| invalid("cluster_id", error))?,
            metadata_offset: MetadataOffset(response.metadata_offset),
        })
    }
}

pub(crate) fn heartbeat_to_proto(cluster: &ClusterRef, heartbeat: &Heartbeat) -> proto::HeartbeatRequest {
    proto::HeartbeatRequest {
        cluster: Some(cluster.into()),
        broker_id: heartbeat.session.broker_id.0,
        broker_epoch: heartbeat.session.broker_epoch.0,
        incarnation: heartbeat.incarnation.0.as_bytes().to_vec(),
        metadata_offset: heartbeat.applied.0,
        want_shutdown: heartbeat.want_shutdown,
        ready: heartbeat.ready,
        chain_hash: heartbeat
            .chain_hash
            .map(|hash| hash.as_bytes().to_vec())
            .unwrap_or_default(),
    }
}

impl TryFrom<proto::HeartbeatRequest> for Heartbeat {
    type Error = ContractError;

    fn try_from(request: proto::HeartbeatRequest) -> Result<Self, ContractError> {
        let chain_hash = match request.chain_hash.as_slice() {
            [] => None,
            bytes => Some(digest("chain_hash", bytes)?),
        };
        Ok(Self {
            session: session(request.broker_id, request.broker_epoch)?,
            incarnation: uuid("incarnation", &request.incarnation)?.into(),
            applied: MetadataOffset(request.metadata_offset),
            chain_hash,
            want_shutdown: request.want_shutdown,
            ready: request.ready,
        })
    }
}

impl From<HeartbeatAnswer> for proto::HeartbeatResponse {
    fn from(answer: HeartbeatAnswer) -> Self {
        Self {
            fenced: answer.fenced,
            caught_up: answer.caught_up,
            may_shutdown: answer.may_shutdown,
            metadata_offset: answer.metadata_offset.0,
        }
    }
}

impl From<proto::HeartbeatResponse> for HeartbeatAnswer {
    fn from(response: proto::HeartbeatResponse) -> Self {
        Self {
            fenced: response.fenced,
            caught_up: response.caught_up,
            may_shutdown: response.may_shutdown,
            metadata_offset: MetadataOffset(response.metadata_offset),
        }
    }
}

pub(crate) fn watch_to_proto(cluster: &ClusterRef, watch: &Watch) -> proto::WatchMetadataRequest {
    proto::WatchMetadataRequest {
        cluster: Some(cluster.into()),
        broker_id: watch.broker_id.0,
        incarnation: watch.incarnation.0.as_bytes().to_vec(),
        position: watch.position.map(Into::into),
        takes_suspicions: true,
    }
}

impl From<Suspicion> for proto::WatchMetadataResponse {
    fn from(suspicion: Suspicion) -> Self {
        Self {
            part: Some(proto::watch_metadata_response::Part::Suspicion(proto::Suspicion {
                broker_id: suspicion.broker.0,
                broker_epoch: suspicion.epoch.0,
            })),
        }
    }
}

impl TryFrom<proto::Suspicion> for Suspicion {
    type Error = ContractError;

    fn try_from(suspicion: proto::Suspicion) -> Result<Self, ContractError> {
        Ok(Self {
            broker: broker_id(suspicion.broker_id)?,
            epoch: BrokerEpoch(suspicion.broker_epoch),
        })
    }
}

impl TryFrom<proto::WatchMetadataRequest> for Watch {
    type Error = ContractError;

    fn try_from(request: proto::WatchMetadataRequest) -> Result<Self, ContractError> {
        Ok(Self {
            broker_id: broker_id(request.broker_id)?,
            incarnation: uuid("incarnation", &request.incarnation)?.into(),
            position: request.position.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&Opening> for proto::Opening {
    fn from(opening: &Opening) -> Self {
        Self {
            lineage: opening.identity.lineage.0.as_bytes().to_vec(),
            controller_epoch: opening.identity.controller_epoch.0,
            nonce: opening.identity.nonce.0.as_bytes().to_vec(),
            cluster_id: opening.cluster_id.to_string(),
            metadata_offset: opening.metadata_offset.0,
        }
    }
}

impl TryFrom<proto::Opening> for Opening {
    type Error = ContractError;

    fn try_from(opening: proto::Opening) -> Result<Self, ContractError> {
        Ok(Self {
            identity: LogIdentity {
                lineage: Lineage(uuid("opening.lineage", &opening.lineage)?),
                controller_epoch: ControllerEpoch(opening.controller_epoch),
                nonce: Nonce(uuid("opening.nonce", &opening.nonce)?),
            },
            cluster_id: opening
                .cluster_id
                .parse()
                .map_err(|error| invalid("opening.cluster_id", error))?,
            metadata_offset: MetadataOffset(opening.metadata_offset),
        })
    }
}

/// A snapshot, as many messages as the model makes chunks of the image.
pub fn snapshot_to_proto(image: &MetadataImage) -> impl ExactSizeIterator<Item = proto::WatchMetadataResponse> + use<> {
    use proto::watch_metadata_response::Part;
    let offset = image.offset().0;
    let chunks = model::snapshot::encode(image);
    let count = chunks.len() as u32;
    chunks.into_iter().enumerate().map(move |(index, content)| {
        let chunk = proto::SnapshotChunk {
            offset,
            index: index as u32,
            count,
            content,
        };
        proto::WatchMetadataResponse {
            part: Some(Part::Snapshot(chunk)),
        }
    })
}

/// Lines of the log in as few messages as their size allows.
pub fn frames_to_proto<L: AsRef<str>>(lines: impl IntoIterator<Item = L>) -> Vec<proto::WatchMetadataResponse> {
    use proto::watch_metadata_response::Part;
    let mut messages = Vec::new();
    let mut pending = Vec::new();
    let mut bytes = 0;
    let close = |lines| proto::WatchMetadataResponse {
        part: Some(Part::Frames(proto::Frames { lines })),
    };
    for line in lines {
        let line = line.as_ref();
        if bytes + line.len() > FRAMES_BYTES && !pending.is_empty() {
            messages.push(close(std::mem::take(&mut pending)));
            bytes = 0;
        }
        bytes += line.len();
        pending.push(line.to_owned());
    }
    if !pending.is_empty() {
        messages.push(close(pending));
    }
    messages
}

pub(crate) fn frames(message: &proto::Frames) -> Result<Vec<Frame>, ContractError> {
    if message.lines.is_empty() {
        return Err(ContractError::Missing("frames.lines"));
    }
    Ok(message
        .lines
        .iter()
        .map(|line| Frame::from_line(line))
        .collect::<Result<_, _>>()?)
}

pub(crate) fn admin_to_proto(cluster: &ClusterRef, request: AdminRequest) -> proto::ForwardRequest {
    proto::ForwardRequest {
        cluster: Some(cluster.into()),
        broker_id: request.session.broker_id.0,
        broker_epoch: request.session.broker_epoch.0,
        principal: request.principal,
        listener: request.listener,
        client_id: request.client_id,
        client_host: request.client_host,
        api_key: i32::from(request.api_key),
        api_version: i32::from(request.api_version),
        body: request.body,
    }
}

impl TryFrom<proto::ForwardRequest> for AdminRequest {
    type Error = ContractError;

    fn try_from(request: proto::ForwardRequest) -> Result<Self, ContractError> {
        let short = |field, value: i32| i16::try_from(value).map_err(|_| invalid(field, value));
        Ok(Self {
            session: session(request.broker_id, request.broker_epoch)?,
            principal: request.principal,
            listener: request.listener,
            client_id: request.client_id,
            client_host: request.client_host,
            api_key: short("api_key", request.api_key)?,
            api_version: short("api_version", request.api_version)?,
            body: request.body,
        })
    }
}

impl TryFrom<proto::AllocateProducerIdsRequest> for Session {
    type Error = ContractError;

    fn try_from(request: proto::AllocateProducerIdsRequest) -> Result<Self, ContractError> {
        session(request.broker_id, request.broker_epoch)
    }
}

impl From<ProducerIdBlock> for proto::AllocateProducerIdsResponse {
    fn from(block: ProducerIdBlock) -> Self {
        Self {
            first: block.first.0,
            count: block.count,
        }
    }
}

impl TryFrom<proto::AllocateProducerIdsResponse> for ProducerIdBlock {
    type Error = ContractError;

    fn try_from(response: proto::AllocateProducerIdsResponse) -> Result<Self, ContractError> {
        if response.first < 0 || response.count <= 0 || response.first.checked_add(i64::from(response.count)).is_none()
        {
            return Err(invalid(
                "producer ids",
                format_args!("{} from {}", response.count, response.first),
            ));
        }
        Ok(Self {
            first: ProducerId(response.first),
            count: response.count,
        })
    }
}

pub(crate) fn purged_to_proto(cluster: &ClusterRef, purged: &Purged) -> proto::ReportPurgedRequest {
    proto::ReportPurgedRequest {
        cluster: Some(cluster.into()),
        broker_id: purged.session.broker_id.0,
        broker_epoch: purged.session.broker_epoch.0,
        topic_ids: purged.topic_ids.iter().map(|id| id.0.as_bytes().to_vec()).collect(),
    }
}

impl TryFrom<proto::ReportPurgedRequest> for Purged {
    type Error = ContractError;

    fn try_from(request: proto::ReportPurgedRequest) -> Result<Self, ContractError> {
        let topic_id = |bytes: &Vec<u8>| uuid("topic_ids", bytes).map(TopicId);
        Ok(Self {
            session: session(request.broker_id, request.broker_epoch)?,
            topic_ids: request.topic_ids.iter().map(topic_id).collect::<Result<_, _>>()?,
        })
    }
}

pub(crate) fn replica_reports_to_proto(cluster: &ClusterRef, said: &ReplicaReports) -> proto::ReportReplicasRequest {
    use proto::replica_report::Log;
    let report = |report: &ReplicaReport| proto::ReplicaReport {
        topic_id: report.topic.0.as_bytes().to_vec(),
        partition: report.partition.0,
        leader_epoch: report.leader_epoch.0,
        log: Some(match report.log {
            ReportedLog::Ends(end) => Log::Ends(proto::LogEnd {
                leader_epoch: end.epoch.0,
                offset: end.offset,
            }),
            ReportedLog::Failed => Log::Failed(true),
        }),
    };
    proto::ReportReplicasRequest {
        cluster: Some(cluster.into()),
        broker_id: said.session.broker_id.0,
        broker_epoch: said.session.broker_epoch.0,
        reports: said.reports.iter().map(report).collect(),
    }
}

impl TryFrom<proto::ReportReplicasRequest> for ReplicaReports {
    type Error = ContractError;

    fn try_from(request: proto::ReportReplicasRequest) -> Result<Self, ContractError> {
        Ok(Self {
            session: session(request.broker_id, request.broker_epoch)?,
            reports: request.reports.iter().map(replica_report).collect::<Result<_, _>>()?,
        })
    }
}

fn replica_report(report: &proto::ReplicaReport) -> Result<ReplicaReport, ContractError> {
    use proto::replica_report::Log;
    let log = match &report.log {
        Some(Log::Ends(end)) if end.leader_epoch < -1 || end.offset < 0 => {
            return Err(invalid(
                "reports.ends",
                format_args!("{} in epoch {}", end.offset, end.leader_epoch),
            ));
        }
        Some(Log::Ends(end)) => ReportedLog::Ends(LogEnd {
            epoch: LeaderEpoch(end.leader_epoch),
            offset: end.offset,
        }),
        Some(Log::Failed(true)) => ReportedLog::Failed,
        Some(Log::Failed(false)) => return Err(invalid("reports.failed", false)),
        None => return Err(ContractError::Missing("reports.log")),
    };
    Ok(ReplicaReport {
        topic: TopicId(uuid("reports.topic_id", &report.topic_id)?),
        partition: PartitionIndex(report.partition),
        leader_epoch: LeaderEpoch(report.leader_epoch),
        log,
    })
}

pub(crate) fn alter_partition_to_proto(cluster: &ClusterRef, alter: &AlterPartition) -> proto::AlterPartitionRequest {
    let member = |member: &IsrMember| proto::IsrMember {
        broker_id: member.broker.0,
        broker_epoch: member.epoch.0,
    };
    let proposal = |proposal: &IsrProposal| proto::IsrProposal {
        topic_id: proposal.topic.0.as_bytes().to_vec(),
        partition: proposal.partition.0,
        leader_epoch: proposal.leader_epoch.0,
        partition_epoch: proposal.partition_epoch.0,
        isr: proposal.isr.iter().map(member).collect(),
    };
    proto::AlterPartitionRequest {
        cluster: Some(cluster.into()),
        broker_id: alter.session.broker_id.0,
        broker_epoch: alter.session.broker_epoch.0,
        proposals: alter.proposals.iter().map(proposal).collect(),
    }
}

impl TryFrom<proto::AlterPartitionRequest> for AlterPartition {
    type Error = ContractError;

    fn try_from(request: proto::AlterPartitionRequest) -> Result<Self, ContractError> {
        Ok(Self {
            session: session(request.broker_id, request.broker_epoch)?,
            proposals: request.proposals.iter().map(isr_proposal).collect::<Result<_, _>>()?,
        })
    }
}

fn isr_proposal(proposal: &proto::IsrProposal) -> Result<IsrProposal, ContractError> {
    Ok(IsrProposal {
        topic: TopicId(uuid("proposals.topic_id", &proposal.topic_id)?),
        partition: PartitionIndex(proposal.partition),
        leader_epoch: LeaderEpoch(proposal.leader_epoch),
        partition_epoch: PartitionEpoch(proposal.partition_epoch),
        isr: proposal.isr.iter().map(isr_member).collect::<Result<_, _>>()?,
    })
}

fn isr_member(member: &proto::IsrMember) -> Result<IsrMember, ContractError> {
    Ok(IsrMember {
        broker: broker_id(member.broker_id)?,
        epoch: BrokerEpoch(member.broker_epoch),
    })
}

/// What became of proposals.
pub fn outcomes_to_proto(outcomes: Vec<IsrOutcome>) -> proto::AlterPartitionResponse {
    let outcome = |outcome: IsrOutcome| proto::IsrOutcome {
        topic_id: outcome.topic.0.as_bytes().to_vec(),
        partition: outcome.partition.0,
        error_code: i32::from(outcome.error_code),
        leader: outcome.leader.map_or(-1, |leader| leader.0),
        leader_epoch: outcome.leader_epoch.0,
        partition_epoch: outcome.partition_epoch.0,
        isr: outcome.isr.iter().map(|id| id.0).collect(),
    };
    proto::AlterPartitionResponse {
        outcomes: outcomes.into_iter().map(outcome).collect(),
    }
}

pub(crate) fn outcomes(response: proto::AlterPartitionResponse) -> Result<Vec<IsrOutcome>, ContractError> {
    response.outcomes.into_iter().map(isr_outcome).collect()
}

fn isr_outcome(outcome: proto::IsrOutcome) -> Result<IsrOutcome, ContractError> {
    let code = outcome.error_code;
    Ok(IsrOutcome {
        topic: TopicId(uuid("outcomes.topic_id", &outcome.topic_id)?),
        partition: PartitionIndex(outcome.partition),
        error_code: i16::try_from(code).map_err(|_| invalid("outcomes.error_code", code))?,
        leader: (outcome.leader >= 0).then_some(BrokerId(outcome.leader)),
        leader_epoch: LeaderEpoch(outcome.leader_epoch),
        partition_epoch: PartitionEpoch(outcome.partition_epoch),
        isr: outcome.isr.into_iter().map(broker_id).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests;
