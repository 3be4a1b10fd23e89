//! What happens to a cluster on a bad day, and how it ends.

use std::time::Duration;

use super::message::ProcessId;
use super::network::Host;
use super::pods::Death;
use super::stage::Course;
use super::step::Step;
use super::{Cluster, Event, OPERATORS, Process, plan};
use crate::checker::Violation;

macro_rules! fault_kinds {
    ($($(#[$doc:meta])* $name:ident $field:ident $weight:literal,)*) => {
        /// A kind of fault that the schedule draws.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum FaultKind {
            $($(#[$doc])* $name,)*
        }

        impl FaultKind {
            /// Each kind, with how often it is drawn.
            const ALL: &'static [(Self, usize)] = &[$((Self::$name, $weight),)*];
        }

        /// How often each fault occurred: a world without faults proves nothing.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct FaultCounts {
            $($(#[$doc])* pub $field: u64,)*
            /// Messages lost by chance.
            pub dropped_messages: u64,
            /// Messages lost where a direction was cut.
            pub blocked_messages: u64,
            /// Messages that overtook others.
            pub reordered_messages: u64,
            /// Messages that came late by much.
            pub delayed_messages: u64,
            /// Reads of the log that were answered from an old cache.
            pub stale_reads: u64,
            /// Writes of the log that found another version.
            pub conflicts: u64,
            /// Starts that found their directory locked.
            pub locked_directories: u64,
            /// Power losses while a process opened its directory.
            pub crashes_at_start: u64,
            /// Times that the kubelet told of a terminated container.
            pub proofs_of_death: u64,
        }

        impl FaultCounts {
            fn count(&mut self, kind: FaultKind) {
                match kind {
                    $(FaultKind::$name => self.$field += 1,)*
                }
            }

            /// The sum of both.
            #[must_use]
            pub fn plus(mut self, other: &Self) -> Self {
                $(self.$field += other.$field;)*
                self.dropped_messages += other.dropped_messages;
                self.blocked_messages += other.blocked_messages;
                self.reordered_messages += other.reordered_messages;
                self.delayed_messages += other.delayed_messages;
                self.stale_reads += other.stale_reads;
                self.conflicts += other.conflicts;
                self.locked_directories += other.locked_directories;
                self.crashes_at_start += other.crashes_at_start;
                self.proofs_of_death += other.proofs_of_death;
                self
            }

            /// The kinds that the schedule draws, with their counts.
            pub fn drawn(&self) -> Vec<(FaultKind, u64)> {
                vec![$((FaultKind::$name, self.$field),)*]
            }
        }
    };
}

fault_kinds! {
    /// `kill -9` of a broker: its page cache lives.
    KillBroker kills 10,
    /// A node loses power.
    PowerLoss power_losses 6,
    /// A node loses power in the middle of something that a broker does with its disk.
    PowerLossMidWrite power_losses_mid_write 6,
    /// A node loses power while a broker that starts there opens its directory, or soon after.
    PowerLossAtStart power_losses_at_start 4,
    /// All nodes lose power at once.
    PowerLossEverywhere power_losses_everywhere 2,
    /// All brokers are killed at once.
    KillEverything kills_of_everything 2,
    /// A volume is lost with its node.
    VolumeLost volumes_lost 4,
    /// A pod is deleted by force, and its successor runs beside it with an empty volume.
    DuplicatePod duplicate_pods 3,
    /// A pod is deleted by force, and its successor waits on the same node for the volume that the first still holds.
    DuplicateOnVolume duplicates_on_volume 4,
    /// SIGSTOP of a broker, and SIGCONT.
    PauseBroker broker_pauses 8,
    /// A broker is stopped in good order.
    StopBroker stops 8,
    /// SIGSTOP of an operator.
    PauseOperator operator_pauses 5,
    /// An operator dies.
    KillOperator operator_kills 5,
    /// An operator stops in good order and releases its Lease.
    StopOperator operator_stops 3,
    /// Nobody reaches the API server.
    ApiDown api_outages 4,
    /// The API server gets requests, and its answers are lost.
    ApiUnanswered api_unanswered 4,
    /// Reads of the API server come from an old cache.
    ApiStale api_stale 4,
    /// Somebody deletes the controller's Lease.
    LeaseDeleted leases_deleted 3,
    /// Somebody edits a label of the log.
    LabelEdited labels_edited 3,
    /// A broker is cut off from everybody.
    IsolateBroker isolations 5,
    /// A broker is cut off from the other brokers alone.
    IsolateFromBrokers peer_isolations 5,
    /// One direction between two brokers is cut.
    OneWay one_way_cuts 8,
    /// A broker is cut off from the operators.
    CutOperators operator_cuts 4,
    /// A broker is cut off from the API server.
    CutApi api_cuts 3,
    /// An operator is cut off from the API server.
    CutOperatorApi operator_api_cuts 4,
    /// Messages are lost by chance.
    LossyNetwork lossy_networks 4,
    /// Messages are slow.
    SlowNetwork slow_networks 4,
    /// `min.insync.replicas` changes.
    MinIsrChange min_isr_changes 4,
    /// Messages of one direction between two brokers arrive much later, after those that follow.
    LateMessages late_messages 4,
    /// Producers are silent for a while.
    Lull lulls 4,
    /// An administrator elects the preferred leaders.
    PreferredElection preferred_elections 4,
    /// An administrator gives a partition other replicas, or takes such a move back.
    Reassignment reassignments 6,
    /// Leaders fall one after the other, while messages between brokers come late.
    LeadersFall leaders_fall 5,
    /// A broker's fetches arrive after it has come back without what it had fetched.
    OldFetches old_fetches 4,
    /// A leader comes back to office with what its successor never had, and a fetch of its former time arrives.
    OldLeaderReturns old_leaders 6,
    /// A leader's answer arrives when its successor is in office, whose log departs from its own.
    OldAnswer old_answers 6,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) counts: FaultCounts,
    /// Of the API server's answers half are lost.
    pub(super) loses_answers: bool,
    /// Directions cut by faults that have not ended.
    cut: Vec<(Host, Host)>,
    /// No more faults.
    over: bool,
}

impl Cluster {
    pub(super) fn later(&mut self, delay: Duration, step: Step) {
        self.agenda.put(self.now + delay, Event::Fault(step));
    }

    pub(super) fn faults_begin(&mut self) {
        self.later(self.plan.calm_start, Step::Next);
    }

    pub(super) fn fault(&mut self, step: Step) -> Result<(), Violation> {
        match step {
            Step::Next | Step::Scenario(_) if self.faults.over => {}
            Step::Next => {
                let average = self.plan.faults_every.as_micros() as usize;
                let delay = Duration::from_micros((average / 2 + self.random.below(average)) as u64);
                self.later(delay, Step::Next);
                let kind = self.draw_kind();
                self.begin(kind)?;
            }
            Step::Start(pod) => self.start_pod(pod)?,
            Step::Resume(process) => self.resume(process)?,
            Step::StartOperator(number) => {
                if !self.listening.contains_key(&Host::operator(number)) {
                    self.start_operator(number);
                }
            }
            Step::Mend(directions) => self.mend(&directions),
            Step::CalmNetwork => {
                self.network.lose(0);
                self.network.slow_down(1);
            }
            Step::AnswersArrive => self.faults.loses_answers = false,
            Step::FreshReads => self.kubernetes.stale_percent = 0,
            Step::Terminated(broker, incarnation) => self.container_terminated(broker, incarnation),
            Step::EndPod(pod) => self.end_pod(pod),
            Step::Scenario(stage) => self.play(stage),
        }
        Ok(())
    }

    fn draw_kind(&mut self) -> FaultKind {
        let total: usize = FaultKind::ALL.iter().map(|(_, weight)| weight).sum();
        let mut at = self.random.below(total);
        for (kind, weight) in FaultKind::ALL {
            if at < *weight {
                return *kind;
            }
            at -= weight;
        }
        FaultKind::KillBroker
    }

    /// A while between these milliseconds.
    pub(super) fn a_while(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.random.draw() % (to - from))
    }

    pub(super) fn a_pod(&mut self) -> Option<usize> {
        let running = self.pods.running();
        (!running.is_empty()).then(|| running[self.random.below(running.len())])
    }

    fn begin(&mut self, kind: FaultKind) -> Result<(), Violation> {
        let done = match kind {
            FaultKind::KillBroker => self.kill_broker(),
            FaultKind::KillEverything => {
                for pod in self.pods.running() {
                    self.kill(pod, Death::Killed);
                    let delay = self.a_while(300, 4000);
                    self.later(delay, Step::Start(pod));
                }
                true
            }
            FaultKind::PowerLoss => self.power_loss(),
            FaultKind::PowerLossMidWrite => self.power_loss_mid_write(),
            FaultKind::PowerLossAtStart => self.power_loss_at_start(),
            FaultKind::PowerLossEverywhere => self.power_loss_everywhere(),
            FaultKind::VolumeLost => self.volume_lost(),
            FaultKind::DuplicatePod => self.duplicate_pod()?,
            FaultKind::DuplicateOnVolume => self.duplicate_on_volume()?,
            FaultKind::PauseBroker => {
                let process = self.a_pod().and_then(|pod| self.pods.all[pod].process);
                self.pause(process)
            }
            FaultKind::StopBroker => self.stop_broker(),
            FaultKind::PauseOperator => {
                let process = self.an_operator().map(|(_, process)| process);
                self.pause(process)
            }
            FaultKind::KillOperator => self.kill_operator(),
            FaultKind::StopOperator => self.stop_operator()?,
            FaultKind::ApiDown => {
                let everybody: Vec<Host> = self.listening.keys().copied().collect();
                let directions = both_ways(&[Host::KUBERNETES], &everybody);
                self.cut_for(directions, 500, 9000)
            }
            FaultKind::ApiUnanswered => {
                self.faults.loses_answers = true;
                let delay = self.a_while(1000, 6000);
                self.later(delay, Step::AnswersArrive);
                true
            }
            FaultKind::ApiStale => {
                self.kubernetes.stale_percent = 60;
                let delay = self.a_while(1000, 6000);
                self.later(delay, Step::FreshReads);
                true
            }
            FaultKind::LeaseDeleted => {
                self.kubernetes.lose_lease();
                true
            }
            FaultKind::LabelEdited => {
                self.kubernetes.touch();
                true
            }
            FaultKind::IsolateBroker => self.isolate(|_| true),
            FaultKind::IsolateFromBrokers => self.isolate(is_pod),
            FaultKind::CutOperators => self.isolate(is_operator),
            FaultKind::CutApi => self.isolate(|host| host == Host::KUBERNETES),
            FaultKind::OneWay => self.one_way(),
            FaultKind::CutOperatorApi => {
                let number = self.random.below(OPERATORS);
                let directions = both_ways(&[Host::operator(number)], &[Host::KUBERNETES]);
                self.cut_for(directions, 500, 8000)
            }
            FaultKind::LossyNetwork => {
                let percent = 5 + self.random.draw() % 25;
                self.network.lose(percent);
                let delay = self.a_while(1000, 6000);
                self.later(delay, Step::CalmNetwork);
                true
            }
            FaultKind::SlowNetwork => {
                let times = 5 + self.random.below(40) as u32;
                self.network.slow_down(times);
                let delay = self.a_while(1000, 5000);
                self.later(delay, Step::CalmNetwork);
                true
            }
            FaultKind::MinIsrChange => self.change_min_isr(),
            FaultKind::LateMessages => self.late_messages(),
            FaultKind::Lull => {
                let delay = self.a_while(1000, 6000);
                self.lull(delay);
                true
            }
            FaultKind::PreferredElection => self.elect_preferred(),
            FaultKind::Reassignment => self.reassign(),
            FaultKind::LeadersFall => self.leaders_fall(),
            FaultKind::OldFetches => self.old_fetches(),
            FaultKind::OldLeaderReturns => self.change_leaders(Course::OldLeaderReturns),
            FaultKind::OldAnswer => self.change_leaders(Course::OldAnswer),
        };
        if done {
            self.faults.counts.count(kind);
            self.trace.note(self.now, format_args!("FAULT {kind:?}"));
        }
        Ok(())
    }

    fn kill_broker(&mut self) -> bool {
        let Some(pod) = self.a_pod() else { return false };
        self.kill(pod, Death::Killed);
        let delay = self.a_while(50, 6000);
        self.later(delay, Step::Start(pod));
        true
    }

    /// Losing data is survived as long as somebody else has it: what would break the promise's own condition is left out.
    pub(super) fn may_lose_data(&self, pod: usize) -> bool {
        let broker = self.pods.all[pod].broker;
        !self.audit.would_excuse(broker, self.kubernetes.checker.image())
    }

    fn power_loss(&mut self) -> bool {
        let Some(pod) = self.a_pod() else { return false };
        if !self.plan.fsync && !self.may_lose_data(pod) {
            return false;
        }
        self.kill(pod, Death::PowerLost);
        let delay = self.a_while(500, 7000);
        self.later(delay, Step::Start(pod));
        true
    }

    fn power_loss_mid_write(&mut self) -> bool {
        let Some(pod) = self.a_pod() else { return false };
        if !self.plan.fsync && !self.may_lose_data(pod) {
            return false;
        }
        let operations = self.random.below(12) as u64;
        self.pods.dir(pod).crash_after(operations);
        true
    }

    fn power_loss_at_start(&mut self) -> bool {
        let Some(pod) = self.a_pod() else { return false };
        if !self.plan.fsync && !self.may_lose_data(pod) {
            return false;
        }
        self.kill(pod, Death::Killed);
        let operations = self.random.below(20) as u64;
        self.pods.dir(pod).crash_after(operations);
        let delay = self.a_while(50, 3000);
        self.later(delay, Step::Start(pod));
        true
    }

    fn power_loss_everywhere(&mut self) -> bool {
        if !self.plan.fsync {
            return false;
        }
        for pod in self.pods.running() {
            self.kill(pod, Death::PowerLost);
            let delay = self.a_while(500, 5000);
            self.later(delay, Step::Start(pod));
        }
        true
    }

    fn volume_lost(&mut self) -> bool {
        let Some(pod) = self.a_pod() else { return false };
        if !self.may_lose_data(pod) {
            return false;
        }
        self.kill(pod, Death::PowerLost);
        self.lose_volume_of(pod);
        let delay = self.a_while(500, 7000);
        self.later(delay, Step::Start(pod));
        true
    }

    /// Whether a broker has one pod only, as it should.
    fn is_alone(&self, pod: usize) -> bool {
        let broker = self.pods.all[pod].broker;
        let same = |pod: &&super::pods::Pod| pod.broker == broker && !pod.gone;
        self.pods.all.iter().filter(same).count() == 1
    }

    fn duplicate_pod(&mut self) -> Result<bool, Violation> {
        let Some(old) = self.a_pod() else { return Ok(false) };
        if !self.is_alone(old) || !self.may_lose_data(old) {
            return Ok(false);
        }
        let broker = self.pods.all[old].broker;
        let volume = self.pods.new_volume();
        let new = self.pods.add(broker, volume);
        self.audit.lost_data(broker, self.kubernetes.checker.image());
        self.replace_pod(old, new)
    }

    fn duplicate_on_volume(&mut self) -> Result<bool, Violation> {
        let Some(old) = self.a_pod() else { return Ok(false) };
        if !self.is_alone(old) {
            return Ok(false);
        }
        let new = self.pods.add_beside(old);
        self.replace_pod(old, new)
    }

    /// The successor starts, while the pod that was deleted by force goes on for a while.
    fn replace_pod(&mut self, old: usize, new: usize) -> Result<bool, Violation> {
        self.start_pod(new)?;
        let delay = self.a_while(1000, 9000);
        self.later(delay, Step::EndPod(old));
        Ok(true)
    }

    fn end_pod(&mut self, pod: usize) {
        self.kill(pod, Death::Killed);
        self.pods.all[pod].gone = true;
    }

    fn pause(&mut self, process: Option<ProcessId>) -> bool {
        let Some(process) = process else { return false };
        let Some(slot) = self.slots.get_mut(&process) else {
            return false;
        };
        if slot.paused {
            return false;
        }
        slot.paused = true;
        let delay = self.a_while(300, 10_000);
        self.later(delay, Step::Resume(process));
        true
    }

    /// What came meanwhile is read at once, in its order.
    fn resume(&mut self, process: ProcessId) -> Result<(), Violation> {
        let Some(slot) = self.slots.get_mut(&process) else {
            return Ok(());
        };
        slot.paused = false;
        for (from, message) in std::mem::take(&mut slot.inbox) {
            self.deliver(from, process, message)?;
        }
        Ok(())
    }

    fn stop_broker(&mut self) -> bool {
        let process = self.a_pod().and_then(|pod| self.pods.all[pod].process);
        let now = self.now;
        match process.and_then(|process| self.slots.get_mut(&process)) {
            Some(super::Slot {
                what: Process::Broker(broker),
                paused: false,
                ..
            }) => {
                broker.stop(now);
                true
            }
            _ => false,
        }
    }

    fn an_operator(&mut self) -> Option<(usize, ProcessId)> {
        let number = self.random.below(OPERATORS);
        let process = self.listening.get(&Host::operator(number)).copied()?;
        Some((number, process))
    }

    fn kill_operator(&mut self) -> bool {
        let Some((number, process)) = self.an_operator() else {
            return false;
        };
        self.end_streams_of_operator(process);
        self.end_operator(number, process, 8000);
        true
    }

    /// The connections of a process that ends break, however it ends.
    fn end_streams_of_operator(&mut self, process: ProcessId) {
        let Some(Process::Operator(operator)) = self.slots.get(&process).map(|slot| &slot.what) else {
            return;
        };
        for (to, call) in operator.streams() {
            let at = self.now + Duration::from_millis(2);
            let message = super::Message::StreamEnded(call);
            let from = process;
            self.agenda.put(at, Event::Deliver { from, to, message });
        }
    }

    fn end_operator(&mut self, number: usize, process: ProcessId, at_most: u64) {
        self.slots.remove(&process);
        self.listening.remove(&Host::operator(number));
        let delay = self.a_while(200, at_most);
        self.later(delay, Step::StartOperator(number));
    }

    fn stop_operator(&mut self) -> Result<bool, Violation> {
        let Some((number, process)) = self.an_operator() else {
            return Ok(false);
        };
        let mut out = super::Outbox::default();
        if self.slots.get(&process).is_none_or(|slot| slot.paused) {
            return Ok(false);
        }
        self.end_streams_of_operator(process);
        if let Some(Process::Operator(operator)) = self.slots.get_mut(&process).map(|slot| &mut slot.what) {
            operator.leave(self.now, &mut out);
        }
        self.after_step(process, out)?;
        self.end_operator(number, process, 3000);
        Ok(true)
    }

    fn isolate(&mut self, from: impl Fn(Host) -> bool) -> bool {
        let Some(pod) = self.a_pod() else { return false };
        let host = Host::pod(pod);
        let mut others: Vec<Host> = self.listening.keys().copied().filter(|other| *other != host).collect();
        others.push(Host::KUBERNETES);
        others.retain(|other| from(*other));
        self.cut_for(both_ways(&[host], &others), 300, 8000)
    }

    fn one_way(&mut self) -> bool {
        let (Some(from), Some(to)) = (self.a_pod(), self.a_pod()) else {
            return false;
        };
        from != to && self.cut_for(vec![(Host::pod(from), Host::pod(to))], 300, 8000)
    }

    pub(super) fn cut_for(&mut self, directions: Vec<(Host, Host)>, from: u64, to: u64) -> bool {
        for (a, b) in &directions {
            self.network.cut(*a, *b);
        }
        self.faults.cut.extend(&directions);
        let delay = self.a_while(from, to);
        self.later(delay, Step::Mend(directions));
        true
    }

    fn mend(&mut self, directions: &[(Host, Host)]) {
        for direction in directions {
            if let Some(at) = self.faults.cut.iter().position(|cut| cut == direction) {
                self.faults.cut.swap_remove(at);
                self.network.mend(direction.0, direction.1);
            }
        }
    }

    fn change_min_isr(&mut self) -> bool {
        let number = self.random.below(self.plan.topics.len());
        let min_insync_replicas = 1 + self.random.below(2);
        let wish = plan::desire(&self.plan.topics[number], min_insync_replicas);
        let until = self.now + Duration::from_secs(5);
        match self.administrator() {
            Some(administrator) => {
                administrator.wish(wish, until);
                true
            }
            None => false,
        }
    }

    /// No more faults; what they did ends soon.
    pub(super) fn heal(&mut self) -> Result<(), Violation> {
        self.trace.note(self.now, format_args!("no more faults"));
        self.faults.over = true;
        let cut = std::mem::take(&mut self.faults.cut);
        for (a, b) in cut {
            self.network.mend(a, b);
        }
        self.network.lose(0);
        self.network.slow_down(1);
        self.network.in_time();
        self.faults.loses_answers = false;
        self.kubernetes.stale_percent = 0;
        let paused: Vec<ProcessId> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.paused)
            .map(|(process, _)| *process)
            .collect();
        for process in paused {
            self.resume(process)?;
        }
        Ok(())
    }
}

fn both_ways(ones: &[Host], others: &[Host]) -> Vec<(Host, Host)> {
    let pairs = ones
        .iter()
        .flat_map(|one| others.iter().map(move |other| (*one, *other)));
    pairs.flat_map(|(one, other)| [(one, other), (other, one)]).collect()
}

fn is_pod(host: Host) -> bool {
    (Host::pod(0).0..Host::client(0).0).contains(&host.0)
}

fn is_operator(host: Host) -> bool {
    (Host::operator(0).0..Host::pod(0).0).contains(&host.0)
}
