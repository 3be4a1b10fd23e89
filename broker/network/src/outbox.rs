//! Bytes on their way to the client.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Buf;

use crate::cold::ColdReads;
use crate::io::Stream;
use crate::{Chunk, Response};

/// Smaller chunks are copied together: that is cheaper than one more entry in the send.
const COPIED: u64 = 1024;
/// A buffer that responses are gathered in is closed at this size, and kept for reuse up to it.
const GATHERED: usize = 64 << 10;
/// Spare buffers that a thread keeps.
const SPARE_BUFFERS: usize = 4;
/// Most chunks in one send.
const SLICES: usize = 32;
/// Most bytes of a file in one call, so that one fast reader does not hold the thread.
const FILE_STEP: u64 = 1 << 20;

/// Buffers that the connections of a thread gather small responses in. Between wake-ups they lie here,
/// so that an idle connection owns none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spares(Rc<RefCell<Vec<Vec<u8>>>>);

impl Spares {
    fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        let mut spares = self.0.borrow_mut();
        if buffer.capacity() <= 2 * GATHERED && spares.len() < SPARE_BUFFERS {
            buffer.clear();
            spares.push(buffer);
        }
    }
}

/// The responses of one connection whose turn has come, in order, with their length prefixes.
#[derive(Debug)]
pub(crate) struct Outbox {
    chunks: VecDeque<Chunk>,
    /// How much of the first chunk has left, if it is an owned one.
    sent: usize,
    /// Bytes in memory that have not left; those of files do not count.
    in_memory: usize,
    /// What is known of the file at the front.
    cold: ColdReads,
    spares: Spares,
}

impl Outbox {
    pub(crate) fn new(spares: Spares) -> Self {
        Self {
            chunks: VecDeque::new(),
            sent: 0,
            in_memory: 0,
            cold: ColdReads::default(),
            spares,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes in memory that the client has not taken.
    pub(crate) fn in_memory(&self) -> usize {
        self.in_memory
    }

    /// How many pieces wait; a piece of a file costs memory too.
    pub(crate) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Appends a response. `Err` if it is longer than the prefix can say; then nothing was appended.
    pub(crate) fn push(&mut self, response: Response) -> Result<(), TooLong> {
        let prefix = i32::try_from(response.len()).map_err(|_| TooLong)?;
        self.append(&prefix.to_be_bytes());
        response.for_each_chunk(|chunk| match chunk {
            _ if chunk.is_empty() => {}
            Chunk::Owned(bytes) if bytes.len() as u64 <= COPIED => self.append(&bytes),
            Chunk::Shared(bytes) if bytes.len() as u64 <= COPIED => self.append(&bytes),
            Chunk::Owned(_) | Chunk::Shared(_) => {
                self.in_memory += chunk.len() as usize;
                self.chunks.push_back(chunk);
            }
            Chunk::File { .. } => self.chunks.push_back(chunk),
        });
        Ok(())
    }

    /// Appends a response that `fill` writes at the end of the buffer it gets.
    pub(crate) fn push_with(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), TooLong> {
        let mut pushed = Err(TooLong);
        self.gather(|buffer| {
            let start = buffer.len();
            buffer.extend_from_slice(&[0; 4]);
            fill(buffer);
            let length = buffer
                .len()
                .checked_sub(start + 4)
                .and_then(|length| i32::try_from(length).ok());
            match (length, buffer.get_mut(start..start + 4)) {
                (Some(length), Some(prefix)) => {
                    prefix.copy_from_slice(&length.to_be_bytes());
                    pushed = Ok(());
                }
                _ => buffer.truncate(start),
            }
        });
        pushed
    }

    /// Sends until everything has left, `allowance` bytes have, or the socket takes no more or the disk must be waited for,
    /// which are the only `Pending`. `total` grows by what was sent in any case.
    pub(crate) fn poll_send(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
        allowance: u64,
        total: &mut u64,
    ) -> Poll<io::Result<()>> {
        let limit = *total + allowance;
        while !self.chunks.is_empty() && *total < limit {
            std::task::ready!(stream.poll_writable(context))?;
            let step = match self.chunks.front() {
                Some(Chunk::File { file, offset, len }) => {
                    std::task::ready!(self.cold.poll_warm(context, file, *offset, (*len).min(FILE_STEP)))
                }
                _ => 0,
            };
            let count = match self.send_once(stream, step) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Poll::Ready(Err(error)),
            };
            *total += count;
            self.advance(count as usize);
        }
        Poll::Ready(Ok(()))
    }

    /// `step` is how much of a file may be sent now.
    fn send_once(&self, stream: &Stream, step: u64) -> io::Result<u64> {
        if let Some(Chunk::File { file, offset, .. }) = self.chunks.front() {
            let count = stream.try_send_file(file, *offset, step as usize)?;
            if count == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "a file ended before the range that was promised to a client",
                ));
            }
            return Ok(count as u64);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        let mut file_follows = false;
        for (place, chunk) in slices.iter_mut().zip(&self.chunks) {
            let bytes = match chunk {
                Chunk::Owned(bytes) => bytes.get(if count == 0 { self.sent } else { 0 }..).unwrap_or_default(),
                Chunk::Shared(bytes) => bytes.as_ref(),
                Chunk::File { .. } => {
                    file_follows = true;
                    break;
                }
            };
            *place = IoSlice::new(bytes);
            count += 1;
        }
        let slices = slices.get(..count).unwrap_or_default();
        Ok(stream.try_send(slices, file_follows)? as u64)
    }

    /// Forgets `count` sent bytes.
    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.chunks.front_mut() {
            match front {
                Chunk::Owned(bytes) => {
                    let left = bytes.len() - self.sent;
                    self.in_memory -= left.min(count);
                    if count < left {
                        self.sent += count;
                        return;
                    }
                    count -= left;
                    self.sent = 0;
                    if let Some(Chunk::Owned(bytes)) = self.chunks.pop_front() {
                        self.spares.give_back(bytes);
                    }
                }
                Chunk::Shared(bytes) => {
                    let left = bytes.len();
                    self.in_memory -= left.min(count);
                    if count < left {
                        bytes.advance(count);
                        return;
                    }
                    count -= left;
                    self.chunks.pop_front();
                }
                Chunk::File { offset, len, .. } => {
                    let step = (count as u64).min(*len);
                    *offset += step;
                    *len -= step;
                    if *len > 0 {
                        return;
                    }
                    count -= step as usize;
                    self.cold.reset();
                    self.chunks.pop_front();
                }
            }
        }
        if self.chunks.capacity() > 64 {
            self.chunks.shrink_to(8);
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.gather(|buffer| buffer.extend_from_slice(bytes));
    }

    /// Lets `write` append to the last buffer, or to a new one if that is no buffer or large enough.
    fn gather(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(Chunk::Owned(buffer)) = self.chunks.back_mut()
            && buffer.len() < GATHERED
        {
            let before = buffer.len();
            write(buffer);
            self.in_memory += buffer.len().saturating_sub(before);
            return;
        }
        let mut buffer = self.spares.take();
        write(&mut buffer);
        self.in_memory += buffer.len();
        self.chunks.push_back(Chunk::Owned(buffer));
    }
}

/// The response does not fit its length prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;
