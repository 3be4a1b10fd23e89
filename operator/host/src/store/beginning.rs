//! A log that begins with an image instead of from nothing.

use controller::{AppendId, LogDocument, SnapshotName, SnapshotRef, StoreVersion};
use model::{MetadataImage, snapshot};

use super::MetadataStore;

/// Writes a log that was made anew (METADATA 24): a snapshot of `image`, and no records. It takes the place of `expected`.
/// `random` tells the snapshot from any other at that offset.
///
/// # Errors
/// The store's sentence.
pub async fn begin_with(
    store: &impl MetadataStore,
    image: &MetadataImage,
    random: [u8; 4],
    expected: Option<StoreVersion>,
) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("the new metadata log could not be written: {error}");
    let chunks = snapshot::encode(image);
    let name = SnapshotName {
        offset: image.offset(),
        suffix: u32::from_be_bytes(random),
    };
    let reference = SnapshotRef {
        name,
        chunks: u32::try_from(chunks.len()).unwrap_or(u32::MAX),
        hash: snapshot::digest(&chunks),
    };
    store
        .write_snapshot(name, chunks)
        .await
        .map_err(|error| failed(&error))?;
    let document = LogDocument {
        controller_epoch: image.controller_epoch(),
        append_id: AppendId {
            nonce: image.identity().nonce,
            number: 0,
        },
        snapshot: Some(reference),
        end_offset: image.offset(),
        tail: Vec::new(),
    };
    store
        .replace(document, expected)
        .await
        .map_err(|error| failed(&error))?;
    Ok(())
}
