//! Produce, hand-shaped: a request is read where it lies, and its record batches can be stamped in place.

mod request;
mod response;

#[cfg(test)]
mod tests;

pub use request::{MOST_PARTITIONS, Partitions, ProducePartition, ProduceRequest};
pub use response::{ProduceResponse, ProducedPartition, RecordError};

/// The first version with compact lengths and tagged fields.
const FIRST_FLEXIBLE: i16 = 9;
