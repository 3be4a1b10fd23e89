//! One blocking connection and the few requests that the harness itself needs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use protocol::Message;
use protocol::codec::Reader;
use protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use protocol::messages::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};

const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;

/// A connection that sends one request and waits for its answer.
pub(crate) struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub(crate) fn connect(bootstrap: &str) -> Result<Self> {
        let stream = TcpStream::connect(bootstrap).with_context(|| format!("connecting to {bootstrap}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self {
            stream,
            correlation_id: 0,
        })
    }

    /// Sends a request with header v1 (no flexible version) and returns the body of its answer.
    pub(crate) fn call(&mut self, api_key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
        self.correlation_id += 1;
        self.stream
            .write_all(&frame(api_key, version, self.correlation_id, body))?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        self.stream.read_exact(&mut answer)?;
        ensure!(answer.len() >= 4, "an answer without a correlation id");
        Ok(answer.split_off(4))
    }

    /// Creates a topic. All partitions are on `replicas`, the first of which leads; if there are none given, on one broker of
    /// the server's choice.
    pub(crate) fn create_topic(&mut self, name: &str, partitions: i32, replicas: &[i32]) -> Result<()> {
        let mut topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        if !replicas.is_empty() {
            (topic.num_partitions, topic.replication_factor) = (-1, -1);
            topic.assignments = (0..partitions)
                .map(|partition_index| CreatableReplicaAssignment {
                    partition_index,
                    broker_ids: replicas.to_vec(),
                })
                .collect();
            topic.configs = vec![CreatableTopicConfig {
                name: "min.insync.replicas".to_owned(),
                value: Some("2".to_owned()),
            }];
        }
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 20_000,
            ..CreateTopicsRequest::default()
        };
        let answer = self.request::<_, CreateTopicsResponse>(CREATE_TOPICS, 4, &request)?;
        for topic in &answer.topics {
            ensure!(topic.error_code == 0, "creating {name}: error {}", topic.error_code);
        }
        Ok(())
    }

    /// Deletes a topic. Its files go later, as either broker sees fit.
    pub(crate) fn delete_topic(&mut self, name: &str) -> Result<()> {
        let request = DeleteTopicsRequest {
            topic_names: vec![name.to_owned()],
            timeout_ms: 20_000,
            ..DeleteTopicsRequest::default()
        };
        let answer = self.request::<_, DeleteTopicsResponse>(DELETE_TOPICS, 3, &request)?;
        for topic in &answer.responses {
            ensure!(topic.error_code == 0, "deleting {name}: error {}", topic.error_code);
        }
        Ok(())
    }

    fn request<Q: Message, A: Message>(&mut self, api_key: i16, version: i16, request: &Q) -> Result<A> {
        let mut body = Vec::new();
        request.encode(&mut body, version)?;
        let answer = self.call(api_key, version, &body)?;
        Ok(A::decode(&mut Reader::new(&answer), version)?)
    }
}

/// A whole frame: length, request header v1 with client id `bench`, body.
pub(crate) fn frame(api_key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    const CLIENT_ID: &[u8] = b"bench";
    let length = 2 + 2 + 4 + 2 + CLIENT_ID.len() + body.len();
    let mut frame = Vec::with_capacity(4 + length);
    frame.extend_from_slice(&(length as i32).to_be_bytes());
    frame.extend_from_slice(&api_key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&correlation_id.to_be_bytes());
    frame.extend_from_slice(&(CLIENT_ID.len() as i16).to_be_bytes());
    frame.extend_from_slice(CLIENT_ID);
    frame.extend_from_slice(body);
    frame
}
