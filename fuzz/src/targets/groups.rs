//! The records of `__consumer_offsets`: keys and values of any version, replayed.

use std::time::Duration;

use broker_groups::{GroupCoordinator, GroupRecord, GroupSettings, Now};

use super::request::FACTOR;
use crate::memory;
use crate::pieces::{Pieces, join};

pub(crate) fn run(input: &[u8]) {
    let mut pieces = Pieces::of(input);
    let now = Now {
        monotonic: Duration::from_secs(1),
        wall_ms: 1_000_000,
    };
    let mut coordinator = GroupCoordinator::new(GroupSettings::default(), now);
    while let Some(key) = pieces.piece() {
        // An empty value stands for a tombstone.
        let value = pieces.piece().filter(|value| !value.is_empty());
        let bytes = [key, value.unwrap_or_default()].concat();
        let decoded = memory::bounded(FACTOR, &bytes, || GroupRecord::decode(key, value));
        let Ok(Some(record)) = decoded else { continue };
        if let Ok((key, value)) = record.encode() {
            let again = GroupRecord::decode(&key, value.as_deref());
            assert_eq!(again.as_ref().ok().and_then(Option::as_ref), Some(&record));
        }
        coordinator.replay(&record);
    }
    coordinator.loaded(now);
    let later = Now {
        monotonic: Duration::from_hours(1),
        wall_ms: now.wall_ms + 3_600_000,
    };
    let _ = coordinator.tick(later);
    let _ = coordinator.next_deadline();
    let _ = coordinator.resign();
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    use broker_groups::{CommittedOffset, GenerationId, GroupMetadata, MemberMetadata};
    let offset = |expire_timestamp_ms: Option<i64>| GroupRecord::Offset {
        group: "g".into(),
        topic: "letters".to_owned(),
        partition: 3,
        offset: Some(CommittedOffset {
            offset: 17,
            leader_epoch: if expire_timestamp_ms.is_some() { -1 } else { 4 },
            metadata: "note".to_owned(),
            commit_timestamp_ms: 1000,
            expire_timestamp_ms,
            topic_id: expire_timestamp_ms.is_none().then_some(super::log::ID),
        }),
    };
    let group = |members: usize| GroupRecord::Group {
        group: "g".into(),
        metadata: Some(GroupMetadata {
            protocol_type: "consumer".to_owned(),
            generation: GenerationId(3),
            protocol: (members > 0).then(|| "range".to_owned()),
            leader: (members > 0).then(|| "m-0".into()),
            state_timestamp_ms: 1000,
            members: (0..members)
                .map(|member| MemberMetadata {
                    member_id: format!("m-{member}").as_str().into(),
                    instance_id: (member == 1).then(|| "static".into()),
                    client_id: "client".to_owned(),
                    client_host: "/127.0.0.1".to_owned(),
                    rebalance_timeout_ms: 1000,
                    session_timeout_ms: 1000,
                    subscription: b"\0\0\0\0\0\x01\0\x07letters\xff\xff\xff\xff".as_slice().into(),
                    assignment: b"\0\0\0\0\0\x01\0\x07letters\0\0\0\0".as_slice().into(),
                })
                .collect(),
        }),
    };
    let bytes = |record: &GroupRecord| {
        let (key, value) = record.encode().expect("short strings");
        [key, value.unwrap_or_default()]
    };
    let gone = GroupRecord::Group {
        group: "g".into(),
        metadata: None,
    };
    let each = [offset(None), offset(Some(5)), group(0), group(1), group(2), gone];
    let mut seeds: Vec<_> = each.iter().map(|record| join(&[], bytes(record))).collect();
    seeds.push(join(&[], each.iter().flat_map(bytes)));
    // Older and newer versions of the values.
    for version in 0..=4_u8 {
        for record in &each[..5] {
            let [key, mut value] = bytes(record);
            if let Some(second) = value.get_mut(1) {
                *second = version;
            }
            seeds.push(join(&[], [key, value]));
        }
    }
    seeds
}
