//! How partitions may be assigned, as a classic member offers it.

use bytes::Bytes;

/// A way to assign that a member offers, with its metadata for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: String,
    /// What the member says by it; opaque but for consumers.
    pub metadata: Bytes,
}
