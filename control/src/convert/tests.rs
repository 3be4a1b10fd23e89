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
