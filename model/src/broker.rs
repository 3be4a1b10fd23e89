//! A broker's registration, as the image holds it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Entity};
use crate::ids::{BrokerEpoch, BrokerId, DirectoryId, IncarnationId};

/// Where one listener of a broker is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The listener's name; clients are shown the endpoints of the listener they came by.
    pub listener: String,
    /// Host name or address to advertise.
    pub host: String,
    /// Port to advertise.
    pub port: u16,
}

/// The levels of a feature that a broker knows, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureRange {
    /// Lowest level known.
    pub min: i16,
    /// Highest level known.
    pub max: i16,
}

/// A registered broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerRegistration {
    /// The broker's id.
    pub id: BrokerId,
    /// The metadata offset of the registration.
    pub epoch: BrokerEpoch,
    /// The process that registered.
    pub incarnation: IncarnationId,
    /// Its data directory.
    pub directory_id: DirectoryId,
    /// The pod that the process runs in, if any: a successor in the same pod is accepted at once (METADATA 21).
    pub pod_uid: Option<String>,
    /// The boot of its node: page cache survives a killed process of the same boot (METADATA 16).
    pub boot_id: Option<String>,
    /// Where its listeners are reached.
    pub endpoints: Vec<Endpoint>,
    /// The failure domain that replicas are spread over.
    pub rack: Option<String>,
    /// Feature levels that it knows.
    pub features: BTreeMap<String, FeatureRange>,
    /// A fenced broker leads nothing and is in no ISR where another member remains.
    pub fenced: bool,
    /// It asked to leave; it is elected nowhere until it registers again.
    pub in_controlled_shutdown: bool,
}

impl BrokerRegistration {
    /// Whether partitions may be led by it.
    pub fn is_eligible(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Whether a process that starts in this directory has everything that the registered one had: it was flushed before
    /// that one stopped, or the page cache of its node survived (METADATA 16). `clean_shutdown_epoch` is what the mark of a
    /// clean stop names.
    pub fn lost_nothing(
        &self,
        directory_id: DirectoryId,
        boot_id: Option<&str>,
        clean_shutdown_epoch: Option<BrokerEpoch>,
    ) -> bool {
        let flushed = clean_shutdown_epoch == Some(self.epoch);
        let cached = boot_id.is_some() && self.boot_id.as_deref() == boot_id;
        self.directory_id == directory_id && (flushed || cached)
    }

    /// The endpoint of a listener.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }

    pub(crate) fn digest(&self) -> Digest {
        let mut entity = Entity::new("broker")
            .number(i64::from(self.id.0))
            .number(self.epoch.0)
            .bytes(self.incarnation.0.as_bytes())
            .bytes(self.directory_id.0.as_bytes())
            .optional_text(self.pod_uid.as_deref())
            .optional_text(self.boot_id.as_deref())
            .optional_text(self.rack.as_deref())
            .flag(self.fenced)
            .flag(self.in_controlled_shutdown)
            .number(self.endpoints.len() as i64);
        for endpoint in &self.endpoints {
            entity = entity
                .text(&endpoint.listener)
                .text(&endpoint.host)
                .number(i64::from(endpoint.port));
        }
        entity = entity.number(self.features.len() as i64);
        for (name, range) in &self.features {
            entity = entity
                .text(name)
                .number(i64::from(range.min))
                .number(i64::from(range.max));
        }
        entity.digest()
    }
}
