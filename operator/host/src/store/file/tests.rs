use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use controller::{AppendId, LogDocument, SnapshotName, SnapshotRef, StoreVersion};
use model::record::{ClusterFormatted, ControllerElected};
use model::{ClusterId, ControllerEpoch, Lineage, MetadataImage, MetadataOffset, Nonce, Record};

use super::folder::Step;
use super::{AppendFailure, FileStore, LOG, MetadataStore, StoreError};

/// The document after `appends` appends: `ClusterFormatted`, then one `ControllerElected` each.
fn document(appends: u64) -> LogDocument {
    let mut image = MetadataImage::empty();
    let mut tail = Vec::new();
    for number in 0..appends {
        tail.push(image.append(record(number)).unwrap().to_line());
    }
    LogDocument {
        controller_epoch: image.controller_epoch(),
        append_id: AppendId {
            nonce: Nonce::from_random([1; 16]),
            number: appends,
        },
        snapshot: None,
        end_offset: image.offset(),
        tail,
    }
}

fn record(number: u64) -> Record {
    if number == 0 {
        return ClusterFormatted {
            cluster_id: ClusterId::from_random([1; 16]),
            lineage: Lineage::from_random([2; 16]),
            features: [("barnabas.version".to_owned(), 2)].into(),
        }
        .into();
    }
    let epoch = ControllerEpoch(number as i64);
    ControllerElected {
        epoch,
        nonce: Nonce::from_random([3; 16]),
        holder: "test".to_owned(),
    }
    .into()
}

fn name(offset: i64, suffix: u32) -> SnapshotName {
    SnapshotName {
        offset: MetadataOffset(offset),
        suffix,
    }
}

async fn stored(folder: &Path) -> Option<LogDocument> {
    FileStore::open(folder)
        .unwrap()
        .read(true)
        .await
        .unwrap()
        .map(|log| log.document)
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("metadata");
    assert!(!FileStore::exists(&folder));
    {
        let store = FileStore::open(&folder).unwrap();
        assert_eq!(store.read(true).await.unwrap(), None);
        let first = store.replace(document(1), None).await.unwrap();
        store.replace(document(2), Some(first)).await.unwrap();
    }
    assert!(FileStore::exists(&folder));
    assert_eq!(stored(&folder).await, Some(document(2)));
}

#[tokio::test]
async fn an_append_that_expects_another_version_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path().join("metadata")).unwrap();
    let wrong = StoreVersion("of another controller".to_owned());
    assert_eq!(
        store.replace(document(1), Some(wrong.clone())).await,
        Err(AppendFailure::Conflict)
    );
    let version = store.replace(document(1), None).await.unwrap();
    assert_eq!(store.replace(document(2), None).await, Err(AppendFailure::Conflict));
    assert_eq!(
        store.replace(document(2), Some(wrong)).await,
        Err(AppendFailure::Conflict)
    );
    let log = store.read(false).await.unwrap().unwrap();
    assert_eq!((log.document, log.version), (document(1), version));
}

/// Like [`document`], but behind a snapshot, so that the file must be replaced.
fn cut(appends: u64) -> LogDocument {
    let snapshot = SnapshotRef {
        name: name(0, 1),
        chunks: 1,
        hash: model::Digest::of(b"chunks"),
    };
    LogDocument {
        snapshot: Some(snapshot),
        ..document(appends)
    }
}

#[tokio::test]
async fn a_crash_at_any_step_of_a_replacement_leaves_the_old_log_or_the_new_one() {
    for (step, new_is_there) in [
        (Step::Drafted, false),
        (Step::Written, false),
        (Step::Synced, false),
        (Step::Renamed, true),
        (Step::Named, true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("metadata");
        {
            let store = FileStore::open(&folder).unwrap();
            let version = store.replace(document(1), None).await.unwrap();
            *store.folder.crash.lock().unwrap() = Some(step);
            let failure = store.replace(cut(2), Some(version)).await.unwrap_err();
            // METADATA 2: "certainly not written" is said only where that is certain.
            let certain = matches!(failure, AppendFailure::Refused(_));
            assert_eq!(certain, !new_is_there, "{step:?}: {failure}");
        }
        let expected = if new_is_there { cut(2) } else { document(1) };
        assert_eq!(stored(&folder).await, Some(expected), "{step:?}");
        let leftovers: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(
            leftovers.len(),
            2,
            "{step:?}: only the lock and the log are left: {leftovers:?}"
        );
    }
}

#[tokio::test]
async fn an_append_torn_anywhere_leaves_the_old_log_and_can_be_appended_to() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("metadata");
    let log = folder.join(LOG);
    let store = FileStore::open(&folder).unwrap();
    let version = store.replace(document(1), None).await.unwrap();
    let version = store.replace(document(2), Some(version)).await.unwrap();
    let before = fs::metadata(&log).unwrap().len() as usize;
    store.replace(document(3), Some(version)).await.unwrap();
    drop(store);
    let whole = fs::read(&log).unwrap();
    assert!(
        before < whole.len() && whole.len() < before * 2,
        "the third append was appended"
    );
    for length in (before..whole.len()).step_by(7).chain([whole.len() - 1]) {
        for tail in [&b""[..], &[0; 600]] {
            fs::write(&log, [&whole[..length], tail].concat()).unwrap();
            let store = FileStore::open(&folder).unwrap();
            let found = store.read(false).await.unwrap().unwrap();
            assert_eq!(found.document, document(2), "{length} of {} bytes", whole.len());
            let version = store.replace(document(3), Some(found.version)).await.unwrap();
            store.replace(document(4), Some(version)).await.unwrap();
            drop(store);
            assert_eq!(
                stored(&folder).await,
                Some(document(4)),
                "{length} of {} bytes",
                whole.len()
            );
        }
    }
}

#[tokio::test]
async fn an_append_that_crashed_after_its_write_is_not_known_to_be_there() {
    for step in [Step::Appended, Step::AppendSynced] {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::open(directory.path().join("metadata")).unwrap();
        let version = store.replace(document(1), None).await.unwrap();
        *store.folder.crash.lock().unwrap() = Some(step);
        let failure = store.replace(document(2), Some(version.clone())).await.unwrap_err();
        assert!(matches!(failure, AppendFailure::Unknown(_)), "{step:?}: {failure}");
    }
}

#[tokio::test]
async fn a_crash_while_the_log_is_created_leaves_none_or_a_whole_one() {
    for (step, is_there) in [(Step::Drafted, false), (Step::Synced, false), (Step::Renamed, true)] {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("metadata");
        {
            let store = FileStore::open(&folder).unwrap();
            *store.folder.crash.lock().unwrap() = Some(step);
            store.replace(document(1), None).await.unwrap_err();
        }
        assert_eq!(stored(&folder).await, is_there.then(|| document(1)), "{step:?}");
    }
}

#[tokio::test]
async fn rule_02_after_an_uncertain_append_the_next_one_compares_with_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path().join("metadata")).unwrap();
    let old = store.replace(document(1), None).await.unwrap();
    *store.folder.crash.lock().unwrap() = Some(Step::Appended);
    let failure = store.replace(document(2), Some(old.clone())).await.unwrap_err();
    assert!(matches!(failure, AppendFailure::Unknown(_)), "{failure}");
    *store.folder.crash.lock().unwrap() = None;
    assert_eq!(
        store.replace(document(3), Some(old)).await,
        Err(AppendFailure::Conflict)
    );
    let found = store.read(false).await.unwrap().unwrap();
    assert_eq!(found.document, document(2));
    store.replace(document(3), Some(found.version)).await.unwrap();
}

#[tokio::test]
async fn two_processes_cannot_hold_one_folder() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("metadata");
    let held = FileStore::open(&folder).unwrap();
    let refused = FileStore::open(&folder).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Locked { path } if *path == folder),
        "{refused}"
    );
    drop(held);
    FileStore::open(&folder).unwrap();
}

#[tokio::test]
async fn nobody_else_may_read_what_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("metadata");
    let store = FileStore::open(&folder).unwrap();
    store.replace(document(1), None).await.unwrap();
    store
        .write_snapshot(name(7, 1), vec!["chunk".to_owned()])
        .await
        .unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn rule_04_only_snapshots_below_the_one_in_the_log_are_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path().join("metadata")).unwrap();
    for snapshot in [name(3, 1), name(7, 1), name(7, 2), name(9, 1)] {
        store.write_snapshot(snapshot, vec!["chunk".to_owned()]).await.unwrap();
    }
    store.delete_snapshots_below(name(7, 2)).await.unwrap();
    let left: Vec<_> = store
        .folder
        .names()
        .unwrap()
        .into_iter()
        .filter(|name| name.starts_with("snapshot"))
        .collect();
    assert_eq!(
        left,
        [name(7, 1), name(7, 2), name(9, 1)].map(|name| format!("snapshot-{name}"))
    );
}

#[tokio::test]
async fn rule_04_a_log_is_read_with_the_chunks_that_it_names_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path().join("metadata")).unwrap();
    let mut image = MetadataImage::empty();
    image.append(record(0)).unwrap();
    image.append(record(1)).unwrap();
    let chunks = model::snapshot::encode(&image);
    store.write_snapshot(name(1, 5), chunks.clone()).await.unwrap();
    store
        .write_snapshot(name(1, 6), vec!["of another controller".to_owned()])
        .await
        .unwrap();
    let hash = model::snapshot::digest(&chunks);
    let snapshot = Some(SnapshotRef {
        name: name(1, 5),
        chunks: chunks.len() as u32,
        hash,
    });
    let cut = LogDocument {
        snapshot,
        tail: Vec::new(),
        ..document(2)
    };
    store.replace(cut, None).await.unwrap();
    let log = store.read(true).await.unwrap().unwrap();
    assert_eq!(log.fold().unwrap(), image);
    assert!(store.read(false).await.unwrap().unwrap().chunks.is_empty());
}

#[tokio::test]
async fn a_log_that_cannot_be_used_is_refused_when_it_is_opened_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("metadata");
    FileStore::open(&folder)
        .unwrap()
        .replace(document(2), None)
        .await
        .unwrap();
    let good = fs::read_to_string(folder.join(LOG)).unwrap();
    for damaged in [
        // The first entry is begun by a rename, so it is never torn.
        good[..good.len() - 1].to_owned(),
        good.replacen("barnabas-metadata-store 1", "barnabas-metadata-store 2", 1),
        good.replacen("barnabas-metadata-log 1", "barnabas-metadata-log 2", 1),
        good.replacen("test", "tset", 1),
        String::new(),
    ] {
        fs::write(folder.join(LOG), &damaged).unwrap();
        let refused = FileStore::open(&folder).unwrap_err();
        assert!(matches!(refused, StoreError::Unusable { .. }), "{refused}");
        assert!(refused.to_string().contains("metadata/log"), "{refused}");
        assert_eq!(fs::read_to_string(folder.join(LOG)).unwrap(), damaged);
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let refused = FileStore::open(directory.path().join("missing").join("metadata")).unwrap_err();
    assert!(matches!(refused, StoreError::Disk { .. }));
    assert!(refused.to_string().contains("missing/metadata"), "{refused}");
}
