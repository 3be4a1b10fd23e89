//! The answer to a follower's fetch, by hand and by the generated twin: a byte for the version, then header and body.

use protocol::ErrorCode;
use protocol::codec::{Message, Reader};
use protocol::fetch::FetchAnswer;
use protocol::header::{decode_response_header, put_response_header};
use protocol::messages::fetch::FetchResponse;
use protocol::messages::filled::{Fill, Filled};

use super::request::CORNERS;
use crate::memory;
use crate::pieces::Pieces;

const FIRST: i16 = 13;
const VERSIONS: i16 = 6;
const FACTOR: usize = 16;

pub(crate) fn run(input: &[u8]) {
    let mut pieces = Pieces::of(input);
    let version = FIRST + i16::from(pieces.byte()) % VERSIONS;
    let frame = pieces.rest();
    let answer = memory::bounded(FACTOR, frame, || FetchAnswer::decode(frame, version));
    let api = protocol::ApiKey::Fetch.api();
    let Ok((_, at)) = decode_response_header(frame, api, version) else {
        assert!(answer.is_err(), "no header, and an answer all the same");
        return;
    };
    // The twin reads more of it, so it may refuse more.
    let Ok(twin) = FetchResponse::decode(&mut Reader::new(&frame[at..]), version) else {
        return;
    };
    let (_, answer) = answer.expect("what the twin reads can be read");
    assert_eq!(answer.session_id, twin.session_id);
    let said = twin.responses.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| (topic.topic_id, partition))
    });
    let said: Vec<_> = said.collect();
    assert_eq!(said.len(), answer.partitions.len());
    for ((topic_id, said), found) in said.into_iter().zip(answer.partitions) {
        assert_eq!((topic_id, said.partition_index), (found.topic_id, found.index));
        let code = ErrorCode::from_code(said.error_code).unwrap_or(ErrorCode::UnknownServerError);
        assert_eq!(code, found.error_code);
        assert_eq!(said.high_watermark, found.high_watermark);
        assert_eq!(said.log_start_offset, found.log_start_offset);
        assert_eq!(said.records.as_deref().unwrap_or_default(), found.records);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for version in FIRST..FIRST + VERSIONS {
        for corner in CORNERS {
            let mut seed = vec![(version - FIRST) as u8];
            put_response_header(&mut seed, protocol::ApiKey::Fetch.api(), version, 7);
            let body = FetchResponse::filled(&mut Fill::new(corner), version);
            body.encode(&mut seed, version).expect("a sample can be encoded");
            seeds.push(seed);
        }
    }
    seeds
}
