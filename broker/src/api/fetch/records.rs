//! Records on their way out: small pieces are read into the response, large ones are sent by the kernel from the file.

use std::fs::File;
use std::io;
use std::sync::Arc;

use broker_log::LogSlice;
use broker_log::dir::DirFile;
use broker_log::dir::fs::FsDir;
use broker_network::{Chunk, Response};
use protocol::EncodeError;
use protocol::fetch::{self, FetchResponse, FetchedPartition, Payload};

use crate::api::call::ReplyTo;

/// From this size on `sendfile` is cheaper than reading and writing; below, one send for all of it is.
const SENDFILE_BYTES: usize = 64 * 1024;

/// Bytes that one response reads into memory. The rest is sent from the files, however small its pieces are: a client
/// that asks for a thousand partitions and never reads its answer would hold the largest response in memory.
const MEMORY_BYTES: usize = 1 << 20;

/// The records of one partition.
#[derive(Debug)]
pub(super) enum Records {
    /// Read already.
    Read(Vec<u8>),
    /// Still in the file.
    InFile { file: Arc<File>, position: u64, len: usize },
}

impl Records {
    /// Of what the log found; `None` if that is nothing. `in_memory` is what the response holds in memory so far.
    pub(super) fn of(slice: LogSlice<FsDir>, in_memory: &mut usize) -> io::Result<Option<Self>> {
        let LogSlice {
            file, position, len, ..
        } = slice;
        let Some(file) = file.filter(|_| len > 0) else {
            return Ok(None);
        };
        if len >= SENDFILE_BYTES || *in_memory + len > MEMORY_BYTES {
            return Ok(Some(Self::InFile { file, position, len }));
        }
        let mut bytes = vec![0; len];
        match read_cached(&file, &mut bytes, position) {
            Ok(()) => {
                *in_memory += len;
                Ok(Some(Self::Read(bytes)))
            }
            // The network knows how to send from a slow disk.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(Self::InFile { file, position, len })),
            Err(error) => Err(error),
        }
    }
}

fn read_cached(file: &File, bytes: &mut [u8], position: u64) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_cached_at(rest, position + filled as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Payload for Records {
    fn len(&self) -> usize {
        match self {
            Self::Read(bytes) => bytes.len(),
            Self::InFile { len, .. } => *len,
        }
    }
}

/// The whole response, with neighbouring pieces in memory put into one.
pub(super) fn response(
    reply: &ReplyTo,
    response: &FetchResponse<'_>,
    partitions: Vec<FetchedPartition<'_, Records>>,
) -> Result<Response, EncodeError> {
    let pieces = response.encode(reply.start(), reply.version, partitions)?;
    let mut chunks: Vec<Chunk> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let bytes = match piece {
            fetch::Chunk::Inline(bytes) | fetch::Chunk::Records(Records::Read(bytes)) => bytes,
            fetch::Chunk::Records(Records::InFile { file, position, len }) => {
                chunks.push(Chunk::File {
                    file,
                    offset: position,
                    len: len as u64,
                });
                continue;
            }
        };
        match chunks.last_mut() {
            Some(Chunk::Owned(before)) => before.extend_from_slice(&bytes),
            _ => chunks.push(Chunk::Owned(bytes)),
        }
    }
    Ok(Response::new(chunks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_of_many_small_pieces_holds_a_bounded_part_of_them_in_memory() {
        const PIECE: usize = 60_000;
        let file = tempfile::tempfile().expect("temp");
        file.set_len(PIECE as u64).expect("grows");
        let file = Arc::new(file);
        let mut in_memory = 0;
        let read = (0..1000).filter(|_| {
            let slice = LogSlice {
                first_offset: 0,
                next_offset: 1,
                file: Some(Arc::clone(&file)),
                position: 0,
                len: PIECE,
            };
            let records = Records::of(slice, &mut in_memory).expect("reads").expect("has bytes");
            assert_eq!(records.len(), PIECE);
            matches!(records, Records::Read(_))
        });
        assert_eq!(read.count(), MEMORY_BYTES / PIECE);
        assert!(in_memory <= MEMORY_BYTES);
    }
}
