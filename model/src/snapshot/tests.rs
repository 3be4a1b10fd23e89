//! Round trips, limits, golden bytes, and damage.

use proptest::prelude::*;

use super::*;
use crate::random::{choices, created, formatted, history, registered};
use crate::record::{BrokerUnfenced, TopicCreated};
use crate::{Assignment, BrokerEpoch};

fn large(partitions: i32) -> MetadataImage {
    let mut image = MetadataImage::empty();
    image.append(formatted().into()).expect("formatted");
    for id in 0..3 {
        image.append(registered(id, 1, 1, false).into()).expect("registered");
    }
    image
        .append(
            BrokerUnfenced {
                id: BrokerId(0),
                epoch: BrokerEpoch(1),
            }
            .into(),
        )
        .expect("unfenced");
    let lists: Vec<_> = (0..partitions)
        .map(|index| vec![BrokerId(index % 3), BrokerId((index + 1) % 3)])
        .collect();
    let created = TopicCreated {
        assignment: Assignment::from_lists(&lists).expect("even lists"),
        ..created(1, "large", &[&[0, 1]], &[("retention.ms", "1")])
    };
    image.append(created.into()).expect("created");
    image
}

#[test]
fn rule_04_chunks_stay_below_256_kib_whatever_the_number_of_partitions() {
    let image = large(30_000);
    let chunks = encode(&image);
    assert!(chunks.len() > 1);
    assert!(
        chunks.iter().all(|chunk| chunk.len() <= MAX_CHUNK_BYTES),
        "{:?}",
        chunks.iter().map(String::len).max()
    );
    assert_eq!(decode(&chunks), Ok(image));
}

#[test]
fn rule_04_a_missing_exchanged_or_changed_chunk_is_noticed() {
    let chunks = encode(&large(30_000));
    assert!(matches!(decode(&chunks[1..]), Err(SnapshotError::Incomplete(_))));
    assert!(matches!(decode(&chunks[..1]), Err(SnapshotError::Incomplete(_))));
    assert!(matches!(decode::<String>(&[]), Err(SnapshotError::Incomplete(_))));
    let mut swapped = chunks.clone();
    swapped.swap(0, 1);
    assert!(matches!(decode(&swapped), Err(SnapshotError::Incomplete(_))));
    let mut changed = chunks.clone();
    changed[0] = changed[0].replacen("\"leader\":[0", "\"leader\":[1", 1);
    assert_ne!(changed, chunks);
    assert!(matches!(decode(&changed), Err(SnapshotError::Corrupt(_))));
    assert_ne!(digest(&changed), digest(&chunks));
}

#[test]
fn rule_09_a_snapshot_of_a_later_version_is_refused_with_both_versions() {
    let chunks = encode(&MetadataImage::empty());
    let later = chunks[0].replace("\"version\":1", "\"version\":2");
    let error = decode(&[later]).expect_err("a later version");
    assert_eq!(
        error.to_string(),
        "metadata snapshot has version 2, this version of Barnabas knows 1: upgrade it"
    );
    let foreign = chunks[0].replace(MAGIC, "something-else");
    assert!(matches!(decode(&[foreign]), Err(SnapshotError::Corrupt(_))));
}

#[test]
fn the_chunks_of_an_image_are_these_bytes() {
    // A change here is a change of the format: it needs a new version.
    assert_eq!(encode(&large(3)).join("\n"), include_str!("golden.txt").trim_end());
}

proptest! {
    #[test]
    fn a_snapshot_and_the_records_after_it_give_the_image_of_all_records(choices in choices(), cut in any::<prop::sample::Index>()) {
        let (frames, image) = history(&choices);
        let cut = cut.index(frames.len());
        let mut node = MetadataImage::empty();
        for frame in &frames[..cut] {
            node.apply_frame(frame).expect("own frame");
        }
        let mut node = decode(&encode(&node)).expect("own snapshot");
        for frame in &frames[cut..] {
            node.apply_frame(frame).expect("own frame");
        }
        prop_assert_eq!(node, image);
    }

    #[test]
    fn arbitrary_text_is_an_error_and_no_panic(text in ".{0,200}") {
        prop_assert!(decode(&[text]).is_err());
    }
}
