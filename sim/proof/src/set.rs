//! A set of brokers: three of them fit in three bits.

use std::fmt;

/// A set of broker ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Set(u8);

impl Set {
    /// Nobody.
    pub const EMPTY: Self = Self(0);

    /// The brokers 0 to `count` - 1.
    pub fn first(count: u8) -> Self {
        Self((1 << count) - 1)
    }

    /// One broker.
    pub fn one(id: u8) -> Self {
        Self(1 << id)
    }

    /// Is it in?
    pub fn contains(self, id: u8) -> bool {
        self.0 >> id & 1 == 1
    }

    /// With one more.
    pub fn with(self, id: u8) -> Self {
        Self(self.0 | 1 << id)
    }

    /// Without one.
    pub fn without(self, id: u8) -> Self {
        Self(self.0 & !(1 << id))
    }

    /// In either.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// In both.
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// In this one only.
    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// How many.
    pub fn len(self) -> u8 {
        self.0.count_ones() as u8
    }

    /// Nobody?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// All members, lowest first.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |id| self.contains(*id))
    }
}

impl FromIterator<u8> for Set {
    fn from_iter<I: IntoIterator<Item = u8>>(ids: I) -> Self {
        ids.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
