//! From frames to handlers: the table of APIs.
//!
//! One file per API or family of APIs below. Each handles a `Call` (`call.rs`), but for Produce, which takes a run of
//! frames. What a frame asks for is decided here, nothing else.

use std::sync::Arc;
use std::time::Instant;

use broker_network::{ConnectionInfo, Frame, RequestHandler, Responses};
use protocol::ApiKey;
use protocol::api::{self, Api};
use protocol::header::{RequestHeader, RequestPeek};

use crate::context::BrokerContext;

mod acls;
mod alter_configs;
mod api_versions;
mod call;
mod client_connection;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod fetch;
mod find_coordinator;
mod forward;
mod group;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leadership;
mod leave_group;
mod list_groups;
mod list_offsets;
mod merge;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;

use call::{BadRequest, Call, ReplyTo};
use client_connection::ClientConnection;

/// Serves the connections of one broker.
#[derive(Debug)]
pub struct ApiHandler {
    broker: Arc<BrokerContext>,
}

impl ApiHandler {
    /// Serves `broker`.
    pub fn new(broker: Arc<BrokerContext>) -> Self {
        Self { broker }
    }

    fn one(
        &self,
        connection: &mut ClientConnection,
        peek: RequestPeek,
        frame: &mut Frame<'_>,
        responses: &mut Responses,
    ) -> Result<(), BadRequest> {
        let Some(api) = api::served_in(peek.api_key, peek.api_version) else {
            if peek.api_key == ApiKey::ApiVersions.code() {
                return api_versions::handle_unsupported(peek, responses);
            }
            return Err(BadRequest::Unsupported {
                key: peek.api_key,
                version: peek.api_version,
            });
        };
        let (header, at) = RequestHeader::decode(frame)?;
        let version = header.api_version;
        self.count(api, version);
        let call = Call {
            broker: &self.broker,
            connection,
            reply: ReplyTo {
                api,
                version,
                correlation_id: header.correlation_id,
            },
            client_id: header.client_id.unwrap_or_default(),
            body: frame.get(at..).unwrap_or_default(),
        };
        match api.key {
            ApiKey::Fetch => fetch::handle(&call, responses),
            ApiKey::ListOffsets => list_offsets::handle(&call, responses),
            ApiKey::Metadata => metadata::handle(&call, responses),
            ApiKey::FindCoordinator => find_coordinator::handle(&call, responses),
            ApiKey::JoinGroup => join_group::handle(&call, responses),
            ApiKey::SyncGroup => sync_group::handle(&call, responses),
            ApiKey::Heartbeat => heartbeat::handle(&call, responses),
            ApiKey::LeaveGroup => leave_group::handle(&call, responses),
            ApiKey::OffsetCommit => offset_commit::handle(&call, responses),
            ApiKey::OffsetFetch => offset_fetch::handle(&call, responses),
            ApiKey::OffsetDelete => offset_delete::handle(&call, responses),
            ApiKey::DescribeGroups => describe_groups::handle(&call, responses),
            ApiKey::ListGroups => list_groups::handle(&call, responses),
            ApiKey::DeleteGroups => delete_groups::handle(&call, responses),
            ApiKey::ApiVersions => api_versions::handle(&call, responses),
            ApiKey::CreateTopics => create_topics::handle(&call, responses),
            ApiKey::DeleteTopics => delete_topics::handle(&call, responses),
            ApiKey::CreatePartitions => create_partitions::handle(&call, responses),
            ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs => alter_configs::handle(&call, responses),
            ApiKey::ElectLeaders => leadership::elect(&call, responses),
            ApiKey::AlterPartitionReassignments => leadership::reassign(&call, responses),
            ApiKey::ListPartitionReassignments => leadership::list(&call, responses),
            ApiKey::DeleteRecords => delete_records::handle(&call, responses),
            ApiKey::OffsetForLeaderEpoch => offset_for_leader_epoch::handle(&call, responses),
            ApiKey::DescribeLogDirs => describe_log_dirs::handle(&call, responses),
            ApiKey::InitProducerId => init_producer_id::handle(&call, responses),
            ApiKey::DescribeAcls | ApiKey::CreateAcls | ApiKey::DeleteAcls => acls::handle(&call, responses),
            ApiKey::DescribeConfigs => describe_configs::handle(&call, responses),
            ApiKey::DescribeCluster => describe_cluster::handle(&call, responses),
            ApiKey::ConsumerGroupHeartbeat => consumer_group_heartbeat::handle(&call, responses),
            ApiKey::ConsumerGroupDescribe => consumer_group_describe::handle(&call, responses),
            // Served by `produce::handle`.
            ApiKey::Produce => Err(BadRequest::Unsupported {
                key: peek.api_key,
                version,
            }),
        }
    }

    fn count(&self, api: &Api, version: i16) {
        self.broker.metrics.count_request(api.key, version);
    }
}

impl RequestHandler for ApiHandler {
    type Connection = ClientConnection;

    fn connected(&self, info: &ConnectionInfo) -> ClientConnection {
        ClientConnection::new(info)
    }

    /// Only records may be long: every other request takes more memory decoded than on the wire.
    fn frame_limit(&self, start: &[u8], limit: usize) -> usize {
        let api = RequestPeek::decode(start).ok().and_then(|peek| api::find(peek.api_key));
        api.map_or(0, |api| api.max_request_bytes(limit))
    }

    fn handle(&self, connection: &mut ClientConnection, frames: &mut [Frame<'_>], responses: &mut Responses) -> usize {
        let mut at = 0;
        // The clock is read once for each step: the end of one is the beginning of the next.
        let mut began = Instant::now();
        while at < frames.len() && !responses.is_full() {
            let first = at;
            let peek = RequestPeek::decode(&frames[at]);
            let handled = match peek {
                Ok(peek) if produce::is_produce(peek) => {
                    // Neighbouring produce requests share one append per partition.
                    let run = produce::run_length(&frames[at..]);
                    let handled = produce::handle(&self.broker, connection, &mut frames[at..at + run], responses);
                    at += run;
                    handled
                }
                Ok(peek) => {
                    let handled = self.one(connection, peek, &mut frames[at], responses);
                    at += 1;
                    handled
                }
                Err(error) => Err(error.into()),
            };
            let ended = Instant::now();
            if let Some(api) = peek
                .ok()
                .and_then(|peek| api::served_in(peek.api_key, peek.api_version))
            {
                let metrics = &self.broker.metrics;
                metrics.observe_requests(api.key, (at - first) as u64, ended - began);
            }
            began = ended;
            if let Err(error) = handled {
                tracing::info!(client = %connection.host, listener = %connection.listener, %error, "closing a connection");
                responses.close("a request could not be understood");
                return frames.len();
            }
        }
        at
    }
}
