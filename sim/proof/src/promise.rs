//! What is promised, looked at in every state.

use crate::image::Image;
use crate::message::Entry;
use crate::process::Process;
use crate::set::Set;

/// A broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// The leader of the newest epoch lacks a committed record.
    LeaderLacksRecord,
    /// A member of ISR or ELR lacks a committed record.
    MemberLacksRecord,
    /// Another record was committed at the same offset.
    CommittedReplaced,
    /// A watermark that clients were shown went back.
    WatermarkWentBack,
    /// Two brokers led in one epoch.
    TwoLeaders,
    /// Two logs differ below both watermarks.
    LogsDiffer,
    /// One epoch wrote two records at one offset.
    EpochWroteTwice,
    /// Two brokers have different images at one offset.
    ImagesDiffer,
    /// What was answered as failed is in the log.
    AnswerContradicted,
    /// Nothing more fails, and still nothing is committed.
    Stuck,
}

/// What clients and leaders have seen of a partition: no process knows it, the promises are about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Seen {
    /// All committed records.
    pub committed: Vec<Entry>,
    /// The highest watermark shown, by epoch.
    pub shown: Vec<(u8, u8)>,
    /// Who led, by epoch.
    pub leaders: Vec<(u8, u8)>,
    /// Members of the last known ELR that had everything when the minimum was lowered, and perhaps not what came after.
    pub behind: Set,
}

impl Seen {
    /// A broker leads in an epoch.
    pub fn leader(&mut self, epoch: u8, broker: u8) -> Option<Violation> {
        if let Some((_, other)) = self.leaders.iter().find(|(known, _)| *known == epoch) {
            return (*other != broker).then_some(Violation::TwoLeaders);
        }
        self.leaders.push((epoch, broker));
        self.leaders.sort_unstable();
        None
    }

    /// A leader's watermark rose.
    pub fn commit(&mut self, below: &[Entry]) -> Option<Violation> {
        for (at, entry) in below.iter().enumerate() {
            match self.committed.get(at) {
                Some(known) if known != entry => return Some(Violation::CommittedReplaced),
                Some(_) => {}
                None => self.committed.push(*entry),
            }
        }
        None
    }

    /// A leader shows its watermark.
    pub fn show(&mut self, epoch: u8, watermark: u8) -> Option<Violation> {
        let highest = self
            .shown
            .iter()
            .filter(|(known, _)| *known <= epoch)
            .map(|(_, shown)| *shown)
            .max();
        if highest.is_some_and(|highest| watermark < highest) {
            return Some(Violation::WatermarkWentBack);
        }
        if let Some((_, shown)) = self.shown.iter_mut().find(|(known, _)| *known == epoch) {
            *shown = watermark;
        } else {
            self.shown.push((epoch, watermark));
            self.shown.sort_unstable();
        }
        None
    }
}

/// Looks at a whole state.
pub fn look(truth: &Image, processes: &[Process], seen: &[Seen]) -> Option<Violation> {
    let up = || processes.iter().filter(|process| process.up);
    for (at, seen) in seen.iter().enumerate() {
        let has_all = |log: &[Entry]| log.starts_with(&seen.committed);
        let said = &truth.partitions[at];
        for process in processes {
            let registered = truth.brokers[usize::from(process.broker)].incarnation == process.incarnation;
            let whole = has_all(&process.replicas[at].log);
            if said.members().contains(process.broker) && registered && !process.damaged && !whole {
                return Some(Violation::MemberLacksRecord);
            }
            let newest = said.leader == Some(process.broker)
                && process.replicas[at]
                    .leading
                    .as_ref()
                    .is_some_and(|leading| leading.epoch == said.leader_epoch);
            if process.up && registered && newest && !whole {
                return Some(Violation::LeaderLacksRecord);
            }
        }
        for (index, one) in processes.iter().enumerate() {
            for other in &processes[index + 1..] {
                let (a, b) = (&one.replicas[at], &other.replicas[at]);
                let below = usize::from(a.high_watermark.min(b.high_watermark))
                    .min(a.log.len())
                    .min(b.log.len());
                if one.up && other.up && a.log[..below] != b.log[..below] {
                    return Some(Violation::LogsDiffer);
                }
                if a.log
                    .iter()
                    .zip(&b.log)
                    .any(|(x, y)| x.epoch == y.epoch && x.value != y.value)
                {
                    return Some(Violation::EpochWroteTwice);
                }
            }
        }
    }
    for one in up() {
        if up().any(|other| {
            (other.image.lineage, other.image.offset) == (one.image.lineage, one.image.offset)
                && other.image.chain == one.image.chain
                && other.image != one.image
        }) {
            return Some(Violation::ImagesDiffer);
        }
    }
    None
}
