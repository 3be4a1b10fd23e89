//! Committed metadata as it arrives: an opening, then a snapshot or records, without gap and never back.

use std::time::Duration;

use model::{MetadataImage, MetadataOffset};
use tonic::{Status, Streaming};

use crate::convert::{self, ContractError};
use crate::error::ControlError;
use crate::guard::{GuardError, StreamGuard};
use crate::messages::{MetadataEvent, Opening, Position};
use crate::proto::watch_metadata_response::Part;
use crate::proto::{SnapshotChunk, WatchMetadataResponse};
use crate::refusal::Refusal;

/// How long the opening may take once the stream is accepted: it is the first thing that a controller sends.
const OPENING: Duration = Duration::from_secs(5);

/// The largest image that is taken, in bytes: about a million partitions.
const LARGEST_IMAGE: usize = 512 * 1024 * 1024;

/// A metadata stream that its guard has admitted.
#[derive(Debug)]
pub struct MetadataStream {
    parts: Streaming<WatchMetadataResponse>,
    opening: Opening,
    /// The last record that was handed out; `None` until there was any.
    at: Option<(model::Lineage, MetadataOffset)>,
    assembling: Option<Assembly>,
}

/// A snapshot of which some chunks are here. Holds no more than what has been received.
#[derive(Debug)]
struct Assembly {
    offset: MetadataOffset,
    count: usize,
    chunks: Vec<String>,
    bytes: usize,
}

impl MetadataStream {
    pub(crate) async fn open(
        mut parts: Streaming<WatchMetadataResponse>,
        position: Option<Position>,
        guard: &mut StreamGuard,
    ) -> Result<Self, ControlError> {
        let first = match tokio::time::timeout(OPENING, parts.message()).await {
            Ok(first) => first.map_err(|status| lost(&status))?,
            Err(_) => return Err(broken(format!("no opening within {OPENING:?}"))),
        };
        let Some(WatchMetadataResponse {
            part: Some(Part::Opening(opening)),
        }) = first
        else {
            return Err(ContractError::Order("it does not begin with an opening".to_owned()).into());
        };
        let opening = Opening::try_from(opening)?;
        // METADATA 7: durable before the first record is taken.
        guard.admit(&opening)?;
        let at = position.map(|position| (position.lineage, position.offset));
        Ok(Self {
            parts,
            opening,
            at,
            assembling: None,
        })
    }

    /// Who serves this stream, and how far its log went when the stream began.
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The next piece of metadata. `Ok(None)` when the controller closed the stream: open another one.
    pub async fn next(&mut self) -> Result<Option<MetadataEvent>, ControlError> {
        loop {
            let Some(message) = self.parts.message().await.map_err(|status| lost(&status))? else {
                return Ok(None);
            };
            match message.part {
                Some(Part::Frames(frames)) => return self.take_frames(&frames).map(Some),
                Some(Part::Snapshot(chunk)) => {
                    if let Some(image) = self.take_chunk(chunk)? {
                        return Ok(Some(MetadataEvent::Snapshot(image)));
                    }
                }
                // Between any two messages, as it has no place in the history.
                Some(Part::Suspicion(suspicion)) => return Ok(Some(MetadataEvent::Suspicion(suspicion.try_into()?))),
                Some(Part::Opening(_)) => {
                    return Err(ContractError::Order("a second opening".to_owned()).into());
                }
                // A part of a later version. Metadata cannot be skipped (METADATA 9).
                None => return Err(ContractError::Missing("part").into()),
            }
        }
    }

    fn take_frames(&mut self, frames: &crate::proto::Frames) -> Result<MetadataEvent, ControlError> {
        if self.assembling.is_some() {
            return Err(ContractError::Order("records inside a snapshot".to_owned()).into());
        }
        let frames = convert::frames(frames)?;
        for frame in &frames {
            let expected = match self.at {
                Some((lineage, offset)) if lineage == self.opening.identity.lineage => offset.next(),
                // Another history cannot be continued with records, only begun.
                _ => MetadataOffset(0),
            };
            if frame.offset != expected {
                let offered = format!("record {} where {expected} follows", frame.offset);
                return Err(self.back(offered).into());
            }
            self.at = Some((self.opening.identity.lineage, frame.offset));
        }
        Ok(MetadataEvent::Frames(frames))
    }

    fn take_chunk(&mut self, chunk: SnapshotChunk) -> Result<Option<MetadataImage>, ControlError> {
        let offset = MetadataOffset(chunk.offset);
        let assembly = self.assembling.get_or_insert_with(|| Assembly {
            offset,
            count: chunk.count as usize,
            chunks: Vec::new(),
            bytes: 0,
        });
        let follows = offset == assembly.offset
            && chunk.count as usize == assembly.count
            && chunk.index as usize == assembly.chunks.len();
        if !follows {
            let found = format!("snapshot chunk {} of {} at offset {offset}", chunk.index, chunk.count);
            return Err(ContractError::Order(found).into());
        }
        assembly.bytes += chunk.content.len();
        if assembly.bytes > LARGEST_IMAGE {
            return Err(ContractError::Order(format!("a snapshot above {LARGEST_IMAGE} bytes")).into());
        }
        assembly.chunks.push(chunk.content);
        if assembly.chunks.len() < assembly.count {
            return Ok(None);
        }
        let chunks = self
            .assembling
            .take()
            .map(|assembly| assembly.chunks)
            .unwrap_or_default();
        self.take_image(offset, &chunks).map(Some)
    }

    fn take_image(&mut self, offset: MetadataOffset, chunks: &[String]) -> Result<MetadataImage, ControlError> {
        let image = model::snapshot::decode(chunks).map_err(ContractError::from)?;
        let lineage = image.lineage();
        if lineage != self.opening.identity.lineage || image.offset() != offset {
            let found = format!(
                "an image of lineage {lineage} at {} was sent for {offset}",
                image.offset()
            );
            return Err(ContractError::Order(found).into());
        }
        // METADATA 7: within a lineage never an image at a lower offset.
        if let Some((held, at)) = self.at
            && held == lineage
            && offset < at
        {
            return Err(self.back(format!("image at offset {offset}")).into());
        }
        self.at = Some((lineage, offset));
        Ok(image)
    }

    fn back(&self, offered: String) -> GuardError {
        let at = self.at.map_or(MetadataOffset::NONE, |(_, offset)| offset);
        GuardError::Back { offered, at }
    }
}

fn lost(status: &Status) -> ControlError {
    match Refusal::from_status(status) {
        Some(refusal) => refusal.into(),
        None => broken(format!("{}: {}", status.code(), status.message())),
    }
}

fn broken(last: String) -> ControlError {
    ControlError::Unreachable {
        target: "the metadata stream".to_owned(),
        last,
    }
}
