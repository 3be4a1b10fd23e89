//! Blocks of producer ids: committed before they are handed out, so that no id is ever given twice.

use model::ProducerId;
use model::record::ProducerIdsAllocated;

use crate::append::Appender;
use crate::effect::{Refusal, Reply};
use crate::input::SessionId;
use crate::session::check_session;

/// Ids in a block. Large, so that a broker needs a new one rarely and lives long through an outage.
pub const BLOCK_SIZE: i32 = 1_000_000;

/// Decides a block for a broker.
pub(crate) fn allocate(log: &mut Appender, session: SessionId) -> Result<Reply, Refusal> {
    check_session(log.latest(), session)?;
    log.admit()?;
    let first = log.latest().next_producer_id();
    let next = first.0.checked_add(i64::from(BLOCK_SIZE)).map(ProducerId);
    let next = next.ok_or_else(|| Refusal::InvalidRequest("there are no producer ids left".to_owned()))?;
    let allocated = ProducerIdsAllocated {
        broker: session.broker,
        epoch: session.epoch,
        next,
    };
    log.propose(allocated)?;
    Ok(Reply::ProducerIds {
        first,
        count: BLOCK_SIZE,
    })
}
