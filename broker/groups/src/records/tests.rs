use model::TopicId;

use super::*;
use crate::AssignmentEpochs;
use crate::offered_protocol::Protocol;

fn offset() -> GroupRecord {
    GroupRecord::Offset {
        group: GroupId::from("g1"),
        topic: "mail".to_owned(),
        partition: 7,
        offset: Some(CommittedOffset {
            offset: 0x0102_0304,
            leader_epoch: 5,
            metadata: "note".to_owned(),
            commit_timestamp_ms: 1_700_000_000_000,
            expire_timestamp_ms: None,
            topic_id: None,
        }),
    }
}

fn group() -> GroupRecord {
    GroupRecord::Group {
        group: GroupId::from("g1"),
        metadata: Some(GroupMetadata {
            protocol_type: "consumer".to_owned(),
            generation: GenerationId(3),
            protocol: Some("range".to_owned()),
            leader: Some(MemberId::from("m-1")),
            state_timestamp_ms: 1_700_000_000_000,
            members: vec![MemberMetadata {
                member_id: MemberId::from("m-1"),
                instance_id: Some(InstanceId::from("i")),
                client_id: "c".to_owned(),
                client_host: "/127.0.0.1".to_owned(),
                rebalance_timeout_ms: 300_000,
                session_timeout_ms: 45_000,
                subscription: Bytes::from_static(&[1, 2]),
                assignment: Bytes::from_static(&[3]),
            }],
        }),
    }
}

/// Joins the parts of a golden record, so that each can stand beside its field's name.
fn golden(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// 1,700,000,000,000 in eight bytes.
const TIMESTAMP: &[u8] = &[0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00];

fn offset_key_1() -> Vec<u8> {
    golden(&[&[0, 1], &[0, 2], b"g1", &[0, 4], b"mail", &[0, 0, 0, 7]])
}

fn group_key_2() -> Vec<u8> {
    golden(&[&[0, 2], &[0, 2], b"g1"])
}

#[test]
fn a_committed_offset_is_written_as_key_1_and_value_3() {
    let (key, value) = offset().encode().unwrap();
    assert_eq!(key, offset_key_1());
    let expected = golden(&[
        &[0, 3],
        &[0, 0, 0, 0, 1, 2, 3, 4],
        &[0, 0, 0, 5],
        &[0, 4],
        b"note",
        TIMESTAMP,
    ]);
    assert_eq!(value.unwrap(), expected);
}

#[test]
fn an_offset_with_an_expiry_of_its_own_is_written_as_value_1() {
    let mut record = offset();
    let GroupRecord::Offset {
        offset: Some(offset), ..
    } = &mut record
    else {
        unreachable!()
    };
    offset.expire_timestamp_ms = Some(9);
    let (_, value) = record.encode().unwrap();
    let expected = golden(&[
        &[0, 1],
        &[0, 0, 0, 0, 1, 2, 3, 4],
        &[0, 4],
        b"note",
        TIMESTAMP,
        &[0, 0, 0, 0, 0, 0, 0, 9],
    ]);
    assert_eq!(value.unwrap(), expected);
}

#[test]
fn a_generation_is_written_as_key_2_and_value_3() {
    let (key, value) = group().encode().unwrap();
    assert_eq!(key, group_key_2());
    let expected = golden(&[
        &[0, 3],
        &[0, 8],
        b"consumer",
        &[0, 0, 0, 3],
        &[0, 5],
        b"range",
        &[0, 3],
        b"m-1",
        TIMESTAMP,
        &[0, 0, 0, 1],
        &[0, 3],
        b"m-1",
        &[0, 1],
        b"i",
        &[0, 1],
        b"c",
        &[0, 10],
        b"/127.0.0.1",
        &[0, 4, 0x93, 0xe0],
        &[0, 0, 0xaf, 0xc8],
        &[0, 0, 0, 2, 1, 2],
        &[0, 0, 0, 1, 3],
    ]);
    assert_eq!(value.unwrap(), expected);
}

#[test]
fn an_empty_generation_has_neither_protocol_nor_leader() {
    let record = GroupRecord::Group {
        group: GroupId::from("g1"),
        metadata: Some(GroupMetadata {
            protocol_type: "consumer".to_owned(),
            generation: GenerationId(4),
            protocol: None,
            leader: None,
            state_timestamp_ms: 1_700_000_000_000,
            members: Vec::new(),
        }),
    };
    let (_, value) = record.encode().unwrap();
    let expected = golden(&[
        &[0, 3],
        &[0, 8],
        b"consumer",
        &[0, 0, 0, 4],
        &[0xff, 0xff],
        &[0xff, 0xff],
        TIMESTAMP,
        &[0, 0, 0, 0],
    ]);
    assert_eq!(value.unwrap(), expected);
}

#[test]
fn records_and_tombstones_come_back_as_they_were() {
    for record in [offset(), group()].into_iter().chain(consumer_records()) {
        let (key, value) = record.encode().unwrap();
        assert_eq!(GroupRecord::decode(&key, value.as_deref()), Ok(Some(record)));
    }
    let gone = GroupRecord::Group {
        group: GroupId::from("g1"),
        metadata: None,
    };
    assert_eq!(gone.encode().unwrap(), (group_key_2(), None));
    assert_eq!(GroupRecord::decode(&group_key_2(), None), Ok(Some(gone)));
    let gone = GroupRecord::Offset {
        group: GroupId::from("g1"),
        topic: "mail".to_owned(),
        partition: 7,
        offset: None,
    };
    assert_eq!(GroupRecord::decode(&offset_key_1(), None), Ok(Some(gone)));
}

#[test]
fn offsets_of_every_version_are_read() {
    let versions: [Vec<u8>; 4] = [
        golden(&[&[0, 0], &[0, 0, 0, 0, 0, 0, 0, 9], &[0, 1], b"n", TIMESTAMP]),
        golden(&[&[0, 1], &[0, 0, 0, 0, 0, 0, 0, 9], &[0, 1], b"n", TIMESTAMP, &[0xff; 8]]),
        golden(&[&[0, 2], &[0, 0, 0, 0, 0, 0, 0, 9], &[0, 1], b"n", TIMESTAMP]),
        // Flexible, with a tagged field that this version does not know.
        golden(&[
            &[0, 4],
            &[0, 0, 0, 0, 0, 0, 0, 9],
            &[0xff; 4],
            &[2],
            b"n",
            TIMESTAMP,
            &[1, 9, 2, 8, 8],
        ]),
    ];
    for value in versions {
        let Ok(Some(GroupRecord::Offset {
            offset: Some(offset), ..
        })) = GroupRecord::decode(&offset_key_1(), Some(&value))
        else {
            panic!("version {} is not read", value[1]);
        };
        assert_eq!(
            offset,
            CommittedOffset {
                offset: 9,
                leader_epoch: -1,
                metadata: "n".to_owned(),
                commit_timestamp_ms: 1_700_000_000_000,
                expire_timestamp_ms: None,
                topic_id: None,
            }
        );
    }
}

#[test]
fn an_offset_of_a_known_topic_is_written_in_the_version_that_carries_its_id() {
    let GroupRecord::Offset {
        group,
        topic,
        partition,
        offset: Some(offset),
    } = offset()
    else {
        panic!("an offset")
    };
    let topic_id = Some(TopicId(uuid::Uuid::from_u128(0x0102_0304)));
    let record = GroupRecord::Offset {
        group,
        topic,
        partition,
        offset: Some(CommittedOffset { topic_id, ..offset }),
    };
    let (key, value) = record.encode().unwrap();
    let value = value.unwrap();
    let expected = golden(&[
        &[0, 4],
        &[0, 0, 0, 0, 1, 2, 3, 4],
        &[0, 0, 0, 5],
        &[5, b'n', b'o', b't', b'e'],
        &1_700_000_000_000_i64.to_be_bytes(),
        // One tagged field, number 0, of 16 bytes.
        &[1, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
    ]);
    assert_eq!(value, expected);
    assert_eq!(GroupRecord::decode(&key, Some(&value)), Ok(Some(record)));
}

#[test]
fn generations_of_old_versions_take_their_session_timeout_for_the_rebalance() {
    let value = golden(&[
        &[0, 0],
        &[0, 8],
        b"consumer",
        &[0, 0, 0, 3],
        &[0, 5],
        b"range",
        &[0, 1],
        b"m",
        &[0, 0, 0, 1],
        &[0, 1],
        b"m",
        &[0, 1],
        b"c",
        &[0, 2],
        b"/h",
        &[0, 0, 0, 50],
        &[0, 0, 0, 0],
        &[0, 0, 0, 0],
    ]);
    let Ok(Some(GroupRecord::Group {
        metadata: Some(metadata),
        ..
    })) = GroupRecord::decode(&group_key_2(), Some(&value))
    else {
        panic!("version 0 is not read");
    };
    assert_eq!(metadata.state_timestamp_ms, -1);
    assert_eq!(metadata.members[0].rebalance_timeout_ms, 50);
    assert_eq!(metadata.members[0].instance_id, None);
}

#[test]
fn other_kinds_of_keys_are_left_alone_and_newer_values_are_refused_by_name() {
    // ConsumerGroupPartitionMetadataKey, which Kafka has given up, and a key of share groups.
    assert_eq!(GroupRecord::decode(&[0, 4, 0, 1, b'g'], Some(&[0, 0])), Ok(None));
    assert_eq!(GroupRecord::decode(&[0, 11, 0, 1, b'g'], Some(&[0, 0])), Ok(None));
    let newer = GroupRecord::decode(&group_key_2(), Some(&[0, 9])).unwrap_err();
    assert_eq!(
        newer.to_string(),
        "a group in __consumer_offsets has version 9; this broker reads up to 4"
    );
}

#[test]
fn damage_is_an_error_wherever_the_bytes_end() {
    for record in [offset(), group()] {
        let (key, value) = record.encode().unwrap();
        let value = value.unwrap();
        for end in 0..value.len() {
            assert!(GroupRecord::decode(&key, Some(&value[..end])).is_err(), "{end}");
        }
        for end in 0..key.len() {
            assert!(GroupRecord::decode(&key[..end], Some(&value)).is_err(), "{end}");
        }
    }
}

fn topic() -> TopicId {
    TopicId(uuid::Uuid::from_u128(0x0102))
}

fn partitions(indexes: &[i32]) -> Partitions {
    indexes.iter().map(|index| (topic(), *index)).collect()
}

fn member(classic: Option<ClassicMemberMetadata>) -> ConsumerRecord {
    ConsumerRecord::Member(
        MemberId::from("m"),
        Some(ConsumerMemberMetadata {
            instance_id: Some(InstanceId::from("i")),
            rack_id: None,
            client_id: "c".to_owned(),
            client_host: "/h".to_owned(),
            subscribed_topics: ["mail".to_owned()].into(),
            subscribed_regex: Some("p.*".to_owned()),
            rebalance_timeout_ms: 7,
            server_assignor: Some("range".to_owned()),
            classic,
        }),
    )
}

fn classic() -> ClassicMemberMetadata {
    ClassicMemberMetadata {
        session_timeout_ms: 9,
        protocols: vec![Protocol {
            name: "r".to_owned(),
            metadata: Bytes::from_static(&[5]),
        }],
    }
}

fn current() -> CurrentAssignment {
    let mut since = AssignmentEpochs::default();
    for (index, epoch) in [(1, 2), (2, 4), (3, 0)] {
        since.insert(topic(), index, Epoch(epoch));
    }
    CurrentAssignment {
        epoch: Epoch(4),
        previous_epoch: Epoch(3),
        state: MemberState::UnrevokedPartitions,
        assigned: partitions(&[1, 2]),
        revoking: partitions(&[3]),
        since,
    }
}

fn consumer_records() -> Vec<GroupRecord> {
    let resolved = ResolvedRegex {
        topics: ["pa".to_owned(), "pb".to_owned()].into(),
        version: 5,
        timestamp_ms: 6,
    };
    [
        ConsumerRecord::Group(Some(ConsumerGroupEpoch {
            epoch: Epoch(3),
            metadata_hash: -2,
        })),
        member(None),
        member(Some(classic())),
        member(Some(ClassicMemberMetadata::default())),
        ConsumerRecord::TargetEpoch(Some(Epoch(3))),
        ConsumerRecord::Target(MemberId::from("m"), Some(partitions(&[1, 3]))),
        ConsumerRecord::Current(MemberId::from("m"), Some(current())),
        ConsumerRecord::Regex("p.*".to_owned(), Some(resolved)),
    ]
    .into_iter()
    .map(|record| GroupRecord::Consumer {
        group: GroupId::from("g1"),
        record,
    })
    .collect()
}

#[test]
fn every_record_of_a_consumer_group_is_read_as_it_was_written() {
    for record in consumer_records() {
        let (key, value) = record.encode().unwrap();
        assert_eq!(GroupRecord::decode(&key, value.as_deref()), Ok(Some(record)));
    }
}

#[test]
fn tombstones_of_a_consumer_group_are_read_as_such() {
    for record in consumer_records() {
        let (key, _) = record.encode().unwrap();
        let Ok(Some(GroupRecord::Consumer { record, .. })) = GroupRecord::decode(&key, None) else {
            panic!("not read: {record:?}");
        };
        assert!(record.is_tombstone());
    }
}

/// Bytes that `kafka-dump-log --offsets-decoder` of Kafka 4.3 reads as these records.
#[test]
fn the_records_of_a_consumer_group_are_kafkas() {
    let encoded = |record| {
        let group = GroupId::from("g1");
        let (key, value) = GroupRecord::Consumer { group, record }.encode().unwrap();
        (key, value.unwrap())
    };
    let (key, value) = encoded(ConsumerRecord::Group(Some(ConsumerGroupEpoch {
        epoch: Epoch(3),
        metadata_hash: 1,
    })));
    assert_eq!(key, golden(&[&[0, 3], &[0, 2], b"g1"]));
    assert_eq!(
        value,
        golden(&[&[0, 0], &[0, 0, 0, 3], &[1, 0, 8], &[0, 0, 0, 0, 0, 0, 0, 1]])
    );

    let said: &[&[u8]] = &[
        &[0, 0],
        &[2, b'i'],
        &[0],
        &[2, b'c'],
        &[3, b'/', b'h'],
        &[2, 5],
        b"mail",
        &[4],
        b"p.*",
        &[0, 0, 0, 7],
        &[6],
        b"range",
    ];
    // No classic member must be said; the empty one is what Kafka takes for granted.
    let (key, value) = encoded(member(None));
    assert_eq!(key, golden(&[&[0, 5], &[0, 2], b"g1", &[0, 1], b"m"]));
    assert_eq!(value, golden(&[&golden(said), &[1, 0, 1, 0]]));
    let (_, value) = encoded(member(Some(ClassicMemberMetadata::default())));
    assert_eq!(value, golden(&[&golden(said), &[0]]));
    let (_, value) = encoded(member(Some(classic())));
    let speaks: &[u8] = &[1, 0, 0, 0, 9, 2, 2, b'r', 2, 5, 0, 0];
    assert_eq!(value, golden(&[&golden(said), &[1, 0, 12], speaks]));

    let (key, value) = encoded(ConsumerRecord::Target(MemberId::from("m"), Some(partitions(&[1]))));
    assert_eq!(key, golden(&[&[0, 7], &[0, 2], b"g1", &[0, 1], b"m"]));
    let of_topic: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2];
    assert_eq!(value, golden(&[&[0, 0, 2], of_topic, &[2, 0, 0, 0, 1], &[0, 0]]));

    let (key, value) = encoded(ConsumerRecord::Current(MemberId::from("m"), Some(current())));
    assert_eq!(key, golden(&[&[0, 8], &[0, 2], b"g1", &[0, 1], b"m"]));
    let head: &[u8] = &[0, 0, 0, 0, 0, 4, 0, 0, 0, 3, 1];
    let assigned: &[u8] = &[3, 0, 0, 0, 1, 0, 0, 0, 2];
    let assigned_since: &[u8] = &[1, 0, 9, 3, 0, 0, 0, 2, 0, 0, 0, 4];
    let revoking: &[u8] = &[2, 0, 0, 0, 3];
    let revoking_since: &[u8] = &[1, 0, 5, 2, 0, 0, 0, 0];
    let parts = [
        head,
        &[2],
        of_topic,
        assigned,
        assigned_since,
        &[2],
        of_topic,
        revoking,
        revoking_since,
        &[0],
    ];
    assert_eq!(value, golden(&parts));
}

#[test]
fn partitions_without_an_epoch_are_a_members_since_its_own() {
    let of_topic: &[u8] = &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2];
    let read = |epoch: u8, tags: &[u8]| {
        let head: &[u8] = &[0, 0, 0, 0, 0, epoch, 0, 0, 0, 3, 1];
        let value = golden(&[head, of_topic, &[2, 0, 0, 0, 1], tags, &[1, 0]]);
        let key = golden(&[&[0, 8], &[0, 2], b"g1", &[0, 1], b"m"]);
        match GroupRecord::decode(&key, Some(&value)) {
            Ok(Some(GroupRecord::Consumer {
                record: ConsumerRecord::Current(_, Some(current)),
                ..
            })) => current.since.get(topic(), 1),
            other => panic!("not read: {other:?}"),
        }
    };
    // As Kafka wrote it before 4.3, and with epochs for more partitions than there are.
    assert_eq!(read(4, &[0]), Some(Epoch(4)));
    assert_eq!(read(4, &[1, 0, 9, 3, 0, 0, 0, 1, 0, 0, 0, 2]), Some(Epoch(4)));
    assert_eq!(read(4, &[1, 0, 5, 2, 0, 0, 0, 1]), Some(Epoch(1)));
}
