//! How a request names a topic.

use uuid::Uuid;

use crate::codec::{EncodeError, Put};

/// The first version of Fetch and of Produce that names topics by id (KIP-516).
pub(crate) const FIRST_WITH_TOPIC_ID: i16 = 13;

/// A topic by name or by id: Fetch and Produce went from one to the other with version 13.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic<'a> {
    /// Its name, in versions up to 12.
    Name(&'a str),
    /// Its id, since version 13.
    Id(Uuid),
}

impl Topic<'_> {
    /// Writes the topic in the way that `version` of Fetch or Produce names it.
    pub(crate) fn put(self, w: &mut Vec<u8>, version: i16, flexible: bool) -> Result<(), EncodeError> {
        match self {
            Topic::Name(name) if version < FIRST_WITH_TOPIC_ID => w.put_string(flexible, Some(name)),
            Topic::Id(id) if version >= FIRST_WITH_TOPIC_ID => {
                w.put_uuid(id);
                Ok(())
            }
            Topic::Name(_) => Err(EncodeError::FieldNotInVersion {
                field: "topic name",
                version,
            }),
            Topic::Id(_) => Err(EncodeError::FieldNotInVersion {
                field: "topic id",
                version,
            }),
        }
    }
}
