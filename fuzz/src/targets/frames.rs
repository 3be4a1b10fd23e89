//! Bytes from a socket, in pieces of any size, become frames.

use crate::pieces::Pieces;

pub(crate) fn run(input: &[u8]) {
    let mut pieces = Pieces::of(input);
    let (step, pause_every) = (pieces.byte(), pieces.byte());
    broker_network::fuzzing::frames(usize::from(step) + 1, usize::from(pause_every) + 1, pieces.rest());
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let wire = |lengths: &[usize]| {
        let mut wire = Vec::new();
        for length in lengths {
            wire.extend_from_slice(&(*length as i32).to_be_bytes());
            wire.extend(std::iter::repeat_n(7, *length));
        }
        wire
    };
    let mut seeds = Vec::new();
    for step in [0, 1, 10, 255] {
        for pause_every in [0, 2, 255] {
            for lengths in [&[0, 1, 5][..], &[100; 8], &[0; 80], &[4096, 4097], &[300, 5000, 1]] {
                let mut seed = vec![step, pause_every];
                seed.extend(wire(lengths));
                seeds.push(seed);
            }
        }
    }
    for bad in [-1, i32::MIN, i32::MAX, (1 << 20) + 1] {
        let mut seed = vec![3, 255];
        seed.extend(wire(&[3]));
        seed.extend(bad.to_be_bytes());
        seeds.push(seed);
    }
    seeds
}
