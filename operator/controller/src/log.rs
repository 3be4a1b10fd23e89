//! What the store holds: one small document that is replaced by compare-and-swap, and snapshots beside it.

use std::fmt;
use std::str::FromStr;

use model::{ControllerEpoch, Digest, Frame, FrameError, IdError, MetadataImage, MetadataOffset, Nonce, snapshot};
use serde::{Deserialize, Serialize};

/// The first word of the document as text.
pub const MAGIC: &str = "barnabas-metadata-log";

/// The version that this build writes and reads.
pub const VERSION: u16 = 1;

/// The store's name for one state of the document (a `resourceVersion`). Opaque: only ever compared by the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreVersion(pub String);

/// Names one attempt to append; written into the document, so that a read can tell whose append came last (METADATA 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AppendId {
    /// The controller's nonce.
    pub nonce: Nonce,
    /// Counted by that controller.
    pub number: u64,
}

/// Names a snapshot: the offset that it reaches, and a random suffix (METADATA 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotName {
    /// The last record in it.
    pub offset: MetadataOffset,
    /// Keeps two controllers that write one at the same offset apart.
    pub suffix: u32,
}

/// How the log refers to its snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotRef {
    /// Its name.
    pub name: SnapshotName,
    /// How many chunks it has.
    pub chunks: u32,
    /// The digest over all of them ([`model::snapshot::digest`]).
    pub hash: Digest,
}

/// The log's one object: what is compared and swapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogDocument {
    /// The controller that wrote last. Never decreases.
    pub controller_epoch: ControllerEpoch,
    /// The append that wrote last.
    pub append_id: AppendId,
    /// Where the tail begins; `None` if it begins with the first record. Its offset never decreases.
    pub snapshot: Option<SnapshotRef>,
    /// The last record. Never decreases.
    pub end_offset: MetadataOffset,
    /// The records after the snapshot, a frame's line each.
    pub tail: Vec<String>,
}

/// A document as read, with all that is needed to fold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLog {
    /// The document.
    pub document: LogDocument,
    /// The version to replace.
    pub version: StoreVersion,
    /// The chunks of its snapshot in order; empty if there is none or if they were not asked for.
    pub chunks: Vec<String>,
}

/// Why a stored log cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Another kind of document, or changed bytes.
    #[error("metadata log is corrupt: {0}")]
    Corrupt(String),
    /// Written by a later version: upgrade.
    #[error("metadata log has version {found}, this version of Barnabas knows {known}: upgrade it")]
    UnknownVersion {
        /// The version found.
        found: u16,
        /// The version known.
        known: u16,
    },
    /// The snapshot that the log begins with is not what it was: the same case as a missing log (METADATA 24).
    #[error("snapshot {0} of the metadata log is missing or was changed")]
    SnapshotLost(String),
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] model::SnapshotError),
    /// A record of the tail cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A record of the tail does not follow.
    #[error(transparent)]
    Apply(#[from] model::ApplyError),
}

impl LogDocument {
    /// Bytes of the tail: what the limits are about (METADATA 5).
    pub fn tail_bytes(&self) -> usize {
        self.tail.iter().map(|line| line.len() + 1).sum()
    }

    /// The tail as one text, a record a line.
    pub fn tail_text(&self) -> String {
        self.tail.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    /// The tail from one text.
    pub fn split_tail(text: &str) -> Vec<String> {
        text.lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The document as a file: magic, version and digest on the first line, the rest without its tail on the second, then
    /// a record a line.
    pub fn encode(&self) -> String {
        let head = Self {
            tail: Vec::new(),
            ..self.clone()
        };
        let mut body = serde_json::to_string(&head).expect("a document holds only numbers and texts");
        body.push('\n');
        body.push_str(&self.tail_text());
        format!("{MAGIC} {VERSION} {}\n{body}", Digest::of(body.as_bytes()))
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(text: &str) -> Result<Self, DocumentError> {
        let corrupt = |what: &str| DocumentError::Corrupt(what.to_owned());
        let (first, body) = text.split_once('\n').ok_or_else(|| corrupt("it has no first line"))?;
        let mut words = first.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(DocumentError::Corrupt(format!(
                "the first line does not begin with {MAGIC:?}"
            )));
        }
        let found = words
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| corrupt("it has no version"))?;
        if found != VERSION {
            return Err(DocumentError::UnknownVersion { found, known: VERSION });
        }
        if words.next().and_then(|word| word.parse().ok()) != Some(Digest::of(body.as_bytes())) {
            return Err(corrupt("its digest is another one"));
        }
        let (head, tail) = body.split_once('\n').ok_or_else(|| corrupt("it ends early"))?;
        let head: Self = serde_json::from_str(head).map_err(|cause| DocumentError::Corrupt(cause.to_string()))?;
        Ok(Self {
            tail: Self::split_tail(tail),
            ..head
        })
    }
}

impl StoredLog {
    /// Folds snapshot and tail, checking every digest on the way (METADATA 6).
    pub fn fold(&self) -> Result<MetadataImage, DocumentError> {
        let mut image = match &self.document.snapshot {
            None => MetadataImage::empty(),
            Some(reference) => {
                // METADATA 4: the log holds count and digest; a snapshot that differs is no snapshot.
                let whole = self.chunks.len() == reference.chunks as usize;
                if !whole || snapshot::digest(&self.chunks) != reference.hash {
                    return Err(DocumentError::SnapshotLost(reference.name.to_string()));
                }
                snapshot::decode(&self.chunks)?
            }
        };
        for line in &self.document.tail {
            image.apply_frame(&Frame::from_line(line)?)?;
        }
        if image.offset() != self.document.end_offset {
            let what = format!("it ends at {} and says {}", image.offset(), self.document.end_offset);
            return Err(DocumentError::Corrupt(what));
        }
        if image.controller_epoch() > self.document.controller_epoch {
            return Err(DocumentError::Corrupt(
                "its controller epoch is below that of its records".to_owned(),
            ));
        }
        Ok(image)
    }
}

impl fmt::Display for AppendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.nonce, self.number)
    }
}

impl FromStr for AppendId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts = || {
            let (nonce, number) = text.split_once('.')?;
            Some(Self {
                nonce: nonce.parse().ok()?,
                number: number.parse().ok()?,
            })
        };
        parts().ok_or_else(|| IdError {
            text: text.chars().take(64).collect(),
            kind: "append id",
            expected: "a nonce, a dot and a number",
        })
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:08x}", self.offset.0, self.suffix)
    }
}

impl FromStr for SnapshotName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts = || {
            let (offset, suffix) = text.split_once('-')?;
            let digits = offset.len() == 20 && suffix.len() == 8;
            let name = Self {
                offset: MetadataOffset(offset.parse().ok()?),
                suffix: u32::from_str_radix(suffix, 16).ok()?,
            };
            (digits && name.offset.0 >= 0).then_some(name)
        };
        parts().ok_or_else(|| IdError {
            text: text.chars().take(64).collect(),
            kind: "snapshot name",
            expected: "20 digits, a hyphen and 8 hexadecimal digits",
        })
    }
}

macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

serde_as_text!(AppendId);
serde_as_text!(SnapshotName);
