//! Elections on request (Kafka's `ElectLeaders`), and unclean ones where the topic allows them.

use model::record::PartitionChanged;
use model::{BrokerId, LogEnd, MetadataImage, PartitionImage, PartitionIndex, ReportedLog, TopicId, config};
use protocol::ErrorCode;

use crate::append::Appender;
use crate::effect::Refusal;
use crate::partitions::Recoveries;

/// Which leader is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Election {
    /// The first replica.
    Preferred,
    /// Any replica that is up, where there is no leader: acknowledged records may be lost.
    Unclean,
}

/// Elects, or says in Kafka's word why not.
pub(crate) fn elect(
    recoveries: &Recoveries,
    log: &mut Appender,
    topic: TopicId,
    index: PartitionIndex,
    election: Election,
) -> Result<ErrorCode, Refusal> {
    let image = log.latest();
    let Some(partition) = image.partition(topic, index) else {
        return Ok(ErrorCode::UnknownTopicOrPartition);
    };
    let changed = PartitionChanged::of(topic, index);
    let changed = match election {
        Election::Preferred => {
            let preferred = partition.replicas.first().copied();
            if partition.leader == preferred {
                return Ok(ErrorCode::ElectionNotNeeded);
            }
            let Some(preferred) = preferred.filter(|id| partition.isr.contains(id) && image.is_eligible(*id)) else {
                return Ok(ErrorCode::PreferredLeaderNotAvailable);
            };
            PartitionChanged {
                leader: Some(preferred),
                ..changed
            }
        }
        Election::Unclean => {
            if partition.leader.is_some() {
                return Ok(ErrorCode::ElectionNotNeeded);
            }
            let Some(leader) = last_resort(recoveries, image, (topic, index), partition) else {
                return Ok(ErrorCode::EligibleLeadersNotAvailable);
            };
            unclean(changed, leader)
        }
    };
    log.propose(changed)?;
    Ok(ErrorCode::None)
}

/// Elects where the topic's `unclean.leader.election.enable` says that an available partition is worth more than its last
/// records. A few at a time: they wait already.
pub(crate) fn pump(recoveries: &Recoveries, log: &mut Appender) -> Result<(), Refusal> {
    const AT_ONCE: usize = 100;
    let image = log.latest();
    let mut leaderless = Vec::new();
    for topic in image.topics().values() {
        if !config::unclean_leader_election(image.cluster_config(), &topic.config) {
            continue;
        }
        let waiting = topic.indexed().filter(|(_, partition)| partition.leader.is_none());
        let waiting = waiting.filter_map(|(index, partition)| {
            let leader = last_resort(recoveries, image, (topic.id, index), partition)?;
            Some((topic.id, index, leader))
        });
        leaderless.extend(waiting.take(AT_ONCE));
    }
    for (topic, index, leader) in leaderless.into_iter().take(AT_ONCE) {
        log.propose(unclean(PartitionChanged::of(topic, index), leader))?;
    }
    Ok(())
}

/// A leader that may lack committed records.
pub(super) fn unclean(changed: PartitionChanged, leader: BrokerId) -> PartitionChanged {
    PartitionChanged {
        isr: Some(vec![leader]),
        leader: Some(leader),
        unclean: true,
        ..changed
    }
}

/// Who is up and has the most reason to have everything: the longest log, where all have said how long theirs are.
fn last_resort(
    recoveries: &Recoveries,
    image: &MetadataImage,
    place: (TopicId, PartitionIndex),
    partition: &PartitionImage,
) -> Option<BrokerId> {
    let up = partition.replicas.iter().copied().filter(|id| image.is_eligible(*id));
    let usable: Vec<(BrokerId, Option<ReportedLog>)> = up
        .map(|id| (id, recoveries.said(image, place, id)))
        .filter(|(_, said)| *said != Some(ReportedLog::Failed))
        .collect();
    let ends: Option<Vec<(LogEnd, BrokerId)>> = usable
        .iter()
        .map(|(id, said)| match said {
            Some(ReportedLog::Ends(end)) => Some((*end, *id)),
            _ => None,
        })
        .collect();
    // Of equals the first.
    let longest = ends.and_then(|ends| ends.into_iter().rev().max_by_key(|(end, _)| *end));
    let known = || usable.iter().find(|(id, _)| partition.last_known_elr.contains(id));
    longest
        .map(|(_, id)| id)
        .or_else(|| known().or_else(|| usable.first()).map(|(id, _)| *id))
}
