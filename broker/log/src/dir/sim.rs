//! A simulated disk that keeps only what was synced, and of the rest whatever it likes.
//!
//! For each file it holds the durable bytes and the writes since, for each directory the durable names and the
//! changes since. A crash keeps any part of the unsynced: nothing, all, a prefix, a subset; a write may be torn at
//! any byte, and files lose independently of each other. Every operation that changes something is counted, so
//! that a test can crash at each one. Deterministic: the same calls and seeds give the same disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Dir, DirFile, Open};

#[cfg(test)]
mod tests;

/// A directory of a simulated disk.
#[derive(Debug, Clone)]
pub struct SimDir {
    disk: Arc<Mutex<Disk>>,
    path: Vec<String>,
}

/// A file of a simulated disk. Fails for ever after the disk crashed, as a dead process would.
#[derive(Debug)]
pub struct SimFile {
    disk: Arc<Mutex<Disk>>,
    node: u64,
    boot: u64,
}

/// An error that the next matching operation reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A write fails with EIO and may have written a part.
    WriteError,
    /// A sync fails with EIO; what was unsynced then is lost at the next crash, whatever later syncs say.
    SyncError,
    /// A write writes half of what was asked.
    ShortWrite,
}

/// A small generator (SplitMix64), so that the crate needs no other source of chance.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

#[derive(Debug)]
struct Disk {
    nodes: BTreeMap<u64, Node>,
    next_node: u64,
    boot: u64,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    /// The file whose last pending write was under way when the disk crashed.
    interrupted: Option<u64>,
    free_bytes: Option<u64>,
    faults: VecDeque<Fault>,
}

#[derive(Debug)]
enum Node {
    File {
        durable: Vec<u8>,
        now: Vec<u8>,
        pending: Vec<FileOp>,
    },
    Dir {
        durable: BTreeMap<String, u64>,
        now: BTreeMap<String, u64>,
        pending: Vec<DirOp>,
    },
}

#[derive(Debug, Clone)]
enum FileOp {
    Write { position: usize, bytes: Vec<u8> },
    Truncate(usize),
}

#[derive(Debug, Clone)]
enum DirOp {
    Link(String, u64),
    Unlink(String),
    Rename(String, String),
}

const ROOT: u64 = 0;

impl Seeded {
    /// A generator that always gives the same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (0 if `bound` is 0).
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            0
        } else {
            (self.next_u64() % bound as u64) as usize
        }
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

impl Default for SimDir {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDir {
    /// The root directory of a new, empty disk.
    pub fn new() -> Self {
        let disk = Disk {
            nodes: BTreeMap::from([(ROOT, Node::new_dir())]),
            next_node: ROOT + 1,
            boot: 0,
            operations: 0,
            crash_at: None,
            crashed: false,
            interrupted: None,
            free_bytes: None,
            faults: VecDeque::new(),
        };
        Self {
            disk: Arc::new(Mutex::new(disk)),
            path: Vec::new(),
        }
    }

    /// Operations so far that change the disk or make a change durable.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Loses power in the middle of the operation after the next `count`; that one and all later ones fail.
    pub fn crash_after(&self, count: u64) {
        let mut disk = self.lock();
        disk.crash_at = Some(disk.operations + count);
    }

    /// Whether the point set by [`Self::crash_after`] was reached.
    pub fn is_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// The power comes back after a loss: unsynced changes survive as `seed` has it.
    pub fn crash(&self, seed: u64) {
        self.lock().restart(&mut Seeded::new(seed), false);
    }

    /// The process was killed but the machine lives: all changes survive but a part of the write under way.
    pub fn kill(&self, seed: u64) {
        self.lock().restart(&mut Seeded::new(seed), true);
    }

    /// From now on files can grow by this many bytes altogether (`None`: without limit).
    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.lock().free_bytes = free;
    }

    /// The next operation of the fault's kind fails by it.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push_back(fault);
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dir for SimDir {
    type File = SimFile;

    fn subdir(&self, name: &str) -> Self {
        let mut path = self.path.clone();
        path.push(name.to_owned());
        Self {
            disk: Arc::clone(&self.disk),
            path,
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut disk = self.lock();
        disk.check_power()?;
        let node = disk.find(&self.path)?;
        Ok(disk.entries(node)?.keys().cloned().collect())
    }

    fn make_dir(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.check_power()?;
        let parent = disk.find(&self.path)?;
        if disk.entries(parent)?.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let power = disk.count();
        let node = disk.add(Node::new_dir());
        disk.change(parent, DirOp::Link(name.to_owned(), node))?;
        power
    }

    fn open(&self, name: &str, how: Open) -> io::Result<SimFile> {
        let mut disk = self.lock();
        disk.check_power()?;
        let parent = disk.find(&self.path)?;
        let found = disk.entries(parent)?.get(name).copied();
        let node = match (found, how) {
            (Some(node), Open::Existing) => node,
            (None, Open::Existing) => return Err(io::ErrorKind::NotFound.into()),
            (Some(node), Open::Create) => {
                let power = disk.count();
                disk.write(node, FileOp::Truncate(0))?;
                power?;
                node
            }
            (None, Open::Create) => {
                let power = disk.count();
                let node = disk.add(Node::File {
                    durable: Vec::new(),
                    now: Vec::new(),
                    pending: Vec::new(),
                });
                disk.change(parent, DirOp::Link(name.to_owned(), node))?;
                power?;
                node
            }
        };
        if matches!(disk.nodes.get(&node), Some(Node::Dir { .. })) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(SimFile {
            disk: Arc::clone(&self.disk),
            node,
            boot: disk.boot,
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.check_power()?;
        let parent = disk.find(&self.path)?;
        if !disk.entries(parent)?.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let power = disk.count();
        disk.change(parent, DirOp::Rename(from.to_owned(), to.to_owned()))?;
        power
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.check_power()?;
        let parent = disk.find(&self.path)?;
        if !disk.entries(parent)?.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let power = disk.count();
        disk.change(parent, DirOp::Unlink(name.to_owned()))?;
        power
    }

    fn remove_dir(&self, name: &str) -> io::Result<()> {
        {
            let mut disk = self.lock();
            disk.check_power()?;
            let mut path = self.path.clone();
            path.push(name.to_owned());
            let node = disk.find(&path)?;
            if !disk.entries(node)?.is_empty() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
        }
        self.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.lock();
        disk.check_power()?;
        let node = disk.find(&self.path)?;
        disk.count()?;
        disk.take_fault(Fault::SyncError, |disk| disk.lose_pending(node))?;
        disk.settle(node, &mut |_, _| true);
        Ok(())
    }
}

impl SimFile {
    fn lock(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        disk.check_power()?;
        if disk.boot == self.boot {
            Ok(disk)
        } else {
            Err(io::Error::other("handle from before the crash"))
        }
    }
}

impl DirFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.lock()?.bytes(self.node)?.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let disk = self.lock()?;
        let bytes = disk.bytes(self.node)?;
        let rest = bytes.get(position as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(count)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut disk = self.lock()?;
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let power = disk.count();
        let end = position + bytes.len() as u64;
        let growth = end.saturating_sub(disk.bytes(self.node)?.len() as u64);
        if let Some(free) = disk.free_bytes {
            let fits = growth.min(free);
            disk.free_bytes = Some(free - fits);
            bytes.truncate(bytes.len() - (growth - fits) as usize);
            if bytes.is_empty() && growth > 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let half = bytes.len() / 2;
        let node = self.node;
        let mut part = bytes.clone();
        part.truncate(half);
        let op = FileOp::Write {
            position: position as usize,
            bytes: part,
        };
        disk.take_fault(Fault::WriteError, |disk| drop(disk.write(node, op)))?;
        if disk.take_fault(Fault::ShortWrite, |_| ()).is_err() && half > 0 {
            bytes.truncate(half);
        }
        let count = bytes.len();
        disk.write(
            node,
            FileOp::Write {
                position: position as usize,
                bytes,
            },
        )?;
        if power.is_err() {
            disk.interrupted = Some(node);
        }
        power.map(|()| count)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let mut disk = self.lock()?;
        let power = disk.count();
        let freed = (disk.bytes(self.node)?.len() as u64).saturating_sub(size);
        disk.free_bytes = disk.free_bytes.map(|free| free + freed);
        disk.write(self.node, FileOp::Truncate(size as usize))?;
        power
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.lock()?;
        disk.count()?;
        let node = self.node;
        disk.take_fault(Fault::SyncError, |disk| disk.lose_pending(node))?;
        disk.settle(node, &mut |_, _| true);
        Ok(())
    }
}

impl Disk {
    fn check_power(&mut self) -> io::Result<()> {
        if self.crashed {
            Err(io::Error::other("simulated power loss"))
        } else {
            Ok(())
        }
    }

    /// Counts an operation; an error if the disk loses power in the middle of it.
    fn count(&mut self) -> io::Result<()> {
        self.crashed = self.crash_at == Some(self.operations);
        self.operations += 1;
        self.check_power()
    }

    fn take_fault(&mut self, fault: Fault, effect: impl FnOnce(&mut Self)) -> io::Result<()> {
        if self.faults.front() == Some(&fault) {
            self.faults.pop_front();
            effect(self);
            return Err(io::Error::other(format!("simulated {fault:?}")));
        }
        Ok(())
    }

    fn find(&self, path: &[String]) -> io::Result<u64> {
        path.iter().try_fold(ROOT, |node, name| {
            self.entries(node)?
                .get(name)
                .copied()
                .ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn entries(&self, node: u64) -> io::Result<&BTreeMap<String, u64>> {
        match self.nodes.get(&node) {
            Some(Node::Dir { now, .. }) => Ok(now),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn bytes(&self, node: u64) -> io::Result<&Vec<u8>> {
        match self.nodes.get(&node) {
            Some(Node::File { now, .. }) => Ok(now),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn add(&mut self, node: Node) -> u64 {
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.insert(id, node);
        id
    }

    fn change(&mut self, parent: u64, op: DirOp) -> io::Result<()> {
        match self.nodes.get_mut(&parent) {
            Some(Node::Dir { now, pending, .. }) => {
                op.apply(now);
                pending.push(op);
                Ok(())
            }
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn write(&mut self, node: u64, op: FileOp) -> io::Result<()> {
        match self.nodes.get_mut(&node) {
            Some(Node::File { now, pending, .. }) => {
                op.apply(now);
                pending.push(op);
                Ok(())
            }
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// A failed sync marks pages clean that never reached the disk: they read well until the power fails.
    fn lose_pending(&mut self, node: u64) {
        match self.nodes.get_mut(&node) {
            Some(Node::File { pending, .. }) => pending.clear(),
            Some(Node::Dir { pending, .. }) => pending.clear(),
            None => {}
        }
    }

    /// Makes those pending changes durable that `survives` accepts (by index and count), and forgets the others.
    fn settle(&mut self, node: u64, survives: &mut dyn FnMut(usize, usize) -> bool) {
        match self.nodes.get_mut(&node) {
            Some(Node::File { durable, pending, .. }) => {
                let count = pending.len();
                for (index, op) in pending.drain(..).enumerate() {
                    if survives(index, count) {
                        op.apply(durable);
                    }
                }
            }
            Some(Node::Dir { durable, pending, .. }) => {
                let count = pending.len();
                for (index, op) in pending.drain(..).enumerate() {
                    if survives(index, count) {
                        op.apply(durable);
                    }
                }
            }
            None => {}
        }
    }

    fn restart(&mut self, chance: &mut Seeded, killed: bool) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            self.tear_writes(id, chance, killed);
            let style = if killed { 0 } else { chance.below(4) };
            let cut = chance.next_u64() as usize;
            match style {
                0 => self.settle(id, &mut |_, _| true),
                1 => self.settle(id, &mut |_, _| false),
                2 => self.settle(id, &mut |index, count| index < cut % (count + 1)),
                _ => self.settle(id, &mut |_, _| chance.one_in(2)),
            }
        }
        self.forget_unreachable();
        for node in self.nodes.values_mut() {
            match node {
                // After a kill the page cache lives, with pages that a failed sync had marked clean.
                Node::File { durable, now, .. } if killed => durable.clone_from(now),
                Node::File { durable, now, .. } => now.clone_from(durable),
                Node::Dir { durable, now, .. } if killed => durable.clone_from(now),
                Node::Dir { durable, now, .. } => now.clone_from(durable),
            }
        }
        self.boot += 1;
        self.crashed = false;
        self.crash_at = None;
        self.interrupted = None;
        self.free_bytes = None;
        self.faults.clear();
    }

    /// Cuts unsynced writes at any byte: some of them at a power loss, only the one under way at a kill.
    fn tear_writes(&mut self, id: u64, chance: &mut Seeded, killed: bool) {
        let interrupted = self.interrupted == Some(id);
        let Some(Node::File { now, durable, pending }) = self.nodes.get_mut(&id) else {
            return;
        };
        let last = pending.len().saturating_sub(1);
        for (index, op) in pending.iter_mut().enumerate() {
            let FileOp::Write { position, bytes } = op else {
                continue;
            };
            let torn = (interrupted && index == last) || (!killed && chance.one_in(4));
            if !torn {
                continue;
            }
            let cut = chance.below(bytes.len() + 1);
            if !killed && chance.one_in(4) {
                // The later block of a write can reach the disk before the earlier one.
                *position += cut;
                bytes.drain(..cut);
            } else {
                bytes.truncate(cut);
            }
        }
        if killed && interrupted {
            let mut survived = durable.clone();
            for op in pending.iter() {
                op.apply(&mut survived);
            }
            *now = survived;
        }
    }

    fn forget_unreachable(&mut self) {
        let mut reachable = BTreeSet::from([ROOT]);
        let mut to_visit = vec![ROOT];
        while let Some(id) = to_visit.pop() {
            if let Some(Node::Dir { durable, .. }) = self.nodes.get(&id) {
                to_visit.extend(durable.values().copied().filter(|child| reachable.insert(*child)));
            }
        }
        self.nodes.retain(|id, _| reachable.contains(id));
    }
}

impl Node {
    fn new_dir() -> Self {
        Self::Dir {
            durable: BTreeMap::new(),
            now: BTreeMap::new(),
            pending: Vec::new(),
        }
    }
}

impl FileOp {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { position, bytes } => {
                let end = position + bytes.len();
                if content.len() < end && !bytes.is_empty() {
                    content.resize(end, 0);
                }
                for (to, from) in content.iter_mut().skip(*position).zip(bytes) {
                    *to = *from;
                }
            }
            Self::Truncate(size) => content.resize(*size, 0),
        }
    }
}

impl DirOp {
    fn apply(&self, entries: &mut BTreeMap<String, u64>) {
        match self {
            Self::Link(name, node) => drop(entries.insert(name.clone(), *node)),
            Self::Unlink(name) => drop(entries.remove(name)),
            Self::Rename(from, to) => {
                if let Some(node) = entries.remove(from) {
                    entries.insert(to.clone(), node);
                }
            }
        }
    }
}
