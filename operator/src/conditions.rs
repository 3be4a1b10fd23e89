//! Conditions: what the operator says of a resource, with a reason for programs and a sentence for people.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// `Ready`, on every resource.
pub const READY: &str = "Ready";
/// It changes towards what is asked (abnormal if true).
pub const RECONCILING: &str = "Reconciling";
/// It does not come to what is asked without somebody's help (abnormal if true).
pub const STALLED: &str = "Stalled";
/// Whether every partition has all its replicas in sync.
pub const IN_SYNC: &str = "InSync";
/// Nothing of it is changed, because somebody asked for that.
pub const PAUSED: &str = "Paused";
/// Some leader was elected although it may lack acknowledged records, and leads since then.
pub const POSSIBLE_LOSS: &str = "PossibleLoss";
/// The metadata log is missing or older than what is known; nothing is decided.
pub const METADATA_REGRESSED: &str = "MetadataRegressed";

/// Longest message, in bytes.
const MESSAGE: usize = 1024;

/// Why a condition is as it is. Programs match on these, so they never change their meaning.
pub mod reasons {
    /// Topic: it exists as asked.
    pub const RECONCILED: &str = "Reconciled";
    /// Not looked at yet, or waiting for something that comes by itself.
    pub const PENDING: &str = "Pending";
    /// Topic: there is no such Cluster in its namespace.
    pub const CLUSTER_NOT_FOUND: &str = "ClusterNotFound";
    /// Topic: a configuration key or value is not one.
    pub const INVALID_CONFIG: &str = "InvalidConfig";
    /// Topic: another Topic or a topic with a colliding name was there first.
    pub const TOPIC_NAME_CONFLICT: &str = "TopicNameConflict";
    /// Topic: the cluster refuses it for another reason, which the message gives.
    pub const REFUSED: &str = "Refused";
    /// Topic: partitions without a leader.
    pub const OFFLINE_PARTITIONS: &str = "OfflinePartitions";
    /// Nothing is on its way.
    pub const SETTLED: &str = "Settled";
    /// Nothing stands in the way.
    pub const NO_OBSTACLE: &str = "NoObstacle";
    /// The annotation `barnabas.dev/paused` says so.
    pub const ASKED: &str = "Asked";
    /// Every partition has all its replicas in sync.
    pub const ALL_IN_SYNC: &str = "AllInSync";
    /// Some partitions have fewer replicas in sync than replicas.
    pub const UNDER_REPLICATED: &str = "UnderReplicated";
    /// Some partitions take no writes with acks=all.
    pub const UNDER_MIN_ISR: &str = "UnderMinIsr";
    /// Cluster: a leader was elected from what was left.
    pub const UNCLEAN_LEADER: &str = "UncleanLeader";
    /// Cluster: what was asked for was written, and is not seen at work yet.
    pub const APPLYING: &str = "Applying";
    /// Cluster: brokers restart one by one.
    pub const ROLLING_UPDATE: &str = "RollingUpdate";
    /// Cluster: a broker has to restart and may not now.
    pub const ROLL_PAUSED: &str = "RollPaused";
    /// Cluster: brokers that were asked for are not there yet.
    pub const SCALING_UP: &str = "ScalingUp";
    /// Cluster: brokers that are to go still hold replicas.
    pub const DRAINING: &str = "Draining";
    /// Cluster: there cannot be so few brokers.
    pub const SCALE_DOWN_BLOCKED: &str = "ScaleDownBlocked";
    /// Cluster: volumes grow.
    pub const RESIZING_STORAGE: &str = "ResizingStorage";
    /// Cluster: volumes cannot grow.
    pub const STORAGE_NOT_EXPANDABLE: &str = "StorageNotExpandable";
    /// Cluster: a Service has no external address yet.
    pub const ADDRESS_PENDING: &str = "AddressPending";
    /// Cluster: all brokers are up and every partition has a leader.
    pub const AVAILABLE: &str = "Available";
    /// Cluster: fewer brokers are ready than asked.
    pub const BROKERS_NOT_READY: &str = "BrokersNotReady";
    /// Cluster: the metadata log is gone or went back.
    pub const METADATA_REGRESSED: &str = "MetadataRegressed";
    /// Cluster: an object of the cluster could not be written.
    pub const APPLY_FAILED: &str = "ApplyFailed";
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Type of the condition, such as [`READY`].
    pub kind: &'static str,
    /// True, False, or nobody knows.
    pub status: Option<bool>,
    /// One of [`reasons`].
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

impl Statement {
    /// It is so.
    pub fn yes(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            status: Some(true),
            reason,
            message: message.into(),
        }
    }

    /// It is not so.
    pub fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            status: Some(false),
            reason,
            message: message.into(),
        }
    }

    /// Nobody knows yet.
    pub fn unknown(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            status: None,
            reason,
            message: message.into(),
        }
    }
}

/// The conditions after `statement`: its transition time moves only when its status does, so that an
/// unchanged truth leaves the object unchanged.
pub fn state(
    mut conditions: Vec<Condition>,
    statement: &Statement,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let status = match statement.status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let fresh = |since: Time| Condition {
        type_: statement.kind.to_owned(),
        status: status.to_owned(),
        reason: statement.reason.to_owned(),
        message: shortened(&statement.message),
        observed_generation: generation,
        last_transition_time: since,
    };
    match conditions
        .iter_mut()
        .find(|condition| condition.type_ == statement.kind)
    {
        Some(old) => {
            // The API server's own default says 1970.
            let kept = old.status == status && old.last_transition_time.0 != Timestamp::UNIX_EPOCH;
            let since = if kept {
                old.last_transition_time.clone()
            } else {
                whole_second(now)
            };
            *old = fresh(since);
        }
        None => conditions.push(fresh(whole_second(now))),
    }
    conditions
}

/// The conditions without one that no longer has anything to say.
pub fn withdraw(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|condition| condition.type_ != kind);
}

/// Kubernetes keeps whole seconds; a fraction would make every written object differ from the one read back.
fn whole_second(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

fn shortened(message: &str) -> String {
    if message.len() <= MESSAGE {
        return message.to_owned();
    }
    let mut end = MESSAGE - 3;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", message.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_same_truth_said_again_changes_nothing() {
        let ready = Statement::yes(READY, reasons::RECONCILED, "12 partitions");
        let once = state(Vec::new(), &ready, Some(3), second(10));
        let twice = state(once.clone(), &ready, Some(3), second(99));
        assert_eq!(once, twice);
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = state(
            Vec::new(),
            &Statement::unknown(READY, reasons::PENDING, ""),
            None,
            second(10),
        );
        conditions = state(
            conditions,
            &Statement::unknown(READY, reasons::REFUSED, "no"),
            None,
            second(20),
        );
        assert_eq!(conditions[0].last_transition_time.0, second(10));
        conditions = state(
            conditions,
            &Statement::no(READY, reasons::REFUSED, "no"),
            None,
            second(30),
        );
        assert_eq!(conditions[0].last_transition_time.0, second(30));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let conditions = state(
            Vec::new(),
            &Statement::no(READY, reasons::REFUSED, "ä".repeat(4000)),
            None,
            second(1),
        );
        assert!(conditions[0].message.len() <= MESSAGE);
        assert!(conditions[0].message.ends_with("..."));
    }
}
