//! The hand-shaped response against its generated twin, which is checked against the oracle.

use super::*;
use crate::messages::fetch as twin;
use crate::messages::filled::{Corner, Fill, Filled};
use crate::{ApiKey, ErrorCode, Message};
use bytes::Bytes;

#[test]
fn responses_of_every_version_have_the_bytes_of_the_twin() {
    for version in ApiKey::Fetch.api().accepted.iter() {
        for corner in [Corner::Full, Corner::Null, Corner::Empty] {
            let response = filled(corner, version);
            let mut expected = b"head".to_vec();
            response.encode(&mut expected, version).unwrap();
            let chunks = by_hand(&response, version);
            assert_eq!(joined(&chunks), expected, "{version} {response:?}");
            let records = chunks.iter().filter(|chunk| matches!(chunk, Chunk::Records(_))).count();
            assert_eq!(records, if corner == Corner::Full { 4 } else { 0 });
        }
    }
}

/// A filled response without what a broker never says: a snapshot id, null records.
fn filled(corner: Corner, version: i16) -> twin::FetchResponse {
    let mut response = twin::FetchResponse::filled(&mut Fill::new(corner), version);
    if version >= 7 {
        response.error_code = ErrorCode::FetchSessionIdNotFound.code();
    }
    for endpoint in &mut response.node_endpoints {
        endpoint.port = 9092;
    }
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.error_code = ErrorCode::FencedLeaderEpoch.code();
        partition.snapshot_id = twin::SnapshotId::default();
        partition.records.get_or_insert_default();
    }
    response
}

fn by_hand(response: &twin::FetchResponse, version: i16) -> Vec<Chunk<Bytes>> {
    let mut partitions = Vec::new();
    for topic in &response.responses {
        for partition in &topic.partitions {
            partitions.push(FetchedPartition {
                topic: super::topic(version, &topic.topic, topic.topic_id),
                index: partition.partition_index,
                error_code: ErrorCode::from_code(partition.error_code).unwrap(),
                high_watermark: partition.high_watermark,
                last_stable_offset: partition.last_stable_offset,
                log_start_offset: partition.log_start_offset,
                diverging_epoch: (partition.diverging_epoch != twin::EpochEndOffset::default()).then_some(
                    EpochEndOffset {
                        epoch: partition.diverging_epoch.epoch,
                        end_offset: partition.diverging_epoch.end_offset,
                    },
                ),
                current_leader: (partition.current_leader != twin::LeaderIdAndEpoch::default()).then_some(
                    crate::leader::CurrentLeader {
                        leader_id: partition.current_leader.leader_id,
                        leader_epoch: partition.current_leader.leader_epoch,
                    },
                ),
                aborted_transactions: partition.aborted_transactions.as_ref().map(|aborted| {
                    aborted
                        .iter()
                        .map(|aborted| AbortedTransaction {
                            producer_id: aborted.producer_id,
                            first_offset: aborted.first_offset,
                        })
                        .collect()
                }),
                preferred_read_replica: partition.preferred_read_replica,
                records: partition.records.clone(),
            });
        }
    }
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
    FetchResponse {
        throttle_time_ms: response.throttle_time_ms,
        error_code: ErrorCode::from_code(response.error_code).unwrap(),
        session_id: response.session_id,
        node_endpoints: &node_endpoints,
    }
    .encode(b"head".to_vec(), version, partitions)
    .unwrap()
}

fn joined(chunks: &[Chunk<Bytes>]) -> Vec<u8> {
    chunks
        .iter()
        .flat_map(|chunk| match chunk {
            Chunk::Inline(bytes) => bytes.clone(),
            Chunk::Records(records) => records.to_vec(),
        })
        .collect()
}

#[test]
fn no_records_are_sent_as_no_bytes_and_never_as_null() {
    let partition: FetchedPartition<'_, Bytes> = FetchedPartition::empty(Topic::Name("t"), 0, ErrorCode::None);
    let chunks = FetchResponse::default().encode(Vec::new(), 4, vec![partition]).unwrap();
    assert!(matches!(&chunks[..], [Chunk::Inline(bytes)] if bytes.ends_with(&[0, 0, 0, 0])));
}

#[test]
fn the_replica_is_found_where_its_version_puts_it() {
    let request = FetchRequest {
        replica_id: 3,
        replica_state: ReplicaState {
            replica_id: 4,
            replica_epoch: 5,
        },
        ..Default::default()
    };
    assert_eq!(request.replica(14), (3, -1));
    assert_eq!(request.replica(15), (4, 5));
    assert_eq!(FetchRequest::default().replica(18), (CONSUMER, -1));
}

#[test]
fn a_follower_reads_what_the_twin_says_and_copies_no_records() {
    for version in 13..=18 {
        for corner in [Corner::Full, Corner::Null, Corner::Empty] {
            let response = filled(corner, version);
            let mut frame = Vec::new();
            crate::header::put_response_header(&mut frame, ApiKey::Fetch.api(), version, 7);
            response.encode(&mut frame, version).unwrap();
            let (correlation_id, answer) = FetchAnswer::decode(&frame, version).unwrap();
            assert_eq!(correlation_id, 7);
            assert_eq!(answer.error_code.code(), response.error_code);
            assert_eq!(answer.session_id, response.session_id);
            let mut read = answer.partitions.iter();
            for topic in &response.responses {
                for said in &topic.partitions {
                    let found = read.next().unwrap();
                    assert_eq!((found.topic_id, found.index), (topic.topic_id, said.partition_index));
                    assert_eq!(found.error_code.code(), said.error_code);
                    assert_eq!(found.high_watermark, said.high_watermark);
                    assert_eq!(found.log_start_offset, said.log_start_offset);
                    let diverging = found
                        .diverging_epoch
                        .map_or((-1, -1), |end| (end.epoch, end.end_offset));
                    assert_eq!(diverging, (said.diverging_epoch.epoch, said.diverging_epoch.end_offset));
                    assert_eq!(found.records, said.records.as_deref().unwrap_or_default());
                }
            }
            assert_eq!(read.next(), None);
            for cut in 0..frame.len() {
                assert!(FetchAnswer::decode(&frame[..cut], version).is_err(), "{cut} bytes");
            }
        }
    }
}
