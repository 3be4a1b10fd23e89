//! What the coordinator reads and writes of the consumers' own protocol (`ConsumerProtocolSubscription`,
//! `ConsumerProtocolAssignment`). Every version begins like the one before, so a later one is read as the latest known.

use bytes::Bytes;
use protocol::codec::{DecodeError, EncodeError, Put, Reader, not_null};

use crate::partitions::Partitions;
use crate::topics::Topics;

/// The latest version that is known.
const LATEST: i16 = 3;

/// What a consumer says when it joins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) topics: Vec<String>,
    /// What it has; empty if it gave back everything before it joined, as it does before version 1.
    pub(crate) owned: Vec<(String, Vec<i32>)>,
    pub(crate) rack_id: Option<String>,
}

impl Subscription {
    pub(crate) fn decode(metadata: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(metadata);
        let version = r.i16()?;
        let topics = not_null(r.array(false, 2, |r| not_null(r.string(false)?, "topic"))?, "topics")?;
        let _user_data = r.byte_slice(false)?;
        let owned = if version >= 1 {
            topic_partitions(&mut r)?
        } else {
            Vec::new()
        };
        let _generation = if version >= 2 { r.i32()? } else { -1 };
        let rack_id = if version >= 3 { r.string(false)? } else { None };
        Ok(Self { topics, owned, rack_id })
    }
}

/// The version that a consumer's metadata has, and its assignment must have.
pub(crate) fn version(metadata: &[u8]) -> i16 {
    Reader::new(metadata).i16().unwrap_or(0).clamp(0, LATEST)
}

/// What a consumer is assigned, by topic names.
pub(crate) fn decode_assignment(assignment: &[u8]) -> Result<Vec<(String, Vec<i32>)>, DecodeError> {
    let mut r = Reader::new(assignment);
    let _version = r.i16()?;
    topic_partitions(&mut r)
}

/// An assignment for a consumer. Topics that are gone are left out.
pub(crate) fn encode_assignment(version: i16, assigned: &Partitions, topics: &Topics) -> Result<Bytes, EncodeError> {
    let mut w = Vec::new();
    w.put_i16(version);
    let named: Vec<_> = assigned
        .topics()
        .filter_map(|(id, indexes)| Some((topics.name(id)?, indexes)))
        .collect();
    w.put_array(false, Some(&named), |w, (name, indexes)| {
        w.put_string(false, Some(name))?;
        w.put_array_len(false, Some(indexes.len()))?;
        for index in *indexes {
            w.put_i32(*index);
        }
        Ok(())
    })?;
    w.put_bytes(false, None)?;
    Ok(Bytes::from(w))
}

/// By topic ids, those that exist.
pub(crate) fn by_id(named: &[(String, Vec<i32>)], topics: &Topics) -> Partitions {
    named
        .iter()
        .filter_map(|(name, indexes)| Some((topics.get(name)?.0, indexes)))
        .flat_map(|(id, indexes)| indexes.iter().map(move |index| (id, *index)))
        .collect()
}

fn topic_partitions(r: &mut Reader<'_>) -> Result<Vec<(String, Vec<i32>)>, DecodeError> {
    let topics = r.array(false, 6, |r| {
        let name = not_null(r.string(false)?, "topic")?;
        Ok((name, not_null(r.array(false, 4, Reader::i32)?, "partitions")?))
    })?;
    not_null(topics, "topicPartitions")
}

/// The topics of a `ConsumerProtocolSubscription`. Every version begins like version 0, so later ones are read as that.
pub(crate) fn topics(metadata: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut r = Reader::new(metadata);
    let _version = r.i16()?;
    not_null(r.array(false, 2, |r| not_null(r.string(false)?, "topic"))?, "topics")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_from_any_version_and_damage_is_an_error() {
        let mut metadata = Vec::new();
        metadata.put_i16(3);
        metadata
            .put_array(false, Some(&["a", "b"]), |w, topic| w.put_string(false, Some(topic)))
            .unwrap();
        metadata.extend_from_slice(b"owned partitions, user data, generation, rack");
        assert_eq!(topics(&metadata), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert!(topics(&metadata[..7]).is_err());
        assert!(topics(&[]).is_err());
    }
}
