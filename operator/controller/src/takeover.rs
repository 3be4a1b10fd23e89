//! From winning the Lease to acting: read, prove, and have one's own epoch in the log first (METADATA 1).

use std::collections::BTreeMap;
use std::time::Duration;

use model::level::BARNABAS_VERSION;
use model::record::{ClusterFormatted, ControllerElected};
use model::{ClusterId, Lineage, MetadataImage, Nonce, Record};

use crate::append::Appender;
use crate::effect::StepDown;
use crate::entropy::Entropy;
use crate::input::ReadId;
use crate::log::{DocumentError, StoredLog};
use crate::settings::{Format, Settings};

/// `metadata.version` as Kafka 4.1 numbers it (4.1-IV1): only tools look at it.
const METADATA_VERSION: i16 = 27;

/// The consumer groups of KIP-848 are served. Only tools look at it: clients look whether the API is there.
const GROUP_VERSION: i16 = 1;

/// Where the takeover stands.
#[derive(Debug)]
pub(crate) enum Takeover {
    /// The log is being read.
    Reading(ReadId),
    /// The read failed; it is tried again at this time.
    ReadAgain(Duration),
    /// `ControllerElected` is on its way.
    Electing,
    /// It is in the log: this controller acts.
    Acting,
    /// It acts no more.
    Stopped,
}

/// Folds what was found and proposes to be the controller.
pub(crate) fn elect(log: Option<StoredLog>, settings: &Settings, entropy: &mut Entropy) -> Result<Appender, StepDown> {
    let nonce = Nonce::from_random(entropy.draw());
    let mut appender = match log {
        Some(log) => {
            // METADATA 6: a controller checks its own fold at takeover; METADATA 9: what it does not know stops it.
            let image = log.fold().map_err(|cause| match cause {
                DocumentError::SnapshotLost(_) => StepDown::SnapshotLost(cause.to_string()),
                cause => StepDown::Unusable(cause.to_string()),
            })?;
            Appender::new(image, Some((log.document, log.version)), nonce)
        }
        None => format(settings, entropy, nonce)?,
    };
    let elected = ControllerElected {
        epoch: appender.epoch(),
        nonce,
        holder: settings.holder.clone(),
    };
    propose(&mut appender, elected)?;
    Ok(appender)
}

/// METADATA 23: where anything shows that there was a log, none is begun.
fn format(settings: &Settings, entropy: &mut Entropy, nonce: Nonce) -> Result<Appender, StepDown> {
    let Format::New(cluster_id) = &settings.format else {
        return Err(StepDown::Missing);
    };
    let mut appender = Appender::new(MetadataImage::empty(), None, nonce);
    let formatted = ClusterFormatted {
        cluster_id: cluster_id
            .clone()
            .unwrap_or_else(|| ClusterId::from_random(entropy.draw())),
        lineage: Lineage::from_random(entropy.draw()),
        features: BTreeMap::from([
            (BARNABAS_VERSION.to_owned(), *model::level::KNOWN_LEVELS.end()),
            ("metadata.version".to_owned(), METADATA_VERSION),
            ("group.version".to_owned(), GROUP_VERSION),
        ]),
    };
    propose(&mut appender, formatted)?;
    Ok(appender)
}

fn propose(appender: &mut Appender, record: impl Into<Record>) -> Result<(), StepDown> {
    appender
        .propose(record)
        .map_err(|cause| StepDown::Defect(cause.to_string()))
}
