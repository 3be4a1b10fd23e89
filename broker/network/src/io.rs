//! The connection's bytes in and out: the one place that knows what carries them.
//!
//! Encryption goes between this file's methods and the socket; nothing above needs to change but that
//! ranges of files are then read instead of sent by the kernel.

use std::fs::File;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BufMut;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Silence after which the kernel asks whether a peer is still there: a vanished client whose request
/// waits for an answer is noticed by nothing else.
const KEEPALIVE: Duration = Duration::from_mins(1);
/// Time between such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Unanswered questions after which the peer is gone.
const KEEPALIVE_RETRIES: u32 = 6;

/// A connection's socket.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
}

impl Stream {
    /// Takes an accepted socket into the current runtime.
    pub(crate) fn new(socket: std::net::TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // A response is one send: nothing is won by holding its last packet back.
        socket.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_RETRIES);
        SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
        Ok(Self {
            socket: TcpStream::from_std(socket)?,
        })
    }

    /// Receives once. A receive that does not fill the buffer has emptied the socket, and the next poll
    /// is `Pending` without another system call. `Ready(0)` is the end.
    pub(crate) fn poll_receive(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Receives once at the end of `buffer`, into capacity that it has, at most `limit` bytes.
    pub(crate) fn poll_receive_into(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let mut buffer = buffer.limit(limit);
        pin!(self.socket.read_buf(&mut buffer)).poll(context)
    }

    /// Whether the socket may take bytes; costs no system call.
    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write_ready(context)
    }

    /// Sends once, without waiting. With `more` to follow at once the kernel keeps an unfilled packet back.
    pub(crate) fn try_send(&self, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
        if more {
            return self.socket.try_io(Interest::WRITABLE, || {
                let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
                let sent = rustix::net::sendmsg(&self.socket, slices, &mut SendAncillaryBuffer::default(), flags)?;
                Ok(sent)
            });
        }
        match slices {
            [slice] => self.socket.try_write(slice),
            slices => self.socket.try_write_vectored(slices),
        }
    }

    /// Lets the kernel send a range of a file from its page cache, once, without waiting for the socket.
    /// Returns 0 at the end of the file.
    pub(crate) fn try_send_file(&self, file: &File, offset: u64, count: usize) -> io::Result<usize> {
        self.socket.try_io(Interest::WRITABLE, || {
            let mut offset = offset;
            Ok(rustix::fs::sendfile(&self.socket, file, Some(&mut offset), count)?)
        })
    }

    /// Tells the client that nothing more comes. What was sent before still arrives.
    pub(crate) fn finish(&self) {
        // A connection that is gone already needs no goodbye.
        let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Write);
    }

    /// Closing will reset the connection. An orderly end would wait in line behind bytes that the peer has not taken.
    pub(crate) fn reset_at_end(&self) {
        // A connection that is gone already needs no reset.
        let _ = self.socket.set_zero_linger();
    }
}
