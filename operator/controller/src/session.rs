//! For which registration a broker speaks.

use model::MetadataImage;

use crate::effect::Refusal;
use crate::input::SessionId;

/// The one check of what a broker says for which registration.
pub(crate) fn check_session(image: &MetadataImage, session: SessionId) -> Result<(), Refusal> {
    let known = image
        .broker(session.broker)
        .is_some_and(|broker| broker.epoch == session.epoch);
    if known {
        Ok(())
    } else {
        Err(Refusal::StaleBrokerEpoch {
            broker: session.broker,
            epoch: session.epoch,
        })
    }
}
