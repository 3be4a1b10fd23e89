//! The response, written straight from the results of the partitions.

use super::FIRST_FLEXIBLE;
use crate::ErrorCode;
use crate::codec::{EncodeError, Put};
use crate::leader::{CurrentLeader, NodeEndpoint};
use crate::topic::Topic;

/// What a produce response says besides its partitions.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProduceResponse<'a> {
    /// How long the client is held back for its quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// Where the leaders named in the partitions listen (since version 10).
    pub node_endpoints: &'a [NodeEndpoint<'a>],
}

/// What became of the records for one partition.
#[derive(Debug, Clone, Copy)]
pub struct ProducedPartition<'a> {
    /// The topic, named as in the request.
    pub topic: Topic<'a>,
    /// The partition.
    pub index: i32,
    /// `ErrorCode::None` if the records were appended.
    pub error_code: ErrorCode,
    /// The offset of the first record; -1 with an error.
    pub base_offset: i64,
    /// The broker's time of the append, if the topic's timestamps are the broker's; else -1.
    pub log_append_time_ms: i64,
    /// The first offset that the partition still holds; -1 if not known (since version 5).
    pub log_start_offset: i64,
    /// The records at fault (since version 8).
    pub record_errors: &'a [RecordError<'a>],
    /// What went wrong, in a sentence (since version 8).
    pub error_message: Option<&'a str>,
    /// The leader, if it is another broker (since version 10).
    pub current_leader: Option<CurrentLeader>,
}

/// A record that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordError<'a> {
    /// Its position in the batch, from 0.
    pub batch_index: i32,
    /// What is wrong with it.
    pub message: Option<&'a str>,
}

impl<'a> ProducedPartition<'a> {
    /// Records that were appended at `base_offset`.
    pub const fn appended(topic: Topic<'a>, index: i32, base_offset: i64, log_start_offset: i64) -> Self {
        Self {
            base_offset,
            log_start_offset,
            ..Self::refused(topic, index, ErrorCode::None)
        }
    }

    /// Records that were not appended.
    pub const fn refused(topic: Topic<'a>, index: i32, error_code: ErrorCode) -> Self {
        Self {
            topic,
            index,
            error_code,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: &[],
            error_message: None,
            current_leader: None,
        }
    }
}

impl ProduceResponse<'_> {
    /// Appends the body of the response in `version` 3 to 13. Partitions of one topic that stand next to each other share its
    /// entry; what a version cannot say is left out.
    ///
    /// # Errors
    /// A topic named by id in a version for names, or the other way round: [`EncodeError::FieldNotInVersion`]. A message that
    /// is too long.
    pub fn encode(
        &self,
        w: &mut Vec<u8>,
        version: i16,
        partitions: &[ProducedPartition<'_>],
    ) -> Result<(), EncodeError> {
        let flexible = version >= FIRST_FLEXIBLE;
        let topics = || partitions.chunk_by(|a, b| a.topic == b.topic);
        w.put_array_len(flexible, Some(topics().count()))?;
        for of_topic in topics() {
            if let [first, ..] = of_topic {
                first.topic.put(w, version, flexible)?;
            }
            w.put_array(flexible, Some(of_topic), |w, partition| {
                put_partition(w, version, partition)
            })?;
            if flexible {
                w.put_tagged_fields(&[]);
            }
        }
        w.put_i32(self.throttle_time_ms);
        if flexible {
            if version >= 10 && !self.node_endpoints.is_empty() {
                w.put_tagged_fields(&[(0, NodeEndpoint::tagged(self.node_endpoints)?)]);
            } else {
                w.put_tagged_fields(&[]);
            }
        }
        Ok(())
    }
}

fn put_partition(w: &mut Vec<u8>, version: i16, partition: &ProducedPartition<'_>) -> Result<(), EncodeError> {
    let flexible = version >= FIRST_FLEXIBLE;
    w.put_i32(partition.index);
    w.put_i16(partition.error_code.code());
    w.put_i64(partition.base_offset);
    w.put_i64(partition.log_append_time_ms);
    if version >= 5 {
        w.put_i64(partition.log_start_offset);
    }
    if version >= 8 {
        w.put_array(flexible, Some(partition.record_errors), |w, error| {
            w.put_i32(error.batch_index);
            w.put_string(flexible, error.message)?;
            if flexible {
                w.put_tagged_fields(&[]);
            }
            Ok(())
        })?;
        w.put_string(flexible, partition.error_message)?;
    }
    if flexible {
        match partition.current_leader {
            Some(leader) if version >= 10 => w.put_tagged_fields(&[(0, leader.tagged())]),
            _ => w.put_tagged_fields(&[]),
        }
    }
    Ok(())
}
