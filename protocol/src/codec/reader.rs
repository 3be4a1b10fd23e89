//! A cursor over received bytes that refuses whatever the bytes cannot back.

use bytes::Bytes;
use uuid::Uuid;

use super::DecodeError;

/// Reads Kafka's primitive types from a slice. Every read is bounds-checked; no read reserves more than the slice could fill.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// The longest string that Kafka accepts, in bytes (also in the compact form, which could say more).
const MAX_STRING: usize = i16::MAX as usize;

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The bytes not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes, borrowed.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.truncated(len));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// One byte; anything but 0 is true.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// A signed byte.
    #[inline]
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array_of()?))
    }

    /// Two bytes, big-endian.
    #[inline]
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array_of()?))
    }

    /// Four bytes, big-endian.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array_of()?))
    }

    /// Eight bytes, big-endian.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array_of()?))
    }

    /// Sixteen bytes.
    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid::from_bytes(self.array_of()?))
    }

    /// An unsigned integer of seven bits a byte, lowest first, of at most five bytes.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        match self.short_varint() {
            Some(value) => Ok(value),
            None => self.long_uvarint(),
        }
    }

    /// A zigzag-coded signed integer of at most five bytes.
    #[inline]
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let value = self.uvarint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A zigzag-coded signed integer of at most ten bytes.
    #[inline]
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let value = match self.short_varint() {
            Some(value) => u64::from(value),
            None => self.long_uvarlong()?,
        };
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// One or two bytes, which is what nearly all are: records are walked by these.
    #[inline]
    fn short_varint(&mut self) -> Option<u32> {
        match *self.rest {
            [low, ref rest @ ..] if low < 0x80 => {
                self.rest = rest;
                Some(u32::from(low))
            }
            [low, high, ref rest @ ..] if high < 0x80 => {
                self.rest = rest;
                Some(u32::from(low & 0x7f) | u32::from(high) << 7)
            }
            _ => None,
        }
    }

    #[cold]
    fn long_uvarint(&mut self) -> Result<u32, DecodeError> {
        // Four bits are left for the fifth byte.
        let value = self.long_varint(5, 0x0f)?;
        Ok(value as u32)
    }

    fn long_uvarlong(&mut self) -> Result<u64, DecodeError> {
        // One bit is left for the tenth byte.
        self.long_varint(10, 0x01)
    }

    fn long_varint(&mut self, max_len: u32, max_last: u8) -> Result<u64, DecodeError> {
        let mut value = 0;
        for place in 0..max_len {
            let [byte] = self.array_of()?;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                let fits = place + 1 < max_len || byte <= max_last;
                return if fits {
                    Ok(value)
                } else {
                    Err(DecodeError::VarintTooLong)
                };
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// A string, borrowed; `None` is null.
    pub fn str(&mut self, flexible: bool) -> Result<Option<&'a str>, DecodeError> {
        let length = if flexible {
            i64::from(self.uvarint()?) - 1
        } else {
            i64::from(self.i16()?)
        };
        let Some(length) = checked_length("string", length)? else {
            return Ok(None);
        };
        if length > MAX_STRING {
            return Err(DecodeError::InvalidLength {
                what: "string",
                length: length as i64,
            });
        }
        let bytes = self.take(length)?;
        str::from_utf8(bytes).map(Some).map_err(|_| DecodeError::NotUtf8)
    }

    /// A string; `None` is null.
    pub fn string(&mut self, flexible: bool) -> Result<Option<String>, DecodeError> {
        Ok(self.str(flexible)?.map(str::to_owned))
    }

    /// Bytes or records, borrowed; `None` is null.
    pub fn byte_slice(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.length("bytes", flexible)? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    /// Bytes or records, copied; `None` is null.
    pub fn bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        Ok(self.byte_slice(flexible)?.map(Bytes::copy_from_slice))
    }

    /// The count before an array whose elements take at least `min_size` bytes each; `None` is null.
    ///
    /// # Errors
    /// [`DecodeError::TooManyElements`] if the bytes left could not hold that many.
    pub fn array_len(&mut self, flexible: bool, min_size: usize) -> Result<Option<usize>, DecodeError> {
        let Some(declared) = self.length("array", flexible)? else {
            return Ok(None);
        };
        let left = self.remaining();
        if declared > left / min_size.max(1) {
            return Err(DecodeError::TooManyElements { declared, left });
        }
        Ok(Some(declared))
    }

    /// An array; `None` is null.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        min_size: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(declared) = self.array_len(flexible, min_size)? else {
            return Ok(None);
        };
        let mut elements = room_for(declared, self.remaining());
        for _ in 0..declared {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// The tagged fields at the end of a flexible struct. `known` reads a field that it knows and returns true, or returns
    /// false for one that it does not, which is then skipped.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            let mut field = Self::new(self.take(size)?);
            if known(tag, &mut field)? && field.remaining() > 0 {
                return Err(DecodeError::TaggedFieldSize { tag });
            }
        }
        Ok(())
    }

    /// Skips the tagged fields of a struct that has none of its own.
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields(|_, _| Ok(false))
    }

    fn length(&mut self, what: &'static str, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let length = if flexible {
            i64::from(self.uvarint()?) - 1
        } else {
            i64::from(self.i32()?)
        };
        checked_length(what, length)
    }

    #[inline]
    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.truncated(N));
        };
        self.rest = rest;
        Ok(*taken)
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        DecodeError::Truncated {
            needed,
            left: self.rest.len(),
        }
    }
}

/// Room for `declared` elements, of which `left` bytes are still to be read. An element can be larger in memory than on the
/// wire: no more is reserved than the bytes left, and the rest grows by what is really there.
pub(super) fn room_for<T>(declared: usize, left: usize) -> Vec<T> {
    Vec::with_capacity(declared.min(left / size_of::<T>().max(1) + 1))
}

/// -1 is null; nothing is shorter.
fn checked_length(what: &'static str, length: i64) -> Result<Option<usize>, DecodeError> {
    match usize::try_from(length) {
        Ok(length) => Ok(Some(length)),
        Err(_) if length == -1 => Ok(None),
        Err(_) => Err(DecodeError::InvalidLength { what, length }),
    }
}

/// The value of a field that is never null.
pub fn not_null<T>(value: Option<T>, field: &'static str) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Null { field })
}

/// The value of a field that may be null only if `allowed`.
pub fn nullable_if<T>(allowed: bool, value: Option<T>, field: &'static str) -> Result<Option<T>, DecodeError> {
    if value.is_none() && !allowed {
        return Err(DecodeError::Null { field });
    }
    Ok(value)
}
