//! Fetch, hand-shaped where it is hot: the response is a list of chunks, in which records stay where they are.
//!
//! The request is the generated one: small, and in a fetch session mostly empty.

mod answer;
mod response;

#[cfg(test)]
mod tests;

pub use crate::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, ReplicaState};
pub use answer::{AnsweredPartition, FetchAnswer};
pub use response::{AbortedTransaction, Chunk, EpochEndOffset, FetchResponse, FetchedPartition, Payload};

use crate::topic::{FIRST_WITH_TOPIC_ID, Topic};

/// The first version with compact lengths and tagged fields.
const FIRST_FLEXIBLE: i16 = 12;

/// The first version in which a follower says its epoch along with its id (KIP-903).
const FIRST_WITH_REPLICA_STATE: i16 = 15;

/// The id of a replica that fetches, when a consumer does.
pub const CONSUMER: i32 = -1;

impl FetchRequest {
    /// The broker that fetches and its broker epoch (-1 before version 15), or [`CONSUMER`] and -1.
    pub fn replica(&self, version: i16) -> (i32, i64) {
        if version >= FIRST_WITH_REPLICA_STATE {
            (self.replica_state.replica_id, self.replica_state.replica_epoch)
        } else {
            (self.replica_id, -1)
        }
    }
}

impl FetchTopic {
    /// The topic, in the way that `version` names it.
    pub fn topic(&self, version: i16) -> Topic<'_> {
        topic(version, &self.topic, self.topic_id)
    }
}

impl ForgottenTopic {
    /// The topic, in the way that `version` names it.
    pub fn topic(&self, version: i16) -> Topic<'_> {
        topic(version, &self.topic, self.topic_id)
    }
}

fn topic(version: i16, name: &str, id: uuid::Uuid) -> Topic<'_> {
    if version >= FIRST_WITH_TOPIC_ID {
        Topic::Id(id)
    } else {
        Topic::Name(name)
    }
}
