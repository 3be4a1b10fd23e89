//! A leader's proposal of in-sync replicas, and what became of it (Kafka's `AlterPartition`).

use crate::ids::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId};

/// A replica in a proposal, as the leader knows it: by which registration it fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsrMember {
    /// The broker.
    pub broker: BrokerId,
    /// The registration that fetched. There is no wildcard (METADATA 13).
    pub epoch: BrokerEpoch,
}

/// The leader of a partition wants these replicas to be the in-sync ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrProposal {
    /// The topic, by id only (METADATA 14).
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The epoch in which the proposer leads.
    pub leader_epoch: LeaderEpoch,
    /// The partition's epoch that the proposal rests on: any change in between makes it void.
    pub partition_epoch: PartitionEpoch,
    /// All in-sync replicas, the leader among them.
    pub isr: Vec<IsrMember>,
}

/// What became of a proposal. It says only whether to ask again: a proposal ends by a record alone (METADATA 12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrOutcome {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// Kafka's error code; 0 if the proposal was taken.
    pub error_code: i16,
    /// The partition's leader now, if it has one and is known.
    pub leader: Option<BrokerId>,
    /// Its leader epoch now; -1 if the partition is not known.
    pub leader_epoch: LeaderEpoch,
    /// Its partition epoch now; -1 if the partition is not known.
    pub partition_epoch: PartitionEpoch,
    /// Its in-sync replicas now.
    pub isr: Vec<BrokerId>,
}
