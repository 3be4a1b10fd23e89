//! The cluster's metadata as this broker knows it: in memory for every request, on disk for the next start.
//!
//! Order matters here. A record is checked, then persisted, then acted on, then shown:
//! the fold is proved before anything trusts it (METADATA 6), the disk has it before the broker does something that it
//! could not explain after a restart (METADATA 8), and clients see a partition only when it can be served.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use model::{ApplyError, Frame, ImageDocument, LogIdentity, MetadataImage, MetadataOffset};
use tokio::sync::watch;

use crate::data_dir::write_atomically;
use crate::error::StartError;

const FILE: &str = "metadata.image";

/// Records appended to the file before it is written anew without them, in bytes; more if the image itself is larger.
const REWRITE_BYTES: u64 = 256 * 1024;

/// The image that requests are answered from. Reading it is one atomic load.
#[derive(Debug)]
pub struct MetadataCache {
    image: ArcSwap<MetadataImage>,
    offset: watch::Sender<MetadataOffset>,
}

impl MetadataCache {
    /// Begins with what was on disk, or with nothing.
    pub fn new(image: MetadataImage) -> Self {
        let offset = watch::Sender::new(image.offset());
        Self {
            image: ArcSwap::from_pointee(image),
            offset,
        }
    }

    /// The current image. Do not hold it across an await: use [`Self::snapshot`] there.
    pub fn image(&self) -> Guard<Arc<MetadataImage>> {
        self.image.load()
    }

    /// The current image, to keep.
    pub fn snapshot(&self) -> Arc<MetadataImage> {
        self.image.load_full()
    }

    /// Shows a new image to all requests.
    pub fn publish(&self, image: Arc<MetadataImage>) {
        let offset = image.offset();
        self.image.store(image);
        self.offset.send_replace(offset);
    }

    /// Waits until an image satisfies `condition`. False if that took longer than `patience`.
    pub async fn wait_for(&self, patience: Duration, condition: impl Fn(&MetadataImage) -> bool) -> bool {
        let mut changes = self.offset.subscribe();
        let met = async {
            loop {
                changes.borrow_and_update();
                if condition(&self.image()) {
                    return true;
                }
                if changes.changed().await.is_err() {
                    return false;
                }
            }
        };
        tokio::time::timeout(patience, met).await.unwrap_or(false)
    }
}

/// The image on disk: a snapshot and the records since, a line each.
#[derive(Debug)]
pub struct ImageFile {
    directory: PathBuf,
    file: Option<File>,
    /// Length of the file, all of it synced.
    len: u64,
    /// How long the file was when it was last written anew.
    base_len: u64,
}

impl ImageFile {
    /// Reads the image of the last run; an empty one if there is none.
    pub fn open(directory: &Path) -> Result<(Self, MetadataImage), StartError> {
        let path = directory.join(FILE);
        let mut image_file = Self {
            directory: directory.to_path_buf(),
            file: None,
            len: 0,
            base_len: 0,
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((image_file, MetadataImage::empty())),
            Err(source) => {
                return Err(StartError::DataDir {
                    path,
                    action: "read it",
                    source,
                });
            }
        };
        let (document, good) = ImageDocument::decode(&bytes).map_err(|error| StartError::Image {
            path: path.clone(),
            reason: format!("{error}; move the file away if it is damaged: the controller sends what was in it again"),
        })?;
        let opened = OpenOptions::new().write(true).open(&path).and_then(|file| {
            // A torn last line was never acted on; what is appended must not continue it.
            file.set_len(good as u64)?;
            Ok(file)
        });
        let file = opened.map_err(|source| StartError::DataDir {
            path,
            action: "open it",
            source,
        })?;
        image_file.file = Some(file);
        image_file.len = good as u64;
        image_file.base_len = good as u64;
        Ok((image_file, document.image))
    }

    /// Makes the step to `image` durable: by `frames` if they lead there from what is on disk, else as a whole.
    // METADATA 8: this returns before anybody acts on the records.
    pub fn persist(&mut self, image: &MetadataImage, frames: &[Frame]) -> io::Result<()> {
        let wants_rewrite = frames.is_empty() || self.len > self.base_len + REWRITE_BYTES.max(self.base_len);
        match &mut self.file {
            Some(file) if !wants_rewrite => {
                let lines: Vec<u8> = frames.iter().flat_map(ImageDocument::encode_frame).collect();
                let appended = append_at(file, self.len, &lines);
                if appended.is_err() {
                    // Whatever part arrived must not be in front of the next line.
                    file.set_len(self.len)?;
                }
                appended?;
                self.len += lines.len() as u64;
                Ok(())
            }
            _ => self.rewrite(image),
        }
    }

    fn rewrite(&mut self, image: &MetadataImage) -> io::Result<()> {
        let seen: LogIdentity = image.identity();
        let bytes = ImageDocument {
            seen,
            image: image.clone(),
        }
        .encode();
        write_atomically(&self.directory, FILE, &bytes)?;
        self.file = Some(OpenOptions::new().write(true).open(self.directory.join(FILE))?);
        self.len = bytes.len() as u64;
        self.base_len = self.len;
        Ok(())
    }
}

/// Applies frames to a copy of `image`, checking each (METADATA 6). On an error the copy is dropped and nothing changed.
pub fn fold(image: &MetadataImage, frames: &[Frame]) -> Result<MetadataImage, ApplyError> {
    let mut next = image.clone();
    for frame in frames {
        // Frames that arrive twice around a reconnection are the same records.
        if frame.offset > next.offset() {
            next.apply_frame(frame)?;
        }
    }
    Ok(next)
}

fn append_at(file: &mut File, position: u64, bytes: &[u8]) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(position))?;
    file.write_all(bytes)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::record::{ClusterFormatted, ControllerElected};
    use model::{ControllerEpoch, Lineage, Nonce, Record};

    fn first_records() -> Vec<Record> {
        vec![
            ClusterFormatted {
                cluster_id: "AAAAAAAAAAAAAAAAAAAAAQ".parse().expect("22 characters"),
                lineage: Lineage::from_random([1; 16]),
                features: [("barnabas.version".to_owned(), 2)].into(),
            }
            .into(),
            ControllerElected {
                epoch: ControllerEpoch(1),
                nonce: Nonce::from_random([2; 16]),
                holder: "test".to_owned(),
            }
            .into(),
        ]
    }

    fn frames() -> Vec<Frame> {
        let mut image = MetadataImage::empty();
        first_records()
            .into_iter()
            .map(|record| image.append(record).expect("applies"))
            .collect()
    }

    #[test]
    fn rule_08_what_was_persisted_is_there_after_a_restart() {
        let temp = tempfile::tempdir().expect("temp");
        let frames = frames();
        let (mut file, empty) = ImageFile::open(temp.path()).expect("fresh");
        let first = fold(&empty, &frames[..1]).expect("folds");
        file.persist(&first, &frames[..1]).expect("writes");
        let second = fold(&first, &frames[1..]).expect("folds");
        file.persist(&second, &frames[1..]).expect("writes");
        drop(file);
        let (_, read) = ImageFile::open(temp.path()).expect("reads");
        assert_eq!(read, second);
    }

    #[test]
    fn rule_08_a_torn_record_was_never_acted_on_and_is_dropped() {
        let temp = tempfile::tempdir().expect("temp");
        let frames = frames();
        let (mut file, empty) = ImageFile::open(temp.path()).expect("fresh");
        let first = fold(&empty, &frames[..1]).expect("folds");
        file.persist(&first, &[]).expect("writes");
        let path = temp.path().join(FILE);
        let mut bytes = fs::read(&path).expect("reads");
        bytes.extend_from_slice(&ImageDocument::encode_frame(&frames[1])[..20]);
        fs::write(&path, &bytes).expect("writes");
        let (mut file, read) = ImageFile::open(temp.path()).expect("reads");
        assert_eq!(read, first);
        let second = fold(&first, &frames[1..]).expect("folds");
        file.persist(&second, &frames[1..]).expect("writes");
        assert_eq!(ImageFile::open(temp.path()).expect("reads").1, second);
    }

    #[test]
    fn rule_06_a_record_whose_fold_differs_changes_nothing() {
        let mut frames = frames();
        let first = fold(&MetadataImage::empty(), &frames[..1]).expect("folds");
        frames[1].image_hash = frames[0].image_hash;
        assert!(fold(&first, &frames[1..]).is_err());
    }

    #[test]
    fn rule_09_an_image_of_an_unknown_version_is_refused_with_both_versions() {
        let temp = tempfile::tempdir().expect("temp");
        fs::write(temp.path().join(FILE), "barnabas-metadata-image 7 0 x\n").expect("writes");
        let sentence = ImageFile::open(temp.path()).expect_err("unknown").to_string();
        assert!(sentence.contains('7') && sentence.contains('1'), "{sentence}");
    }

    #[tokio::test]
    async fn waiting_for_a_condition_ends_with_the_image_that_has_it() {
        let cache = Arc::new(MetadataCache::new(MetadataImage::empty()));
        let waiting = {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move {
                cache
                    .wait_for(Duration::from_mins(1), |image| image.offset() >= MetadataOffset(0))
                    .await
            })
        };
        let image = fold(&MetadataImage::empty(), &frames()).expect("folds");
        cache.publish(Arc::new(image));
        assert!(waiting.await.expect("ends"));
        assert!(
            !cache
                .wait_for(Duration::ZERO, |image| image.offset() > MetadataOffset(9))
                .await
        );
    }
}
