//! The client's side of a fetch session (KIP-227): what a request has to name, and what an answer means for the next one.
//! Pure; the other side is [`crate::fetch_sessions`].

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;
use protocol::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use uuid::Uuid;

use crate::replica_manager::PartitionKey;

/// What is asked of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) fetch_offset: i64,
    pub(crate) current_leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
    pub(crate) log_start_offset: i64,
    pub(crate) max_bytes: i32,
}

/// A session, as its client knows it.
#[derive(Debug, Default)]
pub(crate) struct FetchSession {
    /// 0 for none.
    id: i32,
    /// Of the next request; [`INITIAL`] asks for a new session.
    epoch: i32,
    /// What is wanted.
    wanted: BTreeMap<PartitionKey, Ask>,
    /// Of that, what the leader has not been told.
    news: BTreeSet<PartitionKey>,
    /// What the leader believes to be wanted, and is not any more.
    gone: BTreeSet<PartitionKey>,
}

/// Asks for a new session, and ends the one that is named with it.
const INITIAL: i32 = 0;

/// An answer does not fit its request: nothing of it may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionError {
    /// The leader does not know the session, or not this state of it. The next request begins anew.
    #[error("the leader answers {0}: the fetch session begins anew")]
    Refused(ErrorCode),
    /// It answers for a partition that nobody asked for.
    #[error("the answer names partition {1} of topic {0}, which is not in the session")]
    NotAsked(Uuid, i32),
}

impl FetchSession {
    /// Wants this of a partition from the next request on.
    pub(crate) fn want(&mut self, key: PartitionKey, ask: Ask) {
        if self.wanted.insert(key, ask) != Some(ask) {
            self.news.insert(key);
            self.gone.remove(&key);
        }
    }

    /// Wants nothing of a partition from the next request on.
    pub(crate) fn forget(&mut self, key: PartitionKey) {
        if self.wanted.remove(&key).is_some() {
            self.news.remove(&key);
            self.gone.insert(key);
        }
    }

    /// Whether nothing is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Puts into `request` what the leader does not know yet: everything at first, then changes only.
    pub(crate) fn ask(&mut self, request: &mut FetchRequest) {
        request.session_id = self.id;
        request.session_epoch = self.epoch;
        let (mut news, mut gone) = (std::mem::take(&mut self.news), std::mem::take(&mut self.gone));
        if self.epoch == INITIAL {
            news = self.wanted.keys().copied().collect();
            gone.clear();
        }
        let news = news.into_iter().filter_map(|key| Some((key, self.wanted.get(&key)?)));
        request.topics = by_topic(news.map(|((topic, index), ask)| (topic, partition(index, ask))))
            .map(|(topic_id, partitions)| FetchTopic {
                topic_id,
                partitions,
                ..FetchTopic::default()
            })
            .collect();
        request.forgotten_topics_data = by_topic(gone.into_iter())
            .map(|(topic_id, partitions)| ForgottenTopic {
                topic_id,
                partitions,
                ..ForgottenTopic::default()
            })
            .collect();
    }

    /// Takes what the answer says of the session; `answered` are the partitions in it.
    pub(crate) fn answered(
        &mut self,
        error: ErrorCode,
        session_id: i32,
        answered: impl Iterator<Item = PartitionKey>,
    ) -> Result<(), SessionError> {
        if error != ErrorCode::None {
            if error == ErrorCode::FetchSessionIdNotFound {
                self.id = 0;
            }
            self.begin_anew();
            return Err(SessionError::Refused(error));
        }
        for (topic, index) in answered {
            if !self.wanted.contains_key(&(topic, index)) {
                self.begin_anew();
                return Err(SessionError::NotAsked(topic, index));
            }
        }
        if session_id == 0 {
            // The leader remembers no session, or this one no longer.
            self.id = 0;
            self.begin_anew();
        } else if self.epoch == INITIAL {
            self.id = session_id;
            self.epoch = 1;
        } else {
            self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        }
        Ok(())
    }

    /// The connection broke, or something came that was no answer: whether the leader took the last request is not known.
    pub(crate) fn begin_anew(&mut self) {
        self.epoch = INITIAL;
    }

    /// Whether everything is named anew in the next request.
    #[cfg(test)]
    fn is_new(&self) -> bool {
        self.epoch == INITIAL
    }
}

fn partition(index: i32, ask: &Ask) -> FetchPartition {
    FetchPartition {
        partition: index,
        current_leader_epoch: ask.current_leader_epoch,
        fetch_offset: ask.fetch_offset,
        last_fetched_epoch: ask.last_fetched_epoch,
        log_start_offset: ask.log_start_offset,
        partition_max_bytes: ask.max_bytes,
        ..FetchPartition::default()
    }
}

/// Neighbours of one topic together.
fn by_topic<T>(all: impl Iterator<Item = (Uuid, T)>) -> impl Iterator<Item = (Uuid, Vec<T>)> {
    let mut topics: Vec<(Uuid, Vec<T>)> = Vec::new();
    for (topic, one) in all {
        match topics.last_mut() {
            Some((last, some)) if *last == topic => some.push(one),
            _ => topics.push((topic, vec![one])),
        }
    }
    topics.into_iter()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fetch_sessions::{Bounds, FetchSessions, Said, TopicKey};

    const VERSION: i16 = 17;
    const SLOTS: usize = 8;

    fn key(number: u8) -> PartitionKey {
        (Uuid::from_u128(u128::from(number % 3) + 1), i32::from(number / 3))
    }

    fn at(fetch_offset: i64) -> Ask {
        Ask {
            fetch_offset,
            current_leader_epoch: 3,
            last_fetched_epoch: 2,
            log_start_offset: 0,
            max_bytes: 1 << 20,
        }
    }

    const NOTHING: Said = Said {
        high_watermark: 0,
        log_start_offset: 0,
        records: false,
        urgent: false,
    };

    /// What happens around one request.
    #[derive(Debug, Clone)]
    enum Event {
        /// The client wants these partitions, each at this offset, and all goes well.
        Fetches(BTreeMap<u8, i64>),
        /// The answer gets lost with its connection.
        AnswerLost(BTreeMap<u8, i64>),
        /// The request never arrives.
        RequestLost(BTreeMap<u8, i64>),
        /// Other clients push the session out of the leader's memory.
        Evicted,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let wants = || prop::collection::btree_map(0..9_u8, 0..3_i64, 0..6);
        let event = prop_oneof![
            6 => wants().prop_map(Event::Fetches),
            1 => wants().prop_map(Event::AnswerLost),
            1 => wants().prop_map(Event::RequestLost),
            1 => Just(Event::Evicted),
        ];
        prop::collection::vec(event, 1..30)
    }

    fn wanted(wants: &BTreeMap<u8, i64>) -> BTreeMap<PartitionKey, Ask> {
        wants
            .iter()
            .map(|(number, offset)| (key(*number), at(*offset)))
            .collect()
    }

    /// Makes the client want this and nothing else.
    fn want(client: &mut FetchSession, wants: &BTreeMap<u8, i64>) {
        let wants = wanted(wants);
        for number in 0..9 {
            match wants.get(&key(number)) {
                Some(ask) => client.want(key(number), *ask),
                None => client.forget(key(number)),
            }
        }
    }

    /// What the leader believes that the client wants.
    fn understood(
        sessions: &FetchSessions,
        request: &mut FetchRequest,
    ) -> Result<(BTreeMap<PartitionKey, i64>, i32), ErrorCode> {
        let context = sessions.begin(request, VERSION)?;
        let found = context.wanted.iter().map(|wanted| {
            let TopicKey::Id(topic) = wanted.topic else {
                panic!("topics have ids")
            };
            ((topic, wanted.index), wanted.fetch_offset)
        });
        let found = found.collect();
        let said = vec![NOTHING; context.wanted.len()];
        let fitted = sessions.finish(&context, &said, || SLOTS);
        match fitted.error {
            ErrorCode::None => Ok((found, fitted.session_id)),
            error => Err(error),
        }
    }

    proptest! {
        #[test]
        fn the_leader_reads_exactly_what_the_client_wants_whatever_got_lost_before(events in events()) {
            let sessions = FetchSessions::new(Bounds::default());
            let mut client = FetchSession::default();
            for event in events {
                let (wants, arrives, answered) = match event {
                    Event::Fetches(wants) => (wants, true, true),
                    Event::AnswerLost(wants) => (wants, true, false),
                    Event::RequestLost(wants) => (wants, false, false),
                    Event::Evicted => {
                        let mut end = FetchRequest { session_id: client.id, session_epoch: -1, ..FetchRequest::default() };
                        sessions.begin(&mut end, VERSION).expect("ends");
                        continue;
                    }
                };
                let mut refusals = 0;
                loop {
                    let mut request = FetchRequest::default();
                    want(&mut client, &wants);
                    client.ask(&mut request);
                    if !arrives {
                        client.begin_anew();
                        break;
                    }
                    let new = client.is_new();
                    let result = understood(&sessions, &mut request);
                    if !answered {
                        client.begin_anew();
                        break;
                    }
                    match result {
                        Ok((found, session_id)) => {
                            let expected: BTreeMap<_, _> = wanted(&wants).iter().map(|(k, ask)| (*k, ask.fetch_offset)).collect();
                            prop_assert_eq!(&found, &expected);
                            client.answered(ErrorCode::None, session_id, found.into_keys()).expect("fits");
                            break;
                        }
                        Err(error) => {
                            // A request that names everything is never refused.
                            prop_assert!(!new);
                            prop_assert!(client.answered(error, 0, std::iter::empty()).is_err());
                            refusals += 1;
                            prop_assert!(refusals < 2);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_session_names_changes_only() {
        let mut client = FetchSession::default();
        let mut request = FetchRequest::default();
        want(&mut client, &[(0, 5), (1, 5), (3, 5)].into());
        client.ask(&mut request);
        assert_eq!((request.session_id, request.session_epoch), (0, 0));
        assert_eq!(request.topics.iter().map(|t| t.partitions.len()).sum::<usize>(), 3);
        client
            .answered(ErrorCode::None, 77, [key(0)].into_iter())
            .expect("fits");

        want(&mut client, &[(0, 6), (1, 5)].into());
        client.ask(&mut request);
        assert_eq!((request.session_id, request.session_epoch), (77, 1));
        let named: Vec<_> = request
            .topics
            .iter()
            .flat_map(|t| &t.partitions)
            .map(|p| p.fetch_offset)
            .collect();
        assert_eq!(named, [6]);
        let forgotten: Vec<_> = request
            .forgotten_topics_data
            .iter()
            .map(|t| (t.topic_id, t.partitions.clone()))
            .collect();
        assert_eq!(forgotten, [(key(3).0, vec![key(3).1])]);
    }

    #[test]
    fn an_answer_for_what_nobody_asked_is_none() {
        let mut client = FetchSession::default();
        want(&mut client, &[(0, 5)].into());
        client.ask(&mut FetchRequest::default());
        let answered = client.answered(ErrorCode::None, 77, [key(4)].into_iter());
        assert_eq!(answered, Err(SessionError::NotAsked(key(4).0, key(4).1)));
        assert!(client.is_new());
    }
}
