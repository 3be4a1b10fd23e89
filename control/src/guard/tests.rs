use std::fs;

use model::{ClusterId, ControllerEpoch, Lineage, LogIdentity, MetadataOffset, Nonce};

use super::{GuardError, StreamGuard};
use crate::messages::Opening;

fn opening(lineage: u8, epoch: i64, nonce: u8) -> Opening {
    Opening {
        identity: LogIdentity {
            lineage: Lineage::from_random([lineage; 16]),
            controller_epoch: ControllerEpoch(epoch),
            nonce: Nonce::from_random([nonce; 16]),
        },
        cluster_id: ClusterId::from_random([9; 16]),
        metadata_offset: MetadataOffset(0),
    }
}

#[test]
fn rule_07_a_stream_of_a_lower_controller_epoch_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut guard = StreamGuard::open(directory.path().join("stream.json")).unwrap();
    guard.admit(&opening(1, 5, 50)).unwrap();
    assert!(matches!(guard.admit(&opening(1, 4, 40)), Err(GuardError::Lower { .. })));
    guard.admit(&opening(1, 5, 50)).unwrap();
    guard.admit(&opening(1, 6, 60)).unwrap();
    assert!(matches!(guard.admit(&opening(1, 5, 50)), Err(GuardError::Lower { .. })));
}

#[test]
fn rule_07_the_same_epoch_with_another_nonce_or_lineage_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut guard = StreamGuard::open(directory.path().join("stream.json")).unwrap();
    guard.admit(&opening(1, 5, 50)).unwrap();
    assert!(matches!(guard.admit(&opening(1, 5, 51)), Err(GuardError::Lower { .. })));
    assert!(matches!(guard.admit(&opening(2, 5, 50)), Err(GuardError::Lower { .. })));
}

#[test]
fn rule_07_the_highest_start_is_remembered_across_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stream.json");
    StreamGuard::open(&path).unwrap().admit(&opening(1, 5, 50)).unwrap();
    let mut restarted = StreamGuard::open(&path).unwrap();
    assert_eq!(restarted.controller_epoch(), Some(ControllerEpoch(5)));
    assert!(matches!(
        restarted.admit(&opening(1, 4, 40)),
        Err(GuardError::Lower { .. })
    ));
}

#[test]
fn rule_07_nothing_is_admitted_that_the_disk_did_not_take() {
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let mut guard = StreamGuard::open(gone.join("stream.json")).unwrap();
    fs::remove_dir(&gone).unwrap();
    assert!(matches!(guard.admit(&opening(1, 5, 50)), Err(GuardError::Disk { .. })));
    assert_eq!(guard.controller_epoch(), None);
}

#[test]
fn a_foreign_or_later_file_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stream.json");
    StreamGuard::open(&path).unwrap().admit(&opening(1, 5, 50)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    for damaged in [
        text.replace("\"version\":1", "\"version\":2"),
        text.replace("barnabas-stream-guard", "something-else"),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        fs::write(&path, &damaged).unwrap();
        let refused = StreamGuard::open(&path).unwrap_err();
        assert!(refused.to_string().contains("stream.json"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    }
}

#[test]
fn the_guards_bytes_do_not_change_by_accident() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stream.json");
    StreamGuard::open(&path).unwrap().admit(&opening(1, 5, 50)).unwrap();
    let expected = format!(
        r#"{{"magic":"barnabas-stream-guard","version":1,"highest":{{"lineage":"{}","controller_epoch":5,"nonce":"{}"}}}}"#,
        Lineage::from_random([1; 16]),
        Nonce::from_random([50; 16]),
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}
