//! The Kafka wire protocol, and nothing else: no sockets, no files, no clocks.
//!
//! - [`api`]: the one table of API keys and versions.
//! - [`header`]: what stands before a request or response body; [`frame`]: both together, for clients.
//! - [`messages`]: structs and codecs, generated from `schema/` at build time.
//! - [`produce`], [`fetch`]: the hand-shaped codecs of the hot path, over borrowed bytes.
//! - [`topic`], [`leader`]: how both name a topic and where it is led.
//! - [`batch`]: record batches as they lie on the wire and on disk.
//! - [`compression`]: the codecs of their records, bounded.
//! - [`error`]: Kafka's error codes.
//! - [`codec`]: the bounded reader and the writer that all of the above stand on.
//!
//! Every decoder here may face the network: none panics, and none reserves more memory than the bytes at hand could fill.

pub mod api;
pub mod batch;
pub mod codec;
pub mod compression;
pub mod error;
pub mod fetch;
pub mod frame;
pub mod header;
pub mod leader;
pub mod messages;
pub mod produce;
pub mod topic;

pub use api::ApiKey;
pub use codec::{DecodeError, EncodeError, Message, Reader, Request};
pub use error::ErrorCode;
pub use topic::Topic;
