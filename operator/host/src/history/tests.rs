use control::{Position, Reason};
use model::record::{ClusterFormatted, ControllerElected};
use model::{ClusterId, ControllerEpoch, Digest, Frame, Lineage, MetadataImage, MetadataOffset, Nonce, Record};

use super::{History, LIMIT_BYTES, Start};

fn formatted(lineage: u8) -> Record {
    ClusterFormatted {
        cluster_id: ClusterId::from_random([1; 16]),
        lineage: Lineage::from_random([lineage; 16]),
        features: [("barnabas.version".to_owned(), 2)].into(),
    }
    .into()
}

fn elected(epoch: i64, holder: &str) -> Record {
    let nonce = Nonce::from_random([epoch as u8; 16]);
    ControllerElected {
        epoch: ControllerEpoch(epoch),
        nonce,
        holder: holder.to_owned(),
    }
    .into()
}

/// The images after each of `count` records of a lineage, and the records.
fn lineage(lineage: u8, count: i64, holder: &str) -> (Vec<MetadataImage>, Vec<Frame>) {
    let mut image = MetadataImage::empty();
    let records = std::iter::once(formatted(lineage)).chain((1..count).map(|epoch| elected(epoch, holder)));
    let frames = records.map(|record| {
        let frame = image.append(record).unwrap();
        (image.clone(), frame)
    });
    frames.collect()
}

fn frames_from(history: &History, at: &MetadataImage) -> Vec<MetadataOffset> {
    match history.start(Some(&Position::of(at))).unwrap() {
        Start::Frames(frames) => frames.iter().map(|frame| frame.offset).collect(),
        Start::Snapshot(_) => panic!("a snapshot where records would do"),
    }
}

fn is_regressed(history: &History, position: &Position) -> bool {
    let refused = history.check(position);
    refused
        .as_ref()
        .is_err_and(|refused| refused.reason == Reason::Regressed)
        && history.start(Some(position)).is_err()
}

#[test]
fn who_has_nothing_gets_the_image() {
    let (images, frames) = lineage(1, 5, "a");
    let history = History::new(images[4].clone(), frames);
    assert!(matches!(history.start(None), Ok(Start::Snapshot(image)) if image == images[4]));
}

#[test]
fn who_is_almost_current_gets_the_records_that_are_missing() {
    let (images, frames) = lineage(1, 5, "a");
    let history = History::new(images[4].clone(), frames);
    assert_eq!(frames_from(&history, &images[4]), []);
    assert_eq!(frames_from(&history, &images[2]), [3, 4].map(MetadataOffset));
    assert_eq!(frames_from(&history, &images[0]), [1, 2, 3, 4].map(MetadataOffset));
}

#[test]
fn what_is_published_is_remembered() {
    let (images, frames) = lineage(1, 5, "a");
    let mut history = History::new(images[1].clone(), Vec::new());
    assert!(matches!(
        history.start(Some(&Position::of(&images[0]))),
        Ok(Start::Snapshot(_))
    ));
    history.publish(&frames[2..4], images[3].clone());
    history.publish(&frames[4..], images[4].clone());
    assert_eq!(history.image(), &images[4]);
    assert_eq!(frames_from(&history, &images[1]), [2, 3, 4].map(MetadataOffset));
}

#[test]
fn a_tail_that_does_not_lead_up_to_the_image_is_not_believed() {
    let (images, frames) = lineage(1, 5, "a");
    let (_, others) = lineage(1, 5, "b");
    for tail in [&frames[..4], &others[..], &[frames[0].clone(), frames[4].clone()]] {
        let history = History::new(images[4].clone(), tail.to_vec());
        assert!(matches!(
            history.start(Some(&Position::of(&images[2]))),
            Ok(Start::Snapshot(_))
        ));
    }
}

#[test]
fn the_history_is_bounded_by_bytes() {
    let holder = "x".repeat(10_000);
    let (images, frames) = lineage(1, 100, &holder);
    let history = History::new(images[99].clone(), frames);
    assert!(history.bytes <= LIMIT_BYTES);
    assert!(!frames_from(&history, &images[90]).is_empty());
    assert!(matches!(
        history.start(Some(&Position::of(&images[10]))),
        Ok(Start::Snapshot(_))
    ));
}

#[test]
fn rule_23_a_position_that_is_no_prefix_of_the_log_is_regressed() {
    let (images, frames) = lineage(1, 5, "a");
    let (longer, _) = lineage(1, 7, "a");
    let (others, _) = lineage(1, 5, "b");
    let history = History::new(images[4].clone(), frames);
    for image in &images {
        assert!(history.check(&Position::of(image)).is_ok());
    }
    assert!(is_regressed(&history, &Position::of(&longer[5])), "later records");
    assert!(
        is_regressed(&history, &Position::of(&others[4])),
        "the last record is another"
    );
    assert!(
        is_regressed(&history, &Position::of(&others[2])),
        "an earlier record is another"
    );
    let position = Position::of(&images[4]);
    assert!(is_regressed(
        &history,
        &Position {
            chain_hash: Digest::of(b"other"),
            ..position
        }
    ));
    assert!(is_regressed(
        &history,
        &Position {
            controller_epoch: ControllerEpoch(9),
            ..position
        }
    ));
}

#[test]
fn rule_23_another_lineage_is_only_left_behind_by_a_higher_epoch_and_offset() {
    let (images, frames) = lineage(1, 5, "a");
    let (others, _) = lineage(2, 9, "a");
    let history = History::new(images[4].clone(), frames);
    assert!(matches!(
        history.start(Some(&Position::of(&others[2]))),
        Ok(Start::Snapshot(_))
    ));
    assert!(is_regressed(&history, &Position::of(&others[4])));
    assert!(is_regressed(&history, &Position::of(&others[8])));
}
