//! Fetch sessions (KIP-227): a client that fetches many partitions names only what has changed since its last request,
//! and is told only of partitions that have something new.
//!
//! A session is memory and nothing else: no timer, no task. It lives in a bounded cache of the broker, not with its
//! connection, as in Kafka: a client that reconnects goes on. To get none (session id 0) is always legal.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use protocol::ErrorCode;
use protocol::fetch::FetchRequest;
use protocol::topic::Topic;
use uuid::Uuid;

mod cache;
mod session;
#[cfg(test)]
mod tests;

pub use cache::{Bounds, CacheSize};
pub use session::{Said, Wanted};

use cache::SessionCache;
use session::Session;

/// Requests with this epoch ask for a new session, and name all their partitions.
const INITIAL_EPOCH: i32 = 0;
/// Requests with this epoch want no session, and end the one they name.
const FINAL_EPOCH: i32 = -1;
/// The id of no session.
pub const NO_SESSION: i32 = 0;

/// The first version that names topics by id.
const BY_ID: i16 = 13;

/// A topic as requests of a session name it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicKey {
    /// Its name, in versions up to 12.
    Name(Arc<str>),
    /// Its id, since version 13.
    Id(Uuid),
}

impl TopicKey {
    /// For the protocol.
    pub fn topic(&self) -> Topic<'_> {
        match self {
            Self::Name(name) => Topic::Name(name),
            Self::Id(id) => Topic::Id(*id),
        }
    }
}

impl From<Topic<'_>> for TopicKey {
    fn from(topic: Topic<'_>) -> Self {
        match topic {
            Topic::Name(name) => Self::Name(name.into()),
            Topic::Id(id) => Self::Id(id),
        }
    }
}

/// All sessions of a broker.
#[derive(Debug)]
pub struct FetchSessions {
    cache: Mutex<SessionCache>,
    /// Makes ids that nobody can guess.
    ids: RandomState,
    started: Instant,
}

/// One fetch request: what it wants, and how its answer is fitted to its session.
#[derive(Debug)]
pub struct FetchContext {
    /// All partitions to read, in the order to read them.
    pub wanted: Vec<Wanted>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sessionless,
    /// A new session is made when the answer is known.
    Full {
        by_id: bool,
    },
    Incremental {
        id: i32,
        session: Arc<Mutex<Session>>,
        /// The session's epoch as long as no other request came.
        epoch: i32,
    },
}

/// What an answer says of its session, and which of the wanted partitions it holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Fitted {
    /// `None`, or that another request used the session meanwhile: then the answer holds nothing.
    pub error: ErrorCode,
    /// The session; [`NO_SESSION`] for none.
    pub session_id: i32,
    /// For each wanted partition, in order, whether it is in the answer; `None` if all are.
    pub included: Option<Vec<bool>>,
}

impl FetchContext {
    fn sessionless(wanted: Vec<Wanted>) -> Self {
        Self {
            wanted,
            kind: Kind::Sessionless,
        }
    }
}

impl Default for FetchSessions {
    fn default() -> Self {
        Self::new(Bounds::default())
    }
}

impl FetchSessions {
    /// No sessions yet, and never more than these bounds allow.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            cache: Mutex::new(SessionCache::new(bounds)),
            ids: RandomState::new(),
            started: Instant::now(),
        }
    }

    /// Finds out what a request wants, and changes its session accordingly. Takes the partitions out of the request.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH and FETCH_SESSION_TOPIC_ID_ERROR, checked in this order as
    /// Kafka's `FetchManager` does.
    pub fn begin(&self, request: &mut FetchRequest, version: i16) -> Result<FetchContext, ErrorCode> {
        let (id, epoch) = (request.session_id, request.session_epoch);
        let by_id = version >= BY_ID;
        let named = session::wanted(std::mem::take(&mut request.topics), version);
        if matches!(epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            if id != NO_SESSION {
                self.cache.lock().remove(id);
            }
            return Ok(match epoch {
                FINAL_EPOCH => FetchContext::sessionless(named),
                _ => FetchContext {
                    wanted: named,
                    kind: Kind::Full { by_id },
                },
            });
        }
        let found = self.cache.lock().find(id, self.now_ms());
        let session = found.ok_or(ErrorCode::FetchSessionIdNotFound)?;
        // Locks are taken in this order only: a session, then the cache.
        let mut inner = session.lock();
        inner.check(epoch, by_id)?;
        let forgotten = std::mem::take(&mut request.forgotten_topics_data);
        let changes = !named.is_empty() || !forgotten.is_empty();
        if changes {
            inner.update(&named, &forgotten, version);
        }
        let size = inner.size();
        if size.partitions == 0 {
            self.cache.lock().remove(id);
            return Ok(FetchContext::sessionless(named));
        }
        if changes && !self.cache.lock().resized(id, size) {
            // More than is remembered of one client: it begins anew, and gets no session then.
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        inner.advance_epoch();
        let (wanted, epoch) = (inner.wanted(), inner.epoch());
        drop(inner);
        Ok(FetchContext {
            wanted,
            kind: Kind::Incremental { id, session, epoch },
        })
    }

    /// Fits an answer to the session of its request: makes a new session, or leaves out what has not changed. `said` has
    /// an entry for each wanted partition. `slots` says how many sessions there may be.
    pub fn finish(&self, context: &FetchContext, said: &[Said], slots: impl FnOnce() -> usize) -> Fitted {
        let mut fitted = Fitted {
            error: ErrorCode::None,
            session_id: NO_SESSION,
            included: None,
        };
        match &context.kind {
            Kind::Sessionless => {}
            Kind::Full { by_id } => {
                let session = Session::new(*by_id, context.wanted.iter().zip(said));
                let mut cache = self.cache.lock();
                fitted.session_id = cache
                    .create(session, self.now_ms(), slots(), |attempt| self.id_of(attempt))
                    .unwrap_or(NO_SESSION);
            }
            Kind::Incremental { id, session, epoch } => {
                fitted.session_id = *id;
                let mut session = session.lock();
                if session.epoch() == *epoch {
                    let answers = context.wanted.iter().zip(said);
                    fitted.included = Some(answers.map(|(wanted, said)| session.answered(wanted, said)).collect());
                } else {
                    fitted.error = ErrorCode::InvalidFetchSessionEpoch;
                }
            }
        }
        fitted
    }

    /// For the gauges.
    pub fn size(&self) -> CacheSize {
        self.cache.lock().size()
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// An id that nobody can guess, so that no client uses another's session by accident or design.
    fn id_of(&self, attempt: u64) -> i32 {
        (self.ids.hash_one(attempt) & 0x7fff_ffff) as i32
    }
}
