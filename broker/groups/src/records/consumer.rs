//! The records of a consumer group of KIP-848: keys 3 to 8 and 16. Source: `ConsumerGroup*Key/Value.json` of Kafka 4.3.
//!
//! Keys are not flexible, values are, and every value has version 0.

use std::collections::BTreeSet;

use bytes::Bytes;
use model::TopicId;
use protocol::codec::{DecodeError, EncodeError, Put, Reader, not_null};

use super::{ConsumerRecord, RecordError};
use crate::assignment_epochs::AssignmentEpochs;
use crate::epoch::Epoch;
use crate::ids::{GroupId, InstanceId, MemberId};
use crate::offered_protocol::Protocol;
use crate::partitions::Partitions;

const GROUP_KEY: i16 = 3;
const MEMBER_KEY: i16 = 5;
const TARGET_KEY: i16 = 6;
const TARGET_MEMBER_KEY: i16 = 7;
const CURRENT_KEY: i16 = 8;
const REGEX_KEY: i16 = 16;
/// The keys that are read. Key 4 (partition metadata) was written by Kafka before 4.1; what it held is a hash in the group's
/// own record since.
pub(super) const KEYS: [i16; 6] = [
    GROUP_KEY,
    MEMBER_KEY,
    TARGET_KEY,
    TARGET_MEMBER_KEY,
    CURRENT_KEY,
    REGEX_KEY,
];

const VALUE_VERSION: i16 = 0;
/// Tag of the metadata hash in a group, of the classic member in a member, and of the epochs in what a member has.
const FIRST_TAG: u32 = 0;
/// A topic id, no partitions, no tagged fields.
const MIN_TOPIC_PARTITIONS: usize = 18;

/// A group's epoch, and what it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsumerGroupEpoch {
    /// The group's epoch.
    pub epoch: Epoch,
    /// A hash of the subscribed topics with their partitions: another one asks for a new assignment.
    pub metadata_hash: i64,
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerMemberMetadata {
    /// Its static name.
    pub instance_id: Option<InstanceId>,
    /// The rack that its client is in.
    pub rack_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it connected from, with a leading slash as Java prints it.
    pub client_host: String,
    /// The topics that it names.
    pub subscribed_topics: BTreeSet<String>,
    /// The regular expression of the topics that it wants besides.
    pub subscribed_regex: Option<String>,
    /// How long it may take to give back partitions, ms; -1 if it never said.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it prefers.
    pub server_assignor: Option<String>,
    /// What it says by the classic protocol, if it speaks that.
    pub classic: Option<ClassicMemberMetadata>,
}

/// A member that joins by JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassicMemberMetadata {
    /// How long it may be silent, ms.
    pub session_timeout_ms: i32,
    /// What it offers, in its order of preference.
    pub protocols: Vec<Protocol>,
}

/// How far a member has come on its way to its target. Source: Kafka's `MemberState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemberState {
    /// It has what its epoch gives it.
    #[default]
    Stable,
    /// It must give back partitions before it enters the next epoch.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given back.
    UnreleasedPartitions,
    /// Written by something newer.
    Unknown,
}

/// What a member has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CurrentAssignment {
    /// Its epoch; [`Epoch::LEAVE_FOR_NOW`] while it is away.
    pub epoch: Epoch,
    /// Its epoch before, in case the answer that told it the new one was lost.
    pub previous_epoch: Epoch,
    /// How far it has come.
    pub state: MemberState,
    /// What it may use.
    pub assigned: Partitions,
    /// What it must give back, and nobody else may use until then.
    pub revoking: Partitions,
    /// Since when it has each of both.
    pub since: AssignmentEpochs,
}

/// What a regular expression stood for when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolvedRegex {
    /// The topics that it matched.
    pub topics: BTreeSet<String>,
    /// The metadata that it was held against.
    pub version: i64,
    /// When, ms since 1970.
    pub timestamp_ms: i64,
}

impl ConsumerRecord {
    /// True if it takes something back.
    pub(crate) fn is_tombstone(&self) -> bool {
        match self {
            Self::Group(value) => value.is_none(),
            Self::Member(_, value) => value.is_none(),
            Self::TargetEpoch(value) => value.is_none(),
            Self::Target(_, value) => value.is_none(),
            Self::Current(_, value) => value.is_none(),
            Self::Regex(_, value) => value.is_none(),
        }
    }

    pub(super) fn encode(&self, group: &GroupId) -> Result<(Vec<u8>, Option<Vec<u8>>), EncodeError> {
        match self {
            Self::Group(value) => Ok((key(GROUP_KEY, group, None)?, value.as_ref().map(encode_group))),
            Self::Member(member, value) => Ok((
                key(MEMBER_KEY, group, Some(member.as_str()))?,
                value.as_ref().map(encode_member).transpose()?,
            )),
            Self::TargetEpoch(value) => {
                let value = value.map(|epoch| {
                    let mut w = start();
                    w.put_i32(epoch.0);
                    w.put_tagged_fields(&[]);
                    w
                });
                Ok((key(TARGET_KEY, group, None)?, value))
            }
            Self::Target(member, value) => {
                let encode = |target: &Partitions| {
                    let mut w = start();
                    put_partitions(&mut w, target)?;
                    w.put_tagged_fields(&[]);
                    Ok(w)
                };
                Ok((
                    key(TARGET_MEMBER_KEY, group, Some(member.as_str()))?,
                    value.as_ref().map(encode).transpose()?,
                ))
            }
            Self::Current(member, value) => Ok((
                key(CURRENT_KEY, group, Some(member.as_str()))?,
                value.as_ref().map(encode_current).transpose()?,
            )),
            Self::Regex(regex, value) => Ok((
                key(REGEX_KEY, group, Some(regex))?,
                value.as_ref().map(encode_regex).transpose()?,
            )),
        }
    }

    /// The rest of a key and a value; `None` for a record that says nothing any more.
    pub(super) fn decode(
        kind: i16,
        r: &mut Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Option<(GroupId, Self)>, RecordError> {
        let damaged_key = |source| RecordError::Damaged { what: "key", source };
        let group = GroupId::from(not_null(r.str(false).map_err(damaged_key)?, "groupId").map_err(damaged_key)?);
        let mut second = || -> Result<String, RecordError> {
            not_null(r.string(false).map_err(damaged_key)?, "memberId").map_err(damaged_key)
        };
        let record = match kind {
            GROUP_KEY => Self::Group(read(value, "consumer group", decode_group)?),
            MEMBER_KEY => Self::Member(
                MemberId::from(second()?.as_str()),
                read(value, "consumer group member", decode_member)?,
            ),
            TARGET_KEY => Self::TargetEpoch(read(value, "target assignment epoch", |r| {
                let epoch = Epoch(r.i32()?);
                r.skip_tagged_fields()?;
                Ok(epoch)
            })?),
            TARGET_MEMBER_KEY => Self::Target(
                MemberId::from(second()?.as_str()),
                read(value, "target assignment", |r| {
                    let target = partitions(r)?;
                    r.skip_tagged_fields()?;
                    Ok(target)
                })?,
            ),
            CURRENT_KEY => Self::Current(
                MemberId::from(second()?.as_str()),
                read(value, "current assignment", decode_current)?,
            ),
            REGEX_KEY => Self::Regex(second()?, read(value, "regular expression", decode_regex)?),
            _ => return Ok(None),
        };
        Ok(Some((group, record)))
    }
}

fn key(kind: i16, group: &GroupId, second: Option<&str>) -> Result<Vec<u8>, EncodeError> {
    let mut w = Vec::new();
    w.put_i16(kind);
    w.put_string(false, Some(group.as_str()))?;
    if let Some(second) = second {
        w.put_string(false, Some(second))?;
    }
    Ok(w)
}

fn start() -> Vec<u8> {
    let mut w = Vec::new();
    w.put_i16(VALUE_VERSION);
    w
}

/// Reads a value that is there, and of a version that is known.
fn read<T>(
    value: Option<&[u8]>,
    what: &'static str,
    decode: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Option<T>, RecordError> {
    let Some(value) = value else { return Ok(None) };
    let damaged = |source| RecordError::Damaged { what, source };
    let mut r = Reader::new(value);
    let version = r.i16().map_err(damaged)?;
    if version != VALUE_VERSION {
        return Err(RecordError::Newer {
            what,
            version,
            newest: VALUE_VERSION,
        });
    }
    decode(&mut r).map(Some).map_err(damaged)
}

fn encode_group(group: &ConsumerGroupEpoch) -> Vec<u8> {
    let mut w = start();
    w.put_i32(group.epoch.0);
    if group.metadata_hash == 0 {
        w.put_tagged_fields(&[]);
    } else {
        w.put_tagged_fields(&[(FIRST_TAG, group.metadata_hash.to_be_bytes().to_vec())]);
    }
    w
}

fn decode_group(r: &mut Reader<'_>) -> Result<ConsumerGroupEpoch, DecodeError> {
    let mut group = ConsumerGroupEpoch {
        epoch: Epoch(r.i32()?),
        metadata_hash: 0,
    };
    r.tagged_fields(|tag, r| {
        if tag == FIRST_TAG {
            group.metadata_hash = r.i64()?;
        }
        Ok(tag == FIRST_TAG)
    })?;
    Ok(group)
}

fn encode_member(member: &ConsumerMemberMetadata) -> Result<Vec<u8>, EncodeError> {
    let mut w = start();
    w.put_string(true, member.instance_id.as_ref().map(InstanceId::as_str))?;
    w.put_string(true, member.rack_id.as_deref())?;
    w.put_string(true, Some(&member.client_id))?;
    w.put_string(true, Some(&member.client_host))?;
    put_names(&mut w, &member.subscribed_topics)?;
    w.put_string(true, member.subscribed_regex.as_deref())?;
    w.put_i32(member.rebalance_timeout_ms);
    w.put_string(true, member.server_assignor.as_deref())?;
    // Kafka's default of this field is an empty struct, so null must be said, and the empty struct must not.
    let mut classic = Vec::new();
    match &member.classic {
        None => classic.put_uvarint(0),
        Some(metadata) if *metadata == ClassicMemberMetadata::default() => {}
        Some(metadata) => {
            classic.put_uvarint(1);
            classic.put_i32(metadata.session_timeout_ms);
            classic.put_array(true, Some(&metadata.protocols), |w, protocol| {
                w.put_string(true, Some(&protocol.name))?;
                w.put_bytes(true, Some(&protocol.metadata))?;
                w.put_tagged_fields(&[]);
                Ok(())
            })?;
            classic.put_tagged_fields(&[]);
        }
    }
    if classic.is_empty() {
        w.put_tagged_fields(&[]);
    } else {
        w.put_tagged_fields(&[(FIRST_TAG, classic)]);
    }
    Ok(w)
}

fn decode_member(r: &mut Reader<'_>) -> Result<ConsumerMemberMetadata, DecodeError> {
    let mut member = ConsumerMemberMetadata {
        instance_id: r.str(true)?.map(InstanceId::from),
        rack_id: r.string(true)?,
        client_id: not_null(r.string(true)?, "clientId")?,
        client_host: not_null(r.string(true)?, "clientHost")?,
        subscribed_topics: names(r)?,
        subscribed_regex: r.string(true)?,
        rebalance_timeout_ms: r.i32()?,
        server_assignor: r.string(true)?,
        classic: Some(ClassicMemberMetadata::default()),
    };
    r.tagged_fields(|tag, r| {
        if tag == FIRST_TAG {
            member.classic = decode_classic(r)?;
        }
        Ok(tag == FIRST_TAG)
    })?;
    Ok(member)
}

fn decode_classic(r: &mut Reader<'_>) -> Result<Option<ClassicMemberMetadata>, DecodeError> {
    if r.uvarint()? == 0 {
        return Ok(None);
    }
    let session_timeout_ms = r.i32()?;
    let protocols = r.array(true, 3, |r| {
        let name = not_null(r.string(true)?, "name")?;
        let metadata: Bytes = not_null(r.bytes(true)?, "metadata")?;
        r.skip_tagged_fields()?;
        Ok(Protocol { name, metadata })
    })?;
    r.skip_tagged_fields()?;
    Ok(Some(ClassicMemberMetadata {
        session_timeout_ms,
        protocols: not_null(protocols, "supportedProtocols")?,
    }))
}

fn encode_current(current: &CurrentAssignment) -> Result<Vec<u8>, EncodeError> {
    let mut w = start();
    w.put_i32(current.epoch.0);
    w.put_i32(current.previous_epoch.0);
    w.put_i8(current.state.code());
    put_held(&mut w, &current.assigned, current)?;
    put_held(&mut w, &current.revoking, current)?;
    w.put_tagged_fields(&[]);
    Ok(w)
}

fn decode_current(r: &mut Reader<'_>) -> Result<CurrentAssignment, DecodeError> {
    let mut current = CurrentAssignment {
        epoch: Epoch(r.i32()?),
        previous_epoch: Epoch(r.i32()?),
        state: MemberState::from_code(r.i8()?),
        ..CurrentAssignment::default()
    };
    current.assigned = held(r, current.epoch, &mut current.since)?;
    current.revoking = held(r, current.epoch, &mut current.since)?;
    r.skip_tagged_fields()?;
    Ok(current)
}

/// Partitions of a member, each with the epoch since which it has it.
fn put_held(w: &mut Vec<u8>, partitions: &Partitions, current: &CurrentAssignment) -> Result<(), EncodeError> {
    w.put_array_len(true, Some(partitions.topics().len()))?;
    for (topic, indexes) in partitions.topics() {
        put_topic(w, topic, indexes)?;
        let since: Vec<i32> = indexes
            .iter()
            .map(|index| current.since.get(topic, *index).unwrap_or(current.epoch).0)
            .collect();
        let mut epochs = Vec::new();
        epochs.put_array(true, Some(&since), |w, epoch| {
            w.put_i32(*epoch);
            Ok(())
        })?;
        w.put_tagged_fields(&[(FIRST_TAG, epochs)]);
    }
    Ok(())
}

/// What was written before Kafka 4.3 does not say since when: since the member's epoch, then, which lets nothing pass that did
/// not pass before. The same if it says it for more or fewer partitions. Source: Kafka's `Utils.assignmentFromTopicPartitions`.
fn held(r: &mut Reader<'_>, epoch: Epoch, since: &mut AssignmentEpochs) -> Result<Partitions, DecodeError> {
    let topics = r.array(true, MIN_TOPIC_PARTITIONS, |r| {
        let topic = TopicId(r.uuid()?);
        let indexes = not_null(r.array(true, 4, Reader::i32)?, "partitions")?;
        let mut epochs = None;
        r.tagged_fields(|tag, r| {
            if tag == FIRST_TAG {
                epochs = r.array(true, 4, Reader::i32)?;
            }
            Ok(tag == FIRST_TAG)
        })?;
        Ok((topic, indexes, epochs))
    })?;
    let mut partitions = Partitions::default();
    for (topic, indexes, epochs) in not_null(topics, "topicPartitions")? {
        let epochs = epochs
            .filter(|epochs| epochs.len() == indexes.len())
            .unwrap_or_else(|| vec![epoch.max(Epoch::JOIN).0; indexes.len()]);
        for (index, epoch) in indexes.into_iter().zip(epochs) {
            partitions.insert(topic, index);
            since.insert(topic, index, Epoch(epoch));
        }
    }
    Ok(partitions)
}

fn encode_regex(regex: &ResolvedRegex) -> Result<Vec<u8>, EncodeError> {
    let mut w = start();
    put_names(&mut w, &regex.topics)?;
    w.put_i64(regex.version);
    w.put_i64(regex.timestamp_ms);
    w.put_tagged_fields(&[]);
    Ok(w)
}

fn decode_regex(r: &mut Reader<'_>) -> Result<ResolvedRegex, DecodeError> {
    let regex = ResolvedRegex {
        topics: names(r)?,
        version: r.i64()?,
        timestamp_ms: r.i64()?,
    };
    r.skip_tagged_fields()?;
    Ok(regex)
}

fn put_names(w: &mut Vec<u8>, names: &BTreeSet<String>) -> Result<(), EncodeError> {
    w.put_array_len(true, Some(names.len()))?;
    names.iter().try_for_each(|name| w.put_string(true, Some(name)))
}

fn names(r: &mut Reader<'_>) -> Result<BTreeSet<String>, DecodeError> {
    let names = not_null(r.array(true, 1, |r| not_null(r.string(true)?, "topic"))?, "topics")?;
    Ok(names.into_iter().collect())
}

fn put_partitions(w: &mut Vec<u8>, partitions: &Partitions) -> Result<(), EncodeError> {
    w.put_array_len(true, Some(partitions.topics().len()))?;
    for (topic, indexes) in partitions.topics() {
        put_topic(w, topic, indexes)?;
        w.put_tagged_fields(&[]);
    }
    Ok(())
}

fn put_topic(w: &mut Vec<u8>, topic: TopicId, indexes: &BTreeSet<i32>) -> Result<(), EncodeError> {
    w.put_uuid(topic.as_uuid());
    w.put_array_len(true, Some(indexes.len()))?;
    for index in indexes {
        w.put_i32(*index);
    }
    Ok(())
}

fn partitions(r: &mut Reader<'_>) -> Result<Partitions, DecodeError> {
    let topics = r.array(true, MIN_TOPIC_PARTITIONS, |r| {
        let topic = TopicId(r.uuid()?);
        let indexes = not_null(r.array(true, 4, Reader::i32)?, "partitions")?;
        r.skip_tagged_fields()?;
        Ok((topic, indexes))
    })?;
    let pairs = not_null(topics, "topicPartitions")?
        .into_iter()
        .flat_map(|(topic, indexes)| indexes.into_iter().map(move |index| (topic, index)));
    Ok(pairs.collect())
}

impl MemberState {
    fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown => 127,
        }
    }

    fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }
}
