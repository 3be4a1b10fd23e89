//! Work that nobody waits for, on a thread of its own: timed flushes, checkpoints, retention, purges.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::context::BrokerContext;
use crate::error::StartError;
use crate::replica_manager::Flush;

/// How exactly `flush.ms` is kept.
const TICK: Duration = Duration::from_millis(100);

/// How often checkpoints are written: what a restart after a crash must read again at most, in time.
const CHECKPOINT: Duration = Duration::from_secs(30);

/// How often idle producers are looked for: Kafka's `producer.id.expiration.check.interval.ms`. They are as old as their
/// records say, so who writes old records is forgotten at every look.
const EXPIRE: Duration = Duration::from_mins(10);

/// How often old segments are looked for: Kafka's `log.retention.check.interval.ms`. Nobody sees the difference but
/// the disk, so it is no setting.
const RETENTION: Duration = Duration::from_mins(5);

/// When they are looked for first: a start has better things to do.
const FIRST_RETENTION: Duration = Duration::from_secs(30);

/// The same while the disk is too full to take records.
const RETENTION_WHEN_FULL: Duration = Duration::from_secs(2);

/// How often closed segments and removed data are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// The thread. Dropping it ends the thread without waiting.
#[derive(Debug)]
pub struct Background {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Background {
    /// Starts the thread.
    pub fn start(broker: Arc<BrokerContext>) -> Result<Self, StartError> {
        let (stop, stopped) = mpsc::channel();
        let work = move || {
            let mut checkpoint_at = Instant::now() + CHECKPOINT;
            let mut sweep_at = Instant::now();
            let mut expire_at = Instant::now() + EXPIRE;
            let mut retention_at = Instant::now() + FIRST_RETENTION;
            let mut last_retention = Instant::now();
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                let now = Instant::now();
                if !broker.replicas.disk().is_sound() {
                    // Whatever is written now, nobody knows what becomes of it.
                    continue;
                }
                broker.replicas.follow_log_starts();
                if now < sweep_at {
                    broker.replicas.flush_due(Flush::ByTime);
                } else {
                    broker.replicas.look_at_disk();
                    broker.replicas.flush_due(Flush::Everything);
                    if broker.replicas.disk().is_full() {
                        retention_at = retention_at.min(last_retention + RETENTION_WHEN_FULL);
                    }
                    broker.replicas.purge_due();
                    broker.replicas.free_removed();
                    sweep_at = now + SWEEP;
                }
                if now >= expire_at {
                    broker.replicas.expire_producers();
                    expire_at = now + EXPIRE;
                }
                if now >= retention_at {
                    broker.replicas.apply_retention();
                    last_retention = now;
                    retention_at = now + RETENTION;
                }
                if now >= checkpoint_at {
                    broker.replicas.write_checkpoints();
                    checkpoint_at = now + CHECKPOINT;
                }
            }
        };
        let thread = thread::Builder::new()
            .name("background".to_owned())
            .spawn(work)
            .map_err(|source| StartError::System {
                what: "a thread for background work",
                source,
            })?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread after what it is doing now.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the background thread had failed");
        }
    }
}
