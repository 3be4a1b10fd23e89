//! Random ids without a source of randomness: drawn from the bytes that the shell gave.

use model::Digest;

/// A stream of 16-byte blocks that nobody without the seed can guess or repeat.
#[derive(Debug)]
pub(crate) struct Entropy {
    seed: [u8; 32],
    drawn: u64,
}

impl Entropy {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    pub(crate) fn draw(&mut self) -> [u8; 16] {
        self.drawn += 1;
        let mut input = [0; 40];
        input[..32].copy_from_slice(&self.seed);
        input[32..].copy_from_slice(&self.drawn.to_be_bytes());
        *Digest::of(&input).as_bytes()
    }

    pub(crate) fn draw_u32(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.draw();
        u32::from_be_bytes([a, b, c, d])
    }
}
