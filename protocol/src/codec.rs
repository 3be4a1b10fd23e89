//! How values lie on the wire: the bounded [`Reader`], the [`Put`] methods that write, and the traits of a message.

mod error;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{DecodeError, EncodeError};
pub use reader::{Reader, not_null, nullable_if};
#[cfg(test)]
pub(crate) use writer::unknown_tags;
pub use writer::{Put, uvarint_len};

use crate::api::{ApiKey, VersionRange};

/// A request body, a response body, or a struct inside one.
///
/// `version` must be one that the message has ([`Request::VERSIONS`]); [`crate::api`] is where a version from the network is checked.
/// Nesting needs no bound of its own: no schema refers to itself, so the depth is that of the schema.
pub trait Message: Sized {
    /// The fewest bytes that any value of this type takes in `version`.
    fn min_size(version: i16) -> usize;

    /// Reads one value. Fields that `version` does not carry take Kafka's default; unknown tagged fields are skipped.
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError>;

    /// Appends the value to `w`. Fields that `version` does not carry are dropped if the schema calls them ignorable or
    /// if they hold their default; otherwise that is an error, and what was appended so far must be discarded.
    fn encode(&self, w: &mut Vec<u8>, version: i16) -> Result<(), EncodeError>;
}

/// A request body, which knows its API and its response.
pub trait Request: Message {
    /// The API it belongs to.
    const KEY: ApiKey;
    /// The versions that the schema describes.
    const VERSIONS: VersionRange;
    /// The first version with compact lengths and tagged fields.
    const FIRST_FLEXIBLE: Option<i16>;
    /// What answers it.
    type Response: Message;
}
