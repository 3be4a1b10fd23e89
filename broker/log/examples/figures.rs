//! What an append, a read and an open of the log cost here: `cargo run --profile fast -p broker-log --example figures`.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

use std::time::Duration;

use broker_log::dir::fs::FsDir;
use broker_log::{Checkpoint, DataDir, LogConfig, Offsets, OpenState, PartitionLog, TopicPartition};
use model::{BrokerEpoch, LeaderEpoch, PartitionIndex, TopicId, TopicName};
use protocol::batch::{BatchBuilder, Compression};
use protocol::compression::Level;

/// Time on a core, so that neighbours on the machine do not count.
struct Busy(Duration);

impl Busy {
    fn read() -> Duration {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
    }

    fn now() -> Self {
        Self(Self::read())
    }

    fn elapsed(&self) -> Duration {
        Self::read().checked_sub(self.0).unwrap()
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn partition(index: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicName::new("many").unwrap(),
        partition: PartitionIndex(index),
    }
}

/// What it costs to look into what a producer compressed: batches of 16 KiB of text, as clients fill them by default.
fn compressed(log: &mut PartitionLog<FsDir>, codec: Compression, now: i64) {
    const BATCHES: u32 = 4000;
    let text: Vec<u8> = (0..200_u32)
        .flat_map(|n| format!("{{\"id\":{},\"state\":\"sent\"}}", n * 7919 % 1013).into_bytes())
        .collect();
    let mut builder = BatchBuilder::new();
    for at in 0..80 {
        builder.push(now, None, Some(&text[at * 20..at * 20 + 197]), &[]);
    }
    let plain = builder.size_in_bytes();
    let batch = builder.compress(codec, Level::Default).unwrap().build();
    let (mut sent, mut outcomes) = (batch.clone(), Vec::new());
    let start = Busy::now();
    for _ in 0..BATCHES {
        sent[..8].fill(0);
        log.append_as_leader(&mut [&mut sent], LeaderEpoch(0), now, &mut outcomes);
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    let each = start.elapsed() / BATCHES;
    let walk = Busy::now();
    let header = protocol::batch::check_whole(&batch).unwrap();
    for _ in 0..BATCHES {
        protocol::batch::walk_compressed(&batch, &header, 1 << 20).unwrap();
    }
    let walk = walk.elapsed() / BATCHES;
    println!(
        "append of 80 records, {plain} bytes, {codec:?} {}: {each:?}, of which a walk by stream {walk:?}",
        batch.len()
    );
}

fn main() {
    const PARTITIONS: i32 = 5000;
    const APPENDS: u32 = 400_000;
    const NOW: i64 = 1_700_000_000_000;
    let temp = tempfile::tempdir().unwrap();
    let dir = FsDir::new(temp.path());
    let id = TopicId::from_random([1; 16]);
    let (data, _) = DataDir::open(dir.clone()).unwrap();
    let open = |data: &DataDir<FsDir>, index, state| {
        PartitionLog::open(data, partition(index), id, LogConfig::default(), state, 0)
            .unwrap()
            .0
    };

    let mut log = open(&data, 0, OpenState::default());
    let batch = BatchBuilder::new().record(NOW, None, Some(&[7; 197])).build();
    let mut outcomes = Vec::new();
    for depth in [1_u32, 5] {
        let mut sent: Vec<Vec<u8>> = (0..depth).map(|_| batch.clone()).collect();
        let start = Busy::now();
        for _ in 0..APPENDS / depth {
            for sent in &mut sent {
                // As a producer sends it: the log stamps the offset in place.
                sent[..8].fill(0);
            }
            let mut slices: Vec<&mut [u8]> = sent.iter_mut().map(Vec::as_mut_slice).collect();
            log.append_as_leader(&mut slices, LeaderEpoch(0), NOW, &mut outcomes);
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        }
        let each = start.elapsed() / APPENDS;
        println!("append of {} bytes, {depth} at a time: {each:?} a batch", batch.len());
    }
    for codec in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        compressed(&mut log, codec, NOW);
    }
    let start = Busy::now();
    let reads = 100_000;
    for at in 0..reads {
        let slice = log
            .read(log.log_end_offset() - 1 - at % 3, 1 << 20, i64::MAX, true)
            .unwrap();
        assert!(!slice.is_empty());
    }
    println!("read at the tail: {:?}", start.elapsed() / reads as u32);
    let mut offsets = Offsets::from([(partition(0), log.close().unwrap())]);

    let start = Busy::now();
    for index in 1..PARTITIONS {
        let mut log = open(&data, index, OpenState::default());
        for _ in 0..3 {
            log.append_as_leader(&mut [&mut batch.clone()], LeaderEpoch(0), NOW, &mut outcomes);
        }
        offsets.insert(partition(index), log.close().unwrap());
    }
    println!(
        "create, append, close: {:?} a partition",
        start.elapsed() / PARTITIONS as u32
    );
    data.write(Checkpoint::RecoveryPoint, &offsets).unwrap();
    data.write_clean_shutdown(BrokerEpoch(1)).unwrap();

    let before = resident_kib();
    let start = Busy::now();
    let (data, last_life) = DataDir::open(dir).unwrap();
    let logs: Vec<_> = data
        .partitions()
        .unwrap()
        .into_iter()
        .map(|(of, _)| {
            let recovery_point = last_life.recovery_points[&of];
            let state = OpenState {
                clean: last_life.clean_shutdown.is_some(),
                recovery_point,
                log_start_offset: 0,
            };
            open(&data, of.partition.0, state)
        })
        .collect();
    let took = start.elapsed();
    let each = (resident_kib() - before) * 1024 / logs.len() as u64;
    println!("clean open of {} partitions: {took:?}, {each} bytes each", logs.len());
}
