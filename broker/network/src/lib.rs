//! The broker's network layer: listeners, connections, framing and in-order responses.
//!
//! A [`Server`] runs one single-threaded runtime per core and spreads connections over them. For each
//! wake-up of a connection there is one receive, one call of the [`RequestHandler`] with every complete
//! frame, and one send for every response that is ready: the send is the dearest system call of the
//! broker, and sharing it between pipelined requests is worth more than anything done in user space.
//!
//! What a frame means is the handler's business. This crate knows that a frame is a length and that many
//! bytes, that responses leave in the order of their requests, and how much one client may cost the
//! others: see [`Limits`].
//!
//! Follow a request through `acceptor` (a connection arrives), `accepted` (and is handed to a thread), `worker` (which
//! serves it, with what `thread` holds for all of its connections), `connection` (the loop), `frames` (bytes
//! become frames), [`RequestHandler`], [`Responses`] (answers wait for their turn) and `outbox` (bytes leave).

mod accepted;
mod acceptor;
mod budget;
mod cold;
mod complaints;
mod connection;
mod connection_limit;
mod descriptors;
mod error;
mod frames;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod handler;
mod idle_limit;
mod io;
mod listener;
mod metrics;
mod outbox;
mod pulse;
mod response;
mod responses;
mod server;
mod silent_connections;
mod slot;
mod thread;
mod worker;

pub use connection_limit::ConnectionLimit;
pub use descriptors::raise_descriptor_limit;
pub use error::NetworkError;
pub use handler::{ConnectionInfo, Frame, RequestHandler};
pub use idle_limit::IdleLimit;
pub use listener::{Listener, ListenerName};
pub use metrics::{ListenerMetrics, NetworkMetrics};
pub use response::{Chunk, Response};
pub use responses::Responses;
pub use server::{DEFAULT_FRAME_LIMIT, Limits, NetworkConfig, Server};
pub use silent_connections::SilentConnections;
pub use slot::Slot;
