//! Producer ids of this broker: the shell around [`ProducerIdManager`], which fetches blocks from the controller.

use std::sync::Arc;
use std::time::Duration;

use broker_transactions::{NextId, ProducerIdBlock, ProducerIdManager};
use model::ProducerId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::context::BrokerContext;

/// How long one fetch of a block may take.
const FETCH_PATIENCE: Duration = Duration::from_secs(10);

/// Hands out producer ids.
#[derive(Debug, Default)]
pub struct ProducerIds {
    manager: Mutex<ProducerIdManager>,
    /// Said after each fetch, whether it brought a block or not.
    fetched: Notify,
}

impl ProducerIds {
    /// An id at once, if a block is at hand.
    pub fn at_hand(broker: &Arc<BrokerContext>) -> Option<ProducerId> {
        let next = broker.producer_ids.manager.lock().next_id();
        match next {
            NextId::Id { id, fetch } => {
                if fetch {
                    tokio::task::spawn_local(fetch_block(Arc::clone(broker)));
                }
                Some(id)
            }
            NextId::Empty { fetch } => {
                if fetch {
                    tokio::task::spawn_local(fetch_block(Arc::clone(broker)));
                }
                None
            }
        }
    }

    /// An id as soon as a block is there; `None` if that takes longer than `patience`.
    pub async fn wait(broker: &Arc<BrokerContext>, patience: Duration) -> Option<ProducerId> {
        let waiting = async {
            loop {
                let fetched = broker.producer_ids.fetched.notified();
                tokio::pin!(fetched);
                // Registered before the look, so that a fetch that ends between the two is not missed.
                fetched.as_mut().enable();
                if let Some(id) = Self::at_hand(broker) {
                    return id;
                }
                fetched.await;
            }
        };
        tokio::time::timeout(patience, waiting).await.ok()
    }
}

async fn fetch_block(broker: Arc<BrokerContext>) {
    match broker.controller.allocate_producer_ids(FETCH_PATIENCE).await {
        Ok(block) => {
            let block = ProducerIdBlock {
                start: block.first,
                len: i64::from(block.count),
            };
            broker.producer_ids.manager.lock().install(block);
        }
        Err(error) => {
            tracing::warn!(%error, "no block of producer ids");
            // Whoever waits would ask again at once.
            tokio::time::sleep(Duration::from_millis(200)).await;
            broker.producer_ids.manager.lock().fetch_failed();
        }
    }
    broker.producer_ids.fetched.notify_waiters();
}
