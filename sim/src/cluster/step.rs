//! What the schedule of faults has in store.

use model::{BrokerId, IncarnationId};

use super::message::ProcessId;
use super::network::Host;
use super::stage::Stage;

/// What happens at a time.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// The next fault.
    Next,
    /// A pod's process starts.
    Start(usize),
    /// A paused process goes on.
    Resume(ProcessId),
    /// An operator starts.
    StartOperator(usize),
    /// What was cut is mended.
    Mend(Vec<(Host, Host)>),
    /// The network loses and delays as little as before.
    CalmNetwork,
    /// The API server answers.
    AnswersArrive,
    /// Reads are fresh again.
    FreshReads,
    /// The kubelet knows of a container's end.
    Terminated(BrokerId, IncarnationId),
    /// The pod that was deleted by force ends at last.
    EndPod(usize),
    /// The next stage of a course of things.
    Scenario(Stage),
}
