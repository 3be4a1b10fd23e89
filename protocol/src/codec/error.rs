//! What can be wrong with bytes, and what can be wrong with a value to be written.

use thiserror::Error;

/// Bytes that are not the message they should be. The peer is at fault: nothing that follows on its connection can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("the message ends early: {needed} bytes needed, {left} left")]
    Truncated {
        /// Bytes that the value needs.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// A length that no value can have.
    #[error("a {what} declares the length {length}")]
    InvalidLength {
        /// The kind of value: string, bytes, array.
        what: &'static str,
        /// The length as declared.
        length: i64,
    },
    /// More elements than the bytes left could hold. Refused before any memory is reserved.
    #[error("{declared} elements are declared, but only {left} bytes are left")]
    TooManyElements {
        /// The count as declared.
        declared: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// More elements than any honest client sends, whose answers would take many times the bytes of the request.
    #[error("{declared} elements are declared, at most {most} are taken at once")]
    AboveLimit {
        /// The count as declared.
        declared: usize,
        /// The most that is taken.
        most: usize,
    },
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// Null where the version does not allow it.
    #[error("{field} must not be null")]
    Null {
        /// The field's name.
        field: &'static str,
    },
    /// A variable-length integer does not end within the bytes that its type can take.
    #[error("a variable-length integer is too long")]
    VarintTooLong,
    /// A known tagged field is longer or shorter than its declared size.
    #[error("tagged field {tag} does not fill its declared size")]
    TaggedFieldSize {
        /// The field's tag.
        tag: u32,
    },
}

/// A value that its version cannot carry. Our own code is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// A field is set that this version does not have, and that may not be dropped.
    #[error("{field} does not exist in version {version}")]
    FieldNotInVersion {
        /// The field's name.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null, which this version does not allow.
    #[error("{field} must not be null in version {version}")]
    NullNotInVersion {
        /// The field's name.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A string, bytes or array longer than its length field can say.
    #[error("a {what} of length {length} is too long")]
    TooLong {
        /// The kind of value.
        what: &'static str,
        /// Its length.
        length: usize,
    },
}
