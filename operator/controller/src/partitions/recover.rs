//! Partitions of which nobody is left who is known to have everything, and logs that have failed.
//!
//! METADATA 17: when every member of the last known ELR is back and has said where its log ends, waiting could find no
//! better log: the longest leads. Whoever else is up is asked too, since it may have what a last member lost.

use std::collections::{BTreeMap, BTreeSet};

use model::record::{PartitionChanged, ReplicasFailed};
use model::{
    BrokerEpoch, BrokerId, LeaderEpoch, LogEnd, MetadataImage, MetadataOffset, PartitionImage, PartitionIndex,
    ReplicaReport, ReportedLog, TopicId,
};

use crate::append::Appender;
use crate::effect::{Refusal, Reply};
use crate::input::SessionId;
use crate::partitions::elect;
use crate::session::check_session;

/// Elections in one append: their records must fit in the log.
const AT_ONCE: usize = 100;

/// What brokers have said of their logs. Soft: they say it again for as long as their image asks for it.
#[derive(Debug, Default)]
pub(crate) struct Recoveries {
    heard: BTreeMap<(TopicId, PartitionIndex), BTreeMap<BrokerId, Heard>>,
    /// The image that was last judged by, unless something was heard since.
    judged: Option<MetadataOffset>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    session: BrokerEpoch,
    leader_epoch: LeaderEpoch,
    log: ReportedLog,
}

impl Heard {
    /// It, unless it was said by an earlier process, or of a log that is another one since. A failed log stays one, whoever leads.
    fn by(&self, image: &MetadataImage, partition: &PartitionImage, broker: BrokerId) -> Option<ReportedLog> {
        let current = self.log == ReportedLog::Failed || self.leader_epoch == partition.leader_epoch;
        let registered = image.broker(broker).map(|broker| broker.epoch);
        (current && registered == Some(self.session)).then_some(self.log)
    }
}

impl Recoveries {
    /// Notes what a broker says of its logs; one that has failed leads no longer. The reply is for after the commit.
    pub(crate) fn report(
        &mut self,
        session: SessionId,
        reports: &[ReplicaReport],
        log: &mut Appender,
    ) -> Result<Reply, Refusal> {
        check_session(log.latest(), session)?;
        let mut failed: BTreeMap<TopicId, BTreeSet<PartitionIndex>> = BTreeMap::new();
        for report in reports {
            let partition = log.latest().partition(report.topic, report.partition);
            // One that was made by another image is made again by the next.
            let Some(partition) = partition.filter(|partition| partition.leader_epoch == report.leader_epoch) else {
                continue;
            };
            if report.log == ReportedLog::Failed && partition.relies_on(session.broker) {
                failed.entry(report.topic).or_default().insert(report.partition);
            }
        }
        if !failed.is_empty() {
            // METADATA 5: this passes a full log, as fencing does.
            log.propose(ReplicasFailed {
                id: session.broker,
                epoch: session.epoch,
                partitions: failed,
            })?;
        }
        for report in reports {
            let place = (report.topic, report.partition);
            let partition = log.latest().partition(place.0, place.1);
            let awaited = partition.filter(|one| one.awaits_log_ends() && one.replicas.contains(&session.broker));
            // A failed log stays one, whoever leads.
            let Some(partition) =
                awaited.filter(|one| report.log == ReportedLog::Failed || one.leader_epoch == report.leader_epoch)
            else {
                continue;
            };
            let heard = Heard {
                session: session.epoch,
                leader_epoch: partition.leader_epoch,
                log: report.log,
            };
            self.heard.entry(place).or_default().insert(session.broker, heard);
            self.judged = None;
        }
        Ok(Reply::Done)
    }

    /// What the registered process of a broker has said of its log of a partition that waits for a leader.
    pub(super) fn said(
        &self,
        image: &MetadataImage,
        place: (TopicId, PartitionIndex),
        broker: BrokerId,
    ) -> Option<ReportedLog> {
        let partition = image.partition(place.0, place.1)?;
        let heard = self.heard.get(&place)?.get(&broker)?;
        heard.by(image, partition, broker)
    }

    /// Elects where everybody who has to has spoken.
    pub(crate) fn pump(&mut self, log: &mut Appender) -> Result<(), Refusal> {
        let offset = log.latest().offset();
        if self.heard.is_empty() || self.judged == Some(offset) {
            return Ok(());
        }
        let image = log.latest();
        let waiting = |(topic, index): &(TopicId, PartitionIndex)| {
            let partition = image.partition(*topic, *index);
            partition.filter(|partition| partition.awaits_log_ends())
        };
        self.heard.retain(|place, _| waiting(place).is_some());
        let decided = self.heard.iter().filter_map(|(place, heard)| {
            let leader = longest(image, waiting(place)?, heard)?;
            Some((*place, leader))
        });
        let decided: Vec<_> = decided.take(AT_ONCE).collect();
        self.judged = Some(offset);
        for ((topic, index), leader) in decided {
            log.propose(elect::unclean(PartitionChanged::of(topic, index), leader))?;
        }
        Ok(())
    }
}

/// Who has the longest log, if nobody could come who has a longer one and is still to be waited for.
fn longest(image: &MetadataImage, partition: &PartitionImage, heard: &BTreeMap<BrokerId, Heard>) -> Option<BrokerId> {
    let said = |id: BrokerId| heard.get(&id).and_then(|heard| heard.by(image, partition, id));
    let mut best: Option<(LogEnd, bool, BrokerId)> = None;
    for id in &partition.replicas {
        let last_member = partition.last_known_elr.contains(id);
        let up = image.is_eligible(*id);
        match said(*id) {
            Some(ReportedLog::Ends(end)) if last_member || up => {
                // Of equals the first, but rather one that is up.
                let one = (end, up, *id);
                best = Some(best.map_or(one, |other| if (end, up) > (other.0, other.1) { one } else { other }));
            }
            // A member that is missing, or whose log is, may have more than all others: only a person knows that it never
            // comes back.
            _ if last_member => return None,
            None if up => return None,
            _ => {}
        }
    }
    best.filter(|(_, up, _)| *up).map(|(_, _, id)| id)
}
