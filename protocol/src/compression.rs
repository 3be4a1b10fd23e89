//! The codecs of record batches, bounded: what a few bytes claim to hold is never believed.
//!
//! Reading is a stream ([`Decompressor`]), so that a caller that only looks at records holds a window of them, not all.
//! Memory is what a codec needs for itself (at most two LZ4 blocks of 4 MiB, or as much of a zstd window as was written),
//! whatever a frame declares. Bytes come out up to a limit that the caller names; the byte after it is an error.
//! (Source: Kafka's `org.apache.kafka.common.compress`.)

mod compressor;
mod decompressor;
mod snappy;
#[cfg(test)]
mod tests;

use std::io;

pub use crate::batch::Compression;
pub use compressor::{Compressor, Level};
pub use decompressor::Decompressor;

/// Compressed bytes cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// There is more in them than the caller wants to see.
    #[error("there are more than {limit} bytes in the compressed records")]
    TooLarge {
        /// The caller's limit, in bytes.
        limit: usize,
    },
    /// They are not what the codec writes, or end too soon.
    #[error("the compressed records are damaged: {0}")]
    Damaged(#[from] io::Error),
}

/// All that `input` holds, in one buffer that grows with what comes out.
///
/// # Errors
/// [`CompressionError::TooLarge`] beyond `limit` bytes, [`CompressionError::Damaged`].
pub fn decompress(compression: Compression, input: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    let mut output = Vec::new();
    let mut stream = Decompressor::new(compression, input, limit)?;
    let mut chunk = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok(output),
            count => output.extend_from_slice(chunk.get(..count).unwrap_or_default()),
        }
    }
}

/// Appends `input`, compressed, to `output`.
///
/// # Errors
/// Only what the codec's library says of its own memory: the output is a vector.
pub fn compress(compression: Compression, level: Level, input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    let mut compressor = Compressor::new(compression, level, std::mem::take(output))?;
    compressor.write(input)?;
    *output = compressor.finish()?;
    Ok(())
}
