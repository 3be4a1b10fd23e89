//! What is remembered of a client from one request to the next.

use std::cell::RefCell;
use std::sync::Arc;

use broker_network::ConnectionInfo;

use super::produce::scratch::Scratch;
use crate::departures::LastQuestion;

/// What is remembered of a connection.
#[derive(Debug)]
pub struct ClientConnection {
    pub(super) listener: Arc<str>,
    pub(super) host: Arc<str>,
    /// Said when the connection ends, to requests that wait on its behalf.
    pub(super) ended: Arc<tokio::sync::Notify>,
    /// Memory of the last produce requests, kept for the next.
    pub(super) produce: Scratch,
    /// Of the questions about who leads and coordinates.
    pub(super) last_question: RefCell<LastQuestion>,
}

impl ClientConnection {
    /// Nothing was asked yet.
    pub(super) fn new(info: &ConnectionInfo) -> Self {
        Self {
            listener: info.listener.as_str().into(),
            host: info.peer.ip().to_string().into(),
            ended: Arc::default(),
            produce: Scratch::default(),
            last_question: RefCell::default(),
        }
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.ended.notify_waiters();
    }
}
