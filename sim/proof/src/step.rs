//! What a step does. A step that is not possible does nothing, so that a history can be replayed without some of its steps.

use crate::action::Action;
use crate::cluster::{Cluster, MetadataLog};
use crate::controller::{InFlight, Phase};
use crate::image::{BROKERS, Record};
use crate::message::{Entry, Message};
use crate::process::Replica;
use crate::promise::Violation;
use crate::rule::{Rule, Rules};
use crate::set::Set;

fn spend(left: &mut u8) {
    *left = left.saturating_sub(1);
}

impl Cluster {
    /// Does a step.
    pub fn step(&mut self, action: &Action, rules: Rules) {
        match action {
            Action::Produce { process, partition } => {
                spend(&mut self.left.records);
                let value = self.next_value;
                self.next_value += 1;
                let replica = &mut self.processes[usize::from(*process)].replicas[usize::from(*partition)];
                if let Some(epoch) = replica.leading.as_ref().map(|leading| leading.epoch) {
                    replica.log.push(Entry { epoch, value });
                }
            }
            Action::Fetch { process, partition } => self.fetch(*process, *partition, rules),
            Action::Propose {
                process,
                partition,
                isr,
            } => self.propose(*process, *partition, *isr),
            Action::Deliver(message) => {
                if self.take(message) {
                    self.deliver(message, false, rules);
                }
            }
            Action::Handle { controller, message } => {
                if self.take(message) {
                    self.handle(*controller, message, rules);
                }
            }
            Action::Lose(message) => {
                if self.take(message) {
                    spend(&mut self.left.losses);
                    if let Message::Append { controller, id, .. } = message {
                        self.unanswered(*controller, *id);
                    }
                }
            }
            Action::LoseAnswer(message) => {
                if self.take(message) {
                    spend(&mut self.left.losses);
                    self.deliver(message, true, rules);
                }
            }
            Action::Follow { process, controller } => self.follow(*process, *controller, rules),
            Action::TakeSnapshot { process, controller } => {
                let source = &self.controllers[usize::from(*controller)];
                let ahead = !rules.obey(Rule::CommitThenPublish);
                let image = if ahead { &source.latest } else { &source.committed };
                self.take_image(usize::from(*process), image.clone(), rules);
            }
            Action::Persist { process } => self.processes[usize::from(*process)].disk = None,
            Action::Fence { .. }
            | Action::Unfence { .. }
            | Action::RequestShutdown { .. }
            | Action::ElectLastKnown { .. }
            | Action::SetMinIsr { .. }
            | Action::SetReplicas { .. } => self.decide(action, rules),
            Action::Append { controller } => self.append(*controller),
            Action::GiveUp { controller } => {
                spend(&mut self.left.timeouts);
                if let Some(id) = self.controllers[usize::from(*controller)]
                    .in_flight
                    .as_ref()
                    .map(|append| append.id)
                {
                    self.unanswered(*controller, id);
                }
            }
            Action::Settle { controller } => self.settle_answer(*controller, rules),
            Action::TakeOver { controller } => self.take_over(*controller),
            Action::Crash { controller } => {
                spend(&mut self.left.takeovers);
                self.controllers[usize::from(*controller)].stop();
            }
            Action::Rebuild { controller } => self.rebuild(*controller, rules),
            _ => self.live_or_die(action, rules),
        }
        self.settle(rules);
    }

    fn live_or_die(&mut self, action: &Action, rules: Rules) {
        match action {
            Action::Kill { process } => {
                spend(&mut self.left.kills);
                self.die(*process);
            }
            Action::LosePower { process, kept } => {
                spend(&mut self.left.power_losses);
                let boot = self.next_disk;
                self.next_disk += 1;
                self.die(*process);
                let one = &mut self.processes[usize::from(*process)];
                one.boot = boot;
                for replica in &mut one.replicas {
                    if replica.log.len() > usize::from(*kept) {
                        one.damaged = true;
                        replica.log.truncate(usize::from(*kept));
                    }
                    replica.high_watermark = 0;
                }
                self.judge_losses(Some(*process));
            }
            Action::Wipe { process } => {
                spend(&mut self.left.wipes);
                let directory = self.next_disk;
                self.next_disk += 1;
                let one = &mut self.processes[usize::from(*process)];
                one.directory = directory;
                one.damaged = true;
                one.mark = None;
                one.replicas.fill(Replica::default());
                self.judge_losses(Some(*process));
            }
            Action::Start { process } => {
                let incarnation = self.next_incarnation;
                self.next_incarnation += 1;
                if *process >= BROKERS {
                    spend(&mut self.left.duplicates);
                }
                self.processes[usize::from(*process)].start(incarnation, rules);
                self.react(usize::from(*process), rules);
            }
            Action::Resume { process } => {
                let one = &mut self.processes[usize::from(*process)];
                (one.up, one.damaged, one.resumed) = (true, false, true);
                self.react(usize::from(*process), rules);
            }
            Action::Register { process } => {
                let one = &self.processes[usize::from(*process)];
                let message = Message::Register {
                    broker: one.broker,
                    incarnation: one.incarnation,
                    boot: one.boot,
                    directory: one.directory,
                    mark: one.found_mark,
                };
                self.send(message);
            }
            Action::Stop { process } => {
                let one = &mut self.processes[usize::from(*process)];
                let mark = one.image.brokers[usize::from(one.broker)].epoch;
                self.die(*process);
                self.processes[usize::from(*process)].mark = Some(mark);
            }
            _ => {}
        }
    }

    fn die(&mut self, process: u8) {
        let one = &mut self.processes[usize::from(process)];
        (one.up, one.resumed, one.found_mark, one.heir_of) = (false, false, None, None);
        if let Some(disk) = one.disk.take() {
            one.image = disk;
        }
        for replica in &mut one.replicas {
            replica.leading = None;
        }
    }

    fn fetch(&mut self, process: u8, partition: u8, rules: Rules) {
        let one = &self.processes[usize::from(process)];
        let said = &one.image.partitions[usize::from(partition)];
        let replica = &one.replicas[usize::from(partition)];
        let Some(to) = said.leader.and_then(|leader| self.process_of(leader, &one.image)) else {
            return;
        };
        let request = Message::Fetch {
            from: process,
            incarnation: one.incarnation,
            to: to as u8,
            partition,
            leader_epoch: said.leader_epoch,
            broker_epoch: one.image.brokers[usize::from(one.broker)].epoch,
            end: replica.log.len() as u8,
            last_epoch: replica.last_epoch(),
        };
        if self.left.delayed_fetch {
            self.send(request);
        } else if let Some(answer) = self.answer_fetch(&request, rules) {
            self.settle(rules);
            self.fetched(&answer, rules);
        }
    }

    fn answer_fetch(&mut self, request: &Message, rules: Rules) -> Option<Message> {
        let Message::Fetch {
            from,
            incarnation,
            to,
            partition,
            leader_epoch,
            broker_epoch,
            end,
            last_epoch,
        } = *request
        else {
            return None;
        };
        let at = usize::from(partition);
        let broker = self.processes[usize::from(from)].broker;
        let leader = &mut self.processes[usize::from(to)];
        let known = leader.image.brokers[usize::from(broker)].epoch == broker_epoch;
        if !leader.leads(at, rules)
            || leader.image.partitions[at].leader_epoch != leader_epoch
            || !known && rules.obey(Rule::FetchInBrokerEpoch)
        {
            return None;
        }
        let replica = &mut leader.replicas[at];
        let (epoch, epoch_end) = replica.end_of_epoch(last_epoch);
        let departs = end > 0 && (epoch < last_epoch || epoch_end < end);
        let entries = if departs {
            Vec::new()
        } else {
            replica.log[usize::from(end)..].to_vec()
        };
        if let Some(leading) = replica.leading.as_mut().filter(|_| !departs) {
            leading.ends[usize::from(broker)] = Some((end, broker_epoch));
        }
        Some(Message::Fetched {
            to: from,
            incarnation,
            partition,
            leader_epoch,
            end,
            entries,
            high_watermark: replica.high_watermark,
            diverging: departs.then_some((epoch, epoch_end)),
        })
    }

    fn fetched(&mut self, answer: &Message, rules: Rules) {
        let Message::Fetched {
            to,
            incarnation,
            partition,
            leader_epoch,
            end,
            entries,
            high_watermark,
            diverging,
        } = answer
        else {
            return;
        };
        let one = &mut self.processes[usize::from(*to)];
        let at = usize::from(*partition);
        let said = one.image.partitions[at];
        let still = one.follows(rules)
            && one.incarnation == *incarnation
            && said.leader != Some(one.broker)
            && said.leader_epoch == *leader_epoch
            && one.replicas[at].log.len() == usize::from(*end);
        if !still {
            return;
        }
        let replica = &mut one.replicas[at];
        if let Some((epoch, epoch_end)) = diverging {
            let (_, own) = replica.end_of_epoch(*epoch);
            replica.truncate(own.min(*epoch_end));
            return;
        }
        replica.log.extend(entries);
        let committed = (*high_watermark).min(replica.log.len() as u8);
        replica.high_watermark = replica.high_watermark.max(committed);
    }

    fn propose(&mut self, process: u8, partition: u8, isr: Set) {
        spend(&mut self.left.proposals);
        let one = &mut self.processes[usize::from(process)];
        let said = one.image.partitions[usize::from(partition)];
        let Some(leading) = one.replicas[usize::from(partition)].leading.as_mut() else {
            return;
        };
        leading.joining = leading.joining.union(isr.minus(said.isr));
        leading.in_doubt = true;
        let mut epochs = one.image.brokers.map(|broker| broker.epoch);
        for (epoch, end) in epochs.iter_mut().zip(leading.ends) {
            *epoch = end.map_or(*epoch, |(_, fetched)| fetched);
        }
        let message = Message::Alter {
            broker: one.broker,
            broker_epoch: one.image.brokers[usize::from(one.broker)].epoch,
            partition,
            leader_epoch: leading.epoch,
            partition_epoch: said.partition_epoch,
            isr,
            epochs,
        };
        self.send(message);
    }

    fn deliver(&mut self, message: &Message, answer_lost: bool, rules: Rules) {
        match message {
            Message::Fetch { .. } => {
                if let Some(answer) = self.answer_fetch(message, rules) {
                    self.send(answer);
                }
            }
            Message::Fetched { .. } => self.fetched(message, rules),
            Message::AlterRefused {
                broker,
                partition,
                leader_epoch,
                partition_epoch,
            } => {
                for one in self.processes.iter_mut().filter(|one| one.up && one.broker == *broker) {
                    if let Some(leading) = &mut one.replicas[usize::from(*partition)].leading
                        && (leading.epoch, leading.partition_epoch) == (*leader_epoch, *partition_epoch)
                    {
                        leading.joining = Set::EMPTY;
                        leading.in_doubt = false;
                    }
                }
            }
            Message::Append {
                controller,
                id,
                version,
                records,
            } => {
                let before = self.log.image.clone();
                self.compare_and_swap(*controller, *id, *version, records, answer_lost, rules);
                self.note_behind(&before);
                self.judge_losses(None);
            }
            Message::Alter { .. } | Message::Register { .. } => {}
        }
    }

    fn handle(&mut self, controller: u8, message: &Message, rules: Rules) {
        let alive = match message {
            Message::Register { broker, .. } => self
                .process_of(*broker, &self.controllers[usize::from(controller)].latest)
                .is_some(),
            _ => false,
        };
        let one = &mut self.controllers[usize::from(controller)];
        one.register(message, alive, rules);
        let refused = one.alter(message, rules);
        // With rule 12 an error says only that it may be asked again.
        if let Some(refused) = refused.filter(|_| !rules.obey(Rule::ProposalEndsByRecord)) {
            self.send(refused);
        }
    }

    fn follow(&mut self, process: u8, controller: u8, rules: Rules) {
        let one = &self.processes[usize::from(process)];
        let source = &self.controllers[usize::from(controller)];
        let Some(record) = self.next_record(one.image.offset) else {
            return;
        };
        let mut image = one.image.clone();
        let backwards = self.left.backwards && one.broker == 2;
        image.apply(record, rules, backwards);
        // METADATA 6: chain and fold must be the controller's; else a snapshot must help.
        let mut truth = self.log.base.clone();
        while truth.offset < image.offset
            && let Some(next) = self.next_record(truth.offset)
        {
            truth.apply(next, rules, false);
        }
        if truth != image && rules.obey(Rule::OneFold) {
            image = if truth.chain == image.chain {
                truth
            } else {
                source.committed.clone()
            };
        }
        self.take_image(usize::from(process), image, rules);
    }

    fn decide(&mut self, action: &Action, rules: Rules) {
        let (controller, record) = match *action {
            Action::Fence { controller, broker } => {
                spend(&mut self.left.fences);
                (controller, Record::Fenced(broker))
            }
            Action::Unfence { controller, broker } => (controller, Record::Unfenced(broker)),
            Action::RequestShutdown { controller, broker } => {
                spend(&mut self.left.shutdowns);
                (controller, Record::ShutdownRequested(broker))
            }
            Action::ElectLastKnown { controller, partition } => {
                let Some(longest) = self.longest(controller, partition) else {
                    return;
                };
                let isr = Some(Set::one(longest));
                (
                    controller,
                    Record::Changed {
                        partition,
                        isr,
                        leader: Some(longest),
                        replicas: None,
                    },
                )
            }
            Action::SetMinIsr { controller, min_isr } => {
                spend(&mut self.left.min_isr_changes);
                (controller, Record::MinIsr(min_isr))
            }
            Action::SetReplicas {
                controller,
                partition,
                replicas,
            } => {
                spend(&mut self.left.reassignments);
                (
                    controller,
                    Record::Changed {
                        partition,
                        isr: None,
                        leader: None,
                        replicas: Some(replicas),
                    },
                )
            }
            _ => return,
        };
        self.controllers[usize::from(controller)].propose(record, rules);
    }

    fn append(&mut self, controller: u8) {
        let id = self.next_append;
        self.next_append += 1;
        let one = &mut self.controllers[usize::from(controller)];
        let records = std::mem::take(&mut one.waiting);
        let asked = std::mem::take(&mut one.asked);
        one.in_flight = Some(InFlight {
            id,
            records: records.clone(),
            asked,
        });
        let version = one.version;
        self.send(Message::Append {
            controller,
            id,
            version,
            records,
        });
    }

    fn take_over(&mut self, controller: u8) {
        spend(&mut self.left.takeovers);
        let (image, version) = (self.log.image.clone(), self.log.version);
        let one = &mut self.controllers[usize::from(controller)];
        one.read(&image, version);
        one.epoch = image.controller_epoch + 1;
        one.phase = Phase::TakingOver;
        one.waiting = vec![Record::Elected(one.epoch)];
        self.append(controller);
    }

    fn compare_and_swap(
        &mut self,
        controller: u8,
        id: u8,
        version: u8,
        records: &[Record],
        answer_lost: bool,
        rules: Rules,
    ) {
        let waits = self.controllers[usize::from(controller)]
            .in_flight
            .as_ref()
            .is_some_and(|append| append.id == id);
        if version != self.log.version {
            if waits && answer_lost {
                self.unanswered(controller, id);
            } else if waits {
                self.conflict(controller, rules);
            }
            return;
        }
        self.log.version += 1;
        for record in records {
            self.log.image.apply(*record, rules, false);
            self.log.tail.push((id, *record));
        }
        if self.denied.contains(&id) {
            self.note(Some(Violation::AnswerContradicted));
        }
        if waits && answer_lost {
            self.unanswered(controller, id);
        } else if waits {
            let version = self.log.version;
            self.controllers[usize::from(controller)].appended(version, rules);
        }
    }

    /// Nobody knows whether the append is in the log.
    fn unanswered(&mut self, controller: u8, id: u8) {
        let one = &mut self.controllers[usize::from(controller)];
        if one.in_flight.as_ref().is_some_and(|append| append.id == id) {
            if one.phase == Phase::TakingOver {
                one.stop();
            } else {
                one.phase = Phase::InDoubt;
            }
        }
    }

    /// The object was another one: who is of a lower epoch stops, who is not decides again.
    fn conflict(&mut self, controller: u8, rules: Rules) {
        let (image, version) = (self.log.image.clone(), self.log.version);
        let one = &mut self.controllers[usize::from(controller)];
        if image.controller_epoch > one.epoch || one.phase == Phase::TakingOver {
            one.stop();
            return;
        }
        let done = one.in_flight.take();
        one.read(&image, version);
        one.phase = Phase::Active;
        let Some(done) = done else { return };
        if self.log.tail.iter().any(|(id, _)| *id == done.id) {
            return;
        }
        self.denied.push(done.id);
        if !rules.obey(Rule::ProposalEndsByRecord) {
            for (broker, partition, leader_epoch, partition_epoch) in done.asked {
                self.send(Message::AlterRefused {
                    broker,
                    partition,
                    leader_epoch,
                    partition_epoch,
                });
            }
        }
    }

    /// METADATA 2: a later append that succeeds says what became of the one before; a read does not.
    fn settle_answer(&mut self, controller: u8, rules: Rules) {
        let epoch = self.controllers[usize::from(controller)].epoch;
        if rules.obey(Rule::SettleByAppend) && self.log.image.controller_epoch <= epoch {
            self.log.version += 1;
            self.log.image.apply(Record::Noop, rules, false);
            self.log.tail.push((0, Record::Noop));
        }
        self.conflict(controller, rules);
    }

    /// METADATA 24.
    fn rebuild(&mut self, controller: u8, rules: Rules) {
        spend(&mut self.left.rebuilds);
        let running = self.processes.iter().filter(|process| process.up);
        let disks = running.map(|process| process.disk.as_ref().unwrap_or(&process.image));
        let Some(mut image) = disks.max_by_key(|image| (image.lineage, image.offset)).cloned() else {
            return;
        };
        image.apply(
            Record::Rebuilt {
                raised: rules.obey(Rule::RebuildRaises),
            },
            rules,
            false,
        );
        let epoch = image.controller_epoch + 1;
        image.apply(Record::Elected(epoch), rules, false);
        self.messages
            .retain(|message| !matches!(message, Message::Append { .. }));
        let version = self.log.version + 1;
        self.log = MetadataLog {
            version,
            base: image.clone(),
            tail: Vec::new(),
            image: image.clone(),
        };
        self.denied.clear();
        for one in &mut self.controllers {
            one.stop();
        }
        let one = &mut self.controllers[usize::from(controller)];
        one.read(&image, version);
        (one.phase, one.epoch) = (Phase::Active, epoch);
    }
}
