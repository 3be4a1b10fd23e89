//! One module for each API, generated at build time from `schema/*.api`: its request, its response, their structs.
//!
//! Names, types, defaults and version ranges are those of Kafka 4.3. A nullable field whose default is not null is `Some` of
//! empty by default, as in Kafka: set it to `None` where you mean null.
//! Produce and the Fetch response are generated for tests and tools only (feature `client`); the server's are [`crate::produce`]
//! and [`crate::fetch`].

#[cfg(any(test, feature = "samples"))]
pub mod filled;
#[cfg(test)]
mod tests;

/// What every generated module starts with.
mod prelude {
    pub(super) use bytes::Bytes;
    pub(super) use uuid::Uuid;

    pub(super) use crate::api::{ApiKey, VersionRange};
    pub(super) use crate::codec::{DecodeError, EncodeError, Message, Put, Reader, Request, not_null, nullable_if};

    #[cfg(any(test, feature = "samples"))]
    pub(super) use super::filled::{Fill, Filled};
}

#[allow(clippy::pedantic, clippy::all)]
mod generated {
    use super::prelude;
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

#[cfg(feature = "serde")]
use crate::api::ApiKey;
pub use generated::*;

/// What to do with the messages of an API that is known at run time only: see [`visit`].
#[cfg(feature = "serde")]
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Called with the types of that API.
    fn visit<R>(self) -> Self::Output
    where
        R: crate::codec::Request + serde::de::DeserializeOwned,
        R::Response: serde::Serialize;
}
