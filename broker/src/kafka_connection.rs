//! The smallest Kafka client: one connection, one request at a time, on a thread that may wait. Followers fetch by it, and
//! `broker check` looks at a broker by it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use protocol::{Request, frame};

/// A connection to one broker.
#[derive(Debug)]
pub(crate) struct KafkaConnection {
    stream: Arc<TcpStream>,
    client_id: &'static str,
    correlation_id: i32,
}

impl KafkaConnection {
    /// Tries every address of the name, each for `patience`.
    pub(crate) fn connect(
        address: impl ToSocketAddrs,
        client_id: &'static str,
        patience: Duration,
    ) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for target in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&target, patience) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Self {
                        stream: Arc::new(stream),
                        client_id,
                        correlation_id: 0,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// How long one read or write may take from now on.
    pub(crate) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.set_write_timeout(Some(patience))
    }

    /// A handle to break the connection with, from another thread.
    pub(crate) fn breaker(&self) -> Arc<TcpStream> {
        Arc::clone(&self.stream)
    }

    /// Sends a request; its correlation id is that of the answer.
    pub(crate) fn send<R: Request>(&mut self, request: &R, version: i16) -> io::Result<i32> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = frame::request(request, version, self.correlation_id, Some(self.client_id))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        (&*self.stream).write_all(&frame)?;
        Ok(self.correlation_id)
    }

    /// Receives a frame, without its length, into `frame`. Beyond `expected` bytes, takes no more memory than bytes that
    /// arrive.
    pub(crate) fn receive(&mut self, frame: &mut Vec<u8>, expected: usize, largest: usize) -> io::Result<()> {
        let mut length = [0; 4];
        (&*self.stream).read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > largest {
            let message = format!("an answer of {length} bytes, {largest} would be the largest");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        frame.clear();
        frame.reserve(length.min(expected));
        // By `take` and not by `read_exact`: nothing is filled with zeros first.
        let received = (&*self.stream).take(length as u64).read_to_end(frame)?;
        if received < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
