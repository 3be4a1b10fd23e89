//! Bugs planted by hand, for tests only: a checker that finds none of them is not worth its time.
//!
//! Each place where the log takes a precaution asks `seeded_bug!(Name)` whether to forget it; outside of this
//! crate's own tests that is the constant `false`.

#[cfg(test)]
macro_rules! seeded_bug {
    ($bug:ident) => {
        crate::seeded::is_active(crate::seeded::Bug::$bug)
    };
}

#[cfg(not(test))]
macro_rules! seeded_bug {
    ($bug:ident) => {
        false
    };
}

pub(crate) use seeded_bug;

#[cfg(test)]
pub(crate) use bugs::{Bug, is_active, with};

#[cfg(test)]
mod bugs {
    use std::cell::Cell;

    /// A precaution that can be forgotten.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Bug {
        /// The directory is not synced after a segment was created.
        DirectoryNotSynced,
        /// After an unclean stop the index of the active segment is taken as it lies on the disk.
        IndexTrusted,
        /// A producer snapshot above the recovered log is used.
        StaleSnapshot,
        /// The recovery point moves although the bytes were not synced.
        RecoveryPointBeforeSync,
        /// Recovery believes the length of a batch without its checksum.
        TornTailAccepted,
        /// The leader epochs are not cut with the log.
        EpochsNotTruncated,
        /// The clean-shutdown mark stays when the log is opened.
        CleanMarkKept,
        /// What a failed write left behind is not cut off.
        PartialWriteKept,
        /// A checkpoint file is renamed into place before its bytes are durable.
        CheckpointNotSynced,
        /// Later segments survive although an earlier one was cut.
        LaterSegmentsKept,
        /// A cut of the log does not lower the recovery point first.
        RecoveryPointNotLowered,
        /// Older segments are not synced when the newest one is.
        OnlyActiveSynced,
        /// Old segments are removed before the log start above them is durable.
        RemovedBeforeLogStart,
        /// Old segments are removed although no snapshot remembers their producers.
        ProducersNotKept,
        /// The log start moves to records that no sync has covered.
        DeletedBeforeSync,
        /// What a follower appends leaves no trace in the leader epochs.
        FollowersEpochNotNoted,
        /// A log is emptied while the disk still says that everything below its end is there.
        RestartedAboveRecoveryPoint,
        /// A log is emptied while the epochs of what it held stay on the disk.
        RestartedWithEpochs,
        /// An emptied log takes records before its new beginning is durable.
        RestartedBeforeLogStart,
        /// A producer's state moves although its batch could not be written.
        ProducerNotRolledBack,
    }

    thread_local! {
        static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    pub(crate) fn is_active(bug: Bug) -> bool {
        ACTIVE.get() == Some(bug)
    }

    /// Runs `body` in a world with this bug, or with none.
    pub(crate) fn with<T>(bug: Option<Bug>, body: impl FnOnce() -> T) -> T {
        let before = ACTIVE.replace(bug);
        let result = body();
        ACTIVE.set(before);
        result
    }
}
