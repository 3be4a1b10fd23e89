//! What comes of a run.

use super::faults::FaultCounts;
use crate::history::check;

/// What one run did.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Equal for equal seeds, and hardly ever otherwise.
    pub trace_hash: u64,
    /// Events that the trace stands for.
    pub events: u64,
    /// Faults by kind.
    pub faults: FaultCounts,
    /// What clients did.
    pub extent: check::Extent,
    /// Leaderships that began.
    pub leaderships: u64,
    /// Times that a replica cut its log.
    pub truncations: u64,
    /// Committed changes of an ISR.
    pub isr_changes: u64,
    /// How often a partition got other replicas.
    pub moves: u64,
    /// Controllers that acted.
    pub takeovers: u64,
    /// Partitions whose last complete replica lost its disk, so that nothing is asked of them.
    pub excused: u64,
    /// Partitions that only METADATA 17 could bring back.
    pub waiting_for_rule_17: u64,
}

/// A broken promise, with what it takes to see it again.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
    /// Where the trace was then.
    pub trace_hash: u64,
    /// What happened, if that was asked for.
    pub lines: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "seed {}: {} (trace {:016x}; SIM_SEED={} shows it)",
            self.seed, self.what, self.trace_hash, self.seed
        )
    }
}
