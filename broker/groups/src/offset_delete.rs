//! OffsetDelete, and the offsets of topics that are no more. Source: Kafka's `OffsetMetadataManager.deleteOffsets`,
//! `onPartitionsDeleted`.

use protocol::ErrorCode;
use protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use crate::agenda::Pending;
use crate::exchange::{Effects, Now, Response, Ticket};
use crate::group::Phase;
use crate::group_coordinator::GroupCoordinator;
use crate::ids::GroupId;
use crate::records::GroupRecord;

impl GroupCoordinator {
    pub(crate) fn delete_offsets(&mut self, ticket: Ticket, request: &OffsetDeleteRequest) {
        let mut response = OffsetDeleteResponse::default();
        if request.group_id.is_empty() {
            response.error_code = ErrorCode::InvalidGroupId.code();
            return self.agenda.reply(ticket, Response::DeleteOffsets(response));
        }
        let consumer = self.durable.consumer_group(&request.group_id);
        let classic = self.groups.get(request.group_id.as_str());
        if classic.is_none() && consumer.is_none() {
            response.error_code = ErrorCode::GroupIdNotFound.code();
            return self.agenda.reply(ticket, Response::DeleteOffsets(response));
        }
        if classic.is_some_and(|group| group.phase != Phase::Empty && !group.uses_consumer_protocol()) {
            // Which topics its members use cannot be told.
            response.error_code = ErrorCode::NonEmptyGroup.code();
            return self.agenda.reply(ticket, Response::DeleteOffsets(response));
        }
        let id = GroupId::from(request.group_id.as_str());
        let mut records = Vec::new();
        for topic in &request.topics {
            let in_use = classic.is_some_and(|group| group.is_subscribed_to(&topic.name))
                || consumer.is_some_and(|group| group.is_subscribed_to(&topic.name));
            let mut answered = OffsetDeleteResponseTopic {
                name: topic.name.clone(),
                partitions: Vec::new(),
            };
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let error = if in_use {
                    ErrorCode::GroupSubscribedToTopic
                } else {
                    ErrorCode::None
                };
                if !in_use && self.durable.offset(id.as_str(), &topic.name, index).is_some() {
                    records.push(tombstone(&id, &topic.name, index));
                }
                answered.partitions.push(OffsetDeleteResponsePartition {
                    partition_index: index,
                    error_code: error.code(),
                });
            }
            response.topics.push(answered);
        }
        if records.is_empty() {
            self.agenda.reply(ticket, Response::DeleteOffsets(response));
        } else {
            self.agenda.write(records, Pending::DeleteOffsets { ticket, response });
        }
    }

    /// A topic was deleted: nobody will ask for its offsets again, and a topic of the same name starts anew.
    pub fn topic_deleted(&mut self, now: Now, topic: &str) -> Effects {
        self.agenda.now = now;
        let records: Vec<GroupRecord> = self
            .durable
            .groups_with_offsets()
            .filter_map(|(group, topics)| Some((group, topics.get(topic)?)))
            .flat_map(|(group, partitions)| partitions.keys().map(move |index| tombstone(group, topic, *index)))
            .collect();
        if !records.is_empty() {
            self.agenda.write(records, Pending::Nothing);
        }
        self.agenda.take_effects()
    }
}

/// The record that takes a committed offset back.
pub(crate) fn tombstone(group: &GroupId, topic: &str, partition: i32) -> GroupRecord {
    GroupRecord::Offset {
        group: group.clone(),
        topic: topic.to_owned(),
        partition,
        offset: None,
    }
}
