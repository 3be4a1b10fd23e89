//! The metadata log in Kubernetes: one object, replaced with the resourceVersion last seen.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use controller::{LogDocument, SnapshotName, StoreVersion, StoredLog};
use controller_host::{AppendFailure, MetadataStore, StoreError};
use crds::{MetadataLog, MetadataLogSpec, MetadataSnapshot, MetadataSnapshotSpec};
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, Client};
use model::{ControllerEpoch, MetadataOffset};
use tokio::time::timeout;

use crate::error::{is_already_exists, is_conflict, is_not_found, sentence};
use crate::metrics::Metrics;
use crate::names::ClusterNames;

/// An append that takes longer has no answer: METADATA 2 settles it.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often a reader that misses a chunk reads the log again.
const READS: usize = 3;

/// Annotation of the `MetadataLog`: what becomes of it when the Cluster is gone.
pub const WHEN_DELETED: &str = "barnabas.dev/when-deleted";

/// Annotation of a `MetadataLog` that was found to be older than what a broker knows, or another one: nobody decides on it
/// until somebody restores the right log, or takes the annotation away (METADATA 23). Its value says what differs.
pub const REGRESSED: &str = "barnabas.dev/regressed";

/// What is there of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remains {
    pub(crate) controller_epoch: ControllerEpoch,
    pub(crate) end_offset: MetadataOffset,
    /// Whether it is marked as not the cluster's.
    pub(crate) regressed: bool,
    pub(crate) version: StoreVersion,
}

/// The metadata log of one cluster in Kubernetes.
#[derive(Clone)]
pub struct KubernetesStore {
    logs: Api<MetadataLog>,
    snapshots: Api<MetadataSnapshot>,
    names: ClusterNames,
    metrics: Metrics,
    delete_with_cluster: Arc<AtomicBool>,
}

impl KubernetesStore {
    /// The log of that cluster.
    pub fn new(client: Client, names: ClusterNames, metrics: Metrics) -> Self {
        Self {
            logs: Api::namespaced(client.clone(), &names.namespace),
            snapshots: Api::namespaced(client, &names.namespace),
            names,
            metrics,
            delete_with_cluster: Arc::default(),
        }
    }

    /// What the next write says of the time after the Cluster.
    pub fn delete_with_cluster(&self, delete: bool) {
        self.delete_with_cluster.store(delete, Ordering::Relaxed);
    }

    /// What is wrong with the log, if a broker has shown that it is not the cluster's.
    pub async fn regressed(&self) -> Result<Option<String>, StoreError> {
        let log = answered(self.logs.get_metadata_opt(&self.names.cluster)).await?;
        Ok(log.and_then(|log| log.metadata.annotations?.remove(REGRESSED)))
    }

    /// What is there of a log, whatever it is worth.
    pub(crate) async fn remains(&self) -> Result<Option<Remains>, StoreError> {
        let log = answered(self.logs.get_opt(&self.names.cluster)).await?;
        Ok(log.map(|log| Remains {
            controller_epoch: ControllerEpoch(log.spec.controller_epoch),
            end_offset: MetadataOffset(log.spec.end_offset),
            regressed: log
                .metadata
                .annotations
                .is_some_and(|marks| marks.contains_key(REGRESSED)),
            version: StoreVersion(log.metadata.resource_version.unwrap_or_default()),
        }))
    }

    /// Marks the log, so that no controller decides on it, in this operator or another, now or after a restart.
    pub async fn mark_regressed(&self, what: &str) -> Result<(), StoreError> {
        for _ in 0..READS {
            let Some(mut log) = answered(self.logs.get_opt(&self.names.cluster)).await? else {
                return Ok(());
            };
            let marks = log.metadata.annotations.get_or_insert_default();
            marks.insert(REGRESSED.to_owned(), what.to_owned());
            let post = PostParams::default();
            match within(self.logs.replace(&self.names.cluster, &post, &log)).await? {
                // Somebody restores it at this very moment: what is marked is what was read.
                Err(error) if is_conflict(&error) => {}
                done => return done.map(drop).map_err(unreachable),
            }
        }
        Ok(())
    }

    fn object(&self, document: &LogDocument, expected: Option<&StoreVersion>) -> MetadataLog {
        let mut log = MetadataLog::new(
            &self.names.cluster,
            MetadataLogSpec {
                controller_epoch: document.controller_epoch.0,
                snapshot_offset: document.snapshot.as_ref().map_or(-1, |snapshot| snapshot.name.offset.0),
                end_offset: document.end_offset.0,
                document: document.encode(),
            },
        );
        log.metadata.labels = Some(self.names.labels());
        let fate = if self.delete_with_cluster.load(Ordering::Relaxed) {
            "Delete"
        } else {
            "Retain"
        };
        log.metadata.annotations = Some([(WHEN_DELETED.to_owned(), fate.to_owned())].into());
        log.metadata.resource_version = expected.map(|version| version.0.clone());
        log
    }

    fn chunk(&self, name: SnapshotName, index: usize) -> String {
        format!("{}-{name}-{index}", self.names.cluster)
    }

    fn count(&self, result: &str, bytes: usize) {
        let (namespace, cluster) = (self.names.namespace.as_str(), self.names.cluster.as_str());
        self.metrics
            .metadata_appends
            .with_label_values(&[namespace, cluster, result])
            .inc();
        self.metrics
            .metadata_bytes
            .with_label_values(&[namespace, cluster])
            .inc_by(bytes as u64);
    }

    fn unusable(&self, reason: &controller::DocumentError) -> StoreError {
        let path = PathBuf::from(format!("MetadataLog {}/{}", self.names.namespace, self.names.cluster));
        StoreError::Unusable {
            path,
            reason: reason.to_string(),
        }
    }

    /// Always from the quorum: a `get` without a resourceVersion is never answered from a cache.
    async fn read_log(&self) -> Result<Option<(LogDocument, StoreVersion)>, StoreError> {
        let Some(log) = answered(self.logs.get_opt(&self.names.cluster)).await? else {
            return Ok(None);
        };
        let document = LogDocument::decode(&log.spec.document).map_err(|error| self.unusable(&error))?;
        let version = StoreVersion(log.metadata.resource_version.unwrap_or_default());
        Ok(Some((document, version)))
    }

    async fn read_chunks(&self, name: SnapshotName, count: u32) -> Result<Vec<String>, StoreError> {
        let mut chunks = Vec::new();
        for index in 0..count as usize {
            match answered(self.snapshots.get_opt(&self.chunk(name, index))).await? {
                Some(chunk) => chunks.push(chunk.spec.data),
                None => break,
            }
        }
        Ok(chunks)
    }
}

impl MetadataStore for KubernetesStore {
    async fn read(&self, with_snapshot: bool) -> Result<Option<StoredLog>, StoreError> {
        let mut stored = None;
        for _ in 0..READS {
            let Some((document, version)) = self.read_log().await? else {
                return Ok(None);
            };
            let reference = document.snapshot.clone().filter(|_| with_snapshot);
            let Some(reference) = reference else {
                return Ok(Some(StoredLog {
                    document,
                    version,
                    chunks: Vec::new(),
                }));
            };
            let chunks = self.read_chunks(reference.name, reference.chunks).await?;
            let whole = chunks.len() == reference.chunks as usize;
            stored = Some(StoredLog {
                document,
                version,
                chunks,
            });
            if whole {
                break;
            }
            // METADATA 4: the log may have moved to another snapshot meanwhile.
        }
        Ok(stored)
    }

    async fn replace(
        &self,
        document: LogDocument,
        expected: Option<StoreVersion>,
    ) -> Result<StoreVersion, AppendFailure> {
        let object = self.object(&document, expected.as_ref());
        let bytes = object.spec.document.len();
        let post = PostParams::default();
        let cluster = [self.names.namespace.as_str(), self.names.cluster.as_str()];
        let timer = self.metrics.append_seconds.with_label_values(&cluster).start_timer();
        let answer = if expected.is_some() {
            timeout(ANSWER_WITHIN, self.logs.replace(&self.names.cluster, &post, &object)).await
        } else {
            timeout(ANSWER_WITHIN, self.logs.create(&post, &object)).await
        };
        timer.observe_duration();
        let result = match answer {
            Ok(Ok(log)) => Ok(StoreVersion(log.metadata.resource_version.unwrap_or_default())),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(AppendFailure::Unknown(format!(
                "none within {} s",
                ANSWER_WITHIN.as_secs()
            ))),
        };
        self.count(
            match &result {
                Ok(_) => "success",
                Err(AppendFailure::Conflict) => "conflict",
                Err(AppendFailure::Unknown(_)) => "unknown",
                Err(AppendFailure::Refused(_)) => "refused",
            },
            bytes,
        );
        result
    }

    async fn write_snapshot(&self, name: SnapshotName, chunks: Vec<String>) -> Result<(), StoreError> {
        for (index, data) in chunks.into_iter().enumerate() {
            let bytes = data.len();
            let mut chunk = MetadataSnapshot::new(&self.chunk(name, index), MetadataSnapshotSpec { data });
            chunk.metadata.labels = Some(self.names.labels());
            match within(self.snapshots.create(&PostParams::default(), &chunk)).await? {
                // Already there: an earlier try whose answer was lost. The name is random, the contents the same.
                Err(error) if !is_already_exists(&error) => return Err(unreachable(error)),
                _ => {}
            }
            let cluster = [self.names.namespace.as_str(), self.names.cluster.as_str()];
            self.metrics
                .metadata_bytes
                .with_label_values(&cluster)
                .inc_by(bytes as u64);
        }
        Ok(())
    }

    async fn delete_snapshots_below(&self, name: SnapshotName) -> Result<(), StoreError> {
        let ours = ListParams::default().labels(&self.names.selector_text());
        for chunk in answered(self.snapshots.list_metadata(&ours)).await? {
            let Some(object) = chunk.metadata.name else { continue };
            let Some(found) = snapshot_of(&self.names.cluster, &object) else {
                continue;
            };
            if found.offset >= name.offset {
                continue;
            }
            // METADATA 3: this very object, and no other that took its name.
            let this = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: chunk.metadata.uid,
                    resource_version: None,
                }),
                ..DeleteParams::default()
            };
            match within(self.snapshots.delete(&object, &this)).await? {
                Err(error) if !is_not_found(&error) && !is_conflict(&error) => return Err(unreachable(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Which snapshot a chunk of that name belongs to.
fn snapshot_of(cluster: &str, object: &str) -> Option<SnapshotName> {
    let (name, _chunk) = object.strip_prefix(cluster)?.strip_prefix('-')?.rsplit_once('-')?;
    name.parse().ok()
}

/// METADATA 2: only what the API server surely did not write may be called refused; everything else is unknown.
fn failure(error: &kube::Error) -> AppendFailure {
    match error {
        // A missing object is a conflict too: what was expected is not there.
        _ if is_conflict(error) || is_already_exists(error) || is_not_found(error) => AppendFailure::Conflict,
        kube::Error::Api(status) if matches!(status.code, 400 | 401 | 403 | 405 | 413 | 422 | 429) => {
            AppendFailure::Refused(status.message.clone())
        }
        _ => AppendFailure::Unknown(sentence(error)),
    }
}

/// A read that hangs is tried again on another connection: a takeover must not wait for one that is dead.
async fn answered<T>(read: impl Future<Output = Result<T, kube::Error>>) -> Result<T, StoreError> {
    within(read).await?.map_err(unreachable)
}

async fn within<T>(call: impl Future<Output = T>) -> Result<T, StoreError> {
    timeout(ANSWER_WITHIN, call)
        .await
        .map_err(|_| StoreError::Unreachable(format!("no answer within {} s", ANSWER_WITHIN.as_secs())))
}

#[allow(clippy::needless_pass_by_value)] // the shape that `map_err` wants
fn unreachable(error: kube::Error) -> StoreError {
    StoreError::Unreachable(sentence(&error))
}

#[cfg(test)]
mod tests;
