//! A coordinator with its log and its clock, and clients that talk to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::TopicId;
use protocol::ErrorCode;
use protocol::codec::Put;
use protocol::messages::heartbeat::HeartbeatRequest;
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use protocol::messages::offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponsePartitions,
};
use protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use uuid::Uuid;

use crate::{
    Context, Effects, GroupCoordinator, GroupRecord, GroupSettings, Now, Request, Response, Ticket, Topics, WriteId,
};

pub(super) const GROUP: &str = "g";
pub(super) const SESSION_MS: i32 = 10_000;
pub(super) const REBALANCE_MS: i32 = 30_000;

/// When appended records become committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commits {
    AtOnce,
    WhenTold,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) coordinator: GroupCoordinator,
    pub(super) settings: GroupSettings,
    pub(super) topics: Arc<Topics>,
    pub(super) commits: Commits,
    /// Records in the log.
    pub(super) log: Vec<GroupRecord>,
    /// How many of them are committed.
    pub(super) high_watermark: usize,
    /// Appends on their way: the end of each in the log.
    pub(super) uncommitted: VecDeque<(WriteId, usize)>,
    /// Those of them that the coordinator was told are late.
    late: BTreeSet<WriteId>,
    /// What becomes of the next append, if it is refused.
    pub(super) refuses: Option<ErrorCode>,
    pub(super) now: Now,
    pub(super) answers: BTreeMap<Ticket, Response>,
    pub(super) asked: u64,
}

/// Who speaks.
#[derive(Debug, Clone, Default)]
pub(super) struct Speaker {
    pub(super) member_id: String,
    pub(super) instance_id: Option<String>,
    pub(super) generation: i32,
}

impl World {
    pub(super) fn new(settings: GroupSettings) -> Self {
        let now = Now {
            monotonic: Duration::ZERO,
            wall_ms: 1_000_000,
        };
        let mut coordinator = GroupCoordinator::new(settings.clone(), now);
        coordinator.loaded(now);
        Self {
            coordinator,
            settings,
            topics: Arc::default(),
            commits: Commits::AtOnce,
            log: Vec::new(),
            high_watermark: 0,
            uncommitted: VecDeque::new(),
            late: BTreeSet::new(),
            refuses: None,
            now,
            answers: BTreeMap::new(),
            asked: 0,
        }
    }

    pub(super) fn standalone() -> Self {
        Self::new(GroupSettings::standalone())
    }

    pub(super) fn ask(&mut self, version: i16, request: Request) -> Ticket {
        let ticket = Ticket(self.asked);
        self.asked += 1;
        let context = Context {
            now: self.now,
            version,
            client_id: "client",
            client_host: "/10.0.0.7",
            fresh: Uuid::from_u128(u128::from(ticket.0)),
        };
        let effects = self.coordinator.handle(&context, ticket, request);
        self.carry_out(effects);
        ticket
    }

    pub(super) fn carry_out(&mut self, effects: Effects) {
        for write in effects.writes {
            if let Some(error) = self.refuses.take() {
                let effects = self.coordinator.failed(self.now, write.id, error);
                self.carry_out(effects);
                continue;
            }
            self.log.extend(write.records.iter().cloned());
            self.coordinator.appended(&write);
            self.uncommitted.push_back((write.id, self.log.len()));
        }
        for reply in effects.replies {
            let earlier = self.answers.insert(reply.ticket, reply.response);
            assert!(earlier.is_none(), "{:?} is answered twice", reply.ticket);
        }
        if self.commits == Commits::AtOnce {
            while self.commit_next() {}
        }
    }

    /// The high watermark passes one more append.
    pub(super) fn commit_next(&mut self) -> bool {
        let Some((id, end)) = self.uncommitted.pop_front() else {
            return false;
        };
        self.high_watermark = end;
        let effects = self.coordinator.committed(self.now, id);
        self.carry_out(effects);
        true
    }

    /// The first append that anybody waits for is late. It is in the log, and may be committed yet. False if there is none.
    pub(super) fn late_next(&mut self) -> bool {
        let awaited = self.uncommitted.iter().find(|(id, _)| !self.late.contains(id));
        let Some((id, _)) = awaited.copied() else {
            return false;
        };
        self.late.insert(id);
        let effects = self.coordinator.failed(self.now, id, ErrorCode::RequestTimedOut);
        self.carry_out(effects);
        true
    }

    /// Lets time pass, with every timer at its moment.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while let Some(deadline) = self.coordinator.next_deadline().filter(|deadline| *deadline <= end) {
            self.set_clock(deadline.max(self.now.monotonic));
            let effects = self.coordinator.tick(self.now);
            self.carry_out(effects);
        }
        self.set_clock(end);
    }

    fn set_clock(&mut self, monotonic: Duration) {
        let passed = monotonic
            .checked_sub(self.now.monotonic)
            .expect("time does not go back");
        self.now = Now {
            monotonic,
            wall_ms: self.now.wall_ms + i64::try_from(passed.as_millis()).unwrap(),
        };
    }

    /// Another coordinator takes over from what `kept` records of the log say.
    pub(super) fn restart_with(&mut self, kept: usize) {
        assert!(kept >= self.high_watermark, "what is committed is never lost");
        self.log.truncate(kept);
        self.high_watermark = kept;
        self.uncommitted.clear();
        self.late.clear();
        let mut next = GroupCoordinator::new(self.settings.clone(), self.now);
        for record in &self.log {
            // Through the bytes, as in a log.
            let (key, value) = record.encode().unwrap();
            next.replay(&GroupRecord::decode(&key, value.as_deref()).unwrap().unwrap());
        }
        next.topics_changed(Arc::clone(&self.topics));
        next.loaded(self.now);
        let Effects { replies, .. } = std::mem::replace(&mut self.coordinator, next).resign();
        self.carry_out(Effects {
            writes: Vec::new(),
            replies,
        });
    }

    /// Topics come, go and grow: names and sizes, with an id for each name.
    pub(super) fn set_topics(&mut self, topics: &[(&str, i32)]) {
        self.topics = Arc::new(
            topics
                .iter()
                .map(|(name, size)| (*name, topic_id(name), *size))
                .collect(),
        );
        self.coordinator.topics_changed(Arc::clone(&self.topics));
    }

    pub(super) fn restart(&mut self) {
        self.restart_with(self.log.len());
    }

    pub(super) fn joined(&mut self, ticket: Ticket) -> JoinGroupResponse {
        match self.answers.get(&ticket) {
            Some(Response::Join(response)) => response.clone(),
            other => panic!("not an answer to a join: {other:?}"),
        }
    }

    pub(super) fn synced(&mut self, ticket: Ticket) -> SyncGroupResponse {
        match self.answers.get(&ticket) {
            Some(Response::Sync(response)) => response.clone(),
            other => panic!("not an answer to a sync: {other:?}"),
        }
    }

    pub(super) fn is_answered(&self, ticket: Ticket) -> bool {
        self.answers.contains_key(&ticket)
    }

    pub(super) fn join(&mut self, version: i16, speaker: &Speaker) -> Ticket {
        self.ask(version, Request::Join(join_request(speaker, &["range"])))
    }

    /// Joins a new dynamic member by way of MEMBER_ID_REQUIRED.
    pub(super) fn join_new(&mut self) -> (String, Ticket) {
        let first = self.join(9, &Speaker::default());
        let required = self.joined(first);
        assert_eq!(required.error_code, ErrorCode::MemberIdRequired.code());
        let speaker = Speaker {
            member_id: required.member_id.clone(),
            ..Speaker::default()
        };
        (required.member_id, self.join(9, &speaker))
    }

    /// Joins a static member.
    pub(super) fn join_static(&mut self, instance: &str) -> Ticket {
        self.join(
            9,
            &Speaker {
                instance_id: Some(instance.to_owned()),
                ..Speaker::default()
            },
        )
    }

    /// Hands in an assignment (of the leader), or asks for it.
    pub(super) fn sync(&mut self, speaker: &Speaker, assignments: &[(&str, &str)]) -> Ticket {
        self.ask(5, Request::Sync(sync_request(speaker, assignments)))
    }

    pub(super) fn heartbeat(&mut self, speaker: &Speaker) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: GROUP.to_owned(),
            generation_id: speaker.generation,
            member_id: speaker.member_id.clone(),
            group_instance_id: speaker.instance_id.clone(),
        };
        let ticket = self.ask(4, Request::Heartbeat(request));
        match &self.answers[&ticket] {
            Response::Heartbeat(response) => ErrorCode::from_code(response.error_code).unwrap(),
            other => panic!("not an answer to a heartbeat: {other:?}"),
        }
    }

    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> LeaveGroupResponse {
        let request = LeaveGroupRequest {
            group_id: GROUP.to_owned(),
            members: members
                .iter()
                .map(|(member, instance)| MemberIdentity {
                    member_id: (*member).to_owned(),
                    group_instance_id: instance.map(str::to_owned),
                    ..MemberIdentity::default()
                })
                .collect(),
            ..LeaveGroupRequest::default()
        };
        let ticket = self.ask(5, Request::Leave(request));
        match &self.answers[&ticket] {
            Response::Leave(response) => response.clone(),
            other => panic!("not an answer to a leave: {other:?}"),
        }
    }

    /// The error of the one partition that is committed; panics if there is no answer yet.
    pub(super) fn commit(&mut self, version: i16, speaker: &Speaker, offset: i64) -> ErrorCode {
        let ticket = self.ask(version, Request::Commit(commit_request(speaker, 0, offset)));
        self.commit_error(ticket)
    }

    pub(super) fn commit_error(&self, ticket: Ticket) -> ErrorCode {
        match &self.answers[&ticket] {
            Response::Commit(response) => ErrorCode::from_code(response.topics[0].partitions[0].error_code).unwrap(),
            other => panic!("not an answer to a commit: {other:?}"),
        }
    }

    pub(super) fn fetch(&self, partition: i32) -> OffsetFetchResponsePartitions {
        let request = OffsetFetchRequestGroup {
            group_id: GROUP.to_owned(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: "mail".to_owned(),
                topic_id: Uuid::nil(),
                partition_indexes: vec![partition],
            }]),
            ..OffsetFetchRequestGroup::default()
        };
        self.coordinator.fetch_offsets(&request).topics[0].partitions[0].clone()
    }

    pub(super) fn state(&self) -> String {
        self.coordinator.describe(GROUP, 5).group_state
    }

    /// One dynamic member in a stable group.
    pub(super) fn stable_member(&mut self) -> Speaker {
        let (member_id, ticket) = self.join_new();
        let joined = self.joined(ticket);
        assert_eq!(joined.error_code, 0);
        let speaker = Speaker {
            member_id,
            generation: joined.generation_id,
            instance_id: None,
        };
        let sync = self.sync(&speaker, &[(&speaker.member_id, "all")]);
        assert_eq!(self.synced(sync).assignment, "all");
        speaker
    }

    /// Two static members, `a` leading, in a stable group.
    pub(super) fn stable_static_pair(&mut self) -> (Speaker, Speaker) {
        let a = self.join_static("a");
        let a_first = self.joined(a);
        let b = self.join_static("b");
        let a = self.join(
            9,
            &Speaker {
                member_id: a_first.member_id,
                instance_id: Some("a".to_owned()),
                generation: 0,
            },
        );
        let (a, b) = (self.joined(a), self.joined(b));
        assert_eq!((a.generation_id, &a.leader), (b.generation_id, &a.member_id));
        let speaker = |joined: &JoinGroupResponse, instance: &str| Speaker {
            member_id: joined.member_id.clone(),
            instance_id: Some(instance.to_owned()),
            generation: joined.generation_id,
        };
        let (a, b) = (speaker(&a, "a"), speaker(&b, "b"));
        let b_sync = self.sync(&b, &[]);
        let a_sync = self.sync(&a, &[(&a.member_id, "one"), (&b.member_id, "two")]);
        assert_eq!(self.synced(a_sync).assignment, "one");
        assert_eq!(self.synced(b_sync).assignment, "two");
        (a, b)
    }
}

/// The id of the topic of that name.
pub(super) fn topic_id(name: &str) -> TopicId {
    TopicId(Uuid::from_u128(
        name.bytes().fold(1, |id, byte| id * 256 + u128::from(byte)),
    ))
}

/// What a consumer says of itself: the topics that it wants.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let mut metadata = Vec::new();
    metadata.put_i16(1);
    metadata
        .put_array(false, Some(topics), |w, topic| w.put_string(false, Some(topic)))
        .unwrap();
    metadata.put_i32(-1);
    metadata.put_i32(0);
    Bytes::from(metadata)
}

pub(super) fn join_request(speaker: &Speaker, protocols: &[&str]) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: GROUP.to_owned(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        member_id: speaker.member_id.clone(),
        group_instance_id: speaker.instance_id.clone(),
        protocol_type: "consumer".to_owned(),
        protocols: protocols
            .iter()
            .map(|name| JoinGroupRequestProtocol {
                name: (*name).to_owned(),
                metadata: subscription(&["mail"]),
            })
            .collect(),
        reason: None,
    }
}

pub(super) fn sync_request(speaker: &Speaker, assignments: &[(&str, &str)]) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: GROUP.to_owned(),
        generation_id: speaker.generation,
        member_id: speaker.member_id.clone(),
        group_instance_id: speaker.instance_id.clone(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: assignments
            .iter()
            .map(|(member, assignment)| SyncGroupRequestAssignment {
                member_id: (*member).to_owned(),
                assignment: Bytes::copy_from_slice(assignment.as_bytes()),
            })
            .collect(),
    }
}

pub(super) fn commit_request(speaker: &Speaker, partition: i32, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: GROUP.to_owned(),
        generation_id_or_member_epoch: speaker.generation,
        member_id: speaker.member_id.clone(),
        group_instance_id: speaker.instance_id.clone(),
        retention_time_ms: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "mail".to_owned(),
            topic_id: Uuid::nil(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: offset,
                committed_leader_epoch: 4,
                committed_metadata: Some("a note".to_owned()),
            }],
        }],
    }
}

/// A consumer that assigns partitions to itself, or an admin client.
pub(super) fn nobody() -> Speaker {
    Speaker {
        generation: -1,
        ..Speaker::default()
    }
}
