//! Where a coordinator lives.
//!
//! Kafka hashes the key (a group id, later a transactional id) with Java's `String.hashCode`, and every client and tool
//! that reads `__consumer_offsets` by partition relies on it, so the hash is part of the format.

use model::{BrokerId, PartitionIndex};

/// The internal topic that holds the groups.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// `offsets.topic.num.partitions` of Kafka, and ours: changing it would move every group.
pub const OFFSETS_TOPIC_PARTITIONS: i32 = 50;

/// What kind of coordinator a client asks for: `key_type` of FindCoordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoordinatorType {
    /// A consumer group.
    Group,
    /// A transactional producer.
    Transaction,
    /// A share group (KIP-932).
    Share,
}

impl TryFrom<i8> for CoordinatorType {
    type Error = FindError;

    fn try_from(key_type: i8) -> Result<Self, FindError> {
        match key_type {
            0 => Ok(Self::Group),
            1 => Ok(Self::Transaction),
            2 => Ok(Self::Share),
            other => Err(FindError::UnknownType(other)),
        }
    }
}

/// The broker that answers for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coordinator {
    /// Leader of the partition that the key hashes to.
    pub broker: BrokerId,
    /// That partition of [`OFFSETS_TOPIC`].
    pub partition: PartitionIndex,
}

/// Why no coordinator is named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Retriable: no broker coordinates this group now.
    #[error("no broker coordinates group {0:?} now: its partition of __consumer_offsets has no leader yet")]
    NotAvailable(String),
    /// Not retriable: the whole kind is not there.
    #[error("{0:?}: {1} are not served by this version of Barnabas")]
    NotServed(String, &'static str),
    /// Not retriable: no such kind.
    #[error("coordinator key type {0} is unknown (0 = group, 1 = transaction)")]
    UnknownType(i8),
}

/// The coordinator of `key`, or why there is none. `partitions` is the size of [`OFFSETS_TOPIC`], 0 if it is not there;
/// `leader_of` tells who leads one of them.
///
/// A transactional producer is refused for good, as long as transactions are not served: it would wait for nothing.
pub fn find(
    kind: CoordinatorType,
    key: &str,
    partitions: i32,
    leader_of: impl Fn(PartitionIndex) -> Option<BrokerId>,
) -> Result<Coordinator, FindError> {
    match kind {
        CoordinatorType::Group => {
            let partition = partition_for_key(key, partitions);
            let leader = (partitions > 0).then(|| leader_of(partition)).flatten();
            let broker = leader.ok_or_else(|| FindError::NotAvailable(key.to_owned()))?;
            Ok(Coordinator { broker, partition })
        }
        CoordinatorType::Transaction => Err(FindError::NotServed(key.to_owned(), "transactional ids")),
        CoordinatorType::Share => Err(FindError::NotServed(key.to_owned(), "share groups")),
    }
}

/// The partition of an internal topic with `partitions` partitions that `key` belongs to
/// (`Utils.abs(key.hashCode()) % partitions`).
pub fn partition_for_key(key: &str, partitions: i32) -> PartitionIndex {
    // Utils.abs of Kafka clears the sign bit; i32::MIN becomes 0 by it, which `abs` would overflow on.
    let positive = java_hash(key) & i32::MAX;
    PartitionIndex(positive % partitions.max(1))
}

/// Java's `String.hashCode`: 31 * h + unit, over UTF-16 units, wrapping.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_java_for_known_strings() {
        // Values printed by a JVM.
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("a"), 97);
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        // Outside the basic plane Java counts two surrogates.
        assert_eq!(java_hash("\u{1F600}"), 1_772_899);
    }

    #[test]
    fn a_hash_of_the_lowest_integer_is_still_a_partition() {
        assert_eq!(partition_for_key("polygenelubricants", 50), PartitionIndex(0));
    }

    #[test]
    fn every_key_falls_into_the_topic() {
        for key in ["", "a", "console-consumer-12345", "gruppe-ä", "日本"] {
            let PartitionIndex(index) = partition_for_key(key, OFFSETS_TOPIC_PARTITIONS);
            assert!((0..OFFSETS_TOPIC_PARTITIONS).contains(&index), "{key}");
        }
    }

    #[test]
    fn a_group_is_where_its_partition_is_led_and_a_transaction_is_refused() {
        let nobody = |_| None;
        let somebody = |partition: PartitionIndex| (partition.0 == 2).then_some(BrokerId(7));
        let group = CoordinatorType::Group;
        assert!(matches!(find(group, "a", 0, somebody), Err(FindError::NotAvailable(_))));
        assert!(matches!(find(group, "a", 5, nobody), Err(FindError::NotAvailable(_))));
        let found = find(group, "a", 5, somebody);
        assert_eq!(
            found.map(|found| (found.broker, found.partition)),
            Ok((BrokerId(7), PartitionIndex(2)))
        );
        assert!(matches!(
            find(CoordinatorType::Transaction, "t", 5, somebody),
            Err(FindError::NotServed(..))
        ));
        assert_eq!(CoordinatorType::try_from(9), Err(FindError::UnknownType(9)));
    }
}
