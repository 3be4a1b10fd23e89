//! What a partition shows to people: in metrics, and in what changed.

use broker_replication::LeaderState;
use model::BrokerId;

use super::{PartitionHandle, State};

/// What the metrics count.
#[derive(Debug, Clone, Copy, Default)]
pub struct PartitionStatus {
    /// Led here.
    pub leader: bool,
    /// Its log cannot be used.
    pub offline: bool,
    /// Led here, with an incomplete ISR.
    pub under_replicated: bool,
    /// In-sync replicas above the minimum; `None` if not led here.
    pub min_isr_margin: Option<i64>,
}

/// One partition as its gauges show it: `log_start_offset <= high_watermark <= log_end_offset`.
#[derive(Debug, Clone, Copy)]
pub struct PartitionLook {
    /// Led here.
    pub leader: bool,
    /// Bytes of its log.
    pub size_bytes: u64,
    /// Segments of its log.
    pub segments: usize,
    /// Its first offset.
    pub log_start_offset: i64,
    /// Everything before it is committed.
    pub high_watermark: i64,
    /// The offset after its last record.
    pub log_end_offset: i64,
}

/// How a record changed the in-sync set of a partition that is led here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IsrChange {
    /// It lost a member.
    pub shrank: bool,
    /// It gained one.
    pub expanded: bool,
}

impl IsrChange {
    pub(super) fn between(before: &[BrokerId], after: &[BrokerId]) -> Self {
        Self {
            shrank: before.iter().any(|member| !after.contains(member)),
            expanded: after.iter().any(|member| !before.contains(member)),
        }
    }
}

impl PartitionHandle {
    /// For the gauges.
    pub fn status(&self) -> PartitionStatus {
        let inner = self.inner.lock();
        let leader = inner.leader();
        PartitionStatus {
            leader: leader.is_some(),
            offline: match &inner.replica {
                State::Open(replica) => replica.log().offline().is_some(),
                State::Offline(_) => true,
                State::Closed => false,
            },
            under_replicated: leader.is_some_and(LeaderState::is_under_replicated),
            min_isr_margin: leader.map(LeaderState::min_isr_margin),
        }
    }

    /// For the gauges of this partition; `None` if its log is not open.
    pub fn look(&self) -> Option<PartitionLook> {
        let inner = self.inner.lock();
        let State::Open(replica) = &inner.replica else {
            return None;
        };
        let log = replica.log();
        Some(PartitionLook {
            leader: replica.leader().is_some(),
            size_bytes: log.size_bytes(),
            segments: log.segment_count(),
            log_start_offset: log.log_start_offset(),
            high_watermark: replica.high_watermark(),
            log_end_offset: log.log_end_offset(),
        })
    }
}
