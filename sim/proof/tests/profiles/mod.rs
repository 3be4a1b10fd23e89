//! What may happen in the walks. In each of these nothing is lost while every rule is obeyed; `docs/model.md` says where
//! that is not so.

#![allow(dead_code, reason = "each test uses some")]

use proof::Bounds;

/// Kills, a power loss, fencing, takeovers, lost messages.
pub(crate) const BASE: Bounds = Bounds::WALK;

pub(crate) const TWO_PARTITIONS: Bounds = Bounds {
    partitions: 2,
    records: 6,
    ..BASE
};

pub(crate) const REASSIGNMENT: Bounds = Bounds {
    replicas: 2,
    reassignments: 2,
    ..BASE
};

pub(crate) const REBUILD: Bounds = Bounds { rebuilds: 1, ..BASE };

/// Broker 2 elects in another order than everybody else.
pub(crate) const DIFFERING_FOLD: Bounds = Bounds {
    backwards: true,
    ..BASE
};

/// `min.insync.replicas` goes down and up.
pub(crate) const CHANGED_MIN_ISR: Bounds = Bounds {
    min_isr_changes: 2,
    ..BASE
};

/// It is 1 at first.
pub(crate) const RAISED_MIN_ISR: Bounds = Bounds {
    min_isr: 1,
    ..CHANGED_MIN_ISR
};

pub(crate) const ATOMIC_FETCH: Bounds = Bounds {
    delayed_fetch: false,
    ..BASE
};
