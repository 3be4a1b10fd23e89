//! Newtypes for every id, epoch and offset, so that comparing two of different kinds does not compile.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind}: expected {expected}")]
pub struct IdError {
    /// What the text was found to be.
    pub text: String,
    /// The id that was wanted, as a noun.
    pub kind: &'static str,
    /// The form that the id has.
    pub expected: &'static str,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub Uuid);

        impl $name {
            /// An id from 16 random bytes (version 4, as in Kafka).
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }

            /// The id as a plain UUID, for a wire format.
            pub fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(value: Uuid) -> Self {
                Self(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0.as_bytes()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Reads the 22 characters that `Display` writes, or the hyphenated form of a UUID.
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_uuid(text).map(Self).ok_or_else(|| IdError {
                    text: text.chars().take(64).collect(),
                    kind: stringify!($name),
                    expected: "22 characters of base64url or a UUID",
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

number! {
    /// A broker's id: the pod's ordinal on Kubernetes. Never negative.
    BrokerId(i32)
}
number! {
    /// A partition's number within its topic, from 0.
    PartitionIndex(i32)
}
number! {
    /// +1 on every change of a partition's leader and when a replica leaves its set (METADATA 14).
    LeaderEpoch(i32)
}
number! {
    /// +1 on every change of a partition (METADATA 14).
    PartitionEpoch(i32)
}
number! {
    /// Names one registration of a broker: the metadata offset of its `BrokerRegistered`.
    BrokerEpoch(i64)
}
number! {
    /// +1 at each change of the controller (METADATA 1).
    ControllerEpoch(i64)
}
number! {
    /// A record's place in the metadata log, from 0 for the life of the cluster.
    MetadataOffset(i64)
}
number! {
    /// An idempotent producer's id; never given twice.
    ProducerId(i64)
}
random_id! {
    /// A topic's id; another one when the topic is created again. Displays as Kafka's 22 characters.
    TopicId
}
random_id! {
    /// A data directory's id, drawn when it was formatted: tells a lost volume from a restart.
    DirectoryId
}
random_id! {
    /// One start of one broker process.
    IncarnationId
}
random_id! {
    /// One unbroken history of the metadata log.
    Lineage
}
random_id! {
    /// Drawn by each `ControllerElected`: tells two controllers of one epoch apart, should that ever happen.
    Nonce
}

impl MetadataOffset {
    /// The offset before the first record.
    pub const NONE: Self = Self(-1);

    /// The offset after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl LeaderEpoch {
    /// The epoch after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl PartitionEpoch {
    /// The epoch after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl ControllerEpoch {
    /// The epoch after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A cluster's id: 22 characters of base64url, as Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ClusterId(String);

impl ClusterId {
    /// A cluster id from 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(TopicId::from_random(bytes).to_string())
    }

    /// The id's 22 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ClusterId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.len() == 22 && text.chars().all(legal) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdError {
            text: text.chars().take(64).collect(),
            kind: "ClusterId",
            expected: "22 characters of base64url",
        })
    }
}

impl<'de> Deserialize<'de> for ClusterId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The name of a consumer group: any text but the empty one. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// `None` for the empty text.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for GroupName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for GroupName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or("the group name is empty")
    }
}

impl From<GroupName> for String {
    fn from(name: GroupName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// A legal topic name: 1 to 249 of `[a-zA-Z0-9._-]`, neither `.` nor `..` (Kafka's `Topic.validate`). Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a text is not a topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// Nothing was given.
    #[error("the topic name is empty")]
    Empty,
    /// `.` and `..` would be directories.
    #[error("the topic name must not be \".\" or \"..\"")]
    Dots,
    /// Longer than a directory name allows.
    #[error("the topic name is {0} characters long, the limit is {max}", max = TopicName::MAX_LENGTH)]
    TooLong(usize),
    /// A character outside the legal set.
    #[error("the topic name {0:?} has a character other than letters, digits, '.', '_' and '-'")]
    IllegalCharacter(String),
}

impl TopicName {
    /// Kafka's limit: `<name>-<partition>` must be a legal directory name.
    pub const MAX_LENGTH: usize = 249;

    /// Checks Kafka's rules.
    pub fn new(text: &str) -> Result<Self, TopicNameError> {
        if text.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if text == "." || text == ".." {
            return Err(TopicNameError::Dots);
        }
        // Characters before length: a wrong one is the more useful thing to say of a long text.
        if !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        {
            return Err(TopicNameError::IllegalCharacter(
                text.chars().take(Self::MAX_LENGTH).collect(),
            ));
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(TopicNameError::TooLong(text.len()));
        }
        Ok(Self(Arc::from(text)))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether two names are the same but for `.` and `_`: such topics would share metric names (Kafka's
    /// `Topic.hasCollision`).
    pub fn collides_with(&self, other: &Self) -> bool {
        let unified = |byte: u8| if byte == b'.' { b'_' } else { byte };
        self.0.len() == other.0.len()
            && self
                .0
                .bytes()
                .zip(other.0.bytes())
                .all(|(a, b)| unified(a) == unified(b))
    }

    /// Whether Kafka treats the topic as internal.
    pub fn is_internal(&self) -> bool {
        matches!(
            self.as_str(),
            "__consumer_offsets" | "__transaction_state" | "__share_group_state"
        )
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicName {
    type Err = TopicNameError;

    fn from_str(text: &str) -> Result<Self, TopicNameError> {
        Self::new(text)
    }
}

impl Serialize for TopicName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TopicName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn parse_uuid(text: &str) -> Option<Uuid> {
    if text.len() == 22 {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        return Uuid::from_slice(&bytes).ok();
    }
    if text.len() == 36 {
        Uuid::try_parse(text).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_reads_back_from_its_22_characters_and_from_hyphens() {
        let id = TopicId::from_random([7; 16]);
        assert_eq!(id.to_string().len(), 22);
        assert_eq!(id.to_string().parse::<TopicId>(), Ok(id));
        assert_eq!(id.0.hyphenated().to_string().parse::<TopicId>(), Ok(id));
        assert!("short".parse::<TopicId>().is_err());
        assert!("!!!!!!!!!!!!!!!!!!!!!!".parse::<TopicId>().is_err());
    }

    #[test]
    fn topic_names_follow_kafkas_rules() {
        assert!(TopicName::new("a.b_c-D9").is_ok());
        assert!(TopicName::new(&"x".repeat(249)).is_ok());
        assert_eq!(TopicName::new(&"x".repeat(250)), Err(TopicNameError::TooLong(250)));
        assert_eq!(TopicName::new(""), Err(TopicNameError::Empty));
        assert_eq!(TopicName::new(".."), Err(TopicNameError::Dots));
        assert!(matches!(
            TopicName::new("a/b"),
            Err(TopicNameError::IllegalCharacter(_))
        ));
        assert!(matches!(
            TopicName::new("Käfer"),
            Err(TopicNameError::IllegalCharacter(_))
        ));
    }

    #[test]
    fn a_cluster_id_is_22_characters() {
        let id = ClusterId::from_random([3; 16]);
        assert_eq!(id.as_str().parse::<ClusterId>(), Ok(id.clone()));
        assert!("x".parse::<ClusterId>().is_err());
    }
}
