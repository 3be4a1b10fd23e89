//! The controller of a standalone broker, on a metadata log that may be damaged.
//!
//! What the log said the broker has on its disk, too: the image that it obeys. So a log that is gone, unusable or older than
//! that is set aside and made anew, as the operator does it with the images of all brokers (METADATA 24).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use broker_log::dir::fs::FsDir;
use broker_log::give_reserve;
use control::{Reason, Watch};
use controller::{Format, Settings, StepDown};
use controller_host::{
    ControllerHandle, ControllerHost, Direct, Ending, FileStore, StoreError, advertised_addresses, begin_with,
};
use model::rebuild::{Circumstances, rebuild};
use model::{ImageDocument, IncarnationId, Lineage, MetadataImage, Nonce};

use super::ID;
use crate::broker::{open_guard, random};
use crate::data_dir::{DataDir, METADATA_LOG};
use crate::error::StartError;
use crate::membership::position;
use crate::metadata_cache::ImageFile;

/// What a controller writes to take over, and a little more.
const TAKEOVER_BYTES: u64 = 256 << 10;

/// Why there is no controller.
enum Failed {
    /// The log cannot be used, and waiting does not help.
    Log(String),
    Otherwise(StartError),
}

/// Starts the controller, on a new log if the old one is of no use.
pub(super) async fn lead(data_dir: &DataDir) -> Result<ControllerHandle, StartError> {
    make_room(data_dir.path());
    let (_, image) = ImageFile::open(data_dir.path())?;
    let reason = match start(data_dir, &image).await {
        Ok(controller) => return Ok(controller),
        Err(Failed::Otherwise(error)) => return Err(error),
        Err(Failed::Log(reason)) => reason,
    };
    make_anew(data_dir, image, &reason).await?;
    match start(data_dir, &MetadataImage::empty()).await {
        Ok(controller) => Ok(controller),
        Err(Failed::Otherwise(error)) => Err(error),
        Err(Failed::Log(reason)) => Err(StartError::Controller(reason)),
    }
}

/// A full disk takes not even the record of who is the controller, and without one nobody can delete anything.
fn make_room(directory: &Path) {
    let is_full = rustix::fs::statvfs(directory).is_ok_and(|found| found.f_bavail * found.f_frsize < TAKEOVER_BYTES);
    if is_full && give_reserve(&FsDir::new(directory)) {
        tracing::warn!("the disk is full: the room that was kept back for this is given away");
    }
}

async fn start(data_dir: &DataDir, image: &MetadataImage) -> Result<ControllerHandle, Failed> {
    let store = FileStore::open(data_dir.path().join(METADATA_LOG)).map_err(|error| match error {
        StoreError::Unusable { .. } => Failed::Log(error.to_string()),
        other => Failed::Otherwise(StartError::Controller(other.to_string())),
    })?;
    let mut settings = Settings::new("standalone", random("a controller's seed").map_err(Failed::Otherwise)?);
    if data_dir.identity().is_some() {
        // METADATA 23: there was a log, so an empty folder is a loss and no beginning.
        settings.format = Format::Refuse;
    }
    let controller = ControllerHost::spawn(settings, store, Direct, advertised_addresses);
    controller.leading().await.map_err(|ending| match &ending {
        Ending::SteppedDown(StepDown::Missing | StepDown::SnapshotLost(_) | StepDown::Unusable(_)) => {
            Failed::Log(ending.to_string())
        }
        _ => Failed::Otherwise(StartError::Controller(ending.to_string())),
    })?;
    // METADATA 23: whether the log has all that the broker knows. A look, no watch: it ends at once.
    let look = Watch {
        broker_id: ID,
        incarnation: IncarnationId::from_random(random("an incarnation id").map_err(Failed::Otherwise)?),
        position: position(image),
    };
    match controller.watch(look).await {
        Err(refused) if refused.reason == Reason::Regressed => {
            controller.ended().await;
            Err(Failed::Log(refused.to_string()))
        }
        Ok(_) | Err(_) => Ok(controller),
    }
}

/// Sets the folder of the log aside and writes a new one from the broker's image.
async fn make_anew(data_dir: &DataDir, image: MetadataImage, reason: &str) -> Result<(), StartError> {
    let refuse = |what: String| {
        StartError::Controller(format!(
            "{reason}; it cannot be made anew: {what}. Put a copy of {} back, or move the data directory away to begin with an empty one",
            data_dir.path().join(METADATA_LOG).display()
        ))
    };
    let seen = open_guard(data_dir.path())?
        .highest()
        .unwrap_or_else(|| image.identity());
    let circumstances = Circumstances {
        lineage: Lineage::from_random(random("a lineage")?),
        nonce: Nonce::from_random(random("a nonce")?),
        waived: BTreeSet::new(),
        // What a damaged log says is not believed; the rise is far above anything that it can have said.
        stored: None,
        cluster_id: data_dir.identity().map(|identity| identity.cluster_id.clone()),
    };
    let shown = BTreeMap::from([(ID, ImageDocument { seen, image })]);
    let image = rebuild(&shown, &circumstances).map_err(|error| refuse(error.to_string()))?;

    let aside = set_aside(data_dir.path()).map_err(|error| refuse(error.to_string()))?;
    let store = FileStore::open(data_dir.path().join(METADATA_LOG)).map_err(|error| refuse(error.to_string()))?;
    begin_with(&store, &image, random("the name of a snapshot")?, None)
        .await
        .map_err(refuse)?;
    tracing::warn!(
        reason,
        aside = aside.map(|path| path.display().to_string()),
        epoch = %image.controller_epoch(),
        "the metadata log was made anew from what the broker knows"
    );
    Ok(())
}

/// Gives the folder of the log a name that no other has; `None` if there is no such folder.
fn set_aside(directory: &Path) -> std::io::Result<Option<PathBuf>> {
    let folder = directory.join(METADATA_LOG);
    if !folder.exists() {
        return Ok(None);
    }
    let mut number = 0_u32;
    loop {
        let free = directory.join(format!("{METADATA_LOG}.lost-{number}"));
        if !free.exists() {
            return fs::rename(&folder, &free).map(|()| Some(free));
        }
        number += 1;
    }
}
