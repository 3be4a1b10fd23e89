//! The metadata image as a broker keeps it on its disk, and the chunks of a snapshot as they come from Kubernetes.

use model::document::ImageDocument;
use model::{Digest, document, snapshot};

use super::records::history;
use crate::memory;
use crate::pieces::Pieces;

/// JSON of small elements becomes structs, maps and reference counts.
const FACTOR: usize = 256;

pub(crate) fn run(input: &[u8]) {
    let mut pieces = Pieces::of(input);
    match pieces.byte() % 3 {
        0 => read(pieces.rest()),
        1 => {
            // The checksum is made right: the first line is ours.
            let lines = pieces.byte();
            let body = pieces.rest();
            let mut end = 0;
            for _ in 0..=lines {
                end += body[end..]
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1);
            }
            let digest = Digest::of(&body[..end]);
            let mut text = format!("{} {} {lines} {digest}\n", document::MAGIC, document::VERSION).into_bytes();
            text.extend_from_slice(body);
            read(&text);
        }
        _ => {
            let chunks: Vec<&str> = pieces
                .rest()
                .split(|byte| *byte == 0)
                .filter_map(|chunk| std::str::from_utf8(chunk).ok())
                .collect();
            let decoded = memory::bounded(FACTOR, input, || snapshot::decode(&chunks));
            if let Ok(image) = decoded {
                assert_eq!(snapshot::decode(&snapshot::encode(&image)), Ok(image));
            }
        }
    }
}

fn read(text: &[u8]) {
    let decoded = memory::bounded(FACTOR, text, || ImageDocument::decode(text));
    let Ok((document, taken)) = decoded else { return };
    assert!(taken <= text.len());
    let again = document.encode();
    let (same, taken) = ImageDocument::decode(&again).expect("a document of our own");
    assert_eq!((same, taken), (document, again.len()));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (frames, image) = history();
    let document = ImageDocument {
        seen: image.identity(),
        image: image.clone(),
    };
    let mut seeds = Vec::new();
    let text = document.encode();
    let mut whole = vec![0];
    whole.extend_from_slice(&text);
    seeds.push(whole);
    let first = text.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut body = vec![1, snapshot::encode(image).len() as u8];
    body.extend_from_slice(&text[first..]);
    seeds.push(body);
    // An early image with the frames after it.
    let mut early = model::MetadataImage::empty();
    for (count, frame) in frames.iter().enumerate() {
        if count % 5 == 1 {
            let mut seed = vec![0];
            let document = ImageDocument {
                seen: early.identity(),
                image: early.clone(),
            };
            seed.extend_from_slice(&document.encode());
            for frame in &frames[count..] {
                seed.extend_from_slice(&ImageDocument::encode_frame(frame));
            }
            seeds.push(seed);
        }
        early.apply_frame(frame).expect("our own history");
    }
    let mut chunks = vec![2];
    chunks.extend_from_slice(snapshot::encode(image).join("\0").as_bytes());
    seeds.push(chunks);
    seeds
}
