use std::io::Write;

use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use proptest::prelude::*;

use super::*;

const ALL: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn compressed(compression: Compression, input: &[u8]) -> Vec<u8> {
    let mut output = b"before".to_vec();
    compress(compression, Level::Default, input, &mut output).expect("a vector takes it");
    output.split_off(6)
}

fn zeros(len: usize) -> Vec<u8> {
    vec![0; len]
}

#[test]
fn what_was_compressed_comes_back_in_every_codec_and_level() {
    let words: Vec<u8> = (0..200_000_u32).flat_map(|n| (n % 977).to_be_bytes()).collect();
    for compression in ALL {
        for level in [Level::Default, Level::At(-7), Level::At(1), Level::At(9), Level::At(99)] {
            let mut output = Vec::new();
            compress(compression, level, &words, &mut output).expect("compressed");
            let back = decompress(compression, &output, words.len()).expect("decompressed");
            assert!(back == words, "{compression:?} at {level:?}");
        }
    }
}

#[test]
fn a_limit_is_kept_to_the_byte() {
    for compression in ALL {
        let bomb = compressed(compression, &zeros(300_000));
        assert_eq!(
            decompress(compression, &bomb, 300_000).expect("fits").len(),
            300_000,
            "{compression:?}"
        );
        for limit in [0, 1, 65_536, 299_999] {
            let error = decompress(compression, &bomb, limit).expect_err("too large");
            let bounded = matches!(error, CompressionError::TooLarge { .. });
            assert!(bounded, "{compression:?}: {error}");
        }
    }
}

#[test]
fn a_bomb_is_given_up_at_the_limit_and_not_held() {
    // 256 MiB of zeros, of which a codec may show no more than the limit.
    for compression in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
        let mut bomb = Compressor::new(compression, Level::Default, Vec::new()).expect("set up");
        for _ in 0..256 {
            bomb.write(&zeros(1 << 20)).expect("taken");
        }
        let bomb = bomb.finish().expect("ended");
        let mut stream = Decompressor::new(compression, &bomb, 100_000).expect("set up");
        let mut chunk = [0; 4096];
        let end = loop {
            match stream.read(&mut chunk) {
                Ok(0) => panic!("{compression:?} ended"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(
            matches!(end, CompressionError::TooLarge { limit: 100_000 }),
            "{compression:?}: {end}"
        );
        assert!(stream.total() <= 100_000);
        assert_eq!(stream.read(&mut chunk).expect("over"), 0);
    }
}

#[test]
fn snappy_is_read_raw_framed_and_strung_together() {
    let words = b"a letter to K. ".repeat(5000);
    let raw = snap::raw::Encoder::new().compress_vec(&words).expect("compressed");
    assert_eq!(decompress(Compression::Snappy, &raw, words.len()).expect("raw"), words);
    let framed = compressed(Compression::Snappy, &words);
    assert!(framed.starts_with(&[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1]));
    let twice = [framed.clone(), framed].concat();
    assert_eq!(
        decompress(Compression::Snappy, &twice, words.len() * 2).expect("framed"),
        words.repeat(2)
    );
}

#[test]
fn a_snappy_block_that_declares_gigabytes_reserves_nothing() {
    // A raw block of 2^32 - 1 bytes, in five.
    let raw = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let framed = [
        &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1][..],
        &[0, 0, 0, 5],
        &raw,
    ]
    .concat();
    let negative = [&framed[..16], &[0xff; 4]].concat();
    for lie in [&raw[..], &framed, &negative] {
        let error = decompress(Compression::Snappy, lie, usize::MAX).expect_err("a lie");
        assert!(matches!(error, CompressionError::Damaged(_)), "{error}");
    }
}

#[test]
fn lz4_is_read_in_every_form_that_clients_write() {
    let words = b"the castle is never reached ".repeat(20_000);
    for mode in [BlockMode::Independent, BlockMode::Linked] {
        for size in [
            BlockSize::Max64KB,
            BlockSize::Max256KB,
            BlockSize::Max1MB,
            BlockSize::Max4MB,
        ] {
            for checks in [false, true] {
                let frame = FrameInfo::new()
                    .block_mode(mode)
                    .block_size(size)
                    .block_checksums(checks)
                    .content_checksum(checks)
                    .content_size(checks.then_some(words.len() as u64));
                let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
                encoder.write_all(&words).expect("written");
                let bytes = encoder.finish().expect("ended");
                let back = decompress(Compression::Lz4, &bytes, words.len()).expect("read");
                assert!(back == words, "{mode:?} {size:?} {checks}");
            }
        }
    }
}

#[test]
fn gzip_members_and_zstd_frames_follow_each_other() {
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(b"one ").expect("written");
    let both = [gzip.finish().expect("ended"), compressed(Compression::Gzip, b"two")].concat();
    assert_eq!(decompress(Compression::Gzip, &both, 100).expect("both"), b"one two");
    let both = [
        compressed(Compression::Zstd, b"one "),
        compressed(Compression::Zstd, b"two"),
    ]
    .concat();
    assert_eq!(decompress(Compression::Zstd, &both, 100).expect("both"), b"one two");
}

proptest! {
    #[test]
    fn damage_is_an_error_or_other_bytes_and_never_more_than_the_limit(
        input in prop::collection::vec(any::<u8>(), 0..3000),
        codec in 0_usize..5,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let compression = ALL[codec];
        let mut bytes = compressed(compression, &input);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
        }
        if let Ok(output) = decompress(compression, &bytes, 5000) {
            prop_assert!(output.len() <= 5000);
        }
        // And what never was compressed.
        let _ = decompress(compression, &input, 5000);
    }
}

#[test]
fn legacy_lz4_is_refused_as_kafka_refuses_it() {
    // Found by fuzzing: its blocks of 8 MiB are reserved before a byte of them is read.
    let legacy = [0x02, 0x21, 0x4c, 0x18, 0x60, 0x40, 0x82, 0x0c, 0x01, 0x00];
    let error = decompress(Compression::Lz4, &legacy, 1024).unwrap_err();
    assert!(matches!(error, CompressionError::Damaged(_)), "{error}");
}
