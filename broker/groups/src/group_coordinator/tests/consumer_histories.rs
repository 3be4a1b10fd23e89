//! Random histories of a consumer group against simple rules: members that come, go, die and lose answers, topics that grow,
//! a high watermark that lags, and a coordinator that crashes.

use std::time::Duration;

use proptest::prelude::*;
use protocol::ErrorCode;

use super::consumer::Consumer;
use super::world::*;
use crate::{DurableState, GroupSettings, Partitions, Request, Ticket};

const CLIENTS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Beat(usize),
    /// The answer never arrives: it asks again and says everything.
    LoseAnswer(usize),
    Leave(usize),
    /// A static member goes, and will come back.
    LeaveForNow(usize),
    /// The process dies and comes back with nothing but its instance id.
    Die(usize),
    /// It subscribes to other topics.
    Subscribe(usize, u8),
    Grow(u8),
    Pass(u64),
    CommitNext,
    /// The first append that anybody waits for is not committed in time.
    LateNext,
    /// The next append does not reach the log.
    RefuseNext,
    Crash(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        12 => client.clone().prop_map(Step::Beat),
        2 => client.clone().prop_map(Step::LoseAnswer),
        1 => client.clone().prop_map(Step::Leave),
        1 => client.clone().prop_map(Step::LeaveForNow),
        1 => client.clone().prop_map(Step::Die),
        1 => (client, any::<u8>()).prop_map(|(client, topics)| Step::Subscribe(client, topics)),
        1 => any::<u8>().prop_map(Step::Grow),
        2 => prop_oneof![1..2_000_u64, 5_000..50_000_u64].prop_map(Step::Pass),
        12 => Just(Step::CommitNext),
        1 => Just(Step::LateNext),
        1 => Just(Step::RefuseNext),
        1 => any::<u8>().prop_map(Step::Crash),
    ]
}

#[derive(Debug)]
struct History {
    world: World,
    clients: Vec<Consumer>,
    asked: Vec<Option<Ticket>>,
    lives: usize,
    sizes: [i32; 2],
}

impl History {
    fn new() -> Self {
        let mut world = World::new(GroupSettings::standalone());
        world.commits = Commits::WhenTold;
        let mut history = Self {
            world,
            clients: Vec::new(),
            asked: vec![None; CLIENTS],
            lives: 0,
            sizes: [3, 2],
        };
        for index in 0..CLIENTS {
            let client = history.born(index);
            history.clients.push(client);
        }
        history.tell_topics();
        history
    }

    fn born(&mut self, index: usize) -> Consumer {
        self.lives += 1;
        let id = format!("c{index}-{}", self.lives);
        match index {
            0 => Consumer::with_instance(&id, "static", &["mail"]),
            1 => Consumer {
                regex: Some("m.*|p.*".to_owned()),
                ..Consumer::new(&id, &[])
            },
            _ => Consumer::new(&id, &["mail", "post"]),
        }
    }

    fn tell_topics(&mut self) {
        let [mail, post] = self.sizes;
        self.world.set_topics(&[("mail", mail), ("post", post)]);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Beat(index) => self.beat(index),
            Step::LoseAnswer(index) => {
                self.asked[index] = None;
                self.clients[index].says_all = true;
            }
            Step::Leave(index) => self.leave(index, -1),
            Step::LeaveForNow(index) if self.clients[index].instance.is_some() => self.leave(index, -2),
            Step::Die(index) => {
                self.asked[index] = None;
                self.clients[index] = self.born(index);
            }
            Step::Subscribe(index, topics) => {
                let names = ["mail", "post"];
                let chosen = names.iter().enumerate().filter(|(bit, _)| topics >> bit & 1 == 1);
                self.clients[index].topics = chosen.map(|(_, name)| (*name).to_owned()).collect();
                self.clients[index].says_all = true;
            }
            Step::Grow(which) => {
                let size = &mut self.sizes[usize::from(which) % 2];
                *size = (*size + 1).min(9);
                self.tell_topics();
            }
            Step::Pass(ms) => self.world.pass(Duration::from_millis(ms)),
            Step::CommitNext => {
                self.world.commit_next();
            }
            Step::LateNext => {
                self.world.late_next();
            }
            Step::RefuseNext => self.world.refuses = Some(ErrorCode::NotEnoughReplicas),
            Step::LeaveForNow(_) => {}
            Step::Crash(at) => {
                let open = self.world.log.len() - self.world.high_watermark;
                // A batch is in the log as a whole or not at all.
                let ends: Vec<usize> = std::iter::once(self.world.high_watermark)
                    .chain(self.world.uncommitted.iter().map(|(_, end)| *end))
                    .collect();
                let kept = ends[usize::from(at) % ends.len()];
                assert!(kept <= self.world.high_watermark + open);
                self.world.restart_with(kept);
            }
        }
        self.deliver();
        self.check();
    }

    fn beat(&mut self, index: usize) {
        if self.asked[index].is_none() {
            let request = self.clients[index].request();
            self.asked[index] = Some(self.world.ask(1, Request::ConsumerHeartbeat(request)));
        }
    }

    fn leave(&mut self, index: usize, epoch: i32) {
        let mut request = self.clients[index].request();
        request.member_epoch = epoch;
        self.world.ask(1, Request::ConsumerHeartbeat(request));
        self.asked[index] = None;
        self.clients[index] = self.born(index);
    }

    fn deliver(&mut self) {
        for index in 0..CLIENTS {
            let answer = self.asked[index].and_then(|ticket| self.world.consumer_answer(ticket));
            if let Some(answer) = answer {
                self.asked[index] = None;
                let error = self.clients[index].hear(&answer);
                if error != ErrorCode::None {
                    self.clients[index].says_all = true;
                }
                if error == ErrorCode::FencedInstanceId {
                    self.clients[index] = self.born(index);
                }
            }
        }
    }

    fn check(&self) {
        let durable = self.world.coordinator.durable();
        let mut replayed = DurableState::default();
        self.world.log.iter().for_each(|record| replayed.replay(record));
        assert_eq!(replayed, *durable, "what is replayed is what lives");
        // A snapshot is the state, alone and behind the log that made it.
        let mut alone = DurableState::default();
        for record in durable.records() {
            alone.replay(&record);
            replayed.replay(&record);
            assert_eq!(replayed, *durable, "a snapshot that is cut short changes nothing");
        }
        assert_eq!(alone, *durable);
        let Some(group) = durable.consumer_group(GROUP) else {
            return;
        };
        let mut held = Partitions::default();
        for (id, member) in group.members() {
            for (topic, index) in member.current.assigned.iter().chain(member.current.revoking.iter()) {
                assert!(
                    !held.contains(topic, index),
                    "{index} of {topic} has two owners, one is {id}"
                );
                held.insert(topic, index);
            }
            let mut all = member.current.assigned.clone();
            all.extend(member.current.revoking.iter());
            let now = group.assignment_epoch();
            assert_eq!(member.current.since, member.current.since.kept(&all, now), "of {id}");
            let since = all
                .iter()
                .filter_map(|(topic, index)| member.current.since.get(topic, index));
            assert!(since.max() <= Some(now), "{id} has something from the future");
        }
        for client in &self.clients {
            // One that is a member reads nothing that is not held for it; one that was fenced learns so.
            if let Some(member) = group.member(&client.id)
                && client.epoch > 0
            {
                for (topic, index) in client.owned.iter() {
                    assert!(
                        member.current.assigned.contains(topic, index)
                            || member.current.revoking.contains(topic, index),
                        "{client:?} reads {index} of {topic}, which is not held for it: {member:?}"
                    );
                }
            }
        }
    }

    /// When nothing changes any more, everybody soon has its share, and nothing is nobody's.
    fn comes_to_rest(&mut self) {
        self.world.commits = Commits::AtOnce;
        self.world.refuses = None;
        while self.world.commit_next() {}
        self.deliver();
        for index in 0..CLIENTS {
            self.clients[index].says_all = true;
            if index != 1 {
                self.clients[index].topics = vec!["mail".to_owned(), "post".to_owned()];
            }
        }
        // Those who left or died without a word are gone after a session; the living are heard from.
        for _ in 0..30 {
            self.world.pass(Duration::from_secs(4));
            for index in 0..CLIENTS {
                self.beat(index);
                self.deliver();
                self.check();
            }
        }
        let durable = self.world.coordinator.durable();
        let group = durable.consumer_group(GROUP).expect("has members");
        assert_eq!(group.members().len(), CLIENTS);
        let described = self.world.coordinator.describe_consumer_group(GROUP);
        assert_eq!(described.group_state, "Stable");
        let mut all = Partitions::default();
        for client in &self.clients {
            all.extend(client.owned.iter());
            let member = group.member(&client.id).expect("is a member");
            assert_eq!(client.owned, member.current.assigned);
        }
        assert_eq!(all.len() as i32, self.sizes.iter().sum::<i32>());
        let shares: Vec<usize> = self.clients.iter().map(|client| client.owned.len()).collect();
        assert!(
            shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1,
            "{shares:?}"
        );
    }
}

proptest! {
    #[test]
    fn a_partition_is_one_members_at_a_time_and_the_group_comes_to_rest(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut history = History::new();
        for step in &steps {
            history.step(step);
        }
        history.comes_to_rest();
    }
}
