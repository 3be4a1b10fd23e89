//! Leaders go home: a broker that came back leads again where it is the first replica.
//!
//! One record moves all of them. It is made when the broker is in sync wherever it is preferred and has been so for a
//! while, or, where that takes longer, every `leader.imbalance.check.interval.seconds` as in Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use model::record::PreferredLeadersElected;
use model::{BrokerEpoch, BrokerId, MetadataImage, MetadataOffset, config};

use crate::append::Appender;
use crate::effect::{Effect, Refusal};

/// So long a broker is in sync before it leads again: one that comes and goes moves nobody. And longer than librdkafka waits
/// at most before it connects again to a broker that was away (`reconnect.backoff.max.ms`, 10 s): a client that is sent to
/// such a broker sooner waits out the rest.
const SETTLE: Duration = Duration::from_secs(12);

/// When who could lead again. Soft: a new controller begins anew.
#[derive(Debug, Default)]
pub(crate) struct PreferredLeaders {
    looked_at: Option<MetadataOffset>,
    /// Brokers that could lead more than they do, since when.
    could: BTreeMap<BrokerId, Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    epoch: BrokerEpoch,
    since: Duration,
    /// In sync wherever it is preferred, since then.
    whole_since: Option<Duration>,
}

/// What one broker is to the partitions that prefer it.
#[derive(Debug, Clone, Copy, Default)]
struct Preference {
    could_lead: usize,
    behind: usize,
}

impl PreferredLeaders {
    /// Elects who is due.
    pub(crate) fn pump(&mut self, now: Duration, log: &mut Appender, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        let cluster = log.latest().cluster_config();
        if config::cluster_value(cluster, "auto.leader.rebalance.enable") == Some("false") {
            self.could.clear();
            self.looked_at = None;
            return Ok(());
        }
        let interval = config::cluster_value(cluster, "leader.imbalance.check.interval.seconds");
        let interval = interval
            .and_then(|text| text.parse().ok())
            .map_or(SETTLE, Duration::from_secs);
        if self.looked_at != Some(log.latest().offset()) {
            self.look(now, log.latest());
        }
        let due: Vec<_> = self
            .could
            .iter()
            .filter(|(_, waiting)| waiting.due(interval) <= now)
            .map(|(id, waiting)| (*id, waiting.epoch))
            .collect();
        for (id, epoch) in due {
            self.could.remove(&id);
            log.propose(PreferredLeadersElected { id, epoch })?;
        }
        effects.extend(
            self.could
                .values()
                .map(|waiting| waiting.due(interval))
                .min()
                .map(Effect::WakeAt),
        );
        Ok(())
    }

    fn look(&mut self, now: Duration, image: &MetadataImage) {
        self.looked_at = Some(image.offset());
        let mut preferences: BTreeMap<BrokerId, Preference> = BTreeMap::new();
        for partition in image.topics().values().flat_map(|topic| &topic.partitions) {
            let Some(first) = partition
                .replicas
                .first()
                .copied()
                .filter(|_| partition.replicas.len() > 1)
            else {
                continue;
            };
            let preference = preferences.entry(first).or_default();
            let in_sync = partition.isr.contains(&first);
            preference.could_lead += usize::from(in_sync && partition.leader != Some(first));
            preference.behind += usize::from(!in_sync);
        }
        let former = std::mem::take(&mut self.could);
        for (id, preference) in preferences {
            let Some(broker) = image.broker(id).filter(|broker| broker.is_eligible()) else {
                continue;
            };
            if preference.could_lead == 0 {
                continue;
            }
            let former = former.get(&id).filter(|waiting| waiting.epoch == broker.epoch);
            let whole = preference.behind == 0;
            self.could.insert(
                id,
                Waiting {
                    epoch: broker.epoch,
                    since: former.map_or(now, |waiting| waiting.since),
                    whole_since: whole.then(|| former.and_then(|waiting| waiting.whole_since).unwrap_or(now)),
                },
            );
        }
    }
}

impl Waiting {
    fn due(&self, interval: Duration) -> Duration {
        let at_last = self.since + interval;
        self.whole_since.map_or(at_last, |since| at_last.min(since + SETTLE))
    }
}
