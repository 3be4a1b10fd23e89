//! What must hold at every step, seen from above by somebody who sees everything.
//!
//! - One leader in an epoch of a partition.
//! - A process's watermark, and what consumers are shown, never go back.
//! - A committed record is never replaced: below its watermark every replica holds what was committed.
//! - Who leads by the newest word of the metadata log, and every member of ISR and ELR, holds everything that was committed.
//! - A process's image never goes back, nor below what an earlier process on the same directory acted on.
//!
//! A partition whose ISR, ELR and last known ELR consist of brokers that have lost their data is excused: what was promised
//! is that a record survives while one of them keeps its disk.

use std::collections::{BTreeMap, BTreeSet};

use broker_log::PartitionLog;
use broker_log::dir::sim::SimDir;
use broker_replication::Role;
use model::{BrokerEpoch, BrokerId, DirectoryId, LogIdentity, MetadataImage, MetadataOffset};
use protocol::batch::batches;

use super::broker::Broker;
use super::message::{Fetched, ProcessId};
use crate::checker::Violation;
use crate::history::Place;

/// A batch as it lies in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    base_offset: i64,
    next_offset: i64,
    leader_epoch: i32,
    crc: u32,
}

/// A replica's log as last seen.
#[derive(Debug, Default)]
struct Mirror {
    entries: Vec<Entry>,
    /// So many of them are known to be those that were committed.
    verified: usize,
    high_watermark: i64,
    led_epoch: Option<i32>,
    /// Removals of the replica before this one.
    removals: u32,
}

#[derive(Debug, Default)]
pub(super) struct Audit {
    leaders: BTreeMap<(Place, i32), (ProcessId, DirectoryId)>,
    committed: BTreeMap<Place, Vec<Entry>>,
    mirrors: BTreeMap<(ProcessId, Place), Mirror>,
    /// The highest watermark shown in each leader epoch.
    shown: BTreeMap<Place, BTreeMap<i32, i64>>,
    images: BTreeMap<ProcessId, MetadataOffset>,
    directories: BTreeMap<DirectoryId, MetadataOffset>,
    /// Replicas that have lost data, with the registration that they had then.
    tainted: BTreeMap<(Place, BrokerId), BrokerEpoch>,
    excused: BTreeSet<Place>,
    isrs: BTreeMap<Place, Vec<BrokerId>>,
    /// The last known ELR of each partition.
    last_known: BTreeMap<Place, Vec<BrokerId>>,
    /// Those in it that became members although nothing happened to their logs, when the minimum was lowered.
    behind: BTreeMap<Place, BTreeSet<BrokerId>>,
    registered: BTreeMap<BrokerId, BrokerEpoch>,
    pub(super) isr_changes: u64,
    replicas: BTreeMap<Place, BTreeSet<BrokerId>>,
    /// How often a partition got other replicas.
    pub(super) moves: u64,
    /// The highest controller that a process on the directory has followed.
    followed: BTreeMap<DirectoryId, LogIdentity>,
    /// More is committed than at the last sweep.
    grown: bool,
}

impl Audit {
    /// Whether more was committed since the last sweep, so that members of ISR and ELR must be looked at.
    pub(super) fn has_grown(&self) -> bool {
        self.grown
    }

    /// Partitions of which nothing is asked any more.
    pub(super) fn excused(&self) -> &BTreeSet<Place> {
        &self.excused
    }

    /// How far a partition is known to be committed.
    pub(super) fn committed_end(&self, place: Place) -> i64 {
        self.committed
            .get(&place)
            .and_then(|entries| entries.last())
            .map_or(0, |last| last.next_offset)
    }

    /// A process has opened its directory.
    pub(super) fn started(&mut self, process: ProcessId, broker: &Broker) -> Result<(), Violation> {
        let acted_on = self.directories.get(&broker.start.directory_id).copied();
        if acted_on.is_some_and(|acted_on| broker.image.offset() < acted_on) {
            return violation(format!(
                "METADATA 8: broker {} restarts with an image at {}, but has acted on {acted_on:?}",
                broker.start.id,
                broker.image.offset()
            ));
        }
        self.images.insert(process, broker.image.offset());
        Ok(())
    }

    /// A process is gone.
    pub(super) fn ended(&mut self, process: ProcessId) {
        self.images.remove(&process);
        self.mirrors.retain(|(of, _), _| *of != process);
    }

    /// A process has made a step.
    pub(super) fn look(&mut self, process: ProcessId, broker: &Broker, image: &MetadataImage) -> Result<(), Violation> {
        let offset = broker.image.offset();
        let before = self.images.insert(process, offset);
        if before.is_some_and(|before| offset < before) {
            return violation(format!("METADATA 7: the image of {} went back", process.0));
        }
        if offset > MetadataOffset::NONE {
            self.directories.insert(broker.start.directory_id, offset);
        }
        let directory = broker.start.directory_id;
        if let Some(highest) = self.followed.insert(directory, broker.seen)
            && highest.lineage != model::Lineage::default()
            && !highest.accepts(&broker.seen)
        {
            return violation(format!(
                "METADATA 7: broker {} follows {:?} after {highest:?}",
                broker.start.id, broker.seen
            ));
        }
        if offset == image.offset() && broker.image.hash() != image.hash() {
            return violation(format!("METADATA 6: the image of {} is another one", process.0));
        }
        for (place, replica) in &broker.replicas {
            let leader = match replica.role() {
                Role::Leader(leader) => Some(leader.leader_epoch().0),
                Role::Follower(_) => None,
            };
            self.look_at(
                process,
                broker,
                *place,
                replica.log(),
                replica.high_watermark(),
                leader,
                image,
            )?;
        }
        self.mirrors
            .retain(|(of, place), _| *of != process || broker.replicas.contains_key(place));
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "what there is to see of a replica")]
    fn look_at(
        &mut self,
        process: ProcessId,
        broker: &Broker,
        place: Place,
        log: &PartitionLog<SimDir>,
        high_watermark: i64,
        leads: Option<i32>,
        image: &MetadataImage,
    ) -> Result<(), Violation> {
        let excused = self.excused.contains(&place);
        let mirror = self.mirrors.entry((process, place)).or_default();
        let removals = broker.removals.get(&place).copied().unwrap_or(0);
        if mirror.removals != removals {
            *mirror = Mirror {
                removals,
                ..Mirror::default()
            };
        }
        mirror.follow(log)?;
        let id = broker.start.id;
        if high_watermark < mirror.high_watermark && !excused {
            return violation(format!(
                "the watermark of {place} at broker {id} went back from {} to {high_watermark}",
                mirror.high_watermark
            ));
        }
        mirror.high_watermark = high_watermark;
        if let Some(epoch) = leads {
            let directory = broker.start.directory_id;
            let (first, its) = *self.leaders.entry((place, epoch)).or_insert((process, directory));
            // What nobody else has is led again as it was, by whoever has the directory (METADATA 18).
            let partition = broker.image.partition(place.topic, place.partition);
            let sole = its == directory && partition.is_some_and(|partition| partition.replicas == [id]);
            if first != process && !sole {
                return violation(format!(
                    "{place} has two leaders in epoch {epoch}: {first:?} and {process:?}"
                ));
            }
        }
        if excused {
            return Ok(());
        }
        let committed = self.committed.entry(place).or_default();
        let began = leads.is_some() && mirror.led_epoch != leads;
        mirror.led_epoch = leads;
        mirror.verify(committed, high_watermark, place, id)?;
        if leads.is_some() {
            let before = committed.len();
            let new = mirror.entries.iter().skip(before);
            committed.extend(new.take_while(|entry| entry.next_offset <= high_watermark).copied());
            self.grown |= committed.len() > before;
            let newest = image
                .partition(place.topic, place.partition)
                .is_some_and(|partition| partition.leader == Some(id) && Some(partition.leader_epoch.0) == leads);
            if began && newest {
                mirror.holds(committed, place, id, "the leader")?;
            }
        }
        if is_member(broker, place, image) {
            mirror.holds(committed, place, id, MEMBER)?;
        }
        Ok(())
    }

    /// Looks at everything that is promised of members of ISR and ELR.
    pub(super) fn sweep<'a>(
        &mut self,
        brokers: impl Iterator<Item = (ProcessId, &'a Broker)>,
        image: &MetadataImage,
    ) -> Result<(), Violation> {
        self.grown = false;
        for (process, broker) in brokers {
            for place in broker.replicas.keys().filter(|place| !self.excused.contains(place)) {
                let (Some(mirror), Some(committed)) =
                    (self.mirrors.get_mut(&(process, *place)), self.committed.get(place))
                else {
                    continue;
                };
                if is_member(broker, *place, image) {
                    mirror.holds(committed, *place, broker.start.id, MEMBER)?;
                }
            }
        }
        Ok(())
    }

    /// A consumer is shown a watermark.
    pub(super) fn shown(&mut self, fetched: &Fetched) -> Result<(), Violation> {
        let place = fetched.place;
        if self.excused.contains(&place) {
            return Ok(());
        }
        let epoch = fetched.leader_epoch.0;
        let shown = self.shown.entry(place).or_default();
        let before = shown.range(..=epoch).map(|(_, shown)| *shown).max().unwrap_or(0);
        if fetched.high_watermark < before {
            return violation(format!(
                "METADATA 13: in epoch {epoch} of {place} consumers are shown the watermark {} after {before}",
                fetched.high_watermark
            ));
        }
        shown.insert(epoch, fetched.high_watermark);
        Ok(())
    }

    /// Something was committed to the metadata log.
    pub(super) fn committed(&mut self, image: &MetadataImage) {
        for topic in image.topics().values() {
            for (index, partition) in topic.indexed() {
                let place = Place {
                    topic: topic.id,
                    partition: index,
                };
                let former = self.last_known.insert(place, partition.last_known_elr.clone());
                let behind = self.behind.entry(place).or_default();
                // Under such an ISR nobody else becomes one: its record may be published together with a registration.
                let min_isr = image.min_insync_replicas(topic, partition);
                let alone = partition.leader.is_some() && partition.isr.len() >= min_isr;
                behind.retain(|id| partition.last_known_elr.contains(id));
                for id in &partition.last_known_elr {
                    let new = former.as_ref().is_none_or(|former| !former.contains(id));
                    let same = self.registered.get(id).copied() == image.broker(*id).map(|broker| broker.epoch);
                    if new && (same || alone) {
                        behind.insert(*id);
                    }
                }
                let known = self.isrs.insert(place, partition.isr.clone());
                self.isr_changes += u64::from(known.is_some_and(|known| known != partition.isr));
                if !partition.is_reassigning() {
                    let replicas: BTreeSet<BrokerId> = partition.replicas.iter().copied().collect();
                    let known = self.replicas.insert(place, replicas.clone());
                    self.moves += u64::from(known.is_some_and(|known| known != replicas));
                }
                for member in &partition.isr {
                    let registered = image.broker(*member).map(|broker| broker.epoch);
                    if self
                        .tainted
                        .get(&(place, *member))
                        .is_some_and(|lost| registered != Some(*lost))
                    {
                        self.tainted.remove(&(place, *member));
                    }
                }
            }
        }
        self.registered = image.brokers().iter().map(|(id, broker)| (*id, broker.epoch)).collect();
        self.excuse(image);
    }

    /// A broker has lost what was not synced, or everything.
    pub(super) fn lost_data(&mut self, broker: BrokerId, image: &MetadataImage) {
        let epoch = image.broker(broker).map_or(BrokerEpoch(-1), |known| known.epoch);
        for (place, _) in replicas_of(image, broker) {
            self.tainted.insert((place, broker), epoch);
        }
        self.excuse(image);
    }

    /// Whether some partition would be excused if the broker lost its data now.
    pub(super) fn would_excuse(&self, broker: BrokerId, image: &MetadataImage) -> bool {
        replicas_of(image, broker).any(|(place, partition)| {
            let mut members = members(partition, self.behind.get(&place));
            members.all(|member| member == broker || self.tainted.contains_key(&(place, member)))
        })
    }

    fn excuse(&mut self, image: &MetadataImage) {
        for topic in image.topics().values() {
            for (index, partition) in topic.indexed() {
                let place = Place {
                    topic: topic.id,
                    partition: index,
                };
                let all = members(partition, self.behind.get(&place))
                    .all(|member| self.tainted.contains_key(&(place, member)));
                if all {
                    self.excused.insert(place);
                }
            }
        }
    }
}

/// Whether the process is the one that is in the ISR or the ELR, by the newest word of the metadata log.
fn is_member(broker: &Broker, place: Place, image: &MetadataImage) -> bool {
    let id = broker.start.id;
    let registered = image.broker(id).map(|known| known.epoch);
    let partition = image.partition(place.topic, place.partition);
    registered.is_some()
        && broker.standing().epoch() == registered
        && partition.is_some_and(|partition| partition.isr.contains(&id) || partition.elr.contains(&id))
}

const MEMBER: &str = "a member of ISR or ELR";

/// Everybody who is promised to have everything, or had. Those `behind` had everything when `min.insync.replicas` was lowered.
fn members(partition: &model::PartitionImage, behind: Option<&BTreeSet<BrokerId>>) -> impl Iterator<Item = BrokerId> {
    let former = partition.last_known_elr.iter();
    let former = former.filter(move |id| behind.is_none_or(|behind| !behind.contains(id)));
    partition.isr.iter().chain(&partition.elr).chain(former).copied()
}

fn replicas_of(image: &MetadataImage, broker: BrokerId) -> impl Iterator<Item = (Place, &model::PartitionImage)> {
    image.topics().values().flat_map(move |topic| {
        let mine = topic
            .indexed()
            .filter(move |(_, partition)| partition.replicas.contains(&broker));
        mine.map(|(index, partition)| {
            let place = Place {
                topic: topic.id,
                partition: index,
            };
            (place, partition)
        })
    })
}

impl Mirror {
    /// Takes over what was cut and appended. A step does one of them, never both.
    fn follow(&mut self, log: &PartitionLog<SimDir>) -> Result<(), Violation> {
        let end = log.log_end_offset();
        while self.entries.last().is_some_and(|last| last.next_offset > end) {
            self.entries.pop();
        }
        self.verified = self.verified.min(self.entries.len());
        let mut from = self
            .entries
            .last()
            .map_or(log.log_start_offset(), |last| last.next_offset);
        while from < end {
            let slice = log
                .read(from, 1 << 20, end, true)
                .and_then(|slice| slice.read())
                .map_err(|error| Violation(format!("a log cannot be read: {error}")))?;
            for found in batches(&slice) {
                let (header, _) = found.map_err(|error| Violation(format!("a log holds what is no batch: {error}")))?;
                self.entries.push(Entry {
                    base_offset: header.base_offset,
                    next_offset: header.next_offset(),
                    leader_epoch: header.partition_leader_epoch,
                    crc: header.crc,
                });
            }
            let reached = self.entries.last().map_or(from, |last| last.next_offset);
            if reached <= from {
                return violation(format!("a log that ends at {end} has nothing at {from}"));
            }
            from = reached;
        }
        Ok(())
    }

    /// Below the watermark the log holds what was committed.
    fn verify(
        &mut self,
        committed: &[Entry],
        high_watermark: i64,
        place: Place,
        id: BrokerId,
    ) -> Result<(), Violation> {
        while let (Some(ours), Some(theirs)) = (self.entries.get(self.verified), committed.get(self.verified)) {
            if ours.next_offset > high_watermark {
                break;
            }
            if ours != theirs {
                return violation(format!(
                    "below the watermark {high_watermark} of {place} broker {id} holds {ours:?}, committed was {theirs:?}"
                ));
            }
            self.verified += 1;
        }
        Ok(())
    }

    /// The log holds everything that was committed.
    fn holds(&mut self, committed: &[Entry], place: Place, id: BrokerId, who: &str) -> Result<(), Violation> {
        for (at, theirs) in committed.iter().enumerate().skip(self.verified) {
            match self.entries.get(at) {
                Some(ours) if ours == theirs => {}
                other => {
                    return violation(format!(
                        "LOSS: {who} of {place}, broker {id}, holds {other:?} where {theirs:?} was committed"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn violation<T>(what: String) -> Result<T, Violation> {
    Err(Violation(what))
}
