//! The client of the check: answers as values, errors as sentences.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use protocol::batch;
use protocol::{Request, frame};

use crate::kafka_connection::KafkaConnection;

/// Larger answers are not those that the check asks for.
const LARGEST_ANSWER: usize = 16 << 20;

/// A connection to one broker.
#[derive(Debug)]
pub(super) struct Client {
    connection: KafkaConnection,
    answer: Vec<u8>,
}

impl Client {
    /// Tries every address of the name. Calls on the connection take no longer than until `until`.
    pub(super) fn connect(address: &str, until: Instant) -> anyhow::Result<Self> {
        let patience = until
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        let connected = KafkaConnection::connect(address, "barnabas-check", patience.min(Duration::from_secs(5)))
            .and_then(|connection| connection.set_patience(patience).map(|()| connection));
        let connection = match connected {
            Ok(connection) => connection,
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("{address} has no address"),
            Err(error) => return Err(error).with_context(|| format!("cannot connect to {address}")),
        };
        Ok(Self {
            connection,
            answer: Vec::new(),
        })
    }

    /// Sends a request and waits for its answer.
    pub(super) fn call<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<R::Response> {
        let sent = self
            .connection
            .send(request, version)
            .with_context(|| format!("{}: cannot send", R::KEY))?;
        self.connection
            .receive(&mut self.answer, 0, LARGEST_ANSWER)
            .with_context(|| format!("{}: no answer", R::KEY))?;
        let (correlation_id, response) = frame::response::<R>(&self.answer, version)?;
        ensure!(correlation_id == sent, "{}: the answer is for another request", R::KEY);
        Ok(response)
    }
}

/// The value at `offset` in a set of uncompressed batches.
pub(super) fn value_at(set: &[u8], offset: i64) -> anyhow::Result<Vec<u8>> {
    for found in batch::batches(set) {
        let (header, bytes) = found?;
        for record in batch::records(bytes)? {
            let record = record?;
            if header.base_offset + i64::from(record.offset_delta) == offset {
                return Ok(record.value.unwrap_or_default().to_vec());
            }
        }
    }
    bail!("offset {offset} is not in what was read")
}
