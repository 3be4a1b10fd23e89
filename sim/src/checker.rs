//! What was promised, checked at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use controller::{LogDocument, Refusal, Reply, RequestId};
use model::{ControllerEpoch, Frame, MetadataImage, MetadataOffset, Record, TopicName};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client asked for, as far as its answer can be checked.
#[derive(Debug, Clone)]
pub enum Asked {
    /// To create this topic, which nobody else asks for.
    Topic(TopicName),
    /// For producer ids.
    ProducerIds,
    /// Something whose answer says little.
    Other,
}

/// All that was ever committed and said.
#[derive(Debug, Default)]
pub struct Checker {
    lines: BTreeMap<MetadataOffset, String>,
    image: MetadataImage,
    epoch: Option<ControllerEpoch>,
    snapshot: Option<MetadataOffset>,
    topics: BTreeSet<TopicName>,
    refused: BTreeSet<TopicName>,
    confirmed: usize,
    blocks: BTreeSet<i64>,
    asked: BTreeMap<RequestId, Asked>,
}

impl Checker {
    /// A request goes out.
    pub fn asks(&mut self, request: RequestId, asked: Asked) {
        self.asked.insert(request, asked);
    }

    /// A write has landed.
    pub fn committed(&mut self, document: &LogDocument) -> Result<(), Violation> {
        if self.epoch.is_some_and(|epoch| document.controller_epoch < epoch) {
            return violation("METADATA 1: the controller epoch went back");
        }
        let snapshot = document.snapshot.as_ref().map(|reference| reference.name.offset);
        if snapshot < self.snapshot {
            return violation("METADATA 4: the snapshot offset went back");
        }
        if document.end_offset < self.image.offset() {
            return violation(format!(
                "one history: the log went back from {} to {}",
                self.image.offset(),
                document.end_offset
            ));
        }
        self.epoch = Some(document.controller_epoch);
        self.snapshot = snapshot;
        let mut offset = snapshot.unwrap_or(MetadataOffset::NONE);
        for line in &document.tail {
            offset = offset.next();
            match self.lines.get(&offset) {
                Some(known) if known == line => {}
                Some(_) => return violation(format!("one history: record {offset} became another one")),
                None => self.fold(offset, line)?,
            }
        }
        if offset != document.end_offset {
            return violation(format!("the log ends at {offset} and says {}", document.end_offset));
        }
        Ok(())
    }

    /// A controller told brokers about records.
    pub fn published(&self, frames: &[Frame], image: &MetadataImage) -> Result<(), Violation> {
        for frame in frames {
            self.is_committed(frame.offset, Some(&frame.to_line()))?;
        }
        self.is_committed(image.offset(), None)
    }

    /// A controller answered.
    pub fn replied(&mut self, request: RequestId, reply: &Reply) -> Result<(), Violation> {
        let Some(asked) = self.asked.remove(&request) else {
            return violation(format!("request {request} was answered twice"));
        };
        match (asked, reply) {
            (Asked::Topic(name), Reply::Topic(_)) => {
                if !self.topics.contains(&name) {
                    return violation(format!(
                        "METADATA 1: topic {name} was confirmed before it was committed"
                    ));
                }
                self.confirmed += 1;
            }
            (Asked::Topic(name), Reply::Refused(Refusal::LogFull | Refusal::NotReady | Refusal::Pending(_))) => {
                if self.topics.contains(&name) {
                    return violation(format!("METADATA 2: topic {name} was refused and is there"));
                }
                self.refused.insert(name);
            }
            (Asked::ProducerIds, Reply::ProducerIds { first, .. }) => {
                if !self.blocks.insert(first.0) {
                    return violation(format!("producer ids from {first} on were handed out twice"));
                }
                if self.image.next_producer_id() <= *first {
                    return violation(format!("METADATA 1: producer ids from {first} on are not committed"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The image of everything that was ever committed, folded record by record.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// How many topics were confirmed to their clients.
    pub fn confirmed(&self) -> usize {
        self.confirmed
    }

    fn fold(&mut self, offset: MetadataOffset, line: &str) -> Result<(), Violation> {
        let frame = Frame::from_line(line).map_err(|cause| Violation(format!("record {offset}: {cause}")))?;
        self.image
            .apply_frame(&frame)
            .map_err(|cause| Violation(format!("one history: {cause}")))?;
        if let Record::TopicCreated(topic) = &frame.record {
            if self.refused.contains(&topic.name) {
                return violation(format!(
                    "METADATA 2: topic {} was refused and came all the same",
                    topic.name
                ));
            }
            self.topics.insert(topic.name.clone());
        }
        self.lines.insert(offset, line.to_owned());
        Ok(())
    }

    fn is_committed(&self, offset: MetadataOffset, line: Option<&str>) -> Result<(), Violation> {
        match self.lines.get(&offset) {
            Some(known) if line.is_none_or(|line| line == known) => Ok(()),
            Some(_) => violation(format!(
                "METADATA 1: record {offset} was published, but another one is committed"
            )),
            None => violation(format!(
                "METADATA 1: record {offset} was published before it was committed"
            )),
        }
    }
}

fn violation<T>(what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation(what.into()))
}
