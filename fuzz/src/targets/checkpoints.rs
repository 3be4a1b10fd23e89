//! The text files of a data directory: checkpoints, the clean-shutdown mark, topic ids, leader epochs.

use broker_log::dir::Dir;
use broker_log::{Checkpoint, DataDir, OpenState};

use super::log::{disk, open, partition, sample, write};
use crate::memory;
use crate::pieces::{Pieces, join};

const FACTOR: usize = 64;

pub(crate) fn run(input: &[u8]) {
    let mut pieces = Pieces::of(input);
    let [recovery, start, watermark, clean, metadata, epochs] =
        std::array::from_fn(|_| pieces.piece().unwrap_or_default());
    let log = sample(0, 3);
    let root = disk(&[("00000000000000000000.log", &log), ("leader-epoch-checkpoint", epochs)]);
    write(&root, "recovery-point-offset-checkpoint", recovery);
    write(&root, "log-start-offset-checkpoint", start);
    write(&root, "replication-offset-checkpoint", watermark);
    write(&root, ".kafka_cleanshutdown", clean);
    if !metadata.is_empty() {
        write(
            &root.subdir(&partition().directory_name()),
            "partition.metadata",
            metadata,
        );
    }
    let opened = memory::bounded(FACTOR, input, || DataDir::open(root.clone()));
    if let Ok((data, life)) = opened {
        let _ = data.partitions();
        // What was read is what is written, and read again.
        for (checkpoint, offsets) in [
            (Checkpoint::RecoveryPoint, &life.recovery_points),
            (Checkpoint::LogStartOffset, &life.log_start_offsets),
            (Checkpoint::HighWatermark, &life.high_watermarks),
        ] {
            data.write(checkpoint, offsets).expect("a disk without faults");
        }
        let (_, again) = DataDir::open(root.clone()).expect("files of our own");
        assert_eq!(again.clean_shutdown, None, "the mark is taken once");
        assert_eq!(again.recovery_points, life.recovery_points);
        assert_eq!(again.log_start_offsets, life.log_start_offsets);
        assert_eq!(again.high_watermarks, life.high_watermarks);
    }
    for clean in [true, false] {
        let state = OpenState {
            clean,
            recovery_point: 6,
            log_start_offset: 0,
        };
        if let Ok(log) = open(&root, state) {
            let entries = log.leader_epochs().entries();
            assert!(entries.windows(2).all(|pair| pair[0].epoch < pair[1].epoch));
            assert!(
                entries
                    .windows(2)
                    .all(|pair| pair[0].start_offset < pair[1].start_offset)
            );
        }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let offsets: &[u8] = b"0\n2\nt 0 3\nother-topic 17 9223372036854775807\n";
    let id = format!("version: 0\ntopic_id: {}", super::log::ID);
    let mark = b"{\"version\":0,\"brokerEpoch\":17}";
    let epochs: &[u8] = b"0\n2\n0 0\n4 3\n";
    vec![
        join(&[], [offsets, offsets, offsets, mark, id.as_bytes(), epochs]),
        join(
            &[],
            [
                b"0\n0\n".as_slice(),
                b"1\n0\n",
                b"0\n1\n",
                b"{}",
                b"version: 1\n",
                b"0\n1\n-1 -1\n",
            ],
        ),
        join(&[], [b"".as_slice(); 6]),
        join(
            &[],
            [
                b"0\n1\nt 0 -1\n".as_slice(),
                b"0\n1\nt +0 3\n",
                offsets,
                b"{\"version\":1}",
                b"",
                b"0\n2\n4 3\n0 0\n",
            ],
        ),
    ]
}
