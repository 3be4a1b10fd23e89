//! From bytes to compressed bytes, as they come.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::Compression;
use super::snappy::SnappyWriter;

/// How hard a codec tries. Codecs without levels ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// The codec's own: gzip 6, zstd 3.
    #[default]
    Default,
    /// gzip 1 to 9, zstd -131072 to 22; anything beyond is taken for the nearest.
    At(i32),
}

/// Compresses what is written to it. [`Compressor::finish`] ends the stream.
pub struct Compressor {
    codec: Codec,
}

enum Codec {
    None(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Snappy(Box<SnappyWriter>),
    Lz4(Box<FrameEncoder<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    /// Compressed bytes are appended to `output`.
    pub fn new(compression: Compression, level: Level, output: Vec<u8>) -> io::Result<Self> {
        let codec = match compression {
            Compression::None => Codec::None(output),
            Compression::Gzip => Codec::Gzip(GzEncoder::new(output, gzip_level(level))),
            Compression::Snappy => Codec::Snappy(Box::new(SnappyWriter::new(output))),
            // As Kafka's clients write it: independent blocks of 64 KiB without checksums, which the batch has already.
            Compression::Lz4 => {
                let frame = FrameInfo::new()
                    .block_size(BlockSize::Max64KB)
                    .block_mode(BlockMode::Independent);
                Codec::Lz4(Box::new(FrameEncoder::with_frame_info(frame, output)))
            }
            Compression::Zstd => Codec::Zstd(zstd::stream::write::Encoder::new(output, zstd_level(level))?),
        };
        Ok(Self { codec })
    }

    /// Takes more bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.codec {
            Codec::None(output) => output.write_all(bytes),
            Codec::Gzip(encoder) => encoder.write_all(bytes),
            Codec::Snappy(writer) => writer.write(bytes),
            Codec::Lz4(encoder) => encoder.write_all(bytes),
            Codec::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    /// Compressed bytes so far; the codec may hold more back.
    pub fn len(&self) -> usize {
        match &self.codec {
            Codec::None(output) => output.len(),
            Codec::Gzip(encoder) => encoder.get_ref().len(),
            Codec::Snappy(writer) => writer.len(),
            Codec::Lz4(encoder) => encoder.get_ref().len(),
            Codec::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    /// Whether nothing came out yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the stream and gives the output back.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self.codec {
            Codec::None(output) => Ok(output),
            Codec::Gzip(encoder) => encoder.finish(),
            Codec::Snappy(writer) => writer.finish(),
            Codec::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Codec::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

fn gzip_level(level: Level) -> flate2::Compression {
    match level {
        Level::Default => flate2::Compression::default(),
        Level::At(level) => flate2::Compression::new(level.clamp(1, 9).unsigned_abs()),
    }
}

fn zstd_level(level: Level) -> i32 {
    match level {
        Level::Default => zstd::DEFAULT_COMPRESSION_LEVEL,
        Level::At(level) => level.clamp(-131_072, 22),
    }
}
