//! Offsets and groups that nobody needs any more. Source: Kafka's `OffsetExpirationConditionImpl`,
//! `ClassicGroup.offsetExpirationCondition`; KIP-211.

use std::time::Duration;

use crate::agenda::Pending;
use crate::consumer_group::ConsumerGroup;
use crate::durable::Offsets;
use crate::group::{Group, Phase};
use crate::group_coordinator::GroupCoordinator;
use crate::ids::GroupId;
use crate::offset_delete::tombstone;
use crate::records::{CommittedOffset, GroupRecord};
use crate::timers::Timer;

/// From when on the retention of an offset counts.
#[derive(Debug, Clone, Copy)]
enum Since {
    /// The group lost its last member then: offsets of a group that is used are kept however old they are.
    Empty(i64),
    /// Its own commit: nobody subscribes to the topic any more, or the group has no members to tell.
    Commit,
}

impl GroupCoordinator {
    pub(crate) fn schedule_expiry(&mut self) {
        let interval = self.agenda.settings.offsets_retention_check_interval;
        self.agenda.schedule(Timer::Expiry, interval);
    }

    /// Writes tombstones for expired offsets, and for groups that have neither members nor offsets left. One append for
    /// each group, so that no batch grows with their number.
    pub(crate) fn expire_offsets(&mut self) {
        let now_ms = self.agenda.now.wall_ms;
        let retention = self.agenda.settings.offsets_retention;
        let classic = self
            .groups
            .values()
            .map(|group| expired(group, self.durable.offsets(group.id.as_str()), now_ms, retention));
        let consumer = self.durable.consumer_groups().map(|(id, group)| {
            let offsets = self.durable.offsets(id.as_str());
            expired_of_consumers(id, group, offsets, now_ms, retention)
        });
        let expired: Vec<Expired> = classic.chain(consumer).collect();
        for Expired { group, records, all } in expired {
            let records = if all { self.tombstones_of(&group) } else { records };
            if !records.is_empty() {
                let is_offset = |record: &&GroupRecord| matches!(record, GroupRecord::Offset { .. });
                self.agenda.stats.offsets_expired += records.iter().filter(is_offset).count() as u64;
                self.agenda.write(records, Pending::Nothing);
            } else if all {
                // Its offsets were deleted, or its empty generation could not be written: a successor knows nothing of it either.
                self.groups.remove(&group);
            }
        }
    }
}

struct Expired {
    group: GroupId,
    /// Tombstones of the expired offsets.
    records: Vec<GroupRecord>,
    /// Nothing would be left, neither offset nor member: the group goes too.
    all: bool,
}

fn expired(group: &Group, offsets: Option<&Offsets>, now_ms: i64, retention: Duration) -> Expired {
    let mut records = Vec::new();
    let mut kept = 0;
    let since = counts_since(group);
    for (topic, partitions) in offsets.into_iter().flatten() {
        let in_use = group.is_subscribed_to(topic);
        for (index, offset) in partitions {
            if !in_use && since.is_some_and(|since| is_expired(offset, since, now_ms, retention)) {
                records.push(tombstone(&group.id, topic, *index));
            } else {
                kept += 1;
            }
        }
    }
    Expired {
        group: group.id.clone(),
        all: kept == 0 && group.is_forgettable(),
        records,
    }
}

/// Of a consumer group: what nobody subscribes to expires by its own commit, as in Kafka.
fn expired_of_consumers(
    id: &GroupId,
    group: &ConsumerGroup,
    offsets: Option<&Offsets>,
    now_ms: i64,
    retention: Duration,
) -> Expired {
    let mut records = Vec::new();
    let mut kept = 0;
    for (topic, partitions) in offsets.into_iter().flatten() {
        let in_use = group.is_subscribed_to(topic);
        for (index, offset) in partitions {
            if !in_use && is_expired(offset, Since::Commit, now_ms, retention) {
                records.push(tombstone(id, topic, *index));
            } else {
                kept += 1;
            }
        }
    }
    Expired {
        group: id.clone(),
        all: kept == 0 && group.members().len() == 0,
        records,
    }
}

fn counts_since(group: &Group) -> Option<Since> {
    if group.protocol_type.is_none() {
        return Some(Since::Commit);
    }
    match group.phase {
        Phase::Empty if group.phase_since_ms < 0 => Some(Since::Commit),
        Phase::Empty => Some(Since::Empty(group.phase_since_ms)),
        Phase::Stable if group.uses_consumer_protocol() && group.knows_its_topics() => Some(Since::Commit),
        // A rebalance may bring the topic back, and of other protocols the topics cannot be told.
        _ => None,
    }
}

fn is_expired(offset: &CommittedOffset, since: Since, now_ms: i64, retention: Duration) -> bool {
    if let Some(at) = offset.expire_timestamp_ms {
        return now_ms >= at;
    }
    let since_ms = match since {
        Since::Empty(empty_ms) => empty_ms,
        Since::Commit => offset.commit_timestamp_ms,
    };
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    now_ms.saturating_sub(since_ms) >= retention_ms
}
