//! The response as a follower reads it: records stay where they were received.

use super::response::EpochEndOffset;
use crate::codec::{DecodeError, Reader};
use crate::header::decode_response_header;
use crate::{ApiKey, ErrorCode};
use uuid::Uuid;

/// The first version that names topics by their ids, which is all that one broker says to another.
const FIRST_BY_ID: i16 = 13;

/// The fewest bytes of a topic: its id, no partitions, no tagged fields.
const MIN_TOPIC: usize = 18;

/// The fewest bytes of a partition: its numbers, two empty arrays, no tagged fields.
const MIN_PARTITION: usize = 4 + 2 + 3 * 8 + 1 + 4 + 1 + 1;

/// What a leader answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchAnswer<'a> {
    /// An error of the request as a whole.
    pub error_code: ErrorCode,
    /// The fetch session; 0 is none.
    pub session_id: i32,
    /// What it answers for partitions, in its order.
    pub partitions: Vec<AnsweredPartition<'a>>,
}

/// What a leader answers for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnsweredPartition<'a> {
    /// The topic.
    pub topic_id: Uuid,
    /// The partition.
    pub index: i32,
    /// `None`, or why there are no records.
    pub error_code: ErrorCode,
    /// The offset after the last committed record; -1 if not known.
    pub high_watermark: i64,
    /// The first offset that the leader has; -1 if not known.
    pub log_start_offset: i64,
    /// Where the log of the follower departs from the leader's.
    pub diverging_epoch: Option<EpochEndOffset>,
    /// The batches.
    pub records: &'a [u8],
}

impl<'a> FetchAnswer<'a> {
    /// Reads a frame, without the four bytes of its length, of a version from 13 on. Returns the correlation id too.
    ///
    /// # Errors
    /// Any [`DecodeError`].
    pub fn decode(frame: &'a [u8], version: i16) -> Result<(i32, Self), DecodeError> {
        debug_assert!(version >= FIRST_BY_ID, "older ones name topics");
        let (correlation_id, body) = decode_response_header(frame, ApiKey::Fetch.api(), version)?;
        let mut r = Reader::new(frame);
        r.take(body)?;
        Ok((correlation_id, Self::read(&mut r)?))
    }

    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let _throttle_time_ms = r.i32()?;
        let mut answer = Self {
            error_code: error_code(r)?,
            session_id: r.i32()?,
            partitions: Vec::new(),
        };
        for _ in 0..r.array_len(true, MIN_TOPIC)?.unwrap_or(0) {
            let topic_id = r.uuid()?;
            for _ in 0..r.array_len(true, MIN_PARTITION)?.unwrap_or(0) {
                answer.partitions.push(AnsweredPartition::read(r, topic_id)?);
            }
            r.skip_tagged_fields()?;
        }
        r.skip_tagged_fields()?;
        Ok(answer)
    }
}

impl<'a> AnsweredPartition<'a> {
    fn read(r: &mut Reader<'a>, topic_id: Uuid) -> Result<Self, DecodeError> {
        let mut partition = Self {
            topic_id,
            index: r.i32()?,
            error_code: error_code(r)?,
            high_watermark: r.i64()?,
            log_start_offset: -1,
            diverging_epoch: None,
            records: &[],
        };
        let _last_stable_offset = r.i64()?;
        partition.log_start_offset = r.i64()?;
        for _ in 0..r.array_len(true, 17)?.unwrap_or(0) {
            // Which transactions were aborted, a follower finds in the batches.
            r.take(16)?;
            r.skip_tagged_fields()?;
        }
        let _preferred_read_replica = r.i32()?;
        partition.records = r.byte_slice(true)?.unwrap_or_default();
        r.tagged_fields(|tag, r| {
            if tag == 0 {
                partition.diverging_epoch = Some(EpochEndOffset {
                    epoch: r.i32()?,
                    end_offset: r.i64()?,
                });
                r.skip_tagged_fields()?;
                return Ok(true);
            }
            Ok(false)
        })?;
        Ok(partition)
    }
}

/// An error that we do not know is one all the same.
fn error_code(r: &mut Reader<'_>) -> Result<ErrorCode, DecodeError> {
    Ok(ErrorCode::from_code(r.i16()?).unwrap_or(ErrorCode::UnknownServerError))
}
