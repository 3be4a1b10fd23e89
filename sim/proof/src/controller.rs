//! A controller: decides on what it has read and decided, appends with compare-and-swap, tells brokers what is committed.

use crate::image::{Image, Record};
use crate::message::Message;
use crate::partition::Restart;
use crate::rule::{Rule, Rules};

/// A controller.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Controller {
    /// What it does.
    pub phase: Phase,
    /// In which epoch.
    pub epoch: u8,
    /// The version of the object that it knows.
    pub version: u8,
    /// The committed image.
    pub committed: Image,
    /// With everything that was decided.
    pub latest: Image,
    /// Decided, not sent.
    pub waiting: Vec<Record>,
    /// Proposals whose answer waits for what is not sent.
    pub asked: Vec<(u8, u8, u8, u8)>,
    /// The one append under way.
    pub in_flight: Option<InFlight>,
}

/// What a controller does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// It stands by.
    Idle,
    /// Its `Elected` is under way.
    TakingOver,
    /// It decides.
    Active,
    /// It decides nothing before a lost answer is settled.
    InDoubt,
}

/// An append under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InFlight {
    /// Which.
    pub id: u8,
    /// What.
    pub records: Vec<Record>,
    /// Proposals that it answers.
    pub asked: Vec<(u8, u8, u8, u8)>,
}

impl Controller {
    /// One that stands by.
    pub fn idle(image: &Image) -> Self {
        Self {
            phase: Phase::Idle,
            epoch: 0,
            version: 0,
            committed: image.clone(),
            latest: image.clone(),
            waiting: Vec::new(),
            asked: Vec::new(),
            in_flight: None,
        }
    }

    /// Decides.
    pub fn propose(&mut self, record: Record, rules: Rules) {
        self.latest.apply(record, rules, false);
        self.waiting.push(record);
    }

    /// Forgets all that is not committed, and goes on from what was read.
    pub fn read(&mut self, image: &Image, version: u8) {
        self.committed = image.clone();
        self.latest = image.clone();
        self.version = version;
        self.waiting.clear();
        self.asked.clear();
        self.in_flight = None;
    }

    /// Stands by.
    pub fn stop(&mut self) {
        let image = self.committed.clone();
        self.read(&image, self.version);
        self.phase = Phase::Idle;
        self.epoch = 0;
    }

    /// Its append is in the log.
    pub fn appended(&mut self, version: u8, rules: Rules) {
        let Some(done) = self.in_flight.take() else {
            return;
        };
        for record in done.records {
            self.committed.apply(record, rules, false);
        }
        self.version = version;
        self.phase = Phase::Active;
        self.latest = self.committed.clone();
        for record in &self.waiting {
            self.latest.apply(*record, rules, false);
        }
    }

    /// A process registers: `controller::brokers` decides alike.
    pub fn register(&mut self, message: &Message, alive: bool, rules: Rules) {
        let Message::Register {
            broker,
            incarnation,
            boot,
            directory,
            mark,
        } = *message
        else {
            return;
        };
        let former = self.latest.brokers[usize::from(broker)];
        if former.incarnation == incarnation {
            return;
        }
        // METADATA 21: the directory lock, or a former process that is known to be gone.
        let same_lock = former.boot == boot && former.directory == directory;
        if alive && !former.fenced && !same_lock {
            return;
        }
        let restart = if former.directory != directory && rules.obey(Rule::DirectoryCompared) {
            Restart::VolumeLost
        } else if mark == Some(former.epoch) || former.boot == boot {
            Restart::Clean
        } else {
            Restart::Unclean
        };
        self.propose(
            Record::Registered {
                broker,
                incarnation,
                boot,
                directory,
                restart,
            },
            rules,
        );
    }

    /// A leader proposes an ISR; gives the answer if it is an error. The order of the checks is Kafka's.
    pub fn alter(&mut self, message: &Message, rules: Rules) -> Option<Message> {
        let Message::Alter {
            broker,
            broker_epoch,
            partition,
            leader_epoch,
            partition_epoch,
            isr,
            epochs,
        } = *message
        else {
            return None;
        };
        let said = &self.latest.partitions[usize::from(partition)];
        let brokers = &self.latest.brokers;
        let eligible = self.latest.eligible();
        let sound = brokers[usize::from(broker)].epoch == broker_epoch
            && leader_epoch == said.leader_epoch
            && said.leader == Some(broker)
            && partition_epoch == said.partition_epoch
            && isr.minus(said.replicas).is_empty()
            && isr.iter().all(|id| {
                let same = brokers[usize::from(id)].epoch == epochs[usize::from(id)];
                eligible.contains(id) && (same || !rules.obey(Rule::ControllerComparesEpochs))
            })
            && (isr != said.isr || rules.obey(Rule::UnchangedIsCommitted));
        if sound {
            self.propose(
                Record::Changed {
                    partition,
                    isr: Some(isr),
                    leader: None,
                    replicas: None,
                },
                rules,
            );
            self.asked.push((broker, partition, leader_epoch, partition_epoch));
            return None;
        }
        Some(Message::AlterRefused {
            broker,
            partition,
            leader_epoch,
            partition_epoch,
        })
    }
}
