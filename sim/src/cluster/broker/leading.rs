//! What a leader does for others: takes writes, lets them wait for the watermark, serves consumers and followers.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_log::dir::sim::SimDir;
use broker_replication::{Acks, Duty, FollowerReader, IsrProposed, ReadSpec, Reader, Replica};
use controller::Reply;
use model::{IsrProposal, LeaderEpoch};
use protocol::ErrorCode;
use protocol::batch::{batches, records};

use super::{Broker, Purpose, millis};
use crate::cluster::message::{
    CallId, Fetch, FetchFailure, Fetched, PlaceLeader, ProcessId, Produce, ReplicaFetch, ReplicaFetchPlace,
    ReplicaFetched, ReplicaRecords, Request, Response,
};
use crate::cluster::network::Host;
use crate::cluster::outbox::Outbox;
use crate::history::{Place, Value};

const FETCH_BYTES: usize = 4096;

/// Who waits for a leader.
#[derive(Debug, Default)]
pub(super) struct Leading {
    produces: Vec<WaitingProduce>,
    fetches: Vec<WaitingFetch>,
    replica_fetches: Vec<WaitingReplicaFetch>,
}

#[derive(Debug)]
struct WaitingProduce {
    from: ProcessId,
    call: CallId,
    place: Place,
    leader_epoch: LeaderEpoch,
    base_offset: i64,
    required: i64,
    deadline: Duration,
}

#[derive(Debug)]
struct WaitingFetch {
    from: ProcessId,
    call: CallId,
    fetch: Fetch,
    deadline: Duration,
}

#[derive(Debug)]
struct WaitingReplicaFetch {
    from: ProcessId,
    call: CallId,
    fetch: ReplicaFetch,
    deadline: Duration,
}

type Replicas = BTreeMap<Place, Replica<SimDir>>;

impl Leading {
    /// Nobody is answered any more.
    pub(super) fn forget_everything(&mut self) {
        self.produces.clear();
        self.fetches.clear();
        self.replica_fetches.clear();
    }

    /// Answers those whose watermark has come, whose leader is gone, or whose time is over.
    pub(super) fn check_waiting(&mut self, replicas: &Replicas, now: Duration, out: &mut Outbox) {
        self.produces.retain(|waiting| {
            let acks = replicas
                .get(&waiting.place)
                .and_then(|replica| replica.acks(waiting.leader_epoch, waiting.required).ok());
            let answer = match acks {
                None => Err(ErrorCode::NotLeaderOrFollower),
                Some(Acks::Done) => Ok(waiting.base_offset),
                Some(Acks::TooFewAfterAppend) => Err(ErrorCode::NotEnoughReplicasAfterAppend),
                Some(Acks::Waiting) if now >= waiting.deadline => Err(ErrorCode::RequestTimedOut),
                Some(Acks::Waiting) => return true,
            };
            out.respond(waiting.from, waiting.call, Response::Produced(answer));
            false
        });
        self.fetches.retain(|waiting| {
            let answer = match read(replicas, &waiting.fetch) {
                Ok(fetched) if fetched.records.is_empty() && now < waiting.deadline => return true,
                answer => answer,
            };
            out.respond(waiting.from, waiting.call, Response::Fetched(answer));
            false
        });
        self.replica_fetches.retain(|waiting| {
            let answers: Vec<_> = waiting
                .fetch
                .places
                .iter()
                .map(|place| read_for_follower(replicas, &waiting.fetch, place))
                .collect();
            let news = answers.iter().any(|answer| match &answer.outcome {
                Ok(records) => !records.records.is_empty() || records.diverging.is_some() || records.is_news,
                Err(_) => true,
            });
            if !news && now < waiting.deadline {
                return true;
            }
            out.respond(waiting.from, waiting.call, Response::ReplicaFetched(answers));
            false
        });
    }
}

impl Broker {
    /// The image gives a replica its role.
    pub(super) fn take_duty(&mut self, now: Duration, place: Place, duty: Duty, out: &mut Outbox) {
        let id = self.start.id;
        let Some(replica) = self.replicas.get_mut(&place) else {
            return;
        };
        match duty {
            Duty::Lead(view) => {
                if let Err(error) = replica.lead(id, &view, millis(now)) {
                    out.say(format!("{place}: leadership cannot begin: {error}"));
                }
            }
            Duty::Follow { leader, leader_epoch } => {
                replica.follow(leader, leader_epoch);
            }
            Duty::Stand => replica.resign(),
        }
    }

    pub(super) fn produce(&mut self, now: Duration, from: ProcessId, call: CallId, produce: Produce, out: &mut Outbox) {
        let Produce {
            place,
            all_replicas,
            mut batch,
            timeout,
        } = produce;
        let outcome = match self.replicas.get_mut(&place) {
            None => Err(ErrorCode::UnknownTopicOrPartition),
            Some(replica) => replica
                .append_as_leader(&mut [&mut batch], all_replicas, -1, millis(now))
                .map_err(|error| error.code())
                .and_then(|_| {
                    let outcome = replica.outcomes().pop();
                    let info = outcome.ok_or(ErrorCode::UnknownServerError)?;
                    info.map_err(|error| {
                        out.say(format!("{place}: {error}"));
                        error.code()
                    })
                }),
        };
        let info = match outcome {
            Ok(info) => info,
            Err(code) => {
                self.counts.not_enough_replicas += u64::from(code == ErrorCode::NotEnoughReplicas);
                out.respond(from, call, Response::Produced(Err(code)));
                return;
            }
        };
        let leader = self.replicas.get(&place).and_then(Replica::leader);
        let leader_epoch = leader.map_or(LeaderEpoch(-1), broker_replication::LeaderState::leader_epoch);
        if all_replicas {
            self.leading.produces.push(WaitingProduce {
                from,
                call,
                place,
                leader_epoch,
                base_offset: info.base_offset,
                required: info.last_offset + 1,
                deadline: now + timeout,
            });
        } else {
            out.respond(from, call, Response::Produced(Ok(info.base_offset)));
        }
    }

    pub(super) fn fetch(&mut self, now: Duration, from: ProcessId, call: CallId, fetch: Fetch, _out: &mut Outbox) {
        let deadline = now + fetch.max_wait;
        self.leading.fetches.push(WaitingFetch {
            from,
            call,
            fetch,
            deadline,
        });
    }

    /// What a follower's fetch says of it counts at once; what it is answered may wait.
    pub(super) fn replica_fetch(
        &mut self,
        now: Duration,
        from: ProcessId,
        call: CallId,
        fetch: ReplicaFetch,
        out: &mut Outbox,
    ) {
        for place in &fetch.places {
            if let Some(replica) = self.replicas.get_mut(&place.place) {
                // What is wrong with it, the read says again.
                let _ = replica.follower_fetched(&spec_of(&fetch, place), millis(now));
            }
        }
        let deadline = now + fetch.max_wait;
        self.leading.replica_fetches.push(WaitingReplicaFetch {
            from,
            call,
            fetch,
            deadline,
        });
        self.lead_on(now, out);
    }

    /// What a leader does by itself: proposes in-sync replicas.
    pub(super) fn lead_on(&mut self, now: Duration, out: &mut Outbox) {
        let Some(epoch) = self.session() else { return };
        let max_lag = millis(self.start.max_lag);
        let mut proposed: Vec<(Place, IsrProposed)> = Vec::new();
        for (place, replica) in &mut self.replicas {
            if let Some(proposal) = replica.propose(millis(now), max_lag) {
                proposed.push((*place, proposal));
            }
        }
        if proposed.is_empty() {
            return;
        }
        let session = controller::SessionId {
            broker: self.start.id,
            epoch,
        };
        let proposals = proposed.iter().map(|(place, proposed)| IsrProposal {
            topic: place.topic,
            partition: place.partition,
            leader_epoch: proposed.leader_epoch,
            partition_epoch: proposed.partition_epoch,
            isr: proposed.isr.clone(),
        });
        self.counts.isr_proposals += proposed.len() as u64;
        let request = Request::AlterPartition(session, proposals.collect());
        self.ask_controller(now, request, Purpose::AlterPartition(proposed), out);
    }

    /// METADATA 12: the answer ends nothing, it only says when to ask again.
    pub(super) fn alter_answered(
        &mut self,
        now: Duration,
        proposed: &[(Place, IsrProposed)],
        response: Option<&Response>,
    ) {
        let outcomes = match response {
            Some(Response::Controller(Reply::AlterPartition(outcomes))) => outcomes.as_slice(),
            _ => &[],
        };
        for (place, proposal) in proposed {
            let taken = outcomes.iter().any(|outcome| {
                (outcome.topic, outcome.partition) == (place.topic, place.partition) && outcome.error_code == 0
            });
            if let Some(replica) = self.replicas.get_mut(place).filter(|_| !taken) {
                replica.proposal_failed(proposal, millis(now), 200);
            }
        }
    }

    /// After every step: whoever waits and need not any longer is answered.
    pub(super) fn settle(&mut self, now: Duration, out: &mut Outbox) {
        self.leading.check_waiting(&self.replicas, now, out);
    }

    /// Brokers that may be asked, as this broker knows them.
    pub(super) fn hosts(&self) -> Vec<Host> {
        let brokers = self.image.brokers().values();
        brokers
            .filter(|broker| broker.is_eligible())
            .filter_map(|broker| Host::from_name(&broker.endpoints.first()?.host))
            .collect()
    }

    /// Who leads, as this broker knows it.
    pub(super) fn leaders(&self) -> Vec<PlaceLeader> {
        let topics = self.image.topics().values();
        let leaders = topics.flat_map(|topic| {
            topic.indexed().map(|(index, partition)| {
                let leader = partition.leader.and_then(|leader| self.image.broker(leader));
                PlaceLeader {
                    place: Place {
                        topic: topic.id,
                        partition: index,
                    },
                    leader: leader.and_then(|broker| Host::from_name(&broker.endpoints.first()?.host)),
                    leader_epoch: partition.leader_epoch,
                }
            })
        });
        leaders.collect()
    }
}

fn read(replicas: &Replicas, fetch: &Fetch) -> Result<Fetched, FetchFailure> {
    let fail = |code| FetchFailure {
        code,
        log_start_offset: 0,
    };
    let replica = replicas
        .get(&fetch.place)
        .ok_or(fail(ErrorCode::UnknownTopicOrPartition))?;
    let spec = ReadSpec {
        reader: Reader::Consumer { anywhere: false },
        offset: fetch.offset,
        max_bytes: FETCH_BYTES,
        min_one_message: true,
        current_leader_epoch: fetch.leader_epoch.0,
        last_fetched_epoch: -1,
    };
    let found = replica.read(spec).map_err(|error| fail(error.code()))?;
    let bytes = found.slice.read().map_err(|error| fail(error.code()))?;
    Ok(Fetched {
        place: fetch.place,
        leader_epoch: fetch.leader_epoch,
        high_watermark: found.high_watermark,
        records: values(&bytes),
    })
}

fn spec_of(fetch: &ReplicaFetch, place: &ReplicaFetchPlace) -> ReadSpec {
    ReadSpec {
        reader: Reader::Follower(FollowerReader {
            replica: fetch.replica,
            broker_epoch: fetch.broker_epoch,
            log_start_offset: place.log_start_offset,
        }),
        offset: place.offset,
        max_bytes: FETCH_BYTES,
        min_one_message: true,
        current_leader_epoch: place.leader_epoch.0,
        last_fetched_epoch: place.last_fetched_epoch,
    }
}

fn read_for_follower(replicas: &Replicas, fetch: &ReplicaFetch, place: &ReplicaFetchPlace) -> ReplicaFetched {
    let outcome = match replicas.get(&place.place) {
        None => Err((ErrorCode::UnknownTopicId, -1)),
        Some(replica) => {
            let start = replica.log().log_start_offset();
            let read = replica.read(spec_of(fetch, place)).map_err(|error| error.code());
            let read = read.and_then(|found| {
                let records = found.slice.read().map_err(|error| error.code())?;
                Ok(ReplicaRecords {
                    records,
                    high_watermark: found.high_watermark,
                    log_start_offset: found.log_start_offset,
                    diverging: found.diverging,
                    // A follower that has everything still wants to know soon what is committed.
                    is_news: found.high_watermark > place.high_watermark,
                })
            });
            read.map_err(|code| (code, start))
        }
    };
    ReplicaFetched {
        place: place.place,
        outcome,
    }
}

/// Offsets and values of the records in whole batches.
fn values(bytes: &[u8]) -> Vec<(i64, Value)> {
    let mut found = Vec::new();
    for (header, batch) in batches(bytes).flatten() {
        let Ok(records) = records(batch) else { continue };
        for record in records.flatten() {
            let value = record.value.and_then(|value| value.try_into().ok());
            let value = value.map_or(Value::MAX, Value::from_be_bytes);
            found.push((header.base_offset + i64::from(record.offset_delta), value));
        }
    }
    found
}
