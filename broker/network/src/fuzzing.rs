//! What the fuzz targets may reach (feature `fuzzing`).

/// Receives `wire` in pieces of `step` bytes, with a handler that asks for a pause after every `pause_every` frames.
///
/// # Panics
/// If the frames are not those that a look at the whole of `wire` gives, or if more is kept than was received.
pub fn frames(step: usize, pause_every: usize, wire: &[u8]) {
    crate::frames::driver::check(step, pause_every, wire);
}
