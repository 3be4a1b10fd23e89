//! Memory for frames that are still arriving, shared by all connections.
//!
//! A frame's buffer is charged before it grows, and it grows as bytes arrive: a client that declares
//! 100 MiB and sends nothing holds nothing that another could use. Charging the declared length at once
//! would let a few silent clients take the whole budget. Growing step by step could leave every frame
//! waiting for the others; so one frame at a time may go beyond the budget and is sure to finish.
//! While anybody waits, frames must arrive faster (see [`MemoryBudget::is_short`]): clients that drip large
//! frames would otherwise hold all memory, and the overdraft, for as long as their slowest pace allows.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::NetworkMetrics;

/// What one permit of the semaphore stands for.
const UNIT: usize = 1024;

/// The budget.
#[derive(Debug, Clone)]
pub(crate) struct MemoryBudget {
    units: Arc<Semaphore>,
    /// One permit: whoever holds it may go beyond the budget.
    overdraft: Arc<Semaphore>,
    /// Frames that wait for memory.
    waiting: Arc<AtomicUsize>,
    metrics: Arc<NetworkMetrics>,
}

/// One frame that waits, counted as long as it does.
#[derive(Debug)]
struct InQueue(Arc<AtomicUsize>);

impl InQueue {
    fn enter(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(waiting))
    }
}

impl Drop for InQueue {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Memory taken from the budget for one frame, returned on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: MemoryBudget,
    bytes: usize,
    units: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
}

/// More memory, waited for.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = Grant>>>;

/// What a waiting frame got.
#[derive(Debug)]
pub(crate) enum Grant {
    Units(OwnedSemaphorePermit),
    Overdraft(OwnedSemaphorePermit),
}

impl MemoryBudget {
    pub(crate) fn new(bytes: usize, metrics: Arc<NetworkMetrics>) -> Self {
        Self {
            units: Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS))),
            overdraft: Arc::new(Semaphore::new(1)),
            waiting: Arc::default(),
            metrics,
        }
    }

    /// Whether a frame waits for memory that others hold.
    pub(crate) fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// A charge of nothing yet.
    pub(crate) fn charge(&self) -> Charge {
        Charge {
            budget: self.clone(),
            bytes: 0,
            units: None,
            overdraft: None,
        }
    }
}

impl Charge {
    /// Raises the charge to `bytes` if the budget has as much; else nothing changes.
    pub(crate) fn try_raise(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if self.overdraft.is_none() {
            match Arc::clone(&self.budget.units).try_acquire_many_owned(units(more)) {
                Ok(permit) => self.merge(permit),
                Err(_) => return false,
            }
        }
        self.raised(more);
        true
    }

    /// Waits until the charge can be raised to `bytes`; then [`accept`](Self::accept) raises it.
    pub(crate) fn wait(&self, bytes: usize) -> Waiting {
        let more = units(bytes.saturating_sub(self.bytes));
        let (budget, overdraft) = (Arc::clone(&self.budget.units), Arc::clone(&self.budget.overdraft));
        let place = InQueue::enter(&self.budget.waiting);
        Box::pin(async move {
            let _place = place;
            // Neither semaphore is ever closed; a closed one would only mean that memory is not counted.
            tokio::select! {
                biased;
                Ok(permit) = budget.acquire_many_owned(more) => Grant::Units(permit),
                Ok(permit) = overdraft.acquire_owned() => Grant::Overdraft(permit),
            }
        })
    }

    /// Raises the charge to `bytes` by what was waited for.
    pub(crate) fn accept(&mut self, bytes: usize, grant: Grant) {
        match grant {
            Grant::Units(permit) => self.merge(permit),
            Grant::Overdraft(permit) => self.overdraft = Some(permit),
        }
        self.raised(bytes.saturating_sub(self.bytes));
    }

    fn merge(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.units {
            Some(units) => units.merge(permit),
            None => self.units = Some(permit),
        }
    }

    fn raised(&mut self, more: usize) {
        self.bytes += more;
        self.budget.metrics.receiving_bytes.fetch_add(more, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget
            .metrics
            .receiving_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn budget(bytes: usize) -> MemoryBudget {
        MemoryBudget::new(bytes, Arc::new(NetworkMetrics::new(Vec::new(), 1)))
    }

    fn poll(waiting: &mut Waiting) -> Poll<Grant> {
        waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_charge_is_returned_when_its_frame_is_done() {
        let budget = budget(10 * UNIT);
        let mut first = budget.charge();
        assert!(first.try_raise(4 * UNIT) && first.try_raise(8 * UNIT));
        assert_eq!(budget.metrics.receiving_bytes(), 8 * UNIT);
        assert!(!budget.charge().try_raise(3 * UNIT));
        drop(first);
        assert_eq!(budget.metrics.receiving_bytes(), 0);
        assert!(budget.charge().try_raise(10 * UNIT));
    }

    #[test]
    fn frames_that_wait_for_each_other_finish_one_by_one() {
        let budget = budget(10 * UNIT);
        let (mut first, mut second, mut third) = (budget.charge(), budget.charge(), budget.charge());
        assert!(first.try_raise(5 * UNIT) && second.try_raise(5 * UNIT));
        let mut first_waits = first.wait(50 * UNIT);
        let Poll::Ready(grant) = poll(&mut first_waits) else {
            panic!("one may overdraw")
        };
        first.accept(50 * UNIT, grant);
        let (mut second_waits, mut third_waits) = (second.wait(8 * UNIT), third.wait(2 * UNIT));
        assert!(poll(&mut second_waits).is_pending() && poll(&mut third_waits).is_pending());
        assert!(budget.is_short());
        drop(first);
        let Poll::Ready(grant) = poll(&mut second_waits) else {
            panic!("the first has returned its own")
        };
        second.accept(8 * UNIT, grant);
        let Poll::Ready(grant) = poll(&mut third_waits) else {
            panic!("there is room")
        };
        third.accept(2 * UNIT, grant);
        assert!(!budget.is_short());
    }
}
