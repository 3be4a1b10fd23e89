//! A request as it comes from the wire: header, then the body of any API in any version.

use std::fmt::Debug;

use protocol::api;
use protocol::batch::BatchBuilder;
use protocol::codec::{Message, Reader, Request};
use protocol::header::RequestHeader;
use protocol::messages::filled::{Corner, Fill, Filled};
use protocol::messages::*;
use protocol::produce::ProduceRequest;
use protocol::{ApiKey, frame};

use crate::memory;

/// Bytes of memory for each byte of a message: the struct of an empty element is larger than its bytes.
pub(crate) const FACTOR: usize = 256;

pub(crate) const CORNERS: [Corner; 3] = [Corner::Full, Corner::Null, Corner::Empty];

pub(crate) fn run(input: &[u8]) {
    let Ok((header, at)) = RequestHeader::decode(input) else {
        return;
    };
    let (version, body) = (header.api_version, &input[at..]);
    let Some(api) = api::find(header.api_key).filter(|api| api.accepted.contains(version)) else {
        return;
    };
    if api.key == ApiKey::Produce {
        produce(body, version);
    }
    macro_rules! decode {
        ($name:ident, $module:ident, $request:ident, $response:ident) => {
            if api.key == ApiKey::$name {
                settles::<$module::$request>(body, version);
            }
        };
    }
    protocol::for_each_api!(decode);
}

/// What decodes must encode, and decode to itself.
pub(crate) fn settles<M: Message + Debug + PartialEq>(bytes: &[u8], version: i16) {
    let decoded = memory::bounded(FACTOR, bytes, || M::decode(&mut Reader::new(bytes), version));
    let Ok(message) = decoded else { return };
    let mut again = Vec::new();
    message
        .encode(&mut again, version)
        .expect("what was decoded can be encoded");
    let mut r = Reader::new(&again);
    assert_eq!(M::decode(&mut r, version).as_ref(), Ok(&message));
    assert_eq!(r.remaining(), 0, "bytes are left");
}

/// The hand-shaped decoder must agree with the generated one, and what it borrows must be the same bytes.
fn produce(body: &[u8], version: i16) {
    let generated = produce::ProduceRequest::decode(&mut Reader::new(body), version);
    let mut bytes = body.to_vec();
    let Ok(request) = memory::bounded(0, body, || ProduceRequest::decode(&mut bytes, version)) else {
        return;
    };
    let generated = generated.expect("both decoders accept the same");
    let count = request.partition_count();
    assert_eq!(request.acks, generated.acks);
    let expected = generated.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let mut seen = 0;
    for (ours, theirs) in request.into_partitions().zip(expected) {
        assert_eq!(ours.index, theirs.index);
        assert_eq!(ours.records.as_deref(), theirs.records.as_deref());
        if let Some(records) = ours.records {
            let _ = protocol::batch::validate_produced(records);
        }
        seen += 1;
    }
    assert_eq!(seen, count);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    macro_rules! seed {
        ($name:ident, $module:ident, $request:ident, $response:ident) => {
            for version in $module::$request::VERSIONS.iter() {
                for corner in CORNERS {
                    let body = $module::$request::filled(&mut Fill::new(corner), version);
                    seeds.push(wire(&body, version));
                }
            }
        };
    }
    protocol::for_each_api!(seed);
    for version in produce::ProduceRequest::VERSIONS.iter() {
        let mut body = produce::ProduceRequest::filled(&mut Fill::new(Corner::Full), version);
        for partition in body.topic_data.iter_mut().flat_map(|topic| &mut topic.partition_data) {
            let batch = BatchBuilder::new().record(7, Some(b"key"), Some(b"value")).build();
            partition.records = Some(batch.into());
        }
        seeds.push(wire(&body, version));
    }
    seeds
}

fn wire<R: Request>(body: &R, version: i16) -> Vec<u8> {
    let mut wire = frame::request(body, version, 7, Some("fuzz")).expect("a sample can be encoded");
    wire.drain(..4);
    wire
}
