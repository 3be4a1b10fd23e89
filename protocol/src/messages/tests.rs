//! Every API in every version, against `kafka-protocol` as oracle; then garbage, against nothing but our own promises.

use std::collections::BTreeSet;
use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as oracle;
use kafka_protocol::protocol::{Decodable, Encodable};
use proptest::prelude::*;

use super::filled::{Corner, Fill, Filled};
use super::*;
use crate::api::{ApiKey, TABLE, VersionRange};
use crate::codec::unknown_tags;
use crate::{DecodeError, EncodeError, Message, Reader, Request};

const CORNERS: [Corner; 3] = [Corner::Full, Corner::Null, Corner::Empty];

#[test]
fn every_api_and_version_agrees_with_the_oracle() {
    let mut covered = BTreeSet::new();
    macro_rules! compare {
        ($name:ident, $module:ident, $request:ident, $response:ident) => {
            for version in $module::$request::VERSIONS.iter() {
                if NEWER_THAN_THE_ORACLE.contains(&($module::$request::KEY, version)) {
                    comes_back::<$module::$request>(version);
                    comes_back::<$module::$response>(version);
                } else {
                    compare::<$module::$request, oracle::$request>(version);
                    compare::<$module::$response, oracle::$response>(version);
                }
                covered.insert(($module::$request::KEY, version));
            }
        };
    }
    for_each_api!(compare);

    for api in TABLE {
        let versions: Vec<i16> = covered
            .iter()
            .filter(|(key, _)| *key == api.key)
            .map(|(_, version)| *version)
            .collect();
        println!("{} ({}): versions {versions:?}", api.key, api.key.code());
    }
    let table = TABLE
        .iter()
        .flat_map(|api| api.accepted.iter().map(|version| (api.key, version)))
        .collect();
    assert_eq!(covered, table);
}

/// Those of Kafka 4.2 and 4.3: the differential test holds them against Kafka itself.
const NEWER_THAN_THE_ORACLE: [(ApiKey, i16); 4] = [
    (ApiKey::ListOffsets, 11),
    (ApiKey::OffsetCommit, 10),
    (ApiKey::OffsetFetch, 10),
    (ApiKey::DescribeLogDirs, 5),
];

/// What we write is what we read.
fn comes_back<M: Message + Filled + Debug + PartialEq>(version: i16) {
    for corner in CORNERS {
        let ours = M::filled(&mut Fill::new(corner), version);
        assert_eq!(decode::<M>(&encode(&ours, version), version).as_ref(), Ok(&ours));
        let bytes = unknown_tags::with(|| encode(&ours, version));
        assert_eq!(decode::<M>(&bytes, version).as_ref(), Ok(&ours), "unknown tags");
    }
}

/// Our bytes are the oracle's bytes, our values are the oracle's values, field by field and name by name.
fn compare<M, O>(version: i16)
where
    M: Message + Filled + Debug + PartialEq,
    O: Decodable + Encodable + Debug,
{
    for corner in CORNERS {
        let ours = M::filled(&mut Fill::new(corner), version);
        let context = format!("{ours:?} in version {version}, {corner:?}");
        let bytes = encode(&ours, version);
        assert_eq!(decode::<M>(&bytes, version).as_ref(), Ok(&ours), "{context}");
        let theirs = oracle_decode::<O>(&bytes, version, &context);
        assert_eq!(oracle_encode(&theirs, version), bytes, "{context}");
        assert_eq!(
            fields(&format!("{theirs:?}")),
            fields(&format!("{ours:?}")),
            "{context}"
        );

        let bytes = unknown_tags::with(|| encode(&ours, version));
        assert_eq!(
            decode::<M>(&bytes, version).as_ref(),
            Ok(&ours),
            "unknown tags, {context}"
        );
        let theirs = oracle_decode::<O>(&bytes, version, &context);
        assert_eq!(oracle_encode(&theirs, version), bytes, "unknown tags, {context}");
    }
}

fn encode<M: Message>(message: &M, version: i16) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes, version).unwrap();
    assert!(
        bytes.len() >= M::min_size(version),
        "min_size of version {version} is too large"
    );
    bytes
}

fn decode<M: Message>(bytes: &[u8], version: i16) -> Result<M, DecodeError> {
    let mut r = Reader::new(bytes);
    let message = M::decode(&mut r, version)?;
    assert_eq!(r.remaining(), 0, "bytes are left");
    Ok(message)
}

fn oracle_decode<O: Decodable>(bytes: &[u8], version: i16, context: &str) -> O {
    let mut bytes = Bytes::copy_from_slice(bytes);
    let theirs = O::decode(&mut bytes, version).unwrap_or_else(|error| panic!("{error}: {context}"));
    assert!(bytes.is_empty(), "the oracle leaves {} bytes: {context}", bytes.len());
    theirs
}

fn oracle_encode<O: Encodable>(message: &O, version: i16) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).unwrap();
    bytes.to_vec()
}

/// A `Debug` text without what only the oracle has: newtypes around ids and names, unknown tags, fields of later versions.
fn fields(debug: &str) -> String {
    let mut text = debug.replace(' ', "");
    for newtype in ["TopicName", "BrokerId", "GroupId", "TransactionalId", "ProducerId"] {
        while let Some(start) = text.find(&format!("{newtype}(")) {
            let end = start + text[start..].find(')').unwrap();
            text.remove(end);
            text.replace_range(start..=start + newtype.len(), "");
        }
    }
    for extra in [
        "unknown_tagged_fields:{}",
        // InitProducerId 6.
        "keep_prepared_txn:false",
        "enable_2_pc:false",
        "ongoing_txn_producer_id:-1",
        "ongoing_txn_producer_epoch:-1",
        // DescribeLogDirs 5.
        "is_cordoned:false",
        // Of a topic that has another name in the version.
        "topic_id:00000000-0000-0000-0000-000000000000",
    ] {
        text = text
            .replace(&format!(",{extra}"), "")
            .replace(&format!("{{{extra}}}"), "")
            .replace(extra, "");
    }
    text
}

#[test]
fn defaults_are_the_oracles_defaults() {
    macro_rules! compare {
        ($name:ident, $module:ident, $request:ident, $response:ident) => {
            let (ours, theirs) = ($module::$request::default(), oracle::$request::default());
            assert_eq!(fields(&format!("{ours:?}")), fields(&format!("{theirs:?}")));
            let (ours, theirs) = ($module::$response::default(), oracle::$response::default());
            assert_eq!(fields(&format!("{ours:?}")), fields(&format!("{theirs:?}")));
        };
    }
    for_each_api!(compare);
}

#[test]
fn a_value_that_a_version_cannot_carry_is_refused_unless_the_schema_lets_it_go() {
    let request = metadata::MetadataRequest {
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    assert_eq!(
        request.encode(&mut Vec::new(), 3),
        Err(EncodeError::FieldNotInVersion {
            field: "allow_auto_topic_creation",
            version: 3
        })
    );
    let request = metadata::MetadataRequest {
        topics: None,
        ..Default::default()
    };
    assert_eq!(
        request.encode(&mut Vec::new(), 0),
        Err(EncodeError::NullNotInVersion {
            field: "topics",
            version: 0
        })
    );
    let response = metadata::MetadataResponse {
        throttle_time_ms: 5,
        ..Default::default()
    };
    assert_eq!(response.encode(&mut Vec::new(), 0), Ok(()));
}

#[test]
fn null_in_a_version_that_has_no_null_is_refused() {
    // Metadata 0, topics null.
    let error = decode::<metadata::MetadataRequest>(&[0xff, 0xff, 0xff, 0xff], 0);
    assert_eq!(error, Err(DecodeError::Null { field: "topics" }));
    // Metadata 1: null is "all topics".
    let request = decode::<metadata::MetadataRequest>(&[0xff, 0xff, 0xff, 0xff], 1).unwrap();
    assert_eq!(request.topics, None);
}

#[test]
fn four_bytes_that_declare_2_to_the_31_topics_are_refused() {
    let declared = 0x7fff_ffff;
    let error = decode::<metadata::MetadataRequest>(&[0x7f, 0xff, 0xff, 0xff], 1);
    assert_eq!(error, Err(DecodeError::TooManyElements { declared, left: 0 }));
}

#[test]
fn an_absurd_length_at_any_place_of_any_message_reserves_nothing() {
    let before = peak_of_virtual_memory();
    macro_rules! attack {
        ($name:ident, $module:ident, $request:ident, $response:ident) => {
            attack::<$module::$request>($module::$request::VERSIONS);
            attack::<$module::$response>($module::$request::VERSIONS);
        };
    }
    for_each_api!(attack);
    let grown = peak_of_virtual_memory() - before;
    // Other tests run beside this one; a single absurd reservation would be 2 GiB.
    assert!(grown < 512 << 20, "{grown} bytes more were reserved at some moment");
}

/// Puts the largest length, in each form, over every place of a valid message.
fn attack<M: Message + Filled>(versions: VersionRange) {
    for version in versions.iter() {
        let bytes = encode(&M::filled(&mut Fill::new(Corner::Full), version), version);
        for place in 0..bytes.len() {
            for length in [
                &[0x7f, 0xff, 0xff, 0xff][..],
                &[0xff, 0xff, 0xff, 0xff, 0x07],
                &[0x7f, 0xff],
            ] {
                let mut attack = bytes[..place].to_vec();
                attack.extend_from_slice(length);
                attack.extend(bytes.iter().skip(attack.len()));
                let _ = M::decode(&mut Reader::new(&attack), version);
            }
        }
    }
}

/// `VmPeak` of this process, in bytes: what was reserved, whether touched or not.
#[allow(clippy::disallowed_methods)]
fn peak_of_virtual_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPeak:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_message_cut_at_any_place_is_an_error() {
    macro_rules! cut {
        ($name:ident, $module:ident, $request:ident, $response:ident) => {
            cut::<$module::$request>($module::$request::VERSIONS);
            cut::<$module::$response>($module::$request::VERSIONS);
        };
    }
    for_each_api!(cut);
}

fn cut<M: Message + Filled + Debug>(versions: VersionRange) {
    for version in versions.iter() {
        let bytes = encode(&M::filled(&mut Fill::new(Corner::Full), version), version);
        for len in 0..bytes.len() {
            let cut = M::decode(&mut Reader::new(&bytes[..len]), version);
            assert!(
                cut.is_err(),
                "version {version} of {cut:?} is whole after {len} of {} bytes",
                bytes.len()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn random_bytes_never_panic_in_any_decoder(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        decode_by_all(&bytes);
    }

    #[test]
    fn bytes_that_look_like_small_lengths_never_panic_in_any_decoder(bytes in prop::collection::vec(0_u8..4, 0..512)) {
        decode_by_all(&bytes);
    }
}

/// What decodes must encode and decode to itself.
fn decode_by_all(bytes: &[u8]) {
    macro_rules! decode {
        ($name:ident, $module:ident, $request:ident, $response:ident) => {
            for version in $module::$request::VERSIONS.iter() {
                settles::<$module::$request>(bytes, version);
                settles::<$module::$response>(bytes, version);
            }
        };
    }
    for_each_api!(decode);
}

fn settles<M: Message + Debug + PartialEq>(bytes: &[u8], version: i16) {
    if let Ok(message) = M::decode(&mut Reader::new(bytes), version) {
        assert_eq!(decode::<M>(&encode(&message, version), version), Ok(message));
    }
}
