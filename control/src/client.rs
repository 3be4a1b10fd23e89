//! The broker's side: finds the controller, and finds it again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{BrokerId, ImageDocument, IncarnationId, IsrOutcome};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

use crate::cluster::ClusterRef;
use crate::error::ControlError;
use crate::guard::StreamGuard;
use crate::messages::{
    AdminRequest, AlterPartition, Heartbeat, HeartbeatAnswer, ProducerIdBlock, Purged, Registered, Registration,
    ReplicaReports, Session, Watch,
};
use crate::refusal::{Reason, Refusal};
use crate::stream::MetadataStream;
use crate::{convert, proto};
use dial::{Connection, Dialer, Round};
use jitter::Jitter;

mod dial;
pub(crate) mod jitter;
mod replicas;

/// The name in every replica's certificate. Replicas are dialled by address, so the name that was resolved proves nothing.
pub const SERVER_NAME: &str = "barnabas-operator-control";

/// How to reach and to convince the controller.
#[derive(Debug, Clone)]
pub struct ControlSettings {
    /// The cluster this broker belongs to.
    pub cluster: ClusterRef,
    /// `host:port`, resolved anew whenever the controller must be found.
    pub target: String,
    /// CA certificate (PEM). With it the connection is TLS, without it plaintext.
    pub ca_file: Option<PathBuf>,
    /// The name that the replica's certificate must carry, whichever address is dialled; `None` for [`SERVER_NAME`].
    pub server_name: Option<String>,
    /// Bearer token, read again for each call because a projected token rotates.
    pub token_file: Option<PathBuf>,
    /// Of this process; scatters the retries.
    pub incarnation: IncarnationId,
}

/// Speaks to whoever is the controller now. Cheap to clone; calls may run side by side.
#[derive(Debug, Clone)]
pub struct ControlClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: ControlSettings,
    dialer: Mutex<Dialer>,
}

/// What may be done when it is not known whether the controller received a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// Asking twice is like asking once.
    Harmless,
    /// Only the caller's client may decide to ask again.
    OnlyIfUndelivered,
}

/// How one try ended.
enum Failure {
    /// A controller spoke.
    Refused(Refusal),
    /// The connection did not bring an answer.
    Lost(String),
}

impl ControlClient {
    /// A client that has not dialled yet.
    pub fn new(settings: ControlSettings) -> Result<Self, ControlError> {
        let dialer = Dialer::new(&settings)?;
        Ok(Self {
            shared: Arc::new(Shared {
                settings,
                dialer: Mutex::new(dialer),
            }),
        })
    }

    /// Registers this process, trying for up to `patience`. Answered after the record is committed.
    pub async fn register(&self, registration: &Registration, patience: Duration) -> Result<Registered, ControlError> {
        let message = convert::registration_to_proto(&self.shared.settings.cluster, registration);
        // Harmless: the same incarnation again gets the same epoch (METADATA 16).
        let answer = self
            .call(
                message,
                patience,
                Duration::from_secs(10),
                Repeat::Harmless,
                async |mut connection, message| connection.register(message).await,
            )
            .await?;
        Ok(answer.try_into()?)
    }

    /// Tells the controller that this broker lives. One short try at each address: the next second brings the next one.
    pub async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, ControlError> {
        self.shared.dialer.lock().await.refresh();
        let message = convert::heartbeat_to_proto(&self.shared.settings.cluster, heartbeat);
        let once = Duration::ZERO;
        let answer = self
            .call(
                message,
                once,
                Duration::from_secs(2),
                Repeat::Harmless,
                async |mut connection, message| connection.heartbeat(message).await,
            )
            .await?;
        Ok(answer.into())
    }

    /// Opens the metadata stream, trying for up to `patience`. The guard has admitted it when this returns.
    pub async fn watch(
        &self,
        watch: &Watch,
        guard: &mut StreamGuard,
        patience: Duration,
    ) -> Result<MetadataStream, ControlError> {
        let message = convert::watch_to_proto(&self.shared.settings.cluster, watch);
        let parts = self
            .call(
                message,
                patience,
                Duration::from_secs(5),
                Repeat::Harmless,
                async |mut connection, message| connection.watch_metadata(message).await,
            )
            .await?;
        match MetadataStream::open(parts, watch.position, guard).await {
            // A controller of the past: whoever it is, it must not be asked again first.
            Err(error @ ControlError::Guard(_)) => {
                self.shared.dialer.lock().await.avoid_current();
                Err(error)
            }
            other => other,
        }
    }

    /// Hands a client's admin request to the controller; the answer is the Kafka response body.
    ///
    /// Never sent twice when the first could have arrived: `Unreachable` then means "not known".
    pub async fn forward(&self, request: AdminRequest, patience: Duration) -> Result<Bytes, ControlError> {
        let message = convert::admin_to_proto(&self.shared.settings.cluster, request);
        let answer = self
            .call(
                message,
                patience,
                patience,
                Repeat::OnlyIfUndelivered,
                async |mut connection, message| connection.forward(message).await,
            )
            .await?;
        Ok(answer.body)
    }

    /// Takes a block of producer ids. A block whose answer is lost is lost; there are enough.
    pub async fn allocate_producer_ids(
        &self,
        session: Session,
        patience: Duration,
    ) -> Result<ProducerIdBlock, ControlError> {
        let message = proto::AllocateProducerIdsRequest {
            cluster: Some((&self.shared.settings.cluster).into()),
            broker_id: session.broker_id.0,
            broker_epoch: session.broker_epoch.0,
        };
        let answer = self
            .call(
                message,
                patience,
                Duration::from_secs(5),
                Repeat::Harmless,
                async |mut connection, message| connection.allocate_producer_ids(message).await,
            )
            .await?;
        Ok(answer.try_into()?)
    }

    /// Reports removed topics whose directories are gone from this volume (METADATA 25).
    pub async fn report_purged(&self, purged: &Purged, patience: Duration) -> Result<(), ControlError> {
        let message = convert::purged_to_proto(&self.shared.settings.cluster, purged);
        self.call(
            message,
            patience,
            Duration::from_secs(5),
            Repeat::Harmless,
            async |mut connection, message| connection.report_purged(message).await,
        )
        .await?;
        Ok(())
    }

    /// Says what there is of replicas (METADATA 17). One try at each address: it is said again.
    pub async fn report_replicas(&self, reports: &ReplicaReports) -> Result<(), ControlError> {
        let message = convert::replica_reports_to_proto(&self.shared.settings.cluster, reports);
        self.call(
            message,
            Duration::ZERO,
            Duration::from_secs(5),
            Repeat::Harmless,
            async |mut connection, message| connection.report_replicas(message).await,
        )
        .await?;
        Ok(())
    }

    /// Proposes in-sync replicas. One try at each address, so that what is asked next is asked of the newest image; who
    /// gets no answer knows nothing (METADATA 12).
    pub async fn alter_partition(&self, alter: &AlterPartition) -> Result<Vec<IsrOutcome>, ControlError> {
        let message = convert::alter_partition_to_proto(&self.shared.settings.cluster, alter);
        // Harmless: a proposal that was taken is void the second time, by its partition epoch.
        let answer = self
            .call(
                message,
                Duration::ZERO,
                Duration::from_secs(5),
                Repeat::Harmless,
                async |mut connection, message| connection.alter_partition(message).await,
            )
            .await?;
        Ok(convert::outcomes(answer)?)
    }

    /// Shows the metadata on this broker's disk to whoever makes the log anew (METADATA 24).
    pub async fn offer_image(&self, broker_id: BrokerId, image: &ImageDocument) -> Result<(), ControlError> {
        let message = proto::OfferImageRequest {
            cluster: Some((&self.shared.settings.cluster).into()),
            broker_id: broker_id.0,
            image: image.encode(),
        };
        self.call(
            message,
            Duration::ZERO,
            Duration::from_secs(10),
            Repeat::Harmless,
            async |mut connection, message| connection.offer_image(message).await,
        )
        .await?;
        Ok(())
    }

    /// Rounds over all addresses until one answers, somebody says a final no, or `patience` is over.
    async fn call<M, A>(
        &self,
        message: M,
        patience: Duration,
        per_try: Duration,
        repeat: Repeat,
        send: impl AsyncFn(Connection, Request<M>) -> Result<Response<A>, Status>,
    ) -> Result<A, ControlError>
    where
        M: Clone,
    {
        let until = Instant::now() + patience;
        let mut jitter = self.jitter();
        loop {
            let error = match self.round(&message, per_try, repeat, &send).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = jitter.next_wait();
            if !error.is_retriable() || Instant::now() + wait >= until {
                return Err(error);
            }
            tracing::debug!(%error, ?wait, "no answer from a controller yet");
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks the last good address, then hints, then every resolved address, each at most once.
    async fn round<M, A>(
        &self,
        message: &M,
        per_try: Duration,
        repeat: Repeat,
        send: &impl AsyncFn(Connection, Request<M>) -> Result<Response<A>, Status>,
    ) -> Result<A, ControlError>
    where
        M: Clone,
    {
        let mut round = Round::default();
        let mut refused = None;
        let mut lost = None;
        loop {
            let dialled = self
                .shared
                .dialer
                .lock()
                .await
                .next(&self.shared.settings, &mut round)
                .await?;
            let Some((address, connection)) = dialled else { break };
            match self.try_once(message.clone(), connection, per_try, send).await? {
                Ok(answer) => return Ok(answer),
                Err(Failure::Refused(refusal)) => match &refusal.reason {
                    Reason::NotController { hint } => {
                        self.shared.dialer.lock().await.redirect(&address, hint.clone());
                        refused = Some(refusal);
                    }
                    _ => return Err(refusal.into()),
                },
                Err(Failure::Lost(reason)) => {
                    self.shared.dialer.lock().await.failed(&address);
                    let unreachable = ControlError::Unreachable {
                        target: address,
                        last: reason,
                    };
                    if repeat == Repeat::OnlyIfUndelivered {
                        return Err(unreachable);
                    }
                    lost = Some(unreachable);
                }
            }
        }
        // "I am not the controller" is better news than silence: say it if anybody spoke.
        match (refused, lost) {
            (Some(refusal), _) => Err(refusal.into()),
            (None, Some(unreachable)) => Err(unreachable),
            (None, None) => Err(ControlError::Unreachable {
                target: self.shared.settings.target.clone(),
                last: self.shared.dialer.lock().await.last_failure(),
            }),
        }
    }

    async fn try_once<M, A>(
        &self,
        message: M,
        connection: Connection,
        per_try: Duration,
        send: &impl AsyncFn(Connection, Request<M>) -> Result<Response<A>, Status>,
    ) -> Result<Result<A, Failure>, ControlError> {
        let mut request = Request::new(message);
        dial::attach_token(&self.shared.settings, &mut request)?;
        let answered = tokio::time::timeout(per_try, send(connection, request)).await;
        Ok(match answered {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(failure_of(&status)),
            Err(_) => Err(Failure::Lost(format!("no answer within {per_try:?}"))),
        })
    }

    fn jitter(&self) -> Jitter {
        Jitter::seeded(self.shared.settings.incarnation.0.as_u128())
    }
}

fn failure_of(status: &Status) -> Failure {
    if let Some(refusal) = Refusal::from_status(status) {
        return Failure::Refused(refusal);
    }
    // Not written by a controller: the connection broke, or something else listens there.
    match status.code() {
        Code::Unimplemented => Failure::Lost("that peer does not serve this contract".to_owned()),
        code => Failure::Lost(format!("{code}: {}", status.message())),
    }
}

#[cfg(test)]
mod tests;
