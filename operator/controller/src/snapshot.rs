//! When the tail has grown, the image is stored beside the log and the tail is cut (METADATA 4).
//!
//! Three steps, each after the one before is known to be done: the chunks are written under a name of their own; one
//! append moves the log's snapshot to it; the log is read back, and only what lies below the offset read there is deleted.
//! A crash in between leaves garbage that a later round removes, never a log without its snapshot.

use std::time::Duration;

use model::snapshot;

use crate::append::Appender;
use crate::effect::Effect;
use crate::entropy::Entropy;
use crate::input::ReadId;
use crate::log::{SnapshotName, SnapshotRef, StoredLog};

/// A tail above this is cut.
pub const SNAPSHOT_AT_BYTES: usize = 32 * 1024;

const RETRY: Duration = Duration::from_secs(1);

/// Where the round stands.
#[derive(Debug)]
pub(crate) enum Snapshots {
    /// The tail is short; or, after a failure, no new round begins before this time.
    Resting(Duration),
    /// Its chunks are being stored.
    Writing(SnapshotRef),
    /// The append that refers to it is on its way.
    Cutting(SnapshotName),
    /// The log is being read back.
    Checking(SnapshotName, ReadId),
}

impl Snapshots {
    pub(crate) fn new() -> Self {
        Self::Resting(Duration::ZERO)
    }

    /// Goes on where something has been committed or time has passed.
    pub(crate) fn pump(&mut self, now: Duration, log: &mut Appender, entropy: &mut Entropy, effects: &mut Vec<Effect>) {
        match self {
            Self::Resting(until) if log.tail_bytes() > SNAPSHOT_AT_BYTES => {
                if now < *until {
                    effects.push(Effect::WakeAt(*until));
                    return;
                }
                let image = log.committed();
                let name = SnapshotName {
                    offset: image.offset(),
                    suffix: entropy.draw_u32(),
                };
                let chunks = snapshot::encode(image);
                let reference = SnapshotRef {
                    name,
                    chunks: chunks.len() as u32,
                    hash: snapshot::digest(&chunks),
                };
                effects.push(Effect::WriteSnapshot { name, chunks });
                *self = Self::Writing(reference);
            }
            Self::Cutting(name) if log.snapshot().is_some_and(|snapshot| snapshot.name == *name) => {
                let name = *name;
                let id = log.next_read();
                effects.push(Effect::Read {
                    id,
                    with_snapshot: false,
                });
                *self = Self::Checking(name, id);
            }
            _ => {}
        }
    }

    pub(crate) fn written(&mut self, name: SnapshotName, log: &mut Appender) {
        if let Self::Writing(reference) = self
            && reference.name == name
        {
            log.cut_at(reference.clone());
            *self = Self::Cutting(name);
        }
    }

    pub(crate) fn failed(&mut self, now: Duration, name: SnapshotName) {
        if matches!(self, Self::Writing(reference) if reference.name == name) {
            *self = Self::Resting(now + RETRY);
        }
    }

    pub(crate) fn read_done(&mut self, now: Duration, id: ReadId, log: Option<&StoredLog>, effects: &mut Vec<Effect>) {
        let Self::Checking(name, awaited) = self else { return };
        if *awaited != id {
            return;
        }
        // METADATA 3, 4: deleting cannot be taken back, so it follows what the log itself says, not what we wrote.
        let found = log.and_then(|log| log.document.snapshot.as_ref());
        if found.is_some_and(|snapshot| snapshot.name == *name) {
            effects.push(Effect::DeleteSnapshotsBelow { name: *name });
        }
        *self = Self::Resting(now);
    }

    pub(crate) fn read_failed(&mut self, now: Duration, id: ReadId) {
        if matches!(self, Self::Checking(_, awaited) if *awaited == id) {
            // The older snapshots stay until the next round: garbage, nothing worse.
            *self = Self::Resting(now + RETRY);
        }
    }
}
