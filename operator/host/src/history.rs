//! The last committed records, for those who come back with an image that is almost current.

use std::collections::VecDeque;

use control::{Position, Reason, Refusal};
use model::{Frame, MetadataImage};

/// Records kept at most, in bytes of their lines. Who needs more gets a snapshot.
const LIMIT_BYTES: usize = 256 * 1024;

/// The committed image and the records just before it.
#[derive(Debug)]
pub(crate) struct History {
    image: MetadataImage,
    /// Consecutive, the last one being the last in the image.
    frames: VecDeque<(Frame, usize)>,
    bytes: usize,
}

/// What somebody at a position is to be sent.
#[derive(Debug)]
pub(crate) enum Start {
    /// The image, instead of the records.
    Snapshot(MetadataImage),
    /// These records; empty if there is nothing new.
    Frames(Vec<Frame>),
}

impl History {
    /// `tail` may be any records of the log; only those that lead up to `image` without a gap are kept.
    pub(crate) fn new(image: MetadataImage, tail: Vec<Frame>) -> Self {
        let mut history = Self {
            image,
            frames: VecDeque::new(),
            bytes: 0,
        };
        let leads_up = tail.windows(2).all(|pair| pair[0].offset.next() == pair[1].offset)
            && tail.last().is_some_and(|last| {
                last.offset == history.image.offset() && last.chain_after() == history.image.chain_hash()
            });
        if leads_up {
            for frame in tail {
                history.keep(frame);
            }
        }
        history
    }

    pub(crate) fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// More was committed.
    pub(crate) fn publish(&mut self, frames: &[Frame], image: MetadataImage) {
        self.image = image;
        for frame in frames {
            self.keep(frame.clone());
        }
    }

    /// What leads from `position` to the committed image.
    pub(crate) fn start(&self, position: Option<&Position>) -> Result<Start, Refusal> {
        let Some(position) = position else {
            return Ok(Start::Snapshot(self.image.clone()));
        };
        self.check(position)?;
        let image = &self.image;
        if position.lineage != image.lineage() {
            return Ok(Start::Snapshot(image.clone()));
        }
        if position.offset == image.offset() {
            return Ok(Start::Frames(Vec::new()));
        }
        let missing: Vec<Frame> = self
            .frames
            .iter()
            .map(|(frame, _)| frame)
            .filter(|frame| frame.offset > position.offset)
            .cloned()
            .collect();
        let gapless = missing
            .first()
            .is_some_and(|first| first.offset == position.offset.next());
        Ok(if gapless {
            Start::Frames(missing)
        } else {
            Start::Snapshot(image.clone())
        })
    }

    /// METADATA 23: what a broker knows must be a prefix of the log, or a history that this log has left behind.
    pub(crate) fn check(&self, position: &Position) -> Result<(), Refusal> {
        let image = &self.image;
        if position.controller_epoch > image.controller_epoch() {
            return Err(regressed(position, image, "it has obeyed a later controller"));
        }
        if position.lineage != image.lineage() {
            // A rebuilt log begins above every epoch and offset ever seen (METADATA 24).
            let left_behind = position.controller_epoch < image.controller_epoch() && position.offset < image.offset();
            return if left_behind {
                Ok(())
            } else {
                Err(regressed(position, image, "it knows another lineage"))
            };
        }
        if position.offset > image.offset() {
            return Err(regressed(position, image, "it knows later records"));
        }
        let chain = if position.offset == image.offset() {
            Some(image.chain_hash())
        } else {
            let next = position.offset.next();
            self.frames
                .iter()
                .find(|(frame, _)| frame.offset == next)
                .map(|(frame, _)| frame.chain_hash)
        };
        // Older records are in the snapshot only: it takes the broker forward within the same lineage.
        match chain {
            Some(chain) if chain != position.chain_hash => Err(regressed(position, image, "it knows other records")),
            _ => Ok(()),
        }
    }

    fn keep(&mut self, frame: Frame) {
        let size = frame.to_line().len();
        self.bytes += size;
        self.frames.push_back((frame, size));
        while self.bytes > LIMIT_BYTES {
            let Some((_, size)) = self.frames.pop_front() else {
                break;
            };
            self.bytes -= size;
        }
    }
}

fn regressed(position: &Position, image: &MetadataImage, what: &str) -> Refusal {
    let message = format!(
        "the metadata log (lineage {}, epoch {}, offset {}) is not what the broker knows (lineage {}, epoch {}, \
         offset {}): {what}",
        image.lineage(),
        image.controller_epoch(),
        image.offset(),
        position.lineage,
        position.controller_epoch,
        position.offset,
    );
    Refusal::new(Reason::Regressed, message)
}

#[cfg(test)]
mod tests;
