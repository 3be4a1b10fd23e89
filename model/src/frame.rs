//! A record with its place in the log and the digests that prove the fold (METADATA 6).
//!
//! A frame is one line of compact JSON, everywhere: in the tail of the metadata log, on the wire to brokers, on their
//! disks. The chain digest is taken over those bytes, so whoever passes frames on passes the line.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::frame_error::FrameError;
use crate::ids::MetadataOffset;
use crate::record::Record;

/// A record in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The record's offset.
    pub offset: MetadataOffset,
    /// The record.
    pub record: Record,
    /// Digest of the image after the record.
    pub image_hash: Digest,
    /// Chain digest of the record before; [`Digest::ZERO`] before the first.
    pub chain_hash: Digest,
}

#[derive(Serialize)]
struct LineOut<'a> {
    offset: MetadataOffset,
    record: &'a str,
    version: u16,
    hash: Digest,
    chain: Digest,
    data: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineIn<'a> {
    offset: MetadataOffset,
    record: String,
    version: u16,
    hash: Digest,
    chain: Digest,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Frame {
    /// The frame as one line of JSON, without a line end. The same frame always gives the same bytes.
    pub fn to_line(&self) -> String {
        let line = || {
            serde_json::to_string(&LineOut {
                offset: self.offset,
                record: self.record.kind(),
                version: self.record.version(),
                hash: self.image_hash,
                chain: self.chain_hash,
                data: self.record.encode_data()?,
            })
        };
        line().expect("records hold only what JSON can: text keys, numbers, lists")
    }

    /// Reads what [`Self::to_line`] wrote.
    pub fn from_line(line: &str) -> Result<Self, FrameError> {
        let parsed: LineIn<'_> = serde_json::from_str(line).map_err(|cause| FrameError::Malformed {
            what: "line",
            cause: cause.to_string(),
        })?;
        Ok(Self {
            offset: parsed.offset,
            record: Record::decode_data(&parsed.record, parsed.version, parsed.data)?,
            image_hash: parsed.hash,
            chain_hash: parsed.chain,
        })
    }

    /// The chain digest of this frame: what the next one carries. It covers the line, and by it all lines before.
    pub fn chain_after(&self) -> Digest {
        Digest::of(self.to_line().as_bytes())
    }
}

#[cfg(test)]
mod tests;
