//! Events: one line for each decision, where `kubectl describe` shows it.

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tracing::debug;

/// Writes events without ever holding up what they speak of.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events of the replica in `pod`.
    pub fn new(client: Client, pod: &str) -> Self {
        let reporter = Reporter {
            controller: "barnabas-operator".to_owned(),
            instance: Some(pod.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Something was done.
    pub fn normal<K: Resource<DynamicType = ()>>(&self, of: &K, reason: &str, action: &str, note: impl Into<String>) {
        self.publish(EventType::Normal, of, reason, action, note.into());
    }

    /// Something is wrong, or was refused.
    pub fn warning<K: Resource<DynamicType = ()>>(&self, of: &K, reason: &str, action: &str, note: impl Into<String>) {
        self.publish(EventType::Warning, of, reason, action, note.into());
    }

    fn publish<K: Resource<DynamicType = ()>>(
        &self,
        type_: EventType,
        of: &K,
        reason: &str,
        action: &str,
        note: String,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: action.to_owned(),
            secondary: None,
        };
        let (recorder, reference) = (self.recorder.clone(), of.object_ref(&()));
        tokio::spawn(async move {
            if let Err(error) = recorder.publish(&event, &reference).await {
                debug!(%error, reason = %event.reason, "an event could not be written");
            }
        });
    }
}
