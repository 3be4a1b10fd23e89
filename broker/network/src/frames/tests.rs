//! The assembly against the simplest model: frames cut anywhere are the same frames.

use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::{LIMIT, Reader, SCRATCH};
use super::*;

fn wire_of(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = Vec::new();
    for frame in frames {
        wire.extend_from_slice(&(frame.len() as i32).to_be_bytes());
        wire.extend_from_slice(frame);
    }
    wire
}

/// Mostly small frames, now and then one beyond the stash, the scratch or the first buffer.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![
        20 => 0..200_usize,
        4 => STASH - 8..STASH + 8,
        3 => SCRATCH - 16..SCRATCH + 16,
        2 => LEAST_BUFFER - 8..3 * LEAST_BUFFER,
    ];
    (length, any::<u8>()).prop_map(|(length, seed)| {
        (0..length)
            .map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn any_cutting_of_any_frames_gives_the_same_frames(
        frames in vec(frame(), 0..40),
        cuts in vec(any::<prop::sample::Index>(), 0..30),
        pause_every in 1..100_usize,
    ) {
        let wire = wire_of(&frames);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();
        let mut reader = Reader::pausing(pause_every);
        for cut in cuts.windows(2) {
            prop_assert_eq!(reader.receive(&wire[cut[0]..cut[1]]), Ok(()));
        }
        prop_assert_eq!(&reader.frames, &frames);
        prop_assert_eq!(reader.assembly.kept(), 0);
        prop_assert_eq!(reader.metrics.receiving_bytes(), 0);
    }

    #[test]
    fn garbage_never_panics_and_owns_no_more_than_it_sent(garbage in vec(any::<u8>(), 0..20_000)) {
        let mut reader = Reader::new();
        let _ = reader.receive(&garbage);
        prop_assert!(reader.assembly.kept() <= garbage.len());
        prop_assert!(reader.metrics.receiving_bytes() <= 2 * garbage.len().max(LEAST_BUFFER));
    }
}

#[test]
fn a_frame_cut_at_every_byte_is_the_same_frame() {
    let frames = vec![b"first".to_vec(), Vec::new(), b"third, a little longer".to_vec()];
    let wire = wire_of(&frames);
    for cut in 0..=wire.len() {
        let mut reader = Reader::new();
        reader.receive(&wire[..cut]).unwrap();
        reader.receive(&wire[cut..]).unwrap();
        assert_eq!(reader.frames, frames, "cut at {cut}");
    }
}

#[test]
fn a_negative_or_too_long_frame_is_refused_after_those_before_it() {
    for declared in [-1, i32::MIN, LIMIT as i32 + 1, i32::MAX] {
        let mut wire = wire_of(&[b"good".to_vec()]);
        wire.extend_from_slice(&declared.to_be_bytes());
        let mut reader = Reader::new();
        assert_eq!(reader.receive(&wire), Err(BadLength { declared, limit: LIMIT }));
        assert_eq!(reader.frames, [b"good".to_vec()]);
    }
    let mut reader = Reader::new();
    reader.receive(&wire_of(&[vec![7; LIMIT]])).unwrap();
    assert_eq!(reader.frames, [vec![7; LIMIT]]);
}

#[test]
fn a_declared_length_alone_holds_no_memory() {
    let mut reader = Reader::new();
    let mut wire = (LIMIT as i32).to_be_bytes().to_vec();
    reader.receive(&wire).unwrap();
    assert_eq!((reader.assembly.kept(), reader.metrics.receiving_bytes()), (4, 0));
    // Its buffer follows what arrives, by a factor of two at most.
    wire = vec![0; 200 << 10];
    reader.receive(&wire).unwrap();
    assert_eq!(reader.assembly.kept(), wire.len());
    assert!(reader.metrics.receiving_bytes() <= 2 * wire.len());
}
