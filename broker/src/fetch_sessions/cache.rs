//! The sessions of a broker, bounded in number and in bytes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::NO_SESSION;
use super::session::{Session, Size};

/// Silence after which a session may be evicted by any other, and the age before which it is not evicted by a larger
/// one: Kafka's `min.incremental.fetch.session.eviction.ms`.
const EVICTION_MS: u64 = 120_000;

/// What one client may have remembered: some 10,000 partitions with long names.
const SESSION_BYTES: usize = 4 << 20;

/// What all clients may have remembered.
const CACHE_BYTES: usize = 32 << 20;

/// How much memory a cache may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of one session.
    pub session_bytes: usize,
    /// Bytes of all sessions.
    pub bytes: usize,
}

/// How much it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheSize {
    /// Sessions.
    pub sessions: usize,
    /// Their partitions.
    pub partitions: usize,
    /// Their bytes, estimated from above.
    pub bytes: usize,
    /// Sessions that made room for others so far.
    pub evictions: u64,
}

/// Sessions by their ids. Evicting looks at all of them, which happens only when a session is made in a full cache.
#[derive(Debug, Default)]
pub(super) struct SessionCache {
    bounds: Bounds,
    sessions: HashMap<i32, Entry>,
    size: Size,
    evictions: u64,
    /// How many ids were tried.
    ids: u64,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Mutex<Session>>,
    size: Size,
    created_ms: u64,
    used_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            session_bytes: SESSION_BYTES,
            bytes: CACHE_BYTES,
        }
    }
}

impl SessionCache {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            ..Self::default()
        }
    }

    /// The session of that id, which is used now.
    pub(super) fn find(&mut self, id: i32, now_ms: u64) -> Option<Arc<Mutex<Session>>> {
        let entry = self.sessions.get_mut(&id)?;
        entry.used_ms = now_ms;
        Some(Arc::clone(&entry.session))
    }

    /// Takes a session up, if there are fewer than `slots` or one is worth less; `id` makes the n-th id. Returns the session's id.
    pub(super) fn create(
        &mut self,
        session: Session,
        now_ms: u64,
        slots: usize,
        id: impl Fn(u64) -> i32,
    ) -> Option<i32> {
        let size = session.size();
        if size.bytes > self.bounds.session_bytes {
            return None;
        }
        while self.sessions.len() >= slots || self.size.bytes + size.bytes > self.bounds.bytes {
            let evicted = self.evictable_for(size, now_ms)?;
            self.remove(evicted);
            self.evictions += 1;
        }
        let id = loop {
            self.ids += 1;
            let id = id(self.ids);
            if id != NO_SESSION && !self.sessions.contains_key(&id) {
                break id;
            }
        };
        self.size.partitions += size.partitions;
        self.size.bytes += size.bytes;
        let entry = Entry {
            session: Arc::new(Mutex::new(session)),
            size,
            created_ms: now_ms,
            used_ms: now_ms,
        };
        self.sessions.insert(id, entry);
        Some(id)
    }

    /// A session has grown or shrunk. False, and it is gone, if it has outgrown its bounds.
    pub(super) fn resized(&mut self, id: i32, size: Size) -> bool {
        let Some(entry) = self.sessions.get_mut(&id) else {
            // Evicted meanwhile: this request is still answered, the next hears of it.
            return true;
        };
        self.size.partitions = self.size.partitions - entry.size.partitions + size.partitions;
        self.size.bytes = self.size.bytes - entry.size.bytes + size.bytes;
        entry.size = size;
        let fits = size.bytes <= self.bounds.session_bytes && self.size.bytes <= self.bounds.bytes;
        if !fits {
            self.remove(id);
        }
        fits
    }

    pub(super) fn remove(&mut self, id: i32) {
        if let Some(gone) = self.sessions.remove(&id) {
            self.size.partitions -= gone.size.partitions;
            self.size.bytes -= gone.size.bytes;
        }
    }

    pub(super) fn size(&self) -> CacheSize {
        CacheSize {
            sessions: self.sessions.len(),
            partitions: self.size.partitions,
            bytes: self.size.bytes,
            evictions: self.evictions,
        }
    }

    /// The session that gives way to one of `size`, by Kafka's rules: one that was silent for long, else the smallest of
    /// those that are not young, if it is smaller than the new one.
    fn evictable_for(&self, size: Size, now_ms: u64) -> Option<i32> {
        let stalest = self.sessions.iter().min_by_key(|(id, entry)| (entry.used_ms, **id))?;
        if now_ms.saturating_sub(stalest.1.used_ms) > EVICTION_MS {
            return Some(*stalest.0);
        }
        let smallest = self
            .sessions
            .iter()
            .filter(|(_, entry)| entry.used_ms - entry.created_ms > EVICTION_MS)
            .min_by_key(|(id, entry)| (entry.size.partitions, **id))?;
        (size.partitions > smallest.1.size.partitions).then_some(*smallest.0)
    }
}
