use super::*;

fn api_error(code: u16, reason: &str) -> kube::Error {
    let status = kube::core::Status {
        code,
        reason: reason.to_owned(),
        ..Default::default()
    };
    kube::Error::Api(Box::new(status))
}

#[test]
fn rule_02_only_what_was_surely_not_written_is_refused() {
    assert_eq!(failure(&api_error(409, "Conflict")), AppendFailure::Conflict);
    assert_eq!(failure(&api_error(409, "AlreadyExists")), AppendFailure::Conflict);
    assert_eq!(failure(&api_error(404, "NotFound")), AppendFailure::Conflict);
    for (code, reason) in [
        (422, "Invalid"),
        (403, "Forbidden"),
        (413, "RequestEntityTooLarge"),
        (429, "TooManyRequests"),
    ] {
        assert!(
            matches!(failure(&api_error(code, reason)), AppendFailure::Refused(_)),
            "{code}"
        );
    }
    for (code, reason) in [(500, "InternalError"), (503, "ServiceUnavailable"), (504, "Timeout")] {
        assert!(
            matches!(failure(&api_error(code, reason)), AppendFailure::Unknown(_)),
            "{code}"
        );
    }
}

#[test]
fn rule_04_a_chunk_names_the_snapshot_that_it_belongs_to() {
    let name: SnapshotName = "00000000000000000042-00c0ffee".parse().unwrap();
    let object = format!("castle-two-{name}-3");
    assert_eq!(snapshot_of("castle-two", &object), Some(name));
    assert_eq!(snapshot_of("castle", &object), None);
    assert_eq!(snapshot_of("castle-two", "castle-two-0"), None);
}

mod against_an_api_server {
    //! The store over a small API server in memory, which compares resourceVersions as the real one does.

    use super::*;
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use controller::{AppendId, SnapshotRef};
    use http::{Method, Request, Response, StatusCode};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use model::{ControllerEpoch, MetadataOffset, Nonce, snapshot};
    use serde_json::{Value, json};

    #[derive(Default)]
    struct Server {
        objects: BTreeMap<String, Value>,
        version: u64,
        /// The next write lands and its answer is this instead.
        answer_instead: Option<StatusCode>,
    }

    impl Server {
        fn answer(&mut self, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Value) {
            let (collection, name) = path.rsplit_once('/').unwrap_or_default();
            let whole_collection = matches!(name, "metadatalogs" | "metadatasnapshots");
            match *method {
                Method::GET if whole_collection => {
                    let prefix = format!("{path}/");
                    let items = self.objects.iter().filter(|(key, _)| key.starts_with(&prefix));
                    let items: Vec<&Value> = items.map(|(_, object)| object).collect();
                    (
                        StatusCode::OK,
                        json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}),
                    )
                }
                Method::GET => self.found(path),
                Method::POST => {
                    let object: Value = serde_json::from_slice(body).unwrap();
                    let key = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
                    if self.objects.contains_key(&key) {
                        return failure(409, "AlreadyExists");
                    }
                    self.write(key, object)
                }
                Method::PUT => {
                    let object: Value = serde_json::from_slice(body).unwrap();
                    match self.objects.get(path) {
                        None => failure(404, "NotFound"),
                        Some(old) if old["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] => {
                            failure(409, "Conflict")
                        }
                        Some(_) => self.write(path.to_owned(), object),
                    }
                }
                Method::DELETE => {
                    assert!(
                        collection.ends_with("metadatasnapshots"),
                        "only snapshots are ever deleted here"
                    );
                    let found = self.found(path);
                    self.objects.remove(path);
                    found
                }
                _ => failure(405, "MethodNotAllowed"),
            }
        }

        fn write(&mut self, key: String, mut object: Value) -> (StatusCode, Value) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            object["metadata"]["uid"] = json!(key);
            self.objects.insert(key, object.clone());
            self.answer_instead
                .take()
                .map_or((StatusCode::OK, object), |code| failure(code.as_u16(), "InternalError"))
        }

        fn found(&self, path: &str) -> (StatusCode, Value) {
            self.objects
                .get(path)
                .map_or_else(|| failure(404, "NotFound"), |object| (StatusCode::OK, object.clone()))
        }
    }

    fn failure(code: u16, reason: &str) -> (StatusCode, Value) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": code});
        (StatusCode::from_u16(code).unwrap(), status)
    }

    fn store() -> (KubernetesStore, Arc<Mutex<Server>>) {
        let server = Arc::new(Mutex::new(Server::default()));
        let shared = server.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = shared.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let (code, answer) = server.lock().unwrap().answer(&parts.method, parts.uri.path(), &body);
                let response = Response::builder()
                    .status(code)
                    .header("content-type", "application/json");
                Ok::<_, std::convert::Infallible>(
                    response.body(Body::from(serde_json::to_vec(&answer).unwrap())).unwrap(),
                )
            }
        });
        let names = ClusterNames::new("mail", "castle");
        (
            KubernetesStore::new(Client::new(service, "mail"), names, Metrics::new().unwrap()),
            server,
        )
    }

    fn document(epoch: i32, end: i64) -> LogDocument {
        LogDocument {
            controller_epoch: ControllerEpoch(i64::from(epoch)),
            append_id: AppendId {
                nonce: Nonce::default(),
                number: u64::try_from(end).unwrap(),
            },
            snapshot: None,
            end_offset: MetadataOffset(end),
            tail: vec![format!("{{\"offset\":{end}}}")],
        }
    }

    #[tokio::test]
    async fn what_was_written_is_read_and_only_the_last_version_is_replaced() {
        let (store, _) = store();
        assert_eq!(store.read(true).await.unwrap(), None);
        let first = store.replace(document(1, 0), None).await.unwrap();
        assert_eq!(store.replace(document(1, 0), None).await, Err(AppendFailure::Conflict));
        let second = store.replace(document(1, 1), Some(first.clone())).await.unwrap();
        assert_eq!(
            store.replace(document(2, 2), Some(first)).await,
            Err(AppendFailure::Conflict)
        );
        let stored = store.read(true).await.unwrap().unwrap();
        assert_eq!((stored.document, stored.version), (document(1, 1), second));
    }

    #[tokio::test]
    async fn rule_02_a_write_without_answer_is_unknown_and_may_be_there() {
        let (store, server) = store();
        let first = store.replace(document(1, 0), None).await.unwrap();
        server.lock().unwrap().answer_instead = Some(StatusCode::INTERNAL_SERVER_ERROR);
        let lost = store.replace(document(1, 1), Some(first)).await;
        assert!(matches!(lost, Err(AppendFailure::Unknown(_))), "{lost:?}");
        assert_eq!(store.read(false).await.unwrap().unwrap().document, document(1, 1));
    }

    #[tokio::test]
    async fn rule_04_a_reader_gets_the_chunks_that_the_log_names_and_older_ones_go() {
        let (store, server) = store();
        let chunks = vec!["one".to_owned(), "two".to_owned()];
        let old: SnapshotName = "00000000000000000003-00000001".parse().unwrap();
        let new: SnapshotName = "00000000000000000007-00000002".parse().unwrap();
        store.write_snapshot(old, vec!["old".to_owned()]).await.unwrap();
        store.write_snapshot(new, chunks.clone()).await.unwrap();
        // A second try after a lost answer changes nothing.
        store.write_snapshot(new, chunks.clone()).await.unwrap();
        let mut log = document(1, 9);
        log.snapshot = Some(SnapshotRef {
            name: new,
            chunks: 2,
            hash: snapshot::digest(&chunks),
        });
        store.replace(log, None).await.unwrap();
        store.delete_snapshots_below(new).await.unwrap();
        assert_eq!(store.read(true).await.unwrap().unwrap().chunks, chunks);
        let left = server
            .lock()
            .unwrap()
            .objects
            .keys()
            .filter(|key| key.contains("snapshots"))
            .count();
        assert_eq!(left, 2);
    }
}
