//! What a broker reads after a crash.

use proptest::prelude::*;

use super::*;
use crate::random::{choices, history};

fn document(choices: &[(u8, u8, u8)]) -> (ImageDocument, Vec<Frame>) {
    let (frames, image) = history(choices);
    (
        ImageDocument {
            seen: image.identity(),
            image,
        },
        frames,
    )
}

#[test]
fn the_file_of_an_empty_image_is_these_bytes() {
    let image = MetadataImage::empty();
    let text = String::from_utf8(
        ImageDocument {
            seen: image.identity(),
            image,
        }
        .encode(),
    )
    .expect("text");
    // A change here is a change of the format: it needs a new version.
    assert_eq!(text, include_str!("golden.txt"));
}

#[test]
fn rule_07_the_highest_identity_seen_is_kept_apart_from_the_image() {
    let (mut document, _) = document(&[(0, 0, 0)]);
    document.seen.controller_epoch = document.seen.controller_epoch.next();
    let (read, _) = ImageDocument::decode(&document.encode()).expect("own file");
    assert_eq!(read.seen, document.seen);
    let (seen, mut offered) = (read.seen, read.seen);
    assert!(seen.accepts(&offered));
    offered.nonce = crate::Nonce::from_random([9; 16]);
    assert!(!seen.accepts(&offered), "the same epoch with another nonce");
    offered.controller_epoch = offered.controller_epoch.next();
    assert!(seen.accepts(&offered));
    offered.controller_epoch = crate::ControllerEpoch(0);
    assert!(!seen.accepts(&offered), "a lower epoch");
}

#[test]
fn rule_08_a_torn_record_at_the_end_was_not_acted_on_and_is_dropped() {
    let (_, frames) = document(&[(0, 0, 0), (2, 0, 0)]);
    let mut image = MetadataImage::empty();
    image.apply_frame(&frames[0]).expect("own frame");
    let mut bytes = ImageDocument {
        seen: image.identity(),
        image: image.clone(),
    }
    .encode();
    let whole = ImageDocument::encode_frame(&frames[1]);
    bytes.extend_from_slice(&whole);
    image.apply_frame(&frames[1]).expect("own frame");
    let end = bytes.len();
    bytes.extend_from_slice(&whole[..whole.len() / 2]);
    let (read, valid) = ImageDocument::decode(&bytes).expect("all but the torn line");
    assert_eq!((read.image, valid), (image, end));
}

#[test]
fn rule_08_an_append_torn_in_its_middle_is_dropped_with_what_the_disk_kept_behind_the_tear() {
    let (_, frames) = document(&[(0, 0, 0), (2, 0, 0), (2, 1, 0)]);
    let mut image = MetadataImage::empty();
    image.apply_frame(&frames[0]).expect("own frame");
    let mut bytes = ImageDocument {
        seen: image.identity(),
        image: image.clone(),
    }
    .encode();
    let end = bytes.len();
    for frame in &frames[1..] {
        bytes.extend(ImageDocument::encode_frame(frame));
    }
    bytes[end + 5..end + 40].fill(0);
    let (read, valid) = ImageDocument::decode(&bytes).expect("all but the torn append");
    assert_eq!((read.image, valid), (image, end));
}

#[test]
fn rule_09_a_file_of_a_later_version_is_refused_with_both_versions() {
    let (document, _) = document(&[]);
    let text = String::from_utf8(document.encode()).expect("text");
    let later = text.replacen("-image 1 ", "-image 2 ", 1);
    let error = ImageDocument::decode(later.as_bytes()).expect_err("a later version");
    assert_eq!(
        error.to_string(),
        "metadata image has version 2, this version of Barnabas knows 1: upgrade it"
    );
    assert_eq!(ImageDocument::decode(b"PK\x03\x04\n"), Err(DocumentError::Foreign));
    assert_eq!(ImageDocument::decode(b""), Err(DocumentError::Foreign));
}

proptest! {
    #[test]
    fn a_file_with_records_after_it_reads_as_the_image_after_them(choices in choices(), cut in any::<prop::sample::Index>()) {
        let (document, frames) = document(&choices);
        let cut = cut.index(frames.len());
        let mut image = MetadataImage::empty();
        for frame in &frames[..cut] {
            image.apply_frame(frame).expect("own frame");
        }
        let mut bytes = ImageDocument { seen: document.seen, image }.encode();
        for frame in &frames[cut..] {
            bytes.extend(ImageDocument::encode_frame(frame));
        }
        prop_assert_eq!(ImageDocument::decode(&bytes), Ok((document, bytes.len())));
    }

    #[test]
    fn one_changed_byte_is_noticed(choices in choices(), at in any::<prop::sample::Index>()) {
        let (document, _) = document(&choices);
        let mut bytes = document.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1;
        prop_assert_ne!(ImageDocument::decode(&bytes).map(|(read, _)| read), Ok(document));
    }
}
