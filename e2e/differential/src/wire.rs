//! One blocking connection, and requests and answers as trees of any API.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use protocol::codec::Request;
use protocol::header::RequestHeader;
use protocol::messages::{Visitor, visit};
use protocol::{ApiKey, frame};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::records::hex;

const CLIENT_ID: &str = "differential";

/// What a broker did with a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// It answered.
    Answer(Value),
    /// It answered what our decoder cannot read.
    Unreadable(String),
    /// It closed the connection.
    Closed,
    /// It did neither for a long time.
    Silent,
    /// No answer was waited for.
    Sent,
}

/// A connection to one broker.
pub(crate) struct Connection {
    stream: TcpStream,
    correlation_id: i32,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(8)))?;
        Ok(Self {
            stream,
            correlation_id: 0,
        })
    }

    /// Sends a request. An error is a mistake of the script; a connection that is gone shows when the answer is read.
    pub(crate) fn send(&mut self, key: ApiKey, version: i16, body: Value) -> Result<()> {
        self.correlation_id += 1;
        let bytes = visit(
            key,
            Encode {
                body,
                version,
                correlation_id: self.correlation_id,
            },
        )?;
        self.write(&bytes);
        Ok(())
    }

    /// Sends a header and the bytes of a body.
    pub(crate) fn send_raw(&mut self, key: i16, version: i16, body: &[u8]) -> Result<()> {
        self.correlation_id += 1;
        let mut bytes = vec![0; 4];
        let header = RequestHeader {
            api_key: key,
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(CLIENT_ID),
        };
        header.encode(&mut bytes)?;
        bytes.extend_from_slice(body);
        let length = i32::try_from(bytes.len() - 4)?;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        self.write(&bytes);
        Ok(())
    }

    /// The next answer, which must be that to the last request.
    pub(crate) fn receive(&mut self, key: ApiKey, version: i16) -> Outcome {
        match self.frame() {
            Ok(frame) => visit(
                key,
                Decode {
                    frame: &frame,
                    version,
                    correlation_id: self.correlation_id,
                },
            )
            .map_or_else(|error| Outcome::Unreadable(format!("{error:#}")), Outcome::Answer),
            Err(outcome) => outcome,
        }
    }

    /// The next answer as hexadecimal digits after its correlation id.
    pub(crate) fn receive_raw(&mut self) -> Outcome {
        match self.frame() {
            Ok(frame) => Outcome::Answer(Value::String(hex(frame.get(4..).unwrap_or_default()))),
            Err(outcome) => outcome,
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        // A connection that the broker closed meanwhile is seen by the reading that follows.
        let _ = self.stream.write_all(bytes);
    }

    fn frame(&mut self) -> Result<Vec<u8>, Outcome> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let mut frame = vec![0; i32::from_be_bytes(length).max(0) as usize];
        self.read(&mut frame)?;
        Ok(frame)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), Outcome> {
        self.stream.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Outcome::Silent,
            _ => Outcome::Closed,
        })
    }
}

struct Encode {
    body: Value,
    version: i16,
    correlation_id: i32,
}

impl Visitor for Encode {
    type Output = Result<Vec<u8>>;

    fn visit<R>(self) -> Self::Output
    where
        R: Request + DeserializeOwned,
        R::Response: Serialize,
    {
        let request: R = serde_json::from_value(self.body)?;
        Ok(frame::request(
            &request,
            self.version,
            self.correlation_id,
            Some(CLIENT_ID),
        )?)
    }
}

struct Decode<'a> {
    frame: &'a [u8],
    version: i16,
    correlation_id: i32,
}

impl Visitor for Decode<'_> {
    type Output = Result<Value>;

    fn visit<R>(self) -> Self::Output
    where
        R: Request + DeserializeOwned,
        R::Response: Serialize,
    {
        let (correlation_id, response) = frame::response::<R>(self.frame, self.version)?;
        ensure!(
            correlation_id == self.correlation_id,
            "answers {correlation_id}, not {}",
            self.correlation_id
        );
        Ok(serde_json::to_value(response)?)
    }
}
