//! The hand-shaped codec against its generated twin, which is checked against the oracle.

use proptest::prelude::*;

use super::*;
use crate::codec::unknown_tags;
use crate::messages::filled::{Corner, Fill, Filled};
use crate::messages::produce as twin;
use crate::topic::Topic;
use crate::{ApiKey, ErrorCode, Message, Reader};

/// What a request says, in a form that both codecs have: transactional id, acks, timeout, partitions.
type Said = (Option<String>, i16, i32, Vec<(String, i32, Option<Vec<u8>>)>);

fn by_hand(body: &mut [u8], version: i16) -> Result<Said, crate::DecodeError> {
    let request = ProduceRequest::decode(body, version)?;
    let head = (
        request.transactional_id.map(str::to_owned),
        request.acks,
        request.timeout_ms,
    );
    let count = request.partition_count();
    let partitions: Vec<_> = request
        .into_partitions()
        .map(|partition| {
            (
                name(partition.topic),
                partition.index,
                partition.records.map(|records| records.to_vec()),
            )
        })
        .collect();
    assert_eq!(partitions.len(), count);
    Ok((head.0, head.1, head.2, partitions))
}

fn by_twin(body: &[u8], version: i16) -> Result<Said, crate::DecodeError> {
    let request = twin::ProduceRequest::decode(&mut Reader::new(body), version)?;
    let partitions = request
        .topic_data
        .iter()
        .flat_map(|topic| topic.partition_data.iter().map(move |partition| (topic, partition)))
        .map(|(topic, partition)| {
            let topic = if version >= 13 {
                name(Topic::Id(topic.topic_id))
            } else {
                topic.name.clone()
            };
            (
                topic,
                partition.index,
                partition.records.as_ref().map(|records| records.to_vec()),
            )
        })
        .collect();
    Ok((request.transactional_id, request.acks, request.timeout_ms, partitions))
}

fn name(topic: Topic<'_>) -> String {
    match topic {
        Topic::Name(name) => name.to_owned(),
        Topic::Id(id) => id.to_string(),
    }
}

fn encoded(message: &impl Message, version: i16) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes, version).unwrap();
    bytes
}

#[test]
fn requests_of_every_version_are_read_as_the_twin_reads_them() {
    for version in ApiKey::Produce.api().accepted.iter() {
        for corner in [Corner::Full, Corner::Null, Corner::Empty] {
            let request = twin::ProduceRequest::filled(&mut Fill::new(corner), version);
            for mut body in [
                encoded(&request, version),
                unknown_tags::with(|| encoded(&request, version)),
            ] {
                let expected = by_twin(&body, version);
                assert!(expected.is_ok());
                assert_eq!(by_hand(&mut body, version), expected, "version {version}, {corner:?}");
            }
        }
    }
}

#[test]
fn a_topic_without_partitions_is_passed_over() {
    let topic = |name: &str, partitions: &[i32]| twin::TopicProduceData {
        name: name.to_owned(),
        partition_data: partitions
            .iter()
            .map(|&index| twin::PartitionProduceData {
                index,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let request = twin::ProduceRequest {
        topic_data: vec![
            topic("a", &[]),
            topic("b", &[4, 5]),
            topic("c", &[]),
            topic("d", &[6]),
            topic("e", &[]),
        ],
        ..Default::default()
    };
    for version in [3, 9] {
        let mut body = encoded(&request, version);
        let (.., partitions) = by_hand(&mut body, version).unwrap();
        let names: Vec<_> = partitions
            .iter()
            .map(|(topic, index, _)| (topic.as_str(), *index))
            .collect();
        assert_eq!(names, [("b", 4), ("b", 5), ("d", 6)]);
    }
}

#[test]
fn a_request_of_nothing_but_empty_entries_is_refused() {
    let request = |count: usize| {
        let partition = twin::PartitionProduceData::default();
        let topic = twin::TopicProduceData {
            name: "t".to_owned(),
            partition_data: vec![partition; count],
            ..twin::TopicProduceData::default()
        };
        let request = twin::ProduceRequest {
            topic_data: vec![topic.clone(), topic],
            ..twin::ProduceRequest::default()
        };
        let mut body = encoded(&request, 9);
        ProduceRequest::decode(&mut body, 9).map(|request| request.partition_count())
    };
    let half = MOST_PARTITIONS / 2;
    assert_eq!(request(half), Ok(MOST_PARTITIONS));
    assert_eq!(
        request(half + 1),
        Err(crate::DecodeError::AboveLimit {
            declared: MOST_PARTITIONS + 2,
            most: MOST_PARTITIONS,
        })
    );
}

#[test]
fn all_record_sets_can_be_changed_in_place_at_once() {
    let request = twin::ProduceRequest::filled(&mut Fill::new(Corner::Full), 9);
    let mut body = encoded(&request, 9);
    let mut records: Vec<&mut [u8]> = ProduceRequest::decode(&mut body, 9)
        .unwrap()
        .into_partitions()
        .filter_map(|partition| partition.records)
        .collect();
    assert_eq!(records.len(), 4);
    for bytes in &mut records {
        bytes.fill(b'!');
    }
    let (.., partitions) = by_twin(&body, 9).unwrap();
    assert!(
        partitions
            .iter()
            .all(|(_, _, records)| records.as_ref().unwrap().iter().all(|&byte| byte == b'!'))
    );
}

#[test]
fn responses_of_every_version_have_the_bytes_of_the_twin() {
    for version in ApiKey::Produce.api().accepted.iter() {
        for corner in [Corner::Full, Corner::Null, Corner::Empty] {
            let mut response = twin::ProduceResponse::filled(&mut Fill::new(corner), version);
            for endpoint in &mut response.node_endpoints {
                endpoint.port = 9092;
            }
            for topic in &mut response.responses {
                for partition in &mut topic.partition_responses {
                    partition.error_code = ErrorCode::NotLeaderOrFollower.code();
                }
            }
            assert_eq!(
                response_by_hand(&response, version),
                encoded(&response, version),
                "{version} {response:?}"
            );
        }
    }
}

fn response_by_hand(response: &twin::ProduceResponse, version: i16) -> Vec<u8> {
    let pairs = || {
        response.responses.iter().flat_map(|topic| {
            topic
                .partition_responses
                .iter()
                .map(move |partition| (topic, partition))
        })
    };
    let record_errors: Vec<Vec<RecordError<'_>>> = pairs()
        .map(|(_, partition)| {
            partition
                .record_errors
                .iter()
                .map(|error| RecordError {
                    batch_index: error.batch_index,
                    message: error.batch_index_error_message.as_deref(),
                })
                .collect()
        })
        .collect();
    let partitions: Vec<_> = pairs()
        .zip(&record_errors)
        .map(|((topic, partition), record_errors)| ProducedPartition {
            topic: if version >= 13 {
                Topic::Id(topic.topic_id)
            } else {
                Topic::Name(&topic.name)
            },
            index: partition.index,
            error_code: ErrorCode::from_code(partition.error_code).unwrap(),
            base_offset: partition.base_offset,
            log_append_time_ms: partition.log_append_time_ms,
            log_start_offset: partition.log_start_offset,
            record_errors,
            error_message: partition.error_message.as_deref(),
            current_leader: (partition.current_leader != twin::LeaderIdAndEpoch::default()).then_some(
                crate::leader::CurrentLeader {
                    leader_id: partition.current_leader.leader_id,
                    leader_epoch: partition.current_leader.leader_epoch,
                },
            ),
        })
        .collect();
    let node_endpoints: Vec<_> = response
        .node_endpoints
        .iter()
        .map(|endpoint| crate::leader::NodeEndpoint {
            node_id: endpoint.node_id,
            host: &endpoint.host,
            port: endpoint.port as u16,
            rack: endpoint.rack.as_deref(),
        })
        .collect();
    let mut w = Vec::new();
    ProduceResponse {
        throttle_time_ms: response.throttle_time_ms,
        node_endpoints: &node_endpoints,
    }
    .encode(&mut w, version, &partitions)
    .unwrap();
    w
}

#[test]
fn a_topic_named_in_the_wrong_way_for_the_version_is_refused() {
    let partition = ProducedPartition::appended(Topic::Name("t"), 0, 5, 0);
    assert!(
        ProduceResponse::default()
            .encode(&mut Vec::new(), 13, &[partition])
            .is_err()
    );
    assert!(
        ProduceResponse::default()
            .encode(&mut Vec::new(), 12, &[partition])
            .is_ok()
    );
}

proptest! {
    #[test]
    fn whatever_the_bytes_both_codecs_accept_the_same(
        version in 3_i16..=13,
        corner in prop::sample::select(vec![Corner::Full, Corner::Null, Corner::Empty]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = encoded(&twin::ProduceRequest::filled(&mut Fill::new(corner), version), version);
        for (place, byte) in changes {
            let place = place.index(body.len());
            body[place] = byte;
        }
        if cut.index(4) == 0 {
            body.truncate(cut.index(body.len()));
        }
        let expected = by_twin(&body, version);
        prop_assert_eq!(by_hand(&mut body, version), expected);
    }

    #[test]
    fn random_bytes_never_panic(version in 3_i16..=13, mut body in prop::collection::vec(any::<u8>(), 0..200)) {
        let expected = by_twin(&body, version);
        prop_assert_eq!(by_hand(&mut body, version), expected);
    }
}
