//! A response as a client of ours reads it: which API and version was asked (four bytes), then header and body.

use protocol::codec::{Message, Reader, Request};
use protocol::header::{decode_response_header, put_response_header};
use protocol::messages::filled::{Fill, Filled};
use protocol::messages::*;
use protocol::{ApiKey, api};

use super::request::{CORNERS, settles};

pub(crate) fn run(input: &[u8]) {
    let mut r = Reader::new(input);
    let (Ok(key), Ok(version)) = (r.i16(), r.i16()) else {
        return;
    };
    let Some(api) = api::find(key).filter(|api| api.accepted.contains(version)) else {
        return;
    };
    let Ok((_, at)) = decode_response_header(r.rest(), api, version) else {
        return;
    };
    let body = &r.rest()[at..];
    macro_rules! decode {
        ($name:ident, $module:ident, $request:ident, $response:ident) => {
            if api.key == ApiKey::$name {
                settles::<$module::$response>(body, version);
            }
        };
    }
    protocol::for_each_api!(decode);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    macro_rules! seed {
        ($name:ident, $module:ident, $request:ident, $response:ident) => {
            for version in $module::$request::VERSIONS.iter() {
                for corner in CORNERS {
                    let mut wire = ApiKey::$name.code().to_be_bytes().to_vec();
                    wire.extend_from_slice(&version.to_be_bytes());
                    put_response_header(&mut wire, ApiKey::$name.api(), version, 7);
                    let body = $module::$response::filled(&mut Fill::new(corner), version);
                    body.encode(&mut wire, version).expect("a sample can be encoded");
                    seeds.push(wire);
                }
            }
        };
    }
    protocol::for_each_api!(seed);
    seeds
}
