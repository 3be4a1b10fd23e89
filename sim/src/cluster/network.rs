//! The network: it delays, reorders, loses, slows down and cuts, each direction by itself.
//!
//! A message is one request or answer of a connection. One that is lost stands for a connection that broke: its sender
//! finds out by a timeout. Messages overtake each other, as those of an old connection and of its successor do.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::random::Random;

/// An address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Host(pub(super) u32);

impl Host {
    /// The API server.
    pub(super) const KUBERNETES: Self = Self(0);

    /// The name that clients are started with: it leads to any broker whose listener is open.
    pub(super) const BOOTSTRAP: Self = Self(9);

    /// An operator replica.
    pub(super) fn operator(number: usize) -> Self {
        Self(1 + number as u32)
    }

    /// A pod of the StatefulSet, or a duplicate of one.
    pub(super) fn pod(number: usize) -> Self {
        Self(10 + number as u32)
    }

    /// Whether it is a pod's.
    pub(super) fn is_pod(self) -> bool {
        (Self::pod(0)..Self::client(0)).contains(&self)
    }

    /// A client.
    pub(super) fn client(number: usize) -> Self {
        Self(100 + number as u32)
    }

    /// The name under which a pod registers.
    pub(super) fn name(self) -> String {
        format!("host-{}", self.0)
    }

    /// The address of a name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        name.strip_prefix("host-")?.parse().ok().map(Self)
    }
}

/// What the network does to messages now.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// Directions that are cut, with the number of faults that cut them.
    cut: BTreeMap<(Host, Host), u32>,
    /// Of a hundred messages so many are lost.
    loss_percent: u64,
    /// Everything takes so many times as long.
    slowness: u32,
    /// Directions in which messages come late, each by a while of its own between these two, until when.
    late: BTreeMap<(Host, Host), Late>,
    /// Messages lost by chance, lost at a cut, and overtaken by later ones.
    pub(super) dropped: u64,
    pub(super) blocked: u64,
    pub(super) reordered: u64,
    /// Messages that came late.
    pub(super) delayed: u64,
    last_arrival: BTreeMap<(Host, Host), Duration>,
}

/// How late messages come that are sent until then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Late {
    pub(super) until: Duration,
    /// Of a hundred messages so many.
    pub(super) percent: u64,
    pub(super) at_least: Duration,
    pub(super) at_most: Duration,
}

impl Network {
    /// How long a message takes; `None` if it does not arrive.
    pub(super) fn send(&mut self, random: &mut Random, now: Duration, from: Host, to: Host) -> Option<Duration> {
        let stretch = if random.chance(4) { 40 } else { 1 };
        let micros = (500 + random.draw() % 3000) * stretch * u64::from(self.slowness.max(1));
        let lost = random.chance(self.loss_percent);
        if self.cut.contains_key(&(from, to)) {
            self.blocked += 1;
            return None;
        }
        if lost {
            self.dropped += 1;
            return None;
        }
        let arrival = now + Duration::from_micros(micros) + self.lateness(random, now, from, to);
        let last = self.last_arrival.entry((from, to)).or_default();
        self.reordered += u64::from(arrival < *last);
        *last = arrival.max(*last);
        Some(arrival)
    }

    fn lateness(&mut self, random: &mut Random, now: Duration, from: Host, to: Host) -> Duration {
        let Some(late) = self.late.get(&(from, to)).copied() else {
            return Duration::ZERO;
        };
        if now >= late.until {
            self.late.remove(&(from, to));
            return Duration::ZERO;
        }
        if !random.chance(late.percent) {
            return Duration::ZERO;
        }
        self.delayed += 1;
        let range = late.at_most.saturating_sub(late.at_least).as_micros().max(1) as u64;
        late.at_least + Duration::from_micros(random.draw() % range)
    }

    /// From now on messages in this direction come late.
    pub(super) fn delay(&mut self, from: Host, to: Host, late: Late) {
        self.late.insert((from, to), late);
    }

    /// Cuts a direction.
    pub(super) fn cut(&mut self, from: Host, to: Host) {
        *self.cut.entry((from, to)).or_default() += 1;
    }

    /// Mends what one fault cut.
    pub(super) fn mend(&mut self, from: Host, to: Host) {
        if let Some(count) = self.cut.get_mut(&(from, to)) {
            *count -= 1;
            if *count == 0 {
                self.cut.remove(&(from, to));
            }
        }
    }

    /// Messages come in time again.
    pub(super) fn in_time(&mut self) {
        self.late.clear();
    }

    /// From now on so many of a hundred messages are lost.
    pub(super) fn lose(&mut self, percent: u64) {
        self.loss_percent = percent;
    }

    /// From now on everything takes so many times as long.
    pub(super) fn slow_down(&mut self, times: u32) {
        self.slowness = times;
    }
}
