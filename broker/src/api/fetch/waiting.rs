//! A fetch that cannot be answered yet: the disk is slower than its thread may be, or there is too little.

use std::sync::Arc;

use broker_network::Slot;
use tokio::sync::futures::OwnedNotified;

use super::reading::{Cold, Disk, Found, Parked, read};
use super::{Ask, respond};
use crate::api::call::ReplyTo;
use crate::context::BrokerContext;
use crate::fetches::Parking;
use crate::partition::FetchWaiter;

/// How often what is missing is brought into memory before the thread waits for the disk itself.
const WARM_ATTEMPTS: usize = 3;

/// A request that waits.
pub(super) struct Waiting {
    pub(super) broker: Arc<BrokerContext>,
    /// Its memory counts while it waits.
    pub(super) _parking: Parking,
    pub(super) listener: Arc<str>,
    pub(super) reply: ReplyTo,
    pub(super) ask: Ask,
}

/// What it waits for first.
pub(super) enum Begin {
    /// Records that are on the disk only.
    Warm(Vec<Cold>),
    /// Records that nobody has written yet.
    Park(Vec<Parked>),
}

impl Waiting {
    /// Waits for enough, for the client's patience to end, or for the connection to, and answers.
    pub(super) async fn answer(self, begin: Begin, ended: OwnedNotified, slot: Slot) {
        tokio::pin!(ended);
        let found = tokio::select! {
            found = self.enough(begin) => found,
            // Nobody is left to hear the answer.
            () = &mut ended => return,
        };
        match respond(&self.broker, &self.listener, &self.reply, &self.ask, found) {
            Ok(response) => slot.complete(response),
            Err(error) => {
                tracing::error!(%error, "a fetch response cannot be encoded");
                slot.close();
            }
        }
    }

    async fn enough(&self, begin: Begin) -> Found<'_> {
        let broker = &self.broker;
        let patience = tokio::time::sleep(self.ask.max_wait);
        tokio::pin!(patience);
        let mut parked = match begin {
            Begin::Warm(cold) => {
                let mut found = self.read_after(cold).await;
                if found.is_enough(&self.ask) || found.parked.is_empty() {
                    return found;
                }
                std::mem::take(&mut found.parked)
            }
            Begin::Park(parked) => parked,
        };
        loop {
            let places = Places::take(parked);
            let out_of_patience = if places.is_late {
                patience.is_elapsed()
            } else {
                tokio::select! {
                    () = places.waiter.woken() => false,
                    () = &mut patience => true,
                }
            };
            let before = places.leave();
            let mut found = self.read().await;
            let news = found.is_news_after(&before);
            let done = news || out_of_patience || broker.is_stopping() || found.parked.is_empty();
            if done || found.is_enough(&self.ask) {
                return found;
            }
            parked = std::mem::take(&mut found.parked);
        }
    }

    async fn read(&self) -> Found<'_> {
        let broker = &self.broker;
        let table = broker.replicas.topics_owned();
        let mut found = read(broker, &self.listener, &table, &self.ask, Disk::Never);
        if found.cold.is_empty() {
            return found;
        }
        let cold = std::mem::take(&mut found.cold);
        self.read_after(cold).await
    }

    /// Reads when what was missing has been brought into memory by threads that may wait.
    async fn read_after(&self, mut cold: Vec<Cold>) -> Found<'_> {
        let broker = &self.broker;
        for _ in 0..WARM_ATTEMPTS {
            let missing = std::mem::take(&mut cold);
            let warmed = tokio::task::spawn_blocking(move || {
                for Cold { partition, spec } in missing {
                    if let Err(error) = partition.cold_read(spec) {
                        tracing::debug!(?partition, %error, "a cold read failed: the read itself will say so");
                    }
                }
            });
            if warmed.await.is_err() {
                break;
            }
            let table = broker.replicas.topics_owned();
            let mut found = read(broker, &self.listener, &table, &self.ask, Disk::Never);
            if found.cold.is_empty() {
                return found;
            }
            cold = std::mem::take(&mut found.cold);
        }
        let table = broker.replicas.topics_owned();
        read(broker, &self.listener, &table, &self.ask, Disk::IfNeeded)
    }
}

/// A place at each partition of a request, given up when this is dropped.
struct Places {
    waiter: Arc<FetchWaiter>,
    parked: Vec<Parked>,
    /// Something has moved already.
    is_late: bool,
}

impl Places {
    fn take(parked: Vec<Parked>) -> Self {
        let waiter = Arc::new(FetchWaiter::default());
        let is_late = parked
            .iter()
            .any(|at| !at.partition.wait_beyond(at.reader, at.max_offset, at.told, &waiter));
        Self {
            waiter,
            parked,
            is_late,
        }
    }

    /// Gives the places up.
    fn leave(mut self) -> Vec<Parked> {
        self.forget();
        std::mem::take(&mut self.parked)
    }

    fn forget(&self) {
        for at in &self.parked {
            at.partition.forget(at.reader, &self.waiter);
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.forget();
    }
}
