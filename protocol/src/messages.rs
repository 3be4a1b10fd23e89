//! One module for each API, generated at build time from `schema/*.api`: its request, its response, their structs.
//!
//! Names, types, defaults and version ranges are those of Kafka 4.1. A nullable field whose default is not null is `Some` of
//! empty by default, as in Kafka: set it to `None` where you mean null.
//! Produce and the Fetch response are generated for tests and tools only (feature `client`); the server's are [`crate::produce`]
//! and [`crate::fetch`].

#[cfg(test)]
pub(crate) mod filled;
#[cfg(test)]
mod tests;

/// What every generated module starts with.
mod prelude {
    pub(super) use bytes::Bytes;
    pub(super) use uuid::Uuid;

    pub(super) use crate::api::{ApiKey, VersionRange};
    pub(super) use crate::codec::{DecodeError, EncodeError, Message, Put, Reader, Request, not_null, nullable_if};

    #[cfg(test)]
    pub(super) use super::filled::{Fill, Filled};
}

#[allow(clippy::pedantic, clippy::all)]
mod generated {
    use super::prelude;
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

pub use generated::*;
