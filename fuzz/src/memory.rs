//! How much memory a decoder takes for the bytes it is given.

use crate::ALLOCATOR;

/// Bytes that a decoder may take in any case: small vectors, error texts, a first chunk.
const BASE: usize = 4 << 10;

/// Runs `read` and asserts that it holds at most `factor` bytes for each byte of `input` at any moment, and a little.
///
/// Meaningful on one thread only: the tests of this crate take turns in `tests.rs`.
pub fn bounded<T>(factor: usize, input: &[u8], read: impl FnOnce() -> T) -> T {
    at_most(BASE + factor * input.len(), read)
}

/// Runs `read` and asserts that it holds at most `most` bytes at any moment.
pub fn at_most<T>(most: usize, read: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = read();
    let held = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(held <= most, "{held} bytes held, {most} allowed");
    result
}
