//! What can happen next.

use crate::cluster::Cluster;
use crate::controller::Phase;
use crate::image::BROKERS;
use crate::message::Message;
use crate::rule::{Rule, Rules};
use crate::set::Set;

/// A step. `process` and `controller` are places in the cluster's lists.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// A client's record is appended by a leader.
    Produce { process: u8, partition: u8 },
    /// A follower asks its leader.
    Fetch { process: u8, partition: u8 },
    /// A leader proposes an ISR.
    Propose { process: u8, partition: u8, isr: Set },
    /// A message to a process, or to the object, arrives.
    Deliver(Message),
    /// A message to a controller arrives.
    Handle { controller: u8, message: Message },
    /// A message is lost.
    Lose(Message),
    /// An append arrives, its answer is lost.
    LoseAnswer(Message),
    /// A process takes the next record of a controller's stream.
    Follow { process: u8, controller: u8 },
    /// A process takes a controller's image at once.
    TakeSnapshot { process: u8, controller: u8 },
    /// The image reaches the disk (only without rule 8).
    Persist { process: u8 },
    /// `kill -9`.
    Kill { process: u8 },
    /// Only so many records of each log are left.
    LosePower { process: u8, kept: u8 },
    /// The volume is another one.
    Wipe { process: u8 },
    /// A new incarnation.
    Start { process: u8 },
    /// The same incarnation goes on from disk (only without rule 18).
    Resume { process: u8 },
    /// It asks to be the broker.
    Register { process: u8 },
    /// A controlled shutdown is over.
    Stop { process: u8 },
    /// A controller believes a broker dead.
    Fence { controller: u8, broker: u8 },
    /// A controller hears it.
    Unfence { controller: u8, broker: u8 },
    /// A broker asks to leave.
    RequestShutdown { controller: u8, broker: u8 },
    /// Rule 17.
    ElectLastKnown { controller: u8, partition: u8 },
    /// `min.insync.replicas` changes.
    SetMinIsr { controller: u8, min_isr: u8 },
    /// A replica comes, or the reassignment is completed.
    SetReplicas {
        controller: u8,
        partition: u8,
        replicas: Set,
    },
    /// Everything decided goes out.
    Append { controller: u8 },
    /// An answer is waited for no longer.
    GiveUp { controller: u8 },
    /// A lost answer is settled.
    Settle { controller: u8 },
    /// A controller stands for election.
    TakeOver { controller: u8 },
    /// A controller forgets everything.
    Crash { controller: u8 },
    /// The object is lost, and made anew from the brokers' disks.
    Rebuild { controller: u8 },
}

impl Cluster {
    /// All steps. `healing`: nothing more fails, and nobody gives up.
    pub fn actions(&self, rules: Rules, healing: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        for process in 0..self.processes.len() as u8 {
            if self.processes[usize::from(process)].up {
                self.of_running(process, rules, healing, &mut actions);
            } else {
                self.of_stopped(process, rules, healing, &mut actions);
            }
        }
        for controller in 0..self.controllers.len() as u8 {
            self.of_controller(controller, rules, healing, &mut actions);
        }
        for (at, message) in self.messages.iter().enumerate() {
            if at > 0 && self.messages[at - 1] == *message {
                continue;
            }
            if matches!(message, Message::Alter { .. } | Message::Register { .. }) {
                for (controller, one) in (0..).zip(&self.controllers) {
                    if one.phase == Phase::Active {
                        actions.push(Action::Handle {
                            controller,
                            message: message.clone(),
                        });
                    }
                }
            } else {
                actions.push(Action::Deliver(message.clone()));
            }
            if !healing && self.left.losses > 0 {
                actions.push(Action::Lose(message.clone()));
                if matches!(message, Message::Append { .. }) {
                    actions.push(Action::LoseAnswer(message.clone()));
                }
            }
        }
        actions
    }

    fn of_running(&self, process: u8, rules: Rules, healing: bool, actions: &mut Vec<Action>) {
        let one = &self.processes[usize::from(process)];
        let id = usize::from(one.broker);
        for partition in 0..self.seen.len() as u8 {
            let at = usize::from(partition);
            let said = &one.image.partitions[at];
            if one.leads(at, rules) {
                if self.left.records > 0 || healing {
                    actions.push(Action::Produce { process, partition });
                }
                self.proposals(process, partition, rules, healing, actions);
            } else if one.follows(rules)
                && said.replicas.contains(one.broker)
                && said.leader.is_some_and(|leader| {
                    leader != one.broker
                        && self
                            .process_of(leader, &one.image)
                            .is_some_and(|to| self.processes[to].leads(at, rules))
                })
                && !self.messages.iter().any(|message| match message {
                    Message::Fetch {
                        from: p,
                        incarnation,
                        partition: q,
                        ..
                    }
                    | Message::Fetched {
                        to: p,
                        incarnation,
                        partition: q,
                        ..
                    } => (*p, *incarnation, *q) == (process, one.incarnation, partition),
                    _ => false,
                })
            {
                actions.push(Action::Fetch { process, partition });
            }
        }
        if one.disk.is_some() {
            actions.push(Action::Persist { process });
        }
        if !one.is_registered() && !one.resumed && !self.registers(one.incarnation) {
            actions.push(Action::Register { process });
        }
        if one.is_registered() && one.image.brokers[id].leaving {
            actions.push(Action::Stop { process });
        }
        if !healing {
            if self.left.kills > 0 {
                actions.push(Action::Kill { process });
            }
            self.power(process, actions);
        }
        for (controller, source) in (0..).zip(&self.controllers) {
            if !matches!(source.phase, Phase::Active | Phase::InDoubt) {
                continue;
            }
            let back = !rules.obey(Rule::NeverBack);
            let heard = source.epoch >= one.image.controller_epoch || back;
            let same = source.committed.lineage == one.image.lineage;
            let newer = source.committed.offset > one.image.offset;
            let astray = same && source.committed.offset == one.image.offset && source.committed != one.image;
            if heard && same && newer && self.next_record(one.image.offset).is_some() {
                actions.push(Action::Follow { process, controller });
            }
            let jump = source.committed.offset > one.image.offset + 1 || !same || astray;
            if heard && (jump && (newer || !same || astray) || back && source.committed != one.image) {
                actions.push(Action::TakeSnapshot { process, controller });
            }
            if !rules.obey(Rule::CommitThenPublish) && heard && same && source.latest.offset > one.image.offset {
                actions.push(Action::TakeSnapshot { process, controller });
            }
        }
    }

    fn proposals(&self, process: u8, partition: u8, rules: Rules, healing: bool, actions: &mut Vec<Action>) {
        let one = &self.processes[usize::from(process)];
        let said = &one.image.partitions[usize::from(partition)];
        let in_doubt = one.replicas[usize::from(partition)]
            .leading
            .as_ref()
            .is_some_and(|leading| leading.in_doubt);
        let asked = self.messages.iter().any(
            |m| matches!(m, Message::Alter { broker, partition: p, .. } if (*broker, *p) == (one.broker, partition)),
        );
        if !(healing && !asked || self.left.proposals > 0) {
            return;
        }
        for other in (0..BROKERS).filter(|other| *other != one.broker) {
            let isr = if !said.isr.contains(other) && one.may_join(usize::from(partition), other, rules) {
                said.isr.with(other)
            } else if said.isr.contains(other) && !healing {
                said.isr.without(other)
            } else {
                continue;
            };
            actions.push(Action::Propose {
                process,
                partition,
                isr,
            });
        }
        if in_doubt {
            actions.push(Action::Propose {
                process,
                partition,
                isr: said.isr,
            });
        }
    }

    fn of_stopped(&self, process: u8, rules: Rules, healing: bool, actions: &mut Vec<Action>) {
        let one = &self.processes[usize::from(process)];
        let second = usize::from(process) >= usize::from(BROKERS);
        if !second || (self.left.duplicates > 0 && !healing) {
            actions.push(Action::Start { process });
        }
        if !rules.obey(Rule::NoResume) && !healing && !second && one.is_registered() {
            actions.push(Action::Resume { process });
        }
        if !healing && !second {
            self.power(process, actions);
            if self.left.wipes > 0 {
                actions.push(Action::Wipe { process });
            }
        }
    }

    fn power(&self, process: u8, actions: &mut Vec<Action>) {
        if self.left.power_losses == 0 {
            return;
        }
        let one = &self.processes[usize::from(process)];
        let longest = one.replicas.iter().map(|replica| replica.log.len()).max().unwrap_or(0) as u8;
        // What a clean shutdown has flushed stays: nothing is written before the registration that ends the mark.
        let least = if one.mark.is_some() { longest } else { 0 };
        actions.extend((least..=longest).map(|kept| Action::LosePower { process, kept }));
    }

    fn of_controller(&self, controller: u8, rules: Rules, healing: bool, actions: &mut Vec<Action>) {
        let one = &self.controllers[usize::from(controller)];
        if one.phase == Phase::Active {
            for broker in 0..BROKERS {
                self.of_broker(controller, broker, healing, actions);
            }
            for partition in 0..self.seen.len() as u8 {
                if rules.obey(Rule::LastKnownElected) && self.longest(controller, partition).is_some() {
                    actions.push(Action::ElectLastKnown { controller, partition });
                }
                if let Some(replicas) = self.reassignment(controller, partition, healing) {
                    actions.push(Action::SetReplicas {
                        controller,
                        partition,
                        replicas,
                    });
                }
            }
            if self.left.min_isr_changes > 0 && !healing {
                let min_isr = 3 - one.latest.min_isr.min(2);
                actions.push(Action::SetMinIsr { controller, min_isr });
            }
            if one.in_flight.is_none() && !one.waiting.is_empty() {
                actions.push(Action::Append { controller });
            }
        }
        let waits = one.phase != Phase::Idle && one.phase != Phase::InDoubt && one.in_flight.is_some();
        if waits && self.left.timeouts > 0 && !healing {
            actions.push(Action::GiveUp { controller });
        }
        if one.phase == Phase::InDoubt {
            actions.push(Action::Settle { controller });
        }
        let somebody = self
            .controllers
            .iter()
            .any(|other| other.phase != Phase::Idle && other.epoch >= self.log.image.controller_epoch);
        if one.phase == Phase::Idle {
            if self.left.takeovers > 0 && !healing || healing && !somebody {
                actions.push(Action::TakeOver { controller });
            }
        } else if self.left.takeovers > 0 && !healing {
            actions.push(Action::Crash { controller });
        }
        let up = |id: u8| self.processes.iter().any(|process| process.broker == id && process.up);
        let disks = (0..BROKERS).filter(|id| up(*id)).count();
        let enough = if rules.obey(Rule::RebuildFromAll) {
            usize::from(BROKERS)
        } else {
            1
        };
        if self.left.rebuilds > 0 && !healing && disks >= enough {
            actions.push(Action::Rebuild { controller });
        }
    }

    fn of_broker(&self, controller: u8, broker: u8, healing: bool, actions: &mut Vec<Action>) {
        let latest = &self.controllers[usize::from(controller)].latest;
        let said = latest.brokers[usize::from(broker)];
        let alive = self.process_of(broker, latest);
        if said.fenced {
            // It has heard of its registration, and is no longer on its way out.
            if !said.leaving
                && alive.is_some_and(|at| self.processes[at].image.brokers[usize::from(broker)].epoch == said.epoch)
            {
                actions.push(Action::Unfence { controller, broker });
            }
        } else if (self.left.fences > 0 && !healing) || alive.is_none() {
            actions.push(Action::Fence { controller, broker });
        }
        if self.left.shutdowns > 0 && !healing && !said.fenced && !said.leaving && alive.is_some() {
            actions.push(Action::RequestShutdown { controller, broker });
        }
    }

    /// The first record after an offset, if the tail still has it.
    pub(crate) fn next_record(&self, offset: u8) -> Option<crate::image::Record> {
        let at = offset.checked_sub(self.log.base.offset)?;
        self.log.tail.get(usize::from(at)).map(|(_, record)| *record)
    }

    /// Rule 17: who has the longest log when the last known ELR is back as a whole; whoever else is up is asked too.
    pub(crate) fn longest(&self, controller: u8, partition: u8) -> Option<u8> {
        let latest = &self.controllers[usize::from(controller)].latest;
        let said = &latest.partitions[usize::from(partition)];
        if said.leader.is_some() || !said.members().is_empty() || said.last_known_elr.is_empty() {
            return None;
        }
        let mut best = None;
        let up = latest.eligible().intersection(said.replicas);
        if !said.last_known_elr.minus(up).is_empty() {
            return None;
        }
        for id in up.iter() {
            let replica = &self.processes[self.process_of(id, latest)?].replicas[usize::from(partition)];
            best = best.max(Some((replica.last_epoch(), replica.log.len(), id)));
        }
        best.map(|(_, _, id)| id)
    }

    /// One replica more, and one less when it has caught up.
    fn reassignment(&self, controller: u8, partition: u8, healing: bool) -> Option<Set> {
        let said = &self.controllers[usize::from(controller)].latest.partitions[usize::from(partition)];
        let missing = (0..BROKERS).find(|id| !said.replicas.contains(*id));
        match missing {
            Some(id) if self.left.reassignments > 0 && !healing => Some(said.replicas.with(id)),
            None if self.left.replicas == 2 && said.isr == said.replicas => Some(said.replicas.without(said.preferred)),
            _ => None,
        }
    }

    fn registers(&self, incarnation: u8) -> bool {
        let decided =
            |image: &crate::image::Image| image.brokers.iter().any(|broker| broker.incarnation == incarnation);
        self.messages
            .iter()
            .any(|m| matches!(m, Message::Register { incarnation: i, .. } if *i == incarnation))
            || self
                .controllers
                .iter()
                .any(|one| one.phase != Phase::Idle && decided(&one.latest))
    }
}
