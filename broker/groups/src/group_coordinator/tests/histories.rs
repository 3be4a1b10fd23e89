//! Random histories against a simple model: members that join, leave, die and commit, a high watermark that lags, and a
//! coordinator that crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use protocol::ErrorCode;

use super::world::*;
use crate::{DurableState, GroupRecord, GroupSettings, Request, Response, Ticket};

/// A client: what it believes, and what it waits for.
#[derive(Debug, Clone, Default)]
struct Client {
    speaker: Speaker,
    leads: bool,
    others: Vec<String>,
    join: Option<Ticket>,
    sync: Option<Ticket>,
}

#[derive(Debug, Clone)]
enum Step {
    Join(usize),
    /// The client asks again though it still waits.
    JoinAnew(usize),
    Sync(usize),
    Heartbeat(usize),
    Commit(usize, i32),
    Leave(usize),
    /// The process dies and comes back with nothing but its instance id.
    Die(usize),
    Pass(u64),
    CommitNext,
    /// The first append that anybody waits for is not committed in time.
    LateNext,
    /// The next append does not reach the log.
    RefuseNext,
    /// A successor reads the log up to some point that is not below the high watermark.
    Crash(u8),
    DeleteGroup,
}

const CLIENTS: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        6 => client.clone().prop_map(Step::Join),
        1 => client.clone().prop_map(Step::JoinAnew),
        6 => client.clone().prop_map(Step::Sync),
        2 => client.clone().prop_map(Step::Heartbeat),
        4 => (client.clone(), 0..3).prop_map(|(client, partition)| Step::Commit(client, partition)),
        1 => client.clone().prop_map(Step::Leave),
        1 => client.prop_map(Step::Die),
        2 => prop_oneof![1..2_000_u64, 5_000..40_000_u64].prop_map(Step::Pass),
        6 => Just(Step::CommitNext),
        1 => Just(Step::LateNext),
        1 => Just(Step::RefuseNext),
        1 => any::<u8>().prop_map(Step::Crash),
        1 => Just(Step::DeleteGroup),
    ]
}

#[derive(Debug)]
struct History {
    world: World,
    clients: Vec<Client>,
    /// Life of the coordinator and generation -> its leader.
    leaders: BTreeMap<(u32, i32), String>,
    /// Life and generation -> members that were shown the others.
    shown: BTreeMap<(u32, i32), BTreeSet<String>>,
    /// Generation -> the mark of its one assignment. Of all lives together: an assignment that a member knows is durable.
    marks: BTreeMap<i32, String>,
    life: u32,
    commits: Vec<(Ticket, i32, i64)>,
    next_offset: i64,
}

impl History {
    fn new(delay: Duration) -> Self {
        let settings = GroupSettings {
            initial_rebalance_delay: delay,
            ..GroupSettings::default()
        };
        let mut world = World::new(settings);
        world.commits = Commits::WhenTold;
        let clients = (0..CLIENTS)
            .map(|index| Client {
                // One is static; the others are dynamic.
                speaker: Speaker {
                    instance_id: (index == 0).then(|| "static".to_owned()),
                    ..Speaker::default()
                },
                ..Client::default()
            })
            .collect();
        Self {
            world,
            clients,
            leaders: BTreeMap::new(),
            shown: BTreeMap::new(),
            marks: BTreeMap::new(),
            life: 0,
            commits: Vec::new(),
            next_offset: 1,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Join(index) if self.clients[index].join.is_none() => self.join(index),
            Step::JoinAnew(index) => self.join(index),
            Step::Sync(index) => self.sync(index),
            Step::Heartbeat(index) => {
                let speaker = self.clients[index].speaker.clone();
                let _ = self.world.heartbeat(&speaker);
            }
            Step::Commit(index, partition) => {
                let speaker = self.clients[index].speaker.clone();
                let offset = self.next_offset;
                self.next_offset += 1;
                let ticket = self
                    .world
                    .ask(9, Request::Commit(commit_request(&speaker, partition, offset)));
                self.commits.push((ticket, partition, offset));
            }
            Step::Leave(index) => {
                let Speaker {
                    member_id, instance_id, ..
                } = self.clients[index].speaker.clone();
                let _ = self.world.leave(&[(&member_id, instance_id.as_deref())]);
            }
            Step::Die(index) => {
                let client = &mut self.clients[index];
                let speaker = Speaker {
                    instance_id: client.speaker.instance_id.take(),
                    ..Speaker::default()
                };
                *client = Client {
                    speaker,
                    ..Client::default()
                };
            }
            Step::Pass(ms) => self.world.pass(Duration::from_millis(ms)),
            Step::CommitNext => {
                self.world.commit_next();
            }
            Step::LateNext => {
                self.world.late_next();
            }
            Step::RefuseNext => self.world.refuses = Some(ErrorCode::NotEnoughReplicas),
            Step::Join(_) => {}
            Step::Crash(at) => {
                let open = self.world.log.len() - self.world.high_watermark;
                let mut kept = self.world.high_watermark + usize::from(at) % (open + 1);
                // A batch is kept or lost as a whole.
                while kept < self.world.log.len()
                    && kept > self.world.high_watermark
                    && self.world.uncommitted.iter().all(|(_, end)| *end != kept)
                {
                    kept -= 1;
                }
                self.world.restart_with(kept);
                self.life += 1;
            }
            Step::DeleteGroup => {
                let ticket = self.world.ask(2, Request::DeleteGroup(GROUP.to_owned()));
                if self.world.answers.get(&ticket) != Some(&Response::DeleteGroup(ErrorCode::NonEmptyGroup)) {
                    // The group may begin again at its first generation.
                    self.marks.clear();
                    self.leaders.clear();
                    self.shown.clear();
                }
            }
        }
        self.hear();
        self.check();
    }

    fn join(&mut self, index: usize) {
        let speaker = self.clients[index].speaker.clone();
        let version = if index == 1 { 3 } else { 9 };
        self.clients[index].join = Some(self.world.join(version, &speaker));
        self.clients[index].sync = None;
    }

    fn sync(&mut self, index: usize) {
        let client = self.clients[index].clone();
        let mark = format!("{}", self.world.asked);
        let assignments: Vec<_> = client.others.iter().map(|id| (id.as_str(), mark.as_str())).collect();
        let assignments = if client.leads { &assignments[..] } else { &[] };
        self.clients[index].sync = Some(self.world.sync(&client.speaker, assignments));
    }

    /// Clients take in the answers that have come.
    fn hear(&mut self) {
        for client in &mut self.clients {
            if let Some(Response::Join(joined)) = client.join.and_then(|ticket| self.world.answers.get(&ticket)) {
                client.join = None;
                match ErrorCode::from_code(joined.error_code).unwrap() {
                    ErrorCode::None => {
                        client.speaker.member_id.clone_from(&joined.member_id);
                        client.speaker.generation = joined.generation_id;
                        client.leads = joined.leader == joined.member_id && !joined.skip_assignment;
                        client.others = joined.members.iter().map(|member| member.member_id.clone()).collect();
                        let key = (self.life, joined.generation_id);
                        if !joined.members.is_empty() {
                            assert_eq!(joined.leader, joined.member_id, "only the leader sees the members");
                            self.shown.entry(key).or_default().insert(joined.member_id.clone());
                        }
                        // A static member that took its former life's place may be told of that one as the leader.
                        if client.speaker.instance_id.is_none() && !joined.leader.starts_with("static") {
                            let leader = self.leaders.entry(key).or_insert_with(|| joined.leader.clone());
                            assert_eq!(*leader, joined.leader, "a generation has one leader");
                        }
                    }
                    ErrorCode::MemberIdRequired => client.speaker.member_id.clone_from(&joined.member_id),
                    ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => client.speaker.member_id.clear(),
                    _ => {}
                }
            }
            if let Some(Response::Sync(synced)) = client.sync.and_then(|ticket| self.world.answers.get(&ticket)) {
                client.sync = None;
                match ErrorCode::from_code(synced.error_code).unwrap() {
                    ErrorCode::None if !synced.assignment.is_empty() => {
                        let mark = String::from_utf8(synced.assignment.to_vec()).unwrap();
                        let known = self
                            .marks
                            .entry(client.speaker.generation)
                            .or_insert_with(|| mark.clone());
                        assert_eq!(*known, mark, "a generation has one assignment");
                    }
                    ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => client.speaker.member_id.clear(),
                    _ => {}
                }
            }
        }
    }

    fn check(&mut self) {
        for shown in self.shown.values() {
            // A static leader's next life is shown the members of the same generation again.
            let dynamic = shown.iter().filter(|member| !member.starts_with("static")).count();
            assert!(dynamic <= 1, "a generation has one leader: {shown:?}");
        }
        let mut replayed = DurableState::default();
        let mut offsets: BTreeMap<i32, i64> = BTreeMap::new();
        for (index, record) in self.world.log.iter().enumerate() {
            replayed.replay(record);
            if let GroupRecord::Offset { partition, offset, .. } = record {
                match offset {
                    Some(offset) => offsets.insert(*partition, offset.offset),
                    None => offsets.remove(partition),
                };
            }
            if index + 1 == self.world.high_watermark {
                // What is below the high watermark is what a crash now would leave.
                self.acknowledged_is_in(&self.world.log[..=index]);
            }
        }
        assert_eq!(
            &replayed,
            self.world.coordinator.durable(),
            "what replay makes is what is live"
        );
        for partition in 0..3 {
            let expected = offsets.get(&partition).copied().unwrap_or(-1);
            assert_eq!(self.world.fetch(partition).committed_offset, expected);
        }
        self.stable_is_durable();
    }

    fn acknowledged_is_in(&self, committed: &[GroupRecord]) {
        for (ticket, partition, offset) in &self.commits {
            if self.world.answers.contains_key(ticket) && self.world.commit_error(*ticket) == ErrorCode::None {
                let found = committed.iter().any(|record| {
                    matches!(record, GroupRecord::Offset { partition: p, offset: Some(o), .. }
                        if p == partition && o.offset == *offset)
                });
                assert!(
                    found,
                    "offset {offset} of partition {partition} was acknowledged and is lost"
                );
            }
        }
    }

    /// A group at rest is what its record says.
    fn stable_is_durable(&self) {
        let Some(group) = self.world.coordinator.groups.get(GROUP) else {
            return;
        };
        if self.world.state() != "Stable" || !self.world.uncommitted.is_empty() {
            return;
        }
        let GroupRecord::Group {
            metadata: Some(live), ..
        } = group.to_record(&group.assignments())
        else {
            unreachable!()
        };
        let written = self
            .world
            .coordinator
            .durable()
            .group(GROUP)
            .expect("a stable group is written");
        assert_eq!(live.generation, written.generation);
        assert_eq!(live.leader, written.leader);
        let ids = |metadata: &crate::GroupMetadata| {
            metadata
                .members
                .iter()
                .map(|member| (member.member_id.clone(), member.assignment.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(&live), ids(written));
    }

    /// Whoever is alive behaves, and nothing else happens: the group must come to rest with all of them.
    fn comes_to_rest(&mut self) {
        self.world.commits = Commits::AtOnce;
        self.world.refuses = None;
        while self.world.commit_next() {}
        for _ in 0..60 {
            self.hear();
            for index in 0..CLIENTS {
                let client = self.clients[index].clone();
                if client.join.is_some() || client.sync.is_some() {
                    continue;
                }
                if client.speaker.member_id.is_empty() {
                    self.join(index);
                    self.hear();
                    if self.clients[index].join.is_none() {
                        self.join(index);
                    }
                    continue;
                }
                match self.world.heartbeat(&client.speaker) {
                    ErrorCode::None => self.sync(index),
                    ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => self.join(index),
                    _ => self.clients[index].speaker.member_id.clear(),
                }
            }
            self.world.pass(Duration::from_millis(2_500));
            self.hear();
            self.check();
        }
        assert_eq!(self.world.state(), "Stable", "{:?}", self.world.coordinator.groups);
        assert_eq!(self.world.coordinator.groups[GROUP].members.len(), CLIENTS);
    }

    /// When the last coordinator has gone, everyone has been answered.
    fn nobody_waits(&mut self) {
        self.world.restart();
        assert_eq!(self.world.answers.len() as u64, self.world.asked);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2 * ProptestConfig::default().cases, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_one_leader_one_assignment_and_every_acknowledged_commit(
        steps in prop::collection::vec(step(), 1..120),
        delay_ms in prop_oneof![Just(0_u64), Just(3_000)],
    ) {
        let mut history = History::new(Duration::from_millis(delay_ms));
        for step in &steps {
            history.step(step);
        }
        history.comes_to_rest();
        history.nobody_waits();
    }
}
