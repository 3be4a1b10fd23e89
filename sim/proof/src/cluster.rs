//! The whole: the log's object, controllers, processes, messages, and what was seen.

use crate::bounds::Bounds;
use crate::controller::{Controller, Phase};
use crate::image::{BROKERS, Image, Record};
use crate::message::Message;
use crate::process::Process;
use crate::promise::{Seen, Violation, look};
use crate::rule::{Rule, Rules};
use crate::set::Set;

/// The object with compare-and-swap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetadataLog {
    /// Rises with each append.
    pub version: u8,
    /// The image before the first record of the tail.
    pub base: Image,
    /// The tail, and by which append each record came.
    pub tail: Vec<(u8, Record)>,
    /// The image after the last record.
    pub image: Image,
}

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cluster {
    /// The commit point.
    pub log: MetadataLog,
    /// Two of them.
    pub controllers: Vec<Controller>,
    /// One for each broker, and perhaps a second for broker 2.
    pub processes: Vec<Process>,
    /// Under way.
    pub messages: Vec<Message>,
    /// By partition.
    pub seen: Vec<Seen>,
    /// Appends that were answered as failed.
    pub denied: Vec<u8>,
    /// What may still happen.
    pub left: Bounds,
    /// The next value of a client.
    pub next_value: u8,
    /// The next append.
    pub next_append: u8,
    /// The next incarnation.
    pub next_incarnation: u8,
    /// The next boot or directory.
    pub next_disk: u8,
    /// `min.insync.replicas` at first.
    pub first_min_isr: u8,
    /// Nothing was promised for what happened here: the last copy in ISR, ELR and last known ELR is gone.
    pub beyond_promise: bool,
    /// The first broken promise.
    pub violation: Option<Violation>,
}

impl Cluster {
    /// All is well, broker 0 leads partition 0 and controller 0 is active.
    pub fn new(bounds: Bounds, rules: Rules) -> Self {
        let or = |value: u8, default: u8| if value == 0 { default } else { value };
        let (replicas, min_isr) = (or(bounds.replicas, BROKERS), or(bounds.min_isr, 2));
        let image = Image::new(or(bounds.partitions, 1), Set::first(replicas), min_isr);
        let mut controllers = vec![Controller::idle(&image); 2];
        controllers[0].phase = Phase::Active;
        controllers[0].epoch = 1;
        let mut processes: Vec<_> = (0..BROKERS).map(|id| Process::new(id, &image)).collect();
        if bounds.duplicates > 0 {
            let mut second = Process::new(2, &image);
            (second.up, second.incarnation, second.boot, second.directory) = (false, 100, 100, 100);
            processes.push(second);
        }
        let mut cluster = Self {
            log: MetadataLog {
                version: 0,
                base: image.clone(),
                tail: Vec::new(),
                image: image.clone(),
            },
            controllers,
            processes,
            messages: Vec::new(),
            seen: vec![Seen::default(); image.partitions.len()],
            denied: Vec::new(),
            left: bounds,
            next_value: 1,
            next_append: 1,
            next_incarnation: BROKERS + 1,
            next_disk: BROKERS,
            first_min_isr: min_isr,
            beyond_promise: false,
            violation: None,
        };
        for process in 0..cluster.processes.len() {
            cluster.react(process, rules);
        }
        cluster
    }

    /// Records committed in all partitions.
    pub fn committed(&self) -> usize {
        self.seen.iter().map(|seen| seen.committed.len()).sum()
    }

    /// A record of a later leader epoch is committed.
    pub fn committed_after(&self, epoch: u8) -> bool {
        let mut committed = self.seen.iter().flat_map(|seen| &seen.committed);
        committed.any(|entry| entry.epoch > epoch)
    }

    /// Sends; the order of messages says nothing.
    pub(crate) fn send(&mut self, message: Message) {
        self.messages.push(message);
        self.messages.sort_unstable();
    }

    /// Takes a message off the network.
    pub(crate) fn take(&mut self, message: &Message) -> bool {
        let at = self.messages.iter().position(|other| other == message);
        at.map(|at| self.messages.remove(at)).is_some()
    }

    /// Notes a broken promise, if it is the first.
    pub(crate) fn note(&mut self, violation: Option<Violation>) {
        self.violation = self.violation.or(violation);
    }

    /// A process acts on its image.
    pub(crate) fn react(&mut self, at: usize, rules: Rules) {
        let broker = self.processes[at].broker;
        for partition in self.processes[at].react(rules) {
            let epoch = self.processes[at].image.partitions[partition].leader_epoch;
            let violation = self.seen[partition].leader(epoch, broker);
            self.note(violation);
        }
    }

    /// A process takes an image, and keeps it on disk first if it obeys rule 8.
    pub(crate) fn take_image(&mut self, at: usize, image: Image, rules: Rules) {
        let process = &mut self.processes[at];
        let before = std::mem::replace(&mut process.image, image);
        if !rules.obey(Rule::PersistBeforeActing) && process.disk.is_none() {
            process.disk = Some(before);
        }
        self.react(at, rules);
    }

    /// After each step: watermarks move, and everything is looked at.
    pub(crate) fn settle(&mut self, rules: Rules) {
        for at in 0..self.processes.len() {
            for partition in 0..self.seen.len() {
                if self.processes[at].leads(partition, rules) {
                    self.advance(at, partition, rules);
                }
            }
        }
        if self.violation.is_none() {
            self.violation = look(&self.log.image, &self.processes, &self.seen);
            if self.violation.is_none() {
                self.judge_losses(None);
            }
        }
    }

    fn advance(&mut self, at: usize, partition: usize, rules: Rules) {
        let next = self.processes[at].next_watermark(partition, self.first_min_isr, rules);
        let replica = &mut self.processes[at].replicas[partition];
        if let Some(next) = next {
            replica.high_watermark = next;
        }
        let watermark = replica.high_watermark;
        let Some(leading) = &replica.leading else { return };
        let (epoch, start) = (leading.epoch, leading.start);
        let below = replica.log[..usize::from(watermark)].to_vec();
        let shown = watermark >= start || !rules.obey(Rule::HiddenBeforeEpochStart);
        if next.is_some() {
            let violation = self.seen[partition].commit(&below);
            self.note(violation);
        }
        if shown {
            let violation = self.seen[partition].show(epoch, watermark);
            self.note(violation);
        }
    }

    /// The process that answers for a broker, as the image says.
    pub(crate) fn process_of(&self, broker: u8, image: &Image) -> Option<usize> {
        let incarnation = image.brokers[usize::from(broker)].incarnation;
        self.processes
            .iter()
            .position(|process| process.up && process.incarnation == incarnation)
    }

    /// Notes who became a member of the last known ELR although nothing happened to its log.
    pub(crate) fn note_behind(&mut self, before: &Image) {
        let image = &self.log.image;
        let partitions = before.partitions.iter().zip(&image.partitions);
        for (at, ((before_it, after), seen)) in partitions.zip(&mut self.seen).enumerate() {
            // Under such an ISR nobody else becomes one: its record may stand in one append with a registration.
            let alone = after.leader.is_some() && after.isr.len() >= image.effective_min_isr(at);
            let same = |id: &u8| {
                let at = usize::from(*id);
                alone || before.brokers[at].incarnation == image.brokers[at].incarnation
            };
            let new = after.last_known_elr.minus(before_it.last_known_elr);
            let new: Set = new.iter().filter(same).collect();
            seen.behind = seen.behind.union(new).intersection(after.last_known_elr);
        }
    }

    /// Notes who has lost a committed record, and whether that was every member of ISR, ELR and last known ELR: nobody
    /// promised anything for that. Who became a member of the last when the minimum was lowered has what was committed until then.
    pub(crate) fn judge_losses(&mut self, lost: Option<u8>) {
        let image = &self.log.image;
        for (at, process) in (0..).zip(&mut self.processes) {
            // Until it is in sync again, which it is only with everything.
            let id = process.broker;
            let registered = image.brokers[usize::from(id)].incarnation == process.incarnation;
            let mut theirs = image
                .partitions
                .iter()
                .filter(|partition| partition.replicas.contains(id));
            let in_sync = registered && !process.damaged && theirs.all(|partition| partition.isr.contains(id));
            process.robbed = (process.robbed && !in_sync) || (process.damaged && lost == Some(at));
        }
        self.beyond_promise |= image.partitions.iter().zip(&self.seen).any(|(partition, seen)| {
            let members = partition.members().union(partition.last_known_elr.minus(seen.behind));
            !members.is_empty()
                && members.iter().all(|id| {
                    let known = image.brokers[usize::from(id)].directory;
                    let mut own = self.processes.iter().filter(|process| process.broker == id);
                    own.all(|process| process.robbed || process.directory != known)
                })
        });
    }
}
