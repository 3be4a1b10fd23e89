//! The request: checked in one pass over the bytes between the records, then handed out partition by partition.

use uuid::Uuid;

use super::FIRST_FLEXIBLE;
use crate::codec::{DecodeError, Reader, not_null};
use crate::topic::{FIRST_WITH_TOPIC_ID, Topic};

/// Most partitions in one request. An entry takes 8 bytes on the wire, but some hundreds while it is answered: a frame
/// of nothing but empty entries would cost a gigabyte. An honest request has a batch for each, of 68 bytes or more.
pub const MOST_PARTITIONS: usize = 1 << 15;

/// A produce request, borrowed from its frame. Allocates nothing, copies nothing.
#[derive(Debug)]
pub struct ProduceRequest<'a> {
    /// The producer's transactional id.
    pub transactional_id: Option<&'a str>,
    /// How many replicas must have the records before the answer: -1 (all in sync), 0 (no answer), 1 (the leader).
    pub acks: i16,
    /// How long the broker may wait for them, in milliseconds.
    pub timeout_ms: i32,
    partition_count: usize,
    cursor: Cursor<'a>,
}

/// What a request holds for one partition.
#[derive(Debug, PartialEq, Eq)]
pub struct ProducePartition<'a> {
    /// The topic.
    pub topic: Topic<'a>,
    /// The partition.
    pub index: i32,
    /// The record set, to be stamped in place; `None` is null, which is no valid record set.
    pub records: Option<&'a mut [u8]>,
}

impl<'a> ProduceRequest<'a> {
    /// Reads the body of a request in `version` 3 to 13. The whole structure is checked; the records are not looked at.
    pub fn decode(body: &'a mut [u8], version: i16) -> Result<Self, DecodeError> {
        let form = Form::of(version);
        let mut rest = Rest(body);
        let transactional_id = rest.str(form.flexible)?;
        let (acks, timeout_ms) = rest.read(|r| Ok((r.i16()?, r.i32()?)))?;
        let partition_count = form.check(&mut Reader::new(rest.0))?;
        let topics_left = rest.read(|r| not_null(r.array_len(form.flexible, form.min_topic())?, "topic_data"))?;
        let cursor = Cursor {
            form,
            rest,
            topics_left,
            partitions_left: 0,
            topic: Topic::Id(Uuid::nil()),
        };
        Ok(Self {
            transactional_id,
            acks,
            timeout_ms,
            partition_count,
            cursor,
        })
    }

    /// How many partitions the request names.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// The partitions in the order of the request, those of one topic next to each other.
    pub fn into_partitions(self) -> Partitions<'a> {
        Partitions {
            left: self.partition_count,
            cursor: self.cursor,
        }
    }
}

/// See [`ProduceRequest::into_partitions`].
#[derive(Debug)]
pub struct Partitions<'a> {
    left: usize,
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Partitions<'a> {
    type Item = ProducePartition<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let next = self.cursor.next();
        debug_assert!(next.is_ok(), "decode() went over the same bytes");
        next.ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Partitions<'_> {}

/// What depends on the version.
#[derive(Debug, Clone, Copy)]
struct Form {
    flexible: bool,
    by_id: bool,
}

impl Form {
    fn of(version: i16) -> Self {
        Self {
            flexible: version >= FIRST_FLEXIBLE,
            by_id: version >= FIRST_WITH_TOPIC_ID,
        }
    }

    /// The fewest bytes of a topic: its name or id, its count of partitions, its tags.
    fn min_topic(self) -> usize {
        match (self.by_id, self.flexible) {
            (true, _) => 16 + 1 + 1,
            (false, true) => 1 + 1 + 1,
            (false, false) => 2 + 4,
        }
    }

    /// The fewest bytes of a partition: its index, the length of its records, its tags.
    fn min_partition(self) -> usize {
        if self.flexible { 4 + 1 + 1 } else { 4 + 4 }
    }

    /// Goes over all topics to the end of the request; returns how many partitions there are.
    fn check(self, r: &mut Reader<'_>) -> Result<usize, DecodeError> {
        let mut partitions = 0;
        let topics = not_null(r.array_len(self.flexible, self.min_topic())?, "topic_data")?;
        for _ in 0..topics {
            if self.by_id {
                r.uuid()?;
            } else {
                not_null(r.str(self.flexible)?, "name")?;
            }
            let count = self.partition_count(r)?;
            for _ in 0..count {
                r.i32()?;
                r.byte_slice(self.flexible)?;
                self.tags(r)?;
            }
            partitions += count;
            if partitions > MOST_PARTITIONS {
                return Err(DecodeError::AboveLimit {
                    declared: partitions,
                    most: MOST_PARTITIONS,
                });
            }
            self.tags(r)?;
        }
        self.tags(r)?;
        Ok(partitions)
    }

    fn partition_count(self, r: &mut Reader<'_>) -> Result<usize, DecodeError> {
        not_null(r.array_len(self.flexible, self.min_partition())?, "partition_data")
    }

    fn tags(self, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        if self.flexible { r.skip_tagged_fields() } else { Ok(()) }
    }
}

/// A place among the topics.
#[derive(Debug)]
struct Cursor<'a> {
    form: Form,
    rest: Rest<'a>,
    topics_left: usize,
    partitions_left: usize,
    topic: Topic<'a>,
}

impl<'a> Cursor<'a> {
    /// The next partition. Only called as often as `check` counted.
    // The methods themselves are not general over the reader's lifetime.
    #[allow(clippy::redundant_closure_for_method_calls)]
    fn next(&mut self) -> Result<ProducePartition<'a>, DecodeError> {
        let form = self.form;
        while self.partitions_left == 0 && self.topics_left > 0 {
            self.topics_left -= 1;
            self.topic = if form.by_id {
                Topic::Id(self.rest.read(|r| r.uuid())?)
            } else {
                Topic::Name(not_null(self.rest.str(form.flexible)?, "name")?)
            };
            self.partitions_left = self.rest.read(|r| form.partition_count(r))?;
            if self.partitions_left == 0 {
                self.rest.read(|r| form.tags(r))?;
            }
        }
        let index = self.rest.read(|r| r.i32())?;
        let records = self.rest.bytes(form.flexible)?;
        self.rest.read(|r| form.tags(r))?;
        self.partitions_left = self.partitions_left.saturating_sub(1);
        if self.partitions_left == 0 {
            self.rest.read(|r| form.tags(r))?;
        }
        Ok(ProducePartition {
            topic: self.topic,
            index,
            records,
        })
    }
}

/// Bytes not yet read, of which pieces can be split off to be changed.
#[derive(Debug)]
struct Rest<'a>(&'a mut [u8]);

impl<'a> Rest<'a> {
    /// Reads a value that borrows nothing.
    fn read<T>(&mut self, read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        let mut r = Reader::new(self.0);
        let value = read(&mut r)?;
        let taken = self.0.len() - r.remaining();
        self.take(taken)?;
        Ok(value)
    }

    fn str(&mut self, flexible: bool) -> Result<Option<&'a str>, DecodeError> {
        // The reader ends right behind the string, so the string is the tail of what it took.
        let mut r = Reader::new(self.0);
        let Some(len) = r.str(flexible)?.map(str::len) else {
            let taken = self.0.len() - r.remaining();
            self.take(taken)?;
            return Ok(None);
        };
        let before = self.0.len() - r.remaining() - len;
        self.take(before)?;
        let bytes: &'a [u8] = self.take(len)?;
        str::from_utf8(bytes).map(Some).map_err(|_| DecodeError::NotUtf8)
    }

    fn bytes(&mut self, flexible: bool) -> Result<Option<&'a mut [u8]>, DecodeError> {
        let mut r = Reader::new(self.0);
        let len = r.byte_slice(flexible)?.map(<[u8]>::len);
        let taken = self.0.len() - r.remaining();
        self.take(taken - len.unwrap_or(0))?;
        len.map(|len| self.take(len)).transpose()
    }

    fn take(&mut self, len: usize) -> Result<&'a mut [u8], DecodeError> {
        let left = self.0.len();
        let (taken, rest) = std::mem::take(&mut self.0)
            .split_at_mut_checked(len)
            .ok_or(DecodeError::Truncated { needed: len, left })?;
        self.0 = rest;
        Ok(taken)
    }
}
