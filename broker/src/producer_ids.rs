//! Producer ids of this broker: the shell around [`ProducerIdManager`], which fetches blocks from the controller.

use std::sync::Arc;
use std::time::Duration;

use broker_transactions::{NextId, ProducerIdBlock, ProducerIdManager};
use model::ProducerId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::controller_link::ControllerLink;

/// How long one fetch of a block may take.
const FETCH_PATIENCE: Duration = Duration::from_secs(10);

/// Hands out producer ids.
#[derive(Debug)]
pub struct ProducerIds {
    controller: Arc<ControllerLink>,
    manager: Mutex<ProducerIdManager>,
    /// Said after each fetch, whether it brought a block or not.
    fetched: Notify,
}

impl ProducerIds {
    /// None at hand yet; `controller` gives them.
    pub fn new(controller: Arc<ControllerLink>) -> Self {
        Self {
            controller,
            manager: Mutex::default(),
            fetched: Notify::new(),
        }
    }

    /// An id at once, if a block is at hand.
    pub fn at_hand(self: &Arc<Self>) -> Option<ProducerId> {
        let next = self.manager.lock().next_id();
        let (id, fetch) = match next {
            NextId::Id { id, fetch } => (Some(id), fetch),
            NextId::Empty { fetch } => (None, fetch),
        };
        if fetch {
            let ids = Arc::clone(self);
            tokio::task::spawn_local(async move { ids.fetch_block().await });
        }
        id
    }

    /// An id as soon as a block is there; `None` if that takes longer than `patience`.
    pub async fn wait(self: &Arc<Self>, patience: Duration) -> Option<ProducerId> {
        let waiting = async {
            loop {
                let fetched = self.fetched.notified();
                tokio::pin!(fetched);
                // Registered before the look, so that a fetch that ends between the two is not missed.
                fetched.as_mut().enable();
                if let Some(id) = self.at_hand() {
                    return id;
                }
                fetched.await;
            }
        };
        tokio::time::timeout(patience, waiting).await.ok()
    }

    async fn fetch_block(&self) {
        match self.controller.allocate_producer_ids(FETCH_PATIENCE).await {
            Ok(block) => {
                let block = ProducerIdBlock {
                    start: block.first,
                    len: i64::from(block.count),
                };
                self.manager.lock().install(block);
            }
            Err(error) => {
                tracing::warn!(%error, "no block of producer ids");
                // Whoever waits would ask again at once.
                tokio::time::sleep(Duration::from_millis(200)).await;
                self.manager.lock().fetch_failed();
            }
        }
        self.fetched.notify_waiters();
    }
}
