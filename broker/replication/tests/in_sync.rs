//! A leader, its followers, and a controller whose records come late, whose answers get lost and whose decisions nobody
//! hears of: whatever happens, everything below the watermark is on every replica that the controller counts as in sync,
//! the watermark is what a sum by hand says, and once nothing fails any more everybody is in sync.

use broker_log::dir::sim::Seeded;
use broker_replication::{FollowerFetch, IsrProposed, LeaderState, ReplicaPeer, ReplicaView};
use model::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, ProducerId};

const LEADER: BrokerId = BrokerId(0);
const FOLLOWERS: i32 = 3;
const STEPS: usize = 300;
const MAX_LAG_MS: i64 = 100;

type Outcome = Result<(), String>;

macro_rules! ensure {
    ($holds:expr, $($message:tt)*) => {
        if !$holds {
            return Err(format!($($message)*));
        }
    };
}

/// A replica elsewhere.
struct Follower {
    id: BrokerId,
    broker_epoch: i64,
    eligible: bool,
    /// Where its log ends.
    end: i64,
}

/// What the sum by hand knows.
struct Sum {
    isr: Vec<BrokerId>,
    /// Of all proposals at the leader's partition epoch.
    proposed: Vec<BrokerId>,
    /// What the followers said last, by the registration that the leader knows.
    said: Vec<(BrokerId, i64)>,
    high_watermark: i64,
}

struct World {
    chance: Seeded,
    now_ms: i64,
    leader: LeaderState,
    end: i64,
    epoch_start: i64,
    min_isr: usize,
    followers: Vec<Follower>,
    /// As the controller has it.
    isr: Vec<BrokerId>,
    partition_epoch: i32,
    /// What the leader has heard.
    heard: ReplicaView,
    /// On their way to the controller; any may arrive at any time, or never.
    proposals: Vec<IsrProposed>,
    sum: Sum,
    committed: usize,
    frozen: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Seeded::new(seed);
        let epoch_start = chance.below(20) as i64;
        let known = chance.below(epoch_start as usize + 1) as i64;
        let followers: Vec<Follower> = (1..=FOLLOWERS)
            .map(|id| Follower {
                id: BrokerId(id),
                broker_epoch: 1,
                eligible: true,
                end: 0,
            })
            .collect();
        let mut isr = vec![LEADER];
        isr.extend(followers.iter().map(|f| f.id).filter(|_| chance.one_in(2)));
        let min_isr = 1 + chance.below(3);
        let mut world = Self {
            now_ms: 1_000,
            leader: LeaderState::new(LEADER, &nobody(), 0, 0, 0),
            end: epoch_start,
            epoch_start,
            min_isr,
            followers,
            isr: isr.clone(),
            partition_epoch: 0,
            heard: nobody(),
            proposals: Vec::new(),
            sum: Sum {
                isr,
                proposed: Vec::new(),
                said: Vec::new(),
                high_watermark: known,
            },
            committed: 0,
            frozen: 0,
            chance,
        };
        for at in 0..world.followers.len() {
            // Whoever is in sync has what was committed.
            let low = if world.isr.contains(&world.followers[at].id) {
                known
            } else {
                0
            };
            world.followers[at].end = low + world.chance.below((epoch_start - low) as usize + 1) as i64;
        }
        world.heard = world.view();
        world.leader = LeaderState::new(LEADER, &world.heard, epoch_start, known, world.now_ms);
        world.add_up();
        world
    }

    /// What the controller would say now.
    fn view(&self) -> ReplicaView {
        let own = ReplicaPeer {
            id: LEADER,
            broker_epoch: Some(BrokerEpoch(1)),
            eligible: true,
        };
        let others = self.followers.iter().map(|follower| ReplicaPeer {
            id: follower.id,
            broker_epoch: Some(BrokerEpoch(follower.broker_epoch)),
            eligible: follower.eligible,
        });
        ReplicaView {
            replicas: std::iter::once(own).chain(others).collect(),
            isr: self.isr.clone(),
            leader_epoch: LeaderEpoch(7),
            partition_epoch: PartitionEpoch(self.partition_epoch),
            min_insync_replicas: self.min_isr,
            next_producer_id: ProducerId(0),
        }
    }

    fn step(&mut self) -> Outcome {
        self.now_ms += self.chance.below(20) as i64;
        match self.chance.below(16) {
            0..=2 => {
                self.end += 1 + self.chance.below(3) as i64;
                self.leader.appended(self.end);
                self.add_up();
            }
            3..=8 => {
                let at = self.chance.below(self.followers.len());
                self.fetch(at)?;
            }
            9 | 10 => self.propose()?,
            11 => self.arrive(),
            12 => {
                // Its answer says no, or gets lost.
                if let Some(proposed) = self.proposals.last() {
                    let wait = self.chance.below(30) as i64;
                    self.leader.proposal_failed(proposed, self.now_ms, wait);
                }
                if self.chance.one_in(2) {
                    self.proposals.pop();
                }
            }
            13 => self.restart(),
            14 => self.fence_or_unfence(),
            _ => self.hear(),
        }
        self.check()
    }

    /// Fetches what is there, first where its log ends, which says how far it is.
    fn fetch(&mut self, at: usize) -> Outcome {
        let leader_knows = self.heard.replicas[at + 1].broker_epoch;
        let follower = &mut self.followers[at];
        let fetch = FollowerFetch {
            replica: follower.id,
            broker_epoch: BrokerEpoch(follower.broker_epoch),
            log_end_offset: follower.end,
            log_start_offset: 0,
        };
        let fetched = self.leader.follower_fetched(&fetch, self.now_ms);
        ensure!(
            fetched.is_ok() == (leader_knows == Some(fetch.broker_epoch)),
            "a fetch of {fetch:?} counts by {leader_knows:?}: {fetched:?}"
        );
        if fetched.is_err() {
            return Ok(());
        }
        self.sum.said.retain(|(id, _)| *id != follower.id);
        self.sum.said.push((follower.id, follower.end));
        let left = (self.end - follower.end) as usize;
        follower.end += self.chance.below(left + 1) as i64;
        self.add_up();
        Ok(())
    }

    fn propose(&mut self) -> Outcome {
        let Some(proposed) = self.leader.propose(self.now_ms, MAX_LAG_MS) else {
            return Ok(());
        };
        ensure!(
            proposed.partition_epoch == self.heard.partition_epoch && proposed.leader_epoch == LeaderEpoch(7),
            "proposed on {proposed:?}"
        );
        for member in &proposed.isr {
            let peer = self.heard.replicas.iter().find(|peer| peer.id == member.broker);
            ensure!(
                peer.is_some_and(|peer| peer.eligible && peer.broker_epoch == Some(member.epoch)),
                "{member:?} is not as the image says: {peer:?}"
            );
            if !self.sum.isr.contains(&member.broker) {
                let said = self.sum.end_of(member.broker, self.end);
                ensure!(
                    said >= self.sum.high_watermark && said >= self.epoch_start,
                    "{member:?} joins at {said}"
                );
            }
        }
        self.sum
            .proposed
            .extend(proposed.isr.iter().map(|member| member.broker));
        self.proposals.push(proposed);
        Ok(())
    }

    /// A proposal reaches the controller, which checks it as Kafka's does.
    fn arrive(&mut self) {
        if self.proposals.is_empty() {
            return;
        }
        let at = self.chance.below(self.proposals.len());
        let proposed = self.proposals.remove(at);
        if proposed.partition_epoch != PartitionEpoch(self.partition_epoch) {
            return;
        }
        let fits = proposed.isr.iter().all(|member| {
            member.broker == LEADER
                || self.followers.iter().any(|follower| {
                    follower.id == member.broker
                        && follower.eligible
                        && BrokerEpoch(follower.broker_epoch) == member.epoch
                })
        });
        if fits {
            self.isr = proposed.isr.iter().map(|member| member.broker).collect();
            self.partition_epoch += 1;
            self.committed += 1;
        }
    }

    /// A follower's process dies and comes back, perhaps without the end of its log.
    fn restart(&mut self) {
        let at = self.chance.below(self.followers.len());
        let follower = &mut self.followers[at];
        follower.broker_epoch += 1;
        follower.eligible = true;
        follower.end = self.chance.below(follower.end as usize + 1) as i64;
        let id = follower.id;
        self.leave(id);
    }

    fn fence_or_unfence(&mut self) {
        let at = self.chance.below(self.followers.len());
        let follower = &mut self.followers[at];
        follower.eligible = !follower.eligible;
        let (id, fenced) = (follower.id, !follower.eligible);
        if fenced {
            self.leave(id);
        }
    }

    fn leave(&mut self, id: BrokerId) {
        if self.isr.contains(&id) {
            self.isr.retain(|member| *member != id);
            self.partition_epoch += 1;
        }
    }

    /// The leader hears of everything that the controller did.
    fn hear(&mut self) {
        let view = self.view();
        for (before, now) in self.heard.replicas.iter().zip(&view.replicas) {
            if before.broker_epoch != now.broker_epoch {
                self.sum.said.retain(|(id, _)| *id != now.id);
            }
        }
        if view.partition_epoch > self.heard.partition_epoch {
            self.sum.proposed.clear();
            self.sum.isr.clone_from(&view.isr);
        }
        self.leader.update(&view, self.now_ms);
        self.heard = view;
        self.add_up();
    }

    fn add_up(&mut self) {
        if self.sum.isr.len() < self.min_isr {
            self.frozen += 1;
            return;
        }
        let members = self.sum.isr.iter().chain(&self.sum.proposed);
        let lowest = members.map(|member| self.sum.end_of(*member, self.end)).min();
        self.sum.high_watermark = self.sum.high_watermark.max(lowest.unwrap_or(0));
    }

    fn check(&self) -> Outcome {
        let high_watermark = self.leader.high_watermark();
        ensure!(
            high_watermark == self.sum.high_watermark,
            "the watermark is {high_watermark}, the sum says {}",
            self.sum.high_watermark
        );
        ensure!(
            self.leader.visible_high_watermark().is_some() == (high_watermark >= self.epoch_start),
            "{high_watermark} is shown, the epoch began at {}",
            self.epoch_start
        );
        for follower in self.followers.iter().filter(|follower| self.isr.contains(&follower.id)) {
            ensure!(
                follower.end >= high_watermark,
                "{} is in sync and ends at {}, the watermark is {high_watermark}",
                follower.id,
                follower.end
            );
        }
        Ok(())
    }

    /// Nothing fails any more.
    fn settle(&mut self) -> Outcome {
        for follower in &mut self.followers {
            follower.eligible = true;
        }
        for _ in 0..200 {
            self.now_ms += 50;
            self.hear();
            for at in 0..self.followers.len() {
                self.followers[at].end = self.end;
                self.fetch(at)?;
            }
            self.propose()?;
            while !self.proposals.is_empty() {
                self.arrive();
            }
            self.check()?;
            if self.isr.len() == 1 + self.followers.len() && self.leader.high_watermark() == self.end {
                self.hear();
                ensure!(!self.leader.isr_is_in_doubt(), "a proposal is still in doubt");
                return Ok(());
            }
        }
        Err(format!(
            "in sync are {:?}, the watermark is {} of {}",
            self.isr,
            self.leader.high_watermark(),
            self.end
        ))
    }
}

impl Sum {
    fn end_of(&self, member: BrokerId, leader_end: i64) -> i64 {
        if member == LEADER {
            return leader_end;
        }
        let said = self.said.iter().find(|(id, _)| *id == member);
        said.map_or(0, |(_, end)| *end)
    }
}

fn nobody() -> ReplicaView {
    ReplicaView {
        replicas: Vec::new(),
        isr: Vec::new(),
        leader_epoch: LeaderEpoch(7),
        partition_epoch: PartitionEpoch(0),
        min_insync_replicas: 1,
        next_producer_id: ProducerId(0),
    }
}

fn history(seed: u64) -> Result<(usize, usize), String> {
    let mut world = World::new(seed);
    for step in 0..STEPS {
        world.step().map_err(|what| format!("step {step}: {what}"))?;
    }
    world.settle()?;
    Ok((world.committed, world.frozen))
}

#[test]
fn what_is_below_the_watermark_is_on_every_replica_that_counts() {
    let seeds = option_env!("BARNABAS_SEEDS")
        .and_then(|text| text.parse().ok())
        .unwrap_or(2_000);
    let (mut committed, mut frozen) = (0, 0);
    for seed in 0..seeds {
        match history(seed) {
            Ok(counts) => {
                committed += counts.0;
                frozen += counts.1;
            }
            Err(what) => panic!("seed {seed}: {what}"),
        }
    }
    println!("{seeds} histories, {committed} in-sync sets recorded, {frozen} times the watermark was frozen");
    assert!(committed > seeds as usize && frozen > 0, "nothing was tried");
}
