//! Whole frames, for those who speak as a client: tools, checks, tests, and one broker to another.

use crate::codec::{DecodeError, EncodeError, Message, Reader, Request};
use crate::header::{RequestHeader, decode_response_header};

/// A request with its header and the four bytes of length before it.
///
/// # Errors
/// What [`Message::encode`] says of the body.
pub fn request<R: Request>(
    body: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Vec<u8>, EncodeError> {
    let mut frame = vec![0; 4];
    let header = RequestHeader {
        api_key: R::KEY.code(),
        api_version: version,
        correlation_id,
        client_id,
    };
    header.encode(&mut frame)?;
    body.encode(&mut frame, version)?;
    let length = frame.len() - 4;
    let length = i32::try_from(length).map_err(|_| EncodeError::TooLong { what: "frame", length })?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// Reads a response to `R`, without the four bytes of length; returns the correlation id and the body.
///
/// # Errors
/// Any [`DecodeError`].
pub fn response<R: Request>(frame: &[u8], version: i16) -> Result<(i32, R::Response), DecodeError> {
    let (correlation_id, body) = decode_response_header(frame, R::KEY.api(), version)?;
    let mut r = Reader::new(frame);
    r.take(body)?;
    Ok((correlation_id, R::Response::decode(&mut r, version)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::put_response_header;
    use crate::messages::metadata::{MetadataRequest, MetadataResponse};

    #[test]
    fn a_request_is_read_back_from_its_frame() {
        for version in MetadataRequest::VERSIONS.iter() {
            let body = MetadataRequest::default();
            let frame = request(&body, version, 8, Some("check")).unwrap();
            let (length, frame) = frame.split_at(4);
            assert_eq!(length, (frame.len() as i32).to_be_bytes());
            let (header, at) = RequestHeader::decode(frame).unwrap();
            assert_eq!(
                (header.api_version, header.correlation_id, header.client_id),
                (version, 8, Some("check"))
            );
            assert_eq!(
                MetadataRequest::decode(&mut Reader::new(&frame[at..]), version),
                Ok(body)
            );
        }
    }

    #[test]
    fn a_response_is_read_back_from_its_frame() {
        for version in MetadataRequest::VERSIONS.iter() {
            let body = MetadataResponse {
                controller_id: -1,
                ..Default::default()
            };
            let mut frame = Vec::new();
            put_response_header(&mut frame, MetadataRequest::KEY.api(), version, 9);
            body.encode(&mut frame, version).unwrap();
            assert_eq!(response::<MetadataRequest>(&frame, version), Ok((9, body)));
        }
    }
}
