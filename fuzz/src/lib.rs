//! Fuzz targets: a function over bytes for each place that reads bytes it did not write, and the seeds it starts from.
//!
//! A target checks more than that nothing panics. What decodes must encode to something that decodes to itself, memory must
//! stay within a bound of the bytes given, and where a simple model exists the answer is compared with it.
//!
//! `fuzz/run.sh` builds the program with coverage and lets libFuzzer drive it; the tests here run the seeds, and damaged
//! copies of them, through every target.

pub mod memory;
mod pieces;
mod targets;
#[cfg(test)]
mod tests;

/// The allocator of the fuzz program and of the tests: it knows the peak.
#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// Something to fuzz.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Reads the bytes; panics if a promise is broken.
    pub run: fn(&[u8]),
    /// What to start from, made by the code under test.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        /// All of them.
        pub const TARGETS: &[Target] = &[
            $(Target {
                name: stringify!($name),
                run: targets::$name::run,
                seeds: targets::$name::seeds,
            },)*
        ];
    };
}

targets!(
    answer,
    follower,
    request,
    response,
    batch,
    compression,
    frames,
    recovery,
    index,
    producers,
    checkpoints,
    image,
    records,
    groups,
);

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
