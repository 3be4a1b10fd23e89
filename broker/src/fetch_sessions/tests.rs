use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::fetch::{FetchPartition, FetchTopic, ForgottenTopic};

use super::session::Size;
use super::*;

const SLOTS: usize = 1000;

fn said(high_watermark: i64, records: bool) -> Said {
    Said {
        high_watermark,
        log_start_offset: 0,
        records,
        urgent: false,
    }
}

fn request(session_id: i32, session_epoch: i32, offsets: &BTreeMap<i32, i64>, forgotten: &[i32]) -> FetchRequest {
    let partitions = offsets.iter().map(|(index, offset)| FetchPartition {
        partition: *index,
        fetch_offset: *offset,
        partition_max_bytes: 1,
        ..FetchPartition::default()
    });
    let topic = FetchTopic {
        topic: "t".to_owned(),
        partitions: partitions.collect(),
        ..FetchTopic::default()
    };
    let gone = ForgottenTopic {
        topic: "t".to_owned(),
        partitions: forgotten.to_vec(),
        ..ForgottenTopic::default()
    };
    FetchRequest {
        session_id,
        session_epoch,
        topics: if topic.partitions.is_empty() {
            Vec::new()
        } else {
            vec![topic]
        },
        forgotten_topics_data: if forgotten.is_empty() { Vec::new() } else { vec![gone] },
        ..FetchRequest::default()
    }
}

fn offsets(of: impl IntoIterator<Item = i32>) -> BTreeMap<i32, i64> {
    of.into_iter().map(|index| (index, 0)).collect()
}

/// Asks for everything, and gets a session.
fn open(sessions: &FetchSessions, of: &BTreeMap<i32, i64>, slots: usize) -> i32 {
    let context = sessions.begin(&mut request(0, 0, of, &[]), 12).expect("begins");
    let answer = vec![said(0, false); context.wanted.len()];
    sessions.finish(&context, &answer, || slots).session_id
}

fn indexes(context: &FetchContext) -> Vec<i32> {
    context.wanted.iter().map(|wanted| wanted.index).collect()
}

#[test]
fn a_session_answers_only_what_is_new_and_errors_each_time() {
    let sessions = FetchSessions::default();
    let id = open(&sessions, &offsets(0..3), SLOTS);
    assert_ne!(id, NO_SESSION);
    let context = sessions
        .begin(&mut request(id, 1, &BTreeMap::new(), &[]), 12)
        .expect("begins");
    let error = Said {
        high_watermark: -1,
        urgent: true,
        ..said(0, false)
    };
    let fitted = sessions.finish(&context, &[said(0, false), said(5, false), error], || SLOTS);
    assert_eq!(
        (fitted.session_id, fitted.included),
        (id, Some(vec![false, true, true]))
    );
    // The error has gone: although the watermark is what it was before, the client hears of it.
    let context = sessions
        .begin(&mut request(id, 2, &BTreeMap::new(), &[]), 12)
        .expect("begins");
    let fitted = sessions.finish(&context, &[said(0, false), said(5, false), said(0, false)], || SLOTS);
    assert_eq!(fitted.included, Some(vec![false, false, true]));
}

#[test]
fn each_error_of_a_session_has_its_code() {
    let sessions = FetchSessions::default();
    let id = open(&sessions, &offsets(0..1), SLOTS);
    let code = |id, epoch, version| {
        let begun = sessions.begin(&mut request(id, epoch, &BTreeMap::new(), &[]), version);
        begun.err().unwrap_or(ErrorCode::None)
    };
    assert_eq!(code(id ^ 1, 1, 12), ErrorCode::FetchSessionIdNotFound);
    assert_eq!(code(NO_SESSION, 7, 12), ErrorCode::FetchSessionIdNotFound);
    assert_eq!(code(id, 2, 12), ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(code(id, 1, 13), ErrorCode::FetchSessionTopicIdError);
    assert_eq!(code(id, 1, 12), ErrorCode::None, "none of them moved the session");
    assert_eq!(code(id, 1, 12), ErrorCode::InvalidFetchSessionEpoch, "a duplicate");
    assert_eq!(code(id, -1, 12), ErrorCode::None, "the end of the session");
    assert_eq!(code(id, 2, 12), ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn an_answer_that_comes_after_another_request_of_its_session_is_an_error() {
    let sessions = FetchSessions::default();
    let id = open(&sessions, &offsets(0..1), SLOTS);
    let waits = sessions
        .begin(&mut request(id, 1, &BTreeMap::new(), &[]), 12)
        .expect("begins");
    let overtakes = sessions
        .begin(&mut request(id, 2, &BTreeMap::new(), &[]), 12)
        .expect("begins");
    assert_eq!(
        sessions.finish(&waits, &[said(9, true)], || SLOTS).error,
        ErrorCode::InvalidFetchSessionEpoch
    );
    assert_eq!(
        sessions.finish(&overtakes, &[said(9, true)], || SLOTS).included,
        Some(vec![true])
    );
}

#[test]
fn a_session_without_partitions_ends() {
    let sessions = FetchSessions::default();
    let id = open(&sessions, &offsets(0..2), SLOTS);
    let context = sessions
        .begin(&mut request(id, 1, &BTreeMap::new(), &[0, 1]), 12)
        .expect("begins");
    assert!(context.wanted.is_empty());
    assert_eq!(sessions.finish(&context, &[], || SLOTS).session_id, NO_SESSION);
    assert_eq!(sessions.size(), CacheSize::default());
}

#[test]
fn partitions_that_were_served_are_read_last_the_next_time() {
    let sessions = FetchSessions::default();
    let id = open(&sessions, &offsets(0..4), SLOTS);
    let context = sessions
        .begin(&mut request(id, 1, &BTreeMap::new(), &[]), 12)
        .expect("begins");
    assert_eq!(indexes(&context), [0, 1, 2, 3]);
    let answer = [said(1, true), said(1, false), said(1, true), said(1, false)];
    sessions.finish(&context, &answer, || SLOTS);
    let context = sessions
        .begin(&mut request(id, 2, &BTreeMap::new(), &[]), 12)
        .expect("begins");
    assert_eq!(indexes(&context), [1, 3, 0, 2]);
}

#[test]
fn topics_are_told_apart_by_id_from_version_13_on() {
    let sessions = FetchSessions::default();
    let mut asked = request(0, 0, &offsets(0..1), &[]);
    asked.topics[0].topic_id = Uuid::from_u128(7);
    let context = sessions.begin(&mut asked, 13).expect("begins");
    assert_eq!(context.wanted[0].topic, TopicKey::Id(Uuid::from_u128(7)));
    let id = sessions.finish(&context, &[said(0, false)], || SLOTS).session_id;
    let mut forget = request(id, 1, &BTreeMap::new(), &[0]);
    forget.forgotten_topics_data[0].topic_id = Uuid::from_u128(7);
    assert!(sessions.begin(&mut forget, 18).expect("begins").wanted.is_empty());
}

#[test]
fn without_a_slot_there_is_no_session_and_no_error() {
    let sessions = FetchSessions::default();
    assert_eq!(open(&sessions, &offsets(0..1), 0), NO_SESSION);
    assert_ne!(open(&sessions, &offsets(0..1), 1), NO_SESSION);
    assert_eq!(open(&sessions, &offsets(0..2), 1), NO_SESSION, "the other is young");
}

#[test]
fn a_session_that_outgrows_its_bounds_ends() {
    let sessions = FetchSessions::new(Bounds {
        session_bytes: 1000,
        bytes: 1500,
    });
    let id = open(&sessions, &offsets(0..2), SLOTS);
    assert_eq!(
        open(&sessions, &offsets(0..100), SLOTS),
        NO_SESSION,
        "too large for one"
    );
    assert_ne!(open(&sessions, &offsets(0..4), SLOTS), NO_SESSION);
    assert_eq!(open(&sessions, &offsets(0..3), SLOTS), NO_SESSION, "too much for all");
    let grown = sessions.begin(&mut request(id, 1, &offsets(2..50), &[]), 12);
    assert_eq!(grown.err(), Some(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(sessions.size().partitions, 4, "only the other is left");
}

#[test]
fn an_old_small_session_gives_way_to_a_larger_one_and_a_silent_one_to_any() {
    let long = 121_000;
    let session = |partitions: i32| {
        let wanted = session::wanted(request(0, 0, &offsets(0..partitions), &[]).topics, 12);
        let said = vec![said(0, false); wanted.len()];
        Session::new(false, wanted.iter().zip(&said))
    };
    let id = |n: u64| n as i32;
    let mut cache = SessionCache::default();
    assert_eq!(cache.create(session(2), 0, 2, id), Some(1));
    assert_eq!(cache.create(session(3), 0, 2, id), Some(2));
    // Both are in use, and have been for long.
    for known in [1, 2] {
        assert!(cache.find(known, long).is_some());
    }
    assert_eq!(
        cache.create(session(2), long, 2, id),
        None,
        "not larger than the smallest"
    );
    assert_eq!(cache.create(session(4), long, 2, id), Some(3));
    assert!(cache.find(1, long).is_none(), "the smallest went");
    assert!(cache.find(2, 2 * long).is_some());
    assert_eq!(cache.create(session(1), 2 * long, 2, id), Some(4), "one was silent");
    assert!(cache.find(3, 2 * long).is_none());
    assert_eq!(cache.size().evictions, 2);
}

/// What the client does next.
#[derive(Debug, Clone)]
enum Step {
    /// Wants these partitions from now on.
    Want(Vec<i32>),
    /// These partitions get a record.
    Append(Vec<i32>),
    /// Fetches; an answer has room for records of so many partitions.
    Fetch(usize),
    /// Loses the answer: it must begin anew.
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::collection::vec(0..12, 0..12);
    prop_oneof![
        some().prop_map(Step::Want),
        some().prop_map(Step::Append),
        (1_usize..4).prop_map(Step::Fetch),
        Just(Step::Lose),
    ]
}

/// A client as KIP-227 describes it, and what it believes.
#[derive(Default)]
struct Client {
    wants: BTreeMap<i32, i64>,
    /// What the session knows that we want.
    told: BTreeMap<i32, i64>,
    /// Watermarks, as the answers said.
    view: BTreeMap<i32, i64>,
    id: i32,
    epoch: i32,
}

impl Client {
    fn fetch(&mut self, sessions: &FetchSessions, logs: &BTreeMap<i32, i64>, room: usize) {
        let mut asked = if self.epoch == 0 {
            self.view.clear();
            request(self.id, 0, &self.wants, &[])
        } else {
            let changed = self
                .wants
                .iter()
                .filter(|(index, offset)| self.told.get(index) != Some(*offset));
            let changed = changed.map(|(index, offset)| (*index, *offset)).collect();
            let gone: Vec<i32> = self
                .told
                .keys()
                .filter(|index| !self.wants.contains_key(index))
                .copied()
                .collect();
            self.view.retain(|index, _| self.wants.contains_key(index));
            request(self.id, self.epoch, &changed, &gone)
        };
        let context = sessions.begin(&mut asked, 12).expect("nobody else uses the session");
        let known: BTreeMap<i32, i64> = context
            .wanted
            .iter()
            .map(|wanted| (wanted.index, wanted.fetch_offset))
            .collect();
        assert_eq!(known, self.wants, "the session wants what its client wants");
        self.told.clone_from(&self.wants);

        let mut left = room;
        let mut answer = Vec::new();
        for wanted in &context.wanted {
            let high_watermark = logs.get(&wanted.index).copied().unwrap_or(0);
            let records = left > 0 && wanted.fetch_offset < high_watermark;
            left -= usize::from(records);
            answer.push(said(high_watermark, records));
        }
        let fitted = sessions.finish(&context, &answer, || SLOTS);
        assert_eq!(fitted.error, ErrorCode::None);
        for (at, (wanted, said)) in context.wanted.iter().zip(&answer).enumerate() {
            if fitted.included.as_ref().is_none_or(|included| included[at]) {
                self.view.insert(wanted.index, said.high_watermark);
                if said.records {
                    self.wants.insert(wanted.index, said.high_watermark);
                }
            }
        }
        for (index, high_watermark) in &self.view {
            assert_eq!(
                *high_watermark,
                logs.get(index).copied().unwrap_or(0),
                "partition {index}"
            );
        }
        assert_eq!(self.view.len(), self.wants.len());
        self.id = fitted.session_id;
        self.epoch = if self.id == NO_SESSION { 0 } else { self.epoch + 1 };
    }

    fn behind(&self, logs: &BTreeMap<i32, i64>) -> usize {
        let behind = |(index, offset): &(&i32, &i64)| logs.get(index).copied().unwrap_or(0) > **offset;
        self.wants.iter().filter(behind).count()
    }
}

proptest! {
    #[test]
    fn the_clients_view_is_the_servers(steps in prop::collection::vec(step(), 1..60)) {
        let sessions = FetchSessions::default();
        let mut logs: BTreeMap<i32, i64> = BTreeMap::new();
        let mut client = Client::default();
        for step in steps {
            match step {
                Step::Want(of) => {
                    let before = std::mem::take(&mut client.wants);
                    client.wants = of.into_iter().map(|index| (index, before.get(&index).copied().unwrap_or(0))).collect();
                }
                Step::Append(to) => to.into_iter().for_each(|index| *logs.entry(index).or_default() += 1),
                Step::Fetch(room) => client.fetch(&sessions, &logs, room),
                Step::Lose => client.epoch = 0,
            }
            prop_assert!(sessions.size().sessions <= 1);
            if client.epoch > 0 {
                prop_assert_eq!(sessions.size().partitions, client.told.len());
            }
        }
        // However small the answers are, nobody starves: each brings a partition up to date, none twice before all.
        let room = 1;
        for _ in 0..client.behind(&logs) {
            client.fetch(&sessions, &logs, room);
        }
        prop_assert_eq!(client.behind(&logs), 0);
    }

    #[test]
    fn the_cache_counts_what_it_holds(sizes in prop::collection::vec((1_i32..20, 0_u64..300_000), 1..40)) {
        let mut cache = SessionCache::new(Bounds { session_bytes: 3000, bytes: 9000 });
        let mut now = 0;
        let mut ids = Vec::new();
        for (partitions, pause) in sizes {
            now += pause;
            let wanted = session::wanted(request(0, 0, &offsets(0..partitions), &[]).topics, 12);
            let answers = vec![said(0, false); wanted.len()];
            let session = Session::new(false, wanted.iter().zip(&answers));
            ids.extend(cache.create(session, now, 5, |n| n as i32));
            let live: Vec<Size> = ids.iter().filter_map(|id| cache.find(*id, now)).map(|s| s.lock().size()).collect();
            let size = cache.size();
            prop_assert_eq!(live.len(), size.sessions);
            prop_assert_eq!(live.iter().map(|size| size.bytes).sum::<usize>(), size.bytes);
            prop_assert_eq!(live.iter().map(|size| size.partitions).sum::<usize>(), size.partitions);
            prop_assert!(size.sessions <= 5 && size.bytes <= 9000);
        }
    }
}
