//! Why a line of the metadata log cannot be read.

/// A line that is not a frame this build can apply. All of them stop the node (METADATA 9).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not JSON, or a field is missing, unknown or of another type.
    #[error("metadata record is malformed ({what}): {cause}")]
    Malformed {
        /// The part that could not be read.
        what: &'static str,
        /// The parser's words.
        cause: String,
    },
    /// A kind of record from a later version.
    #[error("metadata record {kind} (version {version}) is unknown to this version of Barnabas: upgrade it")]
    UnknownRecord {
        /// The record's kind.
        kind: String,
        /// Its version.
        version: u16,
    },
    /// A known kind in another version.
    #[error("metadata record {kind} has version {version}, this version of Barnabas knows {known}: upgrade it")]
    UnknownVersion {
        /// The record's kind.
        kind: String,
        /// The version found.
        version: u16,
        /// The version known.
        known: u16,
    },
}
