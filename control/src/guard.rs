//! The memory that keeps a broker from obeying a controller of the past.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::{ControllerEpoch, LogIdentity};
use serde::{Deserialize, Serialize};

use crate::messages::Opening;

const MAGIC: &str = "barnabas-stream-guard";
const VERSION: u32 = 1;

/// Remembers, on disk, the highest start of a metadata stream that this broker ever obeyed,
/// and refuses every lower one (METADATA 7).
#[derive(Debug)]
pub struct StreamGuard {
    path: PathBuf,
    /// After a crash: at least as high as any stream from which a record was taken.
    highest: Option<LogIdentity>,
}

/// Why a stream is not followed.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// A controller of the past answers: try another address.
    #[error(
        "refused the metadata stream of {offered:?}: this broker has obeyed {obeyed:?} and follows no lower epoch, \
         nor another controller of the same"
    )]
    Lower {
        /// Of the stream.
        offered: LogIdentity,
        /// The highest so far.
        obeyed: LogIdentity,
    },
    /// The stream offers an image older than the one on the volume, or records that do not follow it.
    #[error("refused metadata {offered}: the image on this volume stands at {at}")]
    Back {
        /// What the stream brought.
        offered: String,
        /// Where the image stands.
        at: model::MetadataOffset,
    },
    /// The guard's own file is foreign or damaged: a human decides, because deleting it forgets the past.
    #[error("{path} is not a stream guard of version {VERSION}: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk did not take it.
    #[error("cannot keep the highest controller epoch in {path}: {source}", path = path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Document {
    magic: String,
    version: u32,
    highest: LogIdentity,
}

impl StreamGuard {
    /// Reads the guard at `path`; a missing file is a broker that never followed anybody.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, GuardError> {
        let path = path.into();
        let highest = match fs::read(&path) {
            Ok(text) => Some(parse(&path, &text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(GuardError::Disk { path, source }),
        };
        Ok(Self { path, highest })
    }

    /// The highest start of a stream that was ever admitted.
    pub fn highest(&self) -> Option<LogIdentity> {
        self.highest
    }

    /// Admits a stream, or refuses it. When this returns `Ok`, the start is durable, so records may be taken.
    pub fn admit(&mut self, opening: &Opening) -> Result<(), GuardError> {
        let offered = opening.identity;
        if let Some(obeyed) = self.highest {
            if offered == obeyed {
                return Ok(());
            }
            // METADATA 7: never lower, nor the same epoch with another nonce. A new lineage starts at a
            // higher epoch than any seen (METADATA 24), so the epoch alone orders lineages too.
            if offered.controller_epoch <= obeyed.controller_epoch {
                return Err(GuardError::Lower { offered, obeyed });
            }
        }
        self.keep(offered).map_err(|source| GuardError::Disk {
            path: self.path.clone(),
            source,
        })?;
        self.highest = Some(offered);
        Ok(())
    }

    /// The highest controller epoch obeyed so far.
    pub fn controller_epoch(&self) -> Option<ControllerEpoch> {
        self.highest.map(|highest| highest.controller_epoch)
    }

    fn keep(&self, highest: LogIdentity) -> io::Result<()> {
        let document = Document {
            magic: MAGIC.to_owned(),
            version: VERSION,
            highest,
        };
        let text = serde_json::to_vec(&document)?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let draft = self.path.with_extension("tmp");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        File::open(directory)?.sync_all()
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<LogIdentity, GuardError> {
    let unreadable = |reason: String| GuardError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let document: Document = serde_json::from_slice(text).map_err(|error| unreadable(error.to_string()))?;
    if document.magic != MAGIC {
        return Err(unreadable(format!("its magic is `{}`", document.magic)));
    }
    if document.version != VERSION {
        return Err(unreadable(format!("its version is {}", document.version)));
    }
    Ok(document.highest)
}

#[cfg(test)]
mod tests;
