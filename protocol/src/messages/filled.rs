//! Messages with a value in every field: for tests, and (feature `samples`) as what fuzzing starts from.

use bytes::Bytes;
use uuid::Uuid;

/// Implemented by the generator for every struct.
pub trait Filled {
    /// A value in which every field that `version` carries differs from its default, as far as `fill` asks for it.
    fn filled(fill: &mut Fill, version: i16) -> Self;
}

/// Which corner of the value space to fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corner {
    /// Every field set, arrays of two.
    Full,
    /// Null wherever the version allows it, arrays of one.
    Null,
    /// Every string, array and bytes empty.
    Empty,
}

/// A source of values, no two alike as far as their type allows.
#[derive(Debug)]
pub struct Fill {
    corner: Corner,
    count: i64,
}

impl Fill {
    /// A source of values for this corner.
    pub fn new(corner: Corner) -> Self {
        Self { corner, count: 100 }
    }

    /// Whether what may be null is null.
    pub fn null(&self) -> bool {
        self.corner == Corner::Null
    }

    /// A byte that is no default.
    pub fn i8(&mut self) -> i8 {
        // 2 to 101: no default is among them.
        (self.next() % 100 + 2) as i8
    }

    /// The next number.
    pub fn i16(&mut self) -> i16 {
        self.next() as i16
    }

    /// The next number, of four bytes.
    pub fn i32(&mut self) -> i32 {
        self.next() as i32 + 0x0100_0000
    }

    /// The next number, of eight bytes.
    pub fn i64(&mut self) -> i64 {
        self.next() + 0x0100_0000_0000_0000
    }

    /// The next id.
    pub fn uuid(&mut self) -> Uuid {
        Uuid::from_u128(u128::from(self.next().unsigned_abs()) << 64 | 0x77)
    }

    /// The next text, not all of it ASCII.
    pub fn string(&mut self) -> String {
        if self.corner == Corner::Empty {
            String::new()
        } else {
            format!("é-{}", self.next())
        }
    }

    /// The next bytes.
    pub fn bytes(&mut self) -> Bytes {
        Bytes::from(self.string())
    }

    /// A list as long as the corner asks.
    pub fn array<T>(&mut self, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let len = match self.corner {
            Corner::Full => 2,
            Corner::Null => 1,
            Corner::Empty => 0,
        };
        (0..len).map(|_| element(self)).collect()
    }

    fn next(&mut self) -> i64 {
        self.count += 1;
        self.count
    }
}
