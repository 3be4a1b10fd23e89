//! The records of `__consumer_offsets`, byte for byte those of Kafka: tools that read the topic, and a Kafka that takes it
//! over, find what they expect. Source: `OffsetCommitKey/Value.json`, `GroupMetadataKey/Value.json`.
//!
//! Written: OffsetCommitKey 1, OffsetCommitValue 3 (4 with the topic's id, 1 if the client chose an expiry), GroupMetadataKey 2, GroupMetadataValue 3,
//! and those of consumer groups (`consumer`). Read: all versions of these. Keys of other kinds (share groups) are left alone.

use bytes::Bytes;
use model::TopicId;
use protocol::codec::{DecodeError, EncodeError, Put, Reader, not_null};
use thiserror::Error;

use crate::epoch::Epoch;
use crate::ids::{GenerationId, GroupId, InstanceId, MemberId};
use crate::partitions::Partitions;

mod consumer;

pub use consumer::{
    ClassicMemberMetadata, ConsumerGroupEpoch, ConsumerMemberMetadata, CurrentAssignment, MemberState, ResolvedRegex,
};

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const OFFSET_VALUE: i16 = 3;
/// The first version that carries the topic's id.
const OFFSET_VALUE_WITH_TOPIC_ID: i16 = 4;
/// The id in a tagged field.
const TOPIC_ID_TAG: u32 = 0;
/// The one version that carries an expiry.
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;
const GROUP_VALUE: i16 = 3;
/// From here on a value is flexible: compact strings and tagged fields.
const FLEXIBLE_VALUE: i16 = 4;

/// One change to what the coordinator must not forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupRecord {
    /// A committed offset; `None` is its tombstone.
    Offset {
        /// Whose offset.
        group: GroupId,
        /// In which topic.
        topic: String,
        /// In which partition.
        partition: i32,
        /// The offset, or that it is gone.
        offset: Option<CommittedOffset>,
    },
    /// A generation of a group; `None` is its tombstone.
    Group {
        /// Which group.
        group: GroupId,
        /// The generation, or that the group is gone.
        metadata: Option<GroupMetadata>,
    },
    /// Something of a consumer group (KIP-848).
    Consumer {
        /// Which group.
        group: GroupId,
        /// What of it.
        record: ConsumerRecord,
    },
}

/// One change to a consumer group; `None` is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerRecord {
    /// The group's epoch. The tombstone is the end of the group.
    Group(Option<ConsumerGroupEpoch>),
    /// What a member says of itself.
    Member(MemberId, Option<ConsumerMemberMetadata>),
    /// The epoch of the target assignment: it is whole.
    TargetEpoch(Option<Epoch>),
    /// What a member shall have.
    Target(MemberId, Option<Partitions>),
    /// What a member has.
    Current(MemberId, Option<CurrentAssignment>),
    /// What a regular expression stands for.
    Regex(String, Option<ResolvedRegex>),
}

/// What a consumer committed for a partition. Durable once acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read; -1 if the client did not say.
    pub leader_epoch: i32,
    /// The client's own note; at most `offset.metadata.max.bytes`.
    pub metadata: String,
    /// When it was committed, ms since 1970.
    pub commit_timestamp_ms: i64,
    /// When it expires, if the client chose that itself (OffsetCommit 2 to 4).
    pub expire_timestamp_ms: Option<i64>,
    /// The topic that was read, if it is known: another one of the same name starts anew for whoever asks by id.
    pub topic_id: Option<TopicId>,
}

/// A generation of a group, as its leader's assignment made it. Durable before any member learns its assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMetadata {
    /// `consumer` for consumers, `connect` for Connect; empty for a group that never had a member.
    pub protocol_type: String,
    /// The generation.
    pub generation: GenerationId,
    /// The protocol (assignor) that all members share; `None` in a group without members.
    pub protocol: Option<String>,
    /// Who computes assignments; `None` in a group without members.
    pub leader: Option<MemberId>,
    /// When the group entered its state, ms since 1970; -1 if unknown. The expiry of its offsets counts from here.
    pub state_timestamp_ms: i64,
    /// The members in the order of their ids.
    pub members: Vec<MemberMetadata>,
}

/// A member as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Its id.
    pub member_id: MemberId,
    /// Its static name.
    pub instance_id: Option<InstanceId>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it connected from, with a leading slash as Java prints it.
    pub client_host: String,
    /// How long others wait for it in a rebalance, ms.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent, ms.
    pub session_timeout_ms: i32,
    /// Its metadata for the group's protocol.
    pub subscription: Bytes,
    /// What the leader assigned to it.
    pub assignment: Bytes,
}

/// A record of the topic that is not what its key says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The bytes do not follow the schema.
    #[error("a {what} in __consumer_offsets is damaged: {source}")]
    Damaged {
        /// Key or value, and of which kind.
        what: &'static str,
        /// What is wrong.
        source: DecodeError,
    },
    /// Written by a newer version.
    #[error("a {what} in __consumer_offsets has version {version}; this broker reads up to {newest}")]
    Newer {
        /// Which value.
        what: &'static str,
        /// Its version.
        version: i16,
        /// The newest that is known.
        newest: i16,
    },
}

impl GroupRecord {
    /// Key and value (`None`: tombstone) as they stand in the log.
    ///
    /// # Errors
    /// A string longer than 32,767 bytes, which no request can carry.
    pub fn encode(&self) -> Result<(Vec<u8>, Option<Vec<u8>>), EncodeError> {
        let mut key = Vec::new();
        match self {
            Self::Offset {
                group,
                topic,
                partition,
                offset,
            } => {
                key.put_i16(OFFSET_KEY);
                key.put_string(false, Some(group.as_str()))?;
                key.put_string(false, Some(topic))?;
                key.put_i32(*partition);
                Ok((key, offset.as_ref().map(CommittedOffset::encode).transpose()?))
            }
            Self::Group { group, metadata } => {
                key.put_i16(GROUP_KEY);
                key.put_string(false, Some(group.as_str()))?;
                Ok((key, metadata.as_ref().map(GroupMetadata::encode).transpose()?))
            }
            Self::Consumer { group, record } => record.encode(group),
        }
    }

    /// The record with that key and value; `None` if the key is of a kind that this coordinator does not keep.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, RecordError> {
        let damaged = |source| RecordError::Damaged { what: "key", source };
        let mut r = Reader::new(key);
        match r.i16().map_err(damaged)? {
            0 | OFFSET_KEY => {
                let (group, topic, partition) = decode_offset_key(&mut r).map_err(damaged)?;
                let offset = value.map(CommittedOffset::decode).transpose()?;
                Ok(Some(Self::Offset {
                    group,
                    topic,
                    partition,
                    offset,
                }))
            }
            GROUP_KEY => {
                let group = name(&mut r, false, "group").map_err(damaged)?;
                let metadata = value.map(GroupMetadata::decode).transpose()?;
                Ok(Some(Self::Group { group, metadata }))
            }
            kind if consumer::KEYS.contains(&kind) => {
                let record = ConsumerRecord::decode(kind, &mut r, value)?;
                Ok(record.map(|(group, record)| Self::Consumer { group, record }))
            }
            _ => Ok(None),
        }
    }

    /// The end of a classic group.
    pub(crate) fn tombstone_of(group: &GroupId) -> Self {
        Self::Group {
            group: group.clone(),
            metadata: None,
        }
    }

    /// The group that it speaks of.
    pub fn group(&self) -> &GroupId {
        let (Self::Offset { group, .. } | Self::Group { group, .. } | Self::Consumer { group, .. }) = self;
        group
    }
}

impl CommittedOffset {
    fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Vec::new();
        if let Some(expire_timestamp_ms) = self.expire_timestamp_ms {
            // Version 1 has no room for the leader epoch; Kafka drops it in the same case.
            w.put_i16(OFFSET_VALUE_WITH_EXPIRY);
            w.put_i64(self.offset);
            w.put_string(false, Some(&self.metadata))?;
            w.put_i64(self.commit_timestamp_ms);
            w.put_i64(expire_timestamp_ms);
        } else if let Some(TopicId(topic_id)) = self.topic_id {
            w.put_i16(OFFSET_VALUE_WITH_TOPIC_ID);
            w.put_i64(self.offset);
            w.put_i32(self.leader_epoch);
            w.put_string(true, Some(&self.metadata))?;
            w.put_i64(self.commit_timestamp_ms);
            w.put_tagged_fields(&[(TOPIC_ID_TAG, topic_id.as_bytes().to_vec())]);
        } else {
            w.put_i16(OFFSET_VALUE);
            w.put_i64(self.offset);
            w.put_i32(self.leader_epoch);
            w.put_string(false, Some(&self.metadata))?;
            w.put_i64(self.commit_timestamp_ms);
        }
        Ok(w)
    }

    fn decode(value: &[u8]) -> Result<Self, RecordError> {
        const WHAT: &str = "offset";
        let mut r = Reader::new(value);
        let version = version(&mut r, WHAT)?;
        let flexible = version >= FLEXIBLE_VALUE;
        let mut read = || {
            let offset = r.i64()?;
            let leader_epoch = if version >= 3 { r.i32()? } else { -1 };
            let metadata = not_null(r.string(flexible)?, "metadata")?;
            let commit_timestamp_ms = r.i64()?;
            let expire_timestamp_ms = if version == OFFSET_VALUE_WITH_EXPIRY {
                Some(r.i64()?).filter(|&at| at != -1)
            } else {
                None
            };
            let mut topic_id = None;
            if flexible {
                r.tagged_fields(|tag, r| {
                    if tag == TOPIC_ID_TAG {
                        topic_id = Some(TopicId(r.uuid()?)).filter(|TopicId(id)| !id.is_nil());
                    }
                    Ok(tag == TOPIC_ID_TAG)
                })?;
            }
            Ok(Self {
                offset,
                leader_epoch,
                metadata,
                commit_timestamp_ms,
                expire_timestamp_ms,
                topic_id,
            })
        };
        read().map_err(|source| RecordError::Damaged { what: WHAT, source })
    }
}

impl GroupMetadata {
    fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Vec::new();
        w.put_i16(GROUP_VALUE);
        w.put_string(false, Some(&self.protocol_type))?;
        w.put_i32(self.generation.0);
        w.put_string(false, self.protocol.as_deref())?;
        w.put_string(false, self.leader.as_ref().map(MemberId::as_str))?;
        w.put_i64(self.state_timestamp_ms);
        w.put_array(false, Some(&self.members), |w, member| member.encode(w))?;
        Ok(w)
    }

    fn decode(value: &[u8]) -> Result<Self, RecordError> {
        const WHAT: &str = "group";
        let mut r = Reader::new(value);
        let version = version(&mut r, WHAT)?;
        let flexible = version >= FLEXIBLE_VALUE;
        let mut read = || {
            let metadata = Self {
                protocol_type: not_null(r.string(flexible)?, "protocolType")?,
                generation: GenerationId(r.i32()?),
                protocol: r.string(flexible)?,
                leader: r.str(flexible)?.map(MemberId::from),
                state_timestamp_ms: if version >= 2 { r.i64()? } else { -1 },
                members: not_null(
                    r.array(flexible, MemberMetadata::MIN_SIZE, |r| {
                        MemberMetadata::decode(r, version)
                    })?,
                    "members",
                )?,
            };
            if flexible {
                r.skip_tagged_fields()?;
            }
            Ok(metadata)
        };
        read().map_err(|source| RecordError::Damaged { what: WHAT, source })
    }
}

impl MemberMetadata {
    /// Four strings or bytes of compact length zero and a timeout: no member takes less.
    const MIN_SIZE: usize = 9;

    fn encode(&self, w: &mut Vec<u8>) -> Result<(), EncodeError> {
        w.put_string(false, Some(self.member_id.as_str()))?;
        w.put_string(false, self.instance_id.as_ref().map(InstanceId::as_str))?;
        w.put_string(false, Some(&self.client_id))?;
        w.put_string(false, Some(&self.client_host))?;
        w.put_i32(self.rebalance_timeout_ms);
        w.put_i32(self.session_timeout_ms);
        w.put_bytes(false, Some(&self.subscription))?;
        w.put_bytes(false, Some(&self.assignment))
    }

    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= FLEXIBLE_VALUE;
        let member_id = name(r, flexible, "memberId")?;
        let instance_id = if version >= 3 {
            r.str(flexible)?.map(InstanceId::from)
        } else {
            None
        };
        let client_id = not_null(r.string(flexible)?, "clientId")?;
        let client_host = not_null(r.string(flexible)?, "clientHost")?;
        let rebalance_timeout_ms = if version >= 1 { r.i32()? } else { -1 };
        let session_timeout_ms = r.i32()?;
        let subscription = not_null(r.bytes(flexible)?, "subscription")?;
        let assignment = not_null(r.bytes(flexible)?, "assignment")?;
        if flexible {
            r.skip_tagged_fields()?;
        }
        Ok(Self {
            member_id,
            instance_id,
            client_id,
            client_host,
            // Version 0 knew one timeout for both.
            rebalance_timeout_ms: if rebalance_timeout_ms == -1 {
                session_timeout_ms
            } else {
                rebalance_timeout_ms
            },
            session_timeout_ms,
            subscription,
            assignment,
        })
    }
}

fn decode_offset_key(r: &mut Reader<'_>) -> Result<(GroupId, String, i32), DecodeError> {
    let group = name(r, false, "group")?;
    let topic = not_null(r.string(false)?, "topic")?;
    Ok((group, topic, r.i32()?))
}

fn name<T: for<'a> From<&'a str>>(r: &mut Reader<'_>, flexible: bool, field: &'static str) -> Result<T, DecodeError> {
    Ok(T::from(not_null(r.str(flexible)?, field)?))
}

fn version(r: &mut Reader<'_>, what: &'static str) -> Result<i16, RecordError> {
    match r.i16() {
        Ok(version @ 0..=FLEXIBLE_VALUE) => Ok(version),
        Ok(version) => Err(RecordError::Newer {
            what,
            version,
            newest: FLEXIBLE_VALUE,
        }),
        Err(source) => Err(RecordError::Damaged { what, source }),
    }
}

#[cfg(test)]
mod tests;
