//! What comes in, and what the topic's settings make of it.

use protocol::batch::{Compression, RecordStream, TimestampType, check_whole};
use protocol::compression::Level;

use super::*;
use crate::StoredAs;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn in_codec(codec: Compression, timestamps: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for timestamp in timestamps {
        builder = builder.record(*timestamp, Some(b"k"), Some(&[7; 400]));
    }
    builder.compress(codec, Level::Default).unwrap().build()
}

/// Appends at 1000 ms.
fn append_at_1000(log: &mut PartitionLog<SimDir>, batch: &[u8]) -> Result<AppendInfo, AppendError> {
    let mut sent = batch.to_vec();
    let mut outcomes = Vec::new();
    log.append_as_leader(&mut [&mut sent], LeaderEpoch(1), 1000, &mut outcomes);
    outcomes.remove(0)
}

fn open_so(config: LogConfig) -> PartitionLog<SimDir> {
    open_with(&SimDir::new(), config, OpenState::default()).unwrap().0
}

#[test]
fn records_from_too_far_in_the_past_or_the_future_are_refused_one_by_one() {
    let mut log = open_so(LogConfig {
        timestamp_before_max_ms: 100,
        timestamp_after_max_ms: 10,
        ..LogConfig::default()
    });
    for codec in CODECS {
        let mut at_fault = |timestamps: &[i64]| match append_at_1000(&mut log, &in_codec(codec, timestamps)) {
            Ok(_) => Vec::new(),
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
                error.record_errors().into_iter().map(|(index, _)| index).collect()
            }
        };
        assert_eq!(at_fault(&[1010, 900]), [0; 0], "{codec:?}");
        assert_eq!(at_fault(&[1010, 1011, 1000, 2000]), [1, 3]);
        assert_eq!(at_fault(&[899, 1000]), [0]);
        assert_eq!(at_fault(&[-1, -1]), [0; 0], "no timestamp is none too early");
        assert_eq!(at_fault(&[-1, 5]), [1]);
    }
}

#[test]
fn a_batch_that_no_consumer_could_read_is_refused() {
    let mut log = open_so(LogConfig::default());
    for codec in CODECS {
        let good = in_codec(codec, &[1, 2, 3]);
        let records = &good[61..];
        let wrong = |records: &[u8], count| {
            let batch = BatchBuilder::new().compressed(codec, records, count, 1);
            batch.build()
        };
        for sent in [
            wrong(records, 2),
            wrong(records, 4),
            wrong(&records[..records.len() / 2], 3),
            wrong(b"no codec wrote this", 3),
        ] {
            let error = append_at_1000(&mut log, &sent).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidRecord, "{codec:?}: {error}");
        }
        append_at_1000(&mut log, &good).unwrap();
    }
    assert_eq!(log.log_end_offset(), 15);
}

#[test]
fn log_append_time_is_the_time_of_every_record_and_of_the_answer() {
    let mut log = open_so(LogConfig {
        timestamp_type: TimestampType::LogAppendTime,
        // Whatever the producer's clock says.
        timestamp_after_max_ms: 0,
        ..LogConfig::default()
    });
    for (number, codec) in CODECS.into_iter().enumerate() {
        let info = append_at_1000(&mut log, &in_codec(codec, &[5, 9_000_000])).unwrap();
        assert_eq!((info.base_offset, info.log_append_time_ms), (number as i64 * 2, 1000));
    }
    for batch in batches(&log.content()) {
        let (header, bytes) = batch.unwrap();
        assert_eq!(check_whole(bytes).unwrap().max_timestamp, 1000);
        assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    }
    let found = log.offset_for_timestamp(6).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (0, 1000));
    assert_eq!(log.max_timestamp_offset().unwrap(), Some(found));
    assert_eq!(log.offset_for_timestamp(1001).unwrap(), None);
}

#[test]
fn a_retry_under_log_append_time_is_answered_with_the_time_of_the_first_try() {
    let mut log = open_so(LogConfig {
        timestamp_type: TimestampType::LogAppendTime,
        ..LogConfig::default()
    });
    let first = append_at_1000(&mut log, &from_producer(0, 0)).unwrap();
    let mut again = from_producer(0, 0);
    let mut outcomes = Vec::new();
    log.append_as_leader(&mut [&mut again], LeaderEpoch(1), 2000, &mut outcomes);
    let again = outcomes.remove(0).unwrap();
    assert!(again.duplicate);
    assert_eq!((again.base_offset, again.log_append_time_ms), (first.base_offset, 1000));
}

#[test]
fn a_topics_codec_is_the_codec_of_all_its_batches() {
    for target in CODECS {
        let mut log = open_so(LogConfig {
            stored_as: StoredAs::Recompressed(target, Level::At(2)),
            ..small()
        });
        for codec in CODECS {
            // Their max timestamp is a lie, as KafkaJS tells it.
            let mut sent = in_codec(codec, &[5, 7, 6]);
            patch_max_timestamp(&mut sent, -1).unwrap();
            if target == Compression::None {
                let error = append_at_1000(&mut log, &sent).unwrap_err();
                assert_eq!(
                    error.code(),
                    if codec == target {
                        ErrorCode::RecordListTooLarge
                    } else {
                        ErrorCode::MessageTooLarge
                    }
                );
            } else if codec != Compression::None {
                append_at_1000(&mut log, &sent).unwrap();
            }
        }
        log.set_config(LogConfig {
            segment_bytes: 100_000,
            ..log.config().clone()
        });
        for codec in CODECS {
            append_at_1000(&mut log, &in_codec(codec, &[5, 7, 6])).unwrap();
        }
        for batch in batches(&log.content()) {
            let (header, bytes) = batch.unwrap();
            assert_eq!(check_whole(bytes).unwrap().attributes.compression(), Ok(target));
            assert_eq!(
                (header.base_timestamp, header.max_timestamp, header.records_count),
                (5, 7, 3)
            );
            let mut stream = RecordStream::new(bytes, 1 << 20).unwrap();
            for delta in [0, 2, 1] {
                let record = stream.next_record().unwrap().unwrap();
                assert_eq!((record.timestamp_delta, record.value), (delta, Some(&[7; 400][..])));
            }
        }
        log.check_indexes().unwrap();
    }
}

#[test]
fn recompressed_batches_keep_what_idempotence_needs() {
    let mut log = open_so(LogConfig {
        stored_as: StoredAs::Recompressed(Compression::Zstd, Level::Default),
        ..LogConfig::default()
    });
    for sequence in 0..3 {
        log.append(&from_producer(4, sequence)).unwrap();
    }
    assert!(log.append(&from_producer(4, 1)).unwrap().duplicate);
    assert_eq!(
        log.append(&from_producer(4, 9)).unwrap_err().code(),
        ErrorCode::OutOfOrderSequenceNumber
    );
    assert_eq!(log.log_end_offset(), 3);
}

#[test]
fn compressed_records_are_found_by_time_to_the_record() {
    for codec in CODECS {
        let mut log = open_so(LogConfig::default());
        log.append(&in_codec(codec, &[5])).unwrap();
        log.append(&in_codec(codec, &[6, 9, 7, 8, 9])).unwrap();
        for (wanted, expected) in [(0, (5, 0)), (6, (6, 1)), (7, (9, 2)), (9, (9, 2))] {
            let found = log.offset_for_timestamp(wanted).unwrap().unwrap();
            assert_eq!((found.timestamp, found.offset), expected, "{codec:?} at {wanted}");
        }
        assert_eq!(log.offset_for_timestamp(10).unwrap(), None);
        let max = log.max_timestamp_offset().unwrap().unwrap();
        assert_eq!((max.timestamp, max.offset), (9, 2));
    }
}

#[test]
fn jitter_closes_segments_that_began_together_at_different_times() {
    let ends: std::collections::BTreeSet<i64> = (0..8)
        .map(|index| {
            let (data, _) = DataDir::open(SimDir::new()).unwrap();
            let of = TopicPartition {
                topic: TopicName::new("mail").unwrap(),
                partition: PartitionIndex(index),
            };
            let config = LogConfig {
                segment_ms: 1000,
                segment_jitter_ms: 400,
                ..LogConfig::default()
            };
            let (mut log, _) = PartitionLog::open(&data, of, id(1), config, OpenState::default(), 0).unwrap();
            let mut timestamp = 0;
            while log.segment_count() == 1 {
                log.append(&batch(1, timestamp)).unwrap();
                timestamp += 10;
            }
            timestamp
        })
        .collect();
    assert!(ends.len() > 3, "{ends:?}");
    assert!(ends.iter().all(|end| (600..=1020).contains(end)), "{ends:?}");
}
