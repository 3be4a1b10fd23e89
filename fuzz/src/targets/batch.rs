//! A record set: the view of its batches, their checks, the walk over their records.

use protocol::batch::{
    BatchBuilder, Compression, batches, check_whole, patch_max_timestamp, patch_offset_and_epoch, records,
    validate_produced, walk,
};

use super::log::{sample, seal_all};
use crate::memory;
use crate::pieces::Pieces;

/// A flag of the first byte: the checksums are made right.
const SEAL: u8 = 1;

pub(crate) fn run(input: &[u8]) {
    let mut pieces = Pieces::of(input);
    let flags = pieces.byte();
    let mut set = pieces.rest().to_vec();
    if flags & SEAL != 0 {
        seal_all(&mut set);
    }
    // Views borrow; only an error's text may take memory.
    memory::bounded(0, input, || {
        let _ = validate_produced(&set);
        let mut taken = 0;
        for batch in batches(&set) {
            let Ok((header, batch)) = batch else { break };
            taken += batch.len();
            assert_eq!(batch.len(), header.size_in_bytes());
            let found = records(batch).expect("the header was read before");
            let mut count = 0;
            let mut whole = true;
            let mut in_order = true;
            for record in found {
                let Ok(record) = record else {
                    whole = false;
                    break;
                };
                in_order &= record.offset_delta == count;
                count += 1;
                let held = record.headers.size_hint().0;
                assert_eq!(record.headers.count(), held, "headers that were proved are read");
            }
            if !header.attributes.is_compressed() {
                let walked = walk(batch, &header);
                let agrees = whole && in_order && header.records_count >= 0 && count == header.records_count;
                assert_eq!(walked.is_ok(), agrees, "both ways over the records agree: {walked:?}");
            }
        }
        assert!(taken <= set.len());
    });
    patched(&mut set);
}

/// Stamping touches nothing that the checksum covers, or makes it anew.
fn patched(set: &mut [u8]) {
    let Ok(header) = check_whole(set) else { return };
    patch_offset_and_epoch(set, 77, 7).expect("a whole batch");
    let stamped = check_whole(set).expect("the checksum does not cover what was stamped");
    assert_eq!((stamped.base_offset, stamped.partition_leader_epoch), (77, 7));
    assert_eq!(stamped.records_count, header.records_count);
    patch_max_timestamp(set, 5).expect("a whole batch");
    assert_eq!(check_whole(set).expect("the checksum was made anew").max_timestamp, 5);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut headers = BatchBuilder::new();
    headers.push(5, None, None, &[("h", Some(b"v".as_slice())), ("h", None)]);
    let mut sets = vec![
        sample(0, 1),
        sample(0, 4),
        headers.build(),
        BatchBuilder::new().record(1, Some(b"key"), Some(b"value")).build(),
        BatchBuilder::new()
            .producer(5, 0, 3)
            .transactional()
            .record(1, None, Some(b"v"))
            .build(),
        BatchBuilder::new().control().record(1, Some(b"c"), None).build(),
        BatchBuilder::new().log_append_time().record(1, None, None).build(),
    ];
    for compression in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        sets.push(BatchBuilder::new().compressed(compression, b"not really", 3, 9).build());
    }
    sets.into_iter()
        .flat_map(|set| {
            [0, SEAL].map(|flags| {
                let mut seed = vec![flags];
                seed.extend_from_slice(&set);
                seed
            })
        })
        .collect()
}
