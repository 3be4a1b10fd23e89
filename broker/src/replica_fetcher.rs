//! Followers' fetching: one thread and one connection for each broker that leads partitions replicated here.
//!
//! A thread of its own, not a task of the network's runtimes: what is fetched is checked and written to the log on it, and
//! a log that must be cut waits for the disk. None of that may hold up a client's connection. The threads are as few as
//! there are other brokers, and sleep in a long poll when nothing happens.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use broker_replication::Standing;
use model::{BrokerEpoch, BrokerId, MetadataImage};
use parking_lot::{Condvar, Mutex};

use crate::departures::Departures;
use crate::replica_manager::{FollowedPartitions, Following, ReplicaManager};

mod fetcher;
mod leader_address;
mod session;

use fetcher::Fetcher;

/// Where another broker's ordinary listener is, and which of its lives is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
    leader_broker_epoch: BrokerEpoch,
    /// Ours, which the leader compares with the image's.
    broker_epoch: BrokerEpoch,
}

impl Target {
    /// Whether it is the same process, at the same listener.
    fn is_same_life(&self, other: &Self) -> bool {
        (&self.host, self.port, self.leader_broker_epoch) == (&other.host, other.port, other.leader_broker_epoch)
    }
}

/// All fetcher threads of a broker.
#[derive(Debug)]
pub struct ReplicaFetchers {
    local: BrokerId,
    replicas: Arc<ReplicaManager>,
    departures: Arc<Departures>,
    running: Mutex<BTreeMap<BrokerId, Running>>,
    /// The listener over which brokers talk to each other; the first one of each if unset.
    listener: Option<String>,
}

#[derive(Debug)]
struct Running {
    orders: Arc<Orders>,
    thread: JoinHandle<()>,
}

/// What a thread is told.
#[derive(Debug, Default)]
struct Orders {
    now: Mutex<Order>,
    changed: Condvar,
    /// The connection whose answer the thread waits for.
    poll: Mutex<Option<Arc<TcpStream>>>,
    /// Records came a moment ago. Such a poll is short, and its answer too good to be thrown away for news.
    busy: AtomicBool,
}

#[derive(Debug, Default, Clone)]
struct Order {
    /// Rises with each change.
    number: u64,
    target: Option<Target>,
    partitions: Arc<FollowedPartitions>,
    stop: bool,
}

impl ReplicaFetchers {
    /// None yet. `listener` is the name of the listener between brokers.
    pub fn new(
        local: BrokerId,
        replicas: Arc<ReplicaManager>,
        departures: Arc<Departures>,
        listener: Option<String>,
    ) -> Self {
        Self {
            local,
            replicas,
            departures,
            running: Mutex::default(),
            listener,
        }
    }

    /// Makes the threads fetch what follows whom now. Called after each image, by one thread at a time; partitions have been
    /// told whom they follow already.
    pub(crate) fn apply(
        &self,
        image: &MetadataImage,
        standing: Standing,
        Following { mut followed, changed }: Following,
    ) {
        let mut running = self.running.lock();
        let idle: Vec<BrokerId> = running
            .keys()
            .filter(|leader| !followed.contains_key(leader))
            .copied()
            .collect();
        for leader in idle {
            if let Some(fetcher) = running.remove(&leader) {
                fetcher.orders.stop();
            }
        }
        while let Some((leader, partitions)) = followed.pop_first() {
            let target = self.target(image, leader, standing);
            let news = changed.contains(&leader);
            if let Some(fetcher) = running.get(&leader).filter(|fetcher| !fetcher.thread.is_finished()) {
                fetcher.orders.set(target, partitions, news);
                continue;
            }
            let orders = Arc::new(Orders::default());
            orders.set(target, partitions, true);
            let fetcher = self.fetcher(leader, Arc::clone(&orders));
            let spawned = thread::Builder::new()
                .name(format!("fetch-{leader}"))
                .spawn(move || fetcher.run());
            match spawned {
                Ok(thread) => drop(running.insert(leader, Running { orders, thread })),
                Err(error) => {
                    // The next image tries again; until then these replicas fall behind, and are seen to.
                    tracing::error!(%leader, %error, "no thread to fetch from a leader with");
                }
            }
        }
    }

    /// Ends all threads, and waits for what they are doing.
    pub fn stop(&self) {
        let all: Vec<Running> = std::mem::take(&mut *self.running.lock()).into_values().collect();
        for fetcher in &all {
            fetcher.orders.stop();
        }
        for fetcher in all {
            if fetcher.thread.join().is_err() {
                tracing::error!("a thread that fetched from a leader had failed");
            }
        }
    }

    fn fetcher(&self, leader: BrokerId, orders: Arc<Orders>) -> Fetcher {
        Fetcher::new(
            self.local,
            Arc::clone(&self.replicas),
            Arc::clone(&self.departures),
            leader,
            orders,
        )
    }

    fn target(&self, image: &MetadataImage, leader: BrokerId, standing: Standing) -> Option<Target> {
        let broker = image.broker(leader)?;
        let endpoint = match &self.listener {
            Some(name) => broker.endpoint(name)?,
            None => broker.endpoints.first()?,
        };
        Some(Target {
            host: endpoint.host.clone(),
            port: endpoint.port,
            leader_broker_epoch: broker.epoch,
            broker_epoch: standing.epoch()?,
        })
    }
}

impl Orders {
    /// New orders; `news` if there is something to fetch that the thread does not know of.
    fn set(&self, target: Option<Target>, partitions: FollowedPartitions, news: bool) {
        let mut now = self.now.lock();
        let moved = now.target != target;
        let other = partitions.len() != now.partitions.len()
            || partitions.iter().any(|(key, partition)| {
                !now.partitions
                    .get(key)
                    .is_some_and(|known| Arc::ptr_eq(known, partition))
            });
        if !(moved || other || news) {
            return;
        }
        now.number += 1;
        now.target = target;
        now.partitions = Arc::new(partitions);
        self.changed.notify_all();
        drop(now);
        if moved || (news && !self.busy.load(Ordering::Acquire)) {
            self.interrupt();
        }
    }

    fn stop(&self) {
        let mut now = self.now.lock();
        now.number += 1;
        now.stop = true;
        self.changed.notify_all();
        drop(now);
        self.interrupt();
    }

    /// Ends a long poll: a leader would be silent for half a second while there is news for it. What it sends meanwhile is
    /// fetched again.
    fn interrupt(&self) {
        if let Some(connection) = self.poll.lock().take() {
            // It may have ended by itself.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn get(&self) -> Order {
        self.now.lock().clone()
    }

    /// Sleeps until there are other orders than `number`, or for so long.
    fn wait(&self, number: u64, patience: Duration) {
        let mut now = self.now.lock();
        if now.number == number {
            self.changed.wait_for(&mut now, patience);
        }
    }

    /// Lets [`Self::interrupt`] break the connection while its answer is waited for, unless there are other orders already.
    fn begin_poll(&self, number: u64, connection: Arc<TcpStream>) -> bool {
        *self.poll.lock() = Some(connection);
        let current = self.now.lock().number == number;
        if !current {
            self.poll.lock().take();
        }
        current
    }

    fn end_poll(&self) {
        self.poll.lock().take();
    }
}
