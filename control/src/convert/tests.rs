use std::collections::BTreeMap;

use bytes::Bytes;
use model::{
    BrokerEpoch, BrokerId, ClusterId, ControllerEpoch, Digest, DirectoryId, Endpoint, FeatureRange, IncarnationId,
    Lineage, MetadataOffset, TopicId,
};

use super::*;
use crate::proto::watch_metadata_response::Part;

fn cluster() -> ClusterRef {
    ClusterRef::new("mail", "letters").unwrap()
}

fn position() -> Position {
    Position {
        lineage: Lineage::from_random([1; 16]),
        controller_epoch: ControllerEpoch(4),
        offset: MetadataOffset(17),
        chain_hash: Digest::of(b"chain"),
    }
}

fn registration() -> Registration {
    Registration {
        broker_id: BrokerId(2),
        incarnation: IncarnationId::from_random([2; 16]),
        directory_id: DirectoryId::from_random([3; 16]),
        boot_id: Some("a boot".to_owned()),
        clean_shutdown_epoch: Some(BrokerEpoch(0)),
        pod_uid: Some("a pod".to_owned()),
        endpoints: vec![Endpoint {
            listener: "PLAINTEXT".to_owned(),
            host: "broker-2".to_owned(),
            port: 9092,
        }],
        rack: Some("z1".to_owned()),
        features: BTreeMap::from([("barnabas.version".to_owned(), FeatureRange { min: 1, max: 3 })]),
        position: Some(position()),
        cluster_id: Some(ClusterId::from_random([4; 16])),
    }
}

#[test]
fn proposals_and_their_outcomes_survive_the_wire() {
    let alter = AlterPartition {
        session: Session {
            broker_id: BrokerId(2),
            broker_epoch: BrokerEpoch(40),
        },
        proposals: vec![IsrProposal {
            topic: TopicId::from_random([5; 16]),
            partition: PartitionIndex(3),
            leader_epoch: LeaderEpoch(7),
            partition_epoch: PartitionEpoch(9),
            isr: vec![IsrMember {
                broker: BrokerId(2),
                epoch: BrokerEpoch(40),
            }],
        }],
    };
    let message = alter_partition_to_proto(&cluster(), &alter);
    assert_eq!(ClusterRef::try_from(message.cluster.clone()), Ok(cluster()));
    assert_eq!(AlterPartition::try_from(message.clone()), Ok(alter));
    let mut short = message;
    short.proposals[0].topic_id.pop();
    assert!(AlterPartition::try_from(short).is_err());
    let outcome = IsrOutcome {
        topic: TopicId::from_random([5; 16]),
        partition: PartitionIndex(3),
        error_code: 0,
        leader: Some(BrokerId(2)),
        leader_epoch: LeaderEpoch(7),
        partition_epoch: PartitionEpoch(10),
        isr: vec![BrokerId(2)],
    };
    let unknown = IsrOutcome {
        error_code: 100,
        leader: None,
        leader_epoch: LeaderEpoch(-1),
        partition_epoch: PartitionEpoch(-1),
        isr: Vec::new(),
        ..outcome.clone()
    };
    let both = vec![outcome, unknown];
    assert_eq!(outcomes(outcomes_to_proto(both.clone())), Ok(both));
}

#[test]
fn a_registration_survives_the_wire_full_and_bare() {
    let full = registration();
    let bare = Registration {
        boot_id: None,
        clean_shutdown_epoch: None,
        pod_uid: None,
        rack: None,
        features: BTreeMap::new(),
        position: None,
        cluster_id: None,
        ..full.clone()
    };
    for registration in [full, bare] {
        let message = registration_to_proto(&cluster(), &registration);
        assert_eq!(ClusterRef::try_from(message.cluster.clone()), Ok(cluster()));
        assert_eq!(Registration::try_from(message), Ok(registration));
    }
}

#[test]
fn a_registration_that_means_nothing_is_refused_by_field() {
    let good = || registration_to_proto(&cluster(), &registration());
    let refused = |spoil: fn(&mut proto::RegisterRequest)| {
        let mut message = good();
        spoil(&mut message);
        Registration::try_from(message).unwrap_err().to_string()
    };
    assert!(refused(|m| m.broker_id = -1).contains("broker_id"));
    assert!(refused(|m| m.incarnation.truncate(15)).contains("incarnation"));
    assert!(refused(|m| m.directory_id.clear()).contains("directory_id"));
    assert!(refused(|m| m.endpoints.clear()).contains("endpoints"));
    assert!(refused(|m| m.endpoints[0].port = 70_000).contains("70000"));
    assert!(refused(|m| m.features[0].max = 0).contains("barnabas.version"));
    assert!(refused(|m| m.cluster_id = "short".to_owned()).contains("cluster_id"));
    assert!(refused(|m| m.position.as_mut().unwrap().offset = -1).contains("position.offset"));
    assert!(refused(|m| m.position.as_mut().unwrap().chain_hash.push(0)).contains("chain_hash"));
}

#[test]
fn a_request_without_a_cluster_is_refused() {
    assert_eq!(ClusterRef::try_from(None), Err(ContractError::Missing("cluster")));
}

#[test]
fn heartbeat_watch_and_purge_survive_the_wire() {
    let session = Session {
        broker_id: BrokerId(1),
        broker_epoch: BrokerEpoch(12),
    };
    for chain_hash in [None, Some(Digest::of(b"chain"))] {
        let heartbeat = Heartbeat {
            session,
            incarnation: IncarnationId::from_random([5; 16]),
            applied: MetadataOffset(11),
            chain_hash,
            want_shutdown: true,
            ready: true,
        };
        assert_eq!(
            Heartbeat::try_from(heartbeat_to_proto(&cluster(), &heartbeat)),
            Ok(heartbeat)
        );
    }
    for position in [None, Some(position())] {
        let watch = Watch {
            broker_id: BrokerId(1),
            incarnation: IncarnationId::from_random([5; 16]),
            position,
        };
        assert_eq!(Watch::try_from(watch_to_proto(&cluster(), &watch)), Ok(watch));
    }
    let purged = Purged {
        session,
        topic_ids: vec![TopicId::from_random([6; 16]), TopicId::from_random([7; 16])],
    };
    assert_eq!(Purged::try_from(purged_to_proto(&cluster(), &purged)), Ok(purged));
}

#[test]
fn what_is_said_of_replicas_survives_the_wire_and_what_says_nothing_does_not() {
    use proto::replica_report::Log;
    let report = |partition, log| ReplicaReport {
        topic: TopicId::from_random([6; 16]),
        partition: PartitionIndex(partition),
        leader_epoch: LeaderEpoch(4),
        log,
    };
    let end = |epoch, offset| {
        let epoch = LeaderEpoch(epoch);
        ReportedLog::Ends(LogEnd { epoch, offset })
    };
    let said = ReplicaReports {
        session: Session {
            broker_id: BrokerId(1),
            broker_epoch: BrokerEpoch(12),
        },
        reports: vec![
            report(0, end(3, 17)),
            report(1, end(-1, 0)),
            report(2, ReportedLog::Failed),
        ],
    };
    let message = replica_reports_to_proto(&cluster(), &said);
    assert_eq!(ReplicaReports::try_from(message.clone()), Ok(said));
    let end = |leader_epoch, offset| Some(Log::Ends(proto::LogEnd { leader_epoch, offset }));
    for log in [None, Some(Log::Failed(false)), end(-2, 0), end(0, -1)] {
        let mut message = message.clone();
        message.reports[0].log = log;
        assert!(ReplicaReports::try_from(message).is_err(), "{log:?}");
    }
}

#[test]
fn an_admin_request_survives_the_wire_and_an_absurd_version_does_not() {
    let request = AdminRequest {
        session: Session {
            broker_id: BrokerId(1),
            broker_epoch: BrokerEpoch(12),
        },
        principal: "User:k".to_owned(),
        listener: "PLAINTEXT".to_owned(),
        client_id: "c".to_owned(),
        client_host: "10.0.0.1".to_owned(),
        api_key: 19,
        api_version: 7,
        body: Bytes::from_static(b"body"),
    };
    let message = admin_to_proto(&cluster(), request.clone());
    assert_eq!(AdminRequest::try_from(message.clone()), Ok(request));
    assert!(
        AdminRequest::try_from(proto::ForwardRequest {
            api_version: 40_000,
            ..message
        })
        .is_err()
    );
}

#[test]
fn a_block_of_producer_ids_beyond_all_numbers_is_refused() {
    let block = proto::AllocateProducerIdsResponse {
        first: i64::MAX,
        count: 1,
    };
    assert!(ProducerIdBlock::try_from(block).is_err());
    let block = proto::AllocateProducerIdsResponse { first: 0, count: 0 };
    assert!(ProducerIdBlock::try_from(block).is_err());
}

#[test]
fn many_records_go_in_messages_of_bounded_size() {
    let line = "x".repeat(100 * 1024);
    let messages = frames_to_proto(vec![line; 5]);
    let counts: Vec<_> = messages
        .iter()
        .map(|message| match &message.part {
            Some(Part::Frames(frames)) => frames.lines.len(),
            other => panic!("not records: {other:?}"),
        })
        .collect();
    assert_eq!(counts, [2, 2, 1]);
    assert_eq!(
        frames_to_proto(["x".repeat(FRAMES_BYTES * 3)]).len(),
        1,
        "one record above the bound goes alone"
    );
}
