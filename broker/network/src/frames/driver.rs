//! Feeds an assembly as a connection does, without a network: for the tests and the fuzz target.

// A broken promise is a panic here: that is what a test is.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use super::{Assembly, BadLength, Bounds, Handed};
#[cfg(feature = "fuzzing")]
use super::{LEAST_BUFFER, PREFIX, declared};
use crate::budget::MemoryBudget;
use crate::{Frame, NetworkMetrics};

pub(super) const LIMIT: usize = 1 << 20;
/// A small scratch, so that small inputs meet its end.
pub(super) const SCRATCH: usize = 16 << 10;

/// Does what a connection does, with the network replaced by pieces of `wire`.
pub(super) struct Reader {
    pub(super) assembly: Assembly,
    scratch: Vec<u8>,
    budget: MemoryBudget,
    pub(super) metrics: Arc<NetworkMetrics>,
    pub(super) frames: Vec<Vec<u8>>,
    /// After so many frames the handler asks for a pause, again and again.
    pause_every: usize,
}

impl Reader {
    pub(super) fn new() -> Self {
        let metrics = Arc::new(NetworkMetrics::new(Vec::new(), 1));
        Self {
            assembly: Assembly::default(),
            scratch: vec![0; SCRATCH],
            budget: MemoryBudget::new(64 << 20, Arc::clone(&metrics)),
            metrics,
            frames: Vec::new(),
            pause_every: usize::MAX,
        }
    }

    pub(super) fn pausing(pause_every: usize) -> Self {
        Self {
            pause_every,
            ..Self::new()
        }
    }

    pub(super) fn receive(&mut self, mut wire: &[u8]) -> Result<(), BadLength> {
        let (pause_every, mut taken) = (self.pause_every, 0);
        let frames = &mut self.frames;
        let mut hand_over = |offered: &mut [Frame<'_>]| {
            let mut handled = 0;
            for frame in offered.iter() {
                if taken >= pause_every {
                    taken = 0;
                    return Handed { handled, stop: true };
                }
                frames.push(frame.to_vec());
                taken += 1;
                handled += 1;
            }
            Handed { handled, stop: false }
        };
        let bounds = Bounds {
            limit: LIMIT,
            limit_of: &|_| LIMIT,
            budget: &self.budget,
        };
        while !wire.is_empty() || self.assembly.stopped() {
            if self.assembly.stopped() {
                self.assembly.resume(bounds, &mut hand_over)?;
            } else if let Some(large) = self.assembly.large() {
                let Ok((buffer, room)) = large.room() else {
                    panic!("the budget is ample")
                };
                let piece = wire.split_off(..room.min(wire.len())).unwrap();
                buffer.extend_from_slice(piece);
                self.assembly.finish_large(&mut hand_over);
            } else {
                let headroom = self.assembly.headroom();
                let count = wire.len().min(SCRATCH - headroom);
                let piece = wire.split_off(..count).unwrap();
                let received = &mut self.scratch[..headroom + count];
                received[headroom..].copy_from_slice(piece);
                self.assembly.receive(received, bounds, &mut hand_over)?;
            }
        }
        Ok(())
    }
}

/// Receives `wire` in pieces of `step` bytes and compares the frames with a look at the whole.
#[cfg(feature = "fuzzing")]
pub(crate) fn check(step: usize, pause_every: usize, wire: &[u8]) {
    let mut expected = Vec::new();
    let mut rest = wire;
    let bad = loop {
        match declared(rest, LIMIT) {
            Err(bad) => break Some(bad),
            Ok(Some(length)) if rest.len() >= PREFIX + length => {
                expected.push(rest[PREFIX..PREFIX + length].to_vec());
                rest = &rest[PREFIX + length..];
            }
            Ok(_) => break None,
        }
    };
    let mut reader = Reader::pausing(pause_every);
    let mut received = 0;
    let mut failed = None;
    for piece in wire.chunks(step) {
        received += piece.len();
        if let Err(bad) = reader.receive(piece) {
            failed = Some(bad);
            break;
        }
        assert!(reader.assembly.kept() <= received);
        assert!(reader.metrics.receiving_bytes() <= 2 * received.max(LEAST_BUFFER));
    }
    assert_eq!(reader.frames, expected);
    assert_eq!(failed, bad);
    if failed.is_none() {
        // A large frame is kept without its prefix.
        let prefix = if reader.assembly.large.is_some() { PREFIX } else { 0 };
        assert_eq!(reader.assembly.kept() + prefix, rest.len());
    }
}
