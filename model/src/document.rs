//! The image on a broker's disk: what it restarts from, and what it must not go back behind (METADATA 7, 8).
//!
//! A text file: one line with magic, version and a digest, one line with the highest identity seen, the lines of a
//! snapshot, then a line per record applied since. Rewriting all of it makes it compact; appending a frame's line is
//! enough to persist a record. What a crash left of the last append was never acted on, so it is dropped.

use std::fmt::Write as _;

use crate::ApplyError;
use crate::digest::Digest;
use crate::frame::Frame;
use crate::frame_error::FrameError;
use crate::image::{LogIdentity, MetadataImage};
use crate::snapshot::{self, SnapshotError};

/// The first word of the file.
pub const MAGIC: &str = "barnabas-metadata-image";

/// The version that this build writes and reads.
pub const VERSION: u16 = 1;

/// The contents of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDocument {
    /// The highest controller ever followed, persisted before any of its records (METADATA 7).
    pub seen: LogIdentity,
    /// The image; empty before the first snapshot came.
    pub image: MetadataImage,
}

/// Why a file is not an image document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Another kind of file, or nothing at all.
    #[error("not a metadata image: the first line does not begin with {MAGIC:?}")]
    Foreign,
    /// Written by a later version: upgrade.
    #[error("metadata image has version {found}, this version of Barnabas knows {known}: upgrade it")]
    UnknownVersion {
        /// The version found.
        found: String,
        /// The version known.
        known: u16,
    },
    /// Changed bytes: remove the file and fetch a snapshot from the controller.
    #[error("metadata image is corrupt: {0}")]
    Corrupt(String),
    /// The snapshot in it.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A record after the snapshot cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A record after the snapshot does not follow.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl ImageDocument {
    /// The whole file: replace the old one by it atomically (write aside, fsync, rename, fsync the directory).
    pub fn encode(&self) -> Vec<u8> {
        let mut body = serde_json::to_string(&self.seen).expect("an identity is three plain values");
        body.push('\n');
        let chunks = snapshot::encode(&self.image);
        let lines = chunks.len();
        for chunk in chunks {
            body.push_str(&chunk);
            body.push('\n');
        }
        let mut text = String::with_capacity(body.len() + 80);
        let _ = writeln!(text, "{MAGIC} {VERSION} {lines} {}", Digest::of(body.as_bytes()));
        text.push_str(&body);
        text.into_bytes()
    }

    /// What to append to the file, and fsync, to persist a record before acting on it (METADATA 8).
    pub fn encode_frame(frame: &Frame) -> Vec<u8> {
        let mut line = frame.to_line().into_bytes();
        line.push(b'\n');
        line
    }

    /// Reads the file. Also gives how many of its bytes count: what follows them is left of an append that was torn, to be
    /// cut off before anything is appended.
    ///
    /// One append may hold several records, and a power loss may keep its later blocks without its earlier ones: then the
    /// file ends with whole lines behind one that cannot be read. So the first such line ends the file.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), DocumentError> {
        let mut lines = Lines { bytes, at: 0 };
        let first = lines.next_line()?.ok_or(DocumentError::Foreign)?;
        let mut words = first.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(DocumentError::Foreign);
        }
        let version = words.next().unwrap_or_default();
        if version != VERSION.to_string() {
            return Err(DocumentError::UnknownVersion {
                found: version.chars().take(16).collect(),
                known: VERSION,
            });
        }
        let corrupt = |what: &str| DocumentError::Corrupt(what.to_owned());
        let count: usize = words
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| corrupt("no line count"))?;
        let expected: Digest = words
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| corrupt("no digest"))?;
        let body = lines.at;
        let seen = lines.next_line()?.ok_or_else(|| corrupt("it ends early"))?;
        let mut chunks = Vec::new();
        while chunks.len() < count {
            chunks.push(lines.next_line()?.ok_or_else(|| corrupt("it ends early"))?);
        }
        if Digest::of(&bytes[body..lines.at]) != expected {
            return Err(corrupt("its digest is another one"));
        }
        let seen = serde_json::from_str(seen).map_err(|cause| DocumentError::Corrupt(cause.to_string()))?;
        let mut image = snapshot::decode(&chunks)?;
        let mut valid = lines.at;
        while let Ok(Some(line)) = lines.next_line() {
            match Frame::from_line(line) {
                Ok(frame) => image.apply_frame(&frame)?,
                Err(FrameError::Malformed { .. }) => break,
                // METADATA 9: of a later version, not damage.
                Err(unknown) => return Err(unknown.into()),
            }
            valid = lines.at;
        }
        Ok((Self { seen, image }, valid))
    }
}

/// Whole lines only: what comes after the last line end is torn.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Result<Option<&'a str>, DocumentError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        self.at += end + 1;
        let text = std::str::from_utf8(&rest[..end]);
        text.map(Some)
            .map_err(|_| DocumentError::Corrupt("it is not text".to_owned()))
    }
}

#[cfg(test)]
mod tests;
