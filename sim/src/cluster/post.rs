//! How messages travel between processes, and to the API server and back.

use std::time::Duration;

use super::message::{ApiRequest, CallId, Message, ProcessId, Request, Response};
use super::network::Host;
use super::outbox::Target;
use super::short::ShortApi;
use super::{Cluster, Event, OPERATORS};
use crate::checker::Violation;

/// After so long without an acknowledgement a connection is given up.
const STREAM_TIMEOUT: Duration = Duration::from_millis(1500);

impl Cluster {
    /// What a process sends sets out, or is lost.
    pub(super) fn send(&mut self, from: ProcessId, target: Target, message: Message) -> Result<(), Violation> {
        let Some(sender) = self.slots.get(&from).map(|slot| slot.host) else {
            return Ok(());
        };
        if let Message::Response(_, Response::Fetched(Ok(fetched))) = &message
            && let Target::Process(_) = target
        {
            self.audit.shown(fetched)?;
        }
        let (to_host, to) = match target {
            Target::Host(host) => {
                let host = self.resolved(host);
                (host, self.listening.get(&host).copied())
            }
            Target::Process(process) => match self.slots.get(&process) {
                Some(slot) => (slot.host, Some(process)),
                None => return Ok(()),
            },
        };
        let Some(arrival) = self.network.send(&mut self.random, self.now, sender, to_host) else {
            if let (Some(to), Message::Frames(call, ..) | Message::StreamEnded(call)) = (to, message) {
                self.break_stream(from, to, call);
            }
            return Ok(());
        };
        match (to, message) {
            (_, Message::Request(call, Request::Api(request))) => {
                self.agenda.put(arrival, Event::Kubernetes { from, call, request });
            }
            (Some(to), message) => self.agenda.put(arrival, Event::Deliver { from, to, message }),
            (None, Message::Request(call, _)) if self.pods.refuses(to_host) => {
                let message = Message::Refused(call);
                self.agenda.put(
                    arrival,
                    Event::Deliver {
                        from,
                        to: from,
                        message,
                    },
                );
            }
            (None, _) => {}
        }
        Ok(())
    }

    /// Where a name leads now.
    fn resolved(&mut self, host: Host) -> Host {
        if host != Host::BOOTSTRAP {
            return host;
        }
        let open: Vec<Host> = self.listening.keys().copied().filter(|host| host.is_pod()).collect();
        let at = self.random.below(open.len().max(1));
        open.get(at).copied().unwrap_or(Host::pod(0))
    }

    /// A connection loses nothing but its end: where something on a metadata stream does not arrive, both ends find out by
    /// their kernels' timeouts, whether anything follows it or not.
    fn break_stream(&mut self, one: ProcessId, other: ProcessId, call: CallId) {
        for (from, to) in [(one, other), (other, one)] {
            let message = Message::StreamEnded(call);
            self.agenda
                .put(self.now + STREAM_TIMEOUT, Event::Deliver { from, to, message });
        }
    }

    /// The machine of a process that is gone refuses a connection, if the machine itself lives.
    pub(super) fn post_refusal(&mut self, caller: ProcessId, gone: ProcessId, call: CallId) {
        if self.pods.machine_lives(gone) && self.slots.contains_key(&caller) {
            let message = Message::Refused(call);
            self.agenda.put(
                self.now + Duration::from_millis(1),
                Event::Deliver {
                    from: gone,
                    to: caller,
                    message,
                },
            );
        }
    }

    pub(super) fn at_kubernetes(
        &mut self,
        from: ProcessId,
        call: CallId,
        request: ApiRequest,
    ) -> Result<(), Violation> {
        self.trace
            .note(self.now, format_args!("{}>api {}", from.0, ShortApi(&request)));
        let before = self.kubernetes.checker.image().offset();
        let (response, renewed) = self.kubernetes.execute(from, request, &mut self.random)?;
        if self.kubernetes.checker.image().offset() != before {
            self.audit.committed(self.kubernetes.checker.image());
        }
        let Some(host) = self.slots.get(&from).map(|slot| slot.host) else {
            return Ok(());
        };
        let message = Message::Response(call, Response::Api(response));
        let lost = self.faults.loses_answers && self.random.chance(50);
        if !lost && let Some(at) = self.network.send(&mut self.random, self.now, Host::KUBERNETES, host) {
            self.agenda.put(
                at,
                Event::Deliver {
                    from,
                    to: from,
                    message,
                },
            );
        }
        if let Some((broker, incarnation)) = renewed {
            self.tell_operators(from, &Message::LeaseSeen(broker, incarnation));
        }
        Ok(())
    }

    /// What Kubernetes says to all operators, by their watches.
    pub(super) fn tell_operators(&mut self, from: ProcessId, message: &Message) {
        for number in 0..OPERATORS {
            let host = Host::operator(number);
            let Some(to) = self.listening.get(&host).copied() else {
                continue;
            };
            if let Some(at) = self.network.send(&mut self.random, self.now, Host::KUBERNETES, host) {
                let message = message.clone();
                self.agenda.put(at, Event::Deliver { from, to, message });
            }
        }
    }
}
