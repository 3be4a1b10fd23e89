//! Cuts one input into the several that a target needs, and the other way round for seeds.

/// What is left of an input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pieces<'a>(&'a [u8]);

impl<'a> Pieces<'a> {
    pub(crate) fn of(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// The next byte; 0 after the end.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// The next piece: two bytes of length, big-endian, then as much of it as there is. `None` at the end.
    pub(crate) fn piece(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        self.0 = rest;
        Some(piece)
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// The input that [`Pieces`] cuts into these.
pub(crate) fn join<P: AsRef<[u8]>>(flags: &[u8], pieces: impl IntoIterator<Item = P>) -> Vec<u8> {
    let mut input = flags.to_vec();
    for piece in pieces {
        let piece = piece.as_ref();
        input.extend_from_slice(&(piece.len() as u16).to_be_bytes());
        input.extend_from_slice(piece);
    }
    input
}
