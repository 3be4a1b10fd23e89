//! Kafka's primitive types, written to a growing buffer.

use uuid::Uuid;

use super::EncodeError;

/// Writes Kafka's primitive types. Implemented for `Vec<u8>` alone: it is a set of methods, not an abstraction.
pub trait Put {
    /// One byte, 1 or 0.
    fn put_bool(&mut self, value: bool);
    /// A signed byte.
    fn put_i8(&mut self, value: i8);
    /// Two bytes, big-endian.
    fn put_i16(&mut self, value: i16);
    /// Four bytes, big-endian.
    fn put_i32(&mut self, value: i32);
    /// Eight bytes, big-endian.
    fn put_i64(&mut self, value: i64);
    /// Sixteen bytes.
    fn put_uuid(&mut self, value: Uuid);
    /// Seven bits a byte, lowest first.
    fn put_uvarint(&mut self, value: u32);
    /// Zigzag-coded.
    fn put_varint(&mut self, value: i32);
    /// Zigzag-coded.
    fn put_varlong(&mut self, value: i64);
    /// A string, or null.
    fn put_string(&mut self, flexible: bool, value: Option<&str>) -> Result<(), EncodeError>;
    /// Bytes or records, or null.
    fn put_bytes(&mut self, flexible: bool, value: Option<&[u8]>) -> Result<(), EncodeError>;
    /// The length before bytes or records that are written by someone else, or null.
    fn put_bytes_len(&mut self, flexible: bool, len: Option<usize>) -> Result<(), EncodeError>;
    /// The count before an array, or null.
    fn put_array_len(&mut self, flexible: bool, len: Option<usize>) -> Result<(), EncodeError>;
    /// An array, or null.
    fn put_array<T>(
        &mut self,
        flexible: bool,
        elements: Option<&[T]>,
        element: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError>;
    /// The tagged fields at the end of a flexible struct, in ascending order of their tags.
    fn put_tagged_fields(&mut self, fields: &[(u32, Vec<u8>)]);
}

impl Put for Vec<u8> {
    fn put_bool(&mut self, value: bool) {
        self.push(u8::from(value));
    }

    fn put_i8(&mut self, value: i8) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_i16(&mut self, value: i16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_i32(&mut self, value: i32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_uuid(&mut self, value: Uuid) {
        self.extend_from_slice(value.as_bytes());
    }

    fn put_uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_varint(&mut self, value: i32) {
        self.put_uvarint(((value << 1) ^ (value >> 31)).cast_unsigned());
    }

    fn put_varlong(&mut self, value: i64) {
        let mut value = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_string(&mut self, flexible: bool, value: Option<&str>) -> Result<(), EncodeError> {
        let length = match value {
            Some(value) => i16::try_from(value.len()).map_err(|_| EncodeError::TooLong {
                what: "string",
                length: value.len(),
            })?,
            None => -1,
        };
        if flexible {
            self.put_uvarint((i32::from(length) + 1).cast_unsigned());
        } else {
            self.put_i16(length);
        }
        self.extend_from_slice(value.unwrap_or_default().as_bytes());
        Ok(())
    }

    fn put_bytes(&mut self, flexible: bool, value: Option<&[u8]>) -> Result<(), EncodeError> {
        self.put_bytes_len(flexible, value.map(<[u8]>::len))?;
        self.extend_from_slice(value.unwrap_or_default());
        Ok(())
    }

    fn put_bytes_len(&mut self, flexible: bool, len: Option<usize>) -> Result<(), EncodeError> {
        put_length(self, "bytes", flexible, len)
    }

    fn put_array_len(&mut self, flexible: bool, len: Option<usize>) -> Result<(), EncodeError> {
        put_length(self, "array", flexible, len)
    }

    fn put_array<T>(
        &mut self,
        flexible: bool,
        elements: Option<&[T]>,
        mut element: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.put_array_len(flexible, elements.map(<[T]>::len))?;
        for item in elements.unwrap_or_default() {
            element(self, item)?;
        }
        Ok(())
    }

    fn put_tagged_fields(&mut self, fields: &[(u32, Vec<u8>)]) {
        #[cfg(test)]
        let fields = &unknown_tags::add(fields);
        // A schema has a handful of tagged fields, each bounded by the message.
        self.put_uvarint(fields.len() as u32);
        for (tag, value) in fields {
            self.put_uvarint(*tag);
            self.put_uvarint(value.len() as u32);
            self.extend_from_slice(value);
        }
    }
}

/// The bytes that [`Put::put_uvarint`] writes for `value`.
pub fn uvarint_len(value: u32) -> usize {
    let bits = 32 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn put_length(w: &mut Vec<u8>, what: &'static str, flexible: bool, length: Option<usize>) -> Result<(), EncodeError> {
    let length = match length {
        // Less than i32::MAX, so that one more still fits.
        Some(length) => i32::try_from(length)
            .ok()
            .filter(|&length| length < i32::MAX)
            .ok_or(EncodeError::TooLong { what, length })?,
        None => -1,
    };
    if flexible {
        w.put_uvarint((length + 1).cast_unsigned());
    } else {
        w.put_i32(length);
    }
    Ok(())
}

/// Lets a test put a tagged field that nobody knows into every flexible struct it encodes.
#[cfg(test)]
pub(crate) mod unknown_tags {
    use std::cell::Cell;

    thread_local!(static ADDED: Cell<bool> = const { Cell::new(false) });

    /// Runs `encode` with an unknown tag in every struct.
    pub(crate) fn with<T>(encode: impl FnOnce() -> T) -> T {
        ADDED.set(true);
        let result = encode();
        ADDED.set(false);
        result
    }

    pub(super) fn add(fields: &[(u32, Vec<u8>)]) -> Vec<(u32, Vec<u8>)> {
        let mut fields = fields.to_vec();
        if ADDED.get() {
            fields.push((7001, b"from a later version".to_vec()));
        }
        fields
    }
}
