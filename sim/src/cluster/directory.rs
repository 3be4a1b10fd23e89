//! What a client knows of the cluster: which addresses there are, and who leads what.

use std::collections::BTreeMap;
use std::time::Duration;

use model::LeaderEpoch;

use super::message::PlaceLeader;
use super::network::Host;
use crate::history::Place;
use crate::random::Random;

/// Metadata is asked for again after so long.
const MAX_AGE: Duration = Duration::from_secs(3);
/// And after an error no sooner than this.
const BACKOFF: Duration = Duration::from_millis(100);

/// A client's metadata.
#[derive(Debug)]
pub(super) struct Directory {
    /// What the last answer named: pods come back at other addresses.
    hosts: Vec<Host>,
    leaders: BTreeMap<Place, (Option<Host>, LeaderEpoch)>,
    asked: Option<Duration>,
    wanted: bool,
}

impl Directory {
    pub(super) fn new() -> Self {
        Self {
            hosts: Vec::new(),
            leaders: BTreeMap::new(),
            asked: None,
            wanted: true,
        }
    }

    pub(super) fn places(&self) -> Vec<Place> {
        self.leaders.keys().copied().collect()
    }

    pub(super) fn leader(&self, place: Place) -> Option<(Host, LeaderEpoch)> {
        let (host, epoch) = self.leaders.get(&place)?;
        host.map(|host| (host, *epoch))
    }

    /// Something was not as the metadata says.
    pub(super) fn refresh(&mut self) {
        self.wanted = true;
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        let Some(asked) = self.asked else { return true };
        now >= asked + if self.wanted { BACKOFF } else { MAX_AGE }
    }

    /// Whom to ask: one that the cluster named, or one that the client was started with (KIP-899).
    pub(super) fn next_host(&mut self, now: Duration, random: &mut Random) -> Host {
        self.asked = Some(now);
        let at = random.below(self.hosts.len() + 1);
        self.hosts.get(at).copied().unwrap_or(Host::BOOTSTRAP)
    }

    /// Takes what is not older than what is known (KIP-320).
    pub(super) fn learn(&mut self, now: Duration, hosts: Vec<Host>, leaders: &[PlaceLeader]) {
        self.asked = Some(now);
        // A broker without metadata yet names nobody.
        if !hosts.is_empty() {
            self.hosts = hosts;
        }
        self.wanted = leaders.is_empty();
        for found in leaders {
            let known = self.leaders.entry(found.place).or_insert((None, found.leader_epoch));
            if found.leader_epoch >= known.1 {
                *known = (found.leader, found.leader_epoch);
            }
            self.wanted |= found.leader.is_none();
        }
    }
}
