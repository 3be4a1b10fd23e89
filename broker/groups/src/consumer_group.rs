//! A consumer group of KIP-848: a fold of its records, and nothing else. Source: Kafka's `ConsumerGroup`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use model::TopicId;

use crate::epoch::Epoch;
use crate::ids::{GroupId, InstanceId, MemberId};
use crate::partitions::Partitions;
use crate::records::{
    ConsumerGroupEpoch, ConsumerMemberMetadata, ConsumerRecord, CurrentAssignment, GroupRecord, MemberState,
    ResolvedRegex,
};
use crate::topics::Topics;

/// A group. Cloning shares its parts: a change is drafted on a copy.
#[derive(Debug, Clone, Default)]
pub struct ConsumerGroup {
    epoch: ConsumerGroupEpoch,
    assignment_epoch: Epoch,
    members: BTreeMap<MemberId, Arc<ConsumerMember>>,
    targets: BTreeMap<MemberId, Arc<Partitions>>,
    regexes: BTreeMap<String, Arc<ResolvedRegex>>,
    /// Derived: who has a partition or must still give it back.
    owners: HashMap<TopicId, Arc<BTreeMap<i32, MemberId>>>,
    /// Derived: who bears an instance id.
    instances: BTreeMap<InstanceId, MemberId>,
}

/// Who has what is derived from the members; only what the records say counts.
impl PartialEq for ConsumerGroup {
    fn eq(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && self.assignment_epoch == other.assignment_epoch
            && self.members == other.members
            && self.targets == other.targets
            && self.regexes == other.regexes
    }
}

impl Eq for ConsumerGroup {}

/// A member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerMember {
    /// What it says of itself.
    pub metadata: ConsumerMemberMetadata,
    /// What it has.
    pub current: CurrentAssignment,
}

/// Where a group stands. Source: Kafka's `ConsumerGroupState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerGroupState {
    /// No members; perhaps offsets.
    Empty,
    /// A new target assignment is due.
    Assigning,
    /// Members are on their way to their target.
    Reconciling,
    /// Every member has its target.
    Stable,
}

impl ConsumerGroupState {
    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

impl ConsumerGroup {
    /// Applies a record. A tombstone of the group's epoch ends the group, which is for the caller to see.
    pub fn replay(&mut self, record: &ConsumerRecord) {
        match record {
            ConsumerRecord::Group(Some(epoch)) => self.epoch = *epoch,
            ConsumerRecord::Group(None) => *self = Self::default(),
            ConsumerRecord::Member(id, Some(metadata)) => {
                self.forget_instance(id);
                if let Some(instance) = &metadata.instance_id {
                    self.instances.insert(instance.clone(), id.clone());
                }
                let member = self.members.entry(id.clone()).or_default();
                Arc::make_mut(member).metadata = metadata.clone();
            }
            ConsumerRecord::Member(id, None) => {
                self.forget_instance(id);
                self.release_all(id);
                self.members.remove(id);
            }
            ConsumerRecord::TargetEpoch(epoch) => self.assignment_epoch = epoch.unwrap_or_default(),
            ConsumerRecord::Target(id, Some(target)) => {
                self.targets.insert(id.clone(), Arc::new(target.clone()));
            }
            ConsumerRecord::Target(id, None) => {
                self.targets.remove(id);
            }
            ConsumerRecord::Current(id, current) => {
                self.release_all(id);
                let current = current.clone().unwrap_or_default();
                for (topic, index) in current.assigned.iter().chain(current.revoking.iter()) {
                    let owners = self.owners.entry(topic).or_default();
                    Arc::make_mut(owners).insert(index, id.clone());
                }
                // A tombstone of a member that is already gone does not bring it back.
                if current != CurrentAssignment::default() || self.members.contains_key(id) {
                    Arc::make_mut(self.members.entry(id.clone()).or_default()).current = current;
                }
            }
            ConsumerRecord::Regex(regex, Some(resolved)) => {
                self.regexes.insert(regex.clone(), Arc::new(resolved.clone()));
            }
            ConsumerRecord::Regex(regex, None) => {
                self.regexes.remove(regex);
            }
        }
    }

    /// Epoch of the group.
    pub fn epoch(&self) -> Epoch {
        self.epoch.epoch
    }

    /// Hash of the topics that the epoch was made of.
    pub(crate) fn metadata_hash(&self) -> i64 {
        self.epoch.metadata_hash
    }

    /// Epoch of the target assignment.
    pub fn assignment_epoch(&self) -> Epoch {
        self.assignment_epoch
    }

    /// All members.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&MemberId, &ConsumerMember)> {
        self.members.iter().map(|(id, member)| (id, &**member))
    }

    /// A member.
    pub fn member(&self, id: &str) -> Option<&ConsumerMember> {
        self.members.get(id).map(|member| &**member)
    }

    /// Who bears an instance id.
    pub fn static_member(&self, instance: &str) -> Option<&MemberId> {
        self.instances.get(instance)
    }

    /// What a member shall have.
    pub fn target(&self, id: &str) -> Partitions {
        self.targets
            .get(id)
            .map(|target| (**target).clone())
            .unwrap_or_default()
    }

    /// What every member shall have; who is not in it shall have nothing.
    pub fn targets(&self) -> impl Iterator<Item = (&MemberId, &Partitions)> {
        self.targets.iter().map(|(id, target)| (id, &**target))
    }

    pub(crate) fn regexes(&self) -> impl Iterator<Item = (&String, &ResolvedRegex)> {
        self.regexes.iter().map(|(regex, resolved)| (regex, &**resolved))
    }

    /// True if nobody has the partition, nor must give it back.
    pub(crate) fn is_free(&self, topic: TopicId, index: i32) -> bool {
        self.owners
            .get(&topic)
            .is_none_or(|owners| !owners.contains_key(&index))
    }

    /// Where the group stands.
    pub fn state(&self) -> ConsumerGroupState {
        if self.members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.epoch() > self.assignment_epoch {
            ConsumerGroupState::Assigning
        } else if self
            .members
            .values()
            .all(|member| member.current.is_reconciled_to(self.assignment_epoch))
        {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    /// The topics that a member subscribes to, by name or by what its regular expression stood for.
    pub(crate) fn subscribed_by<'a>(&'a self, member: &'a ConsumerMember) -> impl Iterator<Item = &'a str> {
        let regex = member.metadata.subscribed_regex.as_ref();
        let matched = regex.and_then(|regex| self.regexes.get(regex));
        member
            .metadata
            .subscribed_topics
            .iter()
            .chain(matched.into_iter().flat_map(|resolved| &resolved.topics))
            .map(String::as_str)
    }

    /// The topics that anybody subscribes to.
    pub(crate) fn subscribed_topics(&self) -> BTreeSet<&str> {
        self.members
            .values()
            .flat_map(|member| self.subscribed_by(member))
            .collect()
    }

    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.members
            .values()
            .any(|member| self.subscribed_by(member).any(|name| name == topic))
    }

    /// The hash of what is subscribed to: names, ids and sizes of the topics that exist. Only ever compared with itself.
    pub(crate) fn hash_of(&self, topics: &Topics) -> i64 {
        let mut hash = Fnv::default();
        let mut any = false;
        for name in self.subscribed_topics() {
            if let Some((id, partitions)) = topics.get(name) {
                any = true;
                hash.add(name.as_bytes());
                hash.add(id.as_uuid().as_bytes());
                hash.add(&partitions.to_be_bytes());
            }
        }
        if any { hash.0 as i64 } else { 0 }
    }

    /// The assignor that most members prefer; the first by name of those that equally many do.
    pub(crate) fn preferred_assignor(&self) -> Option<&str> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(name) = &member.metadata.server_assignor {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = *votes.values().max()?;
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(name, _)| name)
    }

    /// True if a classic member with these protocols can be here beside the other classic ones.
    pub(crate) fn supports(&self, protocols: &BTreeSet<&str>, but: &str) -> bool {
        let mut classic = self
            .members
            .iter()
            .filter(|(id, _)| id.as_str() != but)
            .filter_map(|(_, member)| member.metadata.classic.as_ref())
            .peekable();
        if classic.peek().is_none() {
            return !protocols.is_empty();
        }
        let shared = classic.fold(protocols.clone(), |mut shared, member| {
            shared.retain(|name| member.protocols.iter().any(|offered| offered.name == *name));
            shared
        });
        !shared.is_empty()
    }

    /// True if members stay when this one is gone, and all of them speak the classic protocol.
    pub(crate) fn would_be_classic_without(&self, gone: &[&MemberId]) -> bool {
        let mut rest = self.members.iter().filter(|(id, _)| !gone.contains(id)).peekable();
        rest.peek().is_some() && rest.all(|(_, member)| member.is_classic())
    }

    /// The records that this group is made of: replayed in this order they are it.
    pub fn records(&self, group: &GroupId) -> Vec<GroupRecord> {
        let mut records = vec![ConsumerRecord::Group(Some(self.epoch))];
        for (id, member) in &self.members {
            records.push(ConsumerRecord::Member(id.clone(), Some(member.metadata.clone())));
        }
        for (regex, resolved) in &self.regexes {
            records.push(ConsumerRecord::Regex(regex.clone(), Some((**resolved).clone())));
        }
        for (id, target) in &self.targets {
            records.push(ConsumerRecord::Target(id.clone(), Some((**target).clone())));
        }
        records.push(ConsumerRecord::TargetEpoch(Some(self.assignment_epoch)));
        for (id, member) in &self.members {
            records.push(ConsumerRecord::Current(id.clone(), Some(member.current.clone())));
        }
        of_group(group, records)
    }

    /// What takes all of it back. The group's own tombstone is the last.
    pub(crate) fn tombstones(&self, group: &GroupId) -> Vec<GroupRecord> {
        let mut records: Vec<ConsumerRecord> = Vec::new();
        records.extend(self.members.keys().map(|id| ConsumerRecord::Current(id.clone(), None)));
        records.extend(self.targets.keys().map(|id| ConsumerRecord::Target(id.clone(), None)));
        records.push(ConsumerRecord::TargetEpoch(None));
        records.extend(self.members.keys().map(|id| ConsumerRecord::Member(id.clone(), None)));
        records.extend(
            self.regexes
                .keys()
                .map(|regex| ConsumerRecord::Regex(regex.clone(), None)),
        );
        records.push(ConsumerRecord::Group(None));
        of_group(group, records)
    }

    fn forget_instance(&mut self, id: &MemberId) {
        let instance = self
            .members
            .get(id)
            .and_then(|member| member.metadata.instance_id.as_ref());
        if let Some(instance) = instance
            && self.instances.get(instance) == Some(id)
        {
            self.instances.remove(instance);
        }
    }

    fn release_all(&mut self, id: &MemberId) {
        let Some(member) = self.members.get(id) else { return };
        for (topic, index) in member.current.assigned.iter().chain(member.current.revoking.iter()) {
            if let Some(owners) = self.owners.get_mut(&topic)
                && owners.get(&index) == Some(id)
            {
                Arc::make_mut(owners).remove(&index);
            }
        }
    }
}

impl ConsumerMember {
    /// True if it joins by JoinGroup.
    pub fn is_classic(&self) -> bool {
        self.metadata.classic.is_some()
    }
}

impl CurrentAssignment {
    /// True if nothing is left to be done until the next target.
    pub(crate) fn is_reconciled_to(&self, target: Epoch) -> bool {
        self.state == MemberState::Stable && self.epoch == target
    }
}

pub(crate) fn of_group(group: &GroupId, records: Vec<ConsumerRecord>) -> Vec<GroupRecord> {
    records
        .into_iter()
        .map(|record| GroupRecord::Consumer {
            group: group.clone(),
            record,
        })
        .collect()
}

/// FNV-1a in 64 bits, with a separator between the parts.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, part: &[u8]) {
        for byte in part.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
