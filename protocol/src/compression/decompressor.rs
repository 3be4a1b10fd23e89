//! From compressed bytes to bytes, as they are asked for.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;

use super::snappy::SnappyReader;
use super::{Compression, CompressionError};

/// The largest zstd window that is read, as a power of two: what level 22 writes, and what Kafka reads. Its memory is
/// touched only as far as bytes come out.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How an LZ4 frame begins.
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// Decompresses as it is read, up to a limit.
pub struct Decompressor<'a> {
    codec: Codec<'a>,
    left: usize,
    limit: usize,
    ended: bool,
}

enum Codec<'a> {
    None(&'a [u8]),
    Gzip(Box<MultiGzDecoder<&'a [u8]>>),
    Snappy(Box<SnappyReader<'a>>),
    Lz4(Box<FrameDecoder<&'a [u8]>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, &'a [u8]>>),
}

impl<'a> Decompressor<'a> {
    /// Reads what `input` holds: at most `limit` bytes.
    ///
    /// # Errors
    /// [`CompressionError::Damaged`] only if the codec cannot be set up; what is wrong with `input` is found by reading.
    pub fn new(compression: Compression, input: &'a [u8], limit: usize) -> Result<Self, CompressionError> {
        let codec = match compression {
            Compression::None => Codec::None(input),
            Compression::Gzip => Codec::Gzip(Box::new(MultiGzDecoder::new(input))),
            Compression::Snappy => Codec::Snappy(Box::new(SnappyReader::new(input))),
            Compression::Lz4 => {
                // The library also reads the legacy format, whose blocks of 8 MiB nobody declares. Kafka does not.
                if input.len() >= LZ4_MAGIC.len() && !input.starts_with(&LZ4_MAGIC) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "not an LZ4 frame").into());
                }
                Codec::Lz4(Box::new(FrameDecoder::new(input)))
            }
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Codec::Zstd(Box::new(decoder))
            }
        };
        Ok(Self {
            codec,
            left: limit,
            limit,
            ended: false,
        })
    }

    /// Fills a part of `buffer`; 0 is the end, if `buffer` is not empty.
    ///
    /// # Errors
    /// [`CompressionError::TooLarge`] if there is more than the limit, [`CompressionError::Damaged`]. After an error there
    /// is nothing more to read.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, CompressionError> {
        // One LZ4 frame is the whole of a batch (`Lz4BlockInputStream`): nothing is read behind an end.
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        // One byte more than the limit would tell that it was not kept.
        let room = buffer.len().min(self.left.saturating_add(1));
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        let read = match &mut self.codec {
            Codec::None(rest) => rest.read(buffer),
            Codec::Gzip(decoder) => retry(|| decoder.read(buffer)),
            Codec::Snappy(reader) => reader.read(buffer, self.left),
            Codec::Lz4(decoder) => retry(|| decoder.read(buffer)),
            Codec::Zstd(decoder) => retry(|| decoder.read(buffer)),
        };
        let count = match read {
            Err(error) if error.kind() != io::ErrorKind::FileTooLarge => {
                self.ended = true;
                return Err(error.into());
            }
            Err(_) => usize::MAX,
            Ok(count) => count,
        };
        self.ended = count == 0 || count > self.left;
        self.left = self
            .left
            .checked_sub(count)
            .ok_or(CompressionError::TooLarge { limit: self.limit })?;
        Ok(count)
    }

    /// Bytes that came out so far.
    pub fn total(&self) -> usize {
        self.limit - self.left
    }
}

impl std::fmt::Debug for Decompressor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor")
            .field("total", &self.total())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
