//! A change to a consumer group, made on a copy: each record is applied to the copy and kept, to be appended as one batch.
//! What is appended is then replayed to the group itself, which makes it what the copy is.

use std::collections::BTreeSet;

use crate::assignor::Assignor;
use crate::consumer_group::{ConsumerGroup, of_group};
use crate::epoch::Epoch;
use crate::exchange::Now;
use crate::ids::{GroupId, MemberId};
use crate::partitions::Partitions;
use crate::pattern::Pattern;
use crate::reconciliation::{self, BeginAnew};
use crate::records::{ConsumerGroupEpoch, ConsumerRecord, CurrentAssignment, GroupRecord, MemberState, ResolvedRegex};
use crate::topics::Topics;

/// See the module.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) id: GroupId,
    pub(crate) group: ConsumerGroup,
    pub(crate) records: Vec<GroupRecord>,
}

impl Draft {
    /// A change to `group`.
    pub(crate) fn of(id: GroupId, group: ConsumerGroup) -> Self {
        Self {
            id,
            group,
            records: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, record: ConsumerRecord) {
        self.group.replay(&record);
        self.records.extend(of_group(&self.id, vec![record]));
    }

    pub(crate) fn remove(&mut self, member: &MemberId) {
        self.push(ConsumerRecord::Current(member.clone(), None));
        self.push(ConsumerRecord::Target(member.clone(), None));
        self.push(ConsumerRecord::Member(member.clone(), None));
    }

    /// Puts the next life of a static member in the place of its former one: it has nothing yet, but what was the other's
    /// waits for it.
    pub(crate) fn replace(&mut self, former: &MemberId, next: &MemberId) {
        let target = self.group.target(former.as_str());
        let Some(member) = self.group.member(former.as_str()).cloned() else {
            return;
        };
        self.remove(former);
        self.push(ConsumerRecord::Member(next.clone(), Some(member.metadata)));
        self.push(ConsumerRecord::Target(next.clone(), Some(target)));
        let current = CurrentAssignment {
            epoch: Epoch::JOIN,
            previous_epoch: Epoch::JOIN,
            ..member.current
        };
        self.push(ConsumerRecord::Current(next.clone(), Some(current)));
    }

    /// Looks at the topics again, and at what the regular expressions stand for: all of them if `topics_changed`, else only
    /// those that are new. Moves to the next epoch if `changed`, or if the group subscribes to something else by it.
    /// True if it did.
    pub(crate) fn refresh(&mut self, topics: &Topics, topics_changed: bool, changed: bool, now: Now) -> bool {
        let wanted: BTreeSet<String> = self
            .group
            .members()
            .filter_map(|(_, member)| member.metadata.subscribed_regex.clone())
            .collect();
        let unused: Vec<String> = self
            .group
            .regexes()
            .filter(|(regex, _)| !wanted.contains(*regex))
            .map(|(regex, _)| regex.clone())
            .collect();
        for regex in unused {
            self.push(ConsumerRecord::Regex(regex, None));
        }
        for regex in wanted {
            let known = self.group.regexes().find(|(known, _)| **known == regex);
            if known.is_some() && !topics_changed {
                continue;
            }
            let matched = matching(&regex, topics);
            if known.is_none_or(|(_, resolved)| resolved.topics != matched) {
                let resolved = ResolvedRegex {
                    topics: matched,
                    version: 0,
                    timestamp_ms: now.wall_ms,
                };
                self.push(ConsumerRecord::Regex(regex, Some(resolved)));
            }
        }
        let metadata_hash = self.group.hash_of(topics);
        if !changed && metadata_hash == self.group.metadata_hash() {
            return false;
        }
        let epoch = self.group.epoch().next();
        self.push(ConsumerRecord::Group(Some(ConsumerGroupEpoch { epoch, metadata_hash })));
        true
    }

    /// Makes the target of the group's epoch, if it is due.
    pub(crate) fn assign(&mut self, topics: &Topics) {
        let epoch = self.group.epoch();
        if epoch <= self.group.assignment_epoch() {
            return;
        }
        let preferred = self.group.preferred_assignor().and_then(Assignor::of_name);
        let assigned = preferred.unwrap_or(Assignor::ALL[0]).assign(&self.group, topics);
        for (member, target) in assigned {
            if self.group.target(member.as_str()) != target {
                self.push(ConsumerRecord::Target(member, Some(target)));
            }
        }
        self.push(ConsumerRecord::TargetEpoch(Some(epoch)));
    }

    /// Brings a member as far towards its target as what it says it has allows.
    pub(crate) fn reconcile(&mut self, member: &MemberId, owned: Option<&Partitions>) -> Result<(), BeginAnew> {
        let current = match self.group.member(member.as_str()) {
            Some(member) => member.current.clone(),
            None => return Ok(()),
        };
        let target = self.group.target(member.as_str());
        let next = reconciliation::reconcile(&self.group, &current, &target, owned)?;
        if next != current {
            self.push(ConsumerRecord::Current(member.clone(), Some(next)));
        }
        Ok(())
    }

    /// Whether a member must give something back before it can go on.
    pub(crate) fn must_revoke(&self, member: &MemberId) -> bool {
        self.group
            .member(member.as_str())
            .is_some_and(|member| member.current.state == MemberState::UnrevokedPartitions)
    }
}

/// The topics that an expression matches. One that is not valid, which no member may send, matches nothing.
fn matching(regex: &str, topics: &Topics) -> BTreeSet<String> {
    let Ok(pattern) = Pattern::new(regex) else {
        return BTreeSet::new();
    };
    topics
        .names()
        .filter(|name| pattern.matches(name))
        .map(str::to_owned)
        .collect()
}
