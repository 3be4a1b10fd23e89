//! A leader appends what producers send.

use super::checks::read_from;
use super::model::ModelBatch;
use super::world::{Stop, World};

impl World {
    pub(super) fn append(&mut self) -> Result<(), Stop> {
        let mut sent: Vec<Vec<u8>> = Vec::new();
        for _ in 0..=self.chance.below(4) {
            let batch = self.model.next_batch(&mut self.chance, &sent);
            sent.push(batch);
        }
        self.append_these(sent)
    }

    pub(super) fn append_these(&mut self, mut sent: Vec<Vec<u8>>) -> Result<(), Stop> {
        let epoch = self.epoch;
        let base = self.model.end();
        let mut next = base;
        // What it becomes in the log, if it gets there.
        self.model.in_flight = sent
            .iter()
            .map(|bytes| {
                let mut bytes = bytes.clone();
                protocol::batch::patch_offset_and_epoch(&mut bytes, next, epoch.0).unwrap();
                let batch = ModelBatch::parse(&bytes);
                next = batch.header.next_offset();
                batch
            })
            .collect();
        let mut outcomes = Vec::new();
        let mut batches: Vec<&mut [u8]> = sent.iter_mut().map(Vec::as_mut_slice).collect();
        let log = &mut self.process()?.log;
        log.append_as_leader(&mut batches, epoch, 0, &mut outcomes);
        let recovery_point = log.recovery_point();
        let offline = log.offline().is_some();
        if self.disk.is_crashed() {
            return Err(Stop::PowerLost);
        }
        if outcomes.len() != sent.len() {
            return Err(Stop::Wrong("an outcome is missing".to_owned()));
        }
        if offline {
            // Not acknowledged, so it may be there or not after a restart.
            return Err(Stop::Offline);
        }
        // On a full disk some batches may not fit, and some may be there but could not be flushed.
        let sent = std::mem::take(&mut self.model.in_flight);
        let process = self.process()?;
        let there = read_from(&process.log, base).map_err(Stop::Wrong)?;
        let mut due = there.iter();
        let mut next = due.next();
        for (batch, outcome) in sent.iter().zip(outcomes) {
            let found = next.filter(|found| found.same_but_offset(batch));
            match (outcome, found) {
                (Ok(info), Some(found)) if info.base_offset == found.header.base_offset => next = due.next(),
                (Err(_), Some(_)) => next = due.next(),
                (Err(_), None) => {}
                (Ok(info), _) => return Err(Stop::Wrong(format!("acknowledged {info:?} but {found:?}"))),
            }
        }
        if let Some(unknown) = next {
            return Err(Stop::Wrong(format!("nobody sent {unknown:?}")));
        }
        self.model.batches.extend(there);
        self.model.flushed = self.model.flushed.max(recovery_point);
        Ok(())
    }

    pub(super) fn append_to_a_full_disk(&mut self) -> Result<(), Stop> {
        let free = self.chance.below(400) as u64;
        self.disk.set_free_bytes(Some(free));
        let result = self.append();
        self.disk.set_free_bytes(None);
        result
    }
}
