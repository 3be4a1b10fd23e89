//! Events: one line for each decision, where `kubectl describe` shows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tracing::debug;

/// Objects and reasons that are remembered; beyond that all are forgotten, which costs an event that says something again.
const REMEMBERED: usize = 4096;

/// Writes events without ever holding up what they speak of.
#[derive(Clone)]
pub struct Events {
    client: Client,
    reporter: Reporter,
    /// The last note for an object and reason, and who writes it: the same note again is counted in the same event, another
    /// one is another event, which one recorder would take for the same.
    last: Arc<Mutex<HashMap<Subject, (String, Recorder)>>>,
}

/// Uid of the object, and reason.
type Subject = (String, String);

impl Events {
    /// Events of the replica in `pod`.
    pub fn new(client: Client, pod: &str) -> Self {
        let reporter = Reporter {
            controller: "barnabas-operator".to_owned(),
            instance: Some(pod.to_owned()),
        };
        Self {
            client,
            reporter,
            last: Arc::default(),
        }
    }

    fn recorder(&self, of: &ObjectReference, reason: &str, note: &str) -> Recorder {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= REMEMBERED {
            last.clear();
        }
        let key = (of.uid.clone().unwrap_or_default(), reason.to_owned());
        match last.get(&key) {
            Some((known, recorder)) if known == note => recorder.clone(),
            _ => {
                let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
                last.insert(key, (note.to_owned(), recorder.clone()));
                recorder
            }
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
        let reference = of.object_ref(&());
        let recorder = self.recorder(&reference, reason, &note);
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: action.to_owned(),
            secondary: None,
        };
        tokio::spawn(async move {
            if let Err(error) = recorder.publish(&event, &reference).await {
                debug!(%error, reason = %event.reason, "an event could not be written");
            }
        });
    }
}
