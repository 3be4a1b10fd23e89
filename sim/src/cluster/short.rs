//! Messages in a word each, for the trace.

use super::message::{ApiRequest, Message, Request, Response};

/// A message in a word, for the trace.
pub(super) struct Short<'a>(pub(super) &'a Message);

impl std::fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Message::Request(call, request) => match request {
                Request::ReplicaFetch(fetch) => {
                    write!(f, "{call} ReplicaFetch {}", fetch.replica)?;
                    for place in &fetch.places {
                        write!(f, " {}@{}e{}", place.place, place.offset, place.leader_epoch)?;
                    }
                    Ok(())
                }
                Request::Produce(produce) => {
                    let header = protocol::batch::BatchHeader::parse(&produce.batch);
                    let sequence = header.map_or(-1, |header| header.base_sequence);
                    write!(f, "{call} Produce {} from sequence {sequence}", produce.place)
                }
                Request::Fetch(fetch) => write!(f, "{call} Fetch {}@{}", fetch.place, fetch.offset),
                Request::Heartbeat(beat) => write!(f, "{call} Heartbeat {}@{}", beat.session.broker, beat.applied),
                Request::Register(registration, _) => write!(f, "{call} Register {}", registration.broker),
                Request::AlterPartition(session, proposals) => {
                    write!(f, "{call} AlterPartition {} {proposals:?}", session.broker)
                }
                Request::ReportReplicas(session, reports) => {
                    write!(f, "{call} ReportReplicas {} {reports:?}", session.broker)
                }
                Request::Watch(broker, ..) => write!(f, "{call} Watch {broker}"),
                Request::Admin(_) => write!(f, "{call} Admin"),
                Request::Probe => write!(f, "{call} Probe"),
                Request::Metadata => write!(f, "{call} Metadata"),
                Request::Api(_) => write!(f, "{call} Api"),
            },
            Message::Response(call, response) => match response {
                Response::Controller(reply) => write!(f, "{call} = {reply:?}"),
                Response::Produced(outcome) => write!(f, "{call} = Produced {outcome:?}"),
                Response::Fetched(Ok(fetched)) => write!(
                    f,
                    "{call} = Fetched {} hw {}",
                    fetched.records.len(),
                    fetched.high_watermark
                ),
                Response::Fetched(Err(failure)) => write!(f, "{call} = Fetched {:?}", failure.code),
                Response::ReplicaFetched(places) => {
                    write!(f, "{call} = ReplicaFetched")?;
                    for place in places {
                        match &place.outcome {
                            Ok(records) => write!(
                                f,
                                " {}:{}b hw{} {:?}",
                                place.place,
                                records.records.len(),
                                records.high_watermark,
                                records.diverging
                            )?,
                            Err((code, _)) => write!(f, " {}:{code:?}", place.place)?,
                        }
                    }
                    Ok(())
                }
                Response::Api(_) => write!(f, "{call} = Api"),
                Response::Opening(opening) => write!(f, "{call} = Opening {}", opening.metadata_offset),
                Response::Regressed => write!(f, "{call} = Regressed"),
                Response::NotController => write!(f, "{call} = NotController"),
                Response::Alive => write!(f, "{call} = Alive"),
                Response::Metadata(..) => write!(f, "{call} = Metadata"),
            },
            Message::Refused(call) => write!(f, "{call} refused"),
            Message::Frames(call, number, frames) => write!(f, "{call} Frames {number} {}", frames.len()),
            Message::StreamEnded(call) => write!(f, "{call} StreamEnded"),
            Message::LeaseSeen(broker, _) => write!(f, "LeaseSeen {broker}"),
            Message::Terminated(broker, _) => write!(f, "Terminated {broker}"),
        }
    }
}

/// The same of what the API server is asked.
pub(super) struct ShortApi<'a>(pub(super) &'a ApiRequest);

impl std::fmt::Display for ShortApi<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ApiRequest::Append { document, .. } => {
                write!(f, "append {} up to {}", document.append_id, document.end_offset)
            }
            ApiRequest::ReadLog { .. } => f.write_str("read"),
            ApiRequest::WriteSnapshot { name, .. } => write!(f, "snapshot {name}"),
            ApiRequest::DeleteSnapshots { name } => write!(f, "delete below {name}"),
            ApiRequest::ReadLease => f.write_str("read lease"),
            ApiRequest::TakeLease { expected } => write!(f, "take lease {expected}"),
            ApiRequest::ReleaseLease => f.write_str("release lease"),
            ApiRequest::RenewBrokerLease { broker, .. } => write!(f, "broker lease {broker}"),
        }
    }
}
