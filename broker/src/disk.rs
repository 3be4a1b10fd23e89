//! The disk under the data directory: how full it is, and whether it is still written.
//!
//! Above a limit clients' records are refused with an error that they try again, while there is still room for what frees
//! space: checkpoints, snapshots, groups' offsets. Reads and deletes go on, and once there is room again so do writes.
//! A write or sync that failed is another matter: what the disk holds is unknown, so the whole directory is read-only
//! until the broker starts again and looks.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use broker_log::LogError;
use prometheus::IntGauge;
use protocol::ErrorCode;

use crate::refusal::Refusal;

/// How full the disk may be before records are refused, in percent.
pub const DEFAULT_LIMIT_PERCENT: u8 = 95;

const WRITABLE: u8 = 0;
const FULL: u8 = 1;
const FAILED: u8 = 2;

/// Space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What is used and what this process may still use. As with `df`, blocks that are kept for others count as neither.
    pub total: u64,
    /// What this process may still use.
    pub usable: u64,
}

/// Gauges of the disk.
#[derive(Debug, Clone)]
pub struct DiskMetrics {
    /// Bytes of the file system.
    pub total: IntGauge,
    /// Bytes that can still be used.
    pub usable: IntGauge,
    /// 1 while records are taken, 0 while they are refused because of the disk.
    pub writable: IntGauge,
}

/// See the module.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    limit_percent: u8,
    state: AtomicU8,
    metrics: DiskMetrics,
}

impl Space {
    /// Whether more than `percent` of it is used.
    fn is_fuller_than(self, percent: u8) -> bool {
        let used = u128::from(self.total.saturating_sub(self.usable));
        percent < 100 && used * 100 >= u128::from(self.total) * u128::from(percent)
    }
}

impl Disk {
    /// The disk of the directory at `path`, writable until [`Self::look`] says otherwise.
    pub fn new(path: &Path, limit_percent: u8, metrics: DiskMetrics) -> Self {
        metrics.writable.set(1);
        Self {
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()),
            limit_percent,
            state: AtomicU8::new(WRITABLE),
            metrics,
        }
    }

    /// The data directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much space there is.
    pub fn space(&self) -> std::io::Result<Space> {
        let found = rustix::fs::statvfs(&self.path)?;
        Ok(Space {
            total: found
                .f_blocks
                .saturating_sub(found.f_bfree)
                .saturating_add(found.f_bavail)
                .saturating_mul(found.f_frsize),
            usable: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    /// Why a client's records are refused now, if they are: one atomic load.
    pub fn refusal(&self) -> Option<Refusal> {
        let message = match self.state.load(Ordering::Relaxed) {
            WRITABLE => return None,
            FULL => format!("the disk is more than {} % full", self.limit_percent),
            _ => "the data directory is read-only since the disk failed".to_owned(),
        };
        Some(Refusal::new(ErrorCode::KafkaStorageError, message))
    }

    /// Whether the disk is so full that space should be freed at once.
    pub fn is_full(&self) -> bool {
        self.state.load(Ordering::Relaxed) == FULL
    }

    /// Whether no write has failed since the start.
    pub fn is_sound(&self) -> bool {
        self.state.load(Ordering::Relaxed) != FAILED
    }

    /// Looks how full the disk is. Called every second or so.
    pub fn look(&self) {
        match self.space() {
            Ok(space) => self.judge(space),
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "cannot ask how full the disk is"),
        }
    }

    fn judge(&self, space: Space) {
        self.metrics.total.set(space.total as i64);
        self.metrics.usable.set(space.usable as i64);
        let (percent, path) = (self.limit_percent, self.path.display());
        let usable = space.usable;
        if space.is_fuller_than(percent) {
            if self.change(WRITABLE, FULL) {
                tracing::error!(%path, usable, "the disk is more than {percent} % full: records are refused until there is space, reads and deletes go on");
            }
        } else if self.change(FULL, WRITABLE) {
            tracing::info!(%path, usable, "the disk has space again: records are taken");
        }
    }

    /// A write or sync failed: from now on the directory is only read.
    pub fn failed(&self, error: &LogError) {
        if !matches!(error, LogError::Offline { .. }) {
            return;
        }
        if self.change(WRITABLE, FAILED) || self.change(FULL, FAILED) {
            tracing::error!(path = %self.path.display(), %error, "the data directory is read-only from now on: see to the disk, then restart this broker");
        }
    }

    fn change(&self, from: u8, to: u8) -> bool {
        let changed = self
            .state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if changed {
            self.metrics.writable.set(i64::from(to == WRITABLE));
        }
        changed
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn metrics() -> DiskMetrics {
        let gauge = |name: &str| IntGauge::new(name, "for a test").expect("legal");
        DiskMetrics {
            total: gauge("total"),
            usable: gauge("usable"),
            writable: gauge("writable"),
        }
    }

    fn code(disk: &Disk) -> Option<ErrorCode> {
        disk.refusal().map(|refusal| refusal.code)
    }

    fn with(usable: u64) -> Space {
        Space { total: 1000, usable }
    }

    #[test]
    fn records_are_refused_above_the_limit_and_taken_again_below() {
        let disk = Disk::new(Path::new("."), 95, metrics());
        disk.judge(with(51));
        assert_eq!(code(&disk), None);
        disk.judge(with(50));
        assert_eq!(code(&disk), Some(ErrorCode::KafkaStorageError));
        assert!(ErrorCode::KafkaStorageError.is_retriable());
        assert!(disk.is_full() && disk.is_sound());
        disk.judge(with(51));
        assert_eq!(code(&disk), None);
        assert_eq!(disk.metrics.writable.get(), 1);
    }

    #[test]
    fn a_limit_of_100_percent_is_none() {
        let disk = Disk::new(Path::new("."), 100, metrics());
        disk.judge(with(0));
        assert_eq!(code(&disk), None);
    }

    #[test]
    fn a_failed_write_makes_the_directory_read_only_for_good() {
        let disk = Disk::new(Path::new("."), 95, metrics());
        disk.failed(&LogError::StorageFull { doing: "appending" });
        assert!(disk.is_sound(), "a full disk is no broken one");
        disk.failed(&LogError::Offline {
            doing: "appending",
            source: std::sync::Arc::new(std::io::ErrorKind::Other.into()),
        });
        assert!(!disk.is_sound());
        disk.judge(with(900));
        assert_eq!(code(&disk), Some(ErrorCode::KafkaStorageError));
        assert_eq!(disk.metrics.writable.get(), 0);
    }

    #[test]
    fn space_is_what_the_file_system_says() {
        let disk = Disk::new(Path::new("."), 95, metrics());
        let space = disk.space().expect("asked");
        assert!(space.total >= space.usable && space.total > 0);
        assert!(disk.path().is_absolute());
    }
}
