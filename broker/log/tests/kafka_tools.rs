//! Kafka's own `kafka-dump-log` reads what we write, and finds nothing to complain about.
//!
//! Needs Java and the jars of Kafka 4.3 in `.cache/kafka-4.3.0` (or `KAFKA_JARS`); skipped with a line otherwise.

#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process::Command;

use broker_log::dir::fs::FsDir;
use broker_log::{DataDir, LogConfig, OpenState, PartitionLog, TopicPartition};
use model::{LeaderEpoch, PartitionIndex, TopicId, TopicName};
use protocol::batch::BatchBuilder;

/// After all that is written here: what comes from the future is refused.
const NOW_MS: i64 = 1_700_000_010_000;

fn jars() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/kafka-4.3.0");
    let jars = std::env::var_os("KAFKA_JARS").map_or(here, PathBuf::from);
    jars.is_dir().then_some(jars)
}

fn dump(jars: &Path, file: &Path, options: &[&str]) -> String {
    let output = Command::new("java")
        .args([
            "-Xmx256m",
            "-cp",
            &format!("{}/*", jars.display()),
            "org.apache.kafka.tools.DumpLogSegments",
        ])
        .args(options)
        .arg("--files")
        .arg(file)
        .output()
        .expect("java runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", file.display());
    text
}

#[test]
fn kafka_dump_log_reads_segments_indexes_and_snapshots() {
    let Some(jars) = jars().filter(|_| Command::new("java").arg("-version").output().is_ok()) else {
        println!("skipped: no Java, or no jars of Kafka 4.3 in .cache/kafka-4.3.0");
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let dir = FsDir::new(temp.path());
    let (data, _) = DataDir::open(dir).unwrap();
    let of = TopicPartition {
        topic: TopicName::new("mail").unwrap(),
        partition: PartitionIndex(0),
    };
    let id = TopicId::from_random([7; 16]);
    let config = LogConfig {
        segment_bytes: 100_000,
        ..LogConfig::default()
    };
    let (mut log, _) = PartitionLog::open(&data, of, id, config, OpenState::default(), 0).unwrap();
    let mut outcomes = Vec::new();
    for number in 0..1000_i32 {
        let timestamp = 1_700_000_000_000 + i64::from(number % 7) + i64::from(number);
        let mut batch = BatchBuilder::new()
            .producer(40 + i64::from(number % 3), 0, number / 3 * 2)
            .record(timestamp, Some(b"key"), Some(&[7; 100]))
            .record(timestamp + 1, None, Some(&[8; 60]))
            .build();
        log.append_as_leader(&mut [&mut batch], LeaderEpoch(number / 400), NOW_MS, &mut outcomes);
        assert!(outcomes[0].is_ok(), "{outcomes:?}");
    }
    // A segment of one batch, whose indexes hold next to nothing, and a short active one, which has none.
    for size in [99_000, 100, 100, 5_000] {
        let mut batch = BatchBuilder::new()
            .record(1_700_000_009_000, None, Some(&vec![9; size]))
            .build();
        log.append_as_leader(&mut [&mut batch], LeaderEpoch(3), NOW_MS, &mut outcomes);
        assert!(outcomes[0].is_ok(), "{outcomes:?}");
    }
    let segments = log.segment_count();
    assert!(segments >= 4);
    log.close().unwrap();

    let (mut logs, mut indexes) = (0, 0);
    for entry in std::fs::read_dir(temp.path().join("mail-0")).unwrap() {
        let path = entry.unwrap().path();
        match path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("log") => {
                let text = dump(&jars, &path, &["--deep-iteration", "--print-data-log"]);
                assert!(
                    text.contains("isvalid: true") && !text.contains("isvalid: false"),
                    "{text}"
                );
                assert!(!text.contains("Found"), "{text}");
                logs += 1;
            }
            Some("index" | "timeindex") => {
                let text = dump(&jars, &path, &["--verify-index-only"]);
                assert!(
                    !text.contains("ismatch") && !text.contains("Found"),
                    "{}: {text}",
                    path.display()
                );
                indexes += 1;
            }
            Some("snapshot") => {
                let text = dump(&jars, &path, &[]);
                assert!(text.contains("producerId: 40"), "{text}");
            }
            _ => {}
        }
    }
    assert_eq!((logs, indexes), (segments, 2 * (segments - 1)));
}
