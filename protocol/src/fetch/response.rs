//! The response: small buffers of ours between record payloads that nobody copies.

use super::FIRST_FLEXIBLE;
use crate::ErrorCode;
use crate::codec::{EncodeError, Put};
use crate::leader::{CurrentLeader, NodeEndpoint};
use crate::topic::Topic;

/// Records that someone else will send: a piece of a file, shared bytes, or several of them in a row.
pub trait Payload {
    /// How many bytes it is, exactly.
    fn len(&self) -> usize;

    /// True if it is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Payload for Vec<u8> {
    fn len(&self) -> usize {
        Vec::len(self)
    }
}

impl Payload for bytes::Bytes {
    fn len(&self) -> usize {
        bytes::Bytes::len(self)
    }
}

/// A piece of a response. The pieces in a row are the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk<R> {
    /// Bytes of the response itself.
    Inline(Vec<u8>),
    /// Records.
    Records(R),
}

/// What a fetch response says besides its partitions.
#[derive(Debug, Clone, Copy)]
pub struct FetchResponse<'a> {
    /// How long the client is held back for its quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// An error of the request as a whole (since version 7).
    pub error_code: ErrorCode,
    /// The fetch session; 0 is none (since version 7).
    pub session_id: i32,
    /// Where the leaders named in the partitions listen (since version 16).
    pub node_endpoints: &'a [NodeEndpoint<'a>],
}

/// What was read from one partition.
#[derive(Debug, Clone)]
pub struct FetchedPartition<'a, R> {
    /// The topic, named as in the request.
    pub topic: Topic<'a>,
    /// The partition.
    pub index: i32,
    /// `ErrorCode::None`, or why there are no records.
    pub error_code: ErrorCode,
    /// The offset after the last committed record; -1 if not known.
    pub high_watermark: i64,
    /// The offset below which all transactions are decided; -1 if not known.
    pub last_stable_offset: i64,
    /// The first offset that the partition holds; -1 if not known (since version 5).
    pub log_start_offset: i64,
    /// Where the log of a follower departs from the leader's (since version 12).
    pub diverging_epoch: Option<EpochEndOffset>,
    /// The leader, if it is another broker (since version 12).
    pub current_leader: Option<CurrentLeader>,
    /// The aborted transactions among the records; `None` for a reader of uncommitted records.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The replica to read from instead, or -1 (since version 11).
    pub preferred_read_replica: i32,
    /// The records. `None` is sent as no bytes, never as null: librdkafka takes null for a broken response.
    pub records: Option<R>,
}

/// The last offset of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The largest epoch that is not larger than the one asked for.
    pub epoch: i32,
    /// The offset after its last record.
    pub end_offset: i64,
}

/// A transaction whose records a reader of committed records must skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: i64,
    /// Its first offset in the partition.
    pub first_offset: i64,
}

impl Default for FetchResponse<'_> {
    fn default() -> Self {
        Self {
            throttle_time_ms: 0,
            error_code: ErrorCode::None,
            session_id: 0,
            node_endpoints: &[],
        }
    }
}

impl<'a, R> FetchedPartition<'a, R> {
    /// A partition that yields nothing, because of `error_code` or because there is nothing.
    pub const fn empty(topic: Topic<'a>, index: i32, error_code: ErrorCode) -> Self {
        Self {
            topic,
            index,
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            current_leader: None,
            aborted_transactions: None,
            preferred_read_replica: -1,
            records: None,
        }
    }
}

impl FetchResponse<'_> {
    /// The response in `version` 4 to 18, as chunks, of which the first begins with what `head` holds (the response header).
    /// Partitions of one topic that stand next to each other share its entry; what a version cannot say is left out.
    ///
    /// # Errors
    /// A topic named by id in a version for names, or the other way round: [`EncodeError::FieldNotInVersion`].
    pub fn encode<R: Payload>(
        &self,
        head: Vec<u8>,
        version: i16,
        mut partitions: Vec<FetchedPartition<'_, R>>,
    ) -> Result<Vec<Chunk<R>>, EncodeError> {
        let flexible = version >= FIRST_FLEXIBLE;
        let mut out = Out {
            inline: head,
            chunks: Vec::new(),
        };
        let w = &mut out.inline;
        w.put_i32(self.throttle_time_ms);
        if version >= 7 {
            w.put_i16(self.error_code.code());
            w.put_i32(self.session_id);
        }
        let topics = partitions.chunk_by(|a, b| a.topic == b.topic).count();
        w.put_array_len(flexible, Some(topics))?;
        for of_topic in partitions.chunk_by_mut(|a, b| a.topic == b.topic) {
            if let [first, ..] = of_topic {
                first.topic.put(&mut out.inline, version, flexible)?;
            }
            out.inline.put_array_len(flexible, Some(of_topic.len()))?;
            for partition in of_topic {
                out.put_partition(version, partition)?;
            }
            if flexible {
                out.inline.put_tagged_fields(&[]);
            }
        }
        if flexible {
            if version >= 16 && !self.node_endpoints.is_empty() {
                out.inline
                    .put_tagged_fields(&[(0, NodeEndpoint::tagged(self.node_endpoints)?)]);
            } else {
                out.inline.put_tagged_fields(&[]);
            }
        }
        Ok(out.finish())
    }
}

/// The chunks so far, and the one being written.
struct Out<R> {
    inline: Vec<u8>,
    chunks: Vec<Chunk<R>>,
}

impl<R: Payload> Out<R> {
    fn put_partition(&mut self, version: i16, partition: &mut FetchedPartition<'_, R>) -> Result<(), EncodeError> {
        let flexible = version >= FIRST_FLEXIBLE;
        let w = &mut self.inline;
        w.put_i32(partition.index);
        w.put_i16(partition.error_code.code());
        w.put_i64(partition.high_watermark);
        w.put_i64(partition.last_stable_offset);
        if version >= 5 {
            w.put_i64(partition.log_start_offset);
        }
        w.put_array(flexible, partition.aborted_transactions.as_deref(), |w, aborted| {
            w.put_i64(aborted.producer_id);
            w.put_i64(aborted.first_offset);
            if flexible {
                w.put_tagged_fields(&[]);
            }
            Ok(())
        })?;
        if version >= 11 {
            w.put_i32(partition.preferred_read_replica);
        }
        let records = partition.records.take().filter(|records| !records.is_empty());
        w.put_bytes_len(flexible, Some(records.as_ref().map_or(0, Payload::len)))?;
        if let Some(records) = records {
            self.chunks.push(Chunk::Inline(std::mem::take(&mut self.inline)));
            self.chunks.push(Chunk::Records(records));
        }
        if flexible {
            self.inline.put_tagged_fields(&partition_tags(partition));
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<Chunk<R>> {
        if !self.inline.is_empty() {
            self.chunks.push(Chunk::Inline(self.inline));
        }
        self.chunks
    }
}

/// The tagged fields of a partition; none, and no allocation, unless something is amiss.
fn partition_tags<R>(partition: &FetchedPartition<'_, R>) -> Vec<(u32, Vec<u8>)> {
    let mut tags = Vec::new();
    if let Some(diverging) = partition.diverging_epoch {
        let mut value = Vec::with_capacity(13);
        value.put_i32(diverging.epoch);
        value.put_i64(diverging.end_offset);
        value.put_tagged_fields(&[]);
        tags.push((0, value));
    }
    if let Some(leader) = partition.current_leader {
        tags.push((1, leader.tagged()));
    }
    tags
}
