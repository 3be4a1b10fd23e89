//! The little that the coordinator reads of a consumer's metadata.

use protocol::codec::{DecodeError, Reader, not_null};

/// The topics of a `ConsumerProtocolSubscription`. Every version begins like version 0, so later ones are read as that.
pub(crate) fn topics(metadata: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut r = Reader::new(metadata);
    let _version = r.i16()?;
    not_null(r.array(false, 2, |r| not_null(r.string(false)?, "topic"))?, "topics")
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::codec::Put;

    #[test]
    fn topics_are_read_from_any_version_and_damage_is_an_error() {
        let mut metadata = Vec::new();
        metadata.put_i16(3);
        metadata
            .put_array(false, Some(&["a", "b"]), |w, topic| w.put_string(false, Some(topic)))
            .unwrap();
        metadata.extend_from_slice(b"owned partitions, user data, generation, rack");
        assert_eq!(topics(&metadata), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert!(topics(&metadata[..7]).is_err());
        assert!(topics(&[]).is_err());
    }
}
