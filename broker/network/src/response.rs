//! A response: bytes in memory and ranges of files, sent without being put together.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;

/// One piece of a response.
#[derive(Debug, Clone)]
pub enum Chunk {
    /// Bytes made for this response.
    Owned(Vec<u8>),
    /// Bytes shared with others, such as the hot tail of a log.
    Shared(Bytes),
    /// A range of a file, sent by the kernel from its page cache. The range must stay in the file until
    /// it is sent: a file that turns out shorter ends the connection.
    File {
        /// The file, kept open until the range is sent.
        file: Arc<File>,
        /// Where the range starts, in bytes.
        offset: u64,
        /// How many bytes it holds.
        len: u64,
    },
}

impl Chunk {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Owned(bytes) => bytes.len() as u64,
            Self::Shared(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One response: header and body, without the length prefix, which the network writes.
#[derive(Debug)]
pub struct Response {
    chunks: Chunks,
    len: u64,
}

/// Nearly every response is one chunk, and then needs no list.
#[derive(Debug)]
enum Chunks {
    One(Chunk),
    Many(Vec<Chunk>),
}

impl Response {
    /// A response of these chunks in this order.
    ///
    /// A response longer than Kafka's length prefix can say (2 GiB - 1) ends its connection.
    pub fn new(chunks: Vec<Chunk>) -> Self {
        let len = chunks.iter().map(Chunk::len).sum();
        Self {
            chunks: Chunks::Many(chunks),
            len,
        }
    }

    /// A response of these bytes.
    pub fn owned(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self {
            chunks: Chunks::One(Chunk::Owned(bytes)),
            len,
        }
    }

    /// Length in bytes, without the prefix.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that it holds in memory: a range of a file is none.
    pub(crate) fn in_memory(&self) -> u64 {
        let count = |chunk: &Chunk| {
            if matches!(chunk, Chunk::File { .. }) {
                0
            } else {
                chunk.len()
            }
        };
        match &self.chunks {
            Chunks::One(chunk) => count(chunk),
            Chunks::Many(chunks) => chunks.iter().map(count).sum(),
        }
    }

    /// Calls `each` with the chunks in order.
    pub(crate) fn for_each_chunk(self, mut each: impl FnMut(Chunk)) {
        match self.chunks {
            Chunks::One(chunk) => each(chunk),
            Chunks::Many(chunks) => chunks.into_iter().for_each(each),
        }
    }
}

impl From<Vec<u8>> for Response {
    fn from(bytes: Vec<u8>) -> Self {
        Self::owned(bytes)
    }
}
