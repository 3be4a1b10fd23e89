//! A 128-bit digest, and the canonical bytes of an entity that go into one.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::ids::{BrokerId, IdError};

/// The first 128 bits of a SHA-256: enough against accident, which is what it guards against (METADATA 6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest([u8; 16]);

impl Digest {
    /// The digest of nothing: an empty image, and the chain before the first record.
    pub const ZERO: Self = Self([0; 16]);

    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::truncate(Sha256::digest(bytes).into())
    }

    /// The digest's bytes, for a wire format.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A digest from a wire format.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Adds an entity to an image's digest, or takes it out again: XOR is its own inverse.
    pub(crate) fn toggle(&mut self, entity: Self) {
        for (byte, other) in self.0.iter_mut().zip(entity.0) {
            *byte ^= other;
        }
    }

    fn truncate(full: [u8; 32]) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&full[..16]);
        Self(short)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| IdError {
            text: text.chars().take(64).collect(),
            kind: "digest",
            expected: "22 characters of base64url",
        })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Collects an entity's fields in one canonical form: fixed widths, and a length before whatever varies.
pub(crate) struct Entity(Sha256);

impl Entity {
    /// `kind` keeps entities of different kinds apart although their fields may be alike.
    pub(crate) fn new(kind: &str) -> Self {
        Self(Sha256::new()).text(kind)
    }

    pub(crate) fn number(mut self, value: i64) -> Self {
        self.0.update(value.to_be_bytes());
        self
    }

    pub(crate) fn bytes(mut self, value: &[u8]) -> Self {
        self.0.update((value.len() as u64).to_be_bytes());
        self.0.update(value);
        self
    }

    pub(crate) fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    pub(crate) fn flag(self, value: bool) -> Self {
        self.number(i64::from(value))
    }

    pub(crate) fn optional_text(self, value: Option<&str>) -> Self {
        match value {
            Some(text) => self.flag(true).text(text),
            None => self.flag(false),
        }
    }

    pub(crate) fn brokers(mut self, ids: &[BrokerId]) -> Self {
        self = self.number(ids.len() as i64);
        for id in ids {
            self = self.number(i64::from(id.0));
        }
        self
    }

    pub(crate) fn texts<'a>(mut self, pairs: impl ExactSizeIterator<Item = (&'a String, &'a String)>) -> Self {
        self = self.number(pairs.len() as i64);
        for (key, value) in pairs {
            self = self.text(key).text(value);
        }
        self
    }

    pub(crate) fn digest(self) -> Digest {
        Digest::truncate(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_texts_do_not_run_into_each_other() {
        let one = Entity::new("e").text("ab").text("c").digest();
        let two = Entity::new("e").text("a").text("bc").digest();
        assert_ne!(one, two);
    }

    #[test]
    fn toggling_twice_takes_an_entity_out_again() {
        let mut digest = Digest::of(b"a");
        let before = digest;
        digest.toggle(Digest::of(b"b"));
        assert_ne!(digest, before);
        digest.toggle(Digest::of(b"b"));
        assert_eq!(digest, before);
    }

    #[test]
    fn a_digest_reads_back_from_its_text() {
        let digest = Digest::of(b"text");
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        assert!("".parse::<Digest>().is_err());
    }
}
