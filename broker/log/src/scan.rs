//! Walking the batches of a segment file, whose bytes are not trusted until checked.

use protocol::batch::{BatchHeader, HEADER_LEN};

use crate::dir::{DirFile, Patience, read_full, read_full_at};
use crate::error::LogError;

/// Bytes read at a time when only headers are wanted: about one index interval, so that a lookup is one read.
const HEADERS_AT_ONCE: usize = 6 * 1024;

/// Bytes read at a time when every byte is checked.
const BYTES_AT_ONCE: usize = 256 * 1024;

/// What lies at a position.
#[derive(Debug)]
pub(crate) enum Found<T> {
    /// The end of the segment.
    End,
    /// A batch.
    Batch(T),
    /// Bytes that are no intact batch.
    Broken(String),
}

/// Reads headers one after another, without their records.
pub(crate) struct HeaderWalk<'a, F> {
    file: &'a F,
    end: u64,
    buffer: [u8; HEADERS_AT_ONCE],
    filled: usize,
    start: u64,
    patience: Patience,
}

impl<'a, F: DirFile> HeaderWalk<'a, F> {
    /// A walk over the first `end` bytes of `file`.
    pub(crate) fn new(file: &'a F, end: u64) -> Self {
        Self {
            file,
            end,
            buffer: [0; HEADERS_AT_ONCE],
            filled: 0,
            start: 0,
            patience: Patience::Endless,
        }
    }

    /// The walk fails with `WouldBlock` where it would have to wait, if it has no patience.
    pub(crate) fn with(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The header of the batch at `position`, whose records lie within the segment.
    pub(crate) fn at(&mut self, position: u64) -> Result<Found<BatchHeader>, LogError> {
        if position >= self.end {
            return Ok(Found::End);
        }
        let in_buffer = position >= self.start && position + HEADER_LEN as u64 <= self.start + self.filled as u64;
        if !in_buffer {
            let wanted = (self.end - position).min(HEADERS_AT_ONCE as u64) as usize;
            let buffer = self.buffer.get_mut(..wanted).unwrap_or_default();
            self.filled = read_full(self.file, buffer, position, self.patience)
                .map_err(|error| LogError::read("reading batch headers", error))?;
            self.start = position;
        }
        let bytes = self
            .buffer
            .get((position - self.start) as usize..self.filled)
            .unwrap_or_default();
        Ok(check_header(bytes, self.end - position))
    }
}

/// Reads whole batches one after another and checks every byte.
pub(crate) struct BatchWalk<'a, F> {
    file: &'a F,
    end: u64,
    buffer: Vec<u8>,
    start: u64,
}

impl<'a, F: DirFile> BatchWalk<'a, F> {
    /// A walk over the first `end` bytes of `file`.
    pub(crate) fn new(file: &'a F, end: u64) -> Self {
        Self {
            file,
            end,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// The batch at `position`, its checksum checked, with its header.
    pub(crate) fn at(&mut self, position: u64) -> Result<Found<(BatchHeader, &[u8])>, LogError> {
        if position >= self.end {
            return Ok(Found::End);
        }
        let left = self.end - position;
        let header = match check_header(self.load(position, HEADER_LEN)?, left) {
            Found::Batch(header) => header,
            Found::Broken(reason) => return Ok(Found::Broken(reason)),
            Found::End => return Ok(Found::End),
        };
        // No larger than the segment: `check_header` saw to it.
        let size = header.size_in_bytes();
        let bytes = self.load(position, size)?;
        let bytes = bytes.get(..size).unwrap_or(bytes);
        if seeded_torn_tail() {
            return Ok(Found::Batch((header, bytes)));
        }
        match protocol::batch::check_whole(bytes) {
            Ok(_) => Ok(Found::Batch((header, bytes))),
            Err(error) => Ok(Found::Broken(error.to_string())),
        }
    }

    /// At least `wanted` bytes from `position`, as far as the segment goes.
    fn load(&mut self, position: u64, wanted: usize) -> Result<&[u8], LogError> {
        let buffered = self.start + self.buffer.len() as u64;
        if position < self.start || position + wanted as u64 > buffered {
            let size = (self.end - position).min(wanted.max(BYTES_AT_ONCE) as u64) as usize;
            self.buffer.resize(size, 0);
            let filled = read_full_at(self.file, &mut self.buffer, position)
                .map_err(|error| LogError::read("reading batches", error))?;
            self.buffer.truncate(filled);
            self.start = position;
        }
        Ok(self.buffer.get((position - self.start) as usize..).unwrap_or_default())
    }
}

fn seeded_torn_tail() -> bool {
    crate::seeded::seeded_bug!(TornTailAccepted)
}

fn check_header(bytes: &[u8], left: u64) -> Found<BatchHeader> {
    match BatchHeader::parse(bytes) {
        Ok(header) if header.size_in_bytes() as u64 > left => Found::Broken(format!(
            "a batch of {} bytes where {left} are left",
            header.size_in_bytes()
        )),
        // Outside of what the checksum covers, or not yet checked against it.
        // After the last offset there is always one more: whoever walks on counts on it.
        Ok(header) if header.base_offset < 0 || header.last_offset_delta < 0 || header.last_offset() == i64::MAX => {
            Found::Broken(format!(
                "a batch from offset {} with last delta {}",
                header.base_offset, header.last_offset_delta
            ))
        }
        Ok(header) => Found::Batch(header),
        Err(error) => Found::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::batch::BatchBuilder;

    use super::*;

    #[test]
    fn a_batch_that_ends_where_no_offset_follows_is_broken() {
        let at = |base_offset| {
            BatchBuilder::new()
                .base_offset(base_offset)
                .record(1, None, None)
                .build()
        };
        let found = |batch: &[u8]| check_header(batch, batch.len() as u64);
        assert!(matches!(found(&at(i64::MAX - 1)), Found::Batch(_)));
        assert!(matches!(found(&at(i64::MAX)), Found::Broken(_)));
        assert!(matches!(found(&at(-1)), Found::Broken(_)));
    }
}
