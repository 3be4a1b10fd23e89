//! The appender: the only road from a decision to the log, and from the log to whoever waits for it.
//!
//! Goals: nobody is told what is not committed (METADATA 1); a lost answer never becomes a wrong one (METADATA 2); a storm
//! of decisions costs few writes.
//!
//! Constraints: the store is one document with compare-and-swap. An answer may be late, lost, or may never come although
//! the write did. A write that was given up may still land, as long as the version it expects is there.
//!
//! Algorithm: decisions are made on `latest`, the image with everything proposed so far, and wait in a queue. One batch at a
//! time is taken from the queue and written with the version last seen. If its answer is lost, *the same records* are
//! written again under another append id, and again, until one of these writes is known to have succeeded: of all writes
//! that expect one version only one can land, whichever it is holds the same records, and as soon as the version has
//! moved none of the others can. On a conflict the log is read: one of our ids on it means success; a higher epoch means
//! stop; our last state under another version (somebody edited a label) means writing again; anything else means that
//! somebody wrote records that are not ours, and stop.
//!
//! So a batch, once made, is either committed as it is or the controller stops: `latest` never has to be rolled back.

use std::collections::VecDeque;
use std::time::Duration;

use model::{ApplyError, ControllerEpoch, Frame, MetadataImage, Nonce, Record};

use crate::bucket::Bucket;
use crate::effect::{Effect, Refusal, Reply, StepDown};
use crate::input::{ReadId, RequestId};
use crate::log::{AppendId, LogDocument, SnapshotRef, StoreVersion, StoredLog};

/// Above this only records that fence, elect or change an ISR are accepted (METADATA 5).
pub const TAIL_LIMIT_BYTES: usize = 256 * 1024;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// Rules that a test takes out, to see that its checker notices.
///
/// They stand in the product because `sim` has to run the very code that a controller runs, with one rule missing: a checker
/// that was never seen to bite proves nothing, and a copy without the rule would drift away from what it copies. Nothing but
/// [`Controller::sabotaged`](crate::Controller::sabotaged) sets one, which no setting, argument or record reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[doc(hidden)]
pub enum Sabotage {
    /// All rules hold.
    #[default]
    None,
    /// Publishes and answers when the append is sent (against METADATA 1).
    PublishBeforeCommit,
    /// Takes "not in the log yet" for "will never be" (against METADATA 2).
    SettleByRead,
    /// Ends a move of replicas before the new ones are in sync.
    EndMoveAtOnce,
}

/// The queue, the append in flight, and the two images around them.
#[derive(Debug)]
pub(crate) struct Appender {
    committed: MetadataImage,
    latest: MetadataImage,
    version: Option<StoreVersion>,
    document: Option<LogDocument>,
    nonce: Nonce,
    epoch: ControllerEpoch,
    next_number: u64,
    queue: Queue,
    cut: Option<SnapshotRef>,
    state: State,
    bucket: Bucket,
    reads: ReadId,
    sabotage: Sabotage,
}

/// What waits for the next append.
#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    replies: Vec<(RequestId, Reply)>,
}

/// What has been sent: the document, every id under which it was, and who waits for it.
#[derive(Debug)]
struct Batch {
    document: LogDocument,
    frames: Vec<Frame>,
    image: MetadataImage,
    replies: Vec<(RequestId, Reply)>,
    ids: Vec<AppendId>,
    retry: Duration,
}

#[derive(Debug)]
enum State {
    /// Nothing is in flight.
    Idle,
    /// An answer is awaited.
    Sent(Batch),
    /// The answer was lost; the batch goes out again at this time.
    InDoubt(Batch, Duration),
    /// The log had another version; it is being read.
    Reading(Batch, ReadId),
    /// The read failed; it is tried again at this time.
    ReadAgain(Batch, Duration),
}

impl Appender {
    /// An appender behind a log that was read, or behind nothing at all.
    pub(crate) fn new(image: MetadataImage, log: Option<(LogDocument, StoreVersion)>, nonce: Nonce) -> Self {
        let epoch = log
            .as_ref()
            .map_or(image.controller_epoch(), |(document, _)| document.controller_epoch)
            .next();
        let (document, version) = log.unzip();
        Self {
            committed: image.clone(),
            latest: image,
            version,
            document,
            nonce,
            epoch,
            next_number: 0,
            queue: Queue::default(),
            cut: None,
            state: State::Idle,
            bucket: Bucket::new(),
            reads: 0,
            sabotage: Sabotage::None,
        }
    }

    pub(crate) fn sabotage(&mut self, sabotage: Sabotage) {
        self.sabotage = sabotage;
    }

    pub(crate) fn sabotaged(&self) -> Sabotage {
        self.sabotage
    }

    /// The committed image: what may be told.
    pub(crate) fn committed(&self) -> &MetadataImage {
        &self.committed
    }

    /// The image with everything proposed: what decisions are made on.
    pub(crate) fn latest(&self) -> &MetadataImage {
        &self.latest
    }

    /// The epoch that this controller has, or is about to get.
    pub(crate) fn epoch(&self) -> ControllerEpoch {
        self.epoch
    }

    /// Bytes of the committed tail.
    pub(crate) fn tail_bytes(&self) -> usize {
        self.document.as_ref().map_or(0, LogDocument::tail_bytes)
    }

    /// The snapshot that the committed log begins with.
    pub(crate) fn snapshot(&self) -> Option<&SnapshotRef> {
        self.document.as_ref().and_then(|document| document.snapshot.as_ref())
    }

    /// METADATA 5: whether a record that neither fences nor elects nor changes an ISR may be proposed.
    pub(crate) fn admit(&self) -> Result<(), Refusal> {
        let in_flight = match &self.state {
            State::Idle => self.tail_bytes(),
            State::Sent(batch) | State::InDoubt(batch, _) | State::Reading(batch, _) | State::ReadAgain(batch, _) => {
                batch.document.tail_bytes()
            }
        };
        if in_flight + self.queue.bytes > TAIL_LIMIT_BYTES {
            Err(Refusal::LogFull)
        } else {
            Ok(())
        }
    }

    /// Decides: the record is applied to `latest` and waits for the next append.
    pub(crate) fn propose(&mut self, record: impl Into<Record>) -> Result<(), ApplyError> {
        let frame = self.latest.append(record.into())?;
        self.queue.bytes += frame.to_line().len() + 1;
        self.queue.frames.push_back(frame);
        Ok(())
    }

    /// Answers once everything proposed so far is committed: at once if it already is.
    pub(crate) fn reply_when_committed(&mut self, request: RequestId, reply: Reply, effects: &mut Vec<Effect>) {
        // METADATA 1: an answer that rests on a record, even on another one's, waits for it.
        if self.sabotage == Sabotage::PublishBeforeCommit {
            effects.push(Effect::Reply { request, reply });
        } else if !self.queue.frames.is_empty() {
            self.queue.replies.push((request, reply));
        } else {
            match &mut self.state {
                State::Idle => effects.push(Effect::Reply { request, reply }),
                State::Sent(batch)
                | State::InDoubt(batch, _)
                | State::Reading(batch, _)
                | State::ReadAgain(batch, _) => batch.replies.push((request, reply)),
            }
        }
    }

    /// The next append moves the log's snapshot here and cuts the tail (METADATA 4).
    pub(crate) fn cut_at(&mut self, snapshot: SnapshotRef) {
        self.cut = Some(snapshot);
    }

    /// Numbers of reads go on after this one.
    pub(crate) fn reads_begin_at(&mut self, last: ReadId) {
        self.reads = last;
    }

    /// A number for a read.
    pub(crate) fn next_read(&mut self) -> ReadId {
        self.reads += 1;
        self.reads
    }

    /// Sends what is due. Call it after every input.
    pub(crate) fn pump(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {
                if !self.queue.frames.is_empty() || self.cut.is_some() {
                    match self.bucket.take(now) {
                        Ok(()) => self.send_next(effects),
                        Err(wake) => effects.push(Effect::WakeAt(wake)),
                    }
                }
            }
            State::InDoubt(batch, at) if now >= at => match self.bucket.take(now) {
                Ok(()) => self.send(batch, effects),
                Err(wake) => {
                    effects.push(Effect::WakeAt(wake));
                    self.state = State::InDoubt(batch, wake);
                }
            },
            State::InDoubt(batch, at) => {
                effects.push(Effect::WakeAt(at));
                self.state = State::InDoubt(batch, at);
            }
            State::ReadAgain(batch, at) if now >= at => self.read(batch, effects),
            State::ReadAgain(batch, at) => {
                effects.push(Effect::WakeAt(at));
                self.state = State::ReadAgain(batch, at);
            }
            waiting => self.state = waiting,
        }
    }

    /// The store says that an append is in the log. True if something was committed by it.
    pub(crate) fn appended(&mut self, id: AppendId, version: StoreVersion, effects: &mut Vec<Effect>) -> bool {
        match std::mem::replace(&mut self.state, State::Idle) {
            // An answer that was given up may come after all; it is as good as a timely one.
            State::Sent(batch) | State::InDoubt(batch, _) | State::Reading(batch, _) | State::ReadAgain(batch, _)
                if batch.ids.contains(&id) =>
            {
                self.commit(batch, id, version, effects);
                true
            }
            other => {
                self.state = other;
                false
            }
        }
    }

    /// The log had another version than expected: read it.
    pub(crate) fn conflict(&mut self, id: AppendId, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Sent(batch) if batch.ids.last() == Some(&id) => self.read(batch, effects),
            other => self.state = other,
        }
    }

    /// No answer came, or one that says nothing: it goes out again a little later (METADATA 2).
    pub(crate) fn unknown(&mut self, now: Duration, id: AppendId, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Sent(batch) if batch.ids.last() == Some(&id) => {
                if self.sabotage == Sabotage::SettleByRead {
                    self.read(batch, effects);
                } else {
                    self.doubt(now, batch, effects);
                }
            }
            other => self.state = other,
        }
    }

    /// A read that a conflict asked for. True if something was committed by it.
    pub(crate) fn read_done(
        &mut self,
        now: Duration,
        id: ReadId,
        log: Option<StoredLog>,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, StepDown> {
        let batch = match std::mem::replace(&mut self.state, State::Idle) {
            State::Reading(batch, awaited) if awaited == id => batch,
            other => {
                self.state = other;
                return Ok(false);
            }
        };
        let Some(log) = log else {
            if self.document.is_some() {
                return Err(StepDown::Missing);
            }
            // It existed a moment ago and is gone again: nothing of ours was ever in it.
            self.doubt(now, batch, effects);
            return Ok(false);
        };
        if batch.ids.contains(&log.document.append_id) {
            let id = log.document.append_id;
            self.commit(batch, id, log.version, effects);
            return Ok(true);
        }
        if self.document.as_ref() != Some(&log.document) {
            // METADATA 2: a higher epoch means stop, and so does a record that nobody of our epoch can have written.
            let deposed = log.document.controller_epoch > self.epoch;
            return Err(if deposed { StepDown::Deposed } else { StepDown::Changed });
        }
        if self.sabotage == Sabotage::SettleByRead && self.version.as_ref() == Some(&log.version) {
            self.forget(batch, effects);
            return Ok(false);
        }
        if self.version.as_ref() == Some(&log.version) {
            // Refused, and nothing has moved: the same again, later.
            self.doubt(now, batch, effects);
            return Ok(false);
        }
        // Somebody edited something beside the contents. None of the earlier writes can land any more, since all of them
        // expect the version before. The records were decided on contents that are still there, so they hold.
        self.version = Some(log.version);
        self.send(
            Batch {
                ids: Vec::new(),
                ..batch
            },
            effects,
        );
        Ok(false)
    }

    /// A read failed: it is tried again a little later.
    pub(crate) fn read_failed(&mut self, now: Duration, id: ReadId, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Reading(batch, awaited) if awaited == id => {
                let at = now + batch.retry;
                let retry = (batch.retry * 2).min(LAST_RETRY);
                effects.push(Effect::WakeAt(at));
                self.state = State::ReadAgain(Batch { retry, ..batch }, at);
            }
            other => self.state = other,
        }
    }

    fn send_next(&mut self, effects: &mut Vec<Effect>) {
        let queue = std::mem::take(&mut self.queue);
        let frames = Vec::from(queue.frames);
        let mut document = self.document.clone().unwrap_or_else(|| LogDocument {
            controller_epoch: self.epoch,
            append_id: AppendId {
                nonce: self.nonce,
                number: 0,
            },
            snapshot: None,
            end_offset: self.committed.offset(),
            tail: Vec::new(),
        });
        if let Some(snapshot) = self.cut.take() {
            let begins_at = document.end_offset.0 - document.tail.len() as i64;
            let covered = (snapshot.name.offset.0 - begins_at).clamp(0, document.tail.len() as i64);
            document.tail.drain(..covered as usize);
            document.snapshot = Some(snapshot);
        }
        document.tail.extend(frames.iter().map(Frame::to_line));
        document.controller_epoch = self.epoch;
        document.end_offset = frames.last().map_or(document.end_offset, |frame| frame.offset);
        let batch = Batch {
            document,
            frames,
            image: self.latest.clone(),
            replies: queue.replies,
            ids: Vec::new(),
            retry: FIRST_RETRY,
        };
        if self.sabotage == Sabotage::PublishBeforeCommit {
            publish(&batch.frames, &batch.image, effects);
        }
        self.send(batch, effects);
    }

    fn send(&mut self, mut batch: Batch, effects: &mut Vec<Effect>) {
        self.next_number += 1;
        let id = AppendId {
            nonce: self.nonce,
            number: self.next_number,
        };
        batch.ids.push(id);
        batch.document.append_id = id;
        effects.push(Effect::Append {
            id,
            expected: self.version.clone(),
            document: batch.document.clone(),
        });
        self.state = State::Sent(batch);
    }

    fn doubt(&mut self, now: Duration, batch: Batch, effects: &mut Vec<Effect>) {
        let at = now + batch.retry;
        let retry = (batch.retry * 2).min(LAST_RETRY);
        effects.push(Effect::WakeAt(at));
        self.state = State::InDoubt(Batch { retry, ..batch }, at);
    }

    fn read(&mut self, batch: Batch, effects: &mut Vec<Effect>) {
        let id = self.next_read();
        effects.push(Effect::Read {
            id,
            with_snapshot: false,
        });
        self.state = State::Reading(batch, id);
    }

    fn commit(&mut self, batch: Batch, id: AppendId, version: StoreVersion, effects: &mut Vec<Effect>) {
        self.document = Some(LogDocument {
            append_id: id,
            ..batch.document
        });
        self.version = Some(version);
        self.committed = batch.image;
        if self.sabotage != Sabotage::PublishBeforeCommit {
            // METADATA 1: now, and not before.
            publish(&batch.frames, &self.committed, effects);
        }
        effects.extend(
            batch
                .replies
                .into_iter()
                .map(|(request, reply)| Effect::Reply { request, reply }),
        );
    }

    /// Only for [`Sabotage::SettleByRead`]: what a controller would do that believes its write lost.
    fn forget(&mut self, batch: Batch, effects: &mut Vec<Effect>) {
        self.latest = self.committed.clone();
        let queue = std::mem::take(&mut self.queue);
        for (request, _) in batch.replies.into_iter().chain(queue.replies) {
            effects.push(Effect::Reply {
                request,
                reply: Reply::Refused(Refusal::LogFull),
            });
        }
    }
}

fn publish(frames: &[Frame], image: &MetadataImage, effects: &mut Vec<Effect>) {
    if !frames.is_empty() {
        effects.push(Effect::Publish {
            frames: frames.to_vec(),
            image: image.clone(),
        });
    }
}
