//! What the broker plugs in: a handler of frames.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use crate::{ListenerName, Responses};

/// Answers the frames of all connections. One value serves every network thread.
pub trait RequestHandler: Send + Sync + 'static {
    /// What the handler remembers about one connection. It never leaves the connection's thread, and is
    /// dropped when the connection ends: `Drop` is the place to hear of that.
    type Connection: 'static;

    /// A connection was accepted; nothing was received yet.
    fn connected(&self, info: &ConnectionInfo) -> Self::Connection;

    /// Longest frame of the kind that begins with `start`, at most `limit`, the limit of all frames.
    ///
    /// Asked once for each large frame, with its first few KiB and before more memory is taken for it: a
    /// request that is decoded into structures costs many times its length, and few are ever large.
    fn frame_limit(&self, start: &[u8], limit: usize) -> usize {
        let _ = start;
        limit
    }

    /// Handles frames that arrived together, in their order, and returns how many it handled.
    ///
    /// Every handled frame is answered by exactly one `push` on `responses`, in the order of the frames.
    /// Frames lie in the receive buffer and may be patched in place; their bytes are gone when this
    /// returns. The call runs on the connection's thread: it must not block, but may use
    /// [`tokio::task::spawn_local`] or hand a [`Slot`](crate::Slot) to another thread.
    ///
    /// Return `frames.len()`, or less when [`Responses::is_full`] said to stop: the rest is offered again
    /// once the client has taken what is waiting. Only responses that may be large need to ask. Returning
    /// 0 although the responses are not full closes the connection.
    fn handle(&self, connection: &mut Self::Connection, frames: &mut [Frame<'_>], responses: &mut Responses) -> usize;
}

/// Where a connection came from.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Unique in the life of the server.
    pub id: u64,
    /// The listener that accepted it.
    pub listener: ListenerName,
    /// The client's address.
    pub peer: SocketAddr,
    /// Our own address, as the client dialled it.
    pub local: SocketAddr,
}

/// The body of one frame, without its length prefix, in the receive buffer.
#[derive(Debug, Default)]
pub struct Frame<'a> {
    bytes: &'a mut [u8],
}

impl<'a> Frame<'a> {
    /// A frame over these bytes. Tests of a handler make frames too.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes }
    }
}

impl Deref for Frame<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl DerefMut for Frame<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
}
