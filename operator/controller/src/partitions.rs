//! Partitions: their in-sync replicas, leaders and replicas, as they change after the topic was made.

pub(crate) mod drain;
pub(crate) mod elect;
pub(crate) mod factor;
pub(crate) mod isr;
pub(crate) mod preferred;
pub(crate) mod reassign;
pub(crate) mod recover;

use std::time::Duration;

use model::MetadataOffset;

use crate::append::Appender;
use crate::effect::{Effect, Refusal};
pub(crate) use recover::Recoveries;

/// What is done about leaders without being asked.
#[derive(Debug, Default)]
pub(crate) struct Leaders {
    preferred: preferred::PreferredLeaders,
    /// The image in which nobody waits for an unclean election that is allowed.
    looked_at: Option<MetadataOffset>,
}

impl Leaders {
    /// Elects who is due.
    pub(crate) fn pump(
        &mut self,
        now: Duration,
        recoveries: &Recoveries,
        log: &mut Appender,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if self.looked_at != Some(log.latest().offset()) {
            elect::pump(recoveries, log)?;
            self.looked_at = Some(log.latest().offset());
        }
        self.preferred.pump(now, log, effects)
    }
}

#[cfg(test)]
mod tests;
