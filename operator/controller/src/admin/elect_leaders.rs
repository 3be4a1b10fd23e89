//! ElectLeaders: the preferred leader, or any at all (Kafka's `ReplicationControlManager.electLeaders`).

use protocol::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use protocol::{ErrorCode, Message, Reader};

use crate::append::Appender;
use crate::effect::Refusal;
use crate::input::AdminRequest;
use crate::partitions::Recoveries;
use crate::partitions::elect::{Election, elect};
use model::{PartitionIndex, TopicImage};

pub(super) fn handle(request: &AdminRequest, recoveries: &Recoveries, log: &mut Appender) -> Result<Vec<u8>, Refusal> {
    let version = request.api_version;
    let asked = ElectLeadersRequest::decode(&mut Reader::new(&request.body), version)?;
    let mut response = ElectLeadersResponse::default();
    match asked.election_type {
        0 => response.replica_election_results = elect_each(recoveries, log, &asked, Election::Preferred)?,
        1 => response.replica_election_results = elect_each(recoveries, log, &asked, Election::Unclean)?,
        // Before version 1 there is no place for it, and no other kind.
        _ => response.error_code = ErrorCode::InvalidRequest.code(),
    }
    let mut body = Vec::new();
    response.encode(&mut body, version)?;
    Ok(body)
}

fn elect_each(
    recoveries: &Recoveries,
    log: &mut Appender,
    asked: &ElectLeadersRequest,
    election: Election,
) -> Result<Vec<ReplicaElectionResult>, Refusal> {
    let mut results = Vec::new();
    if let Some(topics) = &asked.topic_partitions {
        for topic in topics {
            let found = log.latest().topic_by_name(&topic.topic).cloned();
            results.push(elect_in(
                recoveries,
                log,
                &topic.topic,
                found.as_deref(),
                &topic.partitions,
                election,
            )?);
        }
        return Ok(results);
    }
    // Of all there are, only those are named that did not have their leader already.
    let all: Vec<_> = log.latest().topics().values().cloned().collect();
    for topic in all {
        let partitions: Vec<_> = topic.indexed().map(|(index, _)| index.0).collect();
        let mut result = elect_in(
            recoveries,
            log,
            topic.name.as_str(),
            Some(&topic),
            &partitions,
            election,
        )?;
        let needless = ErrorCode::ElectionNotNeeded.code();
        result.partition_result.retain(|one| one.error_code != needless);
        results.push(result);
    }
    Ok(results)
}

fn elect_in(
    recoveries: &Recoveries,
    log: &mut Appender,
    name: &str,
    topic: Option<&TopicImage>,
    partitions: &[i32],
    election: Election,
) -> Result<ReplicaElectionResult, Refusal> {
    let mut results = Vec::with_capacity(partitions.len());
    for index in partitions {
        let code = match topic {
            Some(topic) => elect(recoveries, log, topic.id, PartitionIndex(*index), election)?,
            None => ErrorCode::UnknownTopicOrPartition,
        };
        results.push(PartitionResult {
            partition_id: *index,
            error_code: code.code(),
            error_message: (code != ErrorCode::None).then(|| code.text().to_owned()),
        });
    }
    Ok(ReplicaElectionResult {
        topic: name.to_owned(),
        partition_result: results,
    })
}
