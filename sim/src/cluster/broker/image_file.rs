//! The image on a broker's simulated disk (METADATA 7, 8): the same document that the real broker writes.

use std::io::{self, IoSlice};

use broker_log::dir::sim::SimDir;
use broker_log::dir::{Dir, DirFile, Open};
use model::{Frame, ImageDocument, LogIdentity, MetadataImage};

const FILE: &str = "image.json";
const ASIDE: &str = "image.json.new";

/// When the records after the snapshot are more bytes than this, the file is written anew.
const REWRITE_BYTES: usize = 16 * 1024;

/// The file.
#[derive(Debug)]
pub(super) struct ImageFile {
    dir: SimDir,
    len: u64,
    appended: usize,
}

impl ImageFile {
    /// Reads what an earlier life left.
    pub(super) fn open(dir: SimDir) -> io::Result<(Self, Option<ImageDocument>)> {
        let mut file = Self {
            dir,
            len: 0,
            appended: 0,
        };
        let content = match file.dir.open(FILE, Open::Existing) {
            Ok(found) => {
                let mut bytes = vec![0; found.size()? as usize];
                found.read_at(&mut bytes, 0)?;
                bytes
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((file, None)),
            Err(error) => return Err(error),
        };
        let (document, used) = ImageDocument::decode(&content).map_err(io::Error::other)?;
        file.len = used as u64;
        if content.len() > used {
            let found = file.dir.open(FILE, Open::Existing)?;
            found.truncate(used as u64)?;
            found.sync()?;
        }
        Ok((file, Some(document)))
    }

    /// METADATA 8: returns before anybody acts on the records.
    pub(super) fn persist(&mut self, seen: LogIdentity, image: &MetadataImage, frames: &[Frame]) -> io::Result<()> {
        if self.len == 0 || frames.is_empty() || self.appended > REWRITE_BYTES {
            return self.rewrite(seen, image);
        }
        let lines: Vec<u8> = frames.iter().flat_map(ImageDocument::encode_frame).collect();
        let file = self.dir.open(FILE, Open::Existing)?;
        write_all(&file, &lines, self.len)?;
        file.sync()?;
        self.len += lines.len() as u64;
        self.appended += lines.len();
        Ok(())
    }

    fn rewrite(&mut self, seen: LogIdentity, image: &MetadataImage) -> io::Result<()> {
        let image = image.clone();
        let bytes = ImageDocument { seen, image }.encode();
        let file = self.dir.open(ASIDE, Open::Create)?;
        write_all(&file, &bytes, 0)?;
        file.sync()?;
        self.dir.rename(ASIDE, FILE)?;
        self.dir.sync()?;
        self.len = bytes.len() as u64;
        self.appended = 0;
        Ok(())
    }
}

fn write_all(file: &impl DirFile, bytes: &[u8], position: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        let count = file.write_at(&[IoSlice::new(&bytes[written..])], position + written as u64)?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        written += count;
    }
    Ok(())
}
