//! DeleteGroups: a group without members, with all that it has committed. Source: Kafka's
//! `GroupCoordinatorShard.deleteGroups`.

use protocol::ErrorCode;

use crate::agenda::Pending;
use crate::exchange::{Response, Ticket};
use crate::group::Phase;
use crate::group_coordinator::GroupCoordinator;
use crate::ids::GroupId;
use crate::offset_delete::tombstone;
use crate::records::GroupRecord;

impl GroupCoordinator {
    pub(crate) fn delete_group(&mut self, ticket: Ticket, group: &str) {
        let consumer = self.durable.consumer_group(group);
        let error = match self.groups.get(group) {
            None if consumer.is_some_and(|group| group.members().len() > 0) => ErrorCode::NonEmptyGroup,
            None if consumer.is_some() => ErrorCode::None,
            None => ErrorCode::GroupIdNotFound,
            Some(group) if group.phase != Phase::Empty => ErrorCode::NonEmptyGroup,
            Some(_) => ErrorCode::None,
        };
        if error != ErrorCode::None {
            return self.agenda.reply(ticket, Response::DeleteGroup(error));
        }
        let id = GroupId::from(group);
        let records = self.tombstones_of(&id);
        // Members that were given an id but have not joined with it are told UNKNOWN_MEMBER_ID when they do.
        if let Some(group) = self.groups.get_mut(&id) {
            group.pending_join.clear();
        }
        if records.is_empty() {
            self.groups.remove(&id);
            // The deletion of its last offsets may be on its way.
            self.agenda
                .reply_in_order(ticket, Response::DeleteGroup(ErrorCode::None));
        } else {
            self.agenda.write(records, Pending::DeleteGroup { ticket });
        }
    }

    /// What takes back everything that is written of a group.
    pub(crate) fn tombstones_of(&self, group: &GroupId) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        for (topic, partitions) in self.durable.offsets(group.as_str()).into_iter().flatten() {
            records.extend(partitions.keys().map(|index| tombstone(group, topic, *index)));
        }
        let has_offsets = !records.is_empty();
        let consumer = self.durable.consumer_group(group.as_str());
        if let Some(consumer) = consumer {
            records.extend(consumer.tombstones(group));
        }
        // Written for a group that only committed offsets, too: by the tombstones of these alone it would be empty, but there.
        if self.durable.group(group.as_str()).is_some() || (consumer.is_none() && has_offsets) {
            records.push(GroupRecord::tombstone_of(group));
        }
        records
    }
}
