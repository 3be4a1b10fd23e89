//! One session: the partitions that its client wants, and what the client was last told of each.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::ErrorCode;
use protocol::fetch::{FetchTopic, ForgottenTopic};

use super::{BY_ID, TopicKey};

/// What a partition costs in both maps, but for its topic's name.
const PARTITION_BYTES: usize = 192;

/// What a client wants of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The topic.
    pub topic: TopicKey,
    /// The partition.
    pub index: i32,
    /// First offset wanted.
    pub fetch_offset: i64,
    /// Bytes wanted at most.
    pub max_bytes: i32,
    /// The leader epoch that the client believes in; -1 does not say.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that the client has; -1 does not say.
    pub last_fetched_epoch: i32,
    /// Where a follower's log starts.
    pub log_start_offset: i64,
    /// Its place in the session, if it has one.
    place: u64,
}

/// What an answer says of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// The high watermark; -1 with an error.
    pub high_watermark: i64,
    /// The first offset; -1 with an error.
    pub log_start_offset: i64,
    /// There are records.
    pub records: bool,
    /// There is something else that the client must hear each time, such as an error.
    pub urgent: bool,
}

/// How much is remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) partitions: usize,
    pub(super) bytes: usize,
}

/// A session. Partitions are kept in the order in which they are to be read: those that were served stand at the end, so
/// that a response too small for all of them serves the others next (KIP-227).
#[derive(Debug)]
pub(super) struct Session {
    by_id: bool,
    epoch: i32,
    places: HashMap<(TopicKey, i32), u64>,
    partitions: BTreeMap<u64, Cached>,
    next_place: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    /// As the client was told.
    high_watermark: i64,
    log_start_offset: i64,
}

impl Session {
    /// The session of a client that was told everything of these partitions.
    pub(super) fn new<'a>(by_id: bool, answered: impl Iterator<Item = (&'a Wanted, &'a Said)>) -> Self {
        let mut session = Self {
            by_id,
            epoch: 1,
            places: HashMap::new(),
            partitions: BTreeMap::new(),
            next_place: 0,
            bytes: 0,
        };
        for (wanted, said) in answered {
            let place = session.want(wanted);
            if let Some(cached) = session.partitions.get_mut(&place) {
                cached.tell(said);
            }
        }
        session
    }

    /// Whether a request may use the session.
    pub(super) fn check(&self, epoch: i32, by_id: bool) -> Result<(), ErrorCode> {
        if epoch != self.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if by_id != self.by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        Ok(())
    }

    /// Takes up what a request names, then forgets what it wants forgotten.
    pub(super) fn update(&mut self, named: &[Wanted], forgotten: &[ForgottenTopic], version: i16) {
        for wanted in named {
            self.want(wanted);
        }
        for topic in forgotten {
            let key = TopicKey::from(topic.topic(version));
            for index in &topic.partitions {
                self.forget(&key, *index);
            }
        }
    }

    /// The epoch that the client's next request must carry.
    pub(super) fn epoch(&self) -> i32 {
        self.epoch
    }

    /// A request came.
    pub(super) fn advance_epoch(&mut self) {
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
    }

    /// Everything that the client wants, in the order to read it.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        self.partitions.values().map(|cached| cached.wanted.clone()).collect()
    }

    /// Whether the answer for a partition is worth sending, and if so, notes that it was sent.
    pub(super) fn answered(&mut self, wanted: &Wanted, said: &Said) -> bool {
        let Some(cached) = self.partitions.get_mut(&wanted.place) else {
            return true;
        };
        let news = said.records
            || said.urgent
            || cached.high_watermark != said.high_watermark
            || cached.log_start_offset != said.log_start_offset;
        cached.tell(said);
        if said.records {
            self.move_to_end(wanted.place);
        }
        news
    }

    pub(super) fn size(&self) -> Size {
        Size {
            partitions: self.partitions.len(),
            bytes: self.bytes,
        }
    }

    fn want(&mut self, wanted: &Wanted) -> u64 {
        let key = (wanted.topic.clone(), wanted.index);
        if let Some(place) = self.places.get(&key).copied() {
            if let Some(cached) = self.partitions.get_mut(&place) {
                cached.wanted = Wanted {
                    topic: key.0,
                    place,
                    ..wanted.clone()
                };
            }
            return place;
        }
        let place = self.free_place();
        self.bytes += cost(&wanted.topic);
        self.places.insert(key, place);
        let cached = Cached {
            wanted: Wanted {
                place,
                ..wanted.clone()
            },
            high_watermark: -1,
            log_start_offset: -1,
        };
        self.partitions.insert(place, cached);
        place
    }

    fn forget(&mut self, topic: &TopicKey, index: i32) {
        if let Some(place) = self.places.remove(&(topic.clone(), index)) {
            self.partitions.remove(&place);
            self.bytes -= cost(topic);
        }
    }

    fn move_to_end(&mut self, place: u64) {
        let end = self.free_place();
        if let Some(mut cached) = self.partitions.remove(&place) {
            cached.wanted.place = end;
            if let Some(known) = self.places.get_mut(&(cached.wanted.topic.clone(), cached.wanted.index)) {
                *known = end;
            }
            self.partitions.insert(end, cached);
        }
    }

    fn free_place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place
    }
}

impl Cached {
    fn tell(&mut self, said: &Said) {
        // After an error the partition is told of again, whatever its watermark is then.
        self.high_watermark = said.high_watermark;
        self.log_start_offset = said.log_start_offset;
    }
}

/// The partitions that a request names.
pub(super) fn wanted(topics: Vec<FetchTopic>, version: i16) -> Vec<Wanted> {
    let count = topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut all = Vec::with_capacity(count);
    for topic in topics {
        let key = if version >= BY_ID {
            TopicKey::Id(topic.topic_id)
        } else {
            TopicKey::Name(Arc::from(topic.topic))
        };
        all.extend(topic.partitions.into_iter().map(|partition| Wanted {
            topic: key.clone(),
            index: partition.partition,
            fetch_offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
            log_start_offset: partition.log_start_offset,
            place: 0,
        }));
    }
    all
}

fn cost(topic: &TopicKey) -> usize {
    let name = match topic {
        TopicKey::Name(name) => name.len(),
        TopicKey::Id(_) => 0,
    };
    PARTITION_BYTES + name
}
