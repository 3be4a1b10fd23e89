//! A member that speaks ConsumerGroupHeartbeat, as its client behaves.

use protocol::ErrorCode;
use protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};

use super::world::*;
use crate::{Partitions, Request, Response, Ticket};

/// What the client believes.
#[derive(Debug, Clone, Default)]
pub(super) struct Consumer {
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) epoch: i32,
    pub(super) topics: Vec<String>,
    pub(super) regex: Option<String>,
    pub(super) assignor: Option<String>,
    /// What it reads from.
    pub(super) owned: Partitions,
    /// It says everything with its next heartbeat.
    pub(super) says_all: bool,
}

impl Consumer {
    pub(super) fn new(id: &str, topics: &[&str]) -> Self {
        Self {
            id: id.to_owned(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            ..Self::default()
        }
    }

    pub(super) fn with_instance(id: &str, instance: &str, topics: &[&str]) -> Self {
        Self {
            instance: Some(instance.to_owned()),
            ..Self::new(id, topics)
        }
    }

    pub(super) fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let all = self.epoch == 0 || self.says_all;
        ConsumerGroupHeartbeatRequest {
            group_id: GROUP.to_owned(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            rebalance_timeout_ms: if all { REBALANCE_MS } else { -1 },
            subscribed_topic_names: all.then(|| self.topics.clone()),
            subscribed_topic_regex: self.regex.clone().filter(|_| all),
            server_assignor: self.assignor.clone().filter(|_| all),
            topic_partitions: Some(
                self.owned
                    .topics()
                    .map(|(topic, indexes)| TopicPartitions {
                        topic_id: topic.as_uuid(),
                        partitions: indexes.iter().copied().collect(),
                    })
                    .collect(),
            ),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    /// Takes over what it is told.
    pub(super) fn hear(&mut self, response: &ConsumerGroupHeartbeatResponse) -> ErrorCode {
        let error = ErrorCode::from_code(response.error_code).unwrap();
        match error {
            ErrorCode::None => {
                self.says_all = false;
                self.epoch = response.member_epoch;
                if let Some(assignment) = &response.assignment {
                    self.owned = assignment
                        .topic_partitions
                        .iter()
                        .flat_map(|topic| {
                            let id = model::TopicId(topic.topic_id);
                            topic.partitions.iter().map(move |index| (id, *index))
                        })
                        .collect();
                }
            }
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId => {
                self.epoch = 0;
                self.owned = Partitions::default();
            }
            _ => {}
        }
        error
    }

    /// One heartbeat, answered at once.
    pub(super) fn beat(&mut self, world: &mut World) -> ErrorCode {
        let response = world.consumer_heartbeat(self.request());
        self.hear(&response)
    }

    pub(super) fn leave(&mut self, world: &mut World) -> ErrorCode {
        self.leave_with(world, -1)
    }

    pub(super) fn leave_with(&mut self, world: &mut World, epoch: i32) -> ErrorCode {
        let request = ConsumerGroupHeartbeatRequest {
            member_epoch: epoch,
            ..self.request()
        };
        let response = world.consumer_heartbeat(request);
        self.epoch = 0;
        self.owned = Partitions::default();
        ErrorCode::from_code(response.error_code).unwrap()
    }

    pub(super) fn indexes(&self, topic: &str) -> Vec<i32> {
        self.owned
            .iter()
            .filter(|(id, _)| *id == topic_id(topic))
            .map(|(_, index)| index)
            .collect()
    }
}

impl World {
    pub(super) fn consumer_heartbeat(
        &mut self,
        request: ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let ticket = self.ask(1, Request::ConsumerHeartbeat(request));
        self.consumer_answer(ticket).expect("is answered at once")
    }

    pub(super) fn consumer_answer(&self, ticket: Ticket) -> Option<ConsumerGroupHeartbeatResponse> {
        match self.answers.get(&ticket)? {
            Response::ConsumerHeartbeat(response) => Some(response.clone()),
            other => panic!("not an answer to a heartbeat: {other:?}"),
        }
    }

    /// Everybody sends heartbeats until nobody is told anything new.
    pub(super) fn settle(&mut self, consumers: &mut [&mut Consumer]) {
        for _ in 0..20 {
            let before: Vec<(i32, Partitions)> = consumers.iter().map(|c| (c.epoch, c.owned.clone())).collect();
            for consumer in consumers.iter_mut() {
                assert_eq!(consumer.beat(self), ErrorCode::None, "{consumer:?}");
            }
            let after: Vec<(i32, Partitions)> = consumers.iter().map(|c| (c.epoch, c.owned.clone())).collect();
            if before == after {
                return;
            }
        }
        panic!("does not settle: {consumers:?}");
    }

    pub(super) fn group_type(&self) -> String {
        let listed = self.coordinator.list(&[], &[]);
        listed.first().map(|group| group.group_type.clone()).unwrap_or_default()
    }
}
