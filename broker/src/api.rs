//! From frames to handlers: the table of APIs, and how a handler answers.
//!
//! One file per API below, each with one `handle`. What a frame asks for is decided here, nothing else.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use broker_network::{ConnectionInfo, Frame, RequestHandler, Response, Responses, Slot};
use model::BrokerId;
use protocol::api::{self, Api};
use protocol::header::{RequestHeader, RequestPeek, put_response_header};
use protocol::{ApiKey, DecodeError, EncodeError, Message, Reader, Request};

use crate::clock::monotonic;
use crate::context::BrokerContext;
use crate::departures::{LastQuestion, MOMENT};

mod acls;
mod alter_configs;
mod api_versions;
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

/// Serves the connections of one broker.
#[derive(Debug)]
pub struct ApiHandler {
    broker: Arc<BrokerContext>,
}

/// What is remembered of a connection.
#[derive(Debug)]
pub struct ClientConnection {
    listener: Arc<str>,
    host: Arc<str>,
    /// Said when the connection ends, to requests that wait on its behalf.
    ended: Arc<tokio::sync::Notify>,
    /// Memory of the last produce requests, kept for the next.
    produce: produce::Scratch,
    /// Of the questions about who leads and coordinates.
    last_question: RefCell<LastQuestion>,
}

/// A request that cannot be answered: its connection is closed, and nobody else notices.
#[derive(Debug, thiserror::Error)]
enum BadRequest {
    #[error("the request cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    #[error("the response cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    #[error("API key {key} version {version} is not served")]
    Unsupported { key: i16, version: i16 },
}

/// One request on its way to its handler.
struct Call<'a> {
    broker: &'a Arc<BrokerContext>,
    connection: &'a ClientConnection,
    reply: ReplyTo,
    client_id: &'a str,
    body: &'a [u8],
}

/// How a response begins.
#[derive(Debug, Clone, Copy)]
struct ReplyTo {
    api: &'static Api,
    version: i16,
    correlation_id: i32,
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
        ClientConnection {
            listener: info.listener.as_str().into(),
            host: info.peer.ip().to_string().into(),
            ended: Arc::default(),
            produce: produce::Scratch::default(),
            last_question: RefCell::default(),
        }
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

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.ended.notify_waiters();
    }
}

impl Call<'_> {
    /// The body, which must be whole and nothing more.
    fn decode<R: Request>(&self) -> Result<R, BadRequest> {
        let mut reader = Reader::new(self.body);
        Ok(R::decode(&mut reader, self.reply.version)?)
    }

    fn version(&self) -> i16 {
        self.reply.version
    }

    /// Answers now.
    fn answer<M: Message>(&self, responses: &mut Responses, body: &M) -> Result<(), BadRequest> {
        responses.push(Response::owned(self.reply.encode(body)?));
        Ok(())
    }

    /// Answers with what `answer` makes of the metadata for this listener and version, and waits a moment before if it names
    /// brokers of which the controller may be about to say that they are dead: see [`crate::departures`].
    fn answer_when_settled<M: Message + 'static>(
        &self,
        responses: &mut Responses,
        named: impl Fn(&M) -> Vec<BrokerId> + 'static,
        answer: impl Fn(&BrokerContext, &str, i16) -> M + 'static,
    ) -> Result<(), BadRequest> {
        let now = monotonic();
        let mut body = answer(self.broker, &self.connection.listener, self.version());
        let question = (self.reply.api.key as i16, self.body);
        let repeated = self.connection.last_question.borrow_mut().is_repeated(question, now);
        let others = |body: &M| named(body).iter().any(|broker| *broker != self.broker.id);
        let insists = repeated && others(&body);
        if !insists && self.broker.departures.doubt(|| named(&body), now).is_none() {
            return self.answer(responses, &body);
        }
        let (slot, reply) = (responses.push_later(), self.reply);
        let (broker, listener) = (Arc::clone(self.broker), Arc::clone(&self.connection.listener));
        tokio::task::spawn_local(async move {
            let answer = || answer(&broker, &listener, reply.version);
            if insists {
                let before = named(&body);
                let changed = |_: &_| named(&answer()) != before;
                broker.metadata.wait_for(MOMENT, changed).await;
                body = answer();
            }
            if let Some(doubt) = broker.departures.doubt(|| named(&body), monotonic()) {
                let settled = |image: &_| doubt.is_settled(image);
                broker.metadata.wait_for(doubt.patience, settled).await;
                body = answer();
            }
            reply.answer_later(slot, &body);
        });
        Ok(())
    }
}

impl ReplyTo {
    fn start(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        put_response_header(&mut bytes, self.api, self.version, self.correlation_id);
        bytes
    }

    fn encode<M: Message>(&self, body: &M) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = self.start();
        body.encode(&mut bytes, self.version)?;
        Ok(bytes)
    }

    /// Answers through a slot; a response that cannot be encoded closes the connection.
    fn answer_later<M: Message>(&self, slot: Slot, body: &M) {
        match self.encode(body) {
            Ok(bytes) => slot.complete(Response::owned(bytes)),
            Err(error) => {
                tracing::error!(api = %self.api.key, version = self.version, %error, "response cannot be encoded");
                slot.close();
            }
        }
    }
}
