//! The proposals of in-sync replicas of all partitions that this broker leads, and their way to the controller.
//!
//! One request is under way at a time, with everything that is wanted by then: a broker that fails over a thousand
//! partitions sends one. What a partition wants, and that a proposal ends only by a record, is decided in
//! [`broker_replication::LeaderState`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_replication::IsrProposed;
use model::{IsrProposal, MetadataImage, PartitionIndex, TopicId};
use protocol::ErrorCode;

use crate::context::BrokerContext;
use crate::partition::PartitionHandle;

/// Proposals in one request.
const MOST: usize = 4_000;

/// Proposals of one request that are told one by one.
const TOLD: usize = 20;

/// How long a partition waits after a refusal: doubled with each refusal in a row.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How often partitions that are in doubt are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A partition whose proposal is on its way.
struct Sent {
    partition: Arc<PartitionHandle>,
    proposed: IsrProposed,
}

/// Kafka's `replica.lag.time.max.ms`: a follower that has not had everything for so long is out of sync.
pub fn max_lag_ms(image: &MetadataImage) -> i64 {
    model::config::cluster_value(image.cluster_config(), "replica.lag.time.max.ms")
        .and_then(|value| value.parse().ok())
        .unwrap_or(i64::MAX)
}

/// Sends what is wanted, until the process ends.
pub async fn keep(broker: Arc<BrokerContext>) {
    let wanted = broker.replicas.isr_wanted();
    let mut watched = BTreeSet::new();
    let mut looked_at = Instant::now();
    let mut wait = FIRST_WAIT;
    loop {
        let max_lag_ms = max_lag_ms(&broker.metadata.image());
        // Nobody tells of a follower that has fallen silent: all are looked at, twice in the time they may be.
        let every = Duration::from_millis((max_lag_ms / 2).max(1) as u64);
        let patience = if watched.is_empty() {
            every.saturating_sub(looked_at.elapsed())
        } else {
            LOOK
        };
        tokio::select! {
            () = wanted.noted() => {}
            () = tokio::time::sleep(patience) => {}
        }
        if looked_at.elapsed() >= every {
            looked_at = Instant::now();
            let table = broker.replicas.topics_owned();
            watched.extend(
                table
                    .partitions()
                    .map(|partition| (partition.topic_id, partition.index)),
            );
        }
        watched.append(&mut wanted.take());
        let sent = propose(&broker, &mut watched, max_lag_ms);
        if sent.is_empty() {
            continue;
        }
        // An outage is told once, not with each attempt.
        let first = wait == FIRST_WAIT;
        wait = if send(&broker, &sent, wait, first).await {
            FIRST_WAIT
        } else {
            (wait * 2).min(LONGEST_WAIT)
        };
    }
}

/// Takes the proposals of the partitions in `watched`, and leaves those in it that must be looked at again.
fn propose(broker: &BrokerContext, watched: &mut BTreeSet<(TopicId, PartitionIndex)>, max_lag_ms: i64) -> Vec<Sent> {
    let table = broker.replicas.topics_owned();
    let mut sent = Vec::new();
    watched.retain(|(topic, index)| {
        let Some(partition) = table.by_id(*topic).and_then(|topic| topic.partition(index.0)) else {
            return false;
        };
        if sent.len() >= MOST {
            return true;
        }
        if let Some(proposed) = partition.propose_isr(max_lag_ms) {
            let partition = Arc::clone(partition);
            sent.push(Sent { partition, proposed });
            return true;
        }
        partition.isr_is_in_doubt()
    });
    sent
}

/// Hands proposals to the controller. False if it said no, or nothing, to any of them.
async fn send(broker: &BrokerContext, sent: &[Sent], wait: Duration, first: bool) -> bool {
    let proposals = sent.iter().map(|Sent { partition, proposed }| IsrProposal {
        topic: partition.topic_id,
        partition: partition.index,
        leader_epoch: proposed.leader_epoch,
        partition_epoch: proposed.partition_epoch,
        isr: proposed.isr.clone(),
    });
    if first {
        tell(sent);
    }
    let wait_ms = wait.as_millis() as i64;
    let outcomes = match broker.controller.alter_partition(proposals.collect()).await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            if first {
                tracing::warn!(%error, partitions = sent.len(), "in-sync replicas cannot be proposed, trying again");
            }
            for Sent { partition, proposed } in sent {
                partition.isr_proposal_failed(proposed, wait_ms);
            }
            broker.metrics.replicas.failed_isr_updates.inc_by(sent.len() as u64);
            return false;
        }
    };
    let mut all = true;
    for Sent { partition, proposed } in sent {
        let outcome = outcomes
            .iter()
            .find(|outcome| (outcome.topic, outcome.partition) == (partition.topic_id, partition.index));
        let code = outcome.and_then(|outcome| ErrorCode::from_code(outcome.error_code));
        let code = code.unwrap_or(ErrorCode::UnknownServerError);
        // METADATA 12: the answer only says whether to ask again. What was taken ends by its record.
        if code != ErrorCode::None {
            if first {
                tracing::info!(topic = %partition.topic, partition = %partition.index, %code, "proposed in-sync replicas were refused");
            }
            partition.isr_proposal_failed(proposed, wait_ms);
            broker.metrics.replicas.failed_isr_updates.inc();
            all = false;
        }
    }
    all
}

fn tell(sent: &[Sent]) {
    if sent.len() > TOLD {
        tracing::info!(partitions = sent.len(), "proposing in-sync replicas");
        return;
    }
    for Sent { partition, proposed } in sent {
        let isr: Vec<i32> = proposed.isr.iter().map(|member| member.broker.0).collect();
        tracing::info!(topic = %partition.topic, partition = %partition.index, ?isr, partition_epoch = %proposed.partition_epoch, "proposing in-sync replicas");
    }
}
