//! The smallest Kafka client: one connection, one request at a time.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use protocol::batch;
use protocol::header::{RequestHeader, decode_response_header};
use protocol::{Message, Reader, Request};

/// Larger answers are not those that the check asks for.
const LARGEST_ANSWER: usize = 16 << 20;

/// A connection to one broker.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    /// Tries every address of the name. Calls on the connection take no longer than until `until`.
    pub(super) fn connect(address: &str, until: Instant) -> anyhow::Result<Self> {
        let patience = until
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        let addresses = address
            .to_socket_addrs()
            .with_context(|| format!("{address} does not resolve"))?;
        let mut last = None;
        for target in addresses {
            match TcpStream::connect_timeout(&target, patience.min(Duration::from_secs(5))) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(patience))?;
                    stream.set_write_timeout(Some(patience))?;
                    return Ok(Self {
                        stream,
                        correlation_id: 0,
                    });
                }
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(error).with_context(|| format!("cannot connect to {address}")),
            None => bail!("{address} has no address"),
        }
    }

    /// Sends a request and waits for its answer.
    pub(super) fn call<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<R::Response> {
        self.correlation_id += 1;
        let header = RequestHeader {
            api_key: R::KEY.code(),
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some("barnabas-check"),
        };
        let mut frame = vec![0; 4];
        header.encode(&mut frame)?;
        request.encode(&mut frame, version)?;
        let length = u32::try_from(frame.len() - 4).context("the request is too long")?;
        frame.splice(..4, length.to_be_bytes());
        self.stream
            .write_all(&frame)
            .with_context(|| format!("{}: cannot send", R::KEY))?;

        let answer = self.read_frame().with_context(|| format!("{}: no answer", R::KEY))?;
        let (correlation_id, body) = decode_response_header(&answer, R::KEY.api(), version)?;
        ensure!(
            correlation_id == self.correlation_id,
            "{}: the answer is for another request",
            R::KEY
        );
        let mut reader = Reader::new(answer.get(body..).unwrap_or_default());
        Ok(R::Response::decode(&mut reader, version)?)
    }

    fn read_frame(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        ensure!(length <= LARGEST_ANSWER, "an answer of {length} bytes");
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
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
