//! A broker's process and its disk.

use crate::image::Image;
use crate::message::Entry;
use crate::rule::{Rule, Rules};
use crate::set::Set;

/// A process and its directory; a broker may have two.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process {
    /// The broker it wants to be.
    pub broker: u8,
    /// It runs.
    pub up: bool,
    /// Drawn at each start.
    pub incarnation: u8,
    /// The boot of its node.
    pub boot: u8,
    /// Its directory.
    pub directory: u8,
    /// The clean-shutdown mark on disk.
    pub mark: Option<u8>,
    /// The end of its logs may be gone, and it has not started since.
    pub damaged: bool,
    /// A loss took a committed record from it, and it has not come back yet.
    pub robbed: bool,
    /// The mark that it found at its start: it names it when it registers.
    pub found_mark: Option<u8>,
    /// The registration in whose name it follows until it has its own: it has everything that that process had.
    pub heir_of: Option<u8>,
    /// Went on from disk without registration (only without rule 18).
    pub resumed: bool,
    /// The metadata in memory.
    pub image: Image,
    /// The metadata on disk, where it is another one (only without rule 8).
    pub disk: Option<Image>,
    /// A log per partition.
    pub replicas: Vec<Replica>,
}

/// A replica of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Replica {
    /// All records.
    pub log: Vec<Entry>,
    /// Everything below is committed.
    pub high_watermark: u8,
    /// Its leadership.
    pub leading: Option<Leading>,
}

/// `broker_replication::LeaderState` in a few bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Leading {
    /// In which epoch.
    pub epoch: u8,
    /// Of the record that this rests on.
    pub partition_epoch: u8,
    /// Where it begins in the log.
    pub start: u8,
    /// How far each broker is, and in which broker epoch it fetched.
    pub ends: [Option<(u8, u8)>; 3],
    /// Members of outstanding proposals that the committed ISR does not name.
    pub joining: Set,
    /// A proposal is outstanding.
    pub in_doubt: bool,
}

impl Process {
    /// A process that is registered from the start.
    pub fn new(broker: u8, image: &Image) -> Self {
        let registration = image.brokers[usize::from(broker)];
        Self {
            broker,
            up: true,
            incarnation: registration.incarnation,
            boot: registration.boot,
            directory: registration.directory,
            mark: None,
            damaged: false,
            robbed: false,
            found_mark: None,
            heir_of: None,
            resumed: false,
            image: image.clone(),
            disk: None,
            replicas: vec![Replica::default(); image.partitions.len()],
        }
    }

    /// What the image says of its broker is meant for this process.
    pub fn is_meant(&self, rules: Rules) -> bool {
        self.up && (self.is_registered() || self.resumed || !rules.obey(Rule::ReplacedStands) && self.was_registered())
    }

    /// It may fetch from leaders (METADATA 18).
    pub fn follows(&self, rules: Rules) -> bool {
        let known = self.image.brokers[usize::from(self.broker)].epoch;
        self.is_meant(rules) || self.up && self.heir_of == Some(known)
    }

    /// It starts: an heir has lost nothing since the registration on its disk.
    pub fn start(&mut self, incarnation: u8, rules: Rules) {
        let former = self.image.brokers[usize::from(self.broker)];
        let whole = self.mark == Some(former.epoch) || self.boot == former.boot || !rules.obey(Rule::HeirIsWhole);
        self.incarnation = incarnation;
        self.found_mark = self.mark;
        self.heir_of = (self.directory == former.directory && whole).then_some(former.epoch);
        if self.heir_of.is_some() {
            // It writes before it is registered.
            self.mark = None;
        }
        (self.up, self.damaged) = (true, false);
    }

    /// It is the registered one, as far as it knows.
    pub fn is_registered(&self) -> bool {
        self.image.brokers[usize::from(self.broker)].incarnation == self.incarnation
    }

    fn was_registered(&self) -> bool {
        self.replicas.iter().any(|replica| replica.leading.is_some())
    }

    /// It leads, and believes rightly or wrongly that it still does.
    pub fn leads(&self, partition: usize, rules: Rules) -> bool {
        let said = &self.image.partitions[partition];
        let leading = self.replicas[partition].leading.as_ref();
        self.is_meant(rules)
            && said.leader == Some(self.broker)
            && leading.is_some_and(|leading| leading.epoch == said.leader_epoch)
    }

    /// Acts on the image; gives the partitions whose leadership begins.
    pub fn react(&mut self, rules: Rules) -> Vec<usize> {
        let meant = self.is_meant(rules);
        let mut begun = Vec::new();
        if self.is_registered() {
            // The mark must not outlive the first write.
            self.mark = None;
            (self.found_mark, self.heir_of) = (None, None);
        }
        for at in 0..self.replicas.len() {
            let said = self.image.partitions[at];
            let brokers = self.image.brokers;
            let replica = &mut self.replicas[at];
            if !meant || said.leader != Some(self.broker) {
                replica.leading = None;
                continue;
            }
            match &mut replica.leading {
                Some(leading) if leading.epoch == said.leader_epoch => {
                    if said.partition_epoch > leading.partition_epoch {
                        leading.partition_epoch = said.partition_epoch;
                        leading.joining = Set::EMPTY;
                        leading.in_doubt = false;
                    }
                    if rules.obey(Rule::FetchInBrokerEpoch) {
                        for (end, broker) in leading.ends.iter_mut().zip(&brokers) {
                            *end = end.filter(|(_, epoch)| *epoch == broker.epoch);
                        }
                    }
                }
                _ => {
                    replica.leading = Some(Leading {
                        epoch: said.leader_epoch,
                        partition_epoch: said.partition_epoch,
                        start: replica.log.len() as u8,
                        ends: [None; 3],
                        joining: Set::EMPTY,
                        in_doubt: false,
                    });
                    begun.push(at);
                }
            }
        }
        begun
    }

    /// The watermark that a leader computes now; `None` where it stays.
    pub fn next_watermark(&self, partition: usize, first_min_isr: u8, rules: Rules) -> Option<u8> {
        let replica = &self.replicas[partition];
        let leading = replica.leading.as_ref()?;
        let isr = self.image.partitions[partition].isr;
        let min_isr = if rules.obey(Rule::AllFromImage) {
            self.image.effective_min_isr(partition)
        } else {
            first_min_isr
        };
        if rules.obey(Rule::FrozenWatermark) && isr.len() < min_isr {
            return None;
        }
        let maximal = if rules.obey(Rule::MaximalIsr) {
            isr.union(leading.joining)
        } else {
            isr
        };
        let end_of = |id: u8| match leading.ends[usize::from(id)] {
            _ if id == self.broker => replica.log.len() as u8,
            Some((end, _)) => end,
            None => 0,
        };
        let lowest = maximal.iter().map(end_of).min()?;
        let lower = !rules.obey(Rule::WatermarkNeverLower) && lowest > 0 && lowest < replica.high_watermark;
        (lowest > replica.high_watermark || lower).then_some(lowest)
    }

    /// Whether a follower may be proposed (METADATA 13).
    pub fn may_join(&self, partition: usize, broker: u8, rules: Rules) -> bool {
        let replica = &self.replicas[partition];
        let Some((leading, (end, _))) = replica
            .leading
            .as_ref()
            .and_then(|leading| Some((leading, leading.ends[usize::from(broker)]?)))
        else {
            return false;
        };
        self.image.eligible().contains(broker)
            && end >= replica.high_watermark
            && (end >= leading.start || !rules.obey(Rule::JoinAtEpochStart))
    }
}

impl Replica {
    /// The epoch of the last record.
    pub fn last_epoch(&self) -> u8 {
        self.log.last().map_or(0, |entry| entry.epoch)
    }

    /// The last epoch not above `epoch`, and where it ends.
    pub fn end_of_epoch(&self, epoch: u8) -> (u8, u8) {
        let end = self.log.iter().take_while(|entry| entry.epoch <= epoch).count();
        let found = end.checked_sub(1).map_or(0, |at| self.log[at].epoch);
        (found, end as u8)
    }

    /// Cuts the end off.
    pub fn truncate(&mut self, end: u8) {
        self.log.truncate(usize::from(end));
        self.high_watermark = self.high_watermark.min(self.log.len() as u8);
    }
}
