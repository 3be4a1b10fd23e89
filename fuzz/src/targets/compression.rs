//! Compressed records of every codec: by themselves, and in a batch whose records are walked.

use protocol::batch::{BatchBuilder, BatchHeader, Compression, RecordStream, walk_compressed};
use protocol::compression::{Level, compress, decompress};

use crate::memory;
use crate::pieces::Pieces;

const CODECS: [Compression; 4] = [
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// Bytes that may come out.
const LIMIT: usize = 64 << 10;

/// What a codec may hold: two LZ4 blocks of 4 MiB are the most, beside what came out, twice while it grows.
const MOST: usize = (9 << 20) + 3 * LIMIT;

pub(crate) fn run(input: &[u8]) {
    let mut pieces = Pieces::of(input);
    let (kind, count) = (pieces.byte(), pieces.byte());
    let codec = CODECS[usize::from(kind) % CODECS.len()];
    if (usize::from(kind) / CODECS.len()).is_multiple_of(2) {
        let read = memory::at_most(MOST, || decompress(codec, pieces.rest(), LIMIT));
        let Ok(bytes) = read else { return };
        assert!(bytes.len() <= LIMIT);
        let mut again = Vec::new();
        compress(codec, Level::Default, &bytes, &mut again).expect("a vector takes everything");
        let same = decompress(codec, &again, LIMIT).expect("our own work can be read");
        assert_eq!(same, bytes);
    } else {
        let batch = BatchBuilder::new()
            .compressed(codec, pieces.rest(), i32::from(count), 7)
            .build();
        walk_both_ways(&batch);
    }
}

/// Walking the records and reading them agree.
fn walk_both_ways(batch: &[u8]) {
    let header = BatchHeader::parse(batch).expect("a batch of our own");
    let walked = memory::at_most(MOST, || walk_compressed(batch, &header, LIMIT));
    let Ok(mut stream) = RecordStream::new(batch, LIMIT) else {
        assert!(walked.is_err(), "both ways over the records agree: {walked:?}");
        return;
    };
    let (mut count, mut in_order) = (0, true);
    let whole = memory::at_most(MOST, || {
        loop {
            match stream.next_record() {
                Ok(Some(record)) => {
                    in_order &= record.offset_delta == count;
                    count += 1;
                }
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    });
    let agrees = whole && in_order && count == header.records_count;
    assert_eq!(walked.is_ok(), agrees, "both ways over the records agree: {walked:?}");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut builder = BatchBuilder::new();
    for record in 0..5_u8 {
        builder.push(i64::from(record), Some(b"key"), Some(&[record; 40]), &[("h", None)]);
    }
    let batch = builder.build();
    let records = &batch[protocol::batch::HEADER_LEN..];
    // The last two are more than the limit: bombs.
    let contents = [
        records.to_vec(),
        Vec::new(),
        vec![7; LIMIT],
        vec![0; LIMIT + 1],
        vec![0; 4 << 20],
    ];
    let mut seeds = Vec::new();
    for kind in 0..2 * CODECS.len() {
        for content in &contents {
            let mut seed = vec![kind as u8, 5];
            let codec = CODECS[kind % CODECS.len()];
            compress(codec, Level::Default, content, &mut seed).expect("a vector takes everything");
            // An input is no longer than libFuzzer is told to make it.
            if seed.len() <= 4096 {
                seeds.push(seed);
            }
        }
    }
    seeds
}
