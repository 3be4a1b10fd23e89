//! A consumer with assigned partitions: reads each from its beginning to its end, and tells what it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ErrorCode;

use super::directory::Directory;
use super::message::{Fetch, Fetched, Message, ProcessId, Request, Response};
use super::outbox::{Calls, Outbox};
use crate::history::{Operation, Place};
use crate::random::Random;

const REQUEST_TIMEOUT: Duration = Duration::from_millis(1500);
const MAX_WAIT: Duration = Duration::from_millis(400);
const BACKOFF: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Consumer {
    number: u32,
    random: Random,
    calls: Calls<Purpose>,
    directory: Directory,
    readers: BTreeMap<Place, Reader>,
    /// Times that a leader did not know an offset which was read before.
    pub(super) out_of_range: u64,
}

#[derive(Debug)]
enum Purpose {
    Metadata,
    Fetch(Place),
}

#[derive(Debug, Default)]
struct Reader {
    position: i64,
    in_flight: bool,
    retry_at: Duration,
}

impl Consumer {
    pub(super) fn new(number: u32, random: Random, directory: Directory) -> Self {
        Self {
            number,
            random,
            calls: Calls::default(),
            directory,
            readers: BTreeMap::new(),
            out_of_range: 0,
        }
    }

    /// Where it stands.
    pub(super) fn position(&self, place: Place) -> i64 {
        self.readers.get(&place).map_or(0, |reader| reader.position)
    }

    pub(super) fn take(&mut self, now: Duration, _from: ProcessId, message: Message, out: &mut Outbox) {
        let (call, response) = match message {
            Message::Response(call, response) => (call, Some(response)),
            Message::Refused(call) => (call, None),
            _ => return,
        };
        match (self.calls.answered(call), response) {
            (Some(Purpose::Metadata), Some(Response::Metadata(hosts, leaders))) => {
                self.directory.learn(now, hosts, &leaders);
            }
            (Some(Purpose::Fetch(place)), Some(Response::Fetched(Ok(fetched)))) => self.fetched(place, fetched, out),
            (Some(Purpose::Fetch(place)), Some(Response::Fetched(Err(failure)))) => {
                self.out_of_range += u64::from(failure.code == ErrorCode::OffsetOutOfRange);
                self.failed(now, place);
            }
            (Some(Purpose::Fetch(place)), _) => self.failed(now, place),
            (Some(Purpose::Metadata), _) => self.directory.refresh(),
            (None, _) => {}
        }
        self.fetch_due(now, out);
    }

    pub(super) fn tick(&mut self, now: Duration, out: &mut Outbox) {
        for purpose in self.calls.expired(now) {
            match purpose {
                Purpose::Metadata => self.directory.refresh(),
                Purpose::Fetch(place) => self.failed(now, place),
            }
        }
        if self.directory.is_due(now) && !self.calls.any(|purpose| matches!(purpose, Purpose::Metadata)) {
            let host = self.directory.next_host(now, &mut self.random);
            self.calls
                .send(host, Request::Metadata, Purpose::Metadata, now + REQUEST_TIMEOUT, out);
        }
        self.fetch_due(now, out);
    }

    fn fetch_due(&mut self, now: Duration, out: &mut Outbox) {
        for place in self.directory.places() {
            let reader = self.readers.entry(place).or_default();
            if reader.in_flight || now < reader.retry_at {
                continue;
            }
            let Some((host, leader_epoch)) = self.directory.leader(place) else {
                self.directory.refresh();
                continue;
            };
            reader.in_flight = true;
            let fetch = Fetch {
                place,
                offset: reader.position,
                leader_epoch,
                max_wait: MAX_WAIT,
            };
            self.calls.send(
                host,
                Request::Fetch(fetch),
                Purpose::Fetch(place),
                now + REQUEST_TIMEOUT,
                out,
            );
        }
    }

    fn fetched(&mut self, place: Place, fetched: Fetched, out: &mut Outbox) {
        let reader = self.readers.entry(place).or_default();
        reader.in_flight = false;
        out.operations.push(Operation::Watermark {
            consumer: self.number,
            place,
            leader_epoch: fetched.leader_epoch.0,
            high_watermark: fetched.high_watermark,
        });
        // A batch comes whole, although the position may lie within it.
        let records: Vec<_> = fetched
            .records
            .into_iter()
            .filter(|(offset, _)| *offset >= reader.position)
            .collect();
        if let Some((last, _)) = records.last() {
            reader.position = last + 1;
            out.operations.push(Operation::Poll {
                consumer: self.number,
                place,
                records,
            });
        }
    }

    fn failed(&mut self, now: Duration, place: Place) {
        self.directory.refresh();
        let reader = self.readers.entry(place).or_default();
        reader.in_flight = false;
        reader.retry_at = now + BACKOFF;
    }
}
