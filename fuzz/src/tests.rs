//! Every seed, and damaged copies of it, through every target.

use std::sync::{Mutex, PoisonError};

use crate::TARGETS;

/// Memory is measured for the whole process: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

/// SplitMix64: the same damage every time.
fn chance(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn every_seed_passes_its_target() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for seed in seeds {
            (target.run)(&seed);
        }
    }
}

#[test]
fn damaged_seeds_break_no_promise() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut state = 1;
    for target in TARGETS {
        let seeds = (target.seeds)();
        (target.run)(&[]);
        for _ in 0..500 {
            let mut input = seeds[chance(&mut state) as usize % seeds.len()].clone();
            for _ in 0..=chance(&mut state) % 3 {
                let at = chance(&mut state) as usize % input.len().max(1);
                let byte = chance(&mut state) as u8;
                match chance(&mut state) % 4 {
                    0 => input.truncate(at),
                    1 => input.insert(at.min(input.len()), byte),
                    _ => {
                        if let Some(place) = input.get_mut(at) {
                            *place = byte;
                        }
                    }
                }
            }
            (target.run)(&input);
        }
    }
}
