//! What stands before the body of a request and of a response.

use crate::api;
use crate::codec::{DecodeError, Put, Reader};

/// The header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// The API; not necessarily one that we know.
    pub api_key: i16,
    /// The version of the body; not necessarily one that we know.
    pub api_version: i16,
    /// Echoed in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
}

/// The first eight bytes of a request, which have the same form in every version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPeek {
    /// The API; not necessarily one that we know.
    pub api_key: i16,
    /// The version of the body; not necessarily one that we know.
    pub api_version: i16,
    /// Echoed in the response.
    pub correlation_id: i32,
}

impl RequestPeek {
    /// Bytes that a peek needs.
    pub const LEN: usize = 8;

    /// Reads key, version and correlation id of a frame (without its length), so that even a request that cannot be decoded
    /// can be answered.
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(frame);
        Ok(Self {
            api_key: r.i16()?,
            api_version: r.i16()?,
            correlation_id: r.i32()?,
        })
    }
}

impl<'a> RequestHeader<'a> {
    /// Reads the header of a frame (without its length); returns it and the position of the body.
    ///
    /// The header of an API or version that we do not know is read in its short form, which is enough to answer it.
    pub fn decode(frame: &'a [u8]) -> Result<(Self, usize), DecodeError> {
        let peek = RequestPeek::decode(frame)?;
        let flexible = api::find(peek.api_key).is_some_and(|api| api.is_flexible(peek.api_version));
        let mut r = Reader::new(frame);
        r.take(RequestPeek::LEN)?;
        // Never compact, not even in header version 2: a broker reads it before it knows the version (KIP-511).
        let client_id = r.str(false)?;
        if flexible {
            r.skip_tagged_fields()?;
        }
        let header = Self {
            api_key: peek.api_key,
            api_version: peek.api_version,
            correlation_id: peek.correlation_id,
            client_id,
        };
        Ok((header, frame.len() - r.remaining()))
    }

    /// Appends the header as a client writes it.
    pub fn encode(&self, w: &mut Vec<u8>) -> Result<(), crate::EncodeError> {
        w.put_i16(self.api_key);
        w.put_i16(self.api_version);
        w.put_i32(self.correlation_id);
        w.put_string(false, self.client_id)?;
        if api::find(self.api_key).is_some_and(|api| api.is_flexible(self.api_version)) {
            w.put_tagged_fields(&[]);
        }
        Ok(())
    }
}

/// Appends the header of the response to an API that we know.
pub fn put_response_header(w: &mut Vec<u8>, api: &api::Api, version: i16, correlation_id: i32) {
    w.put_i32(correlation_id);
    if api.response_header_version(version) == 1 {
        w.put_tagged_fields(&[]);
    }
}

/// Reads the header of a response as a client does; returns the correlation id and the position of the body.
pub fn decode_response_header(frame: &[u8], api: &api::Api, version: i16) -> Result<(i32, usize), DecodeError> {
    let mut r = Reader::new(frame);
    let correlation_id = r.i32()?;
    if api.response_header_version(version) == 1 {
        r.skip_tagged_fields()?;
    }
    Ok((correlation_id, frame.len() - r.remaining()))
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages as oracle;
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

    use super::*;
    use crate::ApiKey;

    #[test]
    fn the_headers_of_every_api_and_version_are_the_oracles() {
        for api in api::TABLE {
            for version in api.accepted.iter() {
                let key = oracle::ApiKey::try_from(api.key.code()).unwrap();
                let mut theirs = BytesMut::new();
                oracle::RequestHeader::default()
                    .with_request_api_key(api.key.code())
                    .with_request_api_version(version)
                    .with_correlation_id(77)
                    .with_client_id(Some(StrBytes::from_static_str("kcat")))
                    .encode(&mut theirs, key.request_header_version(version))
                    .unwrap();
                let (header, body) = RequestHeader::decode(&theirs).unwrap();
                assert_eq!(
                    (header.correlation_id, header.client_id, body),
                    (77, Some("kcat"), theirs.len())
                );
                let mut ours = Vec::new();
                header.encode(&mut ours).unwrap();
                assert_eq!(ours, theirs);

                let mut ours = Vec::new();
                put_response_header(&mut ours, api, version, 78);
                let mut bytes = Bytes::from(ours.clone());
                let theirs = oracle::ResponseHeader::decode(&mut bytes, key.response_header_version(version)).unwrap();
                assert_eq!((theirs.correlation_id, bytes.len()), (78, 0));
                assert_eq!(decode_response_header(&ours, api, version), Ok((78, ours.len())));
            }
        }
    }

    #[test]
    fn both_forms_of_the_request_header_are_read_back() {
        for (api_key, api_version) in [(ApiKey::Metadata, 8), (ApiKey::Metadata, 9)] {
            for client_id in [None, Some(""), Some("kcat")] {
                let header = RequestHeader {
                    api_key: api_key.code(),
                    api_version,
                    correlation_id: 77,
                    client_id,
                };
                let mut frame = Vec::new();
                header.encode(&mut frame).unwrap();
                let body = frame.len();
                frame.extend_from_slice(b"body");
                assert_eq!(RequestHeader::decode(&frame), Ok((header, body)));
            }
        }
    }

    #[test]
    fn a_short_frame_is_an_error_at_every_length() {
        let mut frame = Vec::new();
        RequestHeader {
            api_key: 3,
            api_version: 12,
            correlation_id: 1,
            client_id: Some("c"),
        }
        .encode(&mut frame)
        .unwrap();
        for len in 0..frame.len() {
            assert!(RequestHeader::decode(&frame[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn an_unknown_api_still_yields_its_correlation_id() {
        let frame = [0x7f, 0xff, 0, 0, 0, 0, 0, 9, 0xff, 0xff];
        let (header, body) = RequestHeader::decode(&frame).unwrap();
        assert_eq!((header.correlation_id, header.client_id, body), (9, None, 10));
    }
}
