//! Snappy as Kafka's clients write it: xerial's framing (a header, then blocks with their length), or one raw block.

use std::io;

/// Begins a framed stream; a raw one cannot begin so.
const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and the oldest version that can read it, of which nothing else was ever written.
const HEADER: usize = 16;
const VERSION: i32 = 1;
/// Bytes in a block that is written here.
const BLOCK: usize = 32 * 1024;
/// No element of three bytes makes more than 64: a block that declares more lies.
const MAX_RATIO: usize = 32;

/// Block after block, decompressed.
pub(super) struct SnappyReader<'a> {
    rest: &'a [u8],
    framed: bool,
    decoder: snap::raw::Decoder,
    block: Vec<u8>,
    read: usize,
}

impl<'a> SnappyReader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            framed: input.starts_with(&MAGIC),
            rest: input,
            decoder: snap::raw::Decoder::new(),
            block: Vec::new(),
            read: 0,
        }
    }

    /// Fills `buffer` from the next block that has bytes. A block of more than `limit` is `FileTooLarge`.
    pub(super) fn read(&mut self, buffer: &mut [u8], limit: usize) -> io::Result<usize> {
        while self.read == self.block.len() {
            let Some(block) = self.next_block()? else { return Ok(0) };
            let declared = snap::raw::decompress_len(block)?;
            if declared > block.len().saturating_mul(MAX_RATIO) {
                return Err(invalid("a block declares more than it can hold"));
            }
            if declared > limit {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            self.block.resize(declared, 0);
            self.read = 0;
            let written = self.decoder.decompress(block, &mut self.block)?;
            self.block.truncate(written);
        }
        let rest = self.block.get(self.read..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.read += count;
        Ok(count)
    }

    fn next_block(&mut self) -> io::Result<Option<&'a [u8]>> {
        if !self.framed {
            let block = std::mem::take(&mut self.rest);
            return Ok((!block.is_empty()).then_some(block));
        }
        // Streams may be strung together, each with its header.
        while self.rest.starts_with(&MAGIC) {
            self.take(HEADER)?;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut length = [0; 4];
        length.copy_from_slice(self.take(4)?);
        let length =
            usize::try_from(i32::from_be_bytes(length)).map_err(|_| invalid("a block has a negative length"))?;
        self.take(length).map(Some)
    }

    fn take(&mut self, len: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Writes xerial's framing.
pub(super) struct SnappyWriter {
    output: Vec<u8>,
    pending: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl SnappyWriter {
    pub(super) fn new(mut output: Vec<u8>) -> Self {
        output.extend_from_slice(&MAGIC);
        output.extend_from_slice(&VERSION.to_be_bytes());
        output.extend_from_slice(&VERSION.to_be_bytes());
        Self {
            output,
            pending: Vec::with_capacity(BLOCK),
            encoder: snap::raw::Encoder::new(),
        }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.pending.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
            if self.pending.len() == BLOCK {
                self.put_block()?;
            }
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.output.len()
    }

    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        if !self.pending.is_empty() {
            self.put_block()?;
        }
        Ok(self.output)
    }

    fn put_block(&mut self) -> io::Result<()> {
        let block = self.encoder.compress_vec(&self.pending)?;
        self.output.extend_from_slice(&(block.len() as i32).to_be_bytes());
        self.output.extend_from_slice(&block);
        self.pending.clear();
        Ok(())
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
