//! What a follower does: fetches from its leaders, one request to each at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_replication::{FetchPosition, Followed, LeaderAnswer, Replica};
use model::BrokerId;
use protocol::ErrorCode;

use super::{Broker, Purpose, millis};
use crate::cluster::message::{ReplicaFetch, ReplicaFetchPlace, ReplicaFetched, Request, Response};
use crate::cluster::network::Host;
use crate::cluster::outbox::Outbox;
use crate::history::Place;

/// How long a leader may hold a fetch that finds nothing.
const MAX_WAIT: Duration = Duration::from_millis(250);
const TIMEOUT: Duration = Duration::from_millis(1200);

/// What was asked of leaders, until they answer.
#[derive(Debug, Default)]
pub(super) struct Following {
    asked: BTreeMap<BrokerId, Vec<(Place, FetchPosition)>>,
}

impl Broker {
    /// Asks every leader that is not being asked.
    pub(super) fn follow_on(&mut self, now: Duration, out: &mut Outbox) {
        let Some(epoch) = self.standing().epoch() else {
            return;
        };
        let mut wanted: BTreeMap<BrokerId, Vec<(Place, FetchPosition)>> = BTreeMap::new();
        for (place, replica) in &self.replicas {
            if let Some(position) = replica.fetch_position(now) {
                wanted.entry(position.leader).or_default().push((*place, position));
            }
        }
        for (leader, positions) in wanted {
            if self.following.asked.contains_key(&leader) {
                continue;
            }
            let known = self.image.broker(leader);
            let Some(host) = known.and_then(|broker| Host::from_name(&broker.endpoints.first()?.host)) else {
                continue;
            };
            let places = positions.iter().map(|(place, position)| ReplicaFetchPlace {
                place: *place,
                leader_epoch: position.leader_epoch,
                offset: position.fetch_offset,
                last_fetched_epoch: position.last_fetched_epoch.map_or(-1, |epoch| epoch.0),
                log_start_offset: position.log_start_offset,
                high_watermark: position.high_watermark,
            });
            let fetch = ReplicaFetch {
                replica: self.start.id,
                broker_epoch: epoch,
                max_wait: MAX_WAIT,
                places: places.collect(),
            };
            self.following.asked.insert(leader, positions);
            let purpose = Purpose::ReplicaFetch(leader);
            self.calls
                .send(host, Request::ReplicaFetch(fetch), purpose, now + TIMEOUT, out);
        }
    }

    pub(super) fn replica_fetched(
        &mut self,
        now: Duration,
        leader: BrokerId,
        response: Option<Response>,
        out: &mut Outbox,
    ) {
        let asked = self.following.asked.remove(&leader).unwrap_or_default();
        let Some(Response::ReplicaFetched(answers)) = response else {
            for (place, position) in asked {
                if let Some(replica) = self.replicas.get_mut(&place) {
                    replica.fetch_failed(&position, now);
                }
            }
            return;
        };
        for answer in answers {
            if let Some((_, position)) = asked.iter().find(|(place, _)| *place == answer.place) {
                self.take_answer(now, *position, &answer, out);
            }
        }
        self.follow_on(now, out);
    }

    fn take_answer(&mut self, now: Duration, mut asked: FetchPosition, answer: &ReplicaFetched, out: &mut Outbox) {
        let place = answer.place;
        let taken = match &answer.outcome {
            Ok(records) => LeaderAnswer {
                error: ErrorCode::None,
                high_watermark: records.high_watermark,
                log_start_offset: records.log_start_offset,
                diverging: records.diverging,
                records: &records.records,
            },
            Err((error, log_start_offset)) => LeaderAnswer {
                error: *error,
                high_watermark: -1,
                log_start_offset: *log_start_offset,
                diverging: None,
                records: &[],
            },
        };
        // An answer is taken again at most once, after the log was begun anew for it.
        for _ in 0..2 {
            let Some(replica) = self.replicas.get_mut(&place) else {
                return;
            };
            match replica.fetched(&asked, &taken, now, millis(now)) {
                Followed::Took { bytes, .. } => {
                    self.counts.replica_records += u64::from(bytes > 0);
                    return;
                }
                Followed::Late => return,
                Followed::Waits { why, first } => {
                    if first {
                        out.say(format!("{place}: waits: {why}"));
                    }
                    return;
                }
                Followed::MustTruncate { again } => {
                    self.counts.diverged += 1;
                    self.truncate(now, place, out);
                    let position = self
                        .replicas
                        .get(&place)
                        .and_then(|replica| replica.fetch_position(now));
                    match position {
                        Some(position) if again => asked = position,
                        _ => return,
                    }
                }
            }
        }
    }

    /// Cuts a log; the checkpoints say so first.
    fn truncate(&mut self, now: Duration, place: Place, out: &mut Outbox) {
        let Some(name) = self.names.get(&place) else { return };
        let (data, checkpoints) = (&self.data, &mut self.checkpoints);
        let durably = |checkpoint: broker_log::Checkpoint, offset: i64| {
            let at = super::FILES.iter().position(|file| *file == checkpoint);
            let Some(offsets) = at.and_then(|at| checkpoints.get_mut(at)) else {
                return Ok(());
            };
            offsets.insert(name.clone(), offset);
            data.write(checkpoint, offsets)
        };
        let Some(replica) = self.replicas.get_mut(&place) else {
            return;
        };
        match Replica::truncate(replica, now, durably) {
            Ok(Some(cut)) => {
                self.counts.truncations += u64::from(cut.to < cut.from);
                out.say(format!("{place}: cut from {} to {}", cut.from, cut.to));
            }
            Ok(None) => {}
            Err(error) => out.say(format!("{place}: cannot be cut: {error}")),
        }
    }
}
