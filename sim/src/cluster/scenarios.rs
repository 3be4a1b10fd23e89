//! Courses of things that chance alone brings about too rarely. Each is aimed at a precaution of replication, and goes on as
//! far as the cluster plays along: who leads, and when, is for the controller to say.

use std::time::Duration;

use controller::{AdminRequest, Input};
use model::BrokerId;
use protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use protocol::messages::elect_leaders::ElectLeadersRequest;
use protocol::{ApiKey, Message as _};

use super::message::AdminWish;
use super::network::{Host, Late};
use super::pods::Death;
use super::stage::{Cast, Course, Stage};
use super::step::Step;
use super::{Cluster, Process};
use crate::history::Place;

const ELECT_LEADERS_VERSION: i16 = 2;
const REASSIGNMENTS_VERSION: i16 = 1;

impl Cluster {
    pub(super) fn play(&mut self, stage: Stage) {
        match stage {
            Stage::Fall(left) => self.let_a_leader_fall(left),
            Stage::ComeBackEmpty(pod) => self.come_back_empty(pod),
            Stage::Depart(course, cast) => self.depart(course, cast),
            Stage::Elect(course, cast) => self.elect(course, cast),
            Stage::Separate(course, cast) => self.separate(course, cast),
            Stage::FallAgain(cast) => {
                if let Some(pod) = self.pod_with(cast.preferred) {
                    let back = self.a_while(1500, 4000);
                    self.kill_at_once(pod, back);
                }
            }
        }
    }

    fn after(&mut self, from: u64, to: u64, stage: Stage) {
        let delay = self.a_while(from, to);
        self.later(delay, Step::Scenario(stage));
    }

    /// The pod that runs a broker's registered process.
    fn pod_with(&self, broker: BrokerId) -> Option<usize> {
        let registered = self.kubernetes.checker.image().broker(broker)?.epoch;
        self.pods.running().into_iter().find(|pod| {
            let slot = self.pods.all[*pod].process.and_then(|process| self.slots.get(&process));
            matches!(slot.map(|slot| &slot.what), Some(Process::Broker(running))
                if running.start.id == broker && running.session() == Some(registered))
        })
    }

    /// Messages from one broker to another come late for a while.
    fn make_late(&mut self, from: usize, to: usize, lasts: u64, at_least: u64, at_most: u64) {
        let late = Late {
            until: self.now + Duration::from_millis(lasts),
            percent: 100,
            at_least: Duration::from_millis(at_least),
            at_most: Duration::from_millis(at_most),
        };
        self.network.delay(Host::pod(from), Host::pod(to), late);
    }

    fn cut_one_way(&mut self, from: usize, to: usize, lasts: u64) {
        self.cut_for(vec![(Host::pod(from), Host::pod(to))], lasts, lasts + 1);
    }

    /// A process is killed, the kubelet says so at once, and another one starts soon.
    fn kill_at_once(&mut self, pod: usize, back: Duration) {
        let Some(process) = self.pods.all[pod].process else {
            return;
        };
        if let Some(Process::Broker(broker)) = self.slots.get(&process).map(|slot| &slot.what) {
            let told = Step::Terminated(broker.start.id, broker.start.incarnation);
            self.later(Duration::from_millis(20), told);
        }
        self.kill(pod, Death::Killed);
        self.later(back, Step::Start(pod));
    }

    pub(super) fn lull(&mut self, lasts: Duration) {
        let until = self.now + lasts;
        for slot in self.slots.values_mut() {
            if let Process::Producer(producer) = &mut slot.what {
                producer.quiet_until = until;
            }
        }
    }

    pub(super) fn late_messages(&mut self) -> bool {
        let (Some(from), Some(to)) = (self.a_pod(), self.a_pod()) else {
            return false;
        };
        let lasts = 200 + self.random.draw() % 1500;
        self.make_late(from, to, lasts, 300, 4000);
        from != to
    }

    pub(super) fn elect_preferred(&mut self) -> bool {
        let everything = ElectLeadersRequest {
            election_type: 0,
            topic_partitions: None,
            timeout_ms: 1000,
        };
        let mut body = Vec::new();
        let encoded = everything.encode(&mut body, ELECT_LEADERS_VERSION).is_ok();
        encoded && self.ask_admin(ApiKey::ElectLeaders, ELECT_LEADERS_VERSION, body)
    }

    /// Some partition gets other replicas, or a move under way is taken back.
    pub(super) fn reassign(&mut self) -> bool {
        let image = self.kubernetes.checker.image();
        let mut brokers: Vec<i32> = image.brokers().keys().map(|id| id.0).collect();
        let places: Vec<_> = image
            .topics()
            .values()
            .flat_map(|topic| topic.indexed().map(|(index, _)| (topic.name.clone(), index)))
            .collect();
        if places.is_empty() || brokers.len() < 2 {
            return false;
        }
        let (topic, index) = places[self.random.below(places.len())].clone();
        for at in (1..brokers.len()).rev() {
            brokers.swap(at, self.random.below(at + 1));
        }
        let count = 1 + self.random.below(brokers.len());
        brokers.truncate(count);
        let replicas = (!self.random.chance(15)).then_some(brokers);
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: 1000,
            topics: vec![ReassignableTopic {
                name: topic.to_string(),
                partitions: vec![ReassignablePartition {
                    partition_index: index.0,
                    replicas,
                }],
            }],
            ..AlterPartitionReassignmentsRequest::default()
        };
        let mut body = Vec::new();
        let encoded = request.encode(&mut body, REASSIGNMENTS_VERSION).is_ok();
        encoded && self.ask_admin(ApiKey::AlterPartitionReassignments, REASSIGNMENTS_VERSION, body)
    }

    fn ask_admin(&mut self, api: ApiKey, api_version: i16, body: Vec<u8>) -> bool {
        let admin = AdminRequest {
            principal: "User:admin".to_owned(),
            listener: "PLAIN".to_owned(),
            api_key: api as i16,
            api_version,
            body,
        };
        let wish = move |request| Input::Admin {
            request,
            admin: admin.clone(),
        };
        let until = self.now + Duration::from_secs(2);
        match self.administrator() {
            Some(administrator) => {
                administrator.wish(AdminWish(std::sync::Arc::new(wish)), until);
                true
            }
            None => false,
        }
    }

    pub(super) fn leaders_fall(&mut self) -> bool {
        let pods = self.pods.running();
        let lasts = Duration::from_millis(2000 + self.random.draw() % 3000);
        for from in &pods {
            for to in &pods {
                let late = Late {
                    until: self.now + lasts,
                    percent: 40,
                    at_least: Duration::from_millis(20),
                    at_most: Duration::from_millis(900),
                };
                self.network.delay(Host::pod(*from), Host::pod(*to), late);
            }
        }
        let times = 2 + self.random.below(5) as u32;
        self.after(200, 900, Stage::Fall(times));
        true
    }

    fn let_a_leader_fall(&mut self, left: u32) {
        let led: Vec<BrokerId> = {
            let topics = self.kubernetes.checker.image().topics().values();
            let partitions = topics.flat_map(|topic| &topic.partitions);
            partitions.filter_map(|partition| partition.leader).collect()
        };
        if !led.is_empty() {
            let leader = led[self.random.below(led.len())];
            if self.random.chance(30) {
                self.elect_preferred();
            } else if let Some(pod) = self.pod_with(leader) {
                let back = self.a_while(50, 600);
                self.kill_at_once(pod, back);
            }
        }
        if left > 1 {
            self.after(150, 1200, Stage::Fall(left - 1));
        }
    }

    pub(super) fn old_fetches(&mut self) -> bool {
        let Some(pod) = self.a_pod() else { return false };
        if !self.may_lose_data(pod) {
            return false;
        }
        for other in self.pods.running() {
            self.make_late(pod, other, 400, 800, 5000);
        }
        self.lull(Duration::from_secs(8));
        self.after(150, 400, Stage::ComeBackEmpty(pod));
        true
    }

    fn come_back_empty(&mut self, pod: usize) {
        if self.pods.all[pod].process.is_none() || !self.may_lose_data(pod) {
            return;
        }
        let process = self.pods.all[pod].process;
        if let Some(Process::Broker(broker)) = process
            .and_then(|process| self.slots.get(&process))
            .map(|slot| &slot.what)
        {
            let told = Step::Terminated(broker.start.id, broker.start.incarnation);
            self.later(Duration::from_millis(20), told);
        }
        self.kill(pod, Death::PowerLost);
        if self.plan.fsync || self.random.chance(50) {
            self.lose_volume_of(pod);
        }
        let back = self.a_while(100, 600);
        self.later(back, Step::Start(pod));
        for other in self.pods.running() {
            let lasts = 3000 + self.random.draw() % 3000;
            self.cut_one_way(pod, other, lasts);
        }
    }

    /// The preferred leader of some partition falls, so that its deputy leads.
    pub(super) fn change_leaders(&mut self, course: Course) -> bool {
        let Some(cast) = self.cast() else { return false };
        let Some(pod) = self.pod_with(cast.preferred) else {
            return false;
        };
        let back = self.a_while(50, 200);
        self.kill_at_once(pod, back);
        self.after(1500, 3000, Stage::Depart(course, cast));
        true
    }

    /// A partition with three replicas in sync, led by the first of them.
    fn cast(&mut self) -> Option<Cast> {
        let mut casts = Vec::new();
        for topic in self.kubernetes.checker.image().topics().values() {
            for (index, partition) in topic.indexed() {
                if let [preferred, deputy, third] = partition.replicas[..]
                    && partition.leader == Some(preferred)
                    && partition.isr.len() == 3
                {
                    casts.push(Cast {
                        place: Place {
                            topic: topic.id,
                            partition: index,
                        },
                        preferred,
                        deputy,
                        third,
                    });
                }
            }
        }
        (!casts.is_empty()).then(|| casts[self.random.below(casts.len())])
    }

    /// The pods of a cast, as long as the deputy leads and all are in sync.
    fn on_stage(&self, cast: Cast) -> Option<[usize; 3]> {
        let place = cast.place;
        let partition = self
            .kubernetes
            .checker
            .image()
            .partition(place.topic, place.partition)?;
        if partition.leader != Some(cast.deputy) || partition.isr.len() < 3 {
            return None;
        }
        Some([
            self.pod_with(cast.preferred)?,
            self.pod_with(cast.deputy)?,
            self.pod_with(cast.third)?,
        ])
    }

    fn depart(&mut self, course: Course, cast: Cast) {
        let Some([preferred, deputy, _]) = self.on_stage(cast) else {
            return;
        };
        self.cut_one_way(deputy, preferred, 3000);
        self.after(200, 800, Stage::Elect(course, cast));
    }

    fn elect(&mut self, course: Course, cast: Cast) {
        let Some([preferred, deputy, third]) = self.on_stage(cast) else {
            return;
        };
        match course {
            Course::OldLeaderReturns => {
                self.make_late(third, deputy, 250, 900, 2500);
                self.after(200, 250, Stage::Separate(course, cast));
            }
            Course::OldAnswer => {
                self.make_late(preferred, third, 400, 300, 900);
                self.cut_one_way(preferred, deputy, 3000);
                self.elect_preferred();
                self.after(80, 300, Stage::Separate(course, cast));
            }
        }
    }

    fn separate(&mut self, course: Course, cast: Cast) {
        let (Some(deputy), Some(third)) = (self.pod_with(cast.deputy), self.pod_with(cast.third)) else {
            return;
        };
        match course {
            Course::OldLeaderReturns => {
                self.cut_one_way(third, deputy, 4000);
                self.elect_preferred();
                self.after(200, 700, Stage::FallAgain(cast));
            }
            Course::OldAnswer => {
                self.cut_one_way(deputy, third, 2000);
                self.play(Stage::FallAgain(cast));
            }
        }
    }
}
