//! Events: one line for each decision, where `kubectl describe` shows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tracing::debug;

/// Objects and reasons that are remembered; beyond that all are forgotten, which costs an event that says something again.
const REMEMBERED: usize = 4096;

/// How often an event is tried again that the API server did not take, and the first pause, which doubles each time: about
/// five minutes in all. An outage is when people want to know what was decided.
const RETRIES: u32 = 8;
const PAUSE: Duration = Duration::from_secs(1);

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
            for retry in 0..=RETRIES {
                match recorder.publish(&event, &reference).await {
                    Ok(()) => return,
                    Err(error) if retry < RETRIES && may_pass(&error) => {
                        tokio::time::sleep(PAUSE * 2_u32.pow(retry)).await;
                    }
                    Err(error) => {
                        debug!(%error, reason = %event.reason, "an event could not be written");
                        return;
                    }
                }
            }
        });
    }
}

/// Whether the same event may be taken a moment later: nobody answered, or the server itself was at a loss.
fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::client::Body;

    use super::*;

    /// An API server that fails so often with this code, and then takes everything. Counts what it was asked.
    fn server(failures: u32, code: u16) -> (Client, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let failed = count.fetch_add(1, Ordering::Relaxed) < failures;
            async move {
                let bytes = request.into_body().collect_bytes().await.unwrap();
                let response = http::Response::builder().header("content-type", "application/json");
                let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no", "reason": "no", "code": code});
                Ok::<_, std::convert::Infallible>(if failed {
                    response
                        .status(code)
                        .body(Body::from(status.to_string().into_bytes()))
                        .unwrap()
                } else {
                    response.status(201).body(Body::from(bytes.to_vec())).unwrap()
                })
            }
        });
        (Client::new(service, "mail"), asked)
    }

    async fn asked_in_an_hour(failures: u32, code: u16) -> u32 {
        let (client, asked) = server(failures, code);
        let mut of = ConfigMap::default();
        of.metadata.name = Some("castle".to_owned());
        of.metadata.namespace = Some("mail".to_owned());
        Events::new(client, "operator-0").normal(&of, "Created", "Create", "it is there");
        tokio::time::sleep(Duration::from_hours(1)).await;
        asked.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_written_once_the_server_is_back() {
        assert_eq!(asked_in_an_hour(3, 503).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_given_up_in_the_end() {
        assert_eq!(asked_in_an_hour(u32::MAX, 503).await, 1 + RETRIES);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_is_refused_is_not_tried_again() {
        assert_eq!(asked_in_an_hour(u32::MAX, 403).await, 1);
    }
}
