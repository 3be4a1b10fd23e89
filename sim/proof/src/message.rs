//! What is under way between processes, controllers and the log's object.

use crate::image::Record;
use crate::set::Set;

/// A record in a replica's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    /// The leader epoch it was written in.
    pub epoch: u8,
    /// What the client sent: no two are alike.
    pub value: u8,
}

/// A message; it may be delayed, overtaken or lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// A follower asks.
    Fetch {
        /// The asking process.
        from: u8,
        /// Its incarnation.
        incarnation: u8,
        /// The asked process.
        to: u8,
        /// Which partition.
        partition: u8,
        /// In which leader epoch.
        leader_epoch: u8,
        /// In which broker epoch.
        broker_epoch: u8,
        /// Where its log ends.
        end: u8,
        /// The epoch of its last record.
        last_epoch: u8,
    },
    /// The answer.
    Fetched {
        /// The process that asked.
        to: u8,
        /// Its incarnation.
        incarnation: u8,
        /// Which partition.
        partition: u8,
        /// The leader epoch asked for.
        leader_epoch: u8,
        /// The end asked for.
        end: u8,
        /// Records from there on.
        entries: Vec<Entry>,
        /// The leader's watermark.
        high_watermark: u8,
        /// Where the logs depart: the leader's last epoch not above the follower's, and its end.
        diverging: Option<(u8, u8)>,
    },
    /// `AlterPartition`.
    Alter {
        /// The leader.
        broker: u8,
        /// Its broker epoch.
        broker_epoch: u8,
        /// Which partition.
        partition: u8,
        /// In which leader epoch.
        leader_epoch: u8,
        /// On which partition epoch.
        partition_epoch: u8,
        /// The proposed ISR.
        isr: Set,
        /// The broker epochs that fetched.
        epochs: [u8; 3],
    },
    /// An error answer to it.
    AlterRefused {
        /// The leader.
        broker: u8,
        /// Which partition.
        partition: u8,
        /// Of the proposal.
        leader_epoch: u8,
        /// Of the proposal.
        partition_epoch: u8,
    },
    /// A process registers.
    Register {
        /// Its broker id.
        broker: u8,
        /// Which process.
        incarnation: u8,
        /// The boot of its node.
        boot: u8,
        /// Its directory.
        directory: u8,
        /// The broker epoch that its clean-shutdown mark names.
        mark: Option<u8>,
    },
    /// A compare-and-swap.
    Append {
        /// Who writes.
        controller: u8,
        /// Which append.
        id: u8,
        /// On which version of the object.
        version: u8,
        /// What.
        records: Vec<Record>,
    },
}
