//! The images that brokers show while their cluster has no metadata log: what it is made anew from.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use model::{BrokerId, ImageDocument};
use tokio::sync::Notify;
use tracing::info;

/// The images that brokers have shown.
#[derive(Debug, Default)]
pub(crate) struct ShownImages {
    shown: Mutex<BTreeMap<BrokerId, ImageDocument>>,
    came: Notify,
}

impl ShownImages {
    /// A broker shows its image.
    pub(crate) fn put(&self, broker: BrokerId, document: ImageDocument) {
        info!(%broker, offset = %document.image.offset(), "a broker has shown its image");
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.insert(broker, document);
        self.came.notify_one();
    }

    /// All of them, by broker.
    pub(crate) fn all(&self) -> BTreeMap<BrokerId, ImageDocument> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ready when another one has come.
    pub(crate) async fn came(&self) {
        self.came.notified().await;
    }
}
