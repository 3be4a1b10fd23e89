//! Producer ids, and later the transaction coordinator. Pure: blocks in, ids out.
//!
//! # Layout
//! - [`producer_ids`]: hands out ids from blocks that the controller allocated.

pub mod producer_ids;

pub use producer_ids::{BLOCK_SIZE, NextId, ProducerIdBlock, ProducerIdManager};
