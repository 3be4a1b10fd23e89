use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression as OracleCompression, Record as OracleRecord, RecordBatchDecoder, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType as OracleTimestampType,
};
use proptest::prelude::*;

use super::*;
use crate::ErrorCode;
use crate::compression::{self, Level};

/// A batch as an ordinary idempotent producer sends it.
fn batch() -> Vec<u8> {
    BatchBuilder::new()
        .producer(4000, 1, 9)
        .record(1_700_000_000_000, Some(b"k"), Some(b"value"))
        .record_with_headers(1_700_000_000_005, None, None, &[("h", Some(b"1")), ("h", None)])
        .build()
}

#[test]
fn a_batch_has_kafkas_bytes() {
    let batch = BatchBuilder::new()
        .base_offset(0x0102_0304_0506_0708)
        .leader_epoch(0x1112_1314)
        .producer(0x2122_2324_2526_2728, 0x3132, 0x4142_4344)
        .transactional()
        .record(0x0000_0180_0000_0000, Some(b"k"), Some(b"v"))
        .record(0x0000_0180_0000_0001, None, None)
        .build();
    #[rustfmt::skip]
    let golden = [
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // base offset
        0x00, 0x00, 0x00, 0x41,                         // length: 49 of the header, 9 and 7 of the records
        0x11, 0x12, 0x13, 0x14,                         // leader epoch
        0x02,                                           // magic
        0xc1, 0xfb, 0x2d, 0x91,                         // CRC32C of what follows, computed bit by bit
        0x00, 0x10,                                     // attributes: transactional
        0x00, 0x00, 0x00, 0x01,                         // last offset delta
        0x00, 0x00, 0x01, 0x80, 0x00, 0x00, 0x00, 0x00, // base timestamp
        0x00, 0x00, 0x01, 0x80, 0x00, 0x00, 0x00, 0x01, // max timestamp
        0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, // producer id
        0x31, 0x32,                                     // producer epoch
        0x41, 0x42, 0x43, 0x44,                         // base sequence
        0x00, 0x00, 0x00, 0x02,                         // records count
        // Length, attributes, timestamp delta, offset delta, key, value, headers.
        0x10, 0x00, 0x00, 0x00, 0x02, b'k', 0x02, b'v', 0x00,
        0x0c, 0x00, 0x02, 0x02, 0x01, 0x01, 0x00,
    ];
    assert_eq!(batch, golden);
}

#[test]
fn a_header_is_read_as_it_was_written() {
    let header = BatchHeader::parse(&batch()).unwrap();
    assert_eq!(header.size_in_bytes(), batch().len());
    assert_eq!(
        (header.base_offset, header.last_offset(), header.next_offset()),
        (0, 1, 2)
    );
    assert_eq!((header.producer_id, header.producer_epoch), (4000, 1));
    assert_eq!((header.base_sequence, header.last_sequence()), (9, 10));
    assert_eq!(
        (header.base_timestamp, header.max_timestamp),
        (1_700_000_000_000, 1_700_000_000_005)
    );
    assert_eq!(header.records_count, 2);
    assert!(header.has_producer_id());
    assert_eq!(header.attributes.compression(), Ok(Compression::None));
}

#[test]
fn a_header_alone_is_enough_to_walk_a_file() {
    assert_eq!(BatchHeader::parse(&batch()[..HEADER_LEN]), BatchHeader::parse(&batch()));
    assert_eq!(
        BatchHeader::parse(&batch()[..60]),
        Err(BatchError::Truncated { needed: 61, left: 60 })
    );
}

#[test]
fn sequence_numbers_wrap_to_zero() {
    assert_eq!(add_to_sequence(i32::MAX, 1), 0);
    assert_eq!(add_to_sequence(i32::MAX - 1, 3), 1);
    assert_eq!(add_to_sequence(5, 0), 5);
}

#[test]
fn offset_and_epoch_are_stamped_without_touching_the_checksum() {
    let mut batch = batch();
    patch_offset_and_epoch(&mut batch, 77, 5).unwrap();
    let header = check_whole(&batch).unwrap();
    assert_eq!((header.base_offset, header.partition_leader_epoch), (77, 5));
    assert_eq!(header.last_offset(), 78);
    assert!(patch_offset_and_epoch(&mut batch[..60], 1, 1).is_err());
}

#[test]
fn a_wrong_max_timestamp_is_noticed_and_put_right() {
    let mut batch = batch();
    patch_max_timestamp(&mut batch, -1).unwrap();
    let produced = validate_produced(&batch).unwrap();
    assert!(produced.max_timestamp_is_wrong());
    let walked = produced.walked.unwrap();
    assert_eq!(
        (walked.max_timestamp, walked.offset_delta_of_max_timestamp),
        (1_700_000_000_005, 1)
    );
    assert_eq!(walked.first_without_key, Some(1));
    patch_max_timestamp(&mut batch, walked.max_timestamp).unwrap();
    assert!(!validate_produced(&batch).unwrap().max_timestamp_is_wrong());
}

/// Changes bytes of a valid batch and makes the checksum right again, so that only the rule itself can refuse it.
fn forged(place: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = batch();
    batch[place..place + bytes.len()].copy_from_slice(bytes);
    seal(&mut batch);
    batch
}

#[test]
fn a_producers_batch_must_keep_the_rules_of_the_protocol() {
    let long = batch().len() as i32;
    let cases: Vec<(Vec<u8>, BatchError, ErrorCode)> = vec![
        (Vec::new(), BatchError::NotOneBatch, ErrorCode::InvalidRecord),
        (
            [batch(), batch()].concat(),
            BatchError::NotOneBatch,
            ErrorCode::InvalidRecord,
        ),
        (
            batch()[..batch().len() - 1].to_vec(),
            BatchError::Truncated {
                needed: long as usize,
                left: long as usize - 1,
            },
            ErrorCode::CorruptMessage,
        ),
        (
            forged(8, &48_i32.to_be_bytes()),
            BatchError::InvalidLength { length: 48 },
            ErrorCode::CorruptMessage,
        ),
        (
            forged(8, &(-1_i32).to_be_bytes()),
            BatchError::InvalidLength { length: -1 },
            ErrorCode::CorruptMessage,
        ),
        (
            forged(16, &[1]),
            BatchError::UnsupportedMagic { magic: 1 },
            ErrorCode::InvalidRecord,
        ),
        (
            forged(0, &7_i64.to_be_bytes()),
            BatchError::BaseOffsetNotZero { base_offset: 7 },
            ErrorCode::InvalidRecord,
        ),
        (
            forged(57, &3_i32.to_be_bytes()),
            BatchError::CountMismatch {
                records_count: 3,
                last_offset_delta: 1,
            },
            ErrorCode::InvalidRecord,
        ),
        (
            BatchBuilder::new().build(),
            BatchError::CountMismatch {
                records_count: 0,
                last_offset_delta: -1,
            },
            ErrorCode::InvalidRecord,
        ),
        (
            forged(21, &[0, 0x20]),
            BatchError::ControlBatch,
            ErrorCode::InvalidRecord,
        ),
        (
            forged(21, &[0, 0x08]),
            BatchError::LogAppendTime,
            ErrorCode::InvalidTimestamp,
        ),
        (
            forged(21, &[0, 0x05]),
            BatchError::UnknownCompression { id: 5 },
            ErrorCode::UnsupportedCompressionType,
        ),
        (
            forged(53, &(-1_i32).to_be_bytes()),
            BatchError::NoSequence {
                producer_id: 4000,
                producer_epoch: 1,
                base_sequence: -1,
            },
            ErrorCode::InvalidRecord,
        ),
        (
            forged(51, &(-1_i16).to_be_bytes()),
            BatchError::NoSequence {
                producer_id: 4000,
                producer_epoch: -1,
                base_sequence: 9,
            },
            ErrorCode::InvalidRecord,
        ),
    ];
    for (bytes, error, code) in cases {
        assert_eq!(validate_produced(&bytes), Err(error));
        assert_eq!(error.code(), code, "{error}");
    }
    assert!(validate_produced(&batch()).is_ok());
}

#[test]
fn a_count_of_2_to_the_31_records_is_refused_without_a_walk() {
    let mut batch = batch();
    batch[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    batch[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    seal(&mut batch);
    assert!(matches!(
        validate_produced(&batch),
        Err(BatchError::MalformedRecord { .. })
    ));
}

#[test]
fn records_that_do_not_fit_are_named() {
    // The first record: length 12, attributes, two deltas, key length, k, value length, value, number of headers.
    let first = HEADER_LEN;
    for (place, byte, what) in [
        (first, 0x7e, "it is longer than its batch"),
        (first, 0x01, "its length is negative"),
        (first, 0x10, "its fields do not fit its length"),
        (first, 0x1a, "its length is more than its fields take"),
        (first + 3, 0x02, "its offset delta is not its position"),
        (first + 4, 0x7e, "its fields do not fit its length"),
        (first + 12, 0x01, "its number of headers is negative"),
    ] {
        let error = validate_produced(&forged(place, &[byte])).unwrap_err();
        assert_eq!(error, BatchError::MalformedRecord { index: 0, what }, "place {place}");
        assert_eq!(error.record_index(), Some(0));
    }
}

#[test]
fn bytes_after_the_last_record_are_refused() {
    let mut batch = batch();
    batch.push(0);
    let length = batch.len() as i32 - 12;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    seal(&mut batch);
    assert_eq!(validate_produced(&batch), Err(BatchError::TrailingBytes { left: 1 }));
    let last = records(&batch).unwrap().last();
    assert!(matches!(last, Some(Err(BatchError::TrailingBytes { left: 1 }))));
}

#[test]
fn a_compressed_batch_is_believed_by_its_header() {
    let batch = BatchBuilder::new()
        .compressed(Compression::Zstd, b"opaque", 12, 5)
        .build();
    let produced = validate_produced(&batch).unwrap();
    assert_eq!(produced.header.records_count, 12);
    assert_eq!(produced.walked, None);
    assert_eq!(produced.header.attributes.compression(), Ok(Compression::Zstd));
    assert_eq!(records(&batch).unwrap().count(), 0);
}

#[test]
fn a_record_set_is_walked_batch_by_batch_to_its_torn_end() {
    let one = batch();
    let mut set = [one.clone(), one.clone(), one.clone()].concat();
    set.truncate(set.len() - 1);
    let seen: Vec<_> = batches(&set).collect();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[1].unwrap().1, one.as_slice());
    assert_eq!(
        seen[2],
        Err(BatchError::Truncated {
            needed: one.len(),
            left: one.len() - 1
        })
    );
    assert_eq!(batches(&[]).count(), 0);
}

/// A record as the model knows it.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn model() -> impl Strategy<Value = Model> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..80));
    let headers = prop::collection::vec(("[a-z]{0,3}", bytes()), 0..4);
    (0_i64..1 << 45, bytes(), bytes(), headers).prop_map(|(timestamp, key, value, headers)| Model {
        timestamp,
        key,
        value,
        headers,
    })
}

fn build(models: &[Model]) -> Vec<u8> {
    let mut builder = BatchBuilder::new().producer(7, 0, 0);
    for model in models {
        let headers: Vec<_> = model
            .headers
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()))
            .collect();
        builder.push(model.timestamp, model.key.as_deref(), model.value.as_deref(), &headers);
    }
    builder.build()
}

proptest! {
    #[test]
    fn records_are_read_as_they_were_added(models in prop::collection::vec(model(), 1..20)) {
        let batch = build(&models);
        let produced = validate_produced(&batch).unwrap();
        let walked = produced.walked.unwrap();
        prop_assert!(!produced.max_timestamp_is_wrong());
        prop_assert_eq!(Some(walked.max_timestamp), models.iter().map(|model| model.timestamp).max());
        prop_assert_eq!(Some(walked.min_timestamp), models.iter().map(|model| model.timestamp).min());
        let first = models.iter().position(|model| model.timestamp == walked.max_timestamp);
        prop_assert_eq!(Some(walked.offset_delta_of_max_timestamp as usize), first);
        let first = models.iter().position(|model| model.key.is_none());
        prop_assert_eq!(walked.first_without_key.map(|index| index as usize), first);

        for (index, (record, model)) in records(&batch).unwrap().zip(&models).enumerate() {
            let record = record.unwrap();
            prop_assert_eq!(record.offset_delta as usize, index);
            prop_assert_eq!(produced.header.base_timestamp + record.timestamp_delta, model.timestamp);
            prop_assert_eq!(record.key, model.key.as_deref());
            prop_assert_eq!(record.value, model.value.as_deref());
            let headers: Vec<_> = record
                .headers
                .map(|header| (String::from_utf8(header.key.to_vec()).unwrap(), header.value.map(<[u8]>::to_vec)))
                .collect();
            prop_assert_eq!(&headers, &model.headers);
        }
        prop_assert_eq!(records(&batch).unwrap().count(), models.len());
    }

    #[test]
    fn the_oracle_reads_our_batches(models in prop::collection::vec(model(), 1..10)) {
        let set = RecordBatchDecoder::decode(&mut Bytes::from(build(&models))).unwrap();
        prop_assert_eq!(set.records.len(), models.len());
        for (index, (theirs, model)) in set.records.iter().zip(&models).enumerate() {
            prop_assert_eq!(theirs.offset, index as i64);
            prop_assert_eq!(theirs.timestamp, model.timestamp);
            prop_assert_eq!(theirs.key.as_deref(), model.key.as_deref());
            prop_assert_eq!(theirs.value.as_deref(), model.value.as_deref());
            prop_assert_eq!((theirs.producer_id, theirs.sequence), (7, index as i32));
        }
    }

    #[test]
    fn we_read_the_oracles_batches(models in prop::collection::vec(model(), 1..10)) {
        let theirs: Vec<OracleRecord> = models.iter().enumerate().map(|(index, model)| OracleRecord {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: 7,
            producer_epoch: 0,
            timestamp_type: OracleTimestampType::Creation,
            offset: index as i64,
            sequence: index as i32,
            timestamp: model.timestamp,
            key: model.key.clone().map(Bytes::from),
            value: model.value.clone().map(Bytes::from),
            headers: model
                .headers
                .iter()
                .map(|(key, value)| (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from)))
                .collect(),
        }).collect();
        let mut batch = bytes::BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: OracleCompression::None };
        RecordBatchEncoder::encode(&mut batch, &theirs, &options).unwrap();
        let produced = validate_produced(&batch).unwrap();
        prop_assert_eq!(produced.header.records_count as usize, models.len());
        prop_assert!(!produced.max_timestamp_is_wrong());
        for (record, model) in records(&batch).unwrap().zip(&models) {
            let record = record.unwrap();
            prop_assert_eq!((record.key, record.value), (model.key.as_deref(), model.value.as_deref()));
        }
    }

    #[test]
    fn a_changed_bit_is_noticed(
        models in prop::collection::vec(model(), 1..5),
        place in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let mut batch = build(&models);
        let place = CRC + place.index(batch.len() - CRC);
        batch[place] ^= 1_u8 << bit;
        let error = check_whole(&batch);
        prop_assert!(matches!(error, Err(BatchError::ChecksumMismatch { .. })), "{:?}", error);
    }

    #[test]
    fn forged_records_never_panic_and_both_walks_agree(
        models in prop::collection::vec(model(), 1..5),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut batch = build(&models);
        for (place, byte) in changes {
            let place = HEADER_LEN + place.index(batch.len() - HEADER_LEN);
            batch[place] = byte;
        }
        seal(&mut batch);
        let header = check_whole(&batch).unwrap();
        let read: Result<Vec<_>, _> = records(&batch).unwrap().collect();
        match walk(&batch, &header) {
            Ok(_) => prop_assert_eq!(read.unwrap().len(), models.len()),
            Err(BatchError::MalformedRecord { what: "its offset delta is not its position", .. }) => {}
            Err(error) => prop_assert_eq!(read.unwrap_err(), error),
        }
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(magic) = bytes.get_mut(16) {
            *magic = 2;
        }
        let _ = validate_produced(&bytes);
        let _ = records(&bytes).map(Iterator::count);
        let _ = batches(&bytes).count();
        if let Ok(header) = BatchHeader::parse(&bytes) {
            let _ = (walk(&bytes, &header), header.last_offset(), header.last_sequence(), header.next_offset());
        }
    }
}

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// What is left of a record when its batch is gone.
fn owned(record: &Record<'_>, base_timestamp: i64) -> Model {
    Model {
        timestamp: base_timestamp + record.timestamp_delta,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record
            .headers
            .clone()
            .map(|header| {
                (
                    String::from_utf8(header.key.to_vec()).unwrap(),
                    header.value.map(<[u8]>::to_vec),
                )
            })
            .collect(),
    }
}

fn streamed(batch: &[u8], limit: usize) -> Result<Vec<Model>, BatchError> {
    let mut stream = RecordStream::new(batch, limit)?;
    let base_timestamp = stream.header().base_timestamp;
    let mut found = Vec::new();
    while let Some(record) = stream.next_record()? {
        found.push(owned(&record, base_timestamp));
    }
    assert!(matches!(stream.next_record(), Ok(None)));
    Ok(found)
}

fn in_codec(models: &[Model], codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for model in models {
        let headers: Vec<_> = model
            .headers
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()))
            .collect();
        builder.push(model.timestamp, model.key.as_deref(), model.value.as_deref(), &headers);
    }
    builder.compress(codec, Level::Default).unwrap().build()
}

/// The header of `batch` with another count, and the checksum made anew.
fn with_count(batch: &[u8], count: i32) -> Vec<u8> {
    let mut batch = batch.to_vec();
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    batch[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    seal(&mut batch);
    batch
}

#[test]
fn a_record_larger_than_the_window_is_streamed_and_walked() {
    let big = |byte: u8, len: usize| Some(vec![byte; len]);
    let models = [
        Model {
            timestamp: 5,
            key: None,
            value: big(1, 10),
            headers: Vec::new(),
        },
        Model {
            timestamp: 9,
            key: big(2, 70_000),
            value: big(3, 3_000_000),
            headers: vec![("h".to_owned(), big(4, 200_000)), ("n".to_owned(), None)],
        },
        Model {
            timestamp: 7,
            key: big(5, 1),
            value: None,
            headers: Vec::new(),
        },
    ];
    for codec in CODECS {
        let batch = in_codec(&models, codec);
        assert_eq!(streamed(&batch, 4 << 20).unwrap(), models, "{codec:?}");
        let header = check_whole(&batch).unwrap();
        let walked = walk_compressed(&batch, &header, 4 << 20).unwrap();
        assert_eq!(
            (
                walked.min_timestamp,
                walked.max_timestamp,
                walked.offset_delta_of_max_timestamp
            ),
            (5, 9, 1)
        );
        assert_eq!(walked.first_without_key, Some(0));
        let too_small = walk_compressed(&batch, &header, 2 << 20);
        assert_eq!(
            too_small,
            Err(BatchError::TooMuchDecompressed { limit: 2 << 20 }),
            "{codec:?}"
        );
    }
}

#[test]
fn a_count_that_is_not_that_of_the_compressed_records_is_refused() {
    let models: Vec<Model> = (0..40)
        .map(|n| Model {
            timestamp: n,
            key: None,
            value: Some(vec![7; 5]),
            headers: Vec::new(),
        })
        .collect();
    for codec in CODECS {
        let batch = in_codec(&models, codec);
        for count in [1, 39, 41, i32::MAX] {
            let lie = with_count(&batch, count);
            let header = check_whole(&lie).unwrap();
            let walked = walk_compressed(&lie, &header, 1 << 20);
            let expected = if count < 40 {
                matches!(walked, Err(BatchError::TrailingBytes { .. }))
            } else {
                matches!(walked, Err(BatchError::MalformedRecord { index: 40, .. }))
            };
            assert!(expected, "{codec:?} {count}: {walked:?}");
            assert!(streamed(&lie, 1 << 20).is_err());
        }
    }
}

proptest! {
    #[test]
    fn a_stream_gives_the_records_whatever_the_codec(
        models in prop::collection::vec(model(), 1..20),
        codec in 0_usize..5,
    ) {
        let batch = in_codec(&models, CODECS[codec]);
        prop_assert_eq!(&streamed(&batch, 1 << 20).unwrap(), &models);
        let header = check_whole(&batch).unwrap();
        let walked = walk_compressed(&batch, &header, 1 << 20).unwrap();
        let plain = in_codec(&models, Compression::None);
        prop_assert_eq!(walked, walk(&plain, &check_whole(&plain).unwrap()).unwrap());
    }

    #[test]
    fn hostile_bytes_in_any_codec_are_refused_and_no_more(
        mut records in prop::collection::vec(any::<u8>(), 0..200),
        count in 1..50_i32,
        codec in 0_usize..5,
        compress_them in any::<bool>(),
    ) {
        let codec = CODECS[codec];
        if compress_them {
            let plain = std::mem::take(&mut records);
            compression::compress(codec, Level::Default, &plain, &mut records).unwrap();
        }
        let batch = BatchBuilder::new().compressed(codec, &records, count, 5).build();
        let header = check_whole(&batch).unwrap();
        let walked = walk_compressed(&batch, &header, 4096);
        prop_assert_eq!(walked.is_ok(), streamed_in_order(&batch));
    }
}

/// Whether the records can be read, and their offset deltas count up.
fn streamed_in_order(batch: &[u8]) -> bool {
    let Ok(mut stream) = RecordStream::new(batch, 4096) else {
        return false;
    };
    let mut index = 0;
    loop {
        match stream.next_record() {
            Ok(Some(record)) if record.offset_delta == index => index += 1,
            Ok(None) => return true,
            _ => return false,
        }
    }
}
