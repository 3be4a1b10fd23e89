//! From received bytes to frames.
//!
//! Bytes are received into the thread's scratch and handled there. A connection owns memory only for
//! what was left over: the beginning of a small frame in a stash, a large frame in a buffer that is
//! charged to the budget, or whole frames that must wait until the client takes its responses.

use crate::Frame;
use crate::budget::{Charge, Grant, MemoryBudget, Waiting};

/// Length prefix of a frame.
const PREFIX: usize = 4;
/// Beginnings of frames up to this size stay in the stash, without charge.
const STASH: usize = 4 << 10;
/// The least a large frame's buffer starts with, if the frame is as long.
const LEAST_BUFFER: usize = 64 << 10;
/// Frames handed over in one call. More arrive in one receive only if they are tiny.
const FRAMES: usize = 64;

/// What bounds the frames of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Bounds<'a> {
    /// Longest frame of any kind.
    pub(crate) limit: usize,
    /// Longest frame that begins with these bytes.
    pub(crate) limit_of: &'a dyn Fn(&[u8]) -> usize,
    /// Memory for large ones.
    pub(crate) budget: &'a MemoryBudget,
}

/// A frame length that is negative or above the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadLength {
    pub(crate) declared: i32,
    pub(crate) limit: usize,
}

/// What became of frames handed over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handed {
    /// How many were handled.
    pub(crate) handled: usize,
    /// Whether to keep the rest for later.
    pub(crate) stop: bool,
}

/// The received bytes of one connection that were not handled yet.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    stash: Vec<u8>,
    large: Option<Large>,
    /// Whether what is kept was kept because frames had to wait, and may begin with a whole one.
    stopped: bool,
}

/// A large frame that is arriving.
#[derive(Debug)]
pub(crate) struct Large {
    body: Vec<u8>,
    declared: usize,
    charge: Charge,
}

impl Assembly {
    /// How many bytes the caller leaves free before what it receives into the scratch.
    pub(crate) fn headroom(&self) -> usize {
        self.stash.len()
    }

    /// Bytes kept.
    pub(crate) fn kept(&self) -> usize {
        self.stash.len() + self.large.as_ref().map_or(0, |large| large.body.len())
    }

    /// Whether whole frames wait to be handed over by [`resume`](Self::resume).
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// The large frame that is arriving: receive into it instead of the scratch.
    pub(crate) fn large(&mut self) -> Option<&mut Large> {
        self.large.as_mut().filter(|large| large.body.len() < large.declared)
    }

    /// Takes received bytes, which begin in `buffer` after the headroom, and hands over whole frames.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        bounds: Bounds<'_>,
        hand_over: impl FnMut(&mut [Frame<'_>]) -> Handed,
    ) -> Result<(), BadLength> {
        if let Some(room) = buffer.get_mut(..self.stash.len()) {
            room.copy_from_slice(&self.stash);
        }
        self.stash = Vec::new();
        self.hand_over(buffer, bounds, hand_over)
    }

    /// Hands over frames that had to wait.
    pub(crate) fn resume(
        &mut self,
        bounds: Bounds<'_>,
        mut hand_over: impl FnMut(&mut [Frame<'_>]) -> Handed,
    ) -> Result<(), BadLength> {
        self.stopped = false;
        if self.large.is_some() {
            self.finish_large(&mut hand_over);
            if self.stopped {
                return Ok(());
            }
        }
        let mut buffer = std::mem::take(&mut self.stash);
        self.hand_over(&mut buffer, bounds, hand_over)
    }

    /// Hands over the large frame if it is whole.
    pub(crate) fn finish_large(&mut self, mut hand_over: impl FnMut(&mut [Frame<'_>]) -> Handed) {
        let Some(mut large) = self.large.take() else {
            return;
        };
        if large.body.len() < large.declared {
            self.large = Some(large);
            return;
        }
        if hand_over(&mut [Frame::new(&mut large.body)]).handled == 0 {
            self.stopped = true;
            self.large = Some(large);
        }
    }

    fn hand_over(
        &mut self,
        buffer: &mut [u8],
        bounds: Bounds<'_>,
        mut hand_over: impl FnMut(&mut [Frame<'_>]) -> Handed,
    ) -> Result<(), BadLength> {
        let mut at = 0;
        loop {
            let rest = buffer.get_mut(at..).unwrap_or_default();
            let (mut frames, count, end) = split(rest, bounds.limit);
            if count == 0 {
                break;
            }
            let frames = frames.get_mut(..count).unwrap_or_default();
            let lengths: usize = frames.iter().map(|frame| PREFIX + frame.len()).sum();
            debug_assert_eq!(lengths, end, "frames lie one after the other");
            let handed = hand_over(frames);
            let handled = handed.handled.min(count);
            at += frames
                .iter()
                .take(handled)
                .map(|frame| PREFIX + frame.len())
                .sum::<usize>();
            if handed.stop || handled < count {
                self.stopped = true;
                self.stash = buffer.get(at..).unwrap_or_default().to_vec();
                return Ok(());
            }
        }
        let rest = buffer.get(at..).unwrap_or_default();
        match declared(rest, bounds.limit)? {
            Some(length) if rest.len() > STASH => {
                let body = rest.get(PREFIX..).unwrap_or_default();
                let limit = (bounds.limit_of)(body);
                if length > limit {
                    let declared = length as i32;
                    return Err(BadLength { declared, limit });
                }
                self.large = Some(Large::begin(length, body, bounds.budget));
            }
            _ => self.stash = rest.to_vec(),
        }
        Ok(())
    }
}

impl Large {
    fn begin(declared: usize, body: &[u8], budget: &MemoryBudget) -> Self {
        let mut charge = budget.charge();
        let mut buffer = Vec::new();
        let wanted = wanted(body.len(), declared);
        if charge.try_raise(wanted) {
            buffer.reserve_exact(wanted);
        }
        buffer.extend_from_slice(body);
        Self {
            body: buffer,
            declared,
            charge,
        }
    }

    /// Where to receive into and how many bytes at most, or what to wait for first.
    pub(crate) fn room(&mut self) -> Result<(&mut Vec<u8>, usize), Waiting> {
        if self.body.len() == self.body.capacity() {
            let wanted = wanted(self.body.len(), self.declared);
            if !self.charge.try_raise(wanted) {
                return Err(self.charge.wait(wanted));
            }
            self.body.reserve_exact(wanted - self.body.len());
        }
        let room = self.body.capacity().min(self.declared) - self.body.len();
        Ok((&mut self.body, room))
    }

    /// Grows by what was waited for.
    pub(crate) fn grow(&mut self, grant: Grant) {
        let wanted = wanted(self.body.len(), self.declared);
        self.charge.accept(wanted, grant);
        self.body.reserve_exact(wanted - self.body.len());
    }
}

/// The size of a buffer that holds `arrived` bytes of a frame: doubled, so that it is charged and
/// copied rarely, and never beyond what arrived by much.
fn wanted(arrived: usize, declared: usize) -> usize {
    declared.min(arrived.saturating_mul(2).max(LEAST_BUFFER))
}

/// Whole frames at the start of `buffer`, how many, and the bytes they take. A bad length ends the
/// frames before it; it shows when it comes first.
fn split(buffer: &mut [u8], limit: usize) -> ([Frame<'_>; FRAMES], usize, usize) {
    let mut frames = std::array::from_fn(|_| Frame::default());
    let mut count = 0;
    let mut end = 0;
    let mut rest = buffer;
    for place in &mut frames {
        let Ok(Some(length)) = declared(rest, limit) else {
            break;
        };
        let Some((frame, after)) = std::mem::take(&mut rest).split_at_mut_checked(PREFIX + length) else {
            break;
        };
        *place = Frame::new(frame.get_mut(PREFIX..).unwrap_or_default());
        rest = after;
        count += 1;
        end += PREFIX + length;
    }
    (frames, count, end)
}

/// The length that the frame at the start of `buffer` declares; `None` if too few bytes say.
fn declared(buffer: &[u8], limit: usize) -> Result<Option<usize>, BadLength> {
    let Some(prefix) = buffer.first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    let declared = i32::from_be_bytes(*prefix);
    match usize::try_from(declared) {
        Ok(length) if length <= limit => Ok(Some(length)),
        _ => Err(BadLength { declared, limit }),
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod driver;
#[cfg(test)]
mod tests;
